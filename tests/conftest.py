"""Real servers on this machine, for all tests that need one: of S3, and of a vision-language model."""

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest

from forge_resources.s3 import S3Config, S3Uri, client

_BUCKETS = itertools.count()
SECRET = "the-secret-that-no-message-may-hold"


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
