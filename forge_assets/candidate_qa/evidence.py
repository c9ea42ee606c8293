"""The evidence that every pair carries of the objects that it names, in the order in which it names them."""

from typing import Final

import polars as pl

OBJECT_EVIDENCE: Final = (
    "box",
    "category",
    "named_by",
    "sure_score",
    "sure_mirror_iou",
    "sure_second_score",
    "is_truncated",
    "occlusion",
    "class_conflict",
)
"""The columns of `entities` that `evidence_of` reads besides object_id."""

LISTS: Final = dict(
    zip(
        (
            "object_ids",
            "boxes",
            "categories",
            "e_phrases",
            "e_scores",
            "e_mirror_ious",
            "e_second_scores",
            "e_truncated",
            "e_occlusions",
            "e_class_conflicts",
        ),
        ("object_id", *OBJECT_EVIDENCE),
        strict=True,
    )
)
"""By the name of a draft's column, the column of `entities` that it lists."""


def evidence_of(*endings: str) -> dict[str, pl.Expr]:
    """Lists over the objects of a pair, by the name of the draft's column.

    Args:
        endings: of the columns of each object, in the order in which the question names them, such as `_a`.
    """
    return {name: pl.concat_list(*(f"{column}{ending}" for ending in endings)) for name, column in LISTS.items()}


def evidence_in_order(*order: str | pl.Expr) -> dict[str, pl.Expr]:
    """The same lists where each object has a row: aggregations of a group's objects, sorted by `order`."""
    lists = {name: pl.col(column).sort_by(*order) for name, column in LISTS.items()}
    return lists | {"e_phrases": lists["e_phrases"].explode(empty_as_null=False)}


def models_of(*columns: str) -> pl.Expr:
    """The identities of models, from columns of texts or lists of texts, each once and sorted."""
    return pl.concat_list(*columns).list.drop_nulls().list.unique().list.sort()
