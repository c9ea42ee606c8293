"""Two real Ray nodes on this machine: runs go over both, one node is killed, and nothing is lost and nothing twice."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import yaml
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.events import DagsterEvent
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.launcher import LaunchRunContext
from dagster._grpc.types import ExecuteRunArgs
from dagster_shared.serdes import serialize_value
from PIL import Image

from forge_assets.automation import add_partitions, photos_to_pairs, plan_shards
from forge_assets.definitions import build_definitions
from forge_assets.partitions import SHARDS
from forge_assets.runs import make_partitions
from forge_assets.stage import GPU_POOL
from forge_resources.config import ENVIRONMENT_VARIABLE, load_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.instance import HOME_VARIABLE, open_instance
from forge_resources.lake import Lake

ray = pytest.importorskip("ray", reason="NOT TESTED: runs on Ray. Install the extra `ray`")
pytest.importorskip("dagster_ray", reason="NOT TESTED: runs on Ray. Install the extra `ray`")

from forge_resources.ray_runs.launcher import RayUnreachable, WarmRayLauncher  # noqa: E402 -- needs Ray
from forge_resources.ray_runs.pool import end_run  # noqa: E402 -- needs Ray
from forge_resources.ray_runs.settings import WorkerSettings  # noqa: E402 -- needs Ray

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "infra/ray/dagster.yaml"
PAGE = ROOT / "docs/ray.md"
BIN = Path(sys.executable).parent
PARTITIONS = 20
STAGE = "detections"
HANG_GUARD = 600  # seconds after which a server or a backfill counts as hung: no statement on speed
OBJECT_STORE_BYTES = 100_000_000
EVENT_OF = {
    DagsterRunStatus.STARTING: dg.DagsterEventType.RUN_STARTING,
    DagsterRunStatus.STARTED: dg.DagsterEventType.RUN_START,
    DagsterRunStatus.CANCELING: dg.DagsterEventType.RUN_CANCELING,
    DagsterRunStatus.SUCCESS: dg.DagsterEventType.RUN_SUCCESS,
}


def eventually(probe: Callable[[], Any], what: str, pause_s: float = 0.5) -> Any:
    """What `probe` returns as soon as that is true."""
    deadline = time.monotonic() + HANG_GUARD
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(pause_s)
    pytest.fail(f"waited {HANG_GUARD} s in vain: {what}")


@dataclass
class Cluster:
    """Ray nodes of this machine that take each other by a token; each has one GPU in Ray's books."""

    folder: Path
    port: int
    dashboard_port: int
    sessions: dict[str, int] = field(default_factory=dict)
    """Of each node the session of the operating system that all its processes are in."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    def start_head(self) -> None:
        self.start(
            "head",
            "--head",
            f"--port={self.port}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.dashboard_port}",
            f"--temp-dir={self.folder}",
        )

    def start_second(self) -> None:
        self.start("second", f"--address=127.0.0.1:{self.port}")

    def start(self, name: str, *options: str) -> None:
        common = (
            "--disable-usage-stats",
            "--node-ip-address=127.0.0.1",
            "--dashboard-agent-listen-port=0",
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--num-cpus=2",
            "--num-gpus=1",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
        )
        log = self.folder.with_suffix(f".{name}.log")
        with log.open("w") as output:
            started = subprocess.Popen(
                [BIN / "ray", "start", *common, *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.sessions[name] = started.pid
        assert started.wait() == 0, log.read_text()[-4000:]

    def processes(self, name: str) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if session_of(process) == self.sessions[name]]

    def node_id(self, name: str) -> str:
        """Ray's own name of a node: its raylet's command says it."""
        words = [word for process in self.processes(name) for word in process.cmdline()]
        return next(word.removeprefix("--node_id=") for word in words if word.startswith("--node_id="))

    def kill(self, name: str, processes: Sequence[psutil.Process] = ()) -> None:
        """Kill all processes of a node at once, as a host dies that loses its power; first of all those named."""
        for process in (*processes, *self.processes(name)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(self.processes(name))
        del self.sessions[name]


def session_of(process: psutil.Process) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(process.pid)
    return None


@pytest.fixture
def cluster(free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """No node yet. Its folder has a short name: paths of sockets may have 107 characters."""
    monkeypatch.setenv("RAY_prestart_worker_first_driver", "0")  # each job would start a spare process
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        cluster = Cluster(Path(folder) / "ray", free_port(), free_port())
        monkeypatch.setenv("RAY_JOBS_ADDRESS", cluster.url)
        try:
            yield cluster
        finally:
            for name in list(cluster.sessions):
                cluster.kill(name)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Twenty small photos in shards of one, and the configurations of two lakes."""
    (tmp_path / "photos").mkdir()
    astronaut = Image.open(Path(find_spec("skimage").submodule_search_locations[0]) / "data/astronaut.png")
    for number in range(PARTITIONS):
        left, top = 90 + 5 * (number % 5), 5 * (number // 5)
        astronaut.crop((left, top, left + 300, top + 300)).resize((160, 160)).save(tmp_path / f"photos/{number}.png")
    source = {"path": "photos", "shard_size": 1, "license": "CC0"}
    models = {
        "detector": {"backend": "embedded"},
        "pose": {"backend": "none"},
        "second_detector": None,
        "second_pose": None,
    }
    for name in ("expected", "made"):
        settings = {"lake": name, "sources": {"photos": source}, "models": models}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def hashes(config_file: Path) -> dict[str, str]:
    """The content hash of every partition of the stage."""
    lake = Lake(load_config(config_file).lake)
    return {str(key): lake.manifest(STAGE, key).content_hash for key in lake.keys(STAGE)}


@pytest.fixture
def expected(project: Path) -> dict[str, str]:
    """The content hashes of partitions that one process makes, one after another; their photos lie in both lakes."""
    file = project / "expected.yaml"
    config = load_config(file)
    keys = plan_shards(config)
    with dg.DagsterInstance.ephemeral() as instance:
        add_partitions(instance, keys)
        forge = ForgeResource(config_path=str(file))
        photos = list(make_partitions(forge, instance, keys, ["raw_images"]))
        shutil.copytree(project / "expected", project / "made")
        found = list(make_partitions(forge, instance, keys, [STAGE]))
    assert all(outcome.succeeded for outcome in [*photos, *found])
    return hashes(file)


@pytest.fixture
def instance(
    project: Path,
    cluster: Cluster,  # noqa: ARG001 -- its address is in the environment
    postgres: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dg.DagsterInstance]:
    """An empty instance with the settings of `infra/ray`."""
    (project / "home").mkdir()
    shutil.copy(SETTINGS, project / "home/dagster.yaml")
    monkeypatch.setenv(HOME_VARIABLE, str(project / "home"))
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(project / "made.yaml"))
    for name, value in postgres.variables.items():
        monkeypatch.setenv(name, value)
    with open_instance(project / "made.yaml") as instance:
        yield instance


