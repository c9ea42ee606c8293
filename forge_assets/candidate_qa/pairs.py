"""Pairs of objects of one photo, each pair once, in an order that its hash decides."""

from collections.abc import Sequence

import polars as pl

from forge_assets.candidate_qa.identity import ORDER_DIGIT, blake3, draw


def object_pairs(objects: pl.LazyFrame, columns: Sequence[str], task: str) -> pl.LazyFrame:
    """All pairs of objects of the same photo, once each; which is `a` and which is `b` is drawn by hash.

    Args:
        objects: object_id, image_id, image_sha256 and `columns`, one row an object.
        columns: what to carry along of each object.
        task: part of the hash, so that tasks order the same pair independently.

    Returns:
        image_id, image_sha256, and object_id and each of `columns` with the endings `_a` and `_b`.
    """
    carried = ["object_id", *columns]
    side_a = objects.select("image_id", "image_sha256", *(pl.col(name).alias(f"{name}_a") for name in carried))
    side_b = objects.select("image_id", *(pl.col(name).alias(f"{name}_b") for name in carried))
    ordered = pl.col("object_id_a") < pl.col("object_id_b")
    key = blake3(
        "image_sha256",
        pl.lit(task),
        pl.min_horizontal("object_id_a", "object_id_b"),
        pl.max_horizontal("object_id_a", "object_id_b"),
    )
    return (
        side_a.join(side_b, on="image_id")
        .filter(pl.col("object_id_a") != pl.col("object_id_b"))
        .with_columns(pair_seed=key)
        .filter(ordered == (draw("pair_seed", ORDER_DIGIT, 2) == 0))
        .drop("pair_seed")
    )
