"""Perspective: on which own side of a person an object lies, where they turn to face it, and if it is ahead."""

import polars as pl

from forge_assets.candidate_qa.choosing import surest
from forge_assets.candidate_qa.depth_pairs import agree
from forge_assets.candidate_qa.evidence import models_of, with_phrases
from forge_assets.candidate_qa.identity import SIDE_DIGIT, draw, seeded
from forge_assets.candidate_qa.left_right import PLACE, either_side, horizontal_gap, mirror_or_human, side_forms
from forge_assets.candidate_qa.options import is_true, yes_or_no
from forge_resources.config import VerificationConfig

TASK = "perspective"
_PERSON = (
    "object_id",
    *PLACE,
    "sure_score",
    "image_id",
    "image_sha256",
    "image_width",
    "name",
    "facing",
    "mirror_facing",
    "second_facing",
    "facing_score",
    "detector",
    "pose_model",
)
_OBJECT = ("object_id", *PLACE, "sure_score", "image_id", "name", "bare", "same_category")


def perspective(
    people: pl.LazyFrame, things: pl.LazyFrame, depths: pl.LazyFrame, thresholds: VerificationConfig, most: int
) -> list[pl.LazyFrame]:
    """Drafts of all forms, about a person whose turn was read and an object of another class.

    An object on the left of the picture is on the right-hand side of a person who faces the camera, and on
    the left-hand side of one seen from behind. Sides are asked only of boxes that lie apart from side to side.

    Args:
        people: entities with names, as `naming.named` gives them; those that are no people are left out.
        things: the same with names that do not tell where the objects are; people among them are left out.
        depths: as `depth_pairs.depth_pairs` gives them.
        thresholds: by which the pairs that can be verified come first.
        most: pairs of a photo.
    """
    pairs = _pairs(people, things).collect().lazy()
    beside = pairs.filter(pl.col("e_gap") > 0).filter(surest(most))
    turn = beside.with_columns(**either_side()).with_columns(
        form=pl.lit("turn"), answer="side", answer_kind=pl.lit("choice"), choices="side_options"
    )
    ahead = _ahead(pairs, depths, thresholds).filter(surest(most, "is_doubtful")).collect().lazy()
    return [
        *side_forms(beside, "own_side", "own_side_yes_no", "tell_side"),
        turn,
        _front_or_behind(ahead),
        _facing_yes_no(ahead),
    ]


def _pairs(people: pl.LazyFrame, things: pl.LazyFrame) -> pl.LazyFrame:
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
            e_second_facing="second_facing_p",
            e_facing_score="facing_score_p",
            e_models=models_of("detector_p", "pose_model_p"),
            least_score=pl.min_horizontal("sure_score_p", "sure_score_o"),
            object_ids=pl.concat_list("object_id_p", "object_id_o"),
        )
        .pipe(with_phrases, pl.concat([persons, others], how="diagonal"))
        .pipe(seeded, TASK)
    )


def _ahead(pairs: pl.LazyFrame, depths: pl.LazyFrame, thresholds: VerificationConfig) -> pl.LazyFrame:
    """Pairs with `is_in_front`: in front of a person is what lies in the direction of their face.

    That is nearer to the camera where they face it, and farther from it where they are seen from behind.
    """
    read = pl.concat(
        [
            depths.select(
                "readings",
                "models",
                is_agreed=agree(),
                object_id_o=thing,
                object_id_p=person,
                object_is_nearer=pl.lit(thing == "near_id"),
            )
            for thing, person in (("near_id", "far_id"), ("far_id", "near_id"))
        ]
    )
    is_frontal = (
        pl.min_horizontal(pl.col("e_facing").abs(), pl.col("e_mirror_facing").abs()).fill_null(0.0)
        >= thresholds.min_frontal_facing
    )
    in_line = pl.col("e_center_gap") <= thresholds.max_front_offset
    return (
        pairs.join(read, on=["object_id_p", "object_id_o"])
        .with_columns(
            is_doubtful=~(pl.col("is_agreed") & is_frontal & in_line),
            is_in_front=pl.col("object_is_nearer") == (pl.col("e_facing") > 0),
            e_readings="readings",
            e_models=models_of("e_models", "models"),
        )
        .drop("e_gap", "e_mirror_gap")
    )


def _front_or_behind(ahead: pl.LazyFrame) -> pl.LazyFrame:
    front, behind = pl.lit("in front"), pl.lit("behind")
    front_first = draw("seed", SIDE_DIGIT, 2) == 0
    return ahead.with_columns(
        form=pl.lit("front_or_behind"),
        answer=pl.when("is_in_front").then(front).otherwise(behind),
        answer_kind=pl.lit("choice"),
        choices=pl.when(front_first).then(pl.concat_list(front, behind)).otherwise(pl.concat_list(behind, front)),
        first=pl.when(front_first).then(pl.lit("in front of")).otherwise(behind),
        second=pl.when(front_first).then(behind).otherwise(pl.lit("in front of")),
    )


def _facing_yes_no(ahead: pl.LazyFrame) -> pl.LazyFrame:
    """Whether a person faces an object or turns their back to it: the seed draws which of both is claimed."""
    claims_facing = pl.col("is_in_front") == is_true()

    def turn(faces: pl.Expr) -> pl.Expr:
        return pl.when(faces).then(pl.lit("facing towards")).otherwise(pl.lit("turned away from"))

    return ahead.with_columns(
        form=pl.lit("facing_yes_no"),
        answer=yes_or_no(is_true()),
        answer_kind=pl.lit("yes_no"),
        claimed_turn=turn(claims_facing),
        true_turn=turn(pl.col("is_in_front")),
        claimed_part=pl.when(claims_facing).then(pl.lit("face")).otherwise(pl.lit("back")),
    )
