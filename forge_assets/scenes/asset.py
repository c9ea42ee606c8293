"""The asset `scenes`: the objects of one shard with all their evidence."""

from typing import Any

import dagster as dg

from forge_assets.depth_maps.asset import depth_maps
from forge_assets.detections.asset import detections
from forge_assets.in_memory import collected
from forge_assets.observed import Stopwatch, materialized, models_behind
from forge_assets.scenes.build import VERSION, nameable
from forge_assets.scenes.build import scenes as build_scenes
from forge_assets.scenes.colors import colors_of_shard
from forge_assets.scenes.depth_quantiles import depths_of_shard
from forge_assets.stage import shard_of, stage_asset
from forge_assets.tables import SCENES
from forge_resources.dagster_resources import ForgeResource

MAPS_AT_ONCE = 32
PHOTOS_AT_ONCE = 32
_PHOTO_COLUMNS = (
    "image_id", "sha256", "width", "height", "split", "license", "is_labeled", "labels_dropped", "points", "counts",
)  # fmt: skip
_PIXEL_COLUMNS = ("image_id", "image", "orientation", "width", "height")


@stage_asset(
    group="objects",
    kinds={"parquet", "polars"},
    code_version=VERSION,
    deps=[detections, depth_maps],
)
def scenes(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """One row an object: boxes, re-detection in the mirror, depth quantiles by reading, geometry, facing, colour."""
    watch, lake, key = Stopwatch(), forge.lake, shard_of(context)
    inputs = {
        table: lake.require_passed(table, key).content_hash for table in ("raw_images", "detections", "depth_maps")
    }
    with watch.phase("read"):
        photos = lake.scan("raw_images", key).select(_PHOTO_COLUMNS).pipe(collected)
        objects = lake.scan("detections", key).pipe(collected)
    named = nameable(objects)
    maps = watch.each("read", lake.batches("depth_maps", key, MAPS_AT_ONCE))
    with watch.phase("depth"):
        depths = depths_of_shard(maps, named, photos)
    pixels = watch.each("read", lake.batches("raw_images", key, PHOTOS_AT_ONCE, _PIXEL_COLUMNS))
    with watch.phase("colors"):
        colors = colors_of_shard(pixels, named)
    with watch.phase("join"):
        rows = build_scenes(photos, objects, depths, colors)
    with watch.phase("write"):
        manifest = lake.write("scenes", key, rows, SCENES, inputs=inputs, versions={"code": VERSION})
    return materialized(
        lake,
        manifest,
        watch,
        {
            "photos": photos.height,
            "objects_with_network_depth": rows["depth"].list.len().gt(0).sum(),
            "objects_with_ground_contact": rows["ground_depth"].count(),
            "objects_with_class_height": rows["height_depth"].count(),
            "people_with_facing": rows["facing"].count(),
            "objects_with_color": rows["color"].count(),
            **models_behind(lake, key),
        },
    )
