"""Near-far: which of two or several objects is nearest to the camera or farthest from it, and their order."""

import polars as pl

from forge_assets.candidate_qa.depth_pairs import agree, numbered_readings
from forge_assets.candidate_qa.evidence import OBJECT_EVIDENCE, evidence_of, models_of
from forge_assets.candidate_qa.identity import FORM_DIGIT, ORDER_DIGIT, blake3, draw, seeded
from forge_assets.candidate_qa.options import listed, yes_or_no
from forge_assets.candidate_qa.pairs import surest
from forge_assets.candidate_qa.sets import SET, described, object_sets

TASK = "near_far"
_CARRIED = (*OBJECT_EVIDENCE, "name", "bare", "detector")


def near_far(named: pl.LazyFrame, depths: pl.LazyFrame, most: int) -> list[pl.LazyFrame]:
    """Drafts of all forms: about pairs that at least one reading sets apart, and about sets of which all pairs are.

    Args:
        named: entities with names, as `naming.named` gives them.
        depths: as `depth_pairs.depth_pairs` gives them.
        most: pairs of a photo.
    """
    pairs = _pairs(named, depths, most).collect().lazy()
    is_a = pl.col("nearer_is_a") == (pl.col("form") == "nearer")
    one_of_two = pairs.with_columns(
        form=pl.when(draw("pair_seed", FORM_DIGIT, 2) == 0).then(pl.lit("nearer")).otherwise(pl.lit("farther"))
    ).with_columns(
        answer=pl.when(is_a).then("a").otherwise("b"),
        answer_kind=pl.lit("choice"),
        choices=pl.concat_list("a", "b"),
        answer_object_ids=pl.concat_list(pl.when(is_a).then("object_id_a").otherwise("object_id_b")),
    )
    nearer = pl.when("nearer_is_a").then("object_id_a").otherwise("object_id_b")
    in_front = pairs.with_columns(
        form=pl.lit("front_yes_no"),
        answer=yes_or_no(pl.col("nearer_is_a")),
        answer_kind=pl.lit("yes_no"),
        answer_object_ids=pl.concat_list(nearer),
    )
    compared = pairs.with_columns(
        form=pl.lit("compare"),
        answer_kind=pl.lit("text"),
        answer_object_ids=pl.concat_list(nearer),
        nearer=pl.when("nearer_is_a").then("a").otherwise("b"),
        farther=pl.when("nearer_is_a").then("b").otherwise("a"),
        nearer_bare=pl.when("nearer_is_a").then("bare_a").otherwise("bare_b"),
        farther_bare=pl.when("nearer_is_a").then("bare_b").otherwise("bare_a"),
    )
    return [one_of_two, in_front, compared, *_of_sets(named, depths)]


def _pairs(named: pl.LazyFrame, depths: pl.LazyFrame, most: int) -> pl.LazyFrame:
    """Each pair with its words; which is `a` and which is `b` is drawn by hash."""

    def of(side: str) -> pl.LazyFrame:
        return named.select(pl.col(name).alias(f"{name}{side}") for name in ("object_id", *_CARRIED))

    low, high = pl.min_horizontal("near_id", "far_id"), pl.max_horizontal("near_id", "far_id")
    low_is_a = draw("pair_seed", ORDER_DIGIT, 2) == 0
    return (
        depths.join(named.select("image_id", "image_sha256").unique(), on="image_id")
        .with_columns(pair_seed=blake3("image_sha256", pl.lit(TASK), low, high))
        .with_columns(
            object_id_a=pl.when(low_is_a).then(low).otherwise(high),
            object_id_b=pl.when(low_is_a).then(high).otherwise(low),
        )
        .join(of("_a"), on="object_id_a")
        .join(of("_b"), on="object_id_b")
        .filter(pl.col("name_a") != pl.col("name_b"))
        .with_columns(
            nearer_is_a=pl.col("object_id_a") == pl.col("near_id"),
            a="name_a",
            b="name_b",
            is_doubtful=~agree(),
            e_readings="readings",
            e_models=models_of("models", "detector_a", "detector_b"),
            **evidence_of("_a", "_b"),
        )
        .pipe(seeded, TASK)
        .filter(surest(most, "is_doubtful"))
        .drop("near_id", "far_id", "readings", "models", "agreement")
    )


