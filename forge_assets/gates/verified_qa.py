"""What `verified_qa` promises."""

from typing import TYPE_CHECKING

import polars as pl

from forge_assets.gates.gate import Facts, Gate
from forge_assets.gates.promises import between, equal, holds, present
from forge_assets.gates.qa_pairs import pair_expectations, pair_frame
from forge_assets.in_memory import collected
from forge_assets.tables import TASKS
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

MIN_PAIRS_FOR_BALANCE = 50
"""Of a task in a shard: with fewer, the largest share of an answer says nothing."""


def expectations(config: ForgeConfig, _key: ShardKey) -> "list[Expectation]":
    """Of each verified pair."""
    return [
        *pair_expectations(config),
        *present("score"),
        between("score", 0),
        holds("was_a_candidate"),
        holds("is_as_asked"),
        holds("was_not_rejected"),
    ]


def fact_expectations(config: ForgeConfig, _key: ShardKey) -> "list[Expectation]":
    """Of a shard: each candidate is verified or rejected with a reason, and no answer can be guessed by its place."""
    most = config.gates.max_answer_share
    return [
        equal("judged", "candidates", "every_candidate_judged"),
        between("rejected_without_rule", 0, 0, rule="rejections_name_their_rule"),
        between("rejected_share", 0, config.gates.max_rejected_pairs),
        *(
            between(f"answer_share_{task}", 0, most, rule=f"answers_balanced_{task}", severity="warning")
            for task in TASKS
        ),
    ]


def frame(lake: Lake, key: ShardKey, _config: ForgeConfig) -> pl.DataFrame:
    """Verified pairs, with what can be said of them and of the candidates that they were."""
    asked = (
        lake.scan("candidate_qa", key)
        .select("qa_id", asked="question", answered="answer", was_a_candidate=True)
        .unique("qa_id")
        .pipe(collected)
    )
    rejected = lake.scan("rejected_qa", key).select("qa_id", was_not_rejected=False).unique().pipe(collected)
    return (
        pair_frame(lake, "verified_qa", key)
        .join(asked, on="qa_id", how="left")
        .join(rejected, on="qa_id", how="left")
        .with_columns(
            pl.col("was_a_candidate").fill_null(value=False),
            pl.col("was_not_rejected").fill_null(value=True),
            is_as_asked=((pl.col("question") == pl.col("asked")) & (pl.col("answer") == pl.col("answered"))).fill_null(
                value=False
            ),
        )
        .drop("asked", "answered")
    )


def facts(lake: Lake, key: ShardKey, _config: ForgeConfig) -> Facts:
    """Pairs asked, verified and rejected, and by task the largest share of one answer's place among the options."""
    candidates = lake.manifest("candidate_qa", key).rows
    rejected = lake.scan("rejected_qa", key).select("rule").pipe(collected)["rule"]
    verified = lake.manifest("verified_qa", key).rows
    return {
        "candidates": candidates,
        "judged": verified + len(rejected),
        "rejected_without_rule": rejected.null_count(),
        "rejected_share": len(rejected) / candidates if candidates else 0.0,
        **{f"answer_share_{task}": share for task, share in answer_shares(lake.scan("verified_qa", key)).items()},
    }


def answer_shares(pairs: pl.LazyFrame) -> dict[str, float | None]:
    """By task, the largest share that one place among the options has of the answers; None below the least number.

    Questions to be answered by yes or no count by the word.
    """
    kind = pl.col("answer_kind").cast(pl.String)
    task = pl.col("task").cast(pl.String)
    by_word = pairs.filter(kind == "yes_no").select(task, place="short_answer")
    by_place = (
        pairs.filter(kind == "choice")
        .select(
            "qa_id",
            pl.col("task").cast(pl.String),
            "short_answer",
            "choices",
            place=pl.int_ranges(pl.col("choices").list.len()),
        )
        .explode("choices", "place")
        .filter(pl.col("choices") == pl.col("short_answer"))
        .select("task", pl.col("place").cast(pl.String))
    )
    shares = (
        pl.concat([by_word, by_place])
        .group_by("task", "place")
        .agg(pairs=pl.len())
        .group_by("task")
        .agg(total=pl.sum("pairs"), share=pl.max("pairs") / pl.sum("pairs"))
        .filter(pl.col("total") >= MIN_PAIRS_FOR_BALANCE)
        .pipe(collected)
    )
    return dict.fromkeys(TASKS) | dict(shares.select("task", "share").iter_rows())


GATE = Gate("verified_qa", "qa_id", frame, expectations, facts, fact_expectations)
