"""Perspective: on which own side of a person an object lies, where they turn to face it, and if it is ahead."""

import polars as pl

from forge_assets.candidate_qa.choosing import Form, surest
from forge_assets.candidate_qa.depth_pairs import agree, with_readings
from forge_assets.candidate_qa.identity import SIDE_DIGIT, draw, seeded
from forge_assets.candidate_qa.left_right import PLACE, either_side, horizontal_gap, mirror_or_human, side_forms
from forge_assets.candidate_qa.lists import joined, list_of
from forge_assets.candidate_qa.options import is_true, yes_or_no
from forge_assets.in_memory import computed
from forge_resources.config import VerificationConfig

TASK = "perspective"
_PERSON = ("object_id", *PLACE, "sure_score", "image_width", "facing", "mirror_facing")
_OBJECT = ("object_id", *PLACE, "sure_score")


def perspective(
    people: pl.LazyFrame, things: pl.LazyFrame, depths: pl.LazyFrame, thresholds: VerificationConfig, most: int
) -> list[Form]:
    """All forms, about a person whose turn was read and an object of another class.

    An object on the left of the picture is on the right-hand side of a person who faces the camera, and on
    the left-hand side of one seen from behind. Sides are asked only of boxes that lie apart from side to side.

    Args:
        people: entities with names, as `naming.named` gives them; those that are no people are left out.
        things: the same with names that do not tell where the objects are; people among them are left out.
        depths: as `depth_pairs.depth_pairs` gives them.
        thresholds: by which the pairs that can be verified come first.
        most: pairs of a photo.
    """
    persons = people.filter((pl.col("category") == "person") & pl.col("facing").is_not_null())
    others = things.filter(pl.col("category") != "person")
    pairs = _pairs(persons, others).pipe(computed)
    beside = pairs.filter(pl.col("e_gap") > 0).pipe(surest, most).pipe(computed)
    ahead = _ahead(pairs, depths, thresholds).pipe(surest, most, "is_doubtful").pipe(computed)

    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return _told(drafts, persons, others)

    def turn(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return (
            told(drafts)
            .with_columns(**either_side())
            .with_columns(answer="side", answer_kind=pl.lit("choice"), choices="side_options")
        )

    def told_ahead(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return told(drafts.pipe(with_readings, depths)).with_columns(models=joined("models", "depth_models"))

    def front_or_behind(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return _front_or_behind(told_ahead(drafts))

    def facing_yes_no(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return _facing_yes_no(told_ahead(drafts))

    return [
        *side_forms(TASK, ("own_side", "own_side_yes_no", "tell_side"), beside, told),
        Form(TASK, "turn", beside, turn),
        Form(TASK, "front_or_behind", ahead, front_or_behind),
        Form(TASK, "facing_yes_no", ahead, facing_yes_no),
    ]


def _pairs(persons: pl.LazyFrame, others: pl.LazyFrame) -> pl.LazyFrame:
    """Each person with each object of the photo."""
    object_is_left = (pl.col("x1_o") + pl.col("x2_o")) < (pl.col("x1_p") + pl.col("x2_p"))
    center_gap = ((pl.col("x1_p") + pl.col("x2_p")) - (pl.col("x1_o") + pl.col("x2_o"))).abs() / (
        2 * pl.col("image_width_p")
    )
    mirror_gap = horizontal_gap(pl.col("object_is_left"), "mirror_", left="_o", right="_p")
    return (
        persons.select("image_id", "image_sha256", *(pl.col(name).alias(f"{name}_p") for name in _PERSON))
        .join(others.select("image_id", *(pl.col(name).alias(f"{name}_o") for name in _OBJECT)), on="image_id")
        .with_columns(object_is_left=object_is_left, image_width_o="image_width_p")
        .with_columns(e_gap=horizontal_gap(pl.col("object_is_left"), "", left="_o", right="_p"))
        .select(
            "image_id",
            "image_sha256",
            "object_id_p",
            "object_id_o",
            "object_is_left",
            "e_gap",
            e_mirror_gap=mirror_or_human(mirror_gap, pl.col("e_gap"), "origin_p", "origin_o"),
            e_center_gap=center_gap,
            e_facing="facing_p",
            e_mirror_facing="mirror_facing_p",
            least_score=pl.min_horizontal("sure_score_p", "sure_score_o"),
        )
        .pipe(seeded, TASK, "object_id_p", "object_id_o")
    )


def _told(drafts: pl.LazyFrame, persons: pl.LazyFrame, others: pl.LazyFrame) -> pl.LazyFrame:
    on_own_left = pl.col("object_is_left") != (pl.col("e_facing") > 0)
    person = persons.select(
        object_id_p="object_id",
        person="name",
        phrase_p="phrase_number",
        models=joined("found_by", "posed_by"),
        e_second_facing="second_facing",
        e_facing_score="facing_score",
    )
    thing = others.select(
        object_id_o="object_id", object="name", phrase_o="phrase_number", e_same_category="same_category"
    )
    return (
        drafts.join(person, on="object_id_p")
        .join(thing, on="object_id_o")
        .with_columns(
            side=pl.when(on_own_left).then(pl.lit("left")).otherwise(pl.lit("right")),
            object_ids=list_of("object_id_p", "object_id_o"),
            answer_object_ids=list_of("object_id_o"),
            phrase_numbers=list_of("phrase_p", "phrase_o").list.drop_nulls(),
        )
    )


def _ahead(pairs: pl.LazyFrame, depths: pl.LazyFrame, thresholds: VerificationConfig) -> pl.LazyFrame:
    """Pairs with `is_in_front`: in front of a person is what lies in the direction of their face.

    That is nearer to the camera where they face it, and farther from it where they are seen from behind.
    """
    person, thing = pl.col("object_id_p"), pl.col("object_id_o")
    read = depths.select("depth_pair", "low_id", "high_id", "near_id", is_agreed=agree())
    is_frontal = (
        pl.min_horizontal(pl.col("e_facing").abs(), pl.col("e_mirror_facing").abs()).fill_null(0.0)
        >= thresholds.min_frontal_facing
    )
    in_line = pl.col("e_center_gap") <= thresholds.max_front_offset
    object_is_nearer = pl.col("near_id") == thing
    return (
        pairs.with_columns(
            low_id=pl.when(person < thing).then(person).otherwise(thing),
            high_id=pl.when(person < thing).then(thing).otherwise(person),
        )
        .join(read, on=["low_id", "high_id"])
        .with_columns(
            is_doubtful=~(pl.col("is_agreed") & is_frontal & in_line),
            is_in_front=object_is_nearer == (pl.col("e_facing") > 0),
        )
        .drop("e_gap", "e_mirror_gap", "low_id", "high_id", "near_id", "is_agreed")
    )


def _front_or_behind(ahead: pl.LazyFrame) -> pl.LazyFrame:
    front, behind = pl.lit("in front"), pl.lit("behind")
    front_first = draw("seed", SIDE_DIGIT, 2) == 0
    return ahead.with_columns(
        answer=pl.when("is_in_front").then(front).otherwise(behind),
        answer_kind=pl.lit("choice"),
        choices=pl.when(front_first).then(list_of(front, behind)).otherwise(list_of(behind, front)),
        first=pl.when(front_first).then(pl.lit("in front of")).otherwise(behind),
        second=pl.when(front_first).then(behind).otherwise(pl.lit("in front of")),
    )


def _facing_yes_no(ahead: pl.LazyFrame) -> pl.LazyFrame:
    """Whether a person faces an object or turns their back to it: the seed draws which of both is claimed."""
    claims_facing = pl.col("is_in_front") == is_true()

    def turn(faces: pl.Expr) -> pl.Expr:
        return pl.when(faces).then(pl.lit("facing towards")).otherwise(pl.lit("turned away from"))

    return ahead.with_columns(
        answer=yes_or_no(is_true()),
        answer_kind=pl.lit("yes_no"),
        claimed_turn=turn(claims_facing),
        true_turn=turn(pl.col("is_in_front")),
        claimed_part=pl.when(claims_facing).then(pl.lit("face")).otherwise(pl.lit("back")),
    )
