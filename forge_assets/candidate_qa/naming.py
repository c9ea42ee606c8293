"""The words by which a question names an object: the best clear phrase, or where it lies."""

from collections.abc import Sequence
from typing import Literal

import polars as pl

from forge_assets.candidate_qa.identity import blake3
from forge_assets.candidate_qa.phrases import CLASS
from forge_assets.tables import PHRASE

_NO_PHRASE = pl.lit([], dtype=pl.List(PHRASE))


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
        phrases: as `phrases.phrases` gives them.
        task: part of the hash.
        kinds: of phrases that do not give the answer away.
        otherwise: name an object without a clear phrase by its region or its marked point, or leave it out.

    Returns:
        `entities` with `name` ("the red car"), `bare` (the same without "the"), `name_kind` (null for a place),
        `landmark_id` (null without one) and `named_by`, the phrase as a list, empty for a place.
    """
    clear = phrases.filter(pl.col("is_clear") & pl.col("kind").is_in(list(kinds)))
    preference = pl.struct(pl.col("kind") != CLASS, "drawn", "text")
    best = (
        clear.with_columns(drawn=blake3(pl.lit(task), "object_id", "kind"))
        .filter(preference.rank("ordinal").over("object_id") == 1)
        .select("object_id", "bare", "landmark_id", name="text", name_kind="kind", named_by=pl.concat_list("phrase"))
    )
    objects = entities.drop("named_by")
    if otherwise == "nothing":
        return objects.join(best, on="object_id")
    by_point = blake3(pl.lit(task), "object_id", pl.lit("point")).str.slice(0, 1).is_in(list("01234567"))
    place = pl.when(by_point & pl.col("by_point").is_not_null()).then("by_point").otherwise("by_region")
    return (
        objects.join(best, on="object_id", how="left")
        .with_columns(pl.col("named_by").fill_null(_NO_PHRASE), name=pl.coalesce("name", place))
        .with_columns(bare=pl.col("name").str.strip_prefix("the "))
    )
