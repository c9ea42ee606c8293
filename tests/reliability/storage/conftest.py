"""Storage that breaks on purpose: a proxy before the S3 server, a disk without room, files that were damaged."""

import contextlib
import os
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from forge_assets.cli import app
from forge_resources.config import load_config
from forge_resources.lake import Lake
from forge_resources.s3 import S3Config
from forge_resources.shards import ShardKey

SECRET_IN_ANSWERS = "the-token-that-the-server-repeats"
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Fault:
    """What happens to the next requests of a kind."""

    kind: str
    """status: an error in place of the answer; refuse: cut before the request is passed on; lose: passed on, its answer
    lost; cut: half of the answer's body; slow: the answer comes late."""
    where: str
    """Pattern of `<method> <path>`."""
    times: int
    after: int = 0
    """So many of them are let through first."""
    every: int = 1
    """Then one of so many meets the fault."""
    status: int = 503
    code: str = "SlowDown"
    seconds: float = 0.0
    matched: int = 0

    def strikes(self, request: str) -> bool:
        if self.times == 0 or not re.search(self.where, request):
            return False
        self.matched += 1
        if self.matched <= self.after or (self.matched - self.after) % self.every:
            return False
        self.times -= 1
        return True


@dataclass
class FaultyS3:
    """A proxy before the S3 server that does to some requests what networks and stores do."""

    config: S3Config
    """How the proxy is reached."""
    upstream: str
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[float, str]] = field(default_factory=list)
    """Time and `<method> <path>` of all requests."""
    struck: list[str] = field(default_factory=list)
    """Requests that met a fault."""
    lock: Lock = field(default_factory=Lock)

    def fail(self, kind: str, where: str, times: int = -1, **details: Any) -> None:
        """From now on, do this to so many requests whose method and path match; -1: to all."""
        with self.lock:
            self.faults.append(Fault(kind, where, times, **details))

    def heal(self) -> None:
        """Pass everything on again, and forget what was asked."""
        with self.lock:
            self.faults.clear()
            self.asked.clear()
            self.struck.clear()

    def requests(self, where: str) -> list[float]:
        """When the requests came whose method and path match."""
        with self.lock:
            return [moment for moment, request in self.asked if re.search(where, request)]

    def fault_of(self, request: str) -> Fault | None:
        with self.lock:
            self.asked.append((time.monotonic(), request))
            struck = [fault for fault in self.faults if fault.strikes(request)]
            self.struck += [request] * bool(struck)
            return struck[0] if struck else None


