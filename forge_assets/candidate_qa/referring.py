"""Referring: a box to the phrase that fits its object alone."""

import polars as pl

from forge_assets.candidate_qa.evidence import evidence_of, models_of


def referring(entities: pl.LazyFrame) -> pl.LazyFrame:
    """One question an object: what is in this region? Its class name must fit no other object of the photo.

    Args:
        entities: as `entities.entities` gives them.
    """
    return entities.with_columns(
        form=pl.lit("region"),
        answer_kind=pl.lit("text"),
        answer_object_ids=pl.concat_list("object_id"),
        e_same_category="same_category",
        e_models=models_of("detector"),
        **evidence_of(""),
    )
