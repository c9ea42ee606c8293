"""Perspective: on which own side of a person an object lies, where they turn to face it, and if it is ahead."""

import polars as pl

from forge_assets.candidate_qa.evidence import OBJECT_EVIDENCE, evidence_of, models_of
from forge_assets.candidate_qa.identity import SIDE_DIGIT, draw, seeded
from forge_assets.candidate_qa.left_right import PLACE, either_side, horizontal_gap, mirror_or_human, side_forms
from forge_assets.candidate_qa.pairs import surest

TASK = "perspective"
_PERSON = (
    "object_id",
    *OBJECT_EVIDENCE,
    *PLACE,
    "image_id",
    "image_sha256",
    "image_width",
    "name",
    "facing",
    "mirror_facing",
    "facing_score",
    "detector",
    "pose_model",
)
_OBJECT = ("object_id", *OBJECT_EVIDENCE, *PLACE, "image_id", "name", "bare", "same_category")


def perspective(people: pl.LazyFrame, things: pl.LazyFrame, depths: pl.LazyFrame, most: int) -> list[pl.LazyFrame]:
    """Drafts of all forms, about a person whose turn was read and an object of another class.

    An object on the left of the picture is on the right-hand side of a person who faces the camera, and on
    the left-hand side of one seen from behind. One that is nearer to the camera is in front of a person who faces it.

    Args:
        people: entities with names, as `naming.named` gives them; those that are no people are left out.
        things: the same with names that do not tell where the objects are; people among them are left out.
        depths: as `depth_pairs.depth_pairs` gives them.
        most: pairs of a photo.
    """
    pairs = _pairs(people, things, most).collect().lazy()
    turn = pairs.with_columns(**either_side()).with_columns(
        form=pl.lit("turn"), answer="side", answer_kind=pl.lit("choice"), choices="side_options"
    )
    return [*side_forms(pairs, "own_side", "own_side_yes_no", "tell_side"), turn, _front_or_behind(pairs, depths)]


def _pairs(people: pl.LazyFrame, things: pl.LazyFrame, most: int) -> pl.LazyFrame:
    persons = people.filter((pl.col("category") == "person") & pl.col("facing").is_not_null())
    others = things.filter(pl.col("category") != "person")
    object_is_left = (pl.col("x1_o") + pl.col("x2_o")) < (pl.col("x1_p") + pl.col("x2_p"))
    on_own_left = pl.col("object_is_left") != (pl.col("facing_p") > 0)
    center_gap = ((pl.col("x1_p") + pl.col("x2_p")) - (pl.col("x1_o") + pl.col("x2_o"))).abs() / (
        2 * pl.col("image_width_p")
    )
    return (
        persons.select(pl.col(name).alias(f"{name}_p") for name in _PERSON)
        .join(
            others.select(pl.col(name).alias(f"{name}_o") for name in _OBJECT),
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
            side=pl.when(on_own_left).then(pl.lit("left")).otherwise(pl.lit("right")),
            person="name_p",
            object="name_o",
            object_bare="bare_o",
            answer_object_ids=pl.concat_list("object_id_o"),
            e_same_category="same_category_o",
            e_mirror_gap=mirror_or_human(pl.col("mirror_gap"), pl.col("e_gap"), "origin_p", "origin_o"),
            e_center_gap=center_gap,
            e_facing="facing_p",
            e_mirror_facing="mirror_facing_p",
            e_facing_score="facing_score_p",
            e_models=models_of("detector_p", "pose_model_p"),
            **evidence_of("_p", "_o"),
        )
        .pipe(seeded, TASK)
        .filter(surest(most))
    )


def _front_or_behind(pairs: pl.LazyFrame, depths: pl.LazyFrame) -> pl.LazyFrame:
    """In front of a person is what lies in the direction of their face: nearer to the camera if they face it."""
    read = pl.concat(
        [
            depths.select(
                "readings",
                "models",
                object_id_o=thing,
                object_id_p=person,
                object_is_nearer=pl.lit(thing == "near_id"),
            )
            for thing, person in (("near_id", "far_id"), ("far_id", "near_id"))
        ]
    )
    is_in_front = pl.col("object_is_nearer") == (pl.col("e_facing") > 0)
    front, behind = pl.lit("in front"), pl.lit("behind")
    front_first = draw("seed", SIDE_DIGIT, 2) == 0
    return (
        pairs.join(read, on=["object_id_p", "object_id_o"])
        .with_columns(
            form=pl.lit("front_or_behind"),
            answer=pl.when(is_in_front).then(front).otherwise(behind),
            answer_kind=pl.lit("choice"),
            choices=pl.when(front_first).then(pl.concat_list(front, behind)).otherwise(pl.concat_list(behind, front)),
            first=pl.when(front_first).then(pl.lit("in front of")).otherwise(behind),
            second=pl.when(front_first).then(behind).otherwise(pl.lit("in front of")),
            e_readings="readings",
            e_models=models_of("e_models", "models"),
        )
        .drop("e_gap", "e_mirror_gap")
    )
