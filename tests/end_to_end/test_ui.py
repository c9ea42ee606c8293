"""The Dagster web UI as a user meets it: `forge ui`, a browser, clicks.

Screenshots go to the folder that FORGE_SCREENSHOTS names; docs/images is refreshed with

    FORGE_SCREENSHOTS=docs/images pytest tests/end_to_end/test_ui.py
"""

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from forge_assets.automation import add_partitions, plan_shards
from forge_resources.config import load_config
from forge_resources.instance import HOME_VARIABLE, open_instance
from forge_resources.lake import Lake

pytestmark = pytest.mark.slow

GOOD, UNMADE, POISONED = "photos/s00000", "photos/s00001", "photos/s00002"
GROUPS = {
    "ingest": {"raw_images"},
    "networks": {"detections", "depth_maps"},
    "objects": {"scenes", "descriptions"},
    "pairs": {"candidate_qa", "verified_qa", "rejected_qa", "judgements"},
    "release": {"duplicates", "guessability", "balance_plan", "release"},
    "audits": {"task_balance"},
}
PHOTOS = (  # two a shard, in the order of their names
    ("1_astronaut.png", "skimage", "data/astronaut.png"),
    ("2_motorcycle.png", "skimage", "data/motorcycle_left.png"),
    ("3_bus.jpg", "ultralytics", "assets/bus.jpg"),
    ("4_zidane.jpg", "ultralytics", "assets/zidane.jpg"),
    ("5_coffee.png", "skimage", "data/coffee.png"),
)
TRUNCATED = "6_truncated.jpg"
GATE_RESULT = """{
    assetCheckExecutions(assetKey: {path: ["raw_images"]}, checkName: "raw_images_gate", limit: 1) {
        status
        evaluation { severity metadataEntries { label ... on TableMetadataEntry { table { records } } } }
    }
}"""
JOB = "/locations/forge_assets.definitions/jobs/photos_to_pairs"

CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
HANG_GUARD = 300  # seconds after which a page, a server or a run counts as hung: no statement on speed
SCREENSHOT_WIDTHS = (1600, 1400, 1200, 1000, 800)
SCREENSHOT_BYTES = 300_000


def eventually(probe: Callable[[], Any], what: str) -> Any:
    """What `probe` returns as soon as that is true."""
    deadline = time.monotonic() + HANG_GUARD
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(0.5)
    pytest.fail(f"waited {HANG_GUARD} s in vain: {what}")


