"""Referring: a box to the phrase that fits its object alone; and whether a phrase is what a box shows."""

import polars as pl

from forge_assets.candidate_qa.grounding import claims, phrased
from forge_assets.candidate_qa.identity import seeded
from forge_assets.candidate_qa.options import distractors, listed, rotated, with_others

TASK = "referring"


def referring(entities: pl.LazyFrame, phrases: pl.LazyFrame, named: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Drafts of all forms.

    Args:
        entities: as `entities.entities` gives them.
        phrases: as `phrases.phrases` gives them.
        named: entities with clear names, as `naming.named` gives them.
    """
    wrong = distractors(named, named).collect().lazy()
    return [
        _region(entities, phrases),
        _which_phrase(named, wrong),
        claims(named, named, wrong, TASK, "phrase_yes_no"),
    ]


def _region(entities: pl.LazyFrame, phrases: pl.LazyFrame) -> pl.LazyFrame:
    return (
        phrased(entities, phrases)
        .with_columns(
            form=pl.lit("region"),
            answer_kind=pl.lit("text"),
            answer_object_ids=pl.concat_list("object_id"),
            e_same_category="same_category",
            object_ids=pl.concat_list("object_id"),
            least_score="sure_score",
            e_phrases="named_by",
            e_models="detector",
        )
        .pipe(seeded, TASK)
    )


def _which_phrase(named: pl.LazyFrame, wrong: pl.LazyFrame) -> pl.LazyFrame:
    """The wrong options are clear phrases of other objects, so they fit those alone."""
    phrases = (
        with_others(wrong, named.select("object_id", "name", "named_by"))
        .group_by("object_id")
        .agg(
            wrong=pl.col("name_other").sort_by("place"),
            wrong_phrases=pl.col("named_by_other").sort_by("place").explode(empty_as_null=False),
        )
    )
    return (
        named.join(phrases, on="object_id")
        .with_columns(
            form=pl.lit("which_phrase"),
            answer="name",
            answer_kind=pl.lit("choice"),
            answer_object_ids=pl.concat_list("object_id"),
            all_options=pl.concat_list("name", "wrong"),
            object_ids=pl.concat_list("object_id"),
            least_score="sure_score",
            e_phrases="named_by",
            e_models="detector",
        )
        .filter(pl.col("all_options").list.n_unique() == pl.col("all_options").list.len())
        .pipe(seeded, TASK)
        .with_columns(choices=rotated("all_options"), e_phrases=pl.concat_list("e_phrases", "wrong_phrases"))
        .with_columns(options=listed("choices", "or"))
    )
