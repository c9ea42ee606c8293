"""The rules that a pair must pass, each with a name, the value that it looks at and its threshold.

A rule is one Polars expression over rows of `candidate_qa`: nothing but the pair's own evidence.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import polars as pl

from forge_assets.candidate_qa.counting import MAX_COMPARED
from forge_assets.candidate_qa.depth_pairs import order_kept, pair_agreement
from forge_assets.candidate_qa.phrase_kinds import CLASS, clearness_needed
from forge_assets.tables import TASKS
from forge_resources.config import VerificationConfig

NAMES_NO_OBJECT: Final = ("zero",)
WHOLE_CLASS: Final = ("every", "every_colored")
"""Forms besides those of counting that need all objects of their class."""
BY_DEPTH: Final = (
    "nearer_than", "nearer", "farther", "nearest_of", "farthest_of", "order", "front_yes_no", "compare",
    "front_or_behind", "facing_yes_no",
)  # fmt: skip
"""Forms that rest on depth."""
BY_SIDE: Final = (
    "half", "side", "side_yes_no", "where", "leftmost_of", "rightmost_of",
    "own_side", "own_side_yes_no", "tell_side", "turn",
)  # fmt: skip
"""Forms that rest on the places of boxes."""
_FRONT: Final = ("front_or_behind", "facing_yes_no")


@dataclass(frozen=True)
class Rule:
    """A named condition on one value of a pair; a value that is null breaks it."""

    name: str
    tasks: Sequence[str]
    value: pl.Expr
    threshold: float
    bound: Literal["at_least", "at_most"] = "at_least"
    graded: bool = True
    """Whether the distance to the threshold counts in a pair's score; counts do not."""
    forms: Sequence[str] | None = None
    """The only forms of these tasks that the rule concerns; None: all."""
    without: Sequence[str] = ()
    """Forms that it does not concern."""
    may_be_silent: bool = False
    """Whether a pair without a value passes, since it has nothing for the rule to look at."""
    by_number: Callable[[int], pl.Expr] | None = None
    """The value for so many pairs of objects at most, where it costs the more, the more these are."""

    def concerns(self, task: str, form: str) -> bool:
        """Whether pairs of a form are held to the rule."""
        return task in self.tasks and form not in self.without and (self.forms is None or form in self.forms)

    def holds(self, value: pl.Expr) -> pl.Expr:
        """Whether a pair of that value passes, never null."""
        kept = value >= self.threshold if self.bound == "at_least" else value <= self.threshold
        return kept.fill_null(value=self.may_be_silent)

    def margin(self, value: pl.Expr) -> pl.Expr:
        """How far on the right side of its threshold a value stands, in shares of the threshold."""
        distance = value - self.threshold if self.bound == "at_least" else self.threshold - value
        return distance / max(abs(self.threshold), 1e-9)


def _evidence(field: str) -> pl.Expr:
    return pl.col("evidence").struct.field(field)


def _each(field: str) -> pl.Expr:
    """A list of evidence, one value an object; null where any of them is."""
    return pl.when(~_evidence(field).list.eval(pl.element().is_null()).list.any()).then(_evidence(field))


def _least(items: pl.Expr, number: pl.Expr) -> pl.Expr:
    """The smallest number that lists have of an item, null where none has one; nulls cost `list.min` several times."""
    return items.list.eval(number.fill_null(math.inf)).list.min().replace(math.inf, None)


def _smallest_area() -> pl.Expr:
    """Area of the smallest box named, as a share of the photo."""
    x1, y1, x2, y2 = (pl.element().arr.get(index) for index in range(4))
    return pl.col("boxes").list.eval((x2 - x1) * (y2 - y1)).list.min() / 1_000_000


def _count_spread() -> pl.Expr:
    """Between the largest and the smallest of all counts: at all thresholds, in the mirror, by people, of the boxes."""
    human = _evidence("count_human")
    counts = [_evidence(field) for field in ("count_strict", "count_loose", "count_mirror")]
    landmarks = pl.when(pl.col("form") == "nearer_than").then(1).otherwise(0)
    counts.append(pl.col("object_ids").list.len().cast(pl.Int32) - landmarks)
    known = pl.all_horizontal(*(count.is_not_null() for count in counts))
    of_class = pl.when(known).then(pl.max_horizontal(*counts, human) - pl.min_horizontal(*counts, human))
    of_phrases = _of_phrases(pl.element().struct.field("count_spread").fill_null(0)).list.max().fill_null(0)
    of_whole_class = (pl.col("task") == "counting") | pl.col("form").is_in(list(WHOLE_CLASS))
    return of_phrases + pl.when(of_whole_class).then(of_class).otherwise(0)


def _of_phrases(value: pl.Expr) -> pl.Expr:
    return _evidence("phrases").list.eval(value)


