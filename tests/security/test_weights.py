"""No way into the networks runs code that weights bring along."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from forge_resources.config import ForgeConfig
from forge_resources.models import selection
from forge_resources.models.pretrained import ForeignCodeError
from forge_resources.models.weights import UnpinnedWeightsError, WeightsError, WeightsHashError, sha256_of
from forge_resources.s3 import S3Config, S3Uri, client

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOADERS: dict[str, Callable[[ForgeConfig], object]] = {
    "detector": selection.load_detector,
    "second_detector": selection.load_second_detector,
    "pose": selection.load_pose,
    "second_pose": selection.load_second_pose,
    "depth": selection.load_depth,
    "describer": selection.load_describer,
    "judge": selection.load_judge,
}
OF_ULTRALYTICS = ("detector", "second_detector", "pose", "second_pose")
OF_TRANSFORMERS = {
    "detector": "detector",
    "second_detector": "detector",
    "depth": "depth",
    "describer": "describer",
    "judge": "describer",
}


def load(role: str, backend: str, **weights: Any) -> object:
    """Load one network as a run does, by its configuration."""
    network = {"backend": backend, **weights}
    return LOADERS[role](ForgeConfig.model_validate({"models": {role: [network] if role == "depth" else network}}))


@pytest.fixture
def checkpoint(tmp_path: Path, pickled: bytes) -> Path:
    path = tmp_path / "yolo11n.pt"
    path.write_bytes(pickled)
    return path


def test_the_planted_pickle_does_run_code_where_it_is_unpickled(pickled: bytes, mark: Path, checkpoint: Path) -> None:
    import torch

    if pickled.startswith(b"PK"):
        torch.load(checkpoint, weights_only=False)
    else:
        pickle.loads(pickled)
    assert mark.exists()


# --- checkpoints of ultralytics


@pytest.mark.parametrize("role", OF_ULTRALYTICS)
def test_an_unpinned_checkpoint_is_refused_with_the_hash_to_write(role: str, checkpoint: Path, mark: Path) -> None:
    with pytest.raises(UnpinnedWeightsError, match=f"needs `sha256`.*sha256: {sha256_of(checkpoint)}"):
        load(role, "ultralytics", weights=str(checkpoint))
    assert not mark.exists()


@pytest.mark.parametrize("role", OF_ULTRALYTICS)
def test_another_checkpoint_than_the_pinned_one_is_refused(role: str, checkpoint: Path, mark: Path) -> None:
    with pytest.raises(WeightsHashError, match="is not what was pinned"):
        load(role, "ultralytics", weights=str(checkpoint), sha256="0" * 64)
    assert not mark.exists()


@pytest.mark.parametrize("role", OF_ULTRALYTICS)
def test_a_hostile_checkpoint_that_somebody_pinned_is_not_unpickled_either(
    role: str, checkpoint: Path, mark: Path
) -> None:
    with pytest.raises(WeightsError, match="could run as code and is not unpickled"):
        load(role, "ultralytics", weights=str(checkpoint), sha256=sha256_of(checkpoint))
    assert not mark.exists()


@pytest.mark.parametrize("pins", [{"revision": "main"}, {"revision": COMMIT}, {}])
def test_a_checkpoint_of_the_hub_needs_its_hash_besides_the_commit(
    pins: dict[str, str], tmp_path: Path, pickled: bytes, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_hub_cache(tmp_path, "net.pt", pickled, monkeypatch)
    with pytest.raises(UnpinnedWeightsError, match="sha256"):
        load("detector", "ultralytics", weights="org/net/net.pt", **pins)
    assert not mark.exists()


def test_a_checkpoint_on_s3_needs_its_hash(
    s3_config: S3Config, s3_bucket: S3Uri, pickled: bytes, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = mark.parent / "cache"
    monkeypatch.setenv("AWS_ENDPOINT_URL", str(s3_config.endpoint_url))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    client(s3_config).put_object(Bucket=s3_bucket.bucket, Key="net.pt", Body=pickled)
    with pytest.raises(UnpinnedWeightsError, match="sha256"):
        load("pose", "ultralytics", weights=f"{s3_bucket}/net.pt")
    with pytest.raises(WeightsHashError, match="is not what was pinned"):
        load("pose", "ultralytics", weights=f"{s3_bucket}/net.pt", sha256="0" * 64)
    assert not mark.exists()
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("role", ["detector", "pose"])
def test_auto_takes_no_checkpoint_but_the_known_one(
    role: str,
    pickled: bytes,
    mark: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = {"detector": selection.AUTO_DETECTOR, "pose": selection.AUTO_POSE}[role]
    in_hub_cache(mark.parent, known.rpartition("/")[2], pickled, monkeypatch, repo="Ultralytics/YOLO11")
    selection._detector.cache_clear()
    selection._pose.cache_clear()
    loaded = load(role, "auto")
    assert str(getattr(loaded, "identity", "")).startswith("embedded:")
    assert f"auto: {known} is not to be had" in caplog.text
    assert "is not what was pinned" in caplog.text
    assert not mark.exists()


def in_hub_cache(
    tmp_path: Path, name: str, data: bytes, monkeypatch: pytest.MonkeyPatch, repo: str = "org/net"
) -> None:
    """Put a file where the hub's client keeps what it fetched."""
    folder = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
    for path, content in ((f"snapshots/{COMMIT}/{name}", data), ("refs/main", COMMIT.encode())):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_bytes(content)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


