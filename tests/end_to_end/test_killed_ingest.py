"""An ingest that is killed at any moment: nothing half-written is ever seen, and the next run completes it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow.parquet as pq
import pytest

from forge_assets.automation import not_made_as_planned
from forge_resources.shards import ShardKey
from forge_resources.sources.shard_plan import ShardPlan

pytestmark = pytest.mark.slow

GOOD, DEAD = 296, 3
ALL = GOOD + DEAD + 1
CONCURRENCY = 8
KEY = ShardKey("photos", "s00000")
TABLES = ("raw_images", "rejected_images")
FILES = {"data.parquet", "manifest.json", "verdict.json"}


class Web(NamedTuple):
    """A slow site with a few hundred photos, and the content of an ingest of it that nobody disturbed."""

    site: Any
    hashes: dict[str, str]


def configure(project: Any, site: Any) -> None:
    names = [*(f"{number}.jpg" for number in range(GOOD + DEAD)), "page.jpg"]
    rows = {"image_url": [f"{site.url}/{name}" for name in names], "caption": names}
    (project.folder / "px").mkdir()
    pl.DataFrame(rows).write_parquet(project.folder / "px/train.parquet")
    download = {"allow_private_addresses": True, "max_attempts": 1, "concurrency": CONCURRENCY}
    source = {"kind": "pixmo", "path": "px", "table": "cap", "download": download}
    project.use(photos={**source, "max_near_duplicate_distance": None})


def hashes(project: Any) -> dict[str, str]:
    return {table: project.lake.manifest(table, KEY).content_hash for table in TABLES}


@pytest.fixture(scope="module")
def web(
    start_site: Callable[[], Any], shared_project: Callable[[], Any], small_photos: Callable[[int], list[bytes]]
) -> Web:
    """The site; each of its answers takes 20 ms once the undisturbed ingest is done."""
    site, project = start_site(), shared_project()
    site.files |= {f"{number}.jpg": data for number, data in enumerate(small_photos(GOOD))}
    site.files["page.jpg"] = b"<html>"
    configure(project, site)
    (outcome,) = project.make(project.plan(), "raw_images")
    assert outcome.succeeded, outcome.problems
    site.seconds = 0.02
    return Web(site, hashes(project))


def whole_partitions(lake: Path) -> list[Path]:
    """Folders of partitions that can be seen now.

    Raises:
        AssertionError: if one of them is not whole.
    """
    folders = list(lake.glob("*_images/source=*/shard=*"))
    for folder in folders:
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        assert {"data.parquet", "manifest.json"} <= names <= FILES, names
        manifest = json.loads((folder / "manifest.json").read_bytes())
        assert pq.read_metadata(folder / "data.parquet").num_rows == manifest["rows"]
    return folders


def first_download(web: Web, _lake: Path) -> bool:
    return web.site.total >= 1


def half_of_the_downloads(web: Web, _lake: Path) -> bool:
    return web.site.total >= ALL // 2


def first_rows_staged(_web: Web, lake: Path) -> bool:
    return any(path.stat().st_size for path in lake.glob(".staging/*/data.parquet"))


def rejects_there(_web: Web, lake: Path) -> bool:
    return any(lake.glob("rejected_images/source=*/shard=*"))


def photos_there(_web: Web, lake: Path) -> bool:
    return any(lake.glob("raw_images/source=*/shard=*"))


@pytest.mark.parametrize(
    "moment",
    [first_download, half_of_the_downloads, first_rows_staged, rejects_there, photos_there],
    ids=lambda moment: moment.__name__,
)
def test_an_ingest_killed_at_any_moment_shows_nothing_half_written_and_the_next_run_completes_it(
    new_project: Callable[[], Any], web: Web, moment: Callable[[Web, Path], bool]
) -> None:
    project = new_project()
    configure(project, web.site)
    web.site.asked.clear()
    command = [sys.executable, "-m", "forge_assets.cli", "run", "--stage", "raw_images", "-c", str(project.config_file)]
    lake = project.lake

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not moment(web, lake.root):
        whole_partitions(lake.root)
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    left, made = whole_partitions(lake.root), lake.keys("raw_images")
    plan = ShardPlan(project.config.lake)
    assert set(made) <= set(lake.keys("rejected_images"))
    if moment not in {rejects_there, photos_there}:
        assert not_made_as_planned(lake, plan, [KEY]) == [KEY]

    again = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while again.poll() is None:
        if not left:
            whole_partitions(lake.root)
        time.sleep(0.0005)
    assert again.returncode == 0, again.communicate()[0]

    assert hashes(project) == web.hashes
    assert project.in_out_rejected(KEY) == (ALL, GOOD, DEAD + 1)
    assert lake.has_passed("raw_images", KEY)
    assert not_made_as_planned(lake, plan, [KEY]) == []
    if not made:  # what was fetched before the kill is not fetched again, but for what was on its way
        assert web.site.total <= ALL + CONCURRENCY
    assert not list((project.folder / ".forge/downloads").rglob("*.bin"))

    staged = list((lake.root / ".staging").glob("*"))
    assert lake.clear_staging(older_than_s=0) == len(staged) <= 2
    assert not list((lake.root / ".staging").glob("*"))
    assert hashes(project) == web.hashes
