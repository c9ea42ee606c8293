"""Sets of three and four objects of one photo, as many as there are objects at most."""

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import polars as pl

from forge_assets.candidate_qa.choosing import placed
from forge_assets.candidate_qa.identity import blake3
from forge_assets.candidate_qa.lists import list_of

SIZES: Final = (3, 4)
MAX_SETS: Final = 6
"""Of each size and photo."""
POSITIONS: Final = range(max(SIZES))
"""Of an object in its set; a smaller set has none at the last."""


def object_sets(named: pl.LazyFrame, task: str, columns: Sequence[str]) -> pl.LazyFrame:
    """Neighbours in an order that their hash decides, as far as their names differ.

    Args:
        named: entities with names, as `naming.named` gives them.
        task: part of the hash.
        columns: what to carry along of each object.

    Returns:
        image_id, image_sha256, `size`, `least_score`, and object_id, name and each of `columns` with the endings `_0`
        to `_3`, in the order in which the objects are named; null at the last of a set of three.
    """
    carried = ("object_id", "name", *columns)
    in_order = (
        named.select("image_id", "image_sha256", "sure_score", *carried)
        .with_columns(drawn=blake3(pl.lit(task), "object_id", pl.lit("set")))
        .pipe(placed, "image_id", ("drawn", "object_id"))
        .with_columns(of_photo=pl.len().over("image_id"))
    )

    def of_size(size: int) -> pl.LazyFrame:
        scores = (pl.col("sure_score").shift(-position) for position in range(size))
        return in_order.select(
            "image_id",
            "image_sha256",
            "place",
            "of_photo",
            *(
                (pl.col(name).shift(-position) if position < size else pl.lit(None)).alias(f"{name}_{position}")
                for name in carried
                for position in POSITIONS
            ),
            size=pl.lit(size, dtype=pl.Int32),
            least_score=pl.min_horizontal(*scores),
        ).filter((pl.col("place") < MAX_SETS) & (pl.col("place") + size <= pl.col("of_photo")))

    names_differ = pl.all_horizontal(
        (pl.col(f"name_{one}") != pl.col(f"name_{other}")).fill_null(value=True)
        for one, other in combinations(POSITIONS, 2)
    )
    return (
        pl.concat([of_size(size) for size in SIZES], how="vertical_relaxed")
        .filter(names_differ)
        .drop("place", "of_photo")
    )


def at_positions(name: str) -> list[str]:
    """The columns of a set that say the same of each of its objects."""
    return [f"{name}_{position}" for position in POSITIONS]


def list_of_set(name: str) -> pl.Expr:
    """What a set's columns say of its objects, as a list."""
    columns = at_positions(name)
    return pl.when(pl.col("size") == len(columns)).then(list_of(*columns)).otherwise(list_of(*columns[:-1]))
