"""The asset `depth_maps`: dense depth readings of one shard."""

from typing import Any

import dagster as dg

from forge_assets.depth_maps.read_depth import depth_maps as read_depth
from forge_assets.observed import Stopwatch, materialized
from forge_assets.raw_images.asset import raw_images
from forge_assets.stage import GPU_POOL, progress_of, shard_of, stage_asset
from forge_assets.stage_pictures import picture_of_depth
from forge_assets.tables import DEPTH_MAPS
from forge_resources.dagster_resources import ForgeResource
from forge_resources.models.selection import load_depth

VERSION = "2"
GEOMETRY_ALONE = "no depth network is configured: depth rests on geometry (ground contact, class height) alone"


@stage_asset(
    group="networks",
    kinds={"pytorch", "parquet"},
    code_version=VERSION,
    deps=[raw_images],
    pool=GPU_POOL,
)
def depth_maps(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """One row a photo, depth network and mirror; no rows where none is configured and geometry alone is read."""
    watch, lake, key = Stopwatch(), forge.lake, shard_of(context)
    config = forge.config
    taken = lake.require_passed("raw_images", key)
    with watch.phase("load"):
        estimators = load_depth(config)
    models = {f"depth_{estimator.name}": estimator.identity for estimator in estimators}
    context.log.info(f"models: {models}" if models else GEOMETRY_ALONE)
    photos = watch.each("read", lake.batches("raw_images", key, config.models.depth_batch_size))
    made = read_depth(photos, estimators, config.models, progress_of(context, "depth_maps", taken.rows))
    with watch.phase("write"):
        manifest = lake.write(
            "depth_maps",
            key,
            watch.each("networks", made),
            DEPTH_MAPS,
            inputs={"raw_images": taken.content_hash},
            versions={"code": VERSION, **models},
        )
    return materialized(
        lake,
        manifest,
        watch,
        {
            "photos": taken.rows,
            "photos_per_second": round(taken.rows / max(watch.seconds, 1e-9), 2),
            "rests_on": ", ".join(models.values()) or GEOMETRY_ALONE,
        },
        picture_of_depth,
    )
