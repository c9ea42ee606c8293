"""Near-far: which of two or several objects is nearest to the camera or farthest from it, and their order.

Far more can be asked of a photo than is: drafts are chosen by few columns first, and only those get the rest.
"""

import polars as pl

from forge_assets.candidate_qa.choosing import chosen, may_be_surest, most_matches, surest
from forge_assets.candidate_qa.depth_pairs import agree, numbered_readings
from forge_assets.candidate_qa.evidence import models_of, with_phrases
from forge_assets.candidate_qa.identity import FORM_DIGIT, ORDER_DIGIT, blake3, draw, seeded
from forge_assets.candidate_qa.options import listed, yes_or_no
from forge_assets.candidate_qa.sets import object_sets

TASK = "near_far"
_CARRIED = ("name", "bare")
_OF_SETS = {"nearest_of": "choice", "farthest_of": "choice", "order": "text"}
"""Forms about sets, with their kinds of answers."""
_CHOOSING = ("image_id", "form", "seed", "most_matches", "is_doubtful", "least_score")


def near_far(named: pl.LazyFrame, depths: pl.LazyFrame, most: int) -> list[pl.LazyFrame]:
    """Drafts of all forms: about pairs that at least one reading sets apart, and about sets of which all pairs are.

    Args:
        named: entities with names, as `naming.named` gives them.
        depths: as `depth_pairs.depth_pairs` gives them.
        most: drafts of a photo.
    """
    facts = named.select(
        "image_id",
        "image_sha256",
        "object_id",
        "name",
        least_score="sure_score",
        most_matches=most_matches("named_by"),
    )
    pairs = _pairs(facts, depths, most).collect().lazy()
    sets = object_sets(facts, TASK, ("image_sha256", "name", "least_score", "most_matches")).collect().lazy()
    compared = _compared(sets, depths).collect().lazy()
    rests_on = {form: _rests_on(form, compared).collect().lazy() for form in _OF_SETS}
    words = _words(sets).collect().lazy()
    kept = (
        pl.concat([*_forms_of_pairs(pairs), *_forms_of_sets(words, rests_on)], how="diagonal")
        .pipe(chosen, most)
        .select("form", "pair_number", "set_number")
        .collect()
        .lazy()
    )
    return [
        *_drafts_of_pairs(kept, pairs, named, depths),
        *(
            _drafts_of_sets(form, kept=kept, words=words, rests_on=rests_on[form], named=named, depths=depths)
            for form in _OF_SETS
        ),
    ]


def _pairs(facts: pl.LazyFrame, depths: pl.LazyFrame, most: int) -> pl.LazyFrame:
    """Each pair by its ids; which is `a` and which is `b` is drawn by hash."""

    def of(side: str) -> pl.LazyFrame:
        return facts.select("object_id", "name", "least_score", "most_matches").select(pl.all().name.suffix(side))

    low, high = pl.min_horizontal("near_id", "far_id"), pl.max_horizontal("near_id", "far_id")
    low_is_a = draw("pair_seed", ORDER_DIGIT, 2) == 0
    return (
        depths.select("image_id", "near_id", "far_id", is_doubtful=~agree())
        .join(of("_near"), left_on="near_id", right_on="object_id_near")
        .join(of("_far"), left_on="far_id", right_on="object_id_far")
        .filter(pl.col("name_near") != pl.col("name_far"))
        .with_columns(
            least_score=pl.min_horizontal("least_score_near", "least_score_far"),
            most_matches=pl.max_horizontal("most_matches_near", "most_matches_far"),
        )
        .filter(may_be_surest(most, "is_doubtful"))
        .join(facts.select("image_id", "image_sha256").unique(), on="image_id")
        .with_columns(pair_seed=blake3("image_sha256", pl.lit(TASK), low, high))
        .with_columns(
            object_id_a=pl.when(low_is_a).then(low).otherwise(high),
            object_id_b=pl.when(low_is_a).then(high).otherwise(low),
        )
        .with_columns(object_ids=pl.concat_list("object_id_a", "object_id_b"))
        .pipe(seeded, TASK)
        .filter(surest(most, "is_doubtful"))
        .with_row_index("pair_number")
        .with_columns(nearer_is_a=pl.col("object_id_a") == pl.col("near_id"))
    )


