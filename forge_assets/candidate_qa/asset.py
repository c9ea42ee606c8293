"""The asset `candidate_qa`: all pairs that one shard's scenes suggest."""

from functools import partial
from typing import Any

import dagster as dg

from forge_assets.candidate_qa.described import current_descriptions
from forge_assets.candidate_qa.generate import VERSION, candidates
from forge_assets.in_memory import collected
from forge_assets.observed import Stopwatch, counts_of, materialized, models_behind
from forge_assets.scenes.asset import scenes
from forge_assets.stage import shard_of, stage_asset
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
    watch, lake, key = Stopwatch(), forge.lake, shard_of(context)
    config = forge.config
    inputs = {"scenes": lake.require_passed("scenes", key).content_hash}
    described = current_descriptions(lake, key, config.models.describer)
    if described is not None:
        inputs["descriptions"] = described.content_hash
    versions = {
        "code": VERSION,
        "tasks": config.tasks.digest,
        "verification": config.verification.digest,
        "describer": described.versions["describer"] if described is not None else "none",
    }
    with watch.phase("read"):
        descriptions = lake.scan("descriptions", key).pipe(collected) if described is not None else None
        scene_rows = lake.scan("scenes", key).pipe(collected)
    with watch.phase("ask"):
        rows = candidates(scene_rows, config, descriptions)
    with watch.phase("write"):
        manifest = lake.write("candidate_qa", key, rows, CANDIDATE_QA, inputs=inputs, versions=versions)
    return materialized(
        lake,
        manifest,
        watch,
        {
            "photos": rows["image_id"].n_unique(),
            "pairs": rows.height,
            **counts_of(rows, "task", "pairs/"),
            **models_behind(lake, key),
        },
        partial(picture_of_pairs, table="candidate_qa"),
    )
