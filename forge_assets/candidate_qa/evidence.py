"""The evidence that every pair carries of the objects that it names, in the order in which it names them."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from forge_assets.candidate_qa.lists import looked_up, models_apart

LISTS: Final[Mapping[str, str]] = {
    "boxes": "box",
    "categories": "category",
    "e_scores": "sure_score",
    "e_mirror_ious": "sure_mirror_iou",
    "e_second_scores": "sure_second_score",
    "e_truncated": "is_truncated",
    "e_occlusions": "occlusion",
    "e_class_conflicts": "class_conflict",
}
"""By the name of a pair's column, the column of `entities` that it lists."""


def with_evidence(
    pairs: pl.LazyFrame, models: pl.Series, entities: pl.DataFrame, phrases: pl.DataFrame
) -> pl.LazyFrame:
    """Add the columns of `LISTS`, `e_models` and `e_phrases` to pairs.

    Args:
        pairs: with `object_ids` and `phrase_numbers`, both of which may be empty, and `models`, as `lists.joined`
            gives them.
        models: that column.
        entities: as `entities.entities` gives them.
        phrases: `phrase_number` and `phrase`.
    """
    apart = models_apart(models)
    which = pl.col("models").replace_strict(apart["text"], pl.int_range(apart.height, eager=True))
    return pairs.with_columns(
        **{name: looked_up("object_ids", entities, "object_id", column) for name, column in LISTS.items()},
        e_phrases=looked_up("phrase_numbers", phrases, "phrase_number", "phrase"),
        e_models=pl.lit(apart["models"]).gather(which),
    )
