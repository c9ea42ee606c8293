"""The rules that a pair must pass, each with a name, the value that it looks at and its threshold.

A rule is one Polars expression over rows of `candidate_qa`: nothing but the pair's own evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from forge_assets.scenes.geometry import CLASS_HEIGHT, GROUND_CONTACT
from forge_assets.tables import TASKS
from forge_resources.config import VerificationConfig


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

    @property
    def applies(self) -> pl.Expr:
        """Whether the rule concerns the pair's task."""
        return pl.col("task").cast(pl.String).is_in(list(self.tasks))

    @property
    def holds(self) -> pl.Expr:
        """Whether the pair passes, never null: true for tasks that the rule does not concern."""
        kept = self.value >= self.threshold if self.bound == "at_least" else self.value <= self.threshold
        return ~self.applies | kept.fill_null(False)

    @property
    def margin(self) -> pl.Expr:
        """How far on the right side of its threshold the value stands, in shares of the threshold; null if ungraded."""
        distance = self.value - self.threshold if self.bound == "at_least" else self.threshold - self.value
        return pl.when(self.applies & self.graded).then(distance / max(abs(self.threshold), 1e-9))


def _evidence(field: str) -> pl.Expr:
    return pl.col("evidence").struct.field(field)


def _each(field: str) -> pl.Expr:
    """A list of evidence, one value an object; null where any of them is."""
    return pl.when(~_evidence(field).list.eval(pl.element().is_null()).list.any()).then(_evidence(field))


def _smallest_area() -> pl.Expr:
    """Area of the smallest box named, as a share of the photo."""
    x1, y1, x2, y2 = (pl.element().arr.get(index) for index in range(4))
    return pl.col("boxes").list.eval((x2 - x1) * (y2 - y1)).list.min() / 1_000_000


def _count_spread() -> pl.Expr:
    """Between the largest and the smallest of the counts at all thresholds, in the mirror, and of the boxes named."""
    counts = [_evidence(field) for field in ("count_strict", "count_loose", "count_mirror")]
    counts.append(pl.col("object_ids").list.len().cast(pl.Int32))
    known = pl.all_horizontal(*(count.is_not_null() for count in counts))
    return pl.when(known).then(pl.max_horizontal(*counts) - pl.min_horizontal(*counts))


def _order_kept() -> pl.Expr:
    """The smallest ratio of any reading of the photo or its mirror: below 1 some reading says the opposite."""
    ratio, mirror = (pl.element().struct.field(field) for field in ("ratio", "mirror_ratio"))
    return _evidence("readings").list.eval(pl.min_horizontal(ratio, mirror)).list.min()


def agreement(thresholds: VerificationConfig) -> pl.Expr:
    """How far enough depth readings agree, as a share of what is needed; 1 is just enough.

    Of each reading the smaller ratio of photo and mirror counts, and none where the mirror says nothing. As
    many readings as `min_readings` must set the pair apart by the full margin of their kind; or one network
    must, and the others needed confirm its order by `min_confirming_ratio`: geometry alone is held to the
    full margin, since its two readings share the boxes.
    """
    reading, ratio, mirror, separation = (
        pl.element().struct.field(field) for field in ("reading", "ratio", "mirror_ratio", "separation")
    )
    geometry = {GROUND_CONTACT: thresholds.min_ground_ratio, CLASS_HEIGHT: thresholds.min_height_ratio}
    is_geometry = reading.is_in(list(geometry))
    needed = reading.replace_strict(geometry, default=thresholds.min_depth_ratio, return_dtype=pl.Float64)
    smaller = pl.when(mirror.is_not_null()).then(pl.min_horizontal(ratio, mirror))
    full_margin = pl.when(is_geometry | (separation >= thresholds.min_depth_separation)).then(smaller / needed)

    def weakest_needed(strength: pl.Expr) -> pl.Expr:
        ranked = _evidence("readings").list.eval(strength).list.drop_nulls().list.sort(descending=True)
        return ranked.list.get(thresholds.min_readings - 1, null_on_oob=True)

    network = _evidence("readings").list.eval(pl.when(~is_geometry).then(full_margin)).list.max()
    confirmed = weakest_needed(smaller / thresholds.min_confirming_ratio)
    network_confirmed = pl.when(network.is_not_null() & confirmed.is_not_null()).then(
        pl.min_horizontal(network, confirmed)
    )
    return pl.max_horizontal(weakest_needed(full_margin), network_confirmed)


def rules(thresholds: VerificationConfig) -> list[Rule]:
    """All rules, in the order in which a pair's first failure is reported."""
    facing, mirror_facing = _evidence("facing"), _evidence("mirror_facing")
    same_turn = pl.when(facing.sign() == mirror_facing.sign()).then(
        pl.min_horizontal(facing.abs(), mirror_facing.abs())
    )
    return [
        Rule("object_score", TASKS, _each("scores").list.min(), thresholds.min_score),
        Rule("mirror_redetection", TASKS, _each("mirror_ious").list.min(), thresholds.min_mirror_iou),
        Rule("object_size", TASKS, _smallest_area(), thresholds.min_area_share),
        Rule("class_conflict", TASKS, _each("class_conflicts").list.max(), thresholds.max_class_conflict, "at_most"),
        Rule("count_stable", ("grounding", "counting"), _count_spread(), 0, "at_most", graded=False),
        Rule(
            "unique_referent",
            ("referring", "left_right", "perspective"),
            _evidence("same_category"), 1, "at_most", graded=False,
        ),
        Rule("occlusion", ("near_far",), _each("occlusions").list.max(), thresholds.max_occlusion, "at_most"),
        Rule("readings_contradict", ("near_far",), _order_kept(), 1.0, graded=False),
        Rule("depth_readings", ("near_far",), agreement(thresholds), 1.0),
        Rule("horizontal_gap", ("left_right", "perspective"), _evidence("gap"), thresholds.min_gap),
        Rule("mirror_gap", ("left_right", "perspective"), _evidence("mirror_gap"), thresholds.min_gap),
        Rule("center_gap", ("left_right",), _evidence("center_gap"), thresholds.min_center_gap),
        Rule("keypoint_score", ("perspective",), _evidence("facing_score"), thresholds.min_keypoint_score),
        Rule("facing", ("perspective",), same_turn, thresholds.min_facing),
    ]  # fmt: skip