@pytest.fixture
def daemon(
    project: Path,
    instance: dg.DagsterInstance,  # noqa: ARG001 -- what the daemon works for
) -> Iterator[Path]:
    """Dagster's daemon with a code server of its own; yields its log."""
    log = project / "daemon.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [BIN / "dagster-daemon", "run", "--module-name", "forge_assets.definitions"],
            cwd=project,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait()


def launch(instance: dg.DagsterInstance) -> str:
    """The id of a backfill of all partitions, as the UI launches it."""
    add_partitions(instance, plan_shards(load_config()))
    keys = instance.get_dynamic_partitions(SHARDS.name)
    assert len(keys) == PARTITIONS
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id="twenty",
        asset_graph=build_definitions().resolve_asset_graph(),
        partition_names=keys,
        asset_selection=[dg.AssetKey(STAGE)],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id


@pytest.mark.long
@pytest.mark.usefixtures("daemon")
def test_a_backfill_over_two_nodes_loses_one_and_makes_every_partition_once(
    project: Path, cluster: Cluster, expected: dict[str, str], instance: dg.DagsterInstance
) -> None:
    cluster.start_head()
    cluster.start_second()
    backfill_id = launch(instance)

    head, second = cluster.node_id("head"), cluster.node_id("second")
    succeeded = RunsFilter(statuses=[DagsterRunStatus.SUCCESS])

    def made_on() -> Counter[str]:
        return Counter(run.tags["ray/node_id"] for run in instance.get_runs(succeeded))

    eventually(lambda: set(made_on()) == {head, second}, "both nodes have made partitions")
    at_work = RunsFilter(statuses=[DagsterRunStatus.STARTED], tags={"ray/node_id": second})
    processes = cluster.processes("second")
    lost, *_ = eventually(lambda: instance.get_runs(at_work), "the second node is at work", pause_s=0.05)
    cluster.kill("second", processes)
    assert made_on().total() < PARTITIONS

    def ended() -> bool:
        return instance.get_backfill(backfill_id).status.value not in ("REQUESTED", "FAILING")

    eventually(ended, "the backfill ends")
    assert instance.get_backfill(backfill_id).status.value == "COMPLETED_SUCCESS"
    assert instance.get_run_by_id(lost.run_id).status == DagsterRunStatus.FAILURE
    made = Counter(run.tags["dagster/partition"] for run in instance.get_runs(succeeded))
    assert made == Counter(instance.get_dynamic_partitions(SHARDS.name))
    assert hashes(project / "made.yaml") == expected


