import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from forge_resources.config import DetectorConfig
from forge_resources.models.boxes import Boxes, iou_matrix
from forge_resources.models.detectors import COCO_91, EmbeddedDetector, TransformersDetector, UltralyticsDetector
from forge_resources.models.devices import UnsupportedSettingError
from forge_resources.models.weights import MissingWeightsError, ResolvedWeights, resolve, sha256_of
from forge_resources.models.yolo import Letterbox

YOLO = {
    "backend": "ultralytics",
    "sha256": "c5de35f57955a79e880b1ca7b7331e5ac39e937f68abe77f3670cf6eab369492",
    "score_floor": 0.25,
}


def config(**settings: Any) -> DetectorConfig:
    return DetectorConfig.model_validate(settings)


def same(one: Boxes, other: Boxes, *, pixels: float = 0.0, score: float = 0.0) -> None:
    assert one.categories == other.categories
    np.testing.assert_allclose(one.xyxy, other.xyxy, atol=pixels, rtol=0)
    np.testing.assert_allclose(one.scores, other.scores, atol=score, rtol=0)


def test_cocos_ids() -> None:
    assert len(COCO_91) == len(set(COCO_91.values())) == 80
    assert {1: "person", 6: "bus", 13: "stop sign", 44: "bottle", 90: "toothbrush"}.items() <= COCO_91.items()


# --- embedded


@pytest.mark.usefixtures("embedded")
def test_the_embedded_detector_sees_the_bus_and_its_people(bus: NDArray[np.uint8], zidane: NDArray[np.uint8]) -> None:
    detector = EmbeddedDetector(config(backend="embedded", score_floor=0.5))
    first, second = detector.detect([bus, zidane])
    assert Counter(first.categories) == {"person": 3, "bus": 1}
    assert Counter(second.categories) == {"person": 2}
    at = first.categories.index("bus")
    assert iou_matrix(first.xyxy[[at]], np.array([[5.0, 225, 810, 755]]))[0, 0] > 0.9
    assert detector.identity == "embedded:ssd_mobilenet_v2_coco@sha256:2a8d8a89d695"


@pytest.mark.usefixtures("embedded")
def test_the_embedded_detector_says_the_same_twice_and_alone(bus: NDArray[np.uint8], zidane: NDArray[np.uint8]) -> None:
    detector = EmbeddedDetector(config(backend="embedded", score_floor=0.05))
    together = detector.detect([bus, zidane, bus])
    same(together[0], together[2])
    same(together[1], detector.detect([zidane])[0])


@pytest.mark.usefixtures("embedded")
def test_the_floor_and_the_overlap_are_kept(bus: NDArray[np.uint8]) -> None:
    strict = EmbeddedDetector(config(backend="embedded", score_floor=0.1, iou_threshold=0.3)).detect([bus])[0]
    loose = EmbeddedDetector(config(backend="embedded", score_floor=0.1, iou_threshold=0.6)).detect([bus])[0]
    assert len(strict) < len(loose)
    assert loose.scores.min() >= 0.1


def test_the_embedded_detector_refuses_a_gpu() -> None:
    with pytest.raises(UnsupportedSettingError, match="CPU alone"):
        EmbeddedDetector(config(backend="embedded", device="cuda"))


# --- transformers: real architectures, small and untrained


def yolos(folder: Path, favoured: int = 0) -> Path:
    """Without training a network prefers one class for all queries: here the one favoured."""
    import torch
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}
    network = YolosForObjectDetection(
        YolosConfig(**sizes, image_size=[64, 96], num_detection_tokens=20, num_labels=3, initializer_range=0.3)
    )
    with torch.no_grad():
        network.class_labels_classifier.layers[-1].bias[favoured] += 20
    network.config.id2label = {0: "person", 1: "tvmonitor", 2: "N/A"}
    network.save_pretrained(folder)
    YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


