"""Real servers on this machine, for all tests that need one: S3, PostgreSQL, and a vision-language model."""

import base64
import contextlib
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import psutil
import pytest

from forge_resources.s3 import S3Config, S3Uri, client

_BUCKETS = itertools.count()
_DATABASES = itertools.count()
SECRET = "the-secret-that-no-message-may-hold"


def pytest_configure() -> None:
    """Run alike however the tests are started, and whatever is imported within one."""
    _keep_stderr_open()
    _let_signals_end_processes()


def _keep_stderr_open() -> None:
    """Give absl's log handler the process's own stderr, which it never closes.

    Imported by OpenVINO within a test, it would take pytest's, and close that as soon as Dagster configures logging.
    """
    with contextlib.suppress(ModuleNotFoundError), contextlib.redirect_stderr(sys.__stderr__):
        import absl.logging  # noqa: F401


def _let_signals_end_processes() -> None:
    """Heed SIGINT even where a script has started the tests with `&`, which has it ignored.

    Processes inherit that, and Dagster's then ignore SIGTERM too, since they answer it as they answer SIGINT: tests
    that stop one would wait for ever.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server that knows what AWS knows."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch) -> str:
    """Credentials in the environment; the secret one."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "some-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return SECRET


@pytest.fixture
def s3_config(s3_server: str, s3_credentials: str) -> S3Config:  # noqa: ARG001 -- they are in the environment
    """How the server is reached."""
    return S3Config(endpoint_url=s3_server, path_style=True, max_attempts=2)


@pytest.fixture
def s3_bucket(s3_config: S3Config) -> S3Uri:
    """An empty bucket."""
    bucket = S3Uri(f"bucket-{next(_BUCKETS)}")
    client(s3_config).create_bucket(Bucket=bucket.bucket)
    return bucket


@dataclass
class ChatServer:
    """A server that speaks OpenAI's chat completions: first as told, then by `reply`."""

    url: str = ""
    model: str = "org/model"
    reply: Callable[[bytes, str], str] = lambda _photo, _prompt: "a reply"
    """Answers a photo's bytes and a prompt."""
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    """Status and body of the first answers."""
    seconds: float = 0
    """That each answer takes."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every answer."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of all requests, in the order in which they came."""
    keys: list[str | None] = field(default_factory=list)
    """What all requests carried as their authorization."""
    lock: Lock = field(default_factory=Lock)

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        with self.lock:
            self.asked.append(body)
            if self.answers:
                return self.answers.pop(0)
        photo, text = body["messages"][0]["content"]
        said = self.reply(base64.b64decode(photo["image_url"]["url"].split(",")[1]), text["text"])
        return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}).encode()


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """A server of a vision-language model on this machine."""
    chat = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chat.keys.append(self.headers["Authorization"])
            time.sleep(chat.seconds)
            self.send(*(chat.answer(body) if self.path == "/v1/chat/completions" else (404, b"no such path")))

        def do_GET(self) -> None:
            listed = json.dumps({"object": "list", "data": [{"id": chat.model}]}).encode()
            self.send(*((200, listed) if self.path == "/v1/models" else (404, b"no such path")))

        def send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | chat.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                return  # who asked did not wait

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield chat
    server.shutdown()
    server.server_close()


# --- PostgreSQL

_DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
_UNPRIVILEGED = ("postgres", "nobody")
"""Users that the server may run as where root runs the tests: PostgreSQL refuses root."""
_SECONDS_TO_START = 60


