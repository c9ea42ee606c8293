"""Pairs of objects of one photo, each pair once, in an order that its hash decides."""

from collections.abc import Sequence

import polars as pl

from forge_assets.candidate_qa.identity import ORDER_DIGIT, blake3, draw


def object_pairs(objects: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    """All pairs of objects of the same photo, once each.

    Args:
        objects: object_id, image_id and `columns`, one row an object.
        columns: what to carry along of each object.

    Returns:
        image_id, and object_id and each of `columns` with the endings `_low` and `_high`, by the order of the ids.
    """
    carried = ["object_id", *columns]
    low, high = (
        objects.select("image_id", *(pl.col(name).alias(f"{name}_{side}") for name in carried))
        for side in ("low", "high")
    )
    return low.join(high, on="image_id").filter(pl.col("object_id_low") < pl.col("object_id_high"))


def a_and_b(pairs: pl.LazyFrame, task: str) -> pl.LazyFrame:
    """Add `pair_seed`, and `object_id_a` and `object_id_b`: which is which is drawn by hash.

    Args:
        pairs: image_sha256, `object_id_low` and `object_id_high`.
        task: part of the hash, so that tasks order the same pair independently.
    """
    low_is_a = draw("pair_seed", ORDER_DIGIT, 2) == 0
    return pairs.with_columns(
        pair_seed=blake3("image_sha256", pl.lit(task), "object_id_low", "object_id_high")
    ).with_columns(
        object_id_a=pl.when(low_is_a).then("object_id_low").otherwise("object_id_high"),
        object_id_b=pl.when(low_is_a).then("object_id_high").otherwise("object_id_low"),
    )
