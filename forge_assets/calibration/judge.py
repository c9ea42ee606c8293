"""Whether a pair is right by what is known of its photo, form by form; or why that cannot be told.

A pair is judged by its form and its structured columns, of which `short_answer` tells the side, the number, yes or no.
Of its words are read the phrases of `evidence.phrases`, and in the question the side or the number that it claims.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

import polars as pl

from forge_assets.calibration.truth import (
    TIE_RATIO,
    Box,
    HumanBoxes,
    PhotoTruth,
    all_matched,
    area,
    center_x,
    is_same,
    median_depth,
)
from forge_assets.candidate_qa.names import category_names
from forge_assets.candidate_qa.phrase_kinds import COLOR, RANK_OF


class NotJudged(StrEnum):
    """Why the truth says nothing of a pair."""

    NO_BOXES = "no human boxes on this photo"
    NO_DEPTH = "no measured depth on this photo"
    DEPTH_GAPS = "depth measured in too little of a box"
    TIE = "measured depths tie"
    NO_TRUTH = "no truth for this task"
    COLOR = "colours are not in the truth"
    PHRASE = "phrase of a kind that is not in the truth"
    NUMBER = "the number asked about was not found in the question"
    SIDE = "the side told was not found in the words"
    BOTH = "takes human boxes and measured depth of one photo"
    UNKNOWN_FORM = "form that calibration does not know"


Verdict = bool | NotJudged
Pair = Mapping[str, Any]
"""A row of `candidate_qa`."""

_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_LEFT, _RIGHT = "left", "right"
_MIDDLE: Final = 0.5


def judge(pairs: pl.DataFrame, truths: Mapping[str, PhotoTruth]) -> pl.DataFrame:
    """Judge every pair.

    Args:
        pairs: rows of `candidate_qa`.
        truths: what is known of each photo, by image_id.

    Returns:
        One row a pair, in their order: `right`, null where the truth says nothing, and `not_judged`, why.
    """
    verdicts = [judge_pair(row, truths.get(row["image_id"], PhotoTruth())) for row in pairs.iter_rows(named=True)]
    return pl.DataFrame(
        {
            "right": [None if isinstance(verdict, NotJudged) else verdict for verdict in verdicts],
            "not_judged": [verdict.value if isinstance(verdict, NotJudged) else None for verdict in verdicts],
        },
        schema={"right": pl.Boolean, "not_judged": pl.String},
    )


def judge_pair(pair: Pair, truth: PhotoTruth) -> Verdict:
    """Whether one pair is right."""
    task = str(pair["task"])
    if task == "perspective":
        return NotJudged.NO_TRUTH
    judged_as = _FORMS.get((task, pair["form"]))
    if judged_as is None:
        return NotJudged.UNKNOWN_FORM
    if task == "near_far":
        return NotJudged.NO_DEPTH if truth.depth is None else judged_as(pair, truth)
    return NotJudged.NO_BOXES if truth.boxes is None else judged_as(pair, truth)


# --- what a pair names


def boxes_named(pair: Pair) -> list[Box]:
    """The boxes of a pair's objects, as shares of the photo."""
    return [(box[0] / 1000, box[1] / 1000, box[2] / 1000, box[3] / 1000) for box in pair["boxes"]]


def _human_boxes(truth: PhotoTruth) -> HumanBoxes:
    return truth.boxes or {}


def _place_of(pair: Pair, object_id: str) -> int:
    return list(pair["object_ids"]).index(object_id)


def _phrase_of(pair: Pair, place: int) -> Mapping[str, Any] | None:
    """The phrase that names an object, None where its box or a point in it does."""
    phrases = (pair["evidence"] or {}).get("phrases") or []
    object_id = pair["object_ids"][place]
    return next((phrase for phrase in phrases if phrase["object_id"] == object_id), None)


