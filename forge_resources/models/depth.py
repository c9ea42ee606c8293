"""Networks that read depth, behind one interface: whatever a network says, larger is farther from here on."""

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from forge_resources.config import DepthConfig
from forge_resources.models.batching import FittingBatches, prepared
from forge_resources.models.detectors import encode
from forge_resources.models.devices import (
    UnsupportedSettingError,
    onnx_providers,
    require_file_precision,
    steady_torch,
    torch_device,
    torch_dtype,
    with_precision,
)
from forge_resources.models.pretrained import read_network, read_processor
from forge_resources.models.weights import ResolvedWeights, WeightsError

DepthMap = NDArray[np.float32]
Kind = Literal["metric", "relative"]
RawKind = Literal["metric", "relative_inverse", "relative"]

_METRIC_TYPES: Final = frozenset({"depth_pro", "glpn", "zoedepth"})
_ONNX_FOLDER: Final = "session.model_external_initializers_file_folder_path"
_ONNX_SPINNING: Final = "session.intra_op.allow_spinning"
_FLAT_DISPARITY: Final = 1e-30
_DISPARITY_FLOOR: Final = 0.05
_DEPTH_FLOOR: Final = 1e-3
_ROBUST: Final = (0.5, 99.5)
_RGB_SCALE: Final = 1 / 255
_IMAGENET_MEAN: Final = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_IMAGENET_STD: Final = np.array([0.229, 0.224, 0.225], dtype=np.float32)


class InvalidDepthError(RuntimeError):
    """A network said something of a photo that is no depth."""


class DepthEstimator(Protocol):
    """A network that reads depth; for one thread at a time."""

    @property
    def identity(self) -> str:
        """Backend, weights and their commit or hash; the same on every device."""
        ...

    @property
    def name(self) -> str:
        """Name of the reading, from the configuration."""
        ...

    @property
    def kind(self) -> Kind:
        """Metres, or depth up to an unknown scale."""
        ...

    def estimate(self, images: Sequence[NDArray[np.uint8]]) -> list[DepthMap]:
        """Read depth.

        Args:
            images: photos of shape (height, width, 3), RGB, of any sizes.

        Returns:
            Of each photo a map that covers it, of any resolution and aspect: positive, larger is farther.

        Raises:
            InvalidDepthError: if the network gives values that are not finite.
        """
        ...


class TransformersDepth:
    """A depth network in transformers' format, such as Depth Anything, from a local folder.

    Only safetensors are read and no code of the repository is run.

    Raises:
        UnsupportedSettingError: if `kind` is auto and the network's configuration does not say what it gives.
    """

    def __init__(self, weights: ResolvedWeights, config: DepthConfig) -> None:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.identity = with_precision(weights.identity, config.precision)
        self.name = config.name
        self._batches = FittingBatches(config.batch_size)
        self._device = torch_device(config.device)
        self._dtype = torch_dtype(config.precision, self._device)
        self._processor: Any = read_processor(AutoImageProcessor, weights.path)
        self._model: Any = read_network(AutoModelForDepthEstimation, weights.path, self._dtype)
        self._model.to(self._device).eval()
        self._raw: RawKind = transformers_kind(self._model.config) if config.kind == "auto" else config.kind
        self.kind: Kind = "metric" if self._raw == "metric" else "relative"
        steady_torch()

    def estimate(self, images: Sequence[NDArray[np.uint8]]) -> list[DepthMap]:
        """Read depth; see `DepthEstimator.estimate`."""
        with prepared(partial(encode, self._processor), images) as encoded:
            inputs = [one.result()["pixel_values"] for one in encoded]
        shapes = [tuple(one.shape) for one in inputs]
        return self._batches.run(shapes, lambda positions: self._run([inputs[i] for i in positions]))

    def _run(self, inputs: list[Any]) -> Iterator[DepthMap]:
        import torch

        batch = torch.cat(inputs).to(self._device, self._dtype)
        with torch.inference_mode():
            raw = self._model(pixel_values=batch).predicted_depth.float().cpu().numpy()
        return (farther_is_larger(one, self._raw) for one in raw)


class OnnxDepth:
    """A depth network as one ONNX file: takes RGB as 1x3xHxW or Nx3xHxW, gives one value a pixel.

    Raises:
        UnsupportedSettingError: if `kind` is auto, since the file does not say what it gives; if it leaves its
            size free and `input_size` is not set; or if its input is none of that shape.
        WeightsError: if the file is none, or its tensors lie in other files, which its hash does not cover.
    """

    def __init__(self, weights: ResolvedWeights, config: DepthConfig) -> None:
        import onnxruntime

        require_file_precision(config, "onnx")
        if config.kind == "auto":
            raise UnsupportedSettingError(
                f"an ONNX file does not say what it gives ({weights.path.name}): "
                "set kind to metric, relative_inverse or relative"
            )
        self.identity = weights.identity
        self.name = config.name
        self._raw: RawKind = config.kind
        self.kind: Kind = "metric" if config.kind == "metric" else "relative"
        self._scaling = config.input_scaling
        options = onnxruntime.SessionOptions()
        options.use_deterministic_compute = True
        # Threads that spin while they wait take the cores from those that decode photos and store maps.
        options.add_session_config_entry(_ONNX_SPINNING, "0")
        self._session: Any = _session_of_one_file(weights.path, options, onnx_providers(config.device))
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        self._height, self._width = _onnx_size(entry.shape, config)
        self._fixed_batch: int | None = entry.shape[0] if isinstance(entry.shape[0], int) else None
        self._batch_size = self._fixed_batch or config.batch_size

    def estimate(self, images: Sequence[NDArray[np.uint8]]) -> list[DepthMap]:
        """Read depth; see `DepthEstimator.estimate`."""
        maps: list[DepthMap] = []
        with prepared(self._encode, images) as encoded:
            for start in range(0, len(images), self._batch_size):
                batch = np.stack([one.result() for one in encoded[start : start + self._batch_size]])
                missing = self._fixed_batch - len(batch) if self._fixed_batch else 0
                padded = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
                raw = self._session.run(None, {self._input: padded})[0]
                maps += [farther_is_larger(one.squeeze(), self._raw) for one in raw[: len(batch)]]
        return maps

    def _encode(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        import cv2

        shrinks = image.shape[0] > self._height and image.shape[1] > self._width
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(image, (self._width, self._height), interpolation=interpolation))
        rgb = resized.astype(np.float32) * np.float32(_RGB_SCALE)
        if self._scaling == "imagenet":
            rgb = (rgb - _IMAGENET_MEAN) / _IMAGENET_STD
        return np.ascontiguousarray(rgb.transpose(2, 0, 1))


