"""One pair as the page draws it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import polars as pl

from forge_assets.pictures import object_labels
from forge_assets.release.gallery.evidence import evidence_lines
from forge_assets.release.gallery.rule_results import RuleResult, rule_words
from forge_assets.release.gallery.sample import Kind
from forge_resources.lake import Lake, PartitionMissing
from forge_resources.shards import ShardKey

Role = Literal["asked", "answer", "other"]
_PLACE: Final = re.compile(r"(\[\d+, \d+(?:, \d+, \d+)?\])")
"""A box or a point in a sentence, in thousandths of the photo's sides."""
_CORNERS: Final = 4
_SCALE: Final = 1000


def card(
    row: Mapping[str, Any],
    kind: Kind,
    results: Sequence[RuleResult],
    keypoints: Mapping[str, Sequence[Mapping[str, float]]],
) -> dict[str, Any]:
    """All that the page shows of a pair, as JSON has it.

    Args:
        row: of `verified_qa` or `rejected_qa`.
        kind: which of these.
        results: what each rule says of it.
        keypoints: of people, by object id, in pixels.

    Returns:
        Names as the page's script reads them. A text is a list of pieces, `{t}` or `{t, b}` with the place of
        a box in `boxes` or `{t, p}` with that of a point in `points`.
    """
    boxes = _boxes(row, keypoints)
    points: list[list[int]] = []
    question = _pieces(row["question"], boxes, points)
    answer = _answer(row, boxes, points)
    return {
        "id": f"{kind[0]}-{row['qa_id']}",
        "qa": row["qa_id"],
        "kind": kind,
        "task": str(row["task"]),
        "form": row["form"],
        "source": row["source"],
        "shard": row["shard"],
        "image": row["image_id"],
        "width": row["image_width"],
        "height": row["image_height"],
        "split": str(row["split"]),
        "license": row["license"],
        "template": row["template_id"],
        "models": (row["evidence"] or {}).get("models") or [],
        "score": row.get("score"),
        "rule": row.get("rule"),
        "rule_words": rule_words(row["rule"]) if row.get("rule") else None,
        "text": row["question"],
        "answer_text": row["answer"],
        "short": row["short_answer"] if row["short_answer"] != row["answer"] else None,
        "choices": [{"text": choice, "right": choice == row["short_answer"]} for choice in row["choices"] or []],
        "question": question,
        "answer": answer,
        "listed": str(row["answer_kind"]) == "bbox",
        "boxes": boxes,
        "points": points,
        "rules": [
            {
                "rule": said.rule,
                "words": said.words,
                "value": said.value,
                "needed": said.needed,
                "margin": said.margin,
                "holds": said.holds,
                "reason": said.is_reason,
            }
            for said in results
        ],
        "evidence": evidence_lines(row["evidence"], [box["label"] for box in boxes if box["role"] != "other"]),
    }


def read_keypoints(lake: Lake, rows: pl.DataFrame) -> dict[str, list[dict[str, float]]]:
    """Keypoints of the people of perspective pairs, by object id, in pixels of the upright photo.

    Only the partitions of these pairs are read; a person whose pose was not read is left out.
    """
    people = rows.filter(pl.col("task").cast(pl.String) == "perspective")
    found: dict[str, list[dict[str, float]]] = {}
    for (source, shard), pairs in people.partition_by("source", "shard", as_dict=True).items():
        ids = pairs["object_ids"].explode().unique().implode()
        try:
            detections = lake.scan("detections", ShardKey(str(source), str(shard)))
        except PartitionMissing:  # pairs may be kept without what they were made of
            continue
        named = pl.col("object_id").is_in(ids) & pl.col("keypoints").is_not_null()
        found |= dict(detections.filter(named).select("object_id", "keypoints").collect().iter_rows())
    return found


def _boxes(row: Mapping[str, Any], keypoints: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    labels = object_labels(str(row["task"]), len(row["boxes"]))
    categories = row["categories"] or [None] * len(labels)
    return [
        {
            "label": label,
            "category": category,
            "object": object_id,
            "role": _role(row, object_id, corners),
            "at": list(corners),
            "pose": _pose(keypoints.get(object_id), row) if row["task"] == "perspective" else None,
        }
        for label, category, object_id, corners in zip(labels, categories, row["object_ids"], row["boxes"], strict=True)
    ]


def _role(row: Mapping[str, Any], object_id: str, corners: Sequence[int]) -> Role:
    """What a box is to its pair: the answer names it by its place, lists or counts it, or singles it out."""
    if str(list(corners)) in row["answer"]:
        return "answer"
    answers, is_counted = row["answer_object_ids"], row["task"] == "counting"
    singles_out = set(answers) != set(row["object_ids"])
    return "answer" if object_id in answers and (is_counted or singles_out) else "asked"


def _pose(keypoints: Sequence[Mapping[str, float]] | None, row: Mapping[str, Any]) -> list[list[float]] | None:
    if keypoints is None:
        return None
    return [
        [
            round(point["x"] * _SCALE / row["image_width"], 1),
            round(point["y"] * _SCALE / row["image_height"], 1),
            round(point["score"], 2),
        ]
        for point in keypoints
    ]


def _pieces(text: str, boxes: list[dict[str, Any]], points: list[list[int]]) -> list[dict[str, Any]]:
    """A text cut where it names a box or a point; those that are not yet among `boxes` or `points` are added."""
    pieces: list[dict[str, Any]] = []
    for piece in filter(None, _PLACE.split(text)):
        if not _PLACE.fullmatch(piece):
            pieces.append({"t": piece})
            continue
        numbers: list[int] = json.loads(piece)
        if len(numbers) == _CORNERS:
            pieces.append({"t": piece, "b": _place_of(numbers, boxes)})
        else:
            if numbers not in points:
                points.append(numbers)
            pieces.append({"t": piece, "p": points.index(numbers)})
    return pieces


def _place_of(corners: list[int], boxes: list[dict[str, Any]]) -> int:
    for index, box in enumerate(boxes):
        if box["at"] == corners:
            return index
    nothing = dict.fromkeys(("category", "object", "pose"))
    boxes.append({"label": "\N{MULTIPLICATION SIGN}", "role": "other", "at": corners, **nothing})
    return len(boxes) - 1


def _answer(row: Mapping[str, Any], boxes: list[dict[str, Any]], points: list[list[int]]) -> list[list[dict[str, Any]]]:
    """The answer as lines: one a box where it lists boxes, else one."""
    if str(row["answer_kind"]) != "bbox":
        return [_pieces(row["answer"], boxes, points)]
    items = json.loads(row["short_answer"] or row["answer"])
    return [[{"t": f"{item['label']} "}, *_pieces(str(item["bbox_2d"]), boxes, points)] for item in items]