def _meant(pair: Pair, place: int, boxes: HumanBoxes) -> list[Box] | NotJudged:
    """The human boxes that the words for an object fit: one, if the words are right."""
    category = pair["categories"][place]
    of_class = list(boxes.get(category, ()))
    phrase = _phrase_of(pair, place)
    if phrase is None:
        return [box for box in of_class if is_same(boxes_named(pair)[place], box)]
    if phrase["kind"] in {COLOR, *RANK_OF}:
        return NotJudged.COLOR
    resolve = _PHRASES.get(phrase["kind"])
    return NotJudged.PHRASE if resolve is None else resolve(of_class, str(phrase["text"]).lower(), boxes)


def _only_ones(boxes: Sequence[Box], _text: str, _others: HumanBoxes) -> list[Box]:
    return list(boxes)


def _in_row(boxes: Sequence[Box], text: str, _others: HumanBoxes) -> list[Box] | NotJudged:
    """The one at a place counted from the left or the right: "the second dog from the left", "the leftmost dog"."""
    if re.search(r"\b(?:left|right)most\b", text):
        return sorted(boxes, key=center_x, reverse="rightmost" in text)[:1]
    side = re.search(r"\bfrom the (left|right)\b", text)
    place = next((place for place, word in enumerate(_ORDINALS) if re.search(rf"\b{word}\b", text)), None)
    if side is None or place is None:
        return NotJudged.PHRASE
    return sorted(boxes, key=center_x, reverse=side.group(1) == _RIGHT)[place : place + 1]


def _by_size(boxes: Sequence[Box], text: str, _others: HumanBoxes) -> list[Box] | NotJudged:
    """The largest or the smallest one."""
    word = re.search(r"\b(largest|smallest)\b", text)
    if word is None:
        return NotJudged.PHRASE
    return sorted(boxes, key=area, reverse=word.group(1) == "largest")[:1]


def _beside(boxes: Sequence[Box], text: str, others: HumanBoxes) -> list[Box] | NotJudged:
    """Those on one side of the only object of another class: "the dog to the left of the bus"."""
    found = re.search(r"\b(left|right) of the (.+)$", text)
    if found is None:
        return NotJudged.PHRASE
    side, name = found.groups()
    singular = dict(category_names(pl.Series(list(others), dtype=pl.String)).select("category", "singular").iter_rows())
    landmarks = [box for category, of_category in others.items() if singular[category] == name for box in of_category]
    if len(landmarks) != 1:
        return []
    middle = center_x(landmarks[0])
    return [box for box in boxes if (center_x(box) < middle) == (side == _LEFT)]


_PHRASES: Final[Mapping[str, Callable[[Sequence[Box], str, HumanBoxes], list[Box] | NotJudged]]] = {
    "class": _only_ones,
    "ordinal": _in_row,
    "size": _by_size,
    "side_of": _beside,
}
"""The human boxes that a phrase fits, by its kind: from those of its class, its words in lower case, and all boxes."""


def _found(pair: Pair, place: int, boxes: HumanBoxes) -> Box | Verdict:
    """The human box that an object is, False where its words fit none, several, or another one."""
    meant = _meant(pair, place, boxes)
    if isinstance(meant, NotJudged):
        return meant
    named = boxes_named(pair)[place]
    return meant[0] if len(meant) == 1 and is_same(named, meant[0]) else False


# --- judging by human boxes


def _of_class(pair: Pair, truth: PhotoTruth) -> Sequence[Box]:
    """Human boxes of the class that a pair is about."""
    return _human_boxes(truth).get(str(pair["category"]), ())


def _all_of_class(pair: Pair, truth: PhotoTruth) -> Verdict:
    return all_matched(boxes_named(pair), _of_class(pair, truth))


def _one_found(pair: Pair, truth: PhotoTruth) -> Verdict:
    found = _found(pair, 0, _human_boxes(truth))
    return True if isinstance(found, tuple) else found


