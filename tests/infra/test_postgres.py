"""The instance on PostgreSQL, with the very commands of the compose file: code server, daemon and web server."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import DagsterRunStatus
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage

from forge_assets.automation import add_partitions, plan_shards
from forge_assets.partitions import SHARDS
from forge_resources.config import ENVIRONMENT_VARIABLE, load_config
from forge_resources.instance import HOME_VARIABLE, open_instance
from forge_resources.lake import Lake

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "infra/postgres/dagster.yaml"
COMPOSE = ROOT / "infra/compose"
SERVICES = ("code-cpu", "daemon", "webserver")
PHOTOS = ("coffee.png", "rocket.jpg", "astronaut.png")
HANG_GUARD = 300  # seconds after which a server or a backfill counts as hung: no statement on speed
BACKFILL = """mutation ($parameters: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $parameters) {
        __typename
        ... on LaunchBackfillSuccess { backfillId }
        ... on PythonError { message }
    }
}"""


def eventually(probe: Callable[[], Any], what: str) -> Any:
    """What `probe` returns as soon as that is true."""
    deadline = time.monotonic() + HANG_GUARD
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(0.5)
    pytest.fail(f"waited {HANG_GUARD} s in vain: {what}")


class Deployment:
    """The services of the compose file that run this package, as processes of this machine."""

    def __init__(self, folder: Path, variables: dict[str, str], free_port: Callable[[], int]) -> None:
        self.folder = folder
        code, web = free_port(), free_port()
        self.url = f"http://127.0.0.1:{web}/graphql"
        self.variables = variables | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "DAGSTER_CODE_HOST": "127.0.0.1",
            "DAGSTER_CODE_PORT": str(code),
            "DAGSTER_CODE_SERVER_HOST": "127.0.0.1",
            "DAGSTER_CODE_SERVER_PORT": str(code),
            "DAGSTER_WEBSERVER_HOST": "127.0.0.1",
            "DAGSTER_WEBSERVER_PORT": str(web),
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def log(self, service: str) -> Path:
        return self.folder / f"{service}.log"

    def start(self) -> None:
        services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
        for name in SERVICES:
            with self.log(name).open("w") as log:
                self.processes[name] = subprocess.Popen(
                    services[name]["command"],
                    cwd=self.folder,
                    env=os.environ | self.variables,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait()

    def ask(self, query: str, **variables: object) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["data"]

    def is_loaded(self) -> bool:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended:\n{self.log(name).read_text()[-4000:]}"
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return bool(self.ask("{ assetNodes { id } }")["assetNodes"])
        return False


@pytest.fixture
def project(tmp_path: Path, postgres: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos in shards of one, and an empty instance on PostgreSQL."""
    (tmp_path / "photos").mkdir()
    data = Path(find_spec("skimage").submodule_search_locations[0]) / "data"
    for name in PHOTOS:
        shutil.copy(data / name, tmp_path / "photos" / name)
    source = {"path": "photos", "shard_size": 1, "license": "CC0"}
    (tmp_path / "forge.yaml").write_text(yaml.safe_dump({"lake": "lake", "sources": {"photos": source}}))
    (tmp_path / "home").mkdir()
    shutil.copy(SETTINGS, tmp_path / "home" / "dagster.yaml")
    shutil.copy(COMPOSE / "workspace.yaml", tmp_path / "workspace.yaml")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "forge.yaml"))
    for name, value in postgres.variables.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def instance(project: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(project / "forge.yaml") as instance:
        yield instance


@pytest.fixture
def deployment(project: Path, postgres: Any, free_port: Callable[[], int]) -> Iterator[Deployment]:
    deployment = Deployment(project, dict(postgres.variables), free_port)
    deployment.start()
    try:
        eventually(deployment.is_loaded, "the web server answers and the code server has loaded")
        yield deployment
    finally:
        deployment.stop()


def test_no_value_of_the_connection_stands_in_the_file() -> None:
    connection = yaml.safe_load(SETTINGS.read_text())["storage"]["postgres"]["postgres_db"]
    assert connection.pop("scheme") == "postgresql+psycopg2"
    assert all(set(value) == {"env"} for value in connection.values())
    assert len(connection) == 5


@pytest.mark.slow
def test_a_variable_that_is_not_set_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_PG_PASSWORD")
    with pytest.raises(Exception, match="DAGSTER_PG_PASSWORD"), open_instance(project / "forge.yaml"):
        pass


@pytest.mark.slow
def test_the_instance_queues_runs_limits_them_and_watches_them(instance: dg.DagsterInstance) -> None:
    queue = instance.get_concurrency_config()
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert queue.run_queue_config.max_concurrent_runs == 8
    assert [limit["key"] for limit in queue.run_queue_config.tag_concurrency_limits] == ["dagster/partition"]
    assert queue.pool_config.default_pool_limit == 1
    assert instance.run_monitoring_enabled
    assert instance.run_retries_enabled


def launch(deployment: Deployment, keys: list[str]) -> str:
    """The id of a backfill of these partitions of `raw_images`."""
    parameters = {"assetSelection": [{"path": ["raw_images"]}], "partitionNames": keys}
    launched = deployment.ask(BACKFILL, parameters=parameters)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return launched["backfillId"]


def order(instance: dg.DagsterInstance, run_id: str, *events: dg.DagsterEventType) -> list[int]:
    """Where in the log of a run the first event of each type stands."""
    logged = [entry.dagster_event.event_type for entry in instance.all_logs(run_id) if entry.is_dagster_event]
    return [logged.index(event) for event in events]


@pytest.mark.slow
def test_backfills_go_through_daemon_and_queue_and_are_read_back(
    project: Path, instance: dg.DagsterInstance, deployment: Deployment
) -> None:
    add_partitions(instance, plan_shards(load_config()))
    keys = instance.get_dynamic_partitions(SHARDS.name)
    first, *_ = keys
    backfills = [launch(deployment, keys), launch(deployment, [first])]

    def ended() -> list[str] | None:
        states = [instance.get_backfill(backfill).status.value for backfill in backfills]
        return states if not {"REQUESTED", "FAILING"} & set(states) else None

    assert set(eventually(ended, "the backfills end")) <= {"COMPLETED", "COMPLETED_SUCCESS"}
    deployment.stop()

    with open_instance(project / "forge.yaml") as again:
        assert isinstance(again.run_storage, PostgresRunStorage)
        assert isinstance(again.event_log_storage, PostgresEventLogStorage)
        runs = again.get_runs()
        assert sorted(run.tags["dagster/partition"] for run in runs) == sorted([first, *keys])
        assert {run.status for run in runs} == {DagsterRunStatus.SUCCESS}
        for run in runs:
            steps = order(
                again,
                run.run_id,
                dg.DagsterEventType.RUN_ENQUEUED,
                dg.DagsterEventType.RUN_START,
                dg.DagsterEventType.ASSET_MATERIALIZATION,
            )
            assert steps == sorted(steps)
        assert set(again.get_materialized_partitions(dg.AssetKey("raw_images"))) == set(keys)
        of_first = [again.get_run_stats(run.run_id) for run in runs if run.tags["dagster/partition"] == first]
        earlier, later = sorted(of_first, key=lambda stats: stats.start_time)
        assert earlier.end_time <= later.launch_time, "two runs of one partition went at once"

    lake = Lake(load_config().lake)
    assert [str(key) for key in lake.keys("raw_images")] == sorted(keys)
    assert all(lake.has_passed("raw_images", key) for key in lake.keys("raw_images"))
    assert not list((project / "home").rglob("*.db"))


@pytest.mark.slow
def test_a_run_whose_process_is_killed_fails_and_is_tried_again(
    instance: dg.DagsterInstance, deployment: Deployment
) -> None:
    add_partitions(instance, plan_shards(load_config()))
    first, *_ = instance.get_dynamic_partitions(SHARDS.name)
    launch(deployment, [first])

    def worker() -> int | None:
        messages = [entry.user_message for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]
        found = [int(match[1]) for message in messages if (match := re.search(r"\(pid: (\d+)\)", message))]
        return found[0] if found else None

    os.kill(eventually(worker, "a run has a process"), signal.SIGKILL)
    ended = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE}

    def statuses() -> list[DagsterRunStatus] | None:
        found = [run.status for run in instance.get_runs()]
        return found if len(found) == 2 and set(found) <= ended else None

    assert set(eventually(statuses, "the run is tried again")) == ended
    lake = Lake(load_config().lake)
    assert [str(key) for key in lake.keys("raw_images")] == [first]


@pytest.mark.slow
def test_the_password_stands_in_no_file(project: Path, deployment: Deployment, postgres: Any) -> None:
    deployment.stop()
    for path in project.rglob("*"):
        assert not path.is_file() or postgres.password.encode() not in path.read_bytes(), path