@pytest.fixture
def unreachable(tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An instance on SQLite with the launcher of `infra/ray`, whose address nothing listens on."""
    monkeypatch.setenv("RAY_JOBS_ADDRESS", f"http://127.0.0.1:{free_port()}")
    settings = {"run_launcher": yaml.safe_load(SETTINGS.read_text())["run_launcher"]}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def run_of(instance: dg.DagsterInstance, *stages: str) -> dg.DagsterRun:
    """A run of some stages of a partition that has not been launched."""
    repository = ReconstructableRepository.for_module("forge_assets.definitions", "definitions")
    return instance.create_run_for_job(
        build_definitions().resolve_job_def(photos_to_pairs.name),
        asset_selection=frozenset(map(dg.AssetKey, stages)),
        job_code_origin=repository.get_reconstructable_job(photos_to_pairs.name).get_python_origin(),
    )


@pytest.mark.slow
def test_runs_with_networks_go_to_workers_with_a_gpu(unreachable: dg.DagsterInstance) -> None:
    launcher = unreachable.run_launcher
    assert isinstance(launcher, WarmRayLauncher)
    assert launcher.workers_of(run_of(unreachable, "detections", "scenes")) == "gpu"
    assert launcher.workers_of(run_of(unreachable, "candidate_qa")) == "default"
    assert launcher.workers["gpu"].num_gpus == 1
    assert launcher.workers["default"].num_gpus == 0


@pytest.mark.slow
def test_a_run_starts_nowhere_else_where_ray_cannot_be_reached(unreachable: dg.DagsterInstance) -> None:
    run = run_of(unreachable, "detections")
    with pytest.raises(RayUnreachable, match=r"Ray at http://127\.0\.0\.1:\d+ takes no runs .* mend the address"):
        unreachable.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
    assert unreachable.get_run_by_id(run.run_id).status == DagsterRunStatus.NOT_STARTED


def test_settings_of_workers_survive_their_way_through_a_command() -> None:
    settings = WorkerSettings(count=2, num_gpus=0.5, resources={"a100": 1})
    assert WorkerSettings.from_json(settings.to_json()) == settings
    assert settings.ray_options == {
        "num_cpus": 1,
        "num_gpus": 0.5,
        "memory": None,
        "resources": {"a100": 1},
        "scheduling_strategy": "SPREAD",
    }


def test_as_many_runs_go_at_once_as_there_are_workers() -> None:
    settings = yaml.safe_load(SETTINGS.read_text())
    workers = settings["run_launcher"]["config"]["workers"]
    assert settings["concurrency"]["pools"]["default_limit"] == workers[GPU_POOL]["count"]
    assert settings["concurrency"]["runs"]["max_concurrent_runs"] == sum(kind["count"] for kind in workers.values())


def test_no_secret_and_no_address_stands_in_the_file() -> None:
    settings = yaml.safe_load(SETTINGS.read_text())
    tested = yaml.safe_load((ROOT / "infra/postgres/dagster.yaml").read_text())
    assert settings["storage"] == tested["storage"]
    assert settings["run_launcher"]["config"]["address"] == {"env": "RAY_JOBS_ADDRESS"}


def test_commands_of_the_page_have_options_that_ray_has() -> None:
    start = [BIN / "ray", "start", "--help"]
    shown = subprocess.run(start, capture_output=True, text=True, check=True).stdout
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("ray start")]
    used = {word.split("=")[0] for line in lines for word in line.split() if word.startswith("--")}
    assert len(lines) == 2
    assert used <= set(shown.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (DagsterRunStatus.STARTED, DagsterRunStatus.FAILURE),
        (DagsterRunStatus.STARTING, DagsterRunStatus.FAILURE),
        (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED),
        (DagsterRunStatus.SUCCESS, DagsterRunStatus.SUCCESS),
    ],
)
def test_a_run_that_lost_its_worker_ends_as_was_asked_for(
    unreachable: dg.DagsterInstance, before: DagsterRunStatus, after: DagsterRunStatus
) -> None:
    run = run_of(unreachable, "candidate_qa")
    status = DagsterEvent(EVENT_OF[before].value, run.job_name)
    unreachable.report_dagster_event(status, run.run_id)
    arguments = ExecuteRunArgs(run.job_code_origin, run.run_id, unreachable.get_ref())
    end_run(serialize_value(arguments), "its node is gone")
    assert unreachable.get_run_by_id(run.run_id).status == after