def _box_claim(pair: Pair, truth: PhotoTruth) -> Verdict:
    """Yes: the box is what the phrase says. No: the first object's box is none of what the last one's phrase fits."""
    if _says_yes(pair):
        return _one_found(pair, truth)
    boxes = _human_boxes(truth)
    meant = _meant(pair, len(pair["object_ids"]) - 1, boxes)
    if isinstance(meant, NotJudged):
        return meant
    return not any(is_same(boxes_named(pair)[0], box) for box in meant)


def _says_yes(pair: Pair) -> bool:
    return pair["short_answer"] == "yes"


def _colored(_pair: Pair, _truth: PhotoTruth) -> Verdict:
    return NotJudged.COLOR


def _number(pair: Pair, truth: PhotoTruth) -> Verdict:
    return int(pair["short_answer"]) == len(_of_class(pair, truth))


def _number_claim(pair: Pair, truth: PhotoTruth) -> Verdict:
    numbers = re.findall(r"\b\d+\b", str(pair["question"]))
    if len(numbers) != 1:
        return NotJudged.NUMBER
    return _says_yes(pair) == (int(numbers[0]) == len(_of_class(pair, truth)))


def _number_in_half(pair: Pair, truth: PhotoTruth) -> Verdict:
    """The half asked about is where the answer's objects are; without any, where the others are not."""
    answered = set(pair["answer_object_ids"])
    sides = {
        (center_x(box) < _MIDDLE) == (object_id in answered)
        for object_id, box in zip(pair["object_ids"], boxes_named(pair), strict=True)
    }
    if len(sides) != 1:
        return False
    in_left = sides.pop()
    return int(pair["short_answer"]) == sum((center_x(box) < _MIDDLE) == in_left for box in _of_class(pair, truth))


def _takes_both(_pair: Pair, _truth: PhotoTruth) -> Verdict:
    return NotJudged.BOTH


def _all_found(pair: Pair, truth: PhotoTruth) -> list[Box] | Verdict:
    """The human boxes of all objects named; False, or why it cannot be told, where one is not found."""
    found: list[Box] = []
    for place in range(len(pair["object_ids"])):
        one = _found(pair, place, _human_boxes(truth))
        if not isinstance(one, tuple):
            return one
        found.append(one)
    return found


def _is_told(side: str, words: object) -> Verdict:
    """Whether words that name one side name this one."""
    told = set(re.findall(r"\b(left|right)\b", str(words).lower()))
    return side in told if len(told) == 1 else NotJudged.SIDE


def _side_of(pair: Pair, truth: PhotoTruth, words: object) -> Verdict:
    """Whether the first object lies on the side of the second one that words name."""
    boxes = _all_found(pair, truth)
    if not isinstance(boxes, list):
        return boxes
    return _is_told(_LEFT if center_x(boxes[0]) < center_x(boxes[1]) else _RIGHT, words)


def _side(pair: Pair, truth: PhotoTruth) -> Verdict:
    return _side_of(pair, truth, pair["short_answer"])


def _side_claim(pair: Pair, truth: PhotoTruth) -> Verdict:
    boxes = _all_found(pair, truth)
    if not isinstance(boxes, list):
        return boxes
    claimed = _side_of(pair, truth, pair["question"])
    return claimed if isinstance(claimed, NotJudged) else claimed == _says_yes(pair)


def _half(pair: Pair, truth: PhotoTruth) -> Verdict:
    boxes = _all_found(pair, truth)
    if not isinstance(boxes, list):
        return boxes
    return _is_told(_LEFT if center_x(boxes[0]) < _MIDDLE else _RIGHT, pair["short_answer"])


def _outermost(pair: Pair, truth: PhotoTruth, *, leftmost: bool) -> Verdict:
    boxes = _all_found(pair, truth)
    if not isinstance(boxes, list):
        return boxes
    centers = [center_x(box) for box in boxes]
    return centers[_place_of(pair, pair["answer_object_ids"][0])] == (min(centers) if leftmost else max(centers))


