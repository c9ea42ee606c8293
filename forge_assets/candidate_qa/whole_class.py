"""All objects of a class in a photo, as grounding and counting ask for them."""

import polars as pl

from forge_assets.candidate_qa.phrases import COLOR
from forge_assets.tables import PHRASE


def box_item() -> pl.Expr:
    """An object of `entities` as an answer's JSON has it: `{"bbox_2d": [x1, y1, x2, y2], "label": ...}`."""
    return pl.concat_str(
        pl.lit('{"bbox_2d": '),
        "region",
        pl.lit(', "label": "'),
        pl.col("category").str.replace_all('"', "'"),
        pl.lit('"}'),
    )


def whole_classes(entities: pl.LazyFrame, min_score: float) -> pl.LazyFrame:
    """One row a photo and class, its objects in lists from left to right.

    Args:
        entities: as `entities.entities` gives them.
        min_score: detector's score from which an object belongs to its class.

    Returns:
        image_id, category, image_sha256, singular, plural, the lists of evidence, counts, `number` of objects and, as
        lists, their JSON `items`, their `colors`, and left, right, mirror_left, mirror_right: sides right of the
        photo's middle, as shares of its width; a box that a person drew needs no mirror.
    """
    left_to_right = ("x1", "object_id")
    width, is_human = pl.col("image_width"), pl.col("origin") == "human"
    sides = {
        "left": pl.col("x1"),
        "right": pl.col("x2"),
        "mirror_left": pl.when(is_human).then("x1").otherwise("mirror_x1"),
        "mirror_right": pl.when(is_human).then("x2").otherwise("mirror_x2"),
    }
    return (
        entities.filter(pl.col("sure_score") >= min_score)
        .with_columns(
            items=box_item(), colors="color", **{name: (side - width / 2) / width for name, side in sides.items()}
        )
        .group_by("image_id", "category")
        .agg(
            pl.first("image_sha256", "singular", "plural"),
            pl.col("items", "colors", *sides).sort_by(*left_to_right),
            e_count_strict=pl.first("count_strict"),
            e_count_loose=pl.first("count_loose"),
            e_count_mirror=pl.first("count_mirror"),
            e_count_human=pl.first("count_human"),
            e_models=pl.col("detector").explode(empty_as_null=False).unique().sort(),
            number=pl.len().cast(pl.Int32),
            least_score=pl.min("sure_score"),
            object_ids=pl.col("object_id").sort_by(*left_to_right),
            e_phrases=pl.lit([], dtype=pl.List(PHRASE)),
        )
    )


def colored_classes(classes: pl.LazyFrame, colors: pl.LazyFrame) -> pl.LazyFrame:
    """One row a photo, class of several objects and colour that one of them has.

    Args:
        classes: as `whole_classes` gives them.
        colors: as `phrases.color_facts` gives them.

    Returns:
        The rows of `classes` with `color`, `variant`, `answer_object_ids` and `answer_items` of the
        objects that have it, and as evidence the phrase that they share: of what may be there it fits `matches` less
        theirs, plus one.
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
        classes.filter(pl.col("number") > 1)
        .select("image_id", "category", "object_ids", "items", color="colors")
        .explode("color", "object_ids", "items")
        .filter(pl.col("color").is_not_null())
        .group_by("image_id", "category", "color", maintain_order=True)
        .agg(answer_object_ids="object_ids", answer_items="items")
    )
    return (
        classes.join(with_color, on=["image_id", "category"])
        .join(colors, on=["image_id", "category", "color"])
        .with_columns(e_phrases=pl.concat_list(phrase.cast(PHRASE)), variant="color")
    )
