"""A real PostgreSQL server on this machine, started and stopped by the tests."""

import contextlib
import itertools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
_DATABASES = itertools.count()
UNPRIVILEGED = ("postgres", "nobody")
"""Users that the server may run as where root runs the tests: PostgreSQL refuses root."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server and a database of it."""

    port: int
    password: str
    host: str = "127.0.0.1"
    user: str = "forge"
    database: str = "postgres"

    @property
    def variables(self) -> Mapping[str, str]:
        """What `infra/postgres/dagster.yaml` reads from the environment."""
        return {
            "DAGSTER_PG_HOST": self.host,
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_DATABASE": self.database,
            "DAGSTER_PG_USERNAME": self.user,
            "DAGSTER_PG_PASSWORD": self.password,
        }


def postgres_program(name: str) -> str | None:
    versions = sorted(DEBIAN_PROGRAMS.glob("*/bin"), key=lambda path: float(path.parent.name))
    folders = [str(path) for path in reversed(versions)]
    return shutil.which(name, path=os.pathsep.join([*folders, os.environ["PATH"]]))


def unprivileged_user() -> str | None:
    """Whom to start the server as; None stands for whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    import pwd

    there = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in there)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A port of 127.0.0.1 that nothing listens on."""

    def find() -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return int(free.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def postgres_server(free_port: Callable[[], int]) -> Iterator[PostgresServer]:
    """A server with a password, on TCP alone; its data is gone afterwards."""
    initdb, control = postgres_program("initdb"), postgres_program("pg_ctl")
    if initdb is None or control is None:
        pytest.skip(
            "NOT TESTED: the instance on PostgreSQL. There is no `initdb` here; install the package `postgresql`"
        )
    server = PostgresServer(port=free_port(), password=secrets.token_hex())
    user = unprivileged_user()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, log, secret = folder / "data", folder / "server.log", folder / "password"
        secret.write_text(server.password)
        if user is not None:
            for path in (folder, secret):
                shutil.chown(path, user)

        def run(*command: str | Path) -> None:
            done = subprocess.run(command, user=user, cwd=folder, stdout=subprocess.DEVNULL, check=False)
            assert done.returncode == 0, (command, log.read_text() if log.exists() else "")

        run(initdb, "--pgdata", data, "--username", server.user, "--pwfile", secret, "--auth", "scram-sha-256")
        options = f"-c listen_addresses={server.host} -c port={server.port} -c unix_socket_directories='' -c fsync=off"
        run(control, "start", "--wait", "--pgdata", data, "--log", log, "--options", options)
        try:
            yield server
        finally:
            run(control, "stop", "--wait", "--mode", "fast", "--pgdata", data)


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> PostgresServer:
    """The server with a new, empty database."""
    import psycopg2

    name = f"instance_{next(_DATABASES)}"
    connection = psycopg2.connect(
        host=postgres_server.host,
        port=postgres_server.port,
        user=postgres_server.user,
        password=postgres_server.password,
        dbname=postgres_server.database,
    )
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    return replace(postgres_server, database=name)
