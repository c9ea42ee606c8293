"""Apply the rules: every candidate ends up verified with a score, or rejected with the rule that it broke."""

import polars as pl

from forge_assets.tables import REJECTED_QA, VERIFIED_QA
from forge_assets.verified_qa.rules import rules
from forge_resources.config import VerificationConfig

VERSION = "2"


def verify(candidates: pl.DataFrame, thresholds: VerificationConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part candidates into verified and rejected pairs; no row is lost.

    Args:
        candidates: rows of `CANDIDATE_QA`.
        thresholds: of the rules.

    Returns:
        Rows of `VERIFIED_QA` and of `REJECTED_QA`, both sorted by image_id and qa_id. A rejected row names
        the first rule that it broke, the value seen (null where there was none) and the threshold.
    """
    forms = candidates.partition_by("task", "form") or [candidates]
    judged = pl.concat(pl.collect_all(_judged(pairs, thresholds) for pairs in forms)).sort("image_id", "qa_id")
    passed = pl.col("rule").is_null()
    return (
        judged.filter(passed).select(pl.col(name).cast(dtype) for name, dtype in VERIFIED_QA.items()),
        judged.filter(~passed).select(pl.col(name).cast(dtype) for name, dtype in REJECTED_QA.items()),
    )


def _judged(pairs: pl.DataFrame, thresholds: VerificationConfig) -> pl.LazyFrame:
    """Pairs of one form with `rule`, `value` and `threshold` of the first rule that they broke, else null, and `score`.

    A pair that no graded rule looks at scores 0.
    """
    task, form = pairs.select(pl.first("task").cast(pl.String), pl.first("form")).row(0) if pairs.height else ("", "")
    most_pairs = max(pairs.select(pl.col("object_ids").list.len().max()).item() or 0, 2) - 1
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
        .with_columns(rule.value.cast(pl.Float64).alias(f"value_of_{rule.name}") for rule in checks)
        .with_columns(first_broken=first, score=pl.min_horizontal(pl.lit(None, pl.Float64), *margins).fill_null(0.0))
        .with_columns(value=value)
        .join(told, on="first_broken", how="left")
        .drop("first_broken", *(f"value_of_{rule.name}" for rule in checks))
    )
