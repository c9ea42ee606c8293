"""Left-right: on which side of another object, or in which half of the image, an object lies, as the viewer sees it."""

import polars as pl

from forge_assets.candidate_qa.choosing import surest
from forge_assets.candidate_qa.evidence import models_of, with_phrases
from forge_assets.candidate_qa.identity import SIDE_DIGIT, draw, seeded
from forge_assets.candidate_qa.options import is_true, listed, yes_or_no
from forge_assets.candidate_qa.pairs import object_pairs
from forge_assets.candidate_qa.sets import SET, described, object_sets

TASK = "left_right"
PLACE = ("origin", "x1", "x2", "mirror_x1", "mirror_x2")
_CARRIED = (*PLACE, "sure_score", "name", "bare", "same_category", "image_width")


def horizontal_gap(side: pl.Expr, prefix: str, *, left: str, right: str) -> pl.Expr:
    """The space between two boxes, as a share of the photo's width; negative where they overlap in x.

    Args:
        side: true where the object with the ending `left` is claimed to be the left one.
        prefix: of the columns x1 and x2, such as `mirror_`.
        left: ending of the columns of one object.
        right: ending of the columns of the other.
    """
    forward = pl.col(f"{prefix}x1{right}") - pl.col(f"{prefix}x2{left}")
    backward = pl.col(f"{prefix}x1{left}") - pl.col(f"{prefix}x2{right}")
    return pl.when(side).then(forward).otherwise(backward) / pl.col(f"image_width{left}")


def mirror_or_human(value: pl.Expr, otherwise: pl.Expr, *origins: str) -> pl.Expr:
    """A reading of mirrored boxes; of boxes that people drew, which need no mirror, the plain one."""
    human = pl.all_horizontal(*(pl.col(origin) == "human" for origin in origins))
    return pl.when(human).then(otherwise).otherwise(value)


def opposite(side: str) -> pl.Expr:
    """Right for left, left for right."""
    return pl.when(pl.col(side) == "left").then(pl.lit("right")).otherwise(pl.lit("left"))


def either_side(seed_digit: int = SIDE_DIGIT) -> dict[str, pl.Expr]:
    """`first` and `second`, the two sides in the order that the seed draws, and `side_options` with both."""
    left_first = draw("seed", seed_digit, 2) == 0
    first = pl.when(left_first).then(pl.lit("left")).otherwise(pl.lit("right"))
    second = pl.when(left_first).then(pl.lit("right")).otherwise(pl.lit("left"))
    return {"first": first, "second": second, "side_options": pl.concat_list(first, second)}


def side_forms(drafts: pl.LazyFrame, choice: str, yes_no: str, text: str) -> list[pl.LazyFrame]:
    """A draft that knows its `side`, asked in three ways: which of two, whether it is one, and openly.

    Args:
        drafts: with `side`, left or right, and `seed`.
        choice: form of the question with two options.
        yes_no: form of the question whether it is `claimed_side`, which half of them are told rightly.
        text: form of the open question.
    """
    told = drafts.with_columns(**either_side())
    return [
        told.with_columns(form=pl.lit(choice), answer="side", answer_kind=pl.lit("choice"), choices="side_options"),
        told.with_columns(
            form=pl.lit(yes_no),
            answer=yes_or_no(is_true()),
            answer_kind=pl.lit("yes_no"),
            claimed_side=pl.when(is_true()).then("side").otherwise(opposite("side")),
        ),
        told.with_columns(form=pl.lit(text), answer_kind=pl.lit("text")),
    ]


def left_right(named: pl.LazyFrame, most: int) -> list[pl.LazyFrame]:
    """Drafts of all forms, about objects with clear names that do not tell where they are.

    Only of boxes that lie apart from side to side, and from the middle for halves: others could never be verified.

    Args:
        named: entities with names, as `naming.named` gives them.
        most: pairs of a photo.
    """
    pairs = _pairs(named, most).collect().lazy()
    return [*side_forms(pairs, "side", "side_yes_no", "where"), *_of_sets(named), _half(named)]


