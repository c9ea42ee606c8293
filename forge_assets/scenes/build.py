"""Scenes: one row an object with all the evidence that later stages judge by."""

import polars as pl

from forge_assets.scenes.colors import SCHEMA as COLORS
from forge_assets.scenes.facing import facing, facing_score
from forge_assets.scenes.geometry import class_sizes, ground_depth, height_depth, touches
from forge_assets.scenes.overlap import overlaps
from forge_assets.tables import SCENES

VERSION = "2"


def scenes(
    photos: pl.DataFrame, detections: pl.DataFrame, depths: pl.DataFrame, colors: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Join what is known of each object.

    Args:
        photos: image_id, sha256, width, height, split, license, is_labeled, labels_dropped of `raw_images`.
        detections: rows of `detections`.
        depths: rows of `depth_quantiles.depths_of_shard`; empty where no network reads depth.
        colors: rows of `colors.colors_of_shard`; None: no colour is told.

    Returns:
        Rows of `SCENES`, sorted by object_id.
    """
    objects = detections.join(
        photos.select(
            "image_id",
            "split",
            "license",
            "is_labeled",
            "labels_dropped",
            image_sha256="sha256",
            image_width="width",
            image_height="height",
        ),
        on="image_id",
    )
    readings = depths.group_by("object_id").agg(
        depth=pl.struct("reading", "mirrored", "kind", "q10", "q50", "q90", "depth_model").sort_by(
            "reading", "mirrored"
        )
    )
    area = (pl.col("x2") - pl.col("x1")) * (pl.col("y2") - pl.col("y1"))
    return (
        objects.join(class_sizes(), on="category", how="left")
        .join(overlaps(objects), on="object_id", how="left")
        .join(readings, on="object_id", how="left")
        .join(COLORS.to_frame() if colors is None else colors, on="object_id", how="left")
        .with_columns(pl.col("overlap", "occlusion", "class_conflict").fill_null(0.0), pl.col("depth").fill_null([]))
        .with_columns(
            area_share=area / (pl.col("image_width") * pl.col("image_height")),
            is_truncated=pl.any_horizontal(
                pl.col("is_truncated").fill_null(value=False),
                *(touches(side) for side in ("left", "top", "right", "bottom")),
            ),
            ground_depth=ground_depth(),
            mirror_ground_depth=ground_depth("mirror_"),
            height_depth=height_depth(),
            mirror_height_depth=height_depth("mirror_"),
            facing=facing("keypoints"),
            mirror_facing=facing("mirror_keypoints"),
            facing_score=pl.min_horizontal(facing_score("keypoints"), facing_score("mirror_keypoints")),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCENES.items())
        .sort("object_id")
    )
