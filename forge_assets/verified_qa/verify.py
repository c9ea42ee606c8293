"""Apply the rules: every candidate ends up verified with a score, or rejected with the rule that it broke."""

from collections.abc import Callable, Sequence

import polars as pl

from forge_assets.in_memory import collected
from forge_assets.tables import REJECTED_QA, VERIFIED_QA, Schema
from forge_assets.verified_qa.rules import Rule, rules
from forge_resources.config import VerificationConfig

VERSION = "2"

_ROW = "row"
_LOOKED_AT = ("task", "form", "object_ids", "boxes", "evidence")


def verify(candidates: pl.DataFrame, thresholds: VerificationConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part candidates into verified and rejected pairs; no row is lost.

    Args:
        candidates: rows of `CANDIDATE_QA`.
        thresholds: of the rules.

    Returns:
        Rows of `VERIFIED_QA` and of `REJECTED_QA`, both sorted by image_id and qa_id. A rejected row names
        the first rule that it broke, the value seen (null where there was none) and the threshold.
    """
    pairs = _in_order(candidates)
    verdicts = _verdicts(pairs, thresholds)
    passed = pl.col("rule").is_null()
    return (
        _told(pairs, verdicts.filter(passed), VERIFIED_QA),
        _told(pairs, verdicts.filter(~passed), REJECTED_QA),
    )


def _in_order(candidates: pl.DataFrame) -> pl.DataFrame:
    image, pair = pl.col("image_id"), pl.col("qa_id")
    is_after = (image > image.shift()) | ((image == image.shift()) & (pair >= pair.shift()))
    if candidates.select(is_after.slice(1).all(ignore_nulls=False)).item():
        return candidates
    return candidates.sort("image_id", "qa_id")


def _told(pairs: pl.DataFrame, verdicts: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The pairs that have these verdicts, with the columns of a table."""
    rows = pairs.select(pl.all().gather(verdicts[_ROW])).hstack(verdicts.drop(_ROW))
    return rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _verdicts(pairs: pl.DataFrame, thresholds: VerificationConfig) -> pl.DataFrame:
    """Of each pair `rule`, `value` and `threshold` of the first rule that it broke, else null, and `score`.

    A pair that no graded rule looks at scores 0.
    """
    checks = rules(thresholds)
    values = [pl.col(rule.name) for rule in checks]
    broken = [pl.col(_concerned_by(rule)) & ~rule.holds(value) for rule, value in zip(checks, values, strict=True)]
    margins = [rule.margin(value) for rule, value in zip(checks, values, strict=True) if rule.graded]
    first = pl.coalesce(pl.when(failed).then(pl.lit(index, pl.Int32)) for index, failed in enumerate(broken))
    value = pl.coalesce(pl.when(pl.col("first") == index).then(value) for index, value in enumerate(values))
    told = pl.LazyFrame(
        [(index, rule.name, float(rule.threshold)) for index, rule in enumerate(checks)],
        schema={"first": pl.Int32, "rule": pl.String, "threshold": pl.Float64},
        orient="row",
    )
    return (
        _values(pairs, checks)
        .with_columns(first=first, score=pl.min_horizontal(margins).fill_null(0.0))
        .select(_ROW, "first", "score", value=value)
        .join(told, on="first", how="left", maintain_order="left")
        .select(_ROW, "rule", "value", "threshold", "score")
        .pipe(collected)
    )


def _values(pairs: pl.DataFrame, checks: Sequence[Rule]) -> pl.LazyFrame:
    """One row a pair: whether each rule concerns it, and what the rule sees in it; null where it does not."""
    looked_at = pairs.select(*_LOOKED_AT).with_row_index(_ROW)
    concerns = _concerns(pairs, checks)
    readings = looked_at.select(_ROW, "object_ids", evidence=pl.struct(pl.col("evidence").struct.field("readings")))
    at_once = [rule for rule in checks if rule.by_number is None]
    found = (
        pl.concat([looked_at.lazy(), concerns.lazy()], how="horizontal")
        .select(_ROW, *concerns.columns, *(rule.value.cast(pl.Float64).alias(rule.name) for rule in at_once))
        .with_columns(pl.when(_concerned_by(rule)).then(rule.name).alias(rule.name) for rule in at_once)
    )
    for rule in checks:
        if rule.by_number is not None:
            concerned = readings.filter(concerns[_concerned_by(rule)])
            value = _by_number_of_objects(concerned, rule.name, rule.by_number)
            found = found.join(value, on=_ROW, how="left", maintain_order="left")
    return found


def _concerned_by(rule: Rule) -> str:
    return f"{rule.name} concerns"


def _concerns(pairs: pl.DataFrame, checks: Sequence[Rule]) -> pl.DataFrame:
    """One row a pair: whether each rule concerns it."""
    forms = pairs.select("task", "form").unique()
    asked = forms.select(pl.col("task").cast(pl.String), "form").rows()
    concerned = forms.with_columns(
        pl.Series(_concerned_by(rule), [rule.concerns(task, form) for task, form in asked], pl.Boolean)
        for rule in checks
    )
    of_pairs = pairs.select("task", "form").join(
        concerned, on=["task", "form"], how="left", nulls_equal=True, maintain_order="left"
    )
    return of_pairs.drop("task", "form")


def _by_number_of_objects(pairs: pl.DataFrame, name: str, value: Callable[[int], pl.Expr]) -> pl.LazyFrame:
    """The value of a rule, found apart for each number of objects: two are not to cost as much as many."""
    found = [pl.LazyFrame(schema={_ROW: pl.get_index_type(), name: pl.Float64})]
    for (objects,), alike in pairs.group_by(pl.col("object_ids").list.len().fill_null(0)):
        found.append(alike.lazy().select(_ROW, value(max(objects, 2) - 1).cast(pl.Float64).alias(name)))
    return pl.concat(found)