IMPORTED_BEFORE = """
import sys
import ultralytics
from ultralytics.nn import tasks
from forge_resources.config import PoseConfig
from forge_resources.models.pose import UltralyticsPose
from forge_resources.models.weights import WeightsError, resolve
assert not tasks.SAFE_LOAD
config = PoseConfig(backend="ultralytics", weights=sys.argv[1], sha256=sys.argv[2])
try:
    UltralyticsPose(resolve(config, backend="ultralytics"), config)
except WeightsError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("pickled", ["checkpoint"], indirect=True)
def test_nothing_is_unpickled_where_ultralytics_was_imported_with_its_own_settings(
    checkpoint: Path, mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ULTRALYTICS_SAFE_LOAD", raising=False)
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    command = [sys.executable, "-c", IMPORTED_BEFORE, str(checkpoint), sha256_of(checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "is not unpickled" in done.stdout
    assert not mark.exists()


# --- folders that ultralytics exported


def export(folder: Path, metadata: str) -> Path:
    folder.mkdir()
    (folder / "net.xml").write_text("<net/>")
    (folder / "net.bin").write_bytes(b"weights")
    (folder / "metadata.yaml").write_text(metadata)
    return folder


@pytest.mark.parametrize("name", ["net.xml", "net.bin", "metadata.yaml"])
def test_an_export_is_pinned_with_all_its_files(name: str, tmp_path: Path) -> None:
    folder = export(tmp_path / "net_openvino_model", "names: {0: person}")
    pin = sha256_of(folder)
    (folder / name).write_text("another")
    with pytest.raises(WeightsHashError, match="is not what was pinned"):
        load("detector", "ultralytics", weights=str(folder), sha256=pin)
    with pytest.raises(UnpinnedWeightsError):
        load("detector", "ultralytics", weights=str(folder))


def test_an_export_whose_metadata_call_python_is_refused(tmp_path: Path, mark: Path) -> None:
    folder = export(tmp_path / "net_openvino_model", f"names: !!python/object/apply:os.mkdir ['{mark}']")
    with pytest.raises(WeightsError, match=r"metadata\.yaml"):
        load("detector", "ultralytics", weights=str(folder), sha256=sha256_of(folder))
    assert not mark.exists()


def test_a_folder_with_a_link_to_another_folder_cannot_be_pinned(tmp_path: Path) -> None:
    folder = export(tmp_path / "net_openvino_model", "names: {0: person}")
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WeightsError, match="linked is a link to a folder"):
        load("detector", "ultralytics", weights=str(folder), sha256="0" * 64)


# --- transformers


@pytest.mark.parametrize("role", OF_TRANSFORMERS)
def test_a_pickle_in_transformers_format_is_not_read(
    role: str, pretrained: Callable[[str], Path], pickled: bytes, mark: Path
) -> None:
    folder = pretrained(OF_TRANSFORMERS[role])
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickled)
    with pytest.raises(OSError, match="safetensors"):
        load(role, "transformers", weights=str(folder), sha256=sha256_of(folder))
    assert not mark.exists()


@pytest.mark.parametrize("role", ["detector", "depth", "describer"])
def test_a_pickle_under_the_name_of_safetensors_is_not_unpickled(
    role: str, pretrained: Callable[[str], Path], pickled: bytes, mark: Path
) -> None:
    folder = pretrained(role)
    (folder / "model.safetensors").write_bytes(pickled)
    with pytest.raises(WeightsError, match="are no safetensors"):
        load(role, "transformers", weights=str(folder), sha256=sha256_of(folder))
    assert not mark.exists()


@pytest.mark.parametrize("role", ["detector", "depth", "describer"])
@pytest.mark.parametrize("shard", ["pytorch_model.bin", "../outside.safetensors", "/outside.safetensors"])
def test_an_index_leads_to_safetensors_beside_it_alone(
    role: str, shard: str, pretrained: Callable[[str], Path], pickled: bytes, mark: Path
) -> None:
    folder = pretrained(role)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickled)
    index = {"metadata": {"total_size": 1}, "weight_map": {"weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="safetensors files in the same folder alone"):
        load(role, "transformers", weights=str(folder), sha256=sha256_of(folder))
    assert not mark.exists()


CODE = "from pathlib import Path\nPath({mark!r}).mkdir()\nclass Net: ...\n"
AUTOS = ("AutoConfig", "AutoModelForObjectDetection", "AutoModelForDepthEstimation", "AutoModelForImageTextToText")
PROCESSORS = ("AutoImageProcessor", "AutoImageProcessorFast", "AutoProcessor")


def bring_code(folder: Path, file: str, mark: Path, names: tuple[str, ...], *without: str) -> None:
    """Have a JSON file of a repository name a class in a Python file beside it."""
    (folder / "code.py").write_text(CODE.format(mark=str(mark)))
    settings = json.loads((folder / file).read_text())
    kept = {key: value for key, value in settings.items() if key not in without}
    (folder / file).write_text(json.dumps(kept | {"auto_map": dict.fromkeys(names, "code.Net")}))


@pytest.mark.parametrize("role", ["detector", "depth", "describer"])
def test_an_architecture_defined_by_code_of_its_repository_is_refused_and_nobody_is_asked(
    role: str, pretrained: Callable[[str], Path], mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pretrained(role)
    bring_code(folder, "config.json", mark, AUTOS, "model_type")
    monkeypatch.setattr("builtins.input", lambda _prompt: "y")
    with pytest.raises(ForeignCodeError, match="none is ever run"):
        load(role, "transformers", weights=str(folder), sha256=sha256_of(folder))
    assert not mark.exists()


@pytest.mark.parametrize("role", ["detector", "depth", "describer"])
def test_code_beside_an_architecture_that_transformers_has_is_left_alone(
    role: str, pretrained: Callable[[str], Path], mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pretrained(role)
    bring_code(folder, "config.json", mark, AUTOS)
    processor = "processor_config.json" if role == "describer" else "preprocessor_config.json"
    bring_code(folder, processor, mark, PROCESSORS)
    monkeypatch.setattr("builtins.input", lambda _prompt: "y")
    assert load(role, "transformers", weights=str(folder), sha256=sha256_of(folder))
    assert not mark.exists()


# --- ONNX


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a protocol buffer."""

    def varint(count: int) -> bytes:
        return bytes([count]) if count < 128 else bytes([count & 127 | 128]) + varint(count >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def onnx_with_tensors_in(location: str) -> bytes:
    """A network that adds a tensor of 1 x 3 x 8 x 8, which another file holds."""

    def tensor(name: str) -> bytes:
        sides = b"".join(field(1, field(1, side)) for side in (1, 3, 8, 8))
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, sides)))

    entries = {"location": location, "offset": "0", "length": str(3 * 8 * 8 * 4)}
    external = b"".join(field(13, field(1, name) + field(2, value)) for name, value in entries.items())
    sides = b"".join(field(1, side) for side in (1, 3, 8, 8))
    weight = sides + field(2, 1) + field(8, "weight") + external + field(14, 1)
    node = field(1, "image") + field(1, "weight") + field(2, "depth") + field(4, "Add")
    graph = field(1, node) + field(2, "g") + field(5, weight) + field(11, tensor("image")) + field(12, tensor("depth"))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


@pytest.mark.parametrize("location", ["tensors.bin", "../tensors.bin", "{tmp}/tensors.bin"])
def test_an_onnx_file_reads_no_other_file(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "tensors.bin").write_bytes(bytes(3 * 8 * 8 * 4))
    network = folder / "net.onnx"
    network.write_bytes(onnx_with_tensors_in(location.format(tmp=tmp_path)))
    monkeypatch.chdir(folder)
    with pytest.raises(WeightsError, match="keeps tensors in other files"):
        load("depth", "onnx", weights=str(network), sha256=sha256_of(network), kind="metric", device="cpu")


def test_a_pickle_under_the_name_of_onnx_is_not_unpickled(tmp_path: Path, pickled: bytes, mark: Path) -> None:
    network = tmp_path / "net.onnx"
    network.write_bytes(pickled)
    with pytest.raises(WeightsError, match="is no ONNX network"):
        load("depth", "onnx", weights=str(network), sha256=sha256_of(network), kind="metric", device="cpu")
    assert not mark.exists()
