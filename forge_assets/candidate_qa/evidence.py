"""The evidence that every pair carries of the objects that it names, in the order in which it names them.

Lists are joined to drafts that are chosen, by the ids of their objects: far more drafts are made than are kept, and
lists of nested values are the dearest of their columns.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

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
"""By the name of a draft's column, the column of `entities` that it lists."""


def with_evidence(drafts: pl.LazyFrame, entities: pl.LazyFrame) -> pl.LazyFrame:
    """Add the columns of `LISTS` to drafts.

    Args:
        drafts: with `object_ids`, which may be empty.
        entities: as `entities.entities` gives them.
    """
    of_objects = (pl.col(column).filter(pl.col("is_object")).alias(name) for name, column in LISTS.items())
    return _with_lists(drafts, entities.with_columns(is_object=pl.lit(value=True)), *of_objects)


def with_phrases(drafts: pl.LazyFrame, named: pl.LazyFrame) -> pl.LazyFrame:
    """Add `e_phrases` to drafts, by which their objects are named, and `detectors`, which found them.

    Args:
        drafts: with `object_ids`.
        named: object_id, `named_by` and `detector`, as `naming.named` gives them.
    """
    phrases, detectors = (pl.col(column).explode(empty_as_null=False) for column in ("named_by", "detector"))
    return _with_lists(drafts, named, phrases.alias("e_phrases"), detectors.alias("detectors"))


def models_of(*columns: str) -> pl.Expr:
    """The identities of models, from columns of texts or lists of texts, each once and sorted."""
    return pl.concat_list(*columns).list.drop_nulls().list.unique().list.sort()


def _with_lists(drafts: pl.LazyFrame, objects: pl.LazyFrame, *lists: pl.Expr) -> pl.LazyFrame:
    """Add what the expressions gather of the rows of a draft's objects.

    Drafts are collected first: made twice, their rows could stand in another order and be numbered differently.
    """
    numbered = drafts.with_row_index("draft").collect().lazy()
    gathered = (
        numbered.select("draft", object_id="object_ids")
        .explode("object_id", empty_as_null=True)
        .join(objects, on="object_id", how="left", maintain_order="left")
        .group_by("draft", maintain_order=True)
        .agg(*lists)
    )
    return numbered.join(gathered, on="draft").drop("draft")