def _of_sets(named: pl.LazyFrame, depths: pl.LazyFrame) -> list[pl.LazyFrame]:
    sets = object_sets(named, TASK, ("image_sha256", "name", "detector", *OBJECT_EVIDENCE)).collect().lazy()
    members = sets.select(*SET, "object_id", "position")
    pairs = (
        members.rename({"object_id": "near_id", "position": "near_position"})
        .join(depths, on=["image_id", "near_id"])
        .join(members.rename({"object_id": "far_id", "position": "far_position"}), on=[*SET, "far_id"])
        .with_columns(farther_ones=pl.len().over(*SET, "near_id"), nearer_ones=pl.len().over(*SET, "far_id"))
        .filter(pl.len().over(SET) == pl.col("size") * (pl.col("size") - 1) // 2)
        .collect()
        .lazy()
    )
    last = pl.col("size") - 1
    near_rank, far_rank = last - pl.col("farther_ones"), pl.col("nearer_ones")
    ordered = pl.col("farther_ones").unique().len().over(SET) == last
    needed = {
        "nearest_of": pairs.filter(pl.col("farther_ones") == last).with_columns(
            pair=pl.col("far_position"), answer_id="near_id"
        ),
        "farthest_of": pairs.filter(pl.col("nearer_ones") == last).with_columns(
            pair=pl.col("near_position"), answer_id="far_id"
        ),
        "order": pairs.filter(ordered & (far_rank - near_rank == 1)).with_columns(pair=near_rank, answer_id="near_id"),
    }
    words = described(sets).collect().lazy()
    choice_or_text = {"nearest_of": "choice", "farthest_of": "choice", "order": "text"}
    return [
        _of_form(form, choice_or_text[form], rows, words, named.select("object_id", answer_name="name"))
        for form, rows in needed.items()
    ]


def _of_form(
    form: str, answer_kind: str, needed: pl.LazyFrame, words: pl.LazyFrame, names: pl.LazyFrame
) -> pl.LazyFrame:
    """Drafts of one form, from the pairs that its answer rests on: `pair`, in the order of the answer."""
    dense = pl.col("pair").rank("dense").over(SET).cast(pl.Int32) - 1
    last_one = pl.col("far_id").last()
    answer_ids = pl.col("answer_id").unique(maintain_order=True)
    rests_on = (
        needed.with_columns(pair=dense)
        .pipe(numbered_readings)
        .sort(*SET, "pair", "reading")
        .group_by(*SET, maintain_order=True)
        .agg(
            e_readings="readings",
            models=pl.col("models").explode(empty_as_null=False).unique().sort(),
            is_doubtful=(~agree()).any(),
            answer_object_ids=answer_ids if form != "order" else pl.concat([answer_ids, last_one]),
        )
    )
    answers = (
        rests_on.select(*SET, "answer_object_ids")
        .explode("answer_object_ids")
        .join(names, left_on="answer_object_ids", right_on="object_id", maintain_order="left")
        .group_by(*SET, maintain_order=True)
        .agg(answer_names="answer_name")
    )
    is_choice = pl.lit(answer_kind == "choice")
    return (
        words.join(rests_on, on=SET)
        .join(answers, on=SET)
        .with_columns(
            form=pl.lit(form),
            answer_kind=pl.lit(answer_kind),
            answer=pl.when(is_choice).then(pl.col("answer_names").list.first()),
            choices=pl.when(is_choice).then("names"),
            in_order=pl.col("answer_names").list.join(", "),
            one_of=listed("names", "or"),
            all_of=listed("names", "and"),
            e_models=models_of("detectors", "models"),
        )
        .pipe(seeded, TASK)
    )
