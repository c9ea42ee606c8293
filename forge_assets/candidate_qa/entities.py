"""What can be asked about: the distinct objects of each photo, their rivals and the words for them."""

import polars as pl

from forge_assets.candidate_qa.names import category_names
from forge_assets.tables import UNASKABLE_FLAGS
from forge_resources.config import ForgeConfig

MATCH_IOU = 0.5
"""A detector's box that overlaps a human one this much is the same object."""


def to_thousandths(pixels: str, side: str) -> pl.Expr:
    """A pixel coordinate as Qwen3-VL writes it: `clamp(round(x / side * 1000), 0, 1000)`, Int32."""
    return (pl.col(pixels) / pl.col(side) * 1000).round().clip(0, 1000).cast(pl.Int32)


def unaskable() -> pl.Expr:
    """The label says that the object is no single, real one seen from outside."""
    return pl.any_horizontal(pl.col(flag).fill_null(value=False) for flag in UNASKABLE_FLAGS)


def _counts(scenes: pl.LazyFrame, config: ForgeConfig) -> pl.LazyFrame:
    """Objects per photo and category, counted strictly, loosely, in the mirror, and as possible rivals.

    In a labelled photo the human boxes count, and a detector's box only where it contradicts them: it is
    sure, and no human box of its class matches it. A crowd counts as several, and so does what may or may not
    be meant, such as a statue; a human label that could not be used may have been of any class, so it counts as
    one more that there may be.
    """
    rules = config.verification
    human, detected = pl.col("origin") == "human", pl.col("origin") == "detector"
    labeled = pl.col("is_labeled")
    person_counted = human & ~unaskable()
    unmatched = labeled & detected & (pl.col("match_iou").fill_null(0) < MATCH_IOU)
    found = ~labeled & detected

    def number(of: pl.Expr) -> pl.Expr:
        return of.sum().cast(pl.Int32)

    certain = number(person_counted)
    unsure = 2 * number(human & unaskable()) + pl.col("labels_dropped").first().fill_null(0)
    return scenes.group_by("image_id", "category").agg(
        count_strict=certain + number(found & (pl.col("score") >= rules.count_strict_score)),
        count_loose=certain
        + unsure
        + number(found & (pl.col("score") >= rules.count_loose_score))
        + number(unmatched & (pl.col("score") >= rules.min_score)),
        count_mirror=certain
        + number(found & (pl.col("score") >= rules.count_strict_score) & (pl.col("mirror_score") >= rules.min_score)),
        same_category=certain
        + unsure
        + number(found & (pl.col("score") >= rules.unique_loose_score))
        + number(unmatched & (pl.col("score") >= rules.unique_loose_score)),
    )


def entities(scenes: pl.LazyFrame, config: ForgeConfig) -> pl.LazyFrame:
    """The objects that questions may name, one row each, with the words and boxes to name them by.

    In a labelled photo these are the human boxes that no flag makes unaskable; else the detector's boxes from
    `min_candidate_score`, at most `max_objects` of a photo, the surest first.

    Args:
        scenes: rows of `SCENES`.
        config: the whole configuration.

    Returns:
        The columns of `SCENES`, the counts of the object's category in its photo (`count_strict`,
        `count_loose`, `count_mirror`, `same_category`), `is_unique`, `sure_score` and `sure_mirror_iou`
        (0-1: human boxes are sure and need no mirror), `box` (Array of 4 Int32, 0-1000), `region` (its
        text), `singular`, `plural`, `indefinite`, `by_name` ("the bus") and `by_region`.
    """
    human = pl.col("is_labeled") & (pl.col("origin") == "human") & ~unaskable()
    found = ~pl.col("is_labeled") & (pl.col("score") >= config.tasks.min_candidate_score)
    is_human = pl.col("origin") == "human"
    names = category_names(scenes.select("category").unique().collect()["category"])
    left, right = to_thousandths("x1", "image_width").clip(0, 999), to_thousandths("x2", "image_width")
    top, bottom = to_thousandths("y1", "image_height").clip(0, 999), to_thousandths("y2", "image_height")
    return (
        scenes.filter(human | found)
        .with_columns(
            sure_score=pl.when(is_human).then(1.0).otherwise(pl.col("score")),
            sure_mirror_iou=pl.when(is_human).then(1.0).otherwise(pl.col("mirror_iou").fill_null(0.0)),
        )
        .filter(
            pl.struct(-pl.col("sure_score"), "object_id").rank("ordinal").over("image_id") <= config.tasks.max_objects
        )
        .join(_counts(scenes, config), on=["image_id", "category"])
        .join(names.lazy(), on="category")
        .with_columns(is_unique=pl.col("same_category") == 1)
        .with_columns(
            box=pl.concat_arr(left, top, pl.max_horizontal(right, left + 1), pl.max_horizontal(bottom, top + 1))
        )
        .with_columns(region=pl.format("[{}]", pl.col("box").cast(pl.List(pl.String)).list.join(", ")))
        .with_columns(
            by_name=pl.format("the {}", "singular"), by_region=pl.format("the {} at {}", "singular", "region")
        )
    )
