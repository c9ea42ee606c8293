"""The asset `descriptions`: a vision-language model's phrases for the objects of one shard, where one is configured."""

from typing import Any

import dagster as dg

from forge_assets.candidate_qa.entities import entities
from forge_assets.descriptions.describe import descriptions as describe
from forge_assets.observed import Stopwatch, counts_of, materialized
from forge_assets.raw_images.asset import raw_images
from forge_assets.scenes.asset import scenes
from forge_assets.stage import GPU_POOL, progress_of, shard_of, stage_asset
from forge_assets.tables import DESCRIPTIONS
from forge_resources.dagster_resources import ForgeResource
from forge_resources.models.selection import load_describer

VERSION = "1"
NO_DESCRIBER = "models.describer has backend none: no phrase was asked for"
_OBJECT_COLUMNS = ("image_id", "object_id", "singular", "region", "box", "color")


@stage_asset(
    group="objects",
    kinds={"pytorch", "parquet"},
    code_version=VERSION,
    deps=[raw_images, scenes],
    pool=GPU_POOL,
    automated=False,
)
def descriptions(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """Phrases that a vision-language model gives of objects, and where it finds them; optional, made when asked for."""
    watch, lake, key = Stopwatch(), forge.lake, shard_of(context)
    config = forge.config
    settings = config.models.describer
    inputs = {table: lake.require_passed(table, key).content_hash for table in ("raw_images", "scenes")}
    with watch.phase("load"):
        describer = load_describer(config)
    versions = {"code": VERSION, "describer_settings": settings.digest, "tasks": config.tasks.digest}
    if describer is None:
        manifest = lake.write("descriptions", key, [], DESCRIPTIONS, inputs=inputs, versions=versions)
        return materialized(lake, manifest, watch, {"no_rows_because": NO_DESCRIBER})
    with watch.phase("read"):
        objects = entities(lake.scan("scenes", key), config).select(_OBJECT_COLUMNS).collect()
    made = describe(
        watch.each("read", lake.batches("raw_images", key, settings.batch_size)),
        objects,
        describer,
        max_side=settings.max_side,
        batch_size=settings.batch_size,
        progress=progress_of(context, "descriptions", objects["image_id"].n_unique()),
    )
    with watch.phase("write"):
        manifest = lake.write(
            "descriptions",
            key,
            watch.each("networks", made),
            DESCRIPTIONS,
            inputs=inputs,
            versions=versions | {"describer": describer.identity},
        )
    rows = lake.scan("descriptions", key).select("is_clean", "drop_rule").collect()
    dropped = rows.filter(rows["drop_rule"].is_not_null())
    return materialized(
        lake,
        manifest,
        watch,
        {
            "photos": objects["image_id"].n_unique(),
            "clean_phrases": int(rows["is_clean"].sum()),
            "usable_phrases": rows.height - dropped.height,
            **counts_of(dropped, "drop_rule", "dropped/"),
        },
    )
