"""What simpler rules, as other generators use them, make of the same photos, boxes and depth maps.

They answer where a candidate of ours asks, without margin and without verification. Depth rules read the whole box of
the first network's map; box rules take what the detector finds from one score on.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.calibration.intervals import PhotoBootstrap
from forge_assets.calibration.judge import NotJudged, Pair, boxes_named, judge_pair
from forge_assets.calibration.pipeline import Found
from forge_assets.calibration.summary import photo_interval, with_precision
from forge_assets.calibration.truth import Box, center_x
from forge_assets.depth_maps.encoding import DepthMap

OURS: Final = "verified"
UNVERIFIED: Final = "candidates, unverified"
USUAL_SCORES: Final = (0.25, 0.5)
"""Scores from which detectors' boxes are usually taken: the default of ultralytics, and of transformers' pipelines."""
_DECILE: Final = 0.1
_TWO: Final = 2

ANSWERS: Final = pl.Schema(
    {
        "task": pl.String(),
        "policy": pl.String(),
        "photo": pl.String(),
        "qa_id": pl.String(),
        "margin": pl.Float64(),
        "right": pl.Boolean(),
    }
)


def nearest_pixel(inside: NDArray[np.float32]) -> float:
    """The smallest depth of the box."""
    return float(inside.min())


def shallowest_decile(inside: NDArray[np.float32]) -> float:
    """The mean of the nearest tenth of the box's pixels, at least of one."""
    count = max(1, int(_DECILE * inside.size))
    return float(np.partition(inside.ravel(), count - 1)[:count].mean())


