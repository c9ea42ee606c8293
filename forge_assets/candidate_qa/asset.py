"""The asset `candidate_qa`: all pairs that one shard's scenes suggest."""

import time
from typing import Any

import dagster as dg

from forge_assets.candidate_qa.described import current_descriptions
from forge_assets.candidate_qa.generate import VERSION, candidates
from forge_assets.scenes.asset import scenes
from forge_assets.stage import counts_of, materialized, shard_of, stage_asset
from forge_assets.stage_pictures import picture_of_pairs
from forge_assets.tables import CANDIDATE_QA
from forge_resources.dagster_resources import ForgeResource


@stage_asset(
    group="pairs",
    kinds={"parquet", "polars"},
    code_version=VERSION,
    deps=[scenes],
)
def candidate_qa(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """Question-answer pairs of six tasks, each with the evidence that its answer rests on; not yet verified."""
    started, lake, key = time.monotonic(), forge.lake, shard_of(context)
    config = forge.config
    inputs = {"scenes": lake.require_passed("scenes", key).content_hash}
    described = current_descriptions(lake, key, config.models.describer)
    if described is not None:
        inputs["descriptions"] = described.content_hash
    descriptions = lake.scan("descriptions", key).collect() if described is not None else None
    rows = candidates(lake.scan("scenes", key).collect(), config, descriptions)
    manifest = lake.write(
        "candidate_qa",
        key,
        rows,
        CANDIDATE_QA,
        inputs=inputs,
        versions={
            "code": VERSION,
            "tasks": config.tasks.digest,
            "verification": config.verification.digest,
            "describer": described.versions["describer"] if described is not None else "none",
        },
    )
    return materialized(
        lake, manifest, started, counts_of(rows, "task", "pairs/"), picture_of_pairs(lake, key, "candidate_qa")
    )
