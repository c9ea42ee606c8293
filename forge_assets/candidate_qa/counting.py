"""Counting: how many objects of a class the photo shows."""

import polars as pl

from forge_assets.candidate_qa.grounding import grounding


def counting(entities: pl.LazyFrame, min_score: float, counting_max: int) -> pl.LazyFrame:
    """One question a photo and class, answered by the number of its objects.

    It rests on the same objects and the same evidence as the grounding of that class.

    Args:
        entities: as `entities.entities` gives them.
        min_score: detector's score from which an object counts.
        counting_max: larger numbers are not asked.
    """
    return (
        grounding(entities, min_score)
        .with_columns(
            form=pl.lit("number"), answer_kind=pl.lit("integer"), count=pl.col("object_ids").list.len().cast(pl.Int32)
        )
        .filter(pl.col("count") <= counting_max)
        .drop("answer")
    )
