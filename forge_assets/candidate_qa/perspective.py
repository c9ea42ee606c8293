"""Perspective: on which own side of a person an object lies."""

import polars as pl

from forge_assets.candidate_qa.evidence import OBJECT_EVIDENCE, evidence_of, models_of
from forge_assets.candidate_qa.left_right import PLACE, horizontal_gap, mirror_or_human

_PERSON = (
    "object_id",
    *OBJECT_EVIDENCE,
    *PLACE,
    "image_id",
    "image_sha256",
    "image_width",
    "is_unique",
    "by_name",
    "by_region",
    "facing",
    "mirror_facing",
    "facing_score",
    "detector",
    "pose_model",
)
_OBJECT = ("object_id", *OBJECT_EVIDENCE, *PLACE, "image_id", "by_name", "same_category")


def perspective(entities: pl.LazyFrame) -> pl.LazyFrame:
    """One question a person whose turn was read and an object of another class.

    An object on the left of the picture is on the right-hand side of a person who faces the camera, and on
    the left-hand side of one seen from behind.

    Args:
        entities: as `entities.entities` gives them.
    """
    people = entities.filter((pl.col("category") == "person") & pl.col("facing").is_not_null())
    things = entities.filter(pl.col("category") != "person")
    object_is_left = (pl.col("x1_o") + pl.col("x2_o")) < (pl.col("x1_p") + pl.col("x2_p"))
    on_own_left = pl.col("object_is_left") != (pl.col("facing_p") > 0)
    return (
        people.select(pl.col(name).alias(f"{name}_p") for name in _PERSON)
        .join(
            things.select(pl.col(name).alias(f"{name}_o") for name in _OBJECT),
            left_on="image_id_p",
            right_on="image_id_o",
        )
        .rename({"image_id_p": "image_id", "image_sha256_p": "image_sha256"})
        .with_columns(object_is_left=object_is_left, image_width_o="image_width_p")
        .with_columns(
            e_gap=horizontal_gap(pl.col("object_is_left"), "", left="_o", right="_p"),
            mirror_gap=horizontal_gap(pl.col("object_is_left"), "mirror_", left="_o", right="_p"),
        )
        .with_columns(
            form=pl.lit("own_side"),
            side=pl.when(on_own_left).then(pl.lit("left")).otherwise(pl.lit("right")),
            person=pl.when("is_unique_p").then("by_name_p").otherwise("by_region_p"),
            object="by_name_o",
            answer_kind=pl.lit("choice"),
            answer_object_ids=pl.concat_list("object_id_o"),
            category=pl.lit(None, dtype=pl.String),
            e_same_category="same_category_o",
            e_mirror_gap=mirror_or_human(pl.col("mirror_gap"), pl.col("e_gap"), "origin_p", "origin_o"),
            e_facing="facing_p",
            e_mirror_facing="mirror_facing_p",
            e_facing_score="facing_score_p",
            e_models=models_of("detector_p", "pose_model_p"),
            **evidence_of("_p", "_o"),
        )
    )
