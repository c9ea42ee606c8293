"""Grounding: a class, or its only object, to boxes."""

import polars as pl


def grounding(entities: pl.LazyFrame, min_score: float) -> pl.LazyFrame:
    """One question a photo and class: where are all of its objects?

    Answers are JSON lists of `{"bbox_2d": [x1, y1, x2, y2], "label": ...}`, left to right.

    Args:
        entities: as `entities.entities` gives them.
        min_score: detector's score from which an object belongs to the answer.
    """
    left_to_right = (pl.col("x1"), pl.col("object_id"))
    item = pl.concat_str(
        pl.lit('{"bbox_2d": '),
        "region",
        pl.lit(', "label": "'),
        pl.col("category").str.replace_all('"', "'"),
        pl.lit('"}'),
    )
    return (
        entities.filter(pl.col("sure_score") >= min_score)
        .with_columns(item=item)
        .group_by("image_id", "category")
        .agg(
            pl.first("image_sha256", "singular", "plural"),
            object_ids=pl.col("object_id").sort_by(*left_to_right),
            boxes=pl.col("box").sort_by(*left_to_right),
            items=pl.col("item").sort_by(*left_to_right),
            e_scores=pl.col("sure_score").sort_by(*left_to_right),
            e_mirror_ious=pl.col("sure_mirror_iou").sort_by(*left_to_right),
            e_truncated=pl.col("is_truncated").sort_by(*left_to_right),
            e_occlusions=pl.col("occlusion").sort_by(*left_to_right),
            e_class_conflicts=pl.col("class_conflict").sort_by(*left_to_right),
            e_count_strict=pl.first("count_strict"),
            e_count_loose=pl.first("count_loose"),
            e_count_mirror=pl.first("count_mirror"),
            e_models=pl.col("detector").drop_nulls().unique().sort(),
        )
        .with_columns(
            form=pl.when(pl.col("object_ids").list.len() == 1).then(pl.lit("one")).otherwise(pl.lit("every")),
            answer=pl.format("[{}]", pl.col("items").list.join(", ")),
            answer_kind=pl.lit("bbox"),
            answer_object_ids="object_ids",
        )
    )
