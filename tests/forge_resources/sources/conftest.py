"""A small folder of real photos, made anew for each test."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import pytest


def packaged(package: str, path: str) -> Path:
    return Path(find_spec(package).submodule_search_locations[0]) / path


@pytest.fixture
def photos(tmp_path) -> Path:
    """`bus.jpg` (810x1080), `people/zidane.jpg` (1280x720) and `people/deep/astronaut.PNG` (512x512)."""
    root = tmp_path / "photos"
    (root / "people/deep").mkdir(parents=True)
    (root / "bus.jpg").write_bytes(packaged("ultralytics", "assets/bus.jpg").read_bytes())
    (root / "people/zidane.jpg").write_bytes(packaged("ultralytics", "assets/zidane.jpg").read_bytes())
    (root / "people/deep/astronaut.PNG").write_bytes(packaged("skimage", "data/astronaut.png").read_bytes())
    return root


@pytest.fixture
def broken_once() -> Iterator[str]:
    """The address of a server that breaks off its first answer and gives `the whole photo` after that."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(b"the whole photo")))
            self.end_headers()
            self.wfile.write(b"the whole photo"[: 5 if len(asked) == 1 else None])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