def _forms_of_pairs(pairs: pl.LazyFrame) -> list[pl.LazyFrame]:
    one_of_two = pl.when(draw("pair_seed", FORM_DIGIT, 2) == 0).then(pl.lit("nearer")).otherwise(pl.lit("farther"))
    return [
        pairs.with_columns(form=form).select(*_CHOOSING, "pair_number")
        for form in (one_of_two, pl.lit("front_yes_no"), pl.lit("compare"))
    ]


def _forms_of_sets(words: pl.LazyFrame, rests_on: dict[str, pl.LazyFrame]) -> list[pl.LazyFrame]:
    return [
        words.join(pairs.group_by("set_number").agg(is_doubtful=pl.col("is_doubtful").any()), on="set_number")
        .with_columns(form=pl.lit(form))
        .select(*_CHOOSING, "set_number")
        for form, pairs in rests_on.items()
    ]


def _drafts_of_pairs(
    kept: pl.LazyFrame, pairs: pl.LazyFrame, named: pl.LazyFrame, depths: pl.LazyFrame
) -> list[pl.LazyFrame]:
    def of(side: str) -> pl.LazyFrame:
        return named.select(pl.col(name).alias(f"{name}{side}") for name in ("object_id", *_CARRIED))

    nearer = pl.when("nearer_is_a").then("object_id_a").otherwise("object_id_b")
    told = (
        kept.join(pairs, on="pair_number")
        .join(depths.select("near_id", "far_id", "readings", "models"), on=["near_id", "far_id"])
        .join(of("_a"), on="object_id_a")
        .join(of("_b"), on="object_id_b")
        .with_columns(
            a="name_a",
            b="name_b",
            answer_object_ids=pl.concat_list(nearer),
            e_readings="readings",
        )
        .pipe(with_phrases, named)
        .with_columns(e_models=models_of("models", "detectors"))
        .collect()
        .lazy()
    )
    is_a = pl.col("nearer_is_a") == (pl.col("form") == "nearer")
    one_of_two = told.filter(pl.col("form").is_in(["nearer", "farther"])).with_columns(
        answer=pl.when(is_a).then("a").otherwise("b"),
        answer_kind=pl.lit("choice"),
        choices=pl.concat_list("a", "b"),
        answer_object_ids=pl.concat_list(pl.when(is_a).then("object_id_a").otherwise("object_id_b")),
    )
    in_front = told.filter(pl.col("form") == "front_yes_no").with_columns(
        answer=yes_or_no(pl.col("nearer_is_a")), answer_kind=pl.lit("yes_no")
    )
    compared = told.filter(pl.col("form") == "compare").with_columns(
        answer_kind=pl.lit("text"),
        nearer=pl.when("nearer_is_a").then("a").otherwise("b"),
        farther=pl.when("nearer_is_a").then("b").otherwise("a"),
        nearer_bare=pl.when("nearer_is_a").then("bare_a").otherwise("bare_b"),
        farther_bare=pl.when("nearer_is_a").then("bare_b").otherwise("bare_a"),
    )
    return [one_of_two, in_front, compared]


def _words(sets: pl.LazyFrame) -> pl.LazyFrame:
    """One row a set whose names differ, by what drafts are chosen."""
    return (
        sets.sort("set_number", "position")
        .group_by("set_number", maintain_order=True)
        .agg(
            pl.first("image_id", "image_sha256", "size"),
            pl.min("least_score"),
            pl.max("most_matches"),
            names="name",
            object_ids="object_id",
        )
        .filter(pl.col("names").list.n_unique() == pl.col("size"))
        .pipe(seeded, TASK)
    )


