"""Scenes: one row an object with all the evidence that later stages judge by."""

import polars as pl

from forge_assets.scenes.colors import SCHEMA as COLORS
from forge_assets.scenes.facing import facing, facing_score
from forge_assets.scenes.geometry import class_sizes, ground_depth, height_depth, touches
from forge_assets.scenes.overlap import overlaps
from forge_assets.tables import SCENES

VERSION = "3"


def nameable(detections: pl.DataFrame) -> pl.DataFrame:
    """The objects that questions may name: of others only the mirror or the second detector tells."""
    return detections.filter(pl.col("origin").is_in(["human", "detector"]))


def human_counts(photos: pl.DataFrame) -> pl.DataFrame:
    """How many of each class people counted in a photo; where they only pointed, they pointed at each object.

    Args:
        photos: image_id, points and counts of `raw_images`.

    Returns:
        image_id and `human_counts`, a list of `HUMAN_COUNT` by category; one row a photo where people did so.
    """
    key = ["image_id", "category"]
    counts = photos.select("image_id", "counts").explode("counts", empty_as_null=False).unnest("counts")
    points = photos.select("image_id", "points").explode("points", empty_as_null=False).unnest("points")
    counted = counts.drop_nulls("category").group_by(key).agg(pl.max("count"))
    pointed = points.drop_nulls("category").group_by(key).agg(count=pl.len().cast(pl.Int32))
    return (
        pl.concat([counted, pointed.join(counted, on=key, how="anti")])
        .sort(key)
        .group_by("image_id", maintain_order=True)
        .agg(human_counts=pl.struct("category", "count"))
    )


def scenes(
    photos: pl.DataFrame, detections: pl.DataFrame, depths: pl.DataFrame, colors: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Join what is known of each object.

    Args:
        photos: image_id, sha256, width, height, split, license, is_labeled, labels_dropped, points and counts of
            `raw_images`.
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
    read_twice = pl.col("keypoints").is_not_null() & pl.col("second_pose_model").is_not_null()
    return (
        objects.join(class_sizes(), on="category", how="left")
        .join(human_counts(photos), on="image_id", how="left")
        .join(overlaps(objects), on="object_id", how="left")
        .join(readings, on="object_id", how="left")
        .join(COLORS.to_frame() if colors is None else colors, on="object_id", how="left")
        .with_columns(
            pl.col("overlap", "occlusion", "class_conflict").fill_null(0.0),
            pl.col("depth", "human_counts").fill_null([]),
        )
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
            second_facing=pl.when(read_twice).then(facing("second_keypoints").fill_null(0.0)),
            facing_score=pl.min_horizontal(facing_score("keypoints"), facing_score("mirror_keypoints")),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCENES.items())
        .sort("object_id")
    )
