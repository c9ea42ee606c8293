"""Sets of three and four objects of one photo, as many as there are objects at most."""

from collections.abc import Sequence

import polars as pl

from forge_assets.candidate_qa.identity import blake3

SIZES = (3, 4)
MAX_SETS = 6
"""Of each size and photo."""
SET = ("image_id", "size", "start")


def object_sets(named: pl.LazyFrame, task: str, columns: Sequence[str]) -> pl.LazyFrame:
    """Neighbours in an order that their hash decides, one row an object of a set.

    Args:
        named: entities with names, as `naming.named` gives them.
        task: part of the hash.
        columns: what to carry along of each object.

    Returns:
        The columns `SET`, which tell sets apart, as does `set_number` alone; `position` in the order in which the
        objects are named, from 0; object_id and `columns`.
    """
    in_order = (
        named.select("image_id", "object_id", *columns, drawn=blake3(pl.lit(task), "object_id", pl.lit("set")))
        .with_columns(
            place=pl.struct("drawn", "object_id").rank("ordinal").over("image_id").cast(pl.Int32) - 1,
            of_photo=pl.len().over("image_id").cast(pl.Int32),
            set_number=pl.col("image_id").rank("dense").cast(pl.Int64) * (len(SIZES) * MAX_SETS),
        )
        .drop("drawn")
    )
    return pl.concat(
        in_order.with_columns(
            size=pl.lit(size, dtype=pl.Int32),
            start=pl.col("place") - position,
            position=pl.lit(position, dtype=pl.Int32),
            set_number=pl.col("set_number") + index * MAX_SETS + pl.col("place") - position,
        ).filter(pl.col("start").is_between(0, MAX_SETS - 1) & (pl.col("start") + size <= pl.col("of_photo")))
        for index, size in enumerate(SIZES)
        for position in range(size)
    ).drop("place", "of_photo")


def described(sets: pl.LazyFrame) -> pl.LazyFrame:
    """One row a set whose names differ: image_sha256, the lists of evidence, `names` and `detectors`.

    Args:
        sets: as `object_sets` gives them, with the columns of evidence, name, image_sha256 and detector.
    """
    return (
        sets.group_by(*SET)
        .agg(
            pl.first("image_sha256"),
            names=pl.col("name").sort_by("position"),
            detectors=pl.col("detector").explode(empty_as_null=False).unique().sort(),
            least_score=pl.min("sure_score"),
            object_ids=pl.col("object_id").sort_by("position"),
            e_phrases=pl.col("named_by").sort_by("position").explode(empty_as_null=False),
        )
        .filter(pl.col("names").list.n_unique() == pl.col("size"))
    )
