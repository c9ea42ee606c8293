"""Referring: a box to the phrase that fits its object alone."""

import polars as pl


def referring(entities: pl.LazyFrame) -> pl.LazyFrame:
    """One question an object: what is in this region? Its class name must fit no other object of the photo.

    Args:
        entities: as `entities.entities` gives them.
    """
    return entities.with_columns(
        form=pl.lit("region"),
        answer_kind=pl.lit("text"),
        object_ids=pl.concat_list("object_id"),
        answer_object_ids=pl.concat_list("object_id"),
        boxes=pl.concat_list("box"),
        e_scores=pl.concat_list("sure_score"),
        e_mirror_ious=pl.concat_list("sure_mirror_iou"),
        e_truncated=pl.concat_list("is_truncated"),
        e_occlusions=pl.concat_list("occlusion"),
        e_class_conflicts=pl.concat_list("class_conflict"),
        e_same_category="same_category",
        e_models=pl.concat_list("detector"),
    )
