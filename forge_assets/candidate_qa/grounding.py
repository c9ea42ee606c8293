"""Grounding: a phrase, or a class, to boxes; and whether a box is what a phrase says."""

import polars as pl

from forge_assets.candidate_qa.choosing import Form
from forge_assets.candidate_qa.identity import seeded
from forge_assets.candidate_qa.lists import list_of, looked_up, texts_of
from forge_assets.candidate_qa.options import MAX_WRONG, distractors, is_true, listed, rotated, yes_or_no
from forge_assets.candidate_qa.phrases import CLASS
from forge_assets.candidate_qa.whole_class import Classes, box_item
from forge_assets.in_memory import collected, computed

TASK = "grounding"


def grounding(entities: pl.LazyFrame, phrases: pl.LazyFrame, named: pl.LazyFrame, classes: Classes) -> list[Form]:
    """All forms.

    Answers are JSON lists of `{"bbox_2d": [x1, y1, x2, y2], "label": ...}`, left to right.

    Args:
        entities: as `entities.entities` gives them.
        phrases: as `phrases.phrases` gives them, with `phrase_number`.
        named: entities with clear names, as `naming.named` gives them.
        classes: of the photos.
    """
    wrong = distractors(named, entities).pipe(computed)
    items = classes.members.select("object_id", item=box_item()).pipe(collected)
    return [
        _one(entities, phrases),
        _every(classes.whole, items),
        _every_colored(classes.colored, items),
        _which_box(named, entities, wrong),
        claims(named, entities, wrong, TASK, "box_yes_no"),
    ]


def phrased(entities: pl.LazyFrame, phrases: pl.LazyFrame, task: str) -> pl.LazyFrame:
    """Drafts about each object with each of its phrases, clear or not."""
    variant = pl.when(pl.col("kind") != CLASS).then("text")
    said = phrases.select("object_id", "phrase_number", variant=variant, is_unclear=pl.col("matches") > 1)
    return (
        entities.select("image_id", "image_sha256", "object_id", least_score="sure_score")
        .join(said, on="object_id")
        .pipe(seeded, task, "object_id", variant="variant")
        .drop("variant")
    )


def of_one_object(drafts: pl.LazyFrame) -> pl.LazyFrame:
    """What drafts about one object have in common: its id, its phrase and what found it."""
    return drafts.with_columns(
        object_ids=list_of("object_id"),
        answer_object_ids=list_of("object_id"),
        phrase_numbers=list_of("phrase_number"),
        models="found_by",
    )


def _one(entities: pl.LazyFrame, phrases: pl.LazyFrame) -> Form:
    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return (
            drafts.join(phrases.select("phrase_number", phrase="text"), on="phrase_number")
            .join(entities.select("object_id", "category", "region", "found_by"), on="object_id")
            .pipe(of_one_object)
            .with_columns(answer=pl.format("[{}]", box_item()), answer_kind=pl.lit("bbox"))
        )

    return Form(TASK, "one", phrased(entities, phrases, TASK), told)


def _boxes(ids: str, items: pl.DataFrame) -> pl.Expr:
    """The JSON list of objects' boxes."""
    return pl.format("[{}]", looked_up(ids, items, "object_id", "item").list.join(", "))


def _every(classes: pl.LazyFrame, items: pl.DataFrame) -> Form:
    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return drafts.with_columns(
            answer=_boxes("object_ids", items), answer_kind=pl.lit("bbox"), answer_object_ids="object_ids"
        )

    several = classes.filter(pl.col("number") > 1)
    return Form(TASK, "every", several.pipe(seeded, TASK, texts_of("object_ids")), told)


def _every_colored(colored: pl.LazyFrame, items: pl.DataFrame) -> Form:
    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return drafts.with_columns(
            answer=_boxes("answer_object_ids", items),
            answer_kind=pl.lit("bbox"),
            phrase_numbers=list_of("phrase_number"),
        )

    several = colored.filter(pl.col("answer_object_ids").list.len() > 1)
    return Form(TASK, "every_colored", several.pipe(seeded, TASK, texts_of("object_ids"), variant="color"), told)


def _which_box(named: pl.LazyFrame, entities: pl.LazyFrame, wrong: pl.LazyFrame) -> Form:
    regions = (
        wrong.join(entities.select(object_id_other="object_id", region_other="region"), on="object_id_other")
        .sort("object_id", "place")
        .group_by("object_id", maintain_order=True)
        .agg(wrong="region_other")
    )
    drafts = (
        named.join(regions, on="object_id")
        .with_columns(
            all_options=pl.concat_list("region", pl.col("wrong").list.head(MAX_WRONG)).list.unique(maintain_order=True)
        )
        .filter(pl.col("all_options").list.len() > 1)
        .pipe(seeded, TASK, "object_id")
        .with_columns(least_score="sure_score")
    )

    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return (
            of_one_object(drafts)
            .with_columns(phrase="name", answer="region", answer_kind=pl.lit("choice"), choices=rotated("all_options"))
            .with_columns(options=listed("choices", "or"))
        )

    return Form(TASK, "which_box", drafts, told)


def claims(claimed: pl.LazyFrame, shown: pl.LazyFrame, wrong: pl.LazyFrame, task: str, form: str) -> Form:
    """Whether a box shows what a phrase says, half of them true; only of objects that have another to mistake them for.

    Those that are true name one object, others the one whose box is shown and the one whose phrase is claimed.

    Args:
        claimed: objects with clear names.
        shown: objects with boxes.
        wrong: the `distractors` of the claimed among the shown.
        task: that asks.
        form: of the question.
    """
    other = shown.select(object_id_other="object_id", region_other="region", score_other="sure_score")
    least_of_both = pl.min_horizontal("sure_score", "score_other")
    drafts = (
        claimed.join(wrong.filter(pl.col("place") == 0), on="object_id")
        .join(other, on="object_id_other")
        .pipe(seeded, task, "object_id")
        .with_columns(truth=is_true())
        .with_columns(least_score=pl.when("truth").then("sure_score").otherwise(least_of_both))
    )

    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        return of_one_object(drafts).with_columns(
            phrase="name",
            region=pl.when("truth").then("region").otherwise("region_other"),
            answer=yes_or_no(pl.col("truth")),
            answer_kind=pl.lit("yes_no"),
            answer_object_ids=pl.when("truth").then("object_ids").otherwise(list_of("object_id_other")),
            object_ids=pl.when("truth").then("object_ids").otherwise(list_of("object_id_other", "object_id")),
        )

    return Form(task, form, drafts, told)
