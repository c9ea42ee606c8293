"""What is known of photos: boxes that people drew, and depth that was measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.scenes.depth_quantiles import inner_depths
from forge_resources.errors import ForgeError
from forge_resources.models.boxes import iou_matrix, match_one_to_one

SAME_OBJECT_IOU: Final = 0.5
TIE_RATIO: Final = 1.05
"""Depths within this ratio are a tie: such a pair is neither right nor wrong."""
MIN_KNOWN_SHARE: Final = 0.2
"""Of a box's inner pixels, those whose depth must have been measured."""

INDEX_FILE: Final = "index.json"
DEPTH_KINDS: Final = ("depth_m", "disparity_px")

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 as shares of the photo's width and height, 0-1."""
HumanBoxes = Mapping[str, Sequence[Box]]
"""Human boxes of one photo by category."""
Depth = NDArray[np.float32]
"""Measured depth, shape (height, width); larger is farther, NaN where unknown."""


class CalibrationError(ForgeError, ValueError):
    """A folder that holds no truth in the layout that calibration reads; the message names the file."""


@dataclass(frozen=True, eq=False)
class PhotoTruth:
    """What is known of one photo."""

    boxes: HumanBoxes | None = None
    """None where nobody labelled the photo; a labelled one may show no object."""
    depth: Depth | None = field(default=None, repr=False)
    """None where none was measured."""


def boxes_of(labels: pl.DataFrame) -> dict[str, HumanBoxes]:
    """Human boxes by photo and category.

    Args:
        labels: image_id, width, height and labels of `raw_images`.
    """
    found: dict[str, dict[str, list[Box]]] = {}
    for row in labels.iter_rows(named=True):
        of_photo = found.setdefault(row["image_id"], {})
        for label in row["labels"]:
            box = (
                label["x1"] / row["width"], label["y1"] / row["height"],
                label["x2"] / row["width"], label["y2"] / row["height"],
            )  # fmt: skip
            of_photo.setdefault(label["category"], []).append(box)
    return dict(found)


def depth_index(folder: Path) -> dict[str, str]:
    """The kind of each measured depth by the photo's name without ending, from `index.json`.

    Raises:
        CalibrationError: if the file is missing or is no list of `{"name": ..., "kind": ...}`, or a kind is unknown.
    """
    path = folder / INDEX_FILE
    try:
        kinds = {str(entry["name"]): str(entry["kind"]) for entry in json.loads(path.read_text())}
    except FileNotFoundError as error:
        raise CalibrationError(
            f"{path} is missing: it lists the photos with measured depth, see docs/calibration.md"
        ) from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CalibrationError(f'{path} must be a list of {{"name": ..., "kind": ...}}: {error!r}') from error
    unknown = sorted(set(kinds.values()) - set(DEPTH_KINDS))
    if unknown:
        raise CalibrationError(f"{path} names the kinds {unknown}; there are {list(DEPTH_KINDS)}")
    return kinds


def read_depth(folder: Path, name: str, kind: str) -> Depth:
    """Measured depth of a photo, larger is farther, NaN where unknown.

    Args:
        folder: holds `<name>_gt.npz` with the array `gt`, 0 where unknown.
        name: of the photo, without ending.
        kind: `depth_m` in metres, or `disparity_px`, whose inverse is depth up to scale.

    Raises:
        CalibrationError: if the file is missing or has no such array.
    """
    path = folder / f"{name}_gt.npz"
    try:
        with np.load(path) as file:
            measured = file["gt"].astype(np.float32)
    except FileNotFoundError as error:
        raise CalibrationError(f"{path} is missing, but {INDEX_FILE} names {name}") from error
    except KeyError as error:
        raise CalibrationError(f"{path} holds no array named gt") from error
    known = np.where(measured > 0, measured, np.nan)
    return known if kind == "depth_m" else (1 / known).astype(np.float32)


def median_depth(depth: Depth, box: Box) -> float | None:
    """The median of the depths measured in the inner part of a box; None where too few were."""
    inside = inner_depths(depth, box)
    known = inside[~np.isnan(inside)]
    return float(np.median(known)) if known.size >= MIN_KNOWN_SHARE * inside.size else None


def all_matched(boxes: Sequence[Box], real: Sequence[Box]) -> bool:
    """Whether boxes and human boxes match one to one, none left over on either side."""
    if len(boxes) != len(real):
        return False
    overlap = iou_matrix(_corners(boxes), _corners(real))
    return bool((match_one_to_one(overlap, SAME_OBJECT_IOU) >= 0).all())


def is_same(box: Box, real: Box) -> bool:
    """Whether a box is a human box."""
    return bool(iou_matrix(_corners([box]), _corners([real]))[0, 0] >= SAME_OBJECT_IOU)


def _corners(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def center_x(box: Box) -> float:
    """The middle of a box, as a share of the photo's width."""
    return (box[0] + box[2]) / 2


def area(box: Box) -> float:
    """Of a box, as a share of the photo."""
    return (box[2] - box[0]) * (box[3] - box[1])
