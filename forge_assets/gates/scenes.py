"""What `scenes` promises."""

from typing import TYPE_CHECKING

import polars as pl

from forge_assets.gates.gate import Facts, Gate
from forge_assets.gates.promises import among, between, equal, holds, matches, present, unique
from forge_assets.gates.statements import box_is_inside, box_is_ordered, numbers_are_finite, of_partition
from forge_assets.in_memory import collected
from forge_assets.scenes.colors import BASIC_COLORS
from forge_assets.tables import SPLITS
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation


def expectations(_config: ForgeConfig, _key: ShardKey) -> "list[Expectation]":
    """Of each object and its evidence."""
    return [
        *present(
            "object_id", "image_id", "origin", "category", "x1", "y1", "x2", "y2", "image_sha256", "split", "license"
        ),
        *present("image_width", "image_height", "area_share", "is_truncated", "overlap"),
        unique("object_id"),
        holds("is_of_partition"),
        holds("object_is_known"),
        holds("photo_is_as_known"),
        among("split", SPLITS),
        matches("category", r"\S", "category_is_named"),
        holds("box_is_ordered"),
        holds("box_inside_photo"),
        between("area_share", 0, 1, above=True),
        between("overlap", 0, 1),
        between("score", 0, 1),
        between("mirror_iou", 0, 1),
        holds("depths_are_positive"),
        holds("depth_quantiles_are_ordered"),
        between("ground_depth", 0, above=True),
        between("mirror_ground_depth", 0, above=True),
        between("height_depth", 0, above=True),
        between("mirror_height_depth", 0, above=True),
        between("facing", -1, 1),
        between("mirror_facing", -1, 1),
        between("second_facing", -1, 1),
        between("facing_score", 0, 1),
        between("second_score", 0, 1),
        among("color", BASIC_COLORS),
        among("second_color", BASIC_COLORS),
        between("color_share", 0, 1, above=True),
        between("second_share", 0, 1),
        holds("color_has_its_share"),
        holds("numbers_are_finite"),
    ]


def fact_expectations(_config: ForgeConfig, _key: ShardKey) -> "list[Expectation]":
    """Of a shard: no object is lost or made up on the way from the detections."""
    return [
        equal("objects", "objects_detected", "one_row_per_detection"),
        between("objects_lost", 0, 0, rule="no_detection_lost"),
    ]


def frame(lake: Lake, key: ShardKey, _config: ForgeConfig) -> pl.DataFrame:
    """Objects, with what can be said of their photo and of their depths."""
    objects = lake.scan("detections", key).select("object_id", "image_id", object_is_known=True)
    photos = lake.scan("raw_images", key).select("image_id", "sha256", "width", "height", known_split="split")
    q10, q50, q90 = (pl.element().struct.field(quantile) for quantile in ("q10", "q50", "q90"))

    def of_depths(statement: pl.Expr) -> pl.Expr:
        return pl.col("depth").list.eval(statement.fill_null(value=False)).list.all().fill_null(value=True)

    as_known = (
        (pl.col("image_sha256") == pl.col("sha256"))
        & (pl.col("image_width") == pl.col("width"))
        & (pl.col("image_height") == pl.col("height"))
        & (pl.col("split") == pl.col("known_split"))
    )
    return (
        lake.scan("scenes", key)
        .join(objects, on=["object_id", "image_id"], how="left")
        .join(photos, on="image_id", how="left")
        .with_columns(
            pl.col("object_is_known").fill_null(value=False),
            is_of_partition=of_partition(key),
            photo_is_as_known=as_known.fill_null(value=False),
            box_is_ordered=box_is_ordered(),
            box_inside_photo=box_is_inside("image_width", "image_height"),
            depths_are_positive=of_depths(q10.is_finite() & q90.is_finite() & (q10 > 0)),
            depth_quantiles_are_ordered=of_depths((q10 <= q50) & (q50 <= q90)),
            color_has_its_share=pl.col("color").is_null() == pl.col("color_share").is_null(),
            numbers_are_finite=numbers_are_finite(),
        )
        .drop("depth", "sha256", "width", "height", "known_split")
        .pipe(collected)
    )


def facts(lake: Lake, key: ShardKey, _config: ForgeConfig) -> Facts:
    """Objects here and in the detections."""
    here = lake.scan("scenes", key).select("object_id").pipe(collected)
    detected = lake.scan("detections", key).select("object_id").pipe(collected)
    return {
        "objects": here.height,
        "objects_detected": detected.height,
        "objects_lost": detected.join(here, on="object_id", how="anti").height,
    }


GATE = Gate("scenes", "object_id", frame, expectations, facts, fact_expectations)
