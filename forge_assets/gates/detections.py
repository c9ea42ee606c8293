"""What `detections` promises."""

from typing import TYPE_CHECKING

import polars as pl

from forge_assets.gates.gate import Gate, no_fact_expectations, no_facts
from forge_assets.gates.promises import among, between, holds, matches, present, unique
from forge_assets.gates.statements import all_or_none, box_is_inside, box_is_ordered, numbers_are_finite, of_partition
from forge_assets.in_memory import collected
from forge_assets.tables import Origin
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

KEYPOINTS = 17
_ROUNDING = 1e-6


def expectations(config: ForgeConfig, _key: ShardKey) -> "list[Expectation]":
    """Of each object; a shard in which nothing was found is as good as any."""
    return [
        *present("object_id", "image_id", "origin", "category", "x1", "y1", "x2", "y2", "is_crowd"),
        unique("object_id"),
        holds("is_of_partition"),
        holds("image_is_known"),
        holds("id_names_its_image"),
        among("origin", Origin.categories.to_list()),
        matches("category", r"\S", "category_is_named"),
        holds("box_is_ordered"),
        holds("box_inside_photo"),
        between("score", 0, 1),
        holds("found_boxes_are_scored"),
        between("detector_score", config.models.detector.score_floor - _ROUNDING, rule="score_above_floor"),
        holds("detector_is_named"),
        between("match_iou", 0, 1),
        between("mirror_score", 0, 1),
        between("mirror_iou", 0, 1),
        between("second_score", 0, 1),
        between("second_iou", 0, 1),
        holds("mirror_is_whole"),
        holds("second_is_whole"),
        holds("second_detector_is_named"),
        holds("keypoints_are_17"),
        holds("keypoint_scores_in_range"),
        holds("pose_model_is_named"),
        holds("numbers_are_finite"),
    ]


def frame(lake: Lake, key: ShardKey, _config: ForgeConfig) -> pl.DataFrame:
    """Objects, with what can be said of their photo, box and keypoints."""
    photos = lake.scan("raw_images", key).select("image_id", "width", "height", image_is_known=True)
    poses = ("keypoints", "mirror_keypoints", "second_keypoints")
    is_detected = pl.col("origin") == "detector"
    lengths = [pl.col(pose).is_null() | (pl.col(pose).list.len() == KEYPOINTS) for pose in poses]
    scores = [
        pl.col(pose).list.eval(pl.element().struct.field("score").is_between(0, 1).fill_null(value=False)).list.all()
        for pose in poses
    ]
    return (
        lake.scan("detections", key)
        .join(photos, on="image_id", how="left")
        .with_columns(
            pl.col("image_is_known").fill_null(value=False),
            is_of_partition=of_partition(key),
            id_names_its_image=pl.col("object_id").str.starts_with(pl.concat_str("image_id", pl.lit("#"))),
            box_is_ordered=box_is_ordered(),
            box_inside_photo=box_is_inside("width", "height"),
            found_boxes_are_scored=(pl.col("origin") == "human") | pl.col("score").is_not_null(),
            detector_score=pl.when(is_detected).then("score"),
            detector_is_named=~is_detected | pl.col("detector").is_not_null(),
            mirror_is_whole=all_or_none(
                "mirror_score", "mirror_iou", "mirror_x1", "mirror_y1", "mirror_x2", "mirror_y2"
            )
            & (box_is_ordered("mirror_") | pl.col("mirror_x1").is_null()),
            second_is_whole=all_or_none("second_score", "second_iou"),
            second_detector_is_named=((pl.col("origin") != "second") & pl.col("second_score").is_null())
            | pl.col("second_detector").is_not_null(),
            keypoints_are_17=pl.all_horizontal(lengths),
            keypoint_scores_in_range=pl.all_horizontal(score.fill_null(value=True) for score in scores),
            pose_model_is_named=pl.col("keypoints").is_null() | pl.col("pose_model").is_not_null(),
            numbers_are_finite=numbers_are_finite(),
        )
        .drop(poses)
        .pipe(collected)
    )


GATE = Gate("detections", "object_id", frame, expectations, no_facts, no_fact_expectations)
