"""What a question offers to choose from."""

import polars as pl

from forge_assets.candidate_qa.choosing import placed
from forge_assets.candidate_qa.identity import ROTATION_DIGIT, TRUTH_DIGIT, blake3, draw

MAX_WRONG = 3
"""Wrong options beside the right one."""
MAX_COVERED = 0.3
"""Of a box, the share that another may cover: one that covers more shows the same object too."""


def rotated(options: str) -> pl.Expr:
    """A list turned by as many places as its seed draws: each place is as likely to hold the answer."""
    places = draw("seed", ROTATION_DIGIT, pl.col(options).list.len())
    return pl.concat_list(pl.col(options).list.slice(places), pl.col(options).list.slice(0, places))


def is_true() -> pl.Expr:
    """Whether the seed makes this a question to be answered by yes: half of them are."""
    return draw("seed", TRUTH_DIGIT, 2) == 0


def yes_or_no(truth: pl.Expr) -> pl.Expr:
    """The answer to whether something is so."""
    return pl.when(truth).then(pl.lit("yes")).otherwise(pl.lit("no"))


def listed(options: str, conjunction: str) -> pl.Expr:
    """A list as a sentence has it: "a, b or c"."""
    firsts = pl.col(options).list.head(pl.col(options).list.len() - 1).list.join(", ")
    return pl.concat_str(firsts, pl.lit(f" {conjunction} "), pl.col(options).list.last())


def distractors(objects: pl.LazyFrame, others: pl.LazyFrame) -> pl.LazyFrame:
    """For each object, up to `MAX_WRONG` others beside it in its photo, those of its own class first, then as drawn.

    Args:
        objects: image_id, object_id, category and box, one row an object.
        others: the same columns.

    Returns:
        object_id, object_id_other and `place`, from 0, in their order.
    """
    drawn = blake3("object_id").str.slice(0, 8).str.to_integer(base=16, dtype=pl.Int64)
    sides = ("left", "top", "right", "bottom")
    box = {side: pl.col("box").arr.get(index) for index, side in enumerate(sides)}
    columns = ("image_id", "object_id", "category")
    asked = objects.select(*columns, drawn=drawn, **box)
    other = others.select(*columns, drawn=drawn, **box).select(pl.all().name.suffix("_other"))
    x1, y1, x2, y2 = ((pl.col(side), pl.col(f"{side}_other")) for side in sides)
    shared = (pl.min_horizontal(*x2) - pl.max_horizontal(*x1)).clip(0) * (
        pl.min_horizontal(*y2) - pl.max_horizontal(*y1)
    ).clip(0)
    smaller = pl.min_horizontal(*((x2[side] - x1[side]) * (y2[side] - y1[side]) for side in (0, 1)))
    is_apart = shared <= MAX_COVERED * smaller
    order = (
        pl.col("category") != pl.col("category_other"), pl.col("drawn").xor(pl.col("drawn_other")), "object_id_other"
    )  # fmt: skip
    return (
        asked.join(other, left_on="image_id", right_on="image_id_other")
        .filter((pl.col("object_id") != pl.col("object_id_other")) & is_apart)
        .pipe(placed, "object_id", order)
        .filter(pl.col("place") < MAX_WRONG)
        .select("object_id", "object_id_other", "place")
    )
