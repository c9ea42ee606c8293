from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from forge_resources.config import DepthConfig
from forge_resources.models.depth import (
    InvalidDepthError,
    OnnxDepth,
    TransformersDepth,
    farther_is_larger,
    transformers_kind,
)
from forge_resources.models.devices import UnsupportedSettingError
from forge_resources.models.weights import ResolvedWeights, resolve, sha256_of

FASTDEPTH = "d4edae874ab38c363a12b62b70f84313547c25498526731373421d431bc0b90f"

maps = hnp.arrays(np.float64, (6, 8), elements=st.floats(-100, 1000, width=32))


def config(**settings: Any) -> DepthConfig:
    return DepthConfig.model_validate(settings)


# --- what outputs mean


@given(maps)
def test_disparity_becomes_depth_in_reverse_order(disparity: NDArray[np.float64]) -> None:
    depth = farther_is_larger(disparity, "relative_inverse")
    assert depth.dtype == np.float32
    assert (depth > 0).all()
    assert np.isfinite(depth).all()
    order = np.argsort(disparity, axis=None)
    assert (np.diff(depth.ravel()[order]) <= 0).all()


def test_disparity_without_shift_is_inverted_as_it_is() -> None:
    disparity = np.linspace(1, 2, 1001).reshape(7, 143)
    np.testing.assert_allclose(farther_is_larger(disparity, "relative_inverse"), 1 / disparity, rtol=6e-3)


def test_a_sky_at_disparity_zero_is_far_but_not_endless() -> None:
    disparity = np.concatenate([np.zeros(500), np.linspace(0, 10, 500)]).reshape(10, 100)
    depth = farther_is_larger(disparity, "relative_inverse")
    assert 18 < depth.max() / depth.min() < 22


def test_one_hot_pixel_does_not_flatten_the_rest() -> None:
    disparity = np.tile(np.linspace(0, 10, 100), (100, 1))
    calm = farther_is_larger(disparity, "relative_inverse")
    disparity[0, 0] = 1e6
    hot = farther_is_larger(disparity, "relative_inverse")
    np.testing.assert_allclose(hot[1:], calm[1:], rtol=0.02)


def test_metres_stay_metres() -> None:
    np.testing.assert_allclose(farther_is_larger(np.array([[0.0, 0.5, 80.0]]), "metric"), [[1e-3, 0.5, 80]])


def test_relative_depth_is_made_positive() -> None:
    depth = farther_is_larger(np.array([[-1.0, 0.0, 5.0, 10.0]]), "relative")
    assert (depth > 0).all()
    np.testing.assert_allclose(depth[0, 2:], [5, 10])
    with pytest.raises(InvalidDepthError, match="no positive depth"):
        farther_is_larger(np.zeros((2, 2)), "relative")


def test_a_flat_wall_is_one_depth() -> None:
    np.testing.assert_array_equal(farther_is_larger(np.zeros((2, 3)), "relative_inverse"), np.ones((2, 3)))


@pytest.mark.parametrize("kind", ["metric", "relative", "relative_inverse"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(kind: Any, value: float) -> None:
    with pytest.raises(InvalidDepthError, match="not finite"):
        farther_is_larger(np.array([[1.0, value]]), kind)


# --- transformers: the real architecture, small and untrained


def depth_anything(folder: Path, **settings: Any) -> Path:
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    network = DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=32,
            neck_hidden_sizes=[8, 16, 32, 32],
            fusion_hidden_size=16,
            head_hidden_size=8,
            patch_size=14,
            **settings,
        )
    )
    network.save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14, do_pad=False
    ).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stated", "kind"),
    [
        ({"depth_estimation_type": "metric", "max_depth": 20}, "metric"),
        ({"depth_estimation_type": "relative"}, "relative"),
    ],
)
def test_depth_anything_from_disk(
    stated: dict[str, Any], kind: str, tmp_path: Path, bus: NDArray[np.uint8], zidane: NDArray[np.uint8]
) -> None:
    folder = depth_anything(tmp_path / "net", **stated)
    settings = config(backend="transformers", weights=str(folder), sha256=sha256_of(folder), name="any")
    network = TransformersDepth(resolve(settings, backend="transformers"), settings)
    assert (network.name, network.kind) == ("any", kind)
    together = network.estimate([bus, zidane, bus])
    assert together[0].shape[0] > together[0].shape[1]
    assert together[1].shape[0] < together[1].shape[1]
    for depth in together:
        assert depth.dtype == np.float32
        assert (depth > 0).all()
    np.testing.assert_allclose(together[0], together[2], rtol=1e-4)
    np.testing.assert_array_equal(network.estimate([bus])[0], network.estimate([bus])[0])

    alone = TransformersDepth(resolve(settings, backend="transformers"), settings.model_copy(update={"batch_size": 1}))
    for one, other in zip(alone.estimate([bus, zidane]), together, strict=False):
        np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.slow
