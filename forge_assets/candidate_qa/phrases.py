"""Phrases that pick one object out of its photo: by class, colour, rank in a row, or a landmark.

A phrase states facts of the scene, and is resolved against every object that may be in the photo, sure or not. How
many of these it may fit, and how clearly it tells its object from the next, is its evidence; whether that is enough
is for verification to say.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from forge_assets.candidate_qa.choosing import placed
from forge_assets.candidate_qa.depth_pairs import depth_pairs
from forge_assets.candidate_qa.described import described_phrases
from forge_assets.candidate_qa.phrase_kinds import CLASS, COLOR, RANK_OF, SIDE_OF, clearness_needed, stated
from forge_assets.candidate_qa.ranked_phrases import OF_CLASS, UNSEEN, ranked_phrases
from forge_assets.in_memory import collected_all, computed
from forge_assets.tables import PHRASE
from forge_resources.config import ForgeConfig, VerificationConfig

MAX_IN_ROW: Final = 6
"""Of a class in a photo; more are not counted off."""

NEIGHBORS: Final[Mapping[str, tuple[str, ...]]] = {
    "red": ("orange", "pink", "brown"),
    "orange": ("red", "yellow", "brown", "pink"),
    "yellow": ("orange", "brown"),
    "brown": ("red", "orange", "yellow", "pink"),
    "pink": ("red", "purple", "orange", "brown"),
    "purple": ("blue", "pink"),
    "blue": ("purple",),
    "black": ("grey",),
    "grey": ("black", "white"),
    "white": ("grey",),
    "green": (),
}
"""Colours that one person may call by the name of the other."""


def color_facts(possible: pl.LazyFrame) -> pl.LazyFrame:
    """What the colours of all that may be of a class allow to be said of one of them.

    Args:
        possible: as `entities.possible_objects` gives them.

    Returns:
        image_id, category, `color`, `color_matches`: how many of the class it may fit, and `class_color_share`: the
        smallest share of a plain colour in the class; one row each colour that one of the class has.
    """
    of_class = possible.group_by(OF_CLASS).agg(
        untold=pl.col("color").null_count().cast(pl.Int32) + pl.col("unsure").first(),
        class_color_share=pl.col("color_share").min(),
    )
    colored = possible.filter(pl.col("color").is_not_null()).group_by(*OF_CLASS, "color").agg(number=pl.len())
    return (
        colored.select(*OF_CLASS, "color")
        .join(_like_colors(), on="color")
        .join(colored, left_on=[*OF_CLASS, "other"], right_on=[*OF_CLASS, "color"])
        .group_by(*OF_CLASS, "color")
        .agg(alike=pl.col("number").sum().cast(pl.Int32))
        .join(of_class, on=OF_CLASS)
        .select(*OF_CLASS, "color", "class_color_share", color_matches=pl.col("alike") + pl.col("untold"))
    )


def _like_colors() -> pl.LazyFrame:
    """`color`, and every `other` that may be called so, itself among them."""
    return pl.LazyFrame(
        [(color, other) for color, others in NEIGHBORS.items() for other in (color, *others)],
        schema={"color": pl.String, "other": pl.String},
        orient="row",
    )


def phrases(
    possible: pl.LazyFrame, entities: pl.LazyFrame, config: ForgeConfig, descriptions: pl.LazyFrame | None = None
) -> pl.LazyFrame:
    """Every phrase for every object that questions may name.

    Args:
        possible: as `entities.possible_objects` gives them.
        entities: as `entities.entities` gives them.
        config: the whole configuration.
        descriptions: rows of `DESCRIPTIONS`, where a vision-language model was asked.

    Returns:
        image_id, object_id, kind, text ("the second dog from the left"), bare (the same without "the"), value, matches,
        count_spread (see `PHRASE`, which the column `phrase` holds), landmark_id (object that the phrase names
        besides, or null), and `is_clear`: it can fit no other object, the class is counted alike at all
        thresholds where that matters, and `value` reaches what its kind needs.
    """
    facts = _facts(possible, config.verification).pipe(computed)
    named = entities.select("image_id", "object_id", "category", "singular", "entities_of_class", spread="count_spread")
    is_row = (pl.len().over(OF_CLASS) > 1) & (pl.col("of_class") <= MAX_IN_ROW)
    in_row = facts.filter(is_row).pipe(computed)
    landmarks = _landmarks(entities, config.verification).pipe(computed)
    colors = color_facts(possible).pipe(computed)
    counted_off = possible.join(in_row, on="object_id", how="semi")
    depths = depth_pairs(counted_off, config.verification, within=OF_CLASS).pipe(computed)
    needed = clearness_needed(config.verification)
    reaches = pl.col("value") >= pl.col("kind").replace_strict(needed, default=None, return_dtype=pl.Float64)
    made = [
        _by_class(named, facts),
        _by_color(named, facts, colors),
        *ranked_phrases(named, in_row, _like_colors(), depths, needed),
        _by_landmark(named, in_row, landmarks, facts),
    ]
    if descriptions is not None:
        made.append(described_phrases(descriptions, entities))
    fields = [pl.col(field.name).cast(field.dtype) for field in PHRASE.fields]
    return (
        pl.concat(collected_all(made))
        .lazy()
        .with_columns(
            is_clear=(pl.col("matches") == 1)
            & (pl.col("count_spread").fill_null(0) == 0)
            & (reaches | (pl.col("kind") == CLASS)).fill_null(value=False),
            text=pl.format("the {}", "bare"),
        )
        .pipe(_without_needless_colors)
        .with_columns(phrase=pl.struct(fields))
    )


def _without_needless_colors(said: pl.LazyFrame) -> pl.LazyFrame:
    """Leave out a rank in a colour where the same kind of rank in the whole class is clear."""
    rank = pl.col("kind").replace_strict(dict(RANK_OF), default=None)
    clear = said.filter("is_clear").select("object_id", rank="kind")
    return said.with_columns(rank=rank).join(clear, on=["object_id", "rank"], how="anti").drop("rank")


def _facts(possible: pl.LazyFrame, thresholds: VerificationConfig) -> pl.LazyFrame:
    """What phrases state of each object that may be there; places in pixels, alike in a mirrored photo."""
    is_human = pl.col("origin") == "human"

    def seen_again(side: str) -> pl.Expr:
        return pl.when(is_human).then(pl.col(side)).otherwise(pl.col(f"mirror_{side}"))

    occluded = pl.col("occlusion").fill_null(1.0) > thresholds.max_occlusion
    return possible.select(
        "image_id",
        "object_id",
        "category",
        "color",
        "unsure",
        "of_class",
        boxes_of_class=pl.len().over(OF_CLASS),
        class_color_share=pl.col("color_share").min().over(OF_CLASS),
        width="image_width",
        left="x1",
        right="x2",
        mirror_left=seen_again("x1"),
        mirror_right=seen_again("x2"),
        area=(pl.col("x2") - pl.col("x1")) * (pl.col("y2") - pl.col("y1")),
        is_occluded=occluded,
        is_hidden=pl.col("is_truncated").fill_null(value=True) | occluded,
    )


def _by_class(named: pl.LazyFrame, facts: pl.LazyFrame) -> pl.LazyFrame:
    """Such as "the bus", of which one is found."""
    only = named.filter(pl.col("entities_of_class") == 1)
    known = only.join(facts.select("object_id", matches="of_class"), on="object_id")
    return stated(known, pl.lit(CLASS), pl.col("singular"))


def _by_color(named: pl.LazyFrame, facts: pl.LazyFrame, colors: pl.LazyFrame) -> pl.LazyFrame:
    """Such as "the red car", of which one is found."""
    colored = (
        named.join(facts.select("object_id", "color"), on="object_id")
        .join(colors, on=[*OF_CLASS, "color"])
        .filter(pl.len().over(*OF_CLASS, "color") == 1)
        .rename({"color_matches": "matches"})
    )
    return stated(colored, pl.lit(COLOR), pl.format("{} {}", "color", "singular"), value=pl.col("class_color_share"))


def _landmarks(entities: pl.LazyFrame, thresholds: VerificationConfig) -> pl.LazyFrame:
    """The only objects of their class that would be verified themselves."""
    sure = (
        (pl.col("sure_score") >= thresholds.min_score)
        & (pl.col("sure_mirror_iou") >= thresholds.min_mirror_iou)
        & (pl.col("class_conflict") <= thresholds.max_class_conflict)
        & (pl.col("area_share") >= thresholds.min_area_share)
    )
    return entities.filter(pl.col("is_unique") & sure).select(
        "image_id", landmark_id="object_id", landmark_category="category", landmark="singular"
    )


def _by_landmark(
    named: pl.LazyFrame, in_row: pl.LazyFrame, landmarks: pl.LazyFrame, facts: pl.LazyFrame
) -> pl.LazyFrame:
    """Such as "the person to the left of the bus", all others being on the other side; of each object the clearest."""
    sides = ("left", "right", "mirror_left", "mirror_right")
    places = facts.select(landmark_id="object_id", **{f"landmark_{side}": pl.col(side) for side in sides})

    def gap(*, is_left: bool) -> pl.Expr:
        gaps = (
            pl.col(f"landmark_{prefix}left") - pl.col(f"{prefix}right")
            if is_left
            else pl.col(f"{prefix}left") - pl.col(f"landmark_{prefix}right")
            for prefix in ("", "mirror_")
        )
        return pl.min_horizontal(*(one.fill_null(UNSEEN) for one in gaps)) / pl.col("width")

    by_landmark = (
        in_row.join(landmarks.join(places, on="landmark_id"), on="image_id")
        .filter(pl.col("category") != pl.col("landmark_category"))
        .with_columns(
            gap_left=gap(is_left=True),
            gap_right=gap(is_left=False),
            is_left=pl.col("left") + pl.col("right") < pl.col("landmark_left") + pl.col("landmark_right"),
            class_and_landmark=pl.struct(*OF_CLASS, "landmark_id").rank("dense"),
        )
        .pipe(computed)
    )
    group = "class_and_landmark"
    found: list[pl.LazyFrame] = []
    for side, own, other in (("left", "gap_left", "gap_right"), ("right", "gap_right", "gap_left")):
        on_side = pl.col("is_left") if side == "left" else ~pl.col("is_left")
        lowest, second_lowest = pl.col(other).first().over(group), pl.col(other).shift(-1)
        found.append(
            by_landmark.pipe(placed, group, (other,))
            .with_columns(
                matches=on_side.cast(pl.Int32).sum().over(group) + pl.col("unsure"),
                others_gap=pl.when(pl.col("place") == 0).then(second_lowest).otherwise(lowest),
            )
            .filter((pl.col(own) > 0) & on_side)
            .with_columns(value=pl.min_horizontal(own, "others_gap"), side=pl.lit(side))
            .select("object_id", "side", "value", "matches", "landmark", "landmark_id")
        )
    clearest = ("matches", -pl.col("value"), "landmark_id", "side")
    best = pl.concat(found).pipe(placed, "object_id", clearest).filter(pl.col("place") == 0).join(named, on="object_id")
    return stated(
        best,
        pl.lit(SIDE_OF),
        pl.format("{} to the {} of the {}", "singular", "side", "landmark"),
        spread=pl.col("spread"),
        value=pl.col("value"),
        landmark=pl.col("landmark_id"),
    )