@dataclass
class PostgresServer:
    """A server with a password, on TCP alone, and a database of it."""

    port: int
    password: str
    folder: Path
    host: str = "127.0.0.1"
    user: str = "forge"
    database: str = "postgres"
    process: subprocess.Popen[bytes] | None = None

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

    def connect(self) -> Any:
        import psycopg2

        return psycopg2.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, dbname="postgres"
        )

    def create(self) -> None:
        """Make an empty cluster in the folder."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        for path in (self.folder, secret):
            if (user := unprivileged_user()) is not None:
                shutil.chown(path, user)
        options = ["--username", self.user, "--pwfile", str(secret), "--auth", "scram-sha-256"]
        self._run("initdb", "--pgdata", str(self.folder / "data"), *options).wait()

    def start(self) -> None:
        """Return once the server answers; it recovers by itself from having been killed."""
        import psycopg2

        options = [
            f"-clisten_addresses={self.host}",
            f"-cport={self.port}",
            "-cunix_socket_directories=",
            "-cfsync=off",
        ]
        self.process = self._run("postgres", "-D", str(self.folder / "data"), *options)
        deadline = time.monotonic() + _SECONDS_TO_START
        while True:
            try:
                self.connect().close()
            except psycopg2.OperationalError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self, sign: signal.Signals = signal.SIGINT) -> None:
        """End the server and wait for its end; SIGKILL leaves its data as they are at that moment."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children() if sign == signal.SIGKILL else []
        for process in (self.process, *children):
            process.send_signal(sign)
        self.process.wait()
        psutil.wait_procs(children)

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = postgres_program(program)
        assert command is not None, program
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [command, *arguments], user=unprivileged_user(), cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )


def postgres_program(name: str) -> str | None:
    versions = sorted(_DEBIAN_PROGRAMS.glob("*/bin"), key=lambda path: float(path.parent.name))
    folders = [str(path) for path in reversed(versions)]
    return shutil.which(name, path=os.pathsep.join([*folders, os.environ["PATH"]]))


def unprivileged_user() -> str | None:
    """Whom to start the server as; None stands for whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    import pwd

    there = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED if name in there)


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
    """A running server; its data is gone afterwards. Who kills it starts it again."""
    if postgres_program("initdb") is None:
        pytest.skip(
            "NOT TESTED: the instance on PostgreSQL. There is no `initdb` here; install the package `postgresql`"
        )
    with tempfile.TemporaryDirectory() as folder:
        server = PostgresServer(free_port(), secrets.token_hex(), Path(folder))
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> PostgresServer:
    """The server with a new, empty database."""
    name = f"instance_{next(_DATABASES)}"
    connection = postgres_server.connect()
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    return replace(postgres_server, database=name)


# --- receivers of messages


@dataclass
class Webhook:
    """A server that takes messages by POST."""

    url: str = ""
    """With a path that is a secret, as such addresses have."""
    statuses: list[int] = field(default_factory=list)
    """Of the first answers; then 200."""
    heard: list[dict[str, Any]] = field(default_factory=list)
    """All messages, taken or not."""


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A webhook on this machine."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(hook.statuses.pop(0) if hook.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    hook.url = f"http://127.0.0.1:{server.server_port}/{SECRET}"
    yield hook
    server.shutdown()
    server.server_close()


@dataclass
class MailServer:
    """An SMTP server, and the mails that it took."""

    port: int
    host: str = "127.0.0.1"
    user: str = "forge"
    password: str = SECRET
    replies: list[str] = field(default_factory=list)
    """To the first mails, in place of taking them."""
    mails: list[Any] = field(default_factory=list)
    """Envelopes of aiosmtpd."""


@pytest.fixture
def start_mail_server(free_port: Callable[[], int]) -> Iterator[Callable[..., MailServer]]:
    """Start a server that knows everybody but nobody@; by default it wants neither TLS nor a password."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

    running: list[Controller] = []

    def start(*, port: int | None = None, **settings: Any) -> MailServer:
        mail = MailServer(port or free_port())

        class Handler:
            async def handle_RCPT(  # noqa: N802
                self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
            ) -> str:
                if address.startswith("nobody@"):
                    return "550 no such user"
                envelope.rcpt_tos.append(address)
                return "250 known"

            async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
                if mail.replies:
                    return mail.replies.pop(0)
                mail.mails.append(envelope)
                return "250 taken"

        def knows(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any) -> AuthResult:
            is_known = given == LoginPassword(mail.user.encode(), mail.password.encode())
            return AuthResult(success=is_known, handled=False)

        controller = Controller(Handler(), hostname=mail.host, port=mail.port, authenticator=knows, **settings)
        controller.start()
        running.append(controller)
        return mail

    yield start
    for controller in running:
        controller.stop()
