import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest
from huggingface_hub import constants

from forge_resources.config import WeightsConfig
from forge_resources.models.weights import (
    MissingWeightsError,
    UnpinnedWeightsError,
    UnreachableWeightsError,
    WeightsError,
    WeightsHashError,
    probe,
    resolve,
    sha256_of,
)

CONTENT = b"weights of a small network" * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def named(weights: str | Path, **pins: str) -> WeightsConfig:
    return WeightsConfig.model_validate({"weights": str(weights), **pins})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.pt"
    path.write_bytes(CONTENT)
    return path


# --- local


def test_a_pinned_file_is_taken_and_named_by_its_hash(file: Path) -> None:
    found = resolve(named(file, sha256=DIGEST), backend="ultralytics")
    assert found.path == file
    assert found.identity == f"ultralytics:net.pt@sha256:{DIGEST[:12]}"


def test_the_pin_may_be_in_capitals(file: Path) -> None:
    assert resolve(named(file, sha256=DIGEST.upper()), backend="onnx").path == file


def test_another_file_than_the_pinned_one_is_refused_and_both_hashes_are_named(file: Path) -> None:
    with pytest.raises(WeightsHashError, match=f"expected SHA-256 {'0' * 64}, found {DIGEST}"):
        resolve(named(file, sha256="0" * 64), backend="ultralytics")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"nowhere\.pt"):
        resolve(named(tmp_path / "nowhere.pt", sha256=DIGEST), backend="ultralytics")


def test_an_unpinned_file_is_refused_with_the_hash_to_write(file: Path) -> None:
    with pytest.raises(UnpinnedWeightsError, match=f"sha256: {DIGEST}"):
        resolve(named(file), backend="ultralytics")


def test_no_weights_at_all() -> None:
    with pytest.raises(MissingWeightsError, match="no weights are named"):
        resolve(WeightsConfig.model_validate({}), backend="ultralytics")


def test_a_folder_is_pinned_by_names_and_contents(tmp_path: Path) -> None:
    for order in (("b.bin", "sub/a.bin"), ("sub/a.bin", "b.bin")):
        folder = tmp_path / order[0].replace("/", "_")
        for name in order:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    first, second = (sha256_of(tmp_path / name) for name in ("b.bin", "sub_a.bin"))
    assert first == second
    lines = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in ("b.bin", "sub/a.bin"))
    assert first == hashlib.sha256(lines.encode()).hexdigest()
    assert resolve(named(tmp_path / "b.bin", sha256=first), backend="x").identity == f"x:b.bin@sha256:{first[:12]}"
    (tmp_path / "b.bin" / "b.bin").rename(tmp_path / "b.bin" / "c.bin")
    assert sha256_of(tmp_path / "b.bin") != first


# --- a hub and a store on this machine


class Served(BaseHTTPRequestHandler):
    """As much of the Hugging Face hub and of S3 as the clients need to fetch a file."""

    files: dict[str, bytes] = {}  # noqa: RUF012 - the server's own

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        path = urlparse(self.path).path.replace("/resolve/main/", f"/resolve/{COMMIT}/")
        body = self.files.get(path)
        extra = {"ETag": f'"{hashlib.sha256(body or b"").hexdigest()}"', "X-Repo-Commit": COMMIT}
        if path == "/api/models/org/net" or path.startswith("/api/models/org/net/revision/"):
            body = json.dumps({"id": "org/net", "sha": COMMIT, "siblings": []}).encode()
        elif path.startswith("/api/models/org/net/tree/"):
            prefix = f"/org/net/resolve/{COMMIT}/"
            entries = [
                {"type": "file", "path": name.removeprefix(prefix), "size": len(data), "oid": "0" * 40}
                for name, data in self.files.items()
                if name.startswith(prefix)
            ]
            body = json.dumps(entries).encode()
        if body is None:
            code = "EntryNotFound" if path.startswith("/org/net/") else "RepoNotFound"
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by http.server
        logging.getLogger(__name__).debug(format, *args)


@pytest.fixture
def server() -> Iterator[str]:
    Served.files = {
        f"/org/net/resolve/{COMMIT}/net.pt": CONTENT,
        f"/org/net/resolve/{COMMIT}/config.json": b"{}",
        f"/org/net/resolve/{COMMIT}/model.safetensors": b"tensors",
        f"/org/net/resolve/{COMMIT}/pytorch_model.bin": b"a pickle that must not be fetched",
        "/bucket/some/net.pt": CONTENT,
    }
    running = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