def test_the_configured_kind_goes_before_the_networks_own(tmp_path: Path) -> None:
    folder = depth_anything(tmp_path, depth_estimation_type="relative")
    found = ResolvedWeights(folder, "transformers:x@y")
    assert TransformersDepth(found, config(backend="transformers", kind="metric")).kind == "metric"


def test_a_network_that_does_not_say_what_it_gives_needs_a_kind() -> None:
    from transformers import DPTConfig, GLPNConfig

    with pytest.raises(UnsupportedSettingError, match="dpt does not say"):
        transformers_kind(DPTConfig())
    assert transformers_kind(GLPNConfig()) == "metric"


# --- ONNX


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a protocol buffer."""

    def varint(count: int) -> bytes:
        return bytes([count]) if count < 128 else bytes([count & 127 | 128]) + varint(count >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def brightness_onnx(path: Path, shape: tuple[int | str, ...]) -> ResolvedWeights:
    """A network that gives the mean of its channels at each pixel, written without the package `onnx`."""

    def tensor(name: str, sides: tuple[int | str, ...]) -> bytes:
        dims = b"".join(field(1, field(1, side) if isinstance(side, int) else field(2, side)) for side in sides)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    axes = field(1, "axes") + field(8, 1) + field(20, 7)
    node = field(1, "image") + field(2, "depth") + field(4, "ReduceMean") + field(5, axes)
    out = (shape[0], 1, *shape[2:])
    graph = field(1, node) + field(2, "g") + field(11, tensor("image", shape)) + field(12, tensor("depth", out))
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)))
    return ResolvedWeights(path, f"onnx:{path.name}@sha256:0")


@pytest.mark.parametrize("shape", [(1, 3, 24, 32), (4, 3, 24, 32), ("n", 3, "h", "w"), ("n", 3, 24, 32)])
def test_onnx_networks_of_fixed_and_free_axes(shape: tuple[int | str, ...], tmp_path: Path) -> None:
    settings = config(backend="onnx", kind="metric", input_size=(24, 32), batch_size=2)
    network = OnnxDepth(brightness_onnx(tmp_path / "net.onnx", shape), settings)
    grey = [np.full((50, 70, 3), value, dtype=np.uint8) for value in (51, 102, 153, 204, 255)]
    for depth, level in zip(network.estimate(grey), (0.2, 0.4, 0.6, 0.8, 1.0), strict=True):
        np.testing.assert_allclose(depth, np.full((24, 32), level), rtol=1e-5)


def test_onnx_scaling_by_imagenet(tmp_path: Path) -> None:
    settings = config(backend="onnx", kind="relative", input_scaling="imagenet")
    network = OnnxDepth(brightness_onnx(tmp_path / "net.onnx", (1, 3, 8, 8)), settings)
    white = network.estimate([np.full((8, 8, 3), 255, dtype=np.uint8)])[0]
    expected = np.mean([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    np.testing.assert_allclose(white, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((1, 3, 8, 8), {}, "does not say what it gives"),
        (("n", 3, "h", "w"), {"kind": "metric"}, "set input_size"),
        ((1, 3, 8, 8), {"kind": "metric", "input_size": (16, 16)}, "8 x 8 pixels alone"),
        ((1, 4, 8, 8), {"kind": "metric"}, "must take N x 3"),
        ((1, 3, 8, 8), {"kind": "metric", "precision": "fp16"}, "cannot be told fp16"),
    ],
)
def test_onnx_settings_that_cannot_be(
    shape: tuple[int | str, ...], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedSettingError, match=message):
        OnnxDepth(brightness_onnx(tmp_path / "net.onnx", shape), config(backend="onnx", **settings))


@pytest.mark.shared
def test_fastdepth_sees_the_person_before_the_bus(
    shared_models: Path, bus: NDArray[np.uint8], zidane: NDArray[np.uint8]
) -> None:
    settings = config(
        backend="onnx", weights=str(shared_models / "fastdepth-nyu-224.onnx"), sha256=FASTDEPTH, kind="metric"
    )
    network = OnnxDepth(resolve(settings, backend="onnx"), settings)
    assert network.identity == "onnx:fastdepth-nyu-224.onnx@sha256:d4edae874ab3"
    depth, _, again = network.estimate([bus, zidane, bus])
    np.testing.assert_array_equal(depth, again)
    rows, columns = np.array([400, 900]) * 224 // 1080, np.array([60, 240]) * 224 // 810
    person = np.median(depth[rows[0] : rows[1], columns[0] : columns[1]])
    the_bus = np.median(depth[60:150, 60:200])
    building = np.median(depth[:30])
    assert person < the_bus < building


def test_a_disparity_too_flat_for_float32_is_one_depth() -> None:
    disparity = np.full((8, 8), 1.4e-45)
    disparity[0, 0] = 0.0
    np.testing.assert_array_equal(farther_is_larger(disparity, "relative_inverse"), np.ones((8, 8)))