def _leftmost(pair: Pair, truth: PhotoTruth) -> Verdict:
    return _outermost(pair, truth, leftmost=True)


def _rightmost(pair: Pair, truth: PhotoTruth) -> Verdict:
    return _outermost(pair, truth, leftmost=False)


# --- judging by measured depth


def depths_named(pair: Pair, truth: PhotoTruth) -> list[float] | NotJudged:
    """Measured depths of a pair's objects."""
    if truth.depth is None:
        return NotJudged.NO_DEPTH
    depths = [median_depth(truth.depth, box) for box in boxes_named(pair)]
    known = [depth for depth in depths if depth is not None]
    return known if len(known) == len(depths) else NotJudged.DEPTH_GAPS


def _is_extreme(pair: Pair, truth: PhotoTruth, *, nearest: bool) -> Verdict:
    """Whether the answer's object is clearly the nearest, or the farthest, of all that are named."""
    depths = depths_named(pair, truth)
    if isinstance(depths, NotJudged):
        return depths
    ranks = depths if nearest else [1 / depth for depth in depths]
    place = _place_of(pair, pair["answer_object_ids"][0])
    best_other = min(rank for other, rank in enumerate(ranks) if other != place)
    if max(ranks[place], best_other) < TIE_RATIO * min(ranks[place], best_other):
        return NotJudged.TIE
    return ranks[place] < best_other


def _nearest(pair: Pair, truth: PhotoTruth) -> Verdict:
    return _is_extreme(pair, truth, nearest=True)


def _farthest(pair: Pair, truth: PhotoTruth) -> Verdict:
    return _is_extreme(pair, truth, nearest=False)


def _in_front(pair: Pair, truth: PhotoTruth) -> Verdict:
    """Whether the first object is in front of the second one, or not, as the answer has it."""
    nearer = pair["object_ids"][0 if _says_yes(pair) else 1]
    return _nearest({**pair, "answer_object_ids": [nearer]}, truth)


def _in_order(pair: Pair, truth: PhotoTruth) -> Verdict:
    """Whether the answer's objects come from the nearest to the farthest."""
    depths = depths_named(pair, truth)
    if isinstance(depths, NotJudged):
        return depths
    answered = [depths[_place_of(pair, object_id)] for object_id in pair["answer_object_ids"]]
    if any(far < TIE_RATIO * near for near, far in pairwise(sorted(answered))):
        return NotJudged.TIE
    return answered == sorted(answered)


_FORMS: Final[Mapping[tuple[str, str], Callable[[Pair, PhotoTruth], Verdict]]] = {
    ("grounding", "one"): _one_found,
    ("grounding", "every"): _all_of_class,
    ("grounding", "every_colored"): _colored,
    ("grounding", "which_box"): _one_found,
    ("grounding", "box_yes_no"): _box_claim,
    ("referring", "region"): _one_found,
    ("referring", "which_phrase"): _one_found,
    ("referring", "phrase_yes_no"): _box_claim,
    ("counting", "number"): _number,
    ("counting", "number_choice"): _number,
    ("counting", "number_yes_no"): _number_claim,
    ("counting", "zero"): _number,
    ("counting", "colored"): _colored,
    ("counting", "half"): _number_in_half,
    ("counting", "nearer_than"): _takes_both,
    ("near_far", "nearer"): _nearest,
    ("near_far", "farther"): _farthest,
    ("near_far", "nearest_of"): _nearest,
    ("near_far", "farthest_of"): _farthest,
    ("near_far", "order"): _in_order,
    ("near_far", "front_yes_no"): _in_front,
    ("near_far", "compare"): _nearest,
    ("left_right", "side"): _side,
    ("left_right", "side_yes_no"): _side_claim,
    ("left_right", "where"): _side,
    ("left_right", "leftmost_of"): _leftmost,
    ("left_right", "rightmost_of"): _rightmost,
    ("left_right", "half"): _half,
}
"""How each form is judged, by task and form."""
