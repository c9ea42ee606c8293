"""Left-right: on which side of another object, or in which half of the image, an object lies, as the viewer sees it."""

from collections.abc import Callable

import polars as pl

from forge_assets.candidate_qa.choosing import Form, surest
from forge_assets.candidate_qa.grounding import of_one_object
from forge_assets.candidate_qa.identity import SIDE_DIGIT, draw, seeded
from forge_assets.candidate_qa.lists import joined, list_of
from forge_assets.candidate_qa.options import is_true, listed, yes_or_no
from forge_assets.candidate_qa.pairs import a_and_b, object_pairs
from forge_assets.candidate_qa.sets import POSITIONS, at_positions, list_of_set, object_sets
from forge_assets.in_memory import computed

TASK = "left_right"
PLACE = ("origin", "x1", "x2", "mirror_x1", "mirror_x2")
_CARRIED = (*PLACE, "sure_score", "image_width")
SAID_OF_SET = ("phrase_number", "found_by")
"""What `of_set` reads of the objects of a set besides their names."""


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
    return {"first": first, "second": second, "side_options": list_of(first, second)}


def side_forms(
    task: str, names: tuple[str, str, str], drafts: pl.LazyFrame, told: Callable[[pl.LazyFrame], pl.LazyFrame]
) -> list[Form]:
    """Drafts about a side, asked in three ways: which of two, whether it is one, and openly.

    Args:
        task: that asks.
        names: of the form with two options, of that which asks whether it is `claimed_side`, which half of them are
            told rightly, and of the open one.
        drafts: with `seed`.
        told: adds `side`, left or right, and all that the three have in common.
    """

    def choice(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return (
            told(drafts)
            .with_columns(**either_side())
            .with_columns(answer="side", answer_kind=pl.lit("choice"), choices="side_options")
        )

    def yes_no(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return told(drafts).with_columns(
            answer=yes_or_no(is_true()),
            answer_kind=pl.lit("yes_no"),
            claimed_side=pl.when(is_true()).then("side").otherwise(opposite("side")),
        )

    def text(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return told(drafts).with_columns(answer_kind=pl.lit("text"))

    return [Form(task, name, drafts, way) for name, way in zip(names, (choice, yes_no, text), strict=True)]


def left_right(named: pl.LazyFrame, most: int) -> list[Form]:
    """All forms, about objects with clear names that do not tell where they are.

    Only of boxes that lie apart from side to side, and from the middle for halves: others could never be verified.

    Args:
        named: entities with names, as `naming.named` gives them.
        most: pairs of a photo.
    """

    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return _told_pair(drafts, named)

    pairs = _pairs(named, most).pipe(computed)
    placed = _placed(named).pipe(computed)
    return [
        *side_forms(TASK, ("side", "side_yes_no", "where"), pairs, told),
        *_of_sets(placed),
        Form(TASK, "half", _halves(placed), _half),
    ]


def _pairs(named: pl.LazyFrame, most: int) -> pl.LazyFrame:
    low_is_left = (pl.col("x1_low") + pl.col("x2_low")) < (pl.col("x1_high") + pl.col("x2_high"))
    center_gap = ((pl.col("x1_low") + pl.col("x2_low")) - (pl.col("x1_high") + pl.col("x2_high"))).abs() / (
        2 * pl.col("image_width_low")
    )
    mirror_gap = horizontal_gap(pl.col("low_is_left"), "mirror_", left="_low", right="_high")
    return (
        object_pairs(named, _CARRIED)
        .with_columns(low_is_left=low_is_left)
        .with_columns(e_gap=horizontal_gap(pl.col("low_is_left"), "", left="_low", right="_high"))
        .filter(pl.col("e_gap") > 0)
        .select(
            "image_id",
            "object_id_low",
            "object_id_high",
            "low_is_left",
            "e_gap",
            e_mirror_gap=mirror_or_human(mirror_gap, pl.col("e_gap"), "origin_low", "origin_high"),
            e_center_gap=center_gap,
            least_score=pl.min_horizontal("sure_score_low", "sure_score_high"),
        )
        .join(named.select("image_id", "image_sha256").unique("image_id"), on="image_id")
        .pipe(a_and_b, TASK)
        .pipe(seeded, TASK, "object_id_a", "object_id_b")
        .pipe(surest, most)
    )


def _told_pair(drafts: pl.LazyFrame, named: pl.LazyFrame) -> pl.LazyFrame:
    a_is_left = pl.col("low_is_left") == (pl.col("object_id_a") == pl.col("object_id_low"))
    return drafts.pipe(of_two_objects, named, named).with_columns(
        side=pl.when(a_is_left).then(pl.lit("left")).otherwise(pl.lit("right")),
        answer_object_ids=list_of("object_id_a"),
        e_same_category=pl.max_horizontal("same_category_a", "same_category_b"),
    )


def of_two_objects(drafts: pl.LazyFrame, first: pl.LazyFrame, second: pl.LazyFrame) -> pl.LazyFrame:
    """What drafts about two objects have in common: their names as `a` and `b`, their ids, phrases and finders.

    Args:
        drafts: with `object_id_a` and `object_id_b`.
        first: entities with names, of which `a` is one.
        second: the same of `b`.
    """

    def of(named: pl.LazyFrame, side: str) -> pl.LazyFrame:
        return named.select(
            pl.col("name").alias(side),
            pl.col("object_id", "phrase_number", "found_by", "same_category").name.suffix(f"_{side}"),
        )

    return (
        drafts.join(of(first, "a"), on="object_id_a")
        .join(of(second, "b"), on="object_id_b")
        .with_columns(
            object_ids=list_of("object_id_a", "object_id_b"),
            phrase_numbers=list_of("phrase_number_a", "phrase_number_b").list.drop_nulls(),
            models=joined("found_by_a", "found_by_b"),
        )
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


def _of_sets(placed: pl.LazyFrame) -> list[Form]:
    places = ("left", "right", "center", "mirror_left", "mirror_right", "image_width")
    sets = object_sets(placed, TASK, (*places, *SAID_OF_SET)).pipe(computed)

    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return (
            of_set(drafts)
            .with_columns(answer_kind=pl.lit("choice"), answer_object_ids=list_of("answer_object_id"), choices="names")
            .with_columns(one_of=listed("names", "or"))
        )

    return [
        Form(TASK, "leftmost_of", _outermost(sets, is_left=True), told),
        Form(TASK, "rightmost_of", _outermost(sets, is_left=False), told),
    ]


def of_set(drafts: pl.LazyFrame) -> pl.LazyFrame:
    """What drafts about sets have in common: `names` of their objects, their ids, phrases and finders.

    Args:
        drafts: as `sets.object_sets` gives them, with the columns `SAID_OF_SET`.
    """
    return drafts.with_columns(
        names=list_of_set("name"),
        object_ids=list_of_set("object_id"),
        phrase_numbers=list_of_set("phrase_number").list.drop_nulls(),
        models=joined(*at_positions("found_by")),
    )


def _outermost(sets: pl.LazyFrame, *, is_left: bool) -> pl.LazyFrame:
    """Drafts about the object of a set that is furthest to one side: of two with one centre, by its id."""

    def is_before(one: int, other: int) -> pl.Expr:
        first, second = pl.col(f"center_{one}"), pl.col(f"center_{other}")
        tie = (first == second) & (pl.col(f"object_id_{one}") < pl.col(f"object_id_{other}"))
        return (first < second) | tie

    def is_own(position: int) -> pl.Expr:
        wins = (
            is_before(position, other) if is_left else is_before(other, position)
            for other in POSITIONS
            if other != position
        )
        exists = pl.col(f"object_id_{position}").is_not_null()
        return exists & pl.all_horizontal(win.fill_null(value=True) for win in wins)

    owns = {f"is_own_{position}": is_own(position) for position in POSITIONS}

    def own(name: str) -> pl.Expr:
        return pl.coalesce(pl.when(f"is_own_{position}").then(f"{name}_{position}") for position in POSITIONS)

    def others(name: str) -> list[pl.Expr]:
        return [pl.when(~pl.col(f"is_own_{position}")).then(f"{name}_{position}") for position in POSITIONS]

    def gap(prefix: str) -> pl.Expr:
        left, right = f"{prefix}left", f"{prefix}right"
        space = (
            pl.min_horizontal(*others(left)) - own(right) if is_left else own(left) - pl.max_horizontal(*others(right))
        )
        seen = pl.sum_horizontal(pl.col(name).is_not_null() for name in at_positions(left)) == pl.col("size")
        return pl.when(seen).then(space) / pl.col("image_width_0")

    center_gap = pl.min_horizontal((center - own("center")).abs() for center in others("center"))
    return (
        sets.with_columns(**owns)
        .select(
            "image_id",
            "image_sha256",
            "size",
            "least_score",
            *at_positions("object_id"),
            *at_positions("name"),
            *(column for said in SAID_OF_SET for column in at_positions(said)),
            e_gap=gap(""),
            e_mirror_gap=gap("mirror_"),
            e_center_gap=center_gap / pl.col("image_width_0"),
            answer=own("name"),
            answer_object_id=own("object_id"),
        )
        .filter(pl.col("e_gap") > 0)
        .pipe(seeded, TASK, *at_positions("object_id"))
    )


def _halves(placed: pl.LazyFrame) -> pl.LazyFrame:
    is_left = pl.col("center") < 0

    def clearance(prefix: str) -> pl.Expr:
        space = pl.when(is_left).then(-pl.col(f"{prefix}right")).otherwise(pl.col(f"{prefix}left"))
        return space / pl.col("image_width")

    return (
        placed.select(
            "image_id",
            "image_sha256",
            "object_id",
            "phrase_number",
            "found_by",
            a="name",
            side=pl.when(is_left).then(pl.lit("left")).otherwise(pl.lit("right")),
            e_same_category="same_category",
            e_gap=clearance(""),
            e_mirror_gap=clearance("mirror_"),
            e_center_gap=pl.col("center").abs() / pl.col("image_width"),
            least_score="sure_score",
        )
        .filter(pl.col("e_gap") > 0)
        .pipe(seeded, TASK, "object_id")
    )


def _half(drafts: pl.LazyFrame) -> pl.LazyFrame:
    return (
        of_one_object(drafts)
        .with_columns(answer_kind=pl.lit("choice"), **either_side())
        .with_columns(answer="side", choices="side_options")
    )