class Server:
    """`forge ui` as a process group of its own."""

    def __init__(self, project: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.config_file = project / "forge.yaml"
        self._log = project / "ui.log"
        forge = Path(sys.executable).with_name("forge")
        environment = {name: value for name, value in os.environ.items() if name not in {"FORGE_CONFIG", HOME_VARIABLE}}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [forge, "ui", "--config", self.config_file, "--port", str(self.port)],
                cwd=project,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_loaded(self) -> bool:
        """Whether the server answers and has loaded the definitions."""
        if self._process.poll() is not None:
            pytest.fail(f"`forge ui` ended with code {self._process.returncode}:\n{self._log.read_text()[-4000:]}")
        try:
            return bool(self.ask("{ assetNodes { id } }")["assetNodes"])
        except OSError:
            return False

    def ask(self, query: str) -> dict[str, Any]:
        """The data that the server's GraphQL gives."""
        request = urllib.request.Request(
            f"{self.url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=HANG_GUARD) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def finished_run(self, partition: str) -> tuple[str, list[str]] | None:
        """How the latest run of a partition ended and its steps that failed; None as long as it has not ended."""
        tags = f'{{key: "dagster/partition", value: "{partition}"}}'
        fields = "status stepStats { stepKey status }"
        runs = self.ask(f"{{ runsOrError(filter: {{tags: [{tags}]}}) {{ ... on Runs {{ results {{ {fields} }} }} }} }}")
        for run in runs["runsOrError"]["results"]:
            failed = [step["stepKey"] for step in run["stepStats"] if step["status"] == "FAILURE"]
            return (run["status"], failed) if run["status"] in ENDED else None
        return None

    def stop(self) -> None:
        """End the server, its daemon and its runs, whatever state they are in."""
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Browser:
    """Headless Chromium on one server, driven by what a user sees: words and buttons."""

    def __init__(self, server: Server, screenshots: Path, profile: Path) -> None:
        chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
        if not chromium or not driver:
            pytest.skip("needs chromium and chromedriver on the PATH")
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in CHROMIUM_FLAGS:
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={profile}")
        self._driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        self._server = server
        self._screenshots = screenshots
        self.resize()

    def quit(self) -> None:
        self._driver.quit()

    def resize(self, width: int = 1600, height: int = 1100) -> None:
        """Give the page, without the window's frame, this size."""
        frame = self._driver.execute_script("return outerHeight - innerHeight")
        self._driver.set_window_size(width, height + frame)

    def open(self, path: str) -> None:
        self._driver.get(self._server.url + path)

    @property
    def text(self) -> str:
        """All words on the page that can be seen."""
        from selenium.common.exceptions import WebDriverException

        try:
            return self._driver.find_element("tag name", "body").text
        except WebDriverException:  # the page was being drawn anew
            return ""

    def sees(self, *words: str) -> None:
        """Wait until all of these can be read on the page."""
        missing = set(words)

        def all_there() -> bool:
            text = self.text
            missing.difference_update({word for word in missing if word in text})
            return not missing

        try:
            eventually(all_there, "words on the page")
        except pytest.fail.Exception:
            pytest.fail(f"{sorted(missing)} not on {self._driver.current_url}, which reads:\n{self.text}")

    def click(self, words: str, kind: str = "") -> None:
        """Click what carries these words, as soon as it can be clicked.

        Args:
            words: all the words of an element of that `kind`, else those that stand in any one element.
            kind: such as `button`.
        """
        from selenium.common.exceptions import WebDriverException

        carrier = f"//{kind}[normalize-space(.)='{words}']" if kind else f"//*[normalize-space(text())='{words}']"

        def clicked() -> bool:
            for element in reversed(self._driver.find_elements("xpath", carrier)):
                try:
                    if element.is_displayed() and element.is_enabled():
                        element.click()
                        return True
                except WebDriverException:  # covered or drawn anew: the next round will show
                    continue
            return False

        eventually(clicked, f"a click on {words!r} at {self._driver.current_url}")

    def pictures(self) -> list[tuple[str, int]]:
        """The start of each picture's address and the width that it was drawn from, 0 where it cannot be drawn."""
        script = "return [...document.images].map(i => [i.src.slice(0, 30), i.complete ? i.naturalWidth : 0])"
        return [(source, width) for source, width in self._driver.execute_script(script)]

    def settle(self) -> None:
        """Wait until the page has looked the same for a while, as animations and late answers do not."""
        seen: list[bytes] = []

        def still() -> bool:
            time.sleep(1)
            seen.append(self._driver.get_screenshot_as_png())
            return len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]

        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not still():
            pass

    def screenshot(self, name: str) -> None:
        """Keep what is on the screen as a PNG: fewer colours, then fewer pixels, until it suits a repository."""
        self.settle()
        shown = Image.open(io.BytesIO(self._driver.get_screenshot_as_png())).convert("RGB")
        for width in SCREENSHOT_WIDTHS:
            small = shown.resize((width, round(shown.height * width / shown.width)), Image.Resampling.LANCZOS)
            for picture in (small, small.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)):
                png = io.BytesIO()
                picture.save(png, "PNG", optimize=True)
                if png.tell() <= SCREENSHOT_BYTES:
                    (self._screenshots / f"{name}.png").write_bytes(png.getvalue())
                    return
        pytest.fail(f"the screenshot {name} is too large at any size")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Path]:
    """Three shards of two photos, planned but not made; the last holds a photo that was cut short."""
    folder = tmp_path_factory.mktemp("project")
    photos = folder / "photos"
    photos.mkdir()
    for name, package, path in PHOTOS:
        shutil.copy(Path(find_spec(package).submodule_search_locations[0]) / path, photos / name)
    whole = (photos / "3_bus.jpg").read_bytes()
    (photos / TRUNCATED).write_bytes(whole[: len(whole) // 2])
    settings = {
        "lake": "lake",
        "sources": {"photos": {"path": "photos", "license": "CC0-1.0", "shard_size": 2}},
        "models": {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": []},
    }
    path = folder / "forge.yaml"
    path.write_text(yaml.safe_dump(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder / ".dagster"))
        with open_instance(path) as instance:
            added = add_partitions(instance, plan_shards(load_config(path)))
    assert [str(key) for key in added] == [GOOD, UNMADE, POISONED]
    return folder


@pytest.fixture(scope="module")
def server(project) -> Iterator[Server]:
    server = Server(project)
    try:
        eventually(server.is_loaded, "a server with definitions")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def browser(server, tmp_path_factory) -> Iterator[Browser]:
    wanted = os.environ.get("FORGE_SCREENSHOTS")
    screenshots = Path(wanted) if wanted else tmp_path_factory.mktemp("screenshots")
    screenshots.mkdir(parents=True, exist_ok=True)
    browser = Browser(server, screenshots, tmp_path_factory.mktemp("profile"))
    try:
        browser.open("/")
        browser.click("Hide navigation")
        yield browser
    finally:
        browser.quit()


@pytest.fixture(autouse=True)
def _usual_window(browser) -> None:
    browser.resize()


def materialize(browser: Browser, server: Server, partition: str) -> tuple[str, list[str]]:
    """Make all stages of one partition by clicking; how the run ended and which steps failed."""
    browser.open(JOB)
    browser.click("Materialize all…", "button")
    browser.sees("Launch runs to materialize 7 assets")
    browser.click("Select a partition or create one")
    browser.click(partition)
    browser.click("Partition selection")  # closes the list
    browser.click("Launch 1 run", "button")
    return eventually(lambda: server.finished_run(partition), f"the end of the run of {partition}")


@pytest.fixture(scope="module")
def good_run(browser, server) -> None:
    assert materialize(browser, server, GOOD) == ("SUCCESS", [])


@pytest.fixture(scope="module")
def poisoned_run(browser, server) -> None:
    assert materialize(browser, server, POISONED) == ("FAILURE", ["raw_images_raw_images_gate"])


def lake_keys(server: Server, tables: Sequence[str]) -> dict[str, list[str]]:
    lake = Lake(load_config(server.config_file).lake)
    return {table: [str(key) for key in lake.keys(table)] for table in tables}


@pytest.mark.usefixtures("good_run")
def test_the_graph_shows_every_asset_in_its_group(browser, server):
    browser.resize(1600, 1150)
    groups = ",".join(f"global%40global%3A{group}" for group in GROUPS)
    browser.open(f"/asset-groups?expanded={groups}")
    browser.sees("Global asset lineage", *GROUPS, *set().union(*GROUPS.values()))
    browser.screenshot("asset-graph")

    nodes = server.ask("{ assetNodes { assetKey { path } groupName description kinds owners { __typename } } }")
    found: dict[str, set[str]] = {}
    for node in nodes["assetNodes"]:
        found.setdefault(node["groupName"], set()).update(node["assetKey"]["path"])
        assert all(node.values()), node
    assert found == GROUPS


@pytest.mark.usefixtures("good_run")
def test_a_partition_made_by_clicking_shows_its_figures_and_a_picture_of_its_pairs(browser, server):
    browser.open(f"/assets/verified_qa?view=partitions&partition={GOOD.replace('/', '%2F')}")
    browser.sees(
        GOOD,
        "Materialized",
        "dagster/partition_row_count",
        "pairs/counting",
        "yield/counting",
        "picture",
        "[Show Markdown]",
    )
    browser.screenshot("verified-qa-partition")

    browser.resize(1600, 1300)
    browser.click("[Show Markdown]")
    browser.sees("Close")
    shown = eventually(browser.pictures, "a picture")
    assert len(shown) == 1
    assert shown[0][0].startswith("data:image/webp;base64,")
    eventually(lambda: browser.pictures()[0][1] >= 1000, "a contact sheet that can be drawn")
    browser.screenshot("verified-qa-picture")

    made = lake_keys(server, ["raw_images", "verified_qa", "rejected_qa"])
    assert all(GOOD in keys for keys in made.values()), made


@pytest.mark.usefixtures("poisoned_run")
def test_a_failed_gate_shows_the_rule_that_stopped_the_partition(browser, server):
    browser.resize(1900, 1200)
    browser.open("/assets/raw_images?view=checks")
    browser.sees("raw_images_gate", "Failed", "blocking", POISONED, "expectations", "unusable_share_in_range", "fails")
    browser.screenshot("failed-gate")

    [execution] = server.ask(GATE_RESULT)["assetCheckExecutions"]
    evaluation = execution["evaluation"]
    assert (execution["status"], evaluation["severity"]) == ("FAILED", "ERROR")
    [records] = [entry["table"]["records"] for entry in evaluation["metadataEntries"] if "table" in entry]
    failing = [record["rule"] for record in map(json.loads, records) if record["result"] != "holds"]
    assert failing == ["unusable_share_in_range", "unusable_photos_few"]
    made = lake_keys(server, ["raw_images", "detections", "depth_maps", "verified_qa"])
    assert POISONED in made.pop("raw_images")
    assert not any(POISONED in keys for keys in made.values()), made


@pytest.mark.usefixtures("good_run", "poisoned_run")
def test_the_job_shows_how_far_each_partition_came(browser):
    browser.resize(1600, 700)
    browser.open(f"{JOB}/partitions")
    browser.sees("3\nTotal partitions", "1\nMissing partitions")
    browser.click("Show per-asset status", "button")
    browser.sees("verified_qa", "rejected_qa", GOOD, UNMADE, POISONED)
    browser.screenshot("partitions")