def _compared(sets: pl.LazyFrame, depths: pl.LazyFrame) -> pl.LazyFrame:
    """The pairs of each set of which depth sets all pairs apart."""
    members = sets.select("set_number", "size", "object_id", "position")
    set_of = pl.col("set_number")
    apart = depths.select("near_id", "far_id", is_doubtful=~agree())
    either_way = [
        apart.select("is_doubtful", one=one, other=other, is_nearer=pl.lit(one == "near_id"))
        for one, other in (("near_id", "far_id"), ("far_id", "near_id"))
    ]
    first_or_other = [
        pl.when("is_nearer").then(f"{name}{end}").otherwise(f"{name}{opposite}").alias(f"{side}_{short}")
        for side, end, opposite in (("near", "", "_right"), ("far", "_right", ""))
        for name, short in (("object_id", "id"), ("position", "position"))
    ]
    return (
        members.join(members.drop("size"), on="set_number")
        .filter(pl.col("position") < pl.col("position_right"))
        .join(pl.concat(either_way), left_on=["object_id", "object_id_right"], right_on=["one", "other"])
        .filter(pl.len().over(set_of) == pl.col("size") * (pl.col("size") - 1) // 2)
        .select("set_number", "size", "is_doubtful", *first_or_other)
        .with_columns(
            farther_ones=pl.len().over("set_number", "near_position"),
            nearer_ones=pl.len().over("set_number", "far_position"),
        )
    )


def _rests_on(form: str, compared: pl.LazyFrame) -> pl.LazyFrame:
    """The pairs that the answers of a form rest on: `pair`, from 0, in the order of the answer, and `answer_id`."""
    last = pl.col("size") - 1
    near_rank, far_rank = last - pl.col("farther_ones"), pl.col("nearer_ones")
    if form == "nearest_of":
        needed = compared.filter(pl.col("farther_ones") == last).with_columns(pair="far_position", answer_id="near_id")
    elif form == "farthest_of":
        needed = compared.filter(pl.col("nearer_ones") == last).with_columns(pair="near_position", answer_id="far_id")
    else:
        ordered = pl.col("farther_ones").n_unique().over("set_number") == last
        needed = compared.filter(ordered & (far_rank - near_rank == 1)).with_columns(
            pair=near_rank.cast(pl.Int32), answer_id="near_id"
        )
    return needed.with_columns(pair=pl.col("pair").rank("dense").over("set_number").cast(pl.Int32) - 1)


def _drafts_of_sets(
    form: str,
    *,
    kept: pl.LazyFrame,
    words: pl.LazyFrame,
    rests_on: pl.LazyFrame,
    named: pl.LazyFrame,
    depths: pl.LazyFrame,
) -> pl.LazyFrame:
    drafts = kept.filter(pl.col("form") == form).select("form", "set_number")
    last_one = pl.col("far_id").last()
    answer_ids = pl.col("answer_id").unique(maintain_order=True)
    readings = (
        rests_on.join(drafts, on="set_number", how="semi")
        .join(depths.select("near_id", "far_id", "readings", "models"), on=["near_id", "far_id"])
        .pipe(numbered_readings)
        .sort("set_number", "pair", "reading")
        .group_by("set_number", maintain_order=True)
        .agg(
            e_readings="readings",
            models=pl.col("models").explode(empty_as_null=False).unique().sort(),
            is_doubtful=pl.col("is_doubtful").any(),
            answer_object_ids=answer_ids if form != "order" else pl.concat([answer_ids, last_one]),
        )
        .collect()
        .lazy()
    )
    answers = (
        readings.select("set_number", "answer_object_ids")
        .explode("answer_object_ids")
        .join(
            named.select("object_id", answer_name="name"),
            left_on="answer_object_ids",
            right_on="object_id",
            maintain_order="left",
        )
        .group_by("set_number", maintain_order=True)
        .agg(answer_names="answer_name")
    )
    is_choice = pl.lit(_OF_SETS[form] == "choice")
    return (
        drafts.join(words, on="set_number")
        .pipe(with_phrases, named)
        .join(readings, on="set_number")
        .join(answers, on="set_number")
        .with_columns(
            answer_kind=pl.lit(_OF_SETS[form]),
            answer=pl.when(is_choice).then(pl.col("answer_names").list.first()),
            choices=pl.when(is_choice).then("names"),
            in_order=pl.col("answer_names").list.join(", "),
            one_of=listed("names", "or"),
            all_of=listed("names", "and"),
            e_models=models_of("detectors", "models"),
        )
    )
