"""The assets `verified_qa` and `rejected_qa`: candidates parted by the rules."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from forge_assets.candidate_qa.asset import candidate_qa
from forge_assets.in_memory import collected
from forge_assets.observed import Stopwatch, counts_of, materialized, models_behind
from forge_assets.partitions import SHARDS
from forge_assets.stage import OWNERS, WHEN_INPUTS_PASS, shard_of
from forge_assets.stage_pictures import picture_of_pairs
from forge_assets.tables import REJECTED_QA, VERIFIED_QA
from forge_assets.verified_qa.verify import VERSION, verify
from forge_resources.dagster_resources import ForgeResource


def _spec(name: str, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        deps=[candidate_qa],
        description=description,
        group_name="pairs",
        kinds={"parquet", "polars"},
        owners=OWNERS,
        code_version=VERSION,
        automation_condition=WHEN_INPUTS_PASS,
        partitions_def=SHARDS,
    )


@dg.multi_asset(
    specs=[
        _spec("verified_qa", "Pairs whose answers independent evidence confirms with a margin."),
        _spec("rejected_qa", "Pairs that were dropped, each with the rule that it broke, the value and the threshold."),
    ]
)
def verification(context: dg.AssetExecutionContext, forge: ForgeResource) -> Iterator[dg.MaterializeResult[Any]]:
    """Part one shard's candidates into verified and rejected pairs."""
    watch, lake, key = Stopwatch(), forge.lake, shard_of(context)
    config = forge.config
    inputs = {"candidate_qa": lake.require_passed("candidate_qa", key).content_hash}
    with watch.phase("read"):
        candidates = lake.scan("candidate_qa", key).pipe(collected)
    with watch.phase("judge"):
        verified, rejected = verify(candidates, config.verification)
    versions = {"code": VERSION, "verification": config.verification.digest}
    with watch.phase("write"):
        dropped = lake.write("rejected_qa", key, rejected, REJECTED_QA, inputs=inputs, versions=versions)
        kept = lake.write("verified_qa", key, verified, VERIFIED_QA, inputs=inputs, versions=versions)
    models = models_behind(lake, key)
    passed, asked = (counts_of(pairs, "task") for pairs in (verified, candidates))
    yield materialized(
        lake,
        kept,
        watch,
        {
            "photos": verified["image_id"].n_unique(),
            "pairs": verified.height,
            "yield": round(verified.height / max(candidates.height, 1), 4),
            **{f"yield/{task}": round(passed.get(task, 0) / number, 4) for task, number in asked.items()},
            **counts_of(verified, "task", "pairs/"),
            **models,
        },
        partial(picture_of_pairs, table="verified_qa"),
    )
    yield materialized(
        lake,
        dropped,
        watch,
        {
            "photos": rejected["image_id"].n_unique(),
            "dropped": rejected.height,
            **counts_of(rejected, "rule", "dropped/"),
            **models,
        },
        partial(picture_of_pairs, table="rejected_qa"),
    )
