"""Statements about rows that several gates make: Polars expressions, true or false and never null."""

import polars as pl
import polars.selectors as cs

from forge_resources.shards import ShardKey

EDGE_TOLERANCE = 1.0
"""Pixels by which a box may reach over the photo's edge: public sets round their human boxes."""


def of_partition(key: ShardKey) -> pl.Expr:
    """The row says of itself that it belongs to this partition."""
    return ((pl.col("source") == key.source) & (pl.col("shard") == key.shard)).fill_null(value=False)


def numbers_are_finite() -> pl.Expr:
    """No number of the row is infinite, or no number at all."""
    return pl.all_horizontal(pl.lit(True), cs.float().is_finite().fill_null(value=True))


def box_is_ordered(prefix: str = "") -> pl.Expr:
    """x1 < x2 and y1 < y2."""
    x1, y1, x2, y2 = (pl.col(f"{prefix}{side}") for side in ("x1", "y1", "x2", "y2"))
    return ((x1 < x2) & (y1 < y2)).fill_null(value=False)


def box_is_inside(width: str, height: str) -> pl.Expr:
    """The box lies inside the photo, but for rounding."""
    starts = (pl.col("x1") >= -EDGE_TOLERANCE) & (pl.col("y1") >= -EDGE_TOLERANCE)
    ends = (pl.col("x2") <= pl.col(width) + EDGE_TOLERANCE) & (pl.col("y2") <= pl.col(height) + EDGE_TOLERANCE)
    return (starts & ends).fill_null(value=False)


def all_or_none(*columns: str) -> pl.Expr:
    """The columns have values together or not at all."""
    nulls = pl.sum_horizontal(pl.col(column).is_null().cast(pl.Int32) for column in columns)
    return nulls.is_in([0, len(columns)])
