"""Lakes on disk and on S3, and an S3 server that only gives the answers it was told to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from forge_resources.lake import Lake
from forge_resources.s3 import S3Config, S3Uri


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path | S3Uri, S3Config | None]:
    """Where a lake may lie: a folder, then an S3 prefix with how it is reached."""
    if request.param == "folder":
        return tmp_path / "it's a lake", None
    return request.getfixturevalue("s3_bucket") / "it's a prefix", request.getfixturevalue("s3_config")


@pytest.fixture
def lake(place: tuple[Path | S3Uri, S3Config | None]) -> Lake:
    """An empty lake of either kind."""
    return Lake(*place)


@pytest.fixture
def local_lake(tmp_path: Path) -> Lake:
    """An empty lake in a folder."""
    return Lake(tmp_path / "lake")


@dataclass
class ScriptedServer:
    """Answers as told, then with `body`; `requests` are the lines it was asked."""

    url: str = ""
    answers: list[tuple[int, str]] = field(default_factory=list)
    body: bytes = b"the object"
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def scripted_s3(s3_credentials: str) -> Iterator[Callable[..., ScriptedServer]]:
    """Start a server that answers its first requests with these statuses and error codes."""
    running = []

    def start(*answers: tuple[int, str]) -> ScriptedServer:
        script = ScriptedServer(answers=list(answers))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                script.requests.append(self.requestline)
                status, code = script.answers.pop(0) if script.answers else (200, "")
                error = f"<Error><Code>{code}</Code><Message>refused: {s3_credentials}</Message></Error>"
                body = error.encode() if code else script.body
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        script.url = f"http://127.0.0.1:{server.server_port}"
        return script

    yield start
    for server in running:
        server.shutdown()
        server.server_close()
