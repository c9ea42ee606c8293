"""What is known of a pair from photos with human boxes or measured depth: right, wrong, or nothing."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.candidate_qa.templates import templates
from forge_assets.scenes.depth_quantiles import inner_depths
from forge_resources.models.boxes import iou_matrix, match_one_to_one

SAME_OBJECT_IOU = 0.5
TIE_RATIO = 1.05
"""Depths within this ratio are a tie: such a pair is neither right nor wrong."""
MIN_KNOWN_SHARE = 0.2
"""Of a box's inner pixels, those whose depth must have been measured."""

Box = tuple[float, float, float, float]
Truth = Mapping[str, Sequence[Box]]
"""Human boxes of one photo by category, as shares of width and height, 0-1."""


def boxes_of(labels: pl.DataFrame) -> dict[str, Truth]:
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


def judge_by_boxes(pairs: pl.DataFrame, truth: Mapping[str, Truth], categories: Mapping[str, str]) -> pl.Series:
    """Whether pairs of grounding, referring, counting and left_right are right; null for other tasks.

    Args:
        pairs: rows of `candidate_qa`.
        truth: human boxes by image_id and category.
        categories: of each object, by object_id.
    """
    return pl.Series(
        "right",
        [
            _right_by_boxes(row, truth.get(row["image_id"], {}), [categories[name] for name in row["object_ids"]])
            for row in pairs.iter_rows(named=True)
        ],
        dtype=pl.Boolean,
    )


def _right_by_boxes(row: Mapping[str, object], truth: Truth, categories: Sequence[str]) -> bool | None:
    boxes = np.asarray(row["boxes"], dtype=float) / 1000
    match row["task"]:
        case "counting":
            return int(str(row["answer"])) == len(truth.get(categories[0], ()))
        case "grounding":
            return _all_matched(boxes, truth.get(categories[0], ()))
        case "referring":
            return _all_matched(boxes, truth.get(categories[0], ()))
        case "left_right":
            real = [_matched_alone(box, truth.get(name, ())) for box, name in zip(boxes, categories, strict=True)]
            if real[0] is None or real[1] is None:
                return False
            a_is_left = real[0][0] + real[0][2] < real[1][0] + real[1][2]
            return row["answer"] == ("left" if a_is_left else "right")
        case _:
            return None


def _all_matched(boxes: NDArray[np.float64], real: Sequence[Box]) -> bool:
    if len(boxes) != len(real):
        return False
    partner = match_one_to_one(iou_matrix(boxes, np.asarray(real, dtype=float)), SAME_OBJECT_IOU)
    return bool((partner >= 0).all())


def _matched_alone(box: NDArray[np.float64], real: Sequence[Box]) -> Box | None:
    """The only human box of a class, if `box` is it."""
    return real[0] if len(real) == 1 and _all_matched(box[None], real) else None


def read_depth(folder: Path, name: str, kind: str) -> NDArray[np.float32]:
    """Measured depth of a photo, larger is farther, NaN where unknown.

    Args:
        folder: holds `<name>_gt.npz` with the array `gt`, 0 where unknown.
        name: of the photo, without ending.
        kind: `depth_m` in metres, or `disparity_px`, whose inverse is depth up to scale.
    """
    with np.load(folder / f"{name}_gt.npz") as file:
        measured = file["gt"].astype(np.float32)
    known = np.where(measured > 0, measured, np.nan)
    return known if kind == "depth_m" else (1 / known).astype(np.float32)


def judge_by_depth(pairs: pl.DataFrame, depths: Mapping[str, NDArray[np.float32]]) -> pl.Series:
    """Whether near_far pairs are right; null for other tasks, ties and objects of unknown depth.

    Args:
        pairs: rows of `candidate_qa`.
        depths: measured depth by image_id, shape (height, width).
    """
    return pl.Series("right", [_right_by_depth(row, depths) for row in pairs.iter_rows(named=True)], dtype=pl.Boolean)


def _right_by_depth(row: Mapping[str, object], depths: Mapping[str, NDArray[np.float32]]) -> bool | None:
    depth = depths.get(str(row["image_id"]))
    if row["task"] != "near_far" or depth is None:
        return None
    boxes = np.asarray(row["boxes"], dtype=float) / 1000
    first, second = (_median_depth(depth, box) for box in boxes)
    if first is None or second is None or max(first, second) / min(first, second) < TIE_RATIO:
        return None
    asked_nearer = row["template_id"] in _nearer_templates()
    answer_is_first = row["answer_object_ids"][0] == row["object_ids"][0]  # type: ignore[index]
    return answer_is_first == ((first < second) == asked_nearer)


@cache
def _nearer_templates() -> frozenset[str]:
    """Ids of the templates that ask for the nearer object; the others of near_far ask for the farther one."""
    return frozenset(templates().filter(task="near_far", form="nearer")["template_id"])


def _median_depth(depth: NDArray[np.float32], box: NDArray[np.float64]) -> float | None:
    inside = inner_depths(depth, (box[0], box[1], box[2], box[3]))
    known = inside[~np.isnan(inside)]
    return float(np.median(known)) if known.size >= MIN_KNOWN_SHARE * inside.size else None
