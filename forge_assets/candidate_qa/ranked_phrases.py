"""Phrases that tell an object by its rank in a row: by place, by size or by depth, in its class or in its colour.

A row are all that may be of a class in a photo, or all of these that have a colour or may have it. Of the latter some
are doubtful: of a like colour, or of none that was read. A rank is told only where it holds with and without them.
"""

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from forge_assets.candidate_qa.choosing import placed
from forge_assets.candidate_qa.phrase_kinds import COLOR, COLORED, DEPTH_RANK, ORDINAL, SIZE, stated
from forge_assets.in_memory import computed

OF_CLASS: Final = ("image_id", "category")
ROW: Final = (*OF_CLASS, "said_color")
"""What tells rows apart; `said_color` is null for the whole class."""
UNSEEN: Final = -1.0
"""Stands for a gap in the mirror where the mirror lacks the object: clear by no threshold."""
_ORDINALS: Final = {2: "second", 3: "third"}

Stating = Callable[[pl.LazyFrame, str, pl.Expr], pl.LazyFrame]
"""Makes phrases of ranked rows: the rows with `value` and `matches`, the kind of the rank, words around `noun`."""


def ranked_phrases(
    named: pl.LazyFrame,
    in_row: pl.LazyFrame,
    like_colors: pl.LazyFrame,
    depths: pl.LazyFrame,
    needed: Mapping[str, float],
) -> list[pl.LazyFrame]:
    """Phrases by place, size and depth.

    Args:
        named: object_id, singular and spread of what questions may name.
        in_row: facts of all that may be of the classes that are counted off.
        like_colors: `color` and every `other` that may be called so, itself among them.
        depths: as `depth_pairs.depth_pairs` gives them, of objects in a row.
        needed: as `phrase_kinds.clearness_needed` gives it.

    Returns:
        Columns of `phrase_kinds.stated`; the value of a rank in a colour is the smaller share of what both parts need.
    """
    words = named.select("object_id", "singular", "spread")

    def stating(ranked: pl.LazyFrame, rank: str, bare: pl.Expr) -> pl.LazyFrame:
        in_class = pl.col("said_color").is_null()
        shares = pl.min_horizontal(
            pl.col("value") / needed[rank], (pl.col("class_color_share") / needed[COLOR]).fill_null(0.0)
        )
        sure = ranked.filter(~pl.col("is_doubtful")).join(words, on="object_id")
        noun = pl.when(in_class).then("singular").otherwise(pl.format("{} {}", "said_color", "singular"))
        return stated(
            sure.with_columns(noun=noun),
            pl.when(in_class).then(pl.lit(rank)).otherwise(pl.lit(COLORED[rank])),
            bare,
            spread=pl.col("spread"),
            value=pl.when(in_class).then("value").otherwise(shares),
        )

    rows = _rows(in_row, like_colors).pipe(computed)
    return [*_by_place(rows, stating), *_by_size(rows, stating), *_by_depth(rows, depths, stating)]


def _rows(in_row: pl.LazyFrame, like_colors: pl.LazyFrame) -> pl.LazyFrame:
    """Each class, and each colour that several of it have and not all may have, numbered by `row`; `is_doubtful`."""
    whole = in_row.with_columns(said_color=pl.lit(None, dtype=pl.String), is_doubtful=pl.lit(value=False))
    said = (
        in_row.filter(pl.col("color").is_not_null())
        .group_by(*OF_CLASS, said_color="color")
        .agg(number=pl.len())
        .filter(pl.col("number") > 1)
        .drop("number")
    )
    told = in_row.join(like_colors.rename({"color": "said_color"}), left_on="color", right_on="other")
    untold = in_row.filter(pl.col("color").is_null()).join(said, on=OF_CLASS)
    colored = (
        pl.concat([told, untold], how="diagonal")
        .join(said, on=ROW, how="semi")
        .with_columns(is_doubtful=(pl.col("color") != pl.col("said_color")).fill_null(value=True))
        .filter(pl.len().over(ROW) < pl.col("boxes_of_class"))
    )
    return pl.concat([whole, colored], how="diagonal").with_columns(row=pl.struct(ROW).rank("dense"))


