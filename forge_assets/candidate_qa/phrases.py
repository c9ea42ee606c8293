"""Phrases that pick one object out of its photo: by class, colour, place in a row, size, or a landmark.

A phrase states facts of the scene, and is resolved against every object that may be in the photo, sure or not. How
many of these it may fit, and how clearly it tells its object from the next, is its evidence; whether that is enough
is for verification to say.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from forge_assets.candidate_qa.entities import possible_objects
from forge_assets.tables import PHRASE
from forge_resources.config import ForgeConfig, VerificationConfig

CLASS, COLOR, ORDINAL, SIZE, SIDE_OF = "class", "color", "ordinal", "size", "side_of"
KINDS: Final = (CLASS, COLOR, ORDINAL, SIZE, SIDE_OF)

MAX_IN_ROW: Final = 6
"""Of a class in a photo; more are not counted off."""
_ORDINALS: Final = {2: "second", 3: "third"}
_OF_CLASS: Final = ("image_id", "category")
_UNSEEN: Final = -1.0
"""Stands for a gap in the mirror where the mirror lacks the object: clear by no threshold."""

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


def clearness_needed(thresholds: VerificationConfig) -> Mapping[str, float]:
    """By kind, the `value` from which a phrase is clear; a class name needs none."""
    return {
        COLOR: thresholds.min_color_share,
        ORDINAL: thresholds.min_ordinal_gap,
        SIZE: thresholds.min_size_ratio,
        SIDE_OF: thresholds.min_gap,
    }


def color_facts(scenes: pl.LazyFrame, config: ForgeConfig) -> pl.LazyFrame:
    """What the colours of all that may be of a class allow to be said of one of them.

    Args:
        scenes: rows of `SCENES`.
        config: the whole configuration.

    Returns:
        image_id, category, `color`, `color_matches`: how many of the class it may fit, and `class_color_share`: the
        smallest share of a plain colour in the class; one row each colour that one of the class has.
    """
    possible = possible_objects(scenes, config).select(*_OF_CLASS, "color", "color_share", "unsure")
    named_alike = pl.DataFrame(
        [(color, other) for color, others in NEIGHBORS.items() for other in (color, *others)],
        schema={"color": pl.String, "other": pl.String},
        orient="row",
    ).lazy()
    of_class = possible.group_by(_OF_CLASS).agg(
        untold=pl.col("color").null_count().cast(pl.Int32) + pl.col("unsure").first(),
        class_color_share=pl.col("color_share").min(),
    )
    colored = possible.filter(pl.col("color").is_not_null()).group_by(*_OF_CLASS, "color").agg(number=pl.len())
    return (
        colored.select(*_OF_CLASS, "color")
        .join(named_alike, on="color")
        .join(colored, left_on=[*_OF_CLASS, "other"], right_on=[*_OF_CLASS, "color"])
        .group_by(*_OF_CLASS, "color")
        .agg(alike=pl.col("number").sum().cast(pl.Int32))
        .join(of_class, on=_OF_CLASS)
        .select(*_OF_CLASS, "color", "class_color_share", color_matches=pl.col("alike") + pl.col("untold"))
    )


def phrases(scenes: pl.LazyFrame, entities: pl.LazyFrame, config: ForgeConfig) -> pl.LazyFrame:
    """Every phrase for every object that questions may name.

    Args:
        scenes: rows of `SCENES`.
        entities: as `entities.entities` gives them.
        config: the whole configuration.

    Returns:
        image_id, object_id, kind, text ("the second dog from the left"), bare (the same without "the"), value, matches,
        count_spread (see `PHRASE`, which the column `phrase` holds), landmark_id (object that the phrase names
        besides, or null), and `is_clear`: it can fit no other object, the class is counted alike at all
        thresholds where that matters, and `value` reaches what its kind needs.
    """
    facts = _facts(scenes, config).collect().lazy()
    named = entities.select("image_id", "object_id", "category", "singular", "entities_of_class", spread="count_spread")
    is_row = (pl.len().over(_OF_CLASS) > 1) & (pl.col("of_class") <= MAX_IN_ROW)
    in_row = facts.filter(is_row).collect().lazy()
    landmarks = _landmarks(entities, config.verification).collect().lazy()
    colors = color_facts(scenes, config).collect().lazy()
    needed = clearness_needed(config.verification)
    reaches = pl.col("value") >= pl.col("kind").replace_strict(needed, default=None, return_dtype=pl.Float64)
    made = [
        _by_class(named, facts),
        _by_color(named, facts, colors),
        _by_place(named, in_row),
        _by_size(named, in_row),
        _by_landmark(named, in_row, landmarks, facts),
    ]
    fields = [pl.col(field.name).cast(field.dtype) for field in PHRASE.fields]
    return (
        pl.concat(pl.collect_all(made))
        .lazy()
        .with_columns(
            is_clear=(pl.col("matches") == 1)
            & (pl.col("count_spread").fill_null(0) == 0)
            & (reaches | (pl.col("kind") == CLASS)).fill_null(value=False),
            text=pl.format("the {}", "bare"),
        )
        .with_columns(phrase=pl.struct(fields))
    )


def _facts(scenes: pl.LazyFrame, config: ForgeConfig) -> pl.LazyFrame:
    """What phrases state of each object that may be there; places in pixels, alike in a mirrored photo."""
    is_human = pl.col("origin") == "human"

    def seen_again(side: str) -> pl.Expr:
        return pl.when(is_human).then(pl.col(side)).otherwise(pl.col(f"mirror_{side}"))

    hidden = pl.col("is_truncated").fill_null(value=True) | (
        pl.col("occlusion").fill_null(1.0) > config.verification.max_occlusion
    )
    return possible_objects(scenes, config).select(
        "image_id",
        "object_id",
        "category",
        "color",
        "unsure",
        "of_class",
        width="image_width",
        left="x1",
        right="x2",
        mirror_left=seen_again("x1"),
        mirror_right=seen_again("x2"),
        area=(pl.col("x2") - pl.col("x1")) * (pl.col("y2") - pl.col("y1")),
        is_hidden=hidden,
    )


def _finished(
    rows: pl.LazyFrame,
    kind: str,
    bare: pl.Expr,
    *,
    spread: pl.Expr | None = None,
    value: pl.Expr | None = None,
    landmark: pl.Expr | None = None,
) -> pl.LazyFrame:
    absent = pl.lit(None)
    return rows.select(
        "image_id",
        "object_id",
        pl.lit(kind).alias("kind"),
        bare.alias("bare"),
        (absent if value is None else value).cast(pl.Float64).alias("value"),
        pl.col("matches").cast(pl.Int32),
        (absent if spread is None else spread).cast(pl.Int32).alias("count_spread"),
        (absent if landmark is None else landmark).cast(pl.String).alias("landmark_id"),
    )


def _by_class(named: pl.LazyFrame, facts: pl.LazyFrame) -> pl.LazyFrame:
    """Such as "the bus", of which one is found."""
    only = named.filter(pl.col("entities_of_class") == 1)
    known = only.join(facts.select("object_id", matches="of_class"), on="object_id")
    return _finished(known, CLASS, pl.col("singular"))


def _by_color(named: pl.LazyFrame, facts: pl.LazyFrame, colors: pl.LazyFrame) -> pl.LazyFrame:
    """Such as "the red car", of which one is found."""
    colored = (
        named.join(facts.select("object_id", "color"), on="object_id")
        .join(colors, on=[*_OF_CLASS, "color"])
        .filter(pl.len().over(*_OF_CLASS, "color") == 1)
        .rename({"color_matches": "matches"})
    )
    return _finished(colored, COLOR, pl.format("{} {}", "color", "singular"), value=pl.col("class_color_share"))


def _by_place(named: pl.LazyFrame, in_row: pl.LazyFrame) -> pl.LazyFrame:
    """Such as "the second person from the left": the row is the same in the photo and in its mirror."""
    center = (pl.col("left") + pl.col("right")) / 2
    mirror_center = (pl.col("mirror_left") + pl.col("mirror_right")) / 2
    number, place = pl.col("number"), pl.col("place")

    def step(name: str) -> pl.Expr:
        return pl.col(name) - pl.col(name).shift(1).over(_OF_CLASS)

    row = (
        in_row.with_columns(center=center, mirror_center=mirror_center)
        .sort(*_OF_CLASS, "center", "object_id")
        .with_columns(
            place=pl.int_range(1, pl.len() + 1).over(_OF_CLASS),
            number=pl.len().over(_OF_CLASS).cast(pl.Int64),
            before=pl.min_horizontal(step("center"), step("mirror_center").fill_null(_UNSEEN)) / pl.col("width"),
        )
        .with_columns(before=pl.when(place > 1).then("before"))
        .with_columns(after=pl.col("before").shift(-1).over(_OF_CLASS))
        .with_columns(value=pl.min_horizontal("before", "after"), matches=pl.col("unsure") + 1)
        .filter(pl.col("value") > 0)
        .join(named.drop("image_id", "category"), on="object_id")
    )
    ordinals = pl.DataFrame(
        {"nth": list(_ORDINALS), "ordinal": list(_ORDINALS.values())}, schema_overrides={"nth": pl.Int64}
    )
    ends = row.filter((place == 1) | (place == number))
    end = pl.when(place == 1).then(pl.lit("leftmost")).otherwise(pl.lit("rightmost"))
    between = row.filter((place > 1) & (place < number))
    finished = [
        _finished(ends, ORDINAL, pl.format("{} {}", end, "singular"), spread=pl.col("spread"), value=pl.col("value"))
    ]
    for side, nth in (("left", place), ("right", number + 1 - place)):
        counted = between.with_columns(nth=nth).join(ordinals.lazy(), on="nth")
        bare = pl.format("{} {} from the {}", "ordinal", "singular", pl.lit(side))
        finished.append(_finished(counted, ORDINAL, bare, spread=pl.col("spread"), value=pl.col("value")))
    return pl.concat(finished)


def _by_size(named: pl.LazyFrame, in_row: pl.LazyFrame) -> pl.LazyFrame:
    """Such as "the largest dog"; one that is cut or hidden may be larger than it looks."""
    is_hidden = pl.col("is_hidden").cast(pl.Int32)
    ranked = (
        in_row.sort(*_OF_CLASS, "area", "object_id", descending=[False, False, True, False])
        .with_columns(
            place=pl.int_range(1, pl.len() + 1).over(_OF_CLASS),
            number=pl.len().over(_OF_CLASS),
            next_smaller=pl.col("area").shift(-1).over(_OF_CLASS),
            next_larger=pl.col("area").shift(1).over(_OF_CLASS),
            hidden_others=is_hidden.sum().over(_OF_CLASS) - is_hidden,
        )
        .join(named.drop("image_id", "category"), on="object_id")
    )
    fits = pl.col("unsure") + 1
    largest = ranked.filter((pl.col("place") == 1) & (pl.col("number") > 1)).with_columns(
        value=pl.col("area") / pl.col("next_smaller"), matches=fits + pl.col("hidden_others")
    )
    smallest = ranked.filter((pl.col("place") == pl.col("number")) & (pl.col("number") > 1)).with_columns(
        value=pl.col("next_larger") / pl.col("area"), matches=fits + is_hidden
    )
    return pl.concat(
        _finished(
            rows, SIZE, pl.format("{} {}", pl.lit(word), "singular"), spread=pl.col("spread"), value=pl.col("value")
        )
        for word, rows in (("largest", largest), ("smallest", smallest))
    )


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
        return pl.min_horizontal(*(one.fill_null(_UNSEEN) for one in gaps)) / pl.col("width")

    by_landmark = (
        in_row.join(landmarks.join(places, on="landmark_id"), on="image_id")
        .filter(pl.col("category") != pl.col("landmark_category"))
        .with_columns(
            gap_left=gap(is_left=True),
            gap_right=gap(is_left=False),
            is_left=pl.col("left") + pl.col("right") < pl.col("landmark_left") + pl.col("landmark_right"),
        )
    )
    group = (*_OF_CLASS, "landmark_id")
    found: list[pl.LazyFrame] = []
    for side, own, other in (("left", "gap_left", "gap_right"), ("right", "gap_right", "gap_left")):
        on_side = pl.col("is_left") if side == "left" else ~pl.col("is_left")
        lowest = pl.col(other).rank("ordinal").over(group) == 1
        two_lowest = pl.col(other).bottom_k(2).min(), pl.col(other).bottom_k(2).max()
        others_gap = pl.when(lowest).then(two_lowest[1].over(group)).otherwise(two_lowest[0].over(group))
        found.append(
            by_landmark.with_columns(
                matches=on_side.cast(pl.Int32).sum().over(group) + pl.col("unsure"), others_gap=others_gap
            )
            .filter((pl.col(own) > 0) & on_side)
            .with_columns(value=pl.min_horizontal(own, "others_gap"), side=pl.lit(side))
            .select("object_id", "side", "value", "matches", "landmark", "landmark_id")
        )
    clearest = pl.struct("matches", -pl.col("value"), "landmark_id", "side").rank("ordinal").over("object_id") == 1
    best = pl.concat(found).filter(clearest).join(named, on="object_id")
    return _finished(
        best,
        SIDE_OF,
        pl.format("{} to the {} of the {}", "singular", "side", "landmark"),
        spread=pl.col("spread"),
        value=pl.col("value"),
        landmark=pl.col("landmark_id"),
    )
