"""The asset `detections`: boxes, keypoints and human labels of one shard."""

import time
from typing import Any

import dagster as dg

from forge_assets.detections.detect import detections as detect
from forge_assets.raw_images.asset import raw_images
from forge_assets.stage import GPU_POOL, counts_of, materialized, progress_of, shard_of, stage_asset
from forge_assets.stage_pictures import picture_of_detections
from forge_assets.tables import DETECTIONS
from forge_resources.dagster_resources import ForgeResource
from forge_resources.models.selection import load_detector, load_pose

VERSION = "1"


@stage_asset(
    group="networks",
    kinds={"pytorch", "parquet"},
    code_version=VERSION,
    deps=[raw_images],
    pool=GPU_POOL,
)
def detections(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """One row an object: found in the photo, looked for again in its mirror image, with keypoints of people."""
    started, lake, key = time.monotonic(), forge.lake, shard_of(context)
    config = forge.config
    taken = lake.require_passed("raw_images", key)
    detector, pose = load_detector(config), load_pose(config)
    models = {"detector": detector.identity} | ({"pose": pose.identity} if pose else {})
    context.log.info(f"models: {models}")
    photos = lake.batches("raw_images", key, config.models.detector.batch_size)
    manifest = lake.write(
        "detections",
        key,
        detect(photos, detector, pose, config.models, progress_of(context, "detections", taken.rows)),
        DETECTIONS,
        inputs={"raw_images": taken.content_hash},
        versions={
            "code": VERSION,
            **models,
            "detector_settings": config.models.detector.digest,
            "pose_settings": config.models.pose.digest,
        },
    )
    rows = lake.scan("detections", key).select("category", "origin", "mirror_iou", "keypoints").collect()
    return materialized(
        lake,
        manifest,
        started,
        {
            "photos": taken.rows,
            "photos_per_second": round(taken.rows / max(time.monotonic() - started, 1e-9), 2),
            "found_in_mirror": rows["mirror_iou"].count(),
            "people_with_keypoints": rows["keypoints"].count(),
            "categories": dg.MetadataValue.json(counts_of(rows, "category")),
        },
        picture_of_detections(lake, key),
    )