def _pairs(named: pl.LazyFrame, most: int) -> pl.LazyFrame:
    a_is_left = (pl.col("x1_a") + pl.col("x2_a")) < (pl.col("x1_b") + pl.col("x2_b"))
    center_gap = ((pl.col("x1_a") + pl.col("x2_a")) - (pl.col("x1_b") + pl.col("x2_b"))).abs() / (
        2 * pl.col("image_width_a")
    )
    return (
        object_pairs(named, _CARRIED, TASK)
        .with_columns(a_is_left=a_is_left)
        .with_columns(
            e_gap=horizontal_gap(pl.col("a_is_left"), "", left="_a", right="_b"),
            mirror_gap=horizontal_gap(pl.col("a_is_left"), "mirror_", left="_a", right="_b"),
            object_ids=pl.concat_list("object_id_a", "object_id_b"),
            least_score=pl.min_horizontal("sure_score_a", "sure_score_b"),
        )
        .filter(pl.col("e_gap") > 0)
        .pipe(seeded, TASK)
        .filter(surest(most))
        .with_columns(
            side=pl.when("a_is_left").then(pl.lit("left")).otherwise(pl.lit("right")),
            a="name_a",
            b="name_b",
            answer_object_ids=pl.concat_list("object_id_a"),
            e_same_category=pl.max_horizontal("same_category_a", "same_category_b"),
            e_mirror_gap=mirror_or_human(pl.col("mirror_gap"), pl.col("e_gap"), "origin_a", "origin_b"),
            e_center_gap=center_gap,
        )
        .pipe(with_phrases, named)
        .with_columns(e_models=models_of("detectors"))
    )


def _placed(named: pl.LazyFrame) -> pl.LazyFrame:
    """Sides and centre of each box in pixels right of the photo's middle, in the photo and in the mirror."""
    middle, is_human = pl.col("image_width") / 2, pl.col("origin") == "human"
    return named.with_columns(
        left=pl.col("x1") - middle,
        right=pl.col("x2") - middle,
        center=(pl.col("x1") + pl.col("x2")) / 2 - middle,
        mirror_left=pl.when(is_human).then("x1").otherwise("mirror_x1") - middle,
        mirror_right=pl.when(is_human).then("x2").otherwise("mirror_x2") - middle,
    )


def _of_sets(named: pl.LazyFrame) -> list[pl.LazyFrame]:
    places = ("left", "right", "center", "mirror_left", "mirror_right", "image_width")
    sets = object_sets(_placed(named), TASK, (*places, "image_sha256", "name", "detector", "sure_score", "named_by"))
    ranked = sets.with_columns(rank=pl.struct("center", "object_id").rank("ordinal").over(SET)).collect().lazy()
    words = described(ranked).collect().lazy()
    return [
        _outermost(form, ranked.with_columns(is_answer=is_answer), words)
        for form, is_answer in (
            ("leftmost_of", pl.col("rank") == 1),
            ("rightmost_of", pl.col("rank") == pl.col("size")),
        )
    ]


def _outermost(form: str, ranked: pl.LazyFrame, words: pl.LazyFrame) -> pl.LazyFrame:
    is_left = form == "leftmost_of"
    own, others = pl.col("is_answer"), ~pl.col("is_answer")

    def gap(prefix: str) -> pl.Expr:
        if is_left:
            space = pl.col(f"{prefix}left").filter(others).min() - pl.col(f"{prefix}right").filter(own).first()
        else:
            space = pl.col(f"{prefix}left").filter(own).first() - pl.col(f"{prefix}right").filter(others).max()
        return pl.when(pl.col(f"{prefix}left").null_count() == 0).then(space) / pl.col("image_width").first()

    center_gap = (pl.col("center").filter(others) - pl.col("center").filter(own).first()).abs().min() / pl.col(
        "image_width"
    ).first()
    answered = ranked.group_by(*SET).agg(
        e_gap=gap(""),
        e_mirror_gap=gap("mirror_"),
        e_center_gap=center_gap,
        answer=pl.col("name").filter(own).first(),
        answer_object_ids=pl.col("object_id").filter(own),
    )
    return (
        words.join(answered, on=SET)
        .with_columns(
            form=pl.lit(form),
            answer_kind=pl.lit("choice"),
            choices="names",
            one_of=listed("names", "or"),
            e_models="detectors",
        )
        .filter(pl.col("e_gap") > 0)
        .pipe(seeded, TASK)
    )


def _half(named: pl.LazyFrame) -> pl.LazyFrame:
    is_left = pl.col("center") < 0

    def clearance(prefix: str) -> pl.Expr:
        space = pl.when(is_left).then(-pl.col(f"{prefix}right")).otherwise(pl.col(f"{prefix}left"))
        return space / pl.col("image_width")

    return (
        _placed(named)
        .with_columns(
            form=pl.lit("half"),
            side=pl.when(is_left).then(pl.lit("left")).otherwise(pl.lit("right")),
            a="name",
            answer_kind=pl.lit("choice"),
            answer_object_ids=pl.concat_list("object_id"),
            e_same_category="same_category",
            e_gap=clearance(""),
            e_mirror_gap=clearance("mirror_"),
            e_center_gap=pl.col("center").abs() / pl.col("image_width"),
            object_ids=pl.concat_list("object_id"),
            least_score="sure_score",
            e_phrases="named_by",
            e_models="detector",
        )
        .filter(pl.col("e_gap") > 0)
        .pipe(seeded, TASK)
        .with_columns(**either_side())
        .with_columns(answer="side", choices="side_options")
    )
