"""Near-far: which of two or several objects is nearest to the camera or farthest from it, and their order."""

from itertools import combinations
from typing import Final

import polars as pl

from forge_assets.candidate_qa.choosing import Form, placed, surest
from forge_assets.candidate_qa.depth_pairs import agree, numbered_readings, with_readings
from forge_assets.candidate_qa.identity import FORM_DIGIT, draw, seeded
from forge_assets.candidate_qa.left_right import SAID_OF_SET, of_set, of_two_objects
from forge_assets.candidate_qa.lists import joined, joined_list, list_of
from forge_assets.candidate_qa.options import listed, yes_or_no
from forge_assets.candidate_qa.pairs import a_and_b
from forge_assets.candidate_qa.sets import POSITIONS, at_positions, object_sets
from forge_assets.in_memory import computed

TASK = "near_far"
_OF_SETS: Final = {"nearest_of": "choice", "farthest_of": "choice", "order": "text"}
"""Forms about sets, with their kinds of answers."""


def near_far(named: pl.LazyFrame, depths: pl.LazyFrame, most: int) -> list[Form]:
    """All forms: about pairs that at least one reading sets apart, and about sets of which all pairs are.

    Args:
        named: entities with names, as `naming.named` gives them.
        depths: as `depth_pairs.depth_pairs` gives them.
        most: drafts of a photo.
    """
    return [*_of_pairs(named, depths, most), *_of_sets(named, depths)]


