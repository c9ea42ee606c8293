"""The words by which a question names an object: the best clear phrase, or where it lies."""

from collections.abc import Sequence
from typing import Literal

import polars as pl

from forge_assets.candidate_qa.identity import blake3
from forge_assets.candidate_qa.phrases import CLASS


def named(
    entities: pl.LazyFrame,
    phrases: pl.LazyFrame,
    task: str,
    kinds: Sequence[str],
    otherwise: Literal["place", "nothing"] = "nothing",
) -> pl.LazyFrame:
    """Name each object by a clear phrase: its class if that is unique, else one that its hash draws.

    Args:
        entities: as `entities.entities` gives them.
        phrases: as `phrases.phrases` gives them, with `phrase_number`.
        task: part of the hash.
        kinds: of phrases that do not give the answer away.
        otherwise: name an object without a clear phrase by its region or its marked point, or leave it out.

    Returns:
        `entities` with `name` ("the red car") and `phrase_number`, null for a place.
    """
    clear = phrases.filter(pl.col("is_clear") & pl.col("kind").is_in(list(kinds)))
    best = (
        clear.select("object_id", "kind", "phrase_number", name="text")
        .with_columns(drawn=blake3(pl.lit(task), "object_id", "kind"))
        .sort("object_id", pl.col("kind") != CLASS, "drawn", "name")
        .unique("object_id", keep="first", maintain_order=True)
        .select("object_id", "name", "phrase_number")
    )
    if otherwise == "nothing":
        return entities.join(best, on="object_id")
    by_point = blake3(pl.lit(task), "object_id", pl.lit("point")).str.slice(0, 1).is_in(list("01234567"))
    place = pl.when(by_point & pl.col("by_point").is_not_null()).then("by_point").otherwise("by_region")
    return entities.join(best, on="object_id", how="left").with_columns(name=pl.coalesce("name", place))
