"""The asset `judgements`: what a vision-language model says to a sample of one shard's verified pairs."""

from typing import Any

import dagster as dg
import polars as pl

from forge_assets.judgements.judge import agreement
from forge_assets.judgements.judge import judgements as judge_pairs
from forge_assets.judgements.questions import sample
from forge_assets.observed import Stopwatch, counts_of, materialized
from forge_assets.raw_images.asset import raw_images
from forge_assets.stage import GPU_POOL, progress_of, shard_of, stage_asset
from forge_assets.tables import JUDGEMENTS
from forge_resources.dagster_resources import ForgeResource
from forge_resources.models.selection import load_judge

VERSION = "1"
NO_JUDGE = "models.judge has backend none: no pair was asked about"


@stage_asset(
    group="pairs",
    kinds={"pytorch", "parquet"},
    code_version=VERSION,
    deps=[raw_images, dg.AssetKey("verified_qa")],
    pool=GPU_POOL,
    automated=False,
)
def judgements(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """What a vision-language model answers to some of the verified questions; optional, made when asked for."""
    watch, lake, key = Stopwatch(), forge.lake, shard_of(context)
    config = forge.config
    settings = config.models.judge
    inputs = {table: lake.require_passed(table, key).content_hash for table in ("raw_images", "verified_qa")}
    with watch.phase("load"):
        judge = load_judge(config)
    versions = {"code": VERSION, "judge_settings": settings.digest}
    if judge is None:
        manifest = lake.write("judgements", key, [], JUDGEMENTS, inputs=inputs, versions=versions)
        return materialized(lake, manifest, watch, {"no_rows_because": NO_JUDGE})
    with watch.phase("read"):
        pairs = sample(lake.scan("verified_qa", key), settings.sample_pairs).collect()
    made = judge_pairs(
        watch.each("read", lake.batches("raw_images", key, settings.batch_size)),
        pairs,
        judge,
        max_side=settings.max_side,
        batch_size=settings.batch_size,
        progress=progress_of(context, "judgements", pairs["image_id"].n_unique()),
    )
    with watch.phase("write"):
        manifest = lake.write(
            "judgements",
            key,
            watch.each("networks", made),
            JUDGEMENTS,
            inputs=inputs,
            versions=versions | {"judge": judge.identity},
        )
    rows = lake.scan("judgements", key).collect()
    return materialized(
        lake,
        manifest,
        watch,
        {
            "photos": pairs["image_id"].n_unique(),
            "pairs": pairs.height,
            **{
                f"agreement/{task}": share
                for task, share in agreement(rows).select("task", "share").drop_nulls().iter_rows()
            },
            "agreement": dg.MetadataValue.json(agreement(rows).to_dicts()),
            **counts_of(rows.filter(pl.col("agrees").is_null()), "reason", "unread/"),
        },
    )