def point_hub_at(endpoint: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


@pytest.fixture
def hub(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_hub_at(server, tmp_path / "hub", monkeypatch)


@pytest.fixture
def dead_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_hub_at("http://127.0.0.1:9", tmp_path / "hub", monkeypatch)


@pytest.mark.usefixtures("hub")
def test_one_file_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = named("org/net/net.pt", revision=COMMIT, sha256=DIGEST)
    assert probe(pinned, backend="ultralytics") == (f"ultralytics:org/net/net.pt@{COMMIT}", "on the hub")
    found = resolve(pinned, backend="ultralytics")
    assert found.path.read_bytes() == CONTENT
    assert found.identity == f"ultralytics:org/net/net.pt@{COMMIT}"

    point_hub_at("http://127.0.0.1:9", tmp_path / "hub", monkeypatch)
    assert resolve(pinned, backend="ultralytics") == found
    assert probe(pinned, backend="ultralytics")[1] == "in the hub's local cache"


@pytest.mark.usefixtures("hub")
def test_a_whole_repository_comes_without_its_pickles() -> None:
    found = resolve(named("org/net", revision=COMMIT), backend="transformers")
    assert sorted(path.name for path in found.path.iterdir()) == ["config.json", "model.safetensors"]
    assert found.identity == f"transformers:org/net@{COMMIT}"


@pytest.mark.usefixtures("hub")
def test_the_newest_commit_is_recorded_where_none_was_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolve(named("org/net/config.json"), backend="onnx", allow_unpinned=True)
    assert found.identity.endswith(f"@{COMMIT}")
    point_hub_at("http://127.0.0.1:9", tmp_path / "hub", monkeypatch)
    assert resolve(named("org/net/config.json"), backend="onnx", allow_unpinned=True) == found


@pytest.mark.usefixtures("hub")
def test_a_damaged_file_in_the_hubs_cache_is_refused() -> None:
    pinned = named("org/net/net.pt", revision=COMMIT, sha256=DIGEST)
    resolve(pinned, backend="ultralytics").path.resolve().write_bytes(b"another pickle")
    with pytest.raises(WeightsHashError, match=DIGEST):
        resolve(pinned, backend="ultralytics")


@pytest.mark.usefixtures("hub")
def test_a_hub_file_may_be_pinned_by_hash_as_well() -> None:
    with pytest.raises(WeightsHashError):
        resolve(named("org/net/net.pt", revision=COMMIT, sha256="0" * 64), backend="ultralytics")


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("weights", ["org/other/net.onnx", "org/net/absent.onnx"])
def test_what_the_hub_lacks_is_missing(weights: str) -> None:
    with pytest.raises(MissingWeightsError, match=weights):
        resolve(named(weights, revision=COMMIT), backend="ultralytics")


@pytest.mark.usefixtures("dead_hub")
@pytest.mark.parametrize("weights", ["org/net/net.onnx", "org/net"])
def test_a_hub_that_does_not_answer(weights: str) -> None:
    with pytest.raises(UnreachableWeightsError, match="does not answer"):
        resolve(named(weights, revision=COMMIT), backend="ultralytics")
    with pytest.raises(UnreachableWeightsError):
        probe(named(weights, revision=COMMIT), backend="ultralytics")


@pytest.mark.parametrize("pins", [{}, {"revision": "main"}, {"revision": COMMIT[:7]}])
def test_a_hub_id_needs_a_full_commit(pins: dict[str, str]) -> None:
    with pytest.raises(UnpinnedWeightsError, match="40 hexadecimal digits"):
        resolve(named("org/net", **pins), backend="transformers")


# --- S3


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.mark.usefixtures("store")
def test_a_file_on_s3_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = named("s3://bucket/some/net.pt", sha256=DIGEST)
    assert probe(pinned, backend="onnx") == (f"onnx:net.pt@sha256:{DIGEST[:12]}", "on S3")
    found = resolve(pinned, backend="onnx", cache_dir=tmp_path)
    assert found.path == tmp_path / DIGEST / "net.pt"
    assert found.path.read_bytes() == CONTENT
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert resolve(pinned, backend="onnx", cache_dir=tmp_path) == found
    found.path.write_bytes(b"damaged")
    with pytest.raises(WeightsHashError):
        resolve(pinned, backend="onnx", cache_dir=tmp_path)


@pytest.mark.usefixtures("store")
def test_another_file_on_s3_is_refused_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(WeightsHashError, match=f"found {DIGEST}"):
        resolve(named("s3://bucket/some/net.pt", sha256="0" * 64), backend="onnx", cache_dir=tmp_path)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.usefixtures("store")
def test_an_absent_object_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"s3://bucket/absent\.pt"):
        resolve(named("s3://bucket/absent.pt", sha256=DIGEST), backend="onnx", cache_dir=tmp_path)


@pytest.mark.usefixtures("store")
def test_a_store_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnreachableWeightsError):
        resolve(named("s3://bucket/some/net.pt", sha256=DIGEST), backend="onnx", cache_dir=tmp_path, timeout_s=1)


@pytest.mark.parametrize("weights", ["s3://bucket", "s3://bucket/", "s3://"])
def test_a_uri_without_a_file(weights: str) -> None:
    with pytest.raises(WeightsError, match="s3://bucket/key"):
        resolve(named(weights, sha256=DIGEST), backend="onnx")


def test_a_file_on_s3_needs_its_hash() -> None:
    with pytest.raises(UnpinnedWeightsError, match="sha256"):
        resolve(named("s3://bucket/some/net.pt"), backend="onnx")
