"""All objects of a class in a photo, as grounding and counting ask for them."""

from typing import NamedTuple

import polars as pl

from forge_assets.candidate_qa.lists import joined_list
from forge_assets.candidate_qa.phrases import COLOR
from forge_assets.tables import PHRASE

CLASS_OF_PHOTO = ("image_id", "category")


class Classes(NamedTuple):
    """The classes of photos, as grounding and counting read them."""

    members: pl.LazyFrame
    """As `class_members` gives them."""
    whole: pl.LazyFrame
    """As `whole_classes` gives them."""
    colored: pl.LazyFrame
    """As `colored_classes` gives them, with `phrase_number`."""


def box_item() -> pl.Expr:
    """An object of `entities` as an answer's JSON has it: `{"bbox_2d": [x1, y1, x2, y2], "label": ...}`."""
    return pl.concat_str(
        pl.lit('{"bbox_2d": '),
        "region",
        pl.lit(', "label": "'),
        pl.col("category").str.replace_all('"', "'"),
        pl.lit('"}'),
    )


def class_members(entities: pl.LazyFrame, min_score: float) -> pl.LazyFrame:
    """The objects of each photo and class, from left to right.

    Args:
        entities: as `entities.entities` gives them.
        min_score: detector's score from which an object belongs to its class.
    """
    return entities.filter(pl.col("sure_score") >= min_score).sort(*CLASS_OF_PHOTO, "x1", "object_id")


def whole_classes(members: pl.LazyFrame) -> pl.LazyFrame:
    """One row a photo and class.

    Args:
        members: as `class_members` gives them.

    Returns:
        image_id, category, image_sha256, singular, plural, counts, `number` of objects, their `least_score`, their
        `object_ids` from left to right, and the `models` that found them.
    """
    of_class = members.group_by(CLASS_OF_PHOTO, maintain_order=True).agg(
        pl.first("image_sha256", "singular", "plural"),
        pl.col("object_id").alias("object_ids"),
        e_count_strict=pl.first("count_strict"),
        e_count_loose=pl.first("count_loose"),
        e_count_mirror=pl.first("count_mirror"),
        e_count_human=pl.first("count_human"),
        number=pl.len().cast(pl.Int32),
        least_score=pl.min("sure_score"),
        models="found_by",
    )
    return of_class.with_columns(models=joined_list(pl.col("models")))


def colored_classes(members: pl.LazyFrame, classes: pl.LazyFrame, colors: pl.LazyFrame) -> pl.LazyFrame:
    """One row a photo, class of several objects and colour that one of them has.

    Args:
        members: as `class_members` gives them.
        classes: as `whole_classes` gives them.
        colors: as `phrases.color_facts` gives them.

    Returns:
        The rows of `classes` with `color`, the `answer_object_ids` of the objects that have it, the `phrase` that these
        share (of what may be there it fits `matches` less theirs, plus one), and `is_unclear`, if it may fit more.
    """
    phrase = pl.struct(
        pl.col("answer_object_ids").list.first().alias("object_id"),
        pl.lit(COLOR).alias("kind"),
        pl.format("{} {}", "color", "plural").alias("text"),
        pl.col("class_color_share").cast(pl.Float64).alias("value"),
        (pl.col("color_matches") - pl.col("answer_object_ids").list.len().cast(pl.Int32) + 1)
        .cast(pl.Int32)
        .alias("matches"),
        pl.lit(None, dtype=pl.Int32).alias("count_spread"),
    )
    with_color = (
        members.filter(pl.col("color").is_not_null())
        .group_by(*CLASS_OF_PHOTO, "color", maintain_order=True)
        .agg(answer_object_ids="object_id")
    )
    return (
        classes.filter(pl.col("number") > 1)
        .join(with_color, on=CLASS_OF_PHOTO)
        .join(colors, on=[*CLASS_OF_PHOTO, "color"])
        .with_columns(phrase=phrase.cast(PHRASE))
        .with_columns(is_unclear=pl.col("phrase").struct.field("matches") > 1)
    )
