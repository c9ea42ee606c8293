"""The asset `detections`: boxes, keypoints and human labels of one shard."""

from typing import Any

import dagster as dg
import polars as pl

from forge_assets.detections.detect import Networks
from forge_assets.detections.detect import detections as detect
from forge_assets.observed import Stopwatch, counts_of, materialized
from forge_assets.raw_images.asset import raw_images
from forge_assets.stage import GPU_POOL, progress_of, shard_of, stage_asset
from forge_assets.stage_pictures import picture_of_detections
from forge_assets.tables import DETECTIONS
from forge_resources.config import ModelsConfig
from forge_resources.dagster_resources import ForgeResource

VERSION = "2"


@stage_asset(
    group="networks",
    kinds={"pytorch", "parquet"},
    code_version=VERSION,
    deps=[raw_images],
    pool=GPU_POOL,
)
def detections(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """One row an object: found in the photo, looked for again in its mirror image, with keypoints of people."""
    watch, lake, key = Stopwatch(), forge.lake, shard_of(context)
    config = forge.config
    taken = lake.require_passed("raw_images", key)
    with watch.phase("load"):
        networks = Networks.load(config)
    context.log.info(f"models: {networks.names}")
    photos = watch.each("read", lake.batches("raw_images", key, config.models.detector.batch_size))
    made = detect(photos, networks, config.models, progress_of(context, "detections", taken.rows))
    with watch.phase("write"):
        manifest = lake.write(
            "detections",
            key,
            watch.each("networks", made),
            DETECTIONS,
            inputs={"raw_images": taken.content_hash},
            versions={"code": VERSION, **networks.names, **_settings(config.models)},
        )
    columns = ("category", "origin", "mirror_iou", "second_score", "keypoints")
    found = lake.scan("detections", key).select(columns).collect()
    rows = found.filter(pl.col("origin").is_in(["human", "detector"]))
    return materialized(
        lake,
        manifest,
        watch,
        {
            "photos": taken.rows,
            "photos_per_second": round(taken.rows / max(watch.seconds, 1e-9), 2),
            "found_in_mirror": rows["mirror_iou"].count(),
            "found_by_second_detector": (rows["second_score"] > 0).sum(),
            "found_elsewhere_alone": found.height - rows.height,
            "people_with_keypoints": rows["keypoints"].count(),
            "categories": dg.MetadataValue.json(counts_of(rows, "category")),
        },
        picture_of_detections,
    )


def _settings(models: ModelsConfig) -> dict[str, str]:
    sections = {
        "detector": models.detector,
        "second_detector": models.second_detector,
        "pose": models.pose,
        "second_pose": models.second_pose,
    }
    return {f"{name}_settings": section.digest for name, section in sections.items() if section is not None}
