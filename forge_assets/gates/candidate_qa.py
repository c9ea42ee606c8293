"""What `candidate_qa` promises: what every pair promises, see `qa_pairs`."""

from typing import TYPE_CHECKING

import polars as pl

from forge_assets.gates.gate import Gate, no_fact_expectations, no_facts
from forge_assets.gates.qa_pairs import pair_expectations, pair_frame
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation


def expectations(config: ForgeConfig, _key: ShardKey) -> "list[Expectation]":
    """Of each candidate."""
    return pair_expectations(config)


def frame(lake: Lake, key: ShardKey, _config: ForgeConfig) -> pl.DataFrame:
    """Candidates, with what can be said of them."""
    return pair_frame(lake, "candidate_qa", key)


GATE = Gate("candidate_qa", "qa_id", frame, expectations, no_facts, no_fact_expectations)
