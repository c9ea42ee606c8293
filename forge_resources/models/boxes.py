"""Boxes in float pixels `x1, y1, x2, y2`, and which of them mean the same object."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_COCO_SPELLING: Final = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""Pascal VOC's names, which some COCO checkpoints carry, RT-DETR's among them."""


def coco_name(name: str) -> str:
    """A class name as COCO spells it, lower-case; names that COCO lacks only become lower-case."""
    lowered = name.strip().lower()
    return _COCO_SPELLING.get(lowered, lowered)


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """What a detector found in one photo, surest first; ties are broken by category, then by coordinates."""

    xyxy: FloatArray
    """Shape (N, 4), pixels, within the photo, x1 < x2 and y1 < y2."""
    scores: FloatArray
    """Shape (N,), 0-1, descending."""
    categories: list[str]
    """N class names as COCO spells them."""

    def __len__(self) -> int:
        return len(self.categories)

    @classmethod
    def build(
        cls,
        xyxy: ArrayLike,
        scores: ArrayLike,
        categories: Sequence[str],
        *,
        width: int,
        height: int,
        score_floor: float = 0.0,
        iou_threshold: float = 1.0,
    ) -> Self:
        """Clip raw boxes to the photo, drop the weak and the empty, suppress doubles per class, and sort.

        Args:
            xyxy: shape (N, 4), pixels.
            scores: shape (N,), 0-1.
            categories: N class names.
            width: of the photo, in pixels.
            height: of the photo, in pixels.
            score_floor: boxes with a lower score are dropped.
            iou_threshold: of two boxes of a class that overlap more, the surer one stays.
        """
        corners = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
        corners = np.clip(corners, 0.0, np.array([width, height, width, height], dtype=np.float64))
        confidence = np.asarray(scores, dtype=np.float64).reshape(-1)
        solid = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1]) & (confidence >= score_floor)
        corners, confidence = corners[solid], confidence[solid]
        names = np.array([coco_name(name) for name, keep in zip(categories, solid, strict=True) if keep], dtype=np.str_)
        order = np.lexsort((*corners.T[::-1], names, -confidence))
        kept = order[_suppress(corners[order], names[order], iou_threshold)]
        return cls(corners[kept], confidence[kept], [str(name) for name in names[kept]])

    def mirrored(self, width: int) -> Self:
        """The same boxes seen in the horizontally mirrored photo; its own inverse."""
        return type(self)(mirror_boxes(self.xyxy, width), self.scores, self.categories)


def mirror_boxes(xyxy: FloatArray, width: float) -> FloatArray:
    """Turn boxes as the photo of that width is mirrored: x1, x2 become width - x2, width - x1."""
    return np.stack([width - xyxy[:, 2], xyxy[:, 1], width - xyxy[:, 0], xyxy[:, 3]], axis=1)


def iou_matrix(first: FloatArray, second: FloatArray) -> FloatArray:
    """Intersection over union of each box of one list with each of another.

    Args:
        first: shape (N, 4).
        second: shape (M, 4).

    Returns:
        Shape (N, M), 0-1.
    """
    corner_min = np.maximum(first[:, None, :2], second[None, :, :2])
    corner_max = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(corner_max - corner_min, 0.0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def match_one_to_one(iou: FloatArray, floor: float) -> NDArray[np.intp]:
    """Pair rows with columns, the largest overlap first, each at most once; ties go to the earlier row, then column.

    Args:
        iou: shape (N, M).
        floor: pairs that overlap less are none.

    Returns:
        Shape (N,): the column of each row, -1 where it has none.
    """
    partner = np.full(iou.shape[0], -1, dtype=np.intp)
    taken = np.zeros(iou.shape[1], dtype=np.bool_)
    rows, columns = np.nonzero(iou >= max(floor, np.finfo(np.float64).tiny))
    for pair in np.lexsort((columns, rows, -iou[rows, columns])):
        row, column = rows[pair], columns[pair]
        if partner[row] < 0 and not taken[column]:
            partner[row], taken[column] = column, True
    return partner


def _suppress(xyxy: FloatArray, names: NDArray[np.str_], iou_threshold: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression within each class, over boxes that come surest first."""
    rivals = (iou_matrix(xyxy, xyxy) > iou_threshold) & (names[:, None] == names[None, :])
    alive = np.ones(len(xyxy), dtype=np.bool_)
    for index in range(len(xyxy)):
        if alive[index]:
            alive[index + 1 :] &= ~rivals[index, index + 1 :]
    return np.flatnonzero(alive)