def _handler(faulty: FaultyS3) -> type[BaseHTTPRequestHandler]:
    host = urlsplit(faulty.upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = faulty.fault_of(f"{self.command} {self.path}")
            kind = fault.kind if fault else "pass"
            if fault and kind == "status":
                said = f"<Error><Code>{fault.code}</Code><Message>{SECRET_IN_ANSWERS}</Message></Error>".encode()
                return self.answer(fault.status, [("Content-Type", "application/xml")], said)
            if kind == "refuse":
                return self.cut_off()
            if fault and kind == "slow":
                time.sleep(fault.seconds)
            connection = HTTPConnection(host)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            reply = connection.getresponse()
            said, headers = reply.read(), reply.getheaders()
            connection.close()
            if kind == "lose":
                return self.cut_off()
            return self.answer(reply.status, headers, said, length=reply.headers["Content-Length"], cut=kind == "cut")

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815 -- as http.server calls them

        def answer(
            self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None, cut: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.cut_off()

        def cut_off(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.connection.close()

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, ValueError):
                return  # the one who asked went away, or was cut off

        def finish(self) -> None:
            try:
                super().finish()
            except (ConnectionError, ValueError):
                return

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def faulty_s3(s3_config: S3Config) -> Iterator[FaultyS3]:
    """The S3 server of the tests, behind a proxy that can be told to fail."""
    assert s3_config.endpoint_url is not None
    faulty = FaultyS3(s3_config, s3_config.endpoint_url)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(faulty))
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    faulty.config = s3_config.model_copy(
        update={"endpoint_url": f"http://127.0.0.1:{server.server_port}", "max_attempts": 3}
    )
    yield faulty
    server.shutdown()
    server.server_close()


# --- a disk without room


@dataclass(frozen=True)
class SmallDisk:
    """A file system in memory, of a size that can be changed."""

    folder: Path

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip(
            "NOT TESTED: a full and a read-only disk. No file system can be mounted here; run the tests as root"
        )
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


# --- a project


@dataclass(frozen=True)
class Project:
    """A folder with photos and a configuration."""

    folder: Path

    @property
    def lake(self) -> Lake:
        settings = load_config(self.folder / "forge.yaml")
        return Lake(settings.lake, settings.s3)

    def configure(self, **sections: object) -> None:
        file = self.folder / "forge.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | sections))

    def forge(self, *arguments: str) -> Result:
        """Run a command as a user would, in this process."""
        with contextlib.chdir(self.folder):
            return CliRunner().invoke(app, list(arguments), env={"DAGSTER_HOME": None, "FORGE_CONFIG": None})

    def hashes(self) -> dict[tuple[str, ShardKey], str]:
        """Content hash of every partition that counts; each is read whole."""
        return {
            (table, key): self.lake.require_whole(table, key).content_hash
            for table in TABLES
            for key in self.lake.keys(table)
        }


TABLES = (
    "raw_images", "rejected_images", "detections", "depth_maps", "scenes", "candidate_qa", "verified_qa", "rejected_qa",
)  # fmt: skip
PHOTOS = Path(find_spec("ultralytics").submodule_search_locations[0]) / "assets"
"""Found without importing ultralytics, which replaces functions of Pillow and OpenCV for the whole process."""


@pytest.fixture
def new_project(tmp_path: Path) -> Project:
    """Two photos, each a shard of its own, and the embedded networks."""
    return _project(tmp_path / "project")


def _project(folder: Path) -> Project:
    (folder / "photos").mkdir(parents=True)
    for name in ("bus.jpg", "zidane.jpg"):
        shutil.copy(PHOTOS / name, folder / "photos" / name)
    settings = {
        "lake": "lake",
        "sources": {"photos": {"path": str(folder / "photos"), "shard_size": 1, "license": "CC0"}},
        "models": {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": []},
    }
    (folder / "forge.yaml").write_text(yaml.safe_dump(settings))
    return Project(folder)


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose pairs were made without any fault; tests read it and copy it."""
    project = _project(tmp_path_factory.mktemp("untouched") / "project")
    made = project.forge("run")
    assert made.exit_code == 0, made.output
    return project


@pytest.fixture
def made_project(untouched: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    shutil.copytree(untouched.folder, tmp_path / "made", symlinks=True)
    return Project(tmp_path / "made")


@pytest.fixture
def on_s3(made_project: Project, faulty_s3: FaultyS3, s3_bucket: Any) -> Project:
    """Another, whose lake lies on S3 behind the proxy."""
    from forge_resources.s3 import client

    s3 = client(S3Config(endpoint_url=faulty_s3.upstream, path_style=True))
    lake = made_project.folder / "lake"
    for file in sorted(path for path in lake.rglob("*") if path.is_file()):
        s3.put_object(Bucket=s3_bucket.bucket, Key=f"lake/{file.relative_to(lake).as_posix()}", Body=file.read_bytes())
    shutil.rmtree(lake)
    made_project.configure(lake=f"{s3_bucket}/lake", s3=faulty_s3.config.model_dump(mode="json"))
    return made_project


# --- rows


@pytest.fixture(scope="session")
def rows() -> pl.DataFrame:
    """Texts and bytes that Parquet cannot make much smaller."""
    count = 2_000
    return pl.DataFrame(
        {
            "name": [f"text {index * 7919 % 1_000_003}" for index in range(count)],
            "number": [index * index % 977 for index in range(count)],
            "photo": [index.to_bytes(4) * 8 for index in range(count)],
        }
    )


@pytest.fixture(scope="session")
def noise() -> Callable[[int], pl.DataFrame]:
    """One row of so many bytes that cannot be packed."""
    return lambda size: pl.DataFrame({"noise": [os.urandom(size)]})