def _matches() -> pl.Expr:
    """Objects that the phrase that fits most of them may fit; null where phrases, or what they fit, are unknown."""
    matches = _of_phrases(pl.element().struct.field("matches"))
    known = ~matches.list.eval(pl.element().is_null()).list.any()
    return pl.when(known).then(matches.list.max().fill_null(0))


def phrase_margin(thresholds: VerificationConfig) -> pl.Expr:
    """How clearly the least clear phrase tells its object from others, as a share of what its kind needs.

    Null where no phrase is told by more than a class name.
    """
    kind, value = pl.element().struct.field("kind"), pl.element().struct.field("value")
    needed = kind.replace_strict(clearness_needed(thresholds), default=None, return_dtype=pl.Float64)
    return _least(_evidence("phrases"), pl.when(kind != CLASS).then((value / needed).fill_null(0.0)))


def agreement(thresholds: VerificationConfig, most_pairs: int) -> pl.Expr:
    """How far enough depth readings agree on every pair that the answer rests on, as a share of what is needed.

    1 is just enough. An answer about several objects rests on one pair for each object but one; with more than
    `most_pairs` it is null.
    """
    of_pairs = [pair_agreement(_evidence("readings"), thresholds, number) for number in range(most_pairs)]
    needed = pl.col("object_ids").list.len().cast(pl.Int32) - 1
    weakest = pl.min_horizontal(
        pl.when(needed > number).then(agreed.fill_null(0.0)) for number, agreed in enumerate(of_pairs)
    )
    return pl.when(needed <= most_pairs).then(weakest.replace(0.0, None))


def rules(thresholds: VerificationConfig, most_pairs: int = MAX_COMPARED) -> list[Rule]:
    """All rules, in the order in which a pair's first failure is reported.

    Args:
        thresholds: of the rules.
        most_pairs: of objects whose depths an answer may rest on.
    """
    facing, mirror_facing, second_facing = map(_evidence, ("facing", "mirror_facing", "second_facing"))
    is_agreed = second_facing.is_null() | (facing.sign() == second_facing.sign())
    same_turn = pl.when((facing.sign() == mirror_facing.sign()) & is_agreed).then(
        pl.min_horizontal(facing.abs(), mirror_facing.abs())
    )
    sided, front = ("counting", "left_right", "perspective"), ("perspective",)
    deep = ("counting", "near_far", "perspective")
    return [
        Rule("object_score", TASKS, _each("scores").list.min(), thresholds.min_score, without=NAMES_NO_OBJECT),
        Rule(
            "mirror_redetection", TASKS, _each("mirror_ious").list.min(), thresholds.min_mirror_iou,
            without=NAMES_NO_OBJECT,
        ),
        Rule(
            "second_detector", TASKS, _least(_evidence("second_scores"), pl.element()), thresholds.min_second_score,
            without=NAMES_NO_OBJECT, may_be_silent=True,
        ),
        Rule("object_size", TASKS, _smallest_area(), thresholds.min_area_share, without=NAMES_NO_OBJECT),
        Rule(
            "class_conflict", TASKS, _each("class_conflicts").list.max(), thresholds.max_class_conflict,
            "at_most", without=NAMES_NO_OBJECT,
        ),
        Rule("count_stable", TASKS, _count_spread(), 0, "at_most", graded=False),
        Rule("unique_referent", TASKS, _matches(), 1, "at_most", graded=False),
        Rule("phrase_margin", TASKS, phrase_margin(thresholds), 1.0, may_be_silent=True),
        Rule(
            "occlusion", deep, _each("occlusions").list.max(), thresholds.max_occlusion, "at_most", forms=BY_DEPTH
        ),
        Rule("readings_contradict", deep, order_kept(_evidence("readings")), 1.0, graded=False, forms=BY_DEPTH),
        Rule(
            "depth_readings", deep, agreement(thresholds, most_pairs), 1.0, forms=BY_DEPTH,
            by_number=partial(agreement, thresholds),
        ),
        Rule("horizontal_gap", sided, _evidence("gap"), thresholds.min_gap, forms=BY_SIDE),
        Rule("mirror_gap", sided, _evidence("mirror_gap"), thresholds.min_gap, forms=BY_SIDE),
        Rule("center_gap", ("left_right",), _evidence("center_gap"), thresholds.min_center_gap),
        Rule("keypoint_score", front, _evidence("facing_score"), thresholds.min_keypoint_score),
        Rule("facing", front, same_turn, thresholds.min_facing),
        Rule("frontal", front, same_turn, thresholds.min_frontal_facing, forms=_FRONT),
        Rule(
            "front_offset", front, _evidence("center_gap"), thresholds.max_front_offset,
            "at_most", forms=_FRONT,
        ),
    ]  # fmt: skip
