"""Apply the rules: every candidate ends up verified with a score, or rejected with the rule that it broke."""

import polars as pl

from forge_assets.tables import REJECTED_QA, VERIFIED_QA, Schema
from forge_assets.verified_qa.rules import rules
from forge_resources.config import VerificationConfig

VERSION = "2"

_ROW = "row"
_LOOKED_AT = ("task", "form", "object_ids", "boxes", "evidence")
_VERDICT = pl.Schema(
    {_ROW: pl.UInt32(), "rule": pl.String(), "value": pl.Float64(), "threshold": pl.Float64(), "score": pl.Float64()}
)


def verify(candidates: pl.DataFrame, thresholds: VerificationConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part candidates into verified and rejected pairs; no row is lost.

    Args:
        candidates: rows of `CANDIDATE_QA`.
        thresholds: of the rules.

    Returns:
        Rows of `VERIFIED_QA` and of `REJECTED_QA`, both sorted by image_id and qa_id. A rejected row names
        the first rule that it broke, the value seen (null where there was none) and the threshold.
    """
    in_order = candidates.sort("image_id", "qa_id").with_row_index(_ROW)
    forms = in_order.select(_ROW, *_LOOKED_AT).partition_by("task", "form")
    judged = pl.concat([_VERDICT.to_frame(), *pl.collect_all(_judged(pairs, thresholds) for pairs in forms)])
    passed = pl.col("rule").is_null()
    return (
        _told(in_order, judged.filter(passed), VERIFIED_QA),
        _told(in_order, judged.filter(~passed), REJECTED_QA),
    )


def _told(candidates: pl.DataFrame, judged: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The rows of `candidates` that are judged, in their order, with the columns of a table."""
    in_order = judged.sort(_ROW)
    rows = candidates.select(pl.exclude(_ROW).gather(in_order[_ROW])).hstack(in_order.drop(_ROW))
    return rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _judged(pairs: pl.DataFrame, thresholds: VerificationConfig) -> pl.LazyFrame:
    """Of the pairs of one form `rule`, `value` and `threshold` of the first rule that each broke, else null, and score.

    A pair that no graded rule looks at scores 0.
    """
    task, form = pairs.select(pl.first("task").cast(pl.String), pl.first("form")).row(0)
    most_pairs = max(pairs.select(pl.col("object_ids").list.len().max()).item(), 2) - 1
    checks = [rule for rule in rules(thresholds, most_pairs) if rule.concerns(task, form)]
    values = [pl.col(f"value_of_{rule.name}") for rule in checks]
    broken = [~rule.holds(value) for rule, value in zip(checks, values, strict=True)]
    margins = [rule.margin(value) for rule, value in zip(checks, values, strict=True) if rule.graded]
    first = pl.coalesce(
        *(pl.when(failed).then(pl.lit(index, dtype=pl.Int32)) for index, failed in enumerate(broken)),
        pl.lit(None, dtype=pl.Int32),
    )
    value = pl.coalesce(
        *(pl.when(pl.col("first_broken") == index).then(value) for index, value in enumerate(values)),
        pl.lit(None, dtype=pl.Float64),
    )
    told = pl.LazyFrame(
        [(index, rule.name, float(rule.threshold)) for index, rule in enumerate(checks)],
        schema={"first_broken": pl.Int32, "rule": pl.String, "threshold": pl.Float64},
        orient="row",
    )
    return (
        pairs.lazy()
        .select(_ROW, *(rule.value.cast(pl.Float64).alias(f"value_of_{rule.name}") for rule in checks))
        .with_columns(first_broken=first, score=pl.min_horizontal(pl.lit(None, pl.Float64), *margins).fill_null(0.0))
        .with_columns(value=value)
        .join(told, on="first_broken", how="left")
        .select(_VERDICT.names())
    )
