import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from forge_resources.config import DownloadConfig
from forge_resources.images import UnusablePhoto
from forge_resources.sources.downloads import Downloader

SCRIPT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from forge_resources.config import DownloadConfig
from forge_resources.images import UnusablePhoto
from forge_resources.sources.downloads import Downloader


def fetch(url):
    try:
        downloader.fetch(url)
    except UnusablePhoto:
        pass


with Downloader(DownloadConfig(allow_private_addresses=True), Path(sys.argv[1]), max_bytes=10**7) as downloader:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(fetch, sys.argv[2:]))
"""


def body_of(path):
    return hashlib.sha256(path.encode()).digest() * 8_000


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked[self.path] += 1
        body = body_of(self.path)
        try:
            self.send_response(404 if self.path.startswith("/gone") else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:1000])
            time.sleep(0.02)
            self.wfile.write(body[1000:])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.asked = Counter()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_ingest_that_was_killed_goes_on_where_it_was(tmp_path, server):
    root, cache = f"http://127.0.0.1:{server.server_port}", tmp_path / "cache"
    paths = [f"/gone/{n}" if n % 3 == 0 else f"/photo/{n}" for n in range(120)]
    path_of = {hashlib.sha256(f"{root}{path}".encode()).hexdigest(): path for path in paths}

    def outcomes():
        return {path_of[file.name.split(".")[0]]: file for file in cache.glob("??/[!.]*")}

    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(cache), *(root + path for path in paths)])
    while len(outcomes()) < 30:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    done = outcomes()
    assert 30 <= len(done) < len(paths)
    photos = {path: file for path, file in done.items() if file.suffix == ".bin"}
    assert all(file.read_bytes() == body_of(path) for path, file in photos.items())

    with Downloader(DownloadConfig(allow_private_addresses=True), cache, max_bytes=10**7) as downloader:
        for path in paths:
            if path.startswith("/gone"):
                with pytest.raises(UnusablePhoto, match="dead_link: HTTP 404"):
                    downloader.fetch(root + path)
            else:
                assert downloader.fetch(root + path) == body_of(path)
        assert downloader.counts.from_cache == len(done)
    assert {path for path in done if server.asked[path] != 1} == set()
    assert set(server.asked) == set(paths)
