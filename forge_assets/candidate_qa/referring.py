"""Referring: a box to the phrase that fits its object alone; and whether a phrase is what a box shows."""

import polars as pl

from forge_assets.candidate_qa.choosing import Form
from forge_assets.candidate_qa.grounding import claims, of_one_object, phrased
from forge_assets.candidate_qa.identity import seeded
from forge_assets.candidate_qa.options import distractors, listed, rotated
from forge_assets.in_memory import computed

TASK = "referring"


def referring(entities: pl.LazyFrame, phrases: pl.LazyFrame, named: pl.LazyFrame) -> list[Form]:
    """All forms.

    Args:
        entities: as `entities.entities` gives them.
        phrases: as `phrases.phrases` gives them, with `phrase_number`.
        named: entities with clear names, as `naming.named` gives them.
    """
    wrong = distractors(named, named).pipe(computed)
    return [
        _region(entities, phrases),
        _which_phrase(named, wrong),
        claims(named, named, wrong, TASK, "phrase_yes_no"),
    ]


def _region(entities: pl.LazyFrame, phrases: pl.LazyFrame) -> Form:
    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        of_object = entities.select("object_id", "category", "region", "found_by", e_same_category="same_category")
        return (
            drafts.join(phrases.select("phrase_number", "bare"), on="phrase_number")
            .join(of_object, on="object_id")
            .pipe(of_one_object)
            .with_columns(answer_kind=pl.lit("text"))
        )

    return Form(TASK, "region", phrased(entities, phrases, TASK), told)


def _which_phrase(named: pl.LazyFrame, wrong: pl.LazyFrame) -> Form:
    """The wrong options are clear phrases of other objects, so they fit those alone."""
    other = named.select(object_id_other="object_id", name_other="name", phrase_other="phrase_number")
    phrases = (
        wrong.join(other, on="object_id_other")
        .sort("object_id", "place")
        .group_by("object_id", maintain_order=True)
        .agg(wrong="name_other", wrong_phrases="phrase_other")
    )
    drafts = (
        named.join(phrases, on="object_id")
        .with_columns(all_options=pl.concat_list("name", "wrong"))
        .filter(pl.col("all_options").list.n_unique() == pl.col("all_options").list.len())
        .pipe(seeded, TASK, "object_id")
        .with_columns(least_score="sure_score")
    )

    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return (
            of_one_object(drafts)
            .with_columns(
                answer="name",
                answer_kind=pl.lit("choice"),
                choices=rotated("all_options"),
                phrase_numbers=pl.concat_list("phrase_number", "wrong_phrases"),
            )
            .with_columns(options=listed("choices", "or"))
        )

    return Form(TASK, "which_phrase", drafts, told)
