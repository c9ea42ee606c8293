"""One machine as `make up` starts it: web server, daemon, automation switched on; signals end all of it."""

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from PIL import Image

from forge_assets.tables import SCHEMAS
from forge_resources.config import load_config
from forge_resources.instance import open_instance
from forge_resources.lake import Lake

ROOT = Path(__file__).parents[2]
HANG_GUARD = 300  # seconds after which a server or a run counts as hung: no statement on speed
INSTIGATORS = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
    sensors { name sensorState { status } }
    schedules { name scheduleState { status } }
} } } }"""
RUNS = "{ runsOrError { ... on Runs { results { runId status } } } }"
ON = {"new_photos": "RUNNING", "default_automation_condition_sensor": "RUNNING", "nightly": "RUNNING"}


def eventually(probe: Callable[[], Any], what: str) -> Any:
    """What `probe` returns as soon as that is true."""
    deadline = time.monotonic() + HANG_GUARD
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(0.5)
    pytest.fail(f"waited {HANG_GUARD} s in vain: {what}")


def up() -> list[str]:
    """The command of `make up`, of the environment that runs the tests."""
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = [block for block in makefile.split("\n\n") if block.splitlines()[-2:-1] == ["up: setup"]]
    program, *arguments = shlex.split(recipe.splitlines()[-1])
    return [str(Path(sys.executable).with_name(Path(program).name)), *arguments]


class Machine:
    """A process of `make up`, in a session of its own as in a terminal of its own."""

    def __init__(self, project: Path, port: int, command: list[str]) -> None:
        self._log = project / "up.log"
        self._home = project / ".dagster"
        self._url = f"http://127.0.0.1:{port}/graphql"
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("FORGE_", "DAGSTER_"))}
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(port)],
                cwd=project,
                env=variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ask(self, query: str) -> Any:
        request = urllib.request.Request(
            self._url, json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=HANG_GUARD) as answer:
            return json.load(answer)["data"]

    def switched(self) -> Mapping[str, str] | None:
        """Sensors and schedules with their status, once the definitions are loaded."""
        assert self.process.poll() is None, self._log.read_text()[-4000:]
        with contextlib.suppress(OSError):
            for repository in self.ask(INSTIGATORS)["repositoriesOrError"].get("nodes", []):
                sensors = {one["name"]: one["sensorState"]["status"] for one in repository["sensors"]}
                schedules = {one["name"]: one["scheduleState"]["status"] for one in repository["schedules"]}
                return {name: status for name, status in (sensors | schedules).items() if name in ON}
        return None

    def runs(self) -> Mapping[str, str]:
        """Status of every run by its id."""
        return {run["runId"]: run["status"] for run in self.ask(RUNS)["runsOrError"]["results"]}

    def started(self) -> str | None:
        """The id of a run that is at work."""
        return next((run for run, status in self.runs().items() if status == "STARTED"), None)

    def processes(self) -> dict[int, str]:
        """Command lines of all processes on this instance, by their ids."""
        mark = f"DAGSTER_HOME={self._home}".encode()
        found: dict[int, str] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found

    def wait(self) -> int:
        """The exit code, once the process has ended."""
        return eventually(lambda: (self.process.poll() is not None) and [self.process.returncode], "it ends")[0]

    def kill(self) -> None:
        """End whatever is left."""
        for process in {self.process.pid, *self.processes()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


def add_photo(project: Path, width: int) -> None:
    photo = io.BytesIO()
    Image.linear_gradient("L").resize((width, 256)).convert("RGB").save(photo, "JPEG")
    (project / "photos" / f"{width}.jpg").write_bytes(photo.getvalue())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small photo and no instance yet."""
    folder = tmp_path_factory.mktemp("one-machine")
    (folder / "photos").mkdir()
    add_photo(folder, 256)
    settings = {
        "lake": "lake",
        "sources": {"photos": {"path": "photos", "license": "CC0"}},
        "models": {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": []},
    }
    (folder / "forge.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture
def start(project: Path, free_port: Callable[[], int]) -> Iterator[Callable[[], Machine]]:
    machines: list[Machine] = []

    def start() -> Machine:
        machines.append(Machine(project, free_port(), up()))
        return machines[-1]

    try:
        yield start
    finally:
        for machine in machines:
            machine.kill()


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="NOT TESTED: `make up`; this test reads /proc"),
]


def test_up_makes_new_photos_by_itself_and_a_term_signal_ends_it_when_the_run_at_work_has_ended(
    start: Callable[[], Machine], project: Path
) -> None:
    machine = start()
    assert eventually(machine.switched, "the definitions are loaded") == ON
    run = eventually(machine.started, "the sensor starts a run of the new photo")
    os.kill(machine.process.pid, signal.SIGTERM)
    assert machine.wait() == 0
    eventually(lambda: not machine.processes(), "no process is left")
    with open_instance(project / "forge.yaml") as instance:
        assert {one.run_id: one.status for one in instance.get_runs()}[run] is dg.DagsterRunStatus.SUCCESS


def test_what_was_done_before_is_there_again_and_an_interrupt_stops_the_run_too(
    start: Callable[[], Machine], project: Path
) -> None:
    with open_instance(project / "forge.yaml") as instance:
        before = {one.run_id for one in instance.get_runs()}
    add_photo(project, 300)
    machine = start()
    assert eventually(machine.switched, "the definitions are loaded") == ON
    assert before <= set(machine.runs())
    eventually(machine.started, "a run of what was added starts")
    os.killpg(machine.process.pid, signal.SIGINT)
    assert machine.wait() == 0
    eventually(lambda: not machine.processes(), "no process is left")
    lake = Lake(load_config(project / "forge.yaml").lake)
    for table in SCHEMAS:
        for key in lake.keys(table):
            assert lake.scan(table, key).collect().height == lake.manifest(table, key).rows
