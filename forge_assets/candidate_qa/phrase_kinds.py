"""The kinds of phrases: what each tells of its object, how clear it must be, and the columns that state any of them."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from forge_resources.config import VerificationConfig

CLASS, COLOR, ORDINAL, SIZE, DEPTH_RANK, SIDE_OF = "class", "color", "ordinal", "size", "depth_rank", "side_of"
DESCRIBED: Final = "described"
"""In a vision-language model's words; they may tell any fact but a place."""
COLOR_ORDINAL, COLOR_SIZE, COLOR_DEPTH_RANK = "color_ordinal", "color_size", "color_depth_rank"

COLORED: Final[Mapping[str, str]] = {ORDINAL: COLOR_ORDINAL, SIZE: COLOR_SIZE, DEPTH_RANK: COLOR_DEPTH_RANK}
"""By the kind of a rank in the whole class, the kind of the same rank among those of a colour."""
RANK_OF: Final[Mapping[str, str]] = {colored: rank for rank, colored in COLORED.items()}
"""The other way round."""

KINDS: Final = (CLASS, COLOR, ORDINAL, SIZE, DEPTH_RANK, SIDE_OF, *RANK_OF, DESCRIBED)
_FACTS_OF_DESCRIBED: Final = {COLOR, SIZE, DEPTH_RANK}


def telling_none_of(*facts: str) -> tuple[str, ...]:
    """The kinds that a question may use which asks for one of these.

    Args:
        facts: kinds of one part, such as `SIZE`; a phrase of two parts tells both.
    """
    return tuple(kind for kind in KINDS if not _facts_of(kind) & {*facts})


def _facts_of(kind: str) -> set[str]:
    if kind == DESCRIBED:
        return _FACTS_OF_DESCRIBED
    return {RANK_OF[kind], COLOR} if kind in RANK_OF else {kind}


def clearness_needed(thresholds: VerificationConfig) -> Mapping[str, float]:
    """By kind, the `value` from which a phrase is clear; a class name needs none.

    Depth readings agree by a share of what they need, and a phrase of two parts is as clear as the part that reaches
    the smaller share of its own need: for both, 1 is just enough.
    """
    return {
        COLOR: thresholds.min_color_share,
        ORDINAL: thresholds.min_ordinal_gap,
        SIZE: thresholds.min_size_ratio,
        SIDE_OF: thresholds.min_gap,
        DESCRIBED: thresholds.min_described_iou,
        **dict.fromkeys((DEPTH_RANK, *RANK_OF), 1.0),
    }


def stated(
    rows: pl.LazyFrame,
    kind: pl.Expr,
    bare: pl.Expr,
    *,
    spread: pl.Expr | None = None,
    value: pl.Expr | None = None,
    landmark: pl.Expr | None = None,
) -> pl.LazyFrame:
    """Phrases of any kind in the same columns.

    Args:
        rows: image_id, object_id, `matches` and what the expressions need.
        kind: one of `KINDS`.
        bare: the phrase without "the".
        spread: between all counts of the class; None where the phrase needs no complete class.
        value: how clearly it tells its object; None for a class name.
        landmark: object that the phrase names besides.
    """
    absent = pl.lit(None)
    return rows.select(
        "image_id",
        "object_id",
        kind.alias("kind"),
        bare.alias("bare"),
        (absent if value is None else value).cast(pl.Float64).alias("value"),
        pl.col("matches").cast(pl.Int32),
        (absent if spread is None else spread).cast(pl.Int32).alias("count_spread"),
        (absent if landmark is None else landmark).cast(pl.String).alias("landmark_id"),
    )