def rt_detr(folder: Path) -> Path:
    import torch
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessor, RTDetrResNetConfig

    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 32, 64],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    network = RTDetrForObjectDetection(
        RTDetrConfig(
            backbone_config=backbone,
            encoder_hidden_dim=32,
            encoder_in_channels=[16, 32, 64],
            encoder_ffn_dim=32,
            encoder_attention_heads=2,
            d_model=32,
            num_queries=20,
            decoder_in_channels=[32, 32, 32],
            decoder_ffn_dim=32,
            decoder_layers=2,
            decoder_attention_heads=2,
            num_labels=4,
        )
    )
    network.save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 128, "width": 128}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[yolos, rt_detr], ids=["yolos", "rt_detr"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return request.param(tmp_path_factory.mktemp("network"))


@pytest.mark.slow
def test_a_transformers_detector_from_disk(saved: Path, bus: NDArray[np.uint8], zidane: NDArray[np.uint8]) -> None:
    settings = config(backend="transformers", weights=str(saved), sha256=sha256_of(saved), score_floor=0.0)
    detector = TransformersDetector(resolve(settings, backend="transformers"), settings)
    assert detector.identity.startswith(f"transformers:{saved.name}@sha256:")
    together = detector.detect([bus, zidane, bus])
    assert all(len(boxes) for boxes in together)
    assert set(together[0].categories) <= {"person", "tv", "label_0", "label_1", "label_2", "label_3"}
    same(together[0], together[2], pixels=1e-2, score=1e-5)

    single = settings.model_copy(update={"batch_size": 1})
    alone = TransformersDetector(resolve(single, backend="transformers"), single)
    same(together[1], alone.detect([zidane])[0], pixels=1e-2, score=1e-5)
    same(alone.detect([bus])[0], alone.detect([bus])[0])


@pytest.mark.parametrize(("favoured", "categories"), [(1, {"tv"}), (2, set[str]())])
def test_names_are_cocos_and_a_class_without_name_is_none(
    favoured: int, categories: set[str], tmp_path: Path, bus: NDArray[np.uint8]
) -> None:
    found = ResolvedWeights(yolos(tmp_path, favoured), "transformers:x@y")
    boxes = TransformersDetector(found, config(backend="transformers", score_floor=0.5)).detect([bus])[0]
    assert set(boxes.categories) == categories


def test_bf16_is_named_in_the_identity(tmp_path: Path, bus: NDArray[np.uint8]) -> None:
    settings = config(backend="transformers", precision="bf16", score_floor=0.0)
    detector = TransformersDetector(ResolvedWeights(yolos(tmp_path), "transformers:x@y"), settings)
    assert detector.identity == "transformers:x@y+bf16"
    assert len(detector.detect([bus])) == 1


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    import torch

    folder = yolos(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        TransformersDetector(ResolvedWeights(folder, "transformers:x@y"), config(backend="transformers"))


# --- ultralytics


@pytest.mark.parametrize(("width", "height"), [(810, 1080), (1280, 720), (33, 1000), (640, 640)])
@pytest.mark.parametrize("square", [False, True])
def test_a_letterbox_turns_points_back(width: int, height: int, square: bool) -> None:
    box = Letterbox.of(width, height, 640, square=square)
    out = box.apply(np.zeros((height, width, 3), dtype=np.uint8))
    assert out.shape[:2] == (box.padded_height, box.padded_width)
    assert max(out.shape[:2]) == 640
    assert out.shape[0] % 32 == out.shape[1] % 32 == 0
    inside = np.array([[box.left, box.top], [box.left + box.scaled_width, box.top + box.scaled_height]], dtype=float)
    np.testing.assert_allclose(box.turn_back(inside), [[0, 0], [width, height]], atol=1e-9)


def test_weights_that_ultralytics_cannot_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"neither a \.pt file nor a folder"):
        UltralyticsDetector(ResolvedWeights(tmp_path, "ultralytics:x@y"), config(backend="ultralytics"))


@pytest.mark.parametrize(("precision", "message"), [("bf16", "fp32 or fp16"), ("fp16", "needs a GPU")])
def test_precisions_that_ultralytics_lacks(tmp_path: Path, precision: str, message: str) -> None:
    settings = config(backend="ultralytics", precision=precision, device="cpu")
    with pytest.raises(UnsupportedSettingError, match=message):
        UltralyticsDetector(ResolvedWeights(tmp_path / "x.pt", "ultralytics:x@y"), settings)


@pytest.mark.shared
def test_yolo_on_real_photos(shared_models: Path, bus: NDArray[np.uint8], zidane: NDArray[np.uint8]) -> None:
    settings = config(weights=str(shared_models / "yolo11n-rebuilt.pt"), **YOLO)
    detector = UltralyticsDetector(resolve(settings, backend="ultralytics"), settings)
    assert detector.identity == "ultralytics:yolo11n-rebuilt.pt@sha256:c5de35f57955"
    first, second, third = detector.detect([bus, zidane, bus])
    assert Counter(first.categories) == {"bus": 1, "person": 4}
    assert Counter(second.categories)["person"] == 2
    same(first, third, pixels=0.05, score=1e-4)
    same(second, detector.detect([zidane])[0], pixels=0.05, score=1e-4)
    same(detector.detect([bus])[0], detector.detect([bus])[0])
    there = detector.detect([np.ascontiguousarray(bus[:, ::-1])])[0].mirrored(bus.shape[1])
    assert iou_matrix(first.xyxy, there.xyxy).max(axis=1).min() > 0.8


KEPT = """
import os, sys
import cv2, numpy, torch
from PIL import Image
def state():
    return (torch.get_num_threads(), cv2.getNumThreads(), Image.open, cv2.imread, torch.save,
            numpy.get_printoptions(), os.environ.get("OMP_NUM_THREADS"))
before = state()
from forge_resources.models.yolo import _quiet_yolo_class
assert _quiet_yolo_class().__name__ == "YOLO"
from ultralytics.utils import checks, events
assert state() == before, (state(), before)
assert not events.events.enabled and not checks.AUTOINSTALL and not checks.ONLINE
"""


@pytest.mark.slow
def test_ultralytics_is_kept_quiet_and_leaves_the_process_as_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.shared
def test_a_file_with_another_hash_is_never_unpickled(shared_models: Path, tmp_path: Path) -> None:
    other = tmp_path / "yolo11n.pt"
    other.write_bytes((shared_models / "yolo11n-rebuilt.pt").read_bytes() + b"\0")
    from forge_resources.config import ForgeConfig
    from forge_resources.models.selection import load_detector
    from forge_resources.models.weights import WeightsHashError

    settings = config(weights=str(other), **YOLO)
    with pytest.raises(WeightsHashError):
        load_detector(ForgeConfig.model_validate({"models": {"detector": settings.model_dump()}}))


@pytest.mark.shared
def test_an_exported_folder(shared_models: Path, bus: NDArray[np.uint8]) -> None:
    pytest.importorskip("openvino", reason="the shared export needs openvino: pip install 'spatialforge[openvino]'")
    folder = shared_models / "yolo11n_int8_openvino_model"
    settings = config(backend="ultralytics", weights=str(folder), sha256=sha256_of(folder), score_floor=0.25)
    detector = UltralyticsDetector(resolve(settings, backend="ultralytics"), settings)
    assert Counter(detector.detect([bus, bus])[1].categories) == {"bus": 1, "person": 4}


@pytest.mark.shared
@pytest.mark.slow
def test_what_openvino_finds_is_what_pytorch_finds(
    shared_models: Path, tmp_path: Path, bus: NDArray[np.uint8], zidane: NDArray[np.uint8]
) -> None:
    pytest.importorskip("openvino", reason="the export needs openvino: pip install 'spatialforge[openvino]'")
    copy = tmp_path / "yolo11n-rebuilt.pt"
    copy.write_bytes((shared_models / copy.name).read_bytes())
    offline = {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    export = [str(Path(sys.executable).parent / "yolo"), "export", f"model={copy}", "format=openvino", "imgsz=640"]
    done = subprocess.run(export, env=os.environ | offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    squares = [np.ascontiguousarray(bus[200:1010]), np.ascontiguousarray(zidane[:, 400:1120])]
    """An export takes squares alone: these reach both runtimes without padding."""

    def found_with(weights: Path) -> list[Boxes]:
        settings = config(backend="ultralytics", weights=str(weights), sha256=sha256_of(weights), device="cpu")
        return UltralyticsDetector(resolve(settings, backend="ultralytics"), settings).detect(squares)

    for torch_found, openvino_found in zip(
        found_with(copy), found_with(tmp_path / "yolo11n-rebuilt_openvino_model"), strict=True
    ):
        ious = iou_matrix(torch_found.xyxy, openvino_found.xyxy)
        ious *= np.array(torch_found.categories)[:, None] == np.array(openvino_found.categories)[None]
        sure = torch_found.scores >= 0.5
        assert sure.sum() >= 2
        assert ious[sure].max(axis=1).min() > 0.9
        partners = openvino_found.scores[ious[sure].argmax(axis=1)]
        np.testing.assert_allclose(partners, torch_found.scores[sure], atol=0.1, rtol=0)
