"""What each rule says of a pair: the value that it looked at, what it asks for, and how far they are apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from forge_assets.verified_qa.rules import Rule, rules
from forge_resources.config import VerificationConfig

NO_VALUE: Final = "none"


@dataclass(frozen=True)
class RuleResult:
    """One rule's word on one pair.

    Attributes:
        rule: its name.
        words: what its value is, for people.
        value: as text; `none` where the pair has none.
        needed: the threshold, as text.
        margin: distance to the threshold on its right side, in shares of the threshold; null without a value and
            for what is counted.
        holds: whether the pair passes it.
        is_reason: whether it is the rule that the pair was rejected by.
    """

    rule: str
    words: str
    value: str
    needed: str
    margin: float | None
    holds: bool
    is_reason: bool


def judge(rows: pl.DataFrame, thresholds: VerificationConfig) -> dict[str, list[RuleResult]]:
    """Hold pairs to all rules that concern them and that find something to look at.

    Args:
        rows: of `verified_qa` or `rejected_qa`; of the rule that a rejected pair broke, the value and the
            threshold are those of its row.
        thresholds: of the rules.

    Returns:
        Results by `qa_id`, in the order of the rules.
    """
    judged: dict[str, list[RuleResult]] = {}
    for pairs in rows.partition_by("task", "form") if rows.height else []:
        task, form = str(pairs["task"][0]), str(pairs["form"][0])
        longest = pairs.select(pl.col("object_ids").list.len().max()).item() or 0
        held_to = [rule for rule in rules(thresholds, max(longest, 2) - 1) if rule.concerns(task, form)]
        values = pairs.select(
            "qa_id",
            *(rule.value.cast(pl.Float64).alias(f"value {rule.name}") for rule in held_to),
            *(rule.holds(rule.value).alias(f"holds {rule.name}") for rule in held_to),
            *(rule.margin(rule.value).cast(pl.Float64).alias(f"margin {rule.name}") for rule in held_to),
        )
        for row, said in zip(pairs.iter_rows(named=True), values.iter_rows(named=True), strict=True):
            judged[row["qa_id"]] = _of_pair(row, said, held_to)
    return judged


def rule_words(rule: str) -> str:
    """What a rule is about, for people."""
    return _WORDS[rule][0] if rule in _WORDS else rule.replace("_", " ").capitalize()


def _of_pair(row: Mapping[str, object], said: Mapping[str, object], held_to: Sequence[Rule]) -> list[RuleResult]:
    reason = row.get("rule")
    found = [
        _result(
            rule.name,
            rule.bound,
            _number(said[f"value {rule.name}"]),
            rule.threshold,
            _number(said[f"margin {rule.name}"]) if rule.graded else None,
            holds=bool(said[f"holds {rule.name}"]),
        )
        for rule in held_to
        if rule.name != reason and not (rule.may_be_silent and said[f"value {rule.name}"] is None)
    ]
    if reason is None:
        return found
    known = {rule.name: rule for rule in held_to}
    bound, is_graded = (known[str(reason)].bound, known[str(reason)].graded) if reason in known else ("at_least", False)
    value, threshold = _number(row["value"]), _number(row["threshold"])
    margin = None
    if value is not None and threshold is not None and is_graded:
        distance = value - threshold if bound == "at_least" else threshold - value
        margin = distance / max(abs(threshold), 1e-9)
    broken = _result(str(reason), bound, value, threshold, margin, holds=False, is_reason=True)
    return [broken, *found]


def _result(
    name: str,
    bound: str,
    value: float | None,
    threshold: float | None,
    margin: float | None,
    *,
    holds: bool,
    is_reason: bool = False,
) -> RuleResult:
    show = _WORDS[name][1] if name in _WORDS else _plain
    sign = "\N{LESS-THAN OR EQUAL TO}" if bound == "at_most" else "\N{GREATER-THAN OR EQUAL TO}"
    return RuleResult(
        rule=name,
        words=rule_words(name),
        value=NO_VALUE if value is None else show(value),
        needed=NO_VALUE if threshold is None else f"{sign}\N{NO-BREAK SPACE}{show(threshold)}",
        margin=margin,
        holds=holds,
        is_reason=is_reason,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _plain(value: float) -> str:
    return f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _count(value: float) -> str:
    return f"{value:.0f}"


def _times(value: float) -> str:
    return f"{value:.2f} \N{MULTIPLICATION SIGN}"


_WORDS: Final[Mapping[str, tuple[str, Callable[[float], str]]]] = {
    "object_score": ("Detector's score", _plain),
    "mirror_redetection": ("Found again in the mirror, IoU", _plain),
    "second_detector": ("Second detector's score", _plain),
    "object_size": ("Share of the photo", _percent),
    "class_conflict": ("IoU with a box of another class", _plain),
    "count_stable": ("Difference between the counts", _count),
    "unique_referent": ("Objects that a phrase may fit", _count),
    "phrase_margin": ("Clearness of the phrases, of what they need", _times),
    "occlusion": ("Covered by one box in front", _percent),
    "readings_contradict": ("Smallest ratio of depths; below 1 a reading says the opposite", _plain),
    "depth_readings": ("Agreement of the depth readings, of what they need", _times),
    "horizontal_gap": ("Space between the boxes, of the width", _percent),
    "mirror_gap": ("That space in the mirror", _percent),
    "center_gap": ("Space between the centres, of the width", _percent),
    "keypoint_score": ("Weakest keypoint", _plain),
    "facing": ("Turn to or from the camera, the weaker of photo and mirror", _plain),
    "frontal": ("The same, to tell front from behind", _plain),
    "front_offset": ("Space between the centres, of the width", _percent),
}
"""Of each rule, what its value is and how it reads; of several objects it is that of the worst."""