def box_center(inside: NDArray[np.float32]) -> float:
    """The depth of the pixel in the middle of the box."""
    return float(inside[inside.shape[0] // 2, inside.shape[1] // 2])


def mean_depth(inside: NDArray[np.float32]) -> float:
    """The mean of the box's depths."""
    return float(inside.mean())


DEPTH_RULES: Final[Mapping[str, Callable[[NDArray[np.float32]], float]]] = {
    "nearest pixel": nearest_pixel,
    "shallowest decile": shallowest_decile,
    "box centre": box_center,
    "mean depth": mean_depth,
}


def box_depths(depth: DepthMap, box: Box) -> NDArray[np.float32]:
    """All depths of a box, at least one pixel; shape (rows, columns)."""
    height, width = depth.shape
    left, right = min(int(box[0] * width), width - 1), int(np.ceil(box[2] * width))
    top, bottom = min(int(box[1] * height), height - 1), int(np.ceil(box[3] * height))
    return depth[top : max(bottom, top + 1), left : max(right, left + 1)]


def peer_answers(found: Found, pairs: pl.DataFrame) -> pl.DataFrame:
    """Every rule's answer to every candidate that it can answer.

    Args:
        found: boxes, depth maps and truth.
        pairs: rows of `candidate_qa`.

    Returns:
        Rows of `ANSWERS`: `margin` is the rule's own, to rank its answers by (the logarithm of the depth ratio, the
        distance of the centres, the lowest score); `right` is null where the truth says nothing. A rule has no row
        where it finds nothing to answer, and none for near_far without a depth network.
    """
    photos = dict(found.photos.select("image_id", "sha256").iter_rows())
    detected = {
        (image_id, category): rows
        for (image_id, category), rows in found.scenes.filter(pl.col("origin") == "detector")
        .partition_by("image_id", "category", as_dict=True)
        .items()
    }
    answers: list[dict[str, Any]] = []
    for pair in pairs.iter_rows(named=True):
        truth = found.truths.get(pair["image_id"])
        if truth is None:
            continue
        for policy, answered, margin in _answered(pair, found.maps.get(pair["image_id"]), detected):
            verdict = judge_pair(answered, truth)
            answers.append(
                {
                    "task": pair["task"],
                    "policy": policy,
                    "photo": photos[pair["image_id"]],
                    "qa_id": pair["qa_id"],
                    "margin": margin,
                    "right": None if isinstance(verdict, NotJudged) else verdict,
                }
            )
    return pl.DataFrame(answers, schema=ANSWERS)


def is_answerable(pair: Pair) -> bool:
    """Whether simpler rules can answer a pair too: two objects, or all objects of a class, without further phrases."""
    match pair["task"]:
        case "near_far":
            return len(pair["object_ids"]) == _TWO
        case "left_right":
            return len(pair["object_ids"]) == _TWO
        case "counting":
            return pair["form"] == "number"
        case "grounding":
            return pair["form"] == "every" or (pair["form"] == "one" and _by_class_alone(pair))
        case _:
            return False


def _by_class_alone(pair: Pair) -> bool:
    return all(phrase["kind"] == "class" for phrase in (pair["evidence"] or {}).get("phrases") or ())


def _answered(
    pair: Pair, depth: DepthMap | None, detected: Mapping[tuple[object, ...], pl.DataFrame]
) -> Iterator[tuple[str, Pair, float]]:
    """Of each rule its name, the pair with its answer in place of ours, and its margin."""
    if not is_answerable(pair):
        return
    match pair["task"]:
        case "near_far":
            yield from _by_depth(pair, depth)
        case "left_right":
            yield _by_centers(pair)
        case _:
            yield from _by_score(pair, detected.get((pair["image_id"], pair["category"])))


def _by_depth(pair: Pair, depth: DepthMap | None) -> Iterator[tuple[str, Pair, float]]:
    if depth is None:
        return
    inside = [box_depths(depth, box) for box in boxes_named(pair)]
    for policy, rule in DEPTH_RULES.items():
        first, second = (rule(values) for values in inside)
        nearer = pair["object_ids"][0 if first < second else 1]
        yield policy, {**pair, "form": "nearer", "answer_object_ids": [nearer]}, abs(float(np.log(first / second)))


def _by_centers(pair: Pair) -> tuple[str, Pair, float]:
    first, second = (center_x(box) for box in boxes_named(pair))
    side = "left" if first < second else "right"
    return "centre order", {**pair, "form": "side", "short_answer": side}, abs(first - second)


def _by_score(pair: Pair, objects: pl.DataFrame | None) -> Iterator[tuple[str, Pair, float]]:
    if objects is None:
        return
    for score in USUAL_SCORES:
        taken = objects.filter(pl.col("score") >= score)
        if taken.is_empty():
            continue
        sides = (("x1", "image_width"), ("y1", "image_height"), ("x2", "image_width"), ("y2", "image_height"))
        boxes = taken.select((1000 * pl.col(pixels) / pl.col(side)).alias(pixels) for pixels, side in sides).rows()
        answered = {
            **pair,
            "form": "every" if pair["task"] == "grounding" else "number",
            "boxes": boxes,
            "short_answer": str(len(boxes)),
        }
        yield f"detector from {score}", answered, float(np.min(taken["score"].to_numpy()))


def compare(judged: pl.DataFrame, answers: pl.DataFrame, bootstrap: PhotoBootstrap) -> pl.DataFrame:
    """Verified pairs beside simpler rules on the same candidates, all of them and at equal yield.

    Args:
        judged: qa_id, task, photo, verified, right of the candidates that simpler rules can answer too.
        answers: rows of `ANSWERS`.
        bootstrap: over the photos.

    Returns:
        task, policy; `selection`: `all`, or `as many as verified`, the rule's answers of the largest margin; pairs,
        right, precision with both intervals as `summary` has them. Pairs that the truth judges alone.
    """
    ours = judged.filter(pl.col("right").is_not_null()).with_columns(margin=pl.lit(None, dtype=pl.Float64))
    columns = list(ANSWERS)
    theirs = answers.filter(pl.col("right").is_not_null())
    groups: list[tuple[str, str, str, pl.DataFrame]] = []
    for task in dict.fromkeys(theirs["task"]):
        of_task = ours.filter(pl.col("task") == task)
        verified = of_task.filter("verified")
        groups += [(task, OURS, "all", verified), (task, UNVERIFIED, "all", of_task)]
        for policy in dict.fromkeys(theirs.filter(pl.col("task") == task)["policy"]):
            of_policy = theirs.filter(pl.col("task") == task, pl.col("policy") == policy).select(columns)
            surest = of_policy.sort("margin", "qa_id", descending=[True, False]).head(verified.height)
            groups += [(task, policy, "all", of_policy), (task, policy, "as many as verified", surest)]
    rows = pl.DataFrame(
        [
            {
                "task": task,
                "policy": policy,
                "selection": selection,
                "pairs": group.height,
                "right": group["right"].sum(),
            }
            for task, policy, selection, group in groups
        ],
        schema={"task": pl.String, "policy": pl.String, "selection": pl.String, "pairs": pl.Int64, "right": pl.Int64},
    )
    photo = [photo_interval(bootstrap, group) for *_, group in groups]
    return with_precision(rows, photo, right="right", of="pairs")