def _session_of_one_file(path: Path, options: Any, providers: Sequence[Any]) -> Any:  # noqa: ANN401 - untyped
    """A session of a network that is whole in one file: other files are looked for in an empty folder."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidProtobuf

    with tempfile.TemporaryDirectory(prefix="forge-onnx-") as empty:
        options.add_session_config_entry(_ONNX_FOLDER, empty)
        try:
            return onnxruntime.InferenceSession(path.read_bytes(), sess_options=options, providers=providers)
        except InvalidProtobuf as error:
            raise WeightsError(f"{path} is no ONNX network, or a damaged one") from error
        except Fail as error:
            if "external data" not in str(error).lower():
                raise
            raise WeightsError(
                f"{path} keeps tensors in other files, which its sha256 does not cover: export it as one file"
            ) from error


def _onnx_size(shape: Sequence[int | str | None], config: DepthConfig) -> tuple[int, int]:
    match shape:
        case [_, 3 | str() | None, height, width]:
            pass
        case _:
            raise UnsupportedSettingError(
                f"an ONNX depth network must take N x 3 x height x width, this one takes {shape}"
            )
    height, width = shape[2:]
    if isinstance(height, int) and isinstance(width, int):
        if config.input_size not in (None, (height, width)):
            raise UnsupportedSettingError(
                f"this ONNX network takes {height} x {width} pixels alone, not {config.input_size}"
            )
        return height, width
    if config.input_size is None:
        raise UnsupportedSettingError("this ONNX network leaves its size free: set input_size to height, width")
    return config.input_size


def transformers_kind(model_config: Any) -> RawKind:  # noqa: ANN401 - transformers' configurations are untyped
    """What a network of transformers gives, from its configuration.

    Depth Anything says so itself (`depth_estimation_type`); its "relative" is affine-invariant disparity.

    Raises:
        UnsupportedSettingError: if neither the configuration nor the architecture settles it.
    """
    stated = getattr(model_config, "depth_estimation_type", None)
    if stated == "metric" or model_config.model_type in _METRIC_TYPES:
        return "metric"
    if stated == "relative":
        return "relative_inverse"
    raise UnsupportedSettingError(
        f"{model_config.model_type} does not say what its output means: "
        "set kind to metric, relative_inverse or relative"
    )


def farther_is_larger(raw: NDArray[np.floating[Any]], kind: RawKind) -> DepthMap:
    """Turn a network's output into depth that is positive and grows with distance.

    - metric: metres; values under 1 mm become 1 mm.
    - relative: depth up to scale; values under a thousandth of the 99.5th percentile become that.
    - relative_inverse: `1 / disparity`. Disparity is known up to scale and shift only, so it is first shifted, if
      need be, until its 0.5th percentile is 5 % of its robust range (99.5th less 0.5th percentile); values below
      that percentile are raised to it. So the order of depths is kept, and the farthest is at most about 21 times
      as far as the nearest 0.5 %. A range under 1e-30, whose inverse float32 could not hold, is flat: depth 1.

    Args:
        raw: shape (height, width).
        kind: what the network gives.

    Raises:
        InvalidDepthError: if a value is not finite, or a relative depth is nowhere positive.
    """
    values = np.asarray(raw, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InvalidDepthError("the depth network gave values that are not finite")
    if kind == "metric":
        return np.maximum(values, _DEPTH_FLOOR).astype(np.float32)
    low, high = np.percentile(values, _ROBUST)
    if kind == "relative":
        if high <= 0:
            raise InvalidDepthError("the depth network gave no positive depth")
        return np.maximum(values, _DEPTH_FLOOR * high).astype(np.float32)
    if high - low < _FLAT_DISPARITY:
        return np.ones(values.shape, dtype=np.float32)
    base = max(float(low), _DISPARITY_FLOOR * float(high - low))
    return (1.0 / (np.maximum(values - low, 0.0) + base)).astype(np.float32)


def load(weights: ResolvedWeights, config: DepthConfig) -> DepthEstimator:
    """The depth network that a configuration with weights names."""
    return OnnxDepth(weights, config) if config.backend == "onnx" else TransformersDepth(weights, config)