def _by_place(rows: pl.LazyFrame, stating: Stating) -> list[pl.LazyFrame]:
    """Such as "the second person from the left": the row is the same in the photo and in its mirror."""
    center = (pl.col("left") + pl.col("right")) / 2
    mirror_center = (pl.col("mirror_left") + pl.col("mirror_right")) / 2
    number, place = pl.col("number"), pl.col("place")
    doubtful = pl.col("is_doubtful").cast(pl.Int32)
    doubtful_to_left = pl.col("doubtful_to_left")

    def step(name: str) -> pl.Expr:
        return pl.col(name) - pl.col(name).shift(1)

    row = (
        rows.with_columns(center=center, mirror_center=mirror_center)
        .pipe(placed, "row", ("center", "object_id"))
        .with_columns(
            place=place.cast(pl.Int64) + 1,
            number=pl.len().over("row").cast(pl.Int64),
            doubtful_to_left=doubtful.cum_sum() - doubtful,
            before=pl.min_horizontal(step("center"), step("mirror_center").fill_null(UNSEEN)) / pl.col("width"),
        )
        .with_columns(
            doubtful_to_left=doubtful_to_left - doubtful_to_left.first().over("row"),
            before=pl.when(place > 1).then("before"),
        )
        .with_columns(
            doubtful_to_right=doubtful.sum().over("row") - doubtful - doubtful_to_left,
            after=pl.col("before").shift(-1),
        )
        .with_columns(value=pl.min_horizontal("before", "after"))
        .filter(pl.col("value") > 0)
        .pipe(computed)
    )
    ordinals = pl.DataFrame(
        {"nth": list(_ORDINALS), "ordinal": list(_ORDINALS.values())}, schema_overrides={"nth": pl.Int64}
    )
    ends = row.filter((place == 1) | (place == number)).with_columns(matches=pl.col("unsure") + 1)
    end = pl.when(place == 1).then(pl.lit("leftmost")).otherwise(pl.lit("rightmost"))
    between = row.filter((place > 1) & (place < number))
    found = [stating(ends.with_columns(end=end), ORDINAL, pl.format("{} {}", "end", "noun"))]
    for side, nth in (("left", place), ("right", number + 1 - place)):
        counted = (
            between.with_columns(nth=nth)
            .join(ordinals.lazy(), on="nth")
            .with_columns(matches=pl.col("unsure") + 1 + pl.col(f"doubtful_to_{side}"))
        )
        found.append(stating(counted, ORDINAL, pl.format("{} {} from the {}", "ordinal", "noun", pl.lit(side))))
    return found


def _by_size(rows: pl.LazyFrame, stating: Stating) -> list[pl.LazyFrame]:
    """Such as "the largest dog"; one that is cut or hidden may be larger than it looks."""
    is_hidden = pl.col("is_hidden").cast(pl.Int32)
    ranked = (
        rows.pipe(placed, "row", (-pl.col("area"), "object_id"))
        .with_columns(
            place=pl.col("place") + 1,
            number=pl.len().over("row"),
            next_smaller=pl.col("area").shift(-1),
            next_larger=pl.col("area").shift(1),
            hidden_others=is_hidden.sum().over("row") - is_hidden,
        )
        .pipe(computed)
    )
    fits = pl.col("unsure") + 1
    largest = ranked.filter((pl.col("place") == 1) & (pl.col("number") > 1)).with_columns(
        value=pl.col("area") / pl.col("next_smaller"), matches=fits + pl.col("hidden_others")
    )
    smallest = ranked.filter((pl.col("place") == pl.col("number")) & (pl.col("number") > 1)).with_columns(
        value=pl.col("next_larger") / pl.col("area"), matches=fits + is_hidden
    )
    return [
        stating(ends, SIZE, pl.format("{} {}", pl.lit(word), "noun"))
        for word, ends in (("largest", largest), ("smallest", smallest))
    ]


def _by_depth(rows: pl.LazyFrame, depths: pl.LazyFrame, stating: Stating) -> list[pl.LazyFrame]:
    """Such as "the dog nearest to the camera"; one behind another may be farther away than its readings say.

    The value is the weakest agreement with any other of the row, and there is no phrase where one does not agree.
    """
    agreed = (
        depths.filter(pl.col("agreement") > 0)
        .select("near_id", "far_id", "agreement")
        .join(rows.select("row", near_id="object_id", others=pl.len().over("row") - 1), on="near_id")
        .join(rows.select("row", far_id="object_id"), on=["row", "far_id"])
    )
    is_hidden = pl.col("is_occluded").cast(pl.Int32)
    hidden_others = is_hidden.sum().over("row") - is_hidden
    found: list[pl.LazyFrame] = []
    for word, own, hidden in (("nearest to", "near_id", is_hidden), ("farthest from", "far_id", hidden_others)):
        weakest = (
            agreed.group_by("row", object_id=own)
            .agg(pl.first("others"), number=pl.len(), value=pl.col("agreement").min())
            .filter(pl.col("number") == pl.col("others"))
            .select("row", "object_id", "value")
        )
        ranked = rows.with_columns(matches=pl.col("unsure") + 1 + hidden).join(weakest, on=["row", "object_id"])
        found.append(stating(ranked, DEPTH_RANK, pl.format("{} {} the camera", "noun", pl.lit(word))))
    return found
