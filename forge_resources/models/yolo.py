"""Networks of the ultralytics package, kept from phoning home, downloading and installing."""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from forge_resources.models.batching import FittingBatches, prepared
from forge_resources.models.boxes import FloatArray, coco_name
from forge_resources.models.devices import UnsupportedSettingError, steady_torch, torch_device, torch_dtype
from forge_resources.models.weights import MissingWeightsError, ResolvedWeights, WeightsError

STRIDE: Final = 32
_GREY: Final = (114, 114, 114)
_QUIET: Final = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "ULTRALYTICS_SAFE_LOAD": "true"}
"""Read by ultralytics when it is imported; the last has it unpickle known classes alone."""
_RESTRICTED: Final = "_SafeLoad"
"""What in ultralytics unpickles known classes alone; `SUPPORTED` says whether this PyTorch can."""


@dataclass(frozen=True, slots=True, eq=False)
class YoloResult:
    """What a YOLO network said of one photo, in the photo's pixels, not clipped to it."""

    xyxy: FloatArray
    """Shape (N, 4)."""
    scores: FloatArray
    """Shape (N,)."""
    names: list[str]
    keypoints: FloatArray | None
    """Shape (N, K, 3): x, y, score; None for a detector."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a photo was scaled and padded to the size that the network takes.

    Scaled by one ratio to `size` on the longer side, then padded evenly on both sides: as ultralytics does it.
    """

    width: int
    height: int
    scaled_width: int
    scaled_height: int
    left: int
    top: int
    padded_width: int
    padded_height: int

    @classmethod
    def of(cls, width: int, height: int, size: int, *, square: bool) -> "Letterbox":
        """The letterbox of a photo: padded to the next multiple of 32, or to a square of `size`."""
        ratio = size / max(width, height)
        scaled = max(1, round(width * ratio)), max(1, round(height * ratio))
        padded = (size, size) if square else tuple(-(-side // STRIDE) * STRIDE for side in scaled)
        left, top = ((outer - inner) // 2 for outer, inner in zip(padded, scaled, strict=True))
        return cls(width, height, *scaled, left, top, *padded)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The photo (height, width, 3) as the network takes it, same channel order."""
        import cv2

        scaled = cv2.resize(image, (self.scaled_width, self.scaled_height), interpolation=cv2.INTER_LINEAR)
        right = self.padded_width - self.scaled_width - self.left
        bottom = self.padded_height - self.scaled_height - self.top
        padded = cv2.copyMakeBorder(scaled, self.top, bottom, self.left, right, cv2.BORDER_CONSTANT, value=_GREY)
        return np.asarray(padded, dtype=np.uint8)

    def turn_back(self, xy: FloatArray) -> FloatArray:
        """Points (..., 2) of the padded image, in pixels of the photo."""
        offset = np.array([self.left, self.top], dtype=np.float64)
        ratio = np.array([self.width / self.scaled_width, self.height / self.scaled_height])
        return (xy - offset) * ratio


class YoloNetwork:
    """A network that ultralytics runs, from a `.pt` file or an exported folder; for one thread at a time.

    Args:
        weights: checked weights.
        task: what the network is for.
        image_size: longer side that photos are resized to, in pixels; an export has its own, fixed.
        device: as the configuration names it.
        precision: fp32, or fp16 on a GPU.
        batch_size: images a call; exported networks take one.

    Raises:
        MissingWeightsError: if `weights` is no .pt file and no exported folder.
        UnsupportedSettingError: for a precision that ultralytics or the device lacks.
        WeightsError: if a .pt file is none of ultralytics', or holds anything but networks, tensors and plain values.
    """

    def __init__(
        self,
        weights: ResolvedWeights,
        task: Literal["detect", "pose"],
        *,
        image_size: int,
        device: str,
        precision: str,
        batch_size: int,
    ) -> None:
        self._is_export = weights.path.suffix != ".pt"
        if self._is_export and not (weights.path / "metadata.yaml").exists():
            raise MissingWeightsError(f"{weights.path} is neither a .pt file nor a folder that ultralytics exported")
        if precision == "bf16":
            raise UnsupportedSettingError("backend ultralytics computes in fp32 or fp16, not in bf16")
        self._device = torch_device(device)
        torch_dtype(precision, self._device)
        self._quantize = 16 if precision == "fp16" else None
        self._size = image_size
        self._batches = FittingBatches(1 if self._is_export else batch_size)
        names = _export_names(weights.path) if self._is_export else None
        self._model: Any = _load(weights, task)
        names = names or self._model.names
        self.categories = frozenset(coco_name(str(name)) for name in names.values())
        steady_torch()

    def predict(
        self, images: Sequence[NDArray[np.uint8]], *, score_floor: float, iou_threshold: float
    ) -> list[YoloResult]:
        """Run the network on photos (height, width, 3), RGB; results in their order."""
        boxes = [Letterbox.of(image.shape[1], image.shape[0], self._size, square=self._is_export) for image in images]

        def run(positions: list[int]) -> Iterator[YoloResult]:
            raw = self._model.predict(
                [letterboxed[i].result() for i in positions],
                imgsz=self._size,
                conf=score_floor,
                iou=iou_threshold,
                device=self._device,
                quantize=self._quantize,
                verbose=False,
                save=False,
            )
            return (_in_photo(result, boxes[i]) for i, result in zip(positions, raw, strict=True))

        with prepared(_as_taken, list(zip(images, boxes, strict=True))) as letterboxed:
            return self._batches.run([(box.padded_width, box.padded_height) for box in boxes], run)


def _as_taken(photo: tuple[NDArray[np.uint8], Letterbox]) -> NDArray[np.uint8]:
    """The photo as ultralytics takes it: letterboxed, BGR."""
    image, letterbox = photo
    return np.ascontiguousarray(letterbox.apply(image)[..., ::-1])


def _export_names(folder: Path) -> dict[int, str]:
    metadata = folder / "metadata.yaml"
    try:
        return yaml.safe_load(metadata.read_text())["names"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise WeightsError(f"{metadata} does not name the network's classes, or is damaged ({error})") from error


def _in_photo(result: Any, letterbox: Letterbox) -> YoloResult:  # noqa: ANN401 - ultralytics is untyped
    raw = result.boxes.data.cpu().numpy().astype(np.float64)
    keypoints: FloatArray | None = None
    if result.keypoints is not None:
        points: FloatArray = result.keypoints.data.cpu().numpy().astype(np.float64)
        keypoints = np.concatenate([letterbox.turn_back(points[..., :2]), points[..., 2:]], axis=-1)
    return YoloResult(
        xyxy=letterbox.turn_back(raw[:, :4].reshape(-1, 2, 2)).reshape(-1, 4),
        scores=raw[:, 4],
        names=[result.names[int(number)] for number in raw[:, 5]],
        keypoints=keypoints,
    )


def _load(weights: ResolvedWeights, task: str) -> Any:  # noqa: ANN401 - ultralytics is untyped
    try:
        return _quiet_yolo_class()(str(weights.path), task=task, verbose=False)
    except TypeError as error:
        raise WeightsError(
            f"{weights.path} is no checkpoint of ultralytics, or it holds more than networks and tensors, which could "
            f"run as code and is not unpickled ({error})"
        ) from error


def _quiet_yolo_class() -> Any:  # noqa: ANN401 - ultralytics is untyped
    """Import ultralytics; the assignments hold where somebody had imported it before, without `_QUIET`.

    Raises:
        WeightsError: if ultralytics or PyTorch is too old to unpickle known classes alone.
    """
    os.environ.update(_QUIET)
    with _process_kept():
        import ultralytics
        from ultralytics.nn import tasks
        from ultralytics.utils import checks, events
    if not getattr(getattr(tasks, _RESTRICTED, None), "SUPPORTED", False):
        raise WeightsError("this ultralytics or PyTorch unpickles whatever a .pt file holds: install newer ones")
    setattr(tasks, "SAFE_LOAD", True)  # noqa: B010 - the type checker sees a constant
    events.events.enabled = False
    for switch in ("AUTOINSTALL", "ONLINE"):
        setattr(checks, switch, False)
    return ultralytics.YOLO


@contextmanager
def _process_kept() -> Generator[None]:
    """Undo what the import of ultralytics does to the process.

    It sets OMP_NUM_THREADS to 1 (PyTorch reads that when it is imported, so it is imported before), OpenCV to one
    thread, NumPy's printing, and puts its own functions in the place of Pillow's `Image.open`, which would then
    want the package pi-heif for each file that is no image, of OpenCV's `imread`, `imwrite` and `imshow`, and of
    `torch.save`.
    """
    import cv2
    import torch

    replaced = [(Image, "open"), (cv2, "imread"), (cv2, "imwrite"), (cv2, "imshow"), (torch, "save")]
    originals = [(module, name, getattr(module, name)) for module, name in replaced]
    environment, threads, printing = dict(os.environ), cv2.getNumThreads(), np.get_printoptions()
    yield
    for module, name, original in originals:
        setattr(module, name, original)
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    cv2.setNumThreads(threads)
    np.set_printoptions(**printing)
