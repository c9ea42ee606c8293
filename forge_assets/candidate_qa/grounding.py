"""Grounding: a phrase, or a class, to boxes; and whether a box is what a phrase says."""

import polars as pl

from forge_assets.candidate_qa.identity import seeded
from forge_assets.candidate_qa.options import MAX_WRONG, distractors, is_true, listed, rotated, with_others, yes_or_no
from forge_assets.candidate_qa.phrases import CLASS
from forge_assets.candidate_qa.whole_class import box_item, colored_classes

TASK = "grounding"


def grounding(
    entities: pl.LazyFrame, phrases: pl.LazyFrame, named: pl.LazyFrame, classes: pl.LazyFrame, colors: pl.LazyFrame
) -> list[pl.LazyFrame]:
    """Drafts of all forms.

    Answers are JSON lists of `{"bbox_2d": [x1, y1, x2, y2], "label": ...}`, left to right.

    Args:
        entities: as `entities.entities` gives them.
        phrases: as `phrases.phrases` gives them.
        named: entities with clear names, as `naming.named` gives them.
        classes: as `whole_class.whole_classes` gives them.
        colors: as `phrases.color_facts` gives them.
    """
    wrong = distractors(named, entities).collect().lazy()
    return [
        _one(entities, phrases),
        _every(classes),
        _every_colored(classes, colors),
        _which_box(named, entities, wrong),
        claims(named, entities, wrong, TASK, "box_yes_no"),
    ]


def phrased(entities: pl.LazyFrame, phrases: pl.LazyFrame) -> pl.LazyFrame:
    """Each object with each of its phrases, clear or not; `variant` tells other phrases from the class name."""
    return entities.drop("named_by").join(
        phrases.select(
            "object_id",
            "bare",
            "text",
            variant=pl.when(pl.col("kind") != CLASS).then("text"),
            named_by=pl.concat_list("phrase"),
        ),
        on="object_id",
    )


def _one(entities: pl.LazyFrame, phrases: pl.LazyFrame) -> pl.LazyFrame:
    return (
        phrased(entities, phrases)
        .with_columns(
            form=pl.lit("one"),
            phrase="text",
            answer=pl.format("[{}]", box_item()),
            answer_kind=pl.lit("bbox"),
            answer_object_ids=pl.concat_list("object_id"),
            object_ids=pl.concat_list("object_id"),
            least_score="sure_score",
            e_phrases="named_by",
            e_models="detector",
        )
        .pipe(seeded, TASK)
    )


def _every(classes: pl.LazyFrame) -> pl.LazyFrame:
    return (
        classes.filter(pl.col("number") > 1)
        .with_columns(
            form=pl.lit("every"),
            answer=pl.format("[{}]", pl.col("items").list.join(", ")),
            answer_kind=pl.lit("bbox"),
            answer_object_ids="object_ids",
        )
        .pipe(seeded, TASK)
    )


def _every_colored(classes: pl.LazyFrame, colors: pl.LazyFrame) -> pl.LazyFrame:
    return (
        colored_classes(classes, colors)
        .filter(pl.col("answer_object_ids").list.len() > 1)
        .with_columns(
            form=pl.lit("every_colored"),
            answer=pl.format("[{}]", pl.col("answer_items").list.join(", ")),
            answer_kind=pl.lit("bbox"),
        )
        .pipe(seeded, TASK)
    )


def _which_box(named: pl.LazyFrame, entities: pl.LazyFrame, wrong: pl.LazyFrame) -> pl.LazyFrame:
    regions = (
        with_others(wrong, entities.select("object_id", "region"))
        .group_by("object_id")
        .agg(wrong=pl.col("region_other").sort_by("place"))
    )
    return (
        named.join(regions, on="object_id")
        .with_columns(
            form=pl.lit("which_box"),
            phrase="name",
            answer="region",
            answer_kind=pl.lit("choice"),
            answer_object_ids=pl.concat_list("object_id"),
            all_options=pl.concat_list("region", pl.col("wrong").list.head(MAX_WRONG)).list.unique(maintain_order=True),
            object_ids=pl.concat_list("object_id"),
            least_score="sure_score",
            e_phrases="named_by",
            e_models="detector",
        )
        .filter(pl.col("all_options").list.len() > 1)
        .pipe(seeded, TASK)
        .with_columns(choices=rotated("all_options"))
        .with_columns(options=listed("choices", "or"))
    )


def claims(claimed: pl.LazyFrame, shown: pl.LazyFrame, wrong: pl.LazyFrame, task: str, form: str) -> pl.LazyFrame:
    """Whether a box shows what a phrase says, half of them true; only of objects that have another to mistake them for.

    Args:
        claimed: objects with clear names.
        shown: objects with boxes.
        wrong: the `distractors` of the claimed among the shown.
        task: that asks.
        form: of the question.

    Returns:
        Drafts: those that are true name one object, others the one whose box is shown and the one whose phrase is
        claimed; `phrase` and `region` as shown.
    """
    other = with_others(wrong.filter(pl.col("place") == 1), shown.select("object_id", "region", "sure_score"))
    own, least_of_both = pl.concat_list("object_id"), pl.min_horizontal("sure_score", "sure_score_other")
    return (
        claimed.join(other, on="object_id")
        .with_columns(object_ids=own)
        .pipe(seeded, task)
        .with_columns(truth=is_true())
        .with_columns(
            form=pl.lit(form),
            phrase="name",
            region=pl.when("truth").then("region").otherwise("region_other"),
            answer=yes_or_no(pl.col("truth")),
            answer_kind=pl.lit("yes_no"),
            answer_object_ids=pl.when("truth").then(own).otherwise(pl.concat_list("object_id_other")),
            object_ids=pl.when("truth").then(own).otherwise(pl.concat_list("object_id_other", "object_id")),
            least_score=pl.when("truth").then("sure_score").otherwise(least_of_both),
            e_phrases="named_by",
            e_models="detector",
        )
    )