def _of_pairs(named: pl.LazyFrame, depths: pl.LazyFrame, most: int) -> list[Form]:
    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return (
            drafts.pipe(with_readings, depths)
            .pipe(of_two_objects, named, named)
            .with_columns(
                answer_object_ids=list_of("near_id"),
                nearer=pl.when("nearer_is_a").then("a").otherwise("b"),
                farther=pl.when("nearer_is_a").then("b").otherwise("a"),
                models=joined("models", "depth_models"),
            )
        )

    def one_of_two(drafts: pl.LazyFrame, answer: str) -> pl.LazyFrame:
        return told(drafts).with_columns(answer=pl.col(answer), answer_kind=pl.lit("choice"), choices=list_of("a", "b"))

    def nearer(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return one_of_two(drafts, "nearer")

    def farther(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return one_of_two(drafts, "farther").with_columns(answer_object_ids=list_of("far_id"))

    def in_front(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return told(drafts).with_columns(answer=yes_or_no(pl.col("nearer_is_a")), answer_kind=pl.lit("yes_no"))

    def compared(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return told(drafts).with_columns(answer_kind=pl.lit("text"))

    pairs = _pairs(named, depths, most).pipe(computed)
    asks_nearer = draw("pair_seed", FORM_DIGIT, 2) == 0
    return [
        Form(TASK, "nearer", pairs.filter(asks_nearer), nearer),
        Form(TASK, "farther", pairs.filter(~asks_nearer), farther),
        Form(TASK, "front_yes_no", pairs, in_front),
        Form(TASK, "compare", pairs, compared),
    ]


def _pairs(named: pl.LazyFrame, depths: pl.LazyFrame, most: int) -> pl.LazyFrame:
    def of(side: str) -> pl.LazyFrame:
        return named.select(pl.col("object_id", "name", "sure_score").name.suffix(f"_{side}"))

    return (
        depths.select(
            "depth_pair",
            "image_id",
            "near_id",
            "far_id",
            object_id_low="low_id",
            object_id_high="high_id",
            is_doubtful=~agree(),
        )
        .join(of("low"), on="object_id_low")
        .join(of("high"), on="object_id_high")
        .filter(pl.col("name_low") != pl.col("name_high"))
        .with_columns(least_score=pl.min_horizontal("sure_score_low", "sure_score_high"))
        .filter(_may_be_surest(most))
        .drop("name_low", "name_high", "sure_score_low", "sure_score_high")
        .join(named.select("image_id", "image_sha256").unique("image_id"), on="image_id")
        .pipe(a_and_b, TASK)
        .pipe(seeded, TASK, "object_id_a", "object_id_b")
        .pipe(surest, most, "is_doubtful")
        .with_columns(nearer_is_a=pl.col("object_id_a") == pl.col("near_id"))
    )


def _may_be_surest(most: int) -> pl.Expr:
    """What `surest` leaves at most, whatever the seeds: asked before these are made."""
    sureness = pl.col("least_score") - 2 * pl.col("is_doubtful").cast(pl.Float64)
    return sureness >= sureness.top_k(most).min().over("image_id")


def _of_sets(named: pl.LazyFrame, depths: pl.LazyFrame) -> list[Form]:
    sets = object_sets(named, TASK, SAID_OF_SET).with_row_index("set_number").pipe(computed)
    compared = _compared(sets, depths).pipe(computed)

    drafted = ("image_id", "image_sha256", "least_score")
    seeded_sets = (
        sets.join(compared, on="set_number", how="semi")
        .pipe(seeded, TASK, *at_positions("object_id"))
        .select("set_number", *drafted, "asked", "seed")
        .pipe(computed)
    )

    def form(name: str) -> Form:
        def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
            return _told_set(name, drafts.join(sets.drop(drafted), on="set_number"), compared, depths)

        doubts = _rests_on(name, compared).group_by("set_number").agg(pl.col("is_doubtful").any())
        return Form(TASK, name, seeded_sets.join(doubts, on="set_number"), told)

    return [form(name) for name in _OF_SETS]


def _compared(sets: pl.LazyFrame, depths: pl.LazyFrame) -> pl.LazyFrame:
    """The pairs of each set of which depth sets all pairs apart, with the positions of both objects in the set."""
    apart = depths.select("depth_pair", "low_id", "high_id", "near_id", is_doubtful=~agree())
    set_of = pl.col("set_number")

    def pairs(one: int, other: int) -> pl.LazyFrame:
        first, second = pl.col(f"object_id_{one}"), pl.col(f"object_id_{other}")
        return sets.filter(second.is_not_null()).select(
            "set_number",
            "size",
            low_id=pl.when(first < second).then(first).otherwise(second),
            high_id=pl.when(first < second).then(second).otherwise(first),
            first_id=first,
            first=pl.lit(one, dtype=pl.Int32),
            second=pl.lit(other, dtype=pl.Int32),
        )

    is_first_nearer = pl.col("first_id") == pl.col("near_id")
    return (
        pl.concat(pairs(one, other) for one, other in combinations(POSITIONS, 2))
        .join(apart, on=["low_id", "high_id"])
        .filter(pl.len().over(set_of) == pl.col("size") * (pl.col("size") - 1) // 2)
        .select(
            "set_number",
            "size",
            "depth_pair",
            "is_doubtful",
            near_position=pl.when(is_first_nearer).then("first").otherwise("second"),
            far_position=pl.when(is_first_nearer).then("second").otherwise("first"),
        )
        .with_columns(
            farther_ones=pl.len().over("set_number", "near_position").cast(pl.Int32),
            nearer_ones=pl.len().over("set_number", "far_position").cast(pl.Int32),
        )
    )


def _rests_on(form: str, compared: pl.LazyFrame) -> pl.LazyFrame:
    """The pairs that the answers of a form rest on, with `pair`, in the order of the answer, and `answer_position`."""
    last = pl.col("size") - 1
    near_rank, far_rank = last - pl.col("farther_ones"), pl.col("nearer_ones")
    if form == "nearest_of":
        nearest = compared.filter(pl.col("farther_ones") == last)
        return nearest.with_columns(pair="far_position", answer_position="near_position")
    if form == "farthest_of":
        farthest = compared.filter(pl.col("nearer_ones") == last)
        return farthest.with_columns(pair="near_position", answer_position="far_position")
    ordered = pl.col("farther_ones").n_unique().over("set_number") == last
    neighbors = compared.filter(ordered & (far_rank - near_rank == 1))
    return neighbors.with_columns(pair=near_rank, answer_position="near_position")


def _told_set(form: str, drafts: pl.LazyFrame, compared: pl.LazyFrame, depths: pl.LazyFrame) -> pl.LazyFrame:
    of_drafts = compared.join(drafts.select("set_number"), on="set_number", how="semi")
    rests_on = (
        _rests_on(form, of_drafts)
        .pipe(placed, "set_number", ["pair"])
        .with_columns(pair="place")
        .pipe(with_readings, depths)
        .sort("set_number", "pair")
        .pipe(computed)
    )
    readings = rests_on.pipe(numbered_readings).group_by("set_number", maintain_order=True).agg("e_readings")
    positions = pl.col("answer_position")
    answers = rests_on.group_by("set_number", maintain_order=True).agg(
        "depth_models",
        answer_positions=pl.concat([positions, pl.col("far_position").last()])
        if form == "order"
        else positions.head(1),
    )
    is_choice = pl.lit(_OF_SETS[form] == "choice")
    return (
        of_set(drafts)
        .join(readings, on="set_number")
        .join(answers, on="set_number")
        .with_columns(
            answer_object_ids=pl.col("object_ids").list.gather(pl.col("answer_positions")),
            answer_names=pl.col("names").list.gather(pl.col("answer_positions")),
            depth_models=joined_list(pl.col("depth_models")),
        )
        .with_columns(
            answer_kind=pl.lit(_OF_SETS[form]),
            answer=pl.when(is_choice).then(pl.col("answer_names").list.first()),
            choices=pl.when(is_choice).then("names"),
            in_order=pl.col("answer_names").list.join(", "),
            one_of=listed("names", "or"),
            all_of=listed("names", "and"),
            models=joined("models", "depth_models"),
        )
    )
