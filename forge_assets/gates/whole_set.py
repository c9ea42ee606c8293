"""What the whole set promises of its verified pairs: quotas are met, shards are alike, no answer is right too often.

These are judged over all partitions that passed their gates, on aggregates that DuckDB makes, and stop no partition.
"""

from typing import TYPE_CHECKING, Final

import polars as pl

from forge_assets.gates.promises import between
from forge_resources.config import GatesConfig
from forge_resources.validation import GateReport, validate
from forge_resources.warehouse import Warehouse

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

MEASURES: Final = ("task_share", "yield", "reject_rate", "median_score", "pairs_per_photo", "objects_per_photo")
"""What `audits/drift.sql` compares between shards."""

MIN_EXPECTED: Final = 10
"""Pairs that a quota asks for of as many as there are, from which a task without any is missed."""

ANSWERS_SQL: Final = """
WITH pairs AS (
    SELECT
        task,
        answer_kind,
        short_answer,
        CASE WHEN answer_kind = 'choice' THEN len(choices) END AS options,
        CASE WHEN answer_kind = 'choice' THEN list_position(choices, short_answer) END AS place
    FROM verified_qa
    WHERE answer_kind <> 'bbox'
),
counted AS (
    SELECT 'answer' AS what, task, answer_kind, NULL::BIGINT AS options, short_answer AS most, count(*) AS pairs
    FROM pairs
    GROUP BY task, answer_kind, short_answer
    UNION ALL
    SELECT 'place', task, answer_kind, options, place::VARCHAR, count(*)
    FROM pairs
    WHERE place IS NOT NULL
    GROUP BY task, answer_kind, options, place
)
SELECT
    what,
    task,
    answer_kind,
    options,
    arg_max(most, (pairs, most)) AS most,
    sum(pairs)::BIGINT AS pairs,
    max(pairs) / sum(pairs) AS share
FROM counted
GROUP BY what, task, answer_kind, options
ORDER BY what, task, answer_kind, options
"""
"""Which answer of a task and kind, and which place of the right one among so many options, is right most often.

Places count from 1.
"""


def quota_rows(balance: pl.DataFrame) -> pl.DataFrame:
    """One row a task of the audit `task_balance`.

    Returns:
        task, task_pairs, share, quota, gap, and has_pairs: false where a quota asks for `MIN_EXPECTED` and more of
        as many pairs as there are, and there is none.
    """
    tasks = balance.select("task", "task_pairs", "share", "quota", "gap").unique(maintain_order=True)
    expected = pl.col("quota") * pl.col("task_pairs").sum()
    return tasks.with_columns(has_pairs=((expected < MIN_EXPECTED) | (pl.col("task_pairs") > 0)).cast(pl.Int8))


def judge_quotas(rows: pl.DataFrame, config: GatesConfig) -> GateReport:
    """Judge the shares of the tasks, as `quota_rows` gives them, against their quotas."""
    suite = [
        between("gap", -config.max_quota_gap, config.max_quota_gap, rule="shares_near_quotas"),
        between("has_pairs", 1, 1, rule="tasks_with_a_quota_have_pairs"),
    ]
    return validate(rows, suite, name="quotas", index_columns=["task"])


def drift_rows(drift: pl.DataFrame, config: GatesConfig) -> pl.DataFrame:
    """The rows of the audit `drift` with the bounds `lower` and `upper` between which a value counts as usual."""
    reach = config.max_drift * pl.col("spread")
    return drift.with_columns(lower=pl.col("median") - reach, upper=pl.col("median") + reach)


def judge_drift(rows: pl.DataFrame, config: GatesConfig) -> GateReport:
    """Judge how far shards stand from those that they are compared with: one rule a measure."""
    frame = rows.with_columns(
        pl.col("subject").fill_null("-"),
        *(pl.when(measure=measure).then("deviation").alias(measure) for measure in MEASURES),
    )
    suite = [between(measure, 0, config.max_drift, rule=f"{measure}_alike") for measure in MEASURES]
    return validate(frame, suite, name="drift", index_columns=["source", "shard", "subject"])


def answer_rows(warehouse: Warehouse, config: GatesConfig) -> pl.DataFrame:
    """What one answer, or one place among the options, is right how often, over the whole set.

    Returns:
        what (answer, place), task, answer_kind, options (of a place: how many there are), most (the answer, or the
        place from 1, that is right most often), pairs, share (of the pairs, those), limit, and is_judged: there are
        `min_set_pairs` of them.
    """
    rows = warehouse.query(ANSWERS_SQL)
    chance = 1 / pl.col("options")
    return rows.with_columns(
        limit=pl.when(what="place")
        .then(chance + config.max_place_lean)
        .otherwise(pl.lit(config.max_set_answer_share, pl.Float64)),
        is_judged=pl.col("pairs") >= config.min_set_pairs,
    )


def judge_answers(rows: pl.DataFrame, config: GatesConfig) -> GateReport:
    """Judge that no answer and no place among the options, as `answer_rows` gives them, is right too often."""
    lean = pl.col("share") - 1 / pl.col("options")
    frame = rows.filter("is_judged").with_columns(
        answer_share=pl.when(what="answer").then("share"), place_lean=pl.when(what="place").then(lean)
    )
    suite: list[Expectation] = [
        between("answer_share", 0, config.max_set_answer_share, rule="answers_vary"),
        between("place_lean", None, config.max_place_lean, rule="places_vary"),
    ]
    return validate(frame, suite, name="answer_balance", index_columns=["task", "answer_kind", "most"])
