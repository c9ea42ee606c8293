"""Apply the rules: every candidate ends up verified with a score, or rejected with the rule that it broke."""

import polars as pl

from forge_assets.tables import REJECTED_QA, VERIFIED_QA
from forge_assets.verified_qa.rules import rules
from forge_resources.config import VerificationConfig

VERSION = "1"


def verify(candidates: pl.DataFrame, thresholds: VerificationConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part candidates into verified and rejected pairs; no row is lost.

    Args:
        candidates: rows of `CANDIDATE_QA`.
        thresholds: of the rules.

    Returns:
        Rows of `VERIFIED_QA` and of `REJECTED_QA`, both sorted by image_id and qa_id. A rejected row names
        the first rule that it broke, the value seen (null where there was none) and the threshold.
    """
    checks = rules(thresholds)
    broken = [~rule.holds for rule in checks]

    def of_first_broken(values: list[pl.Expr]) -> pl.Expr:
        return pl.coalesce(pl.when(failed).then(value) for failed, value in zip(broken, values, strict=True))

    first = pl.coalesce(pl.when(failed).then(pl.lit(index, dtype=pl.Int32)) for index, failed in enumerate(broken))
    judged = (
        candidates.lazy()
        .with_columns(first_broken=first, score=pl.min_horizontal(*(rule.margin for rule in checks)))
        .with_columns(
            rule=of_first_broken([pl.lit(rule.name) for rule in checks]),
            threshold=of_first_broken([pl.lit(float(rule.threshold)) for rule in checks]),
            value=pl.coalesce(
                pl.when(pl.col("first_broken") == index).then(rule.value.cast(pl.Float64))
                for index, rule in enumerate(checks)
            ),
        )
        .sort("image_id", "qa_id")
        .collect()
    )
    passed = pl.col("rule").is_null()
    return (
        judged.filter(passed).select(pl.col(name).cast(dtype) for name, dtype in VERIFIED_QA.items()),
        judged.filter(~passed).select(pl.col(name).cast(dtype) for name, dtype in REJECTED_QA.items()),
    )
