"""Names and seeds from content: BLAKE3, so that they hold across versions, machines and runs."""

import polars as pl
import polars_hash as plh

_SEPARATOR = "\x1f"
_VARIANT_SEPARATOR = "\x1e"
QA_ID_DIGITS = 24

(
    TEMPLATE_DIGIT,
    SIDE_DIGIT,
    TRUTH_DIGIT,
    ORDER_DIGIT,
    FORM_DIGIT,
    ROTATION_DIGIT,
    OFFSET_DIGIT,
    ANSWER_DIGIT,
) = range(0, 64, 8)
"""Digits of a seed that decide one thing each, so that the draws are independent."""


def blake3(*parts: str | pl.Expr) -> pl.Expr:
    """Hexadecimal BLAKE3 of columns or expressions, joined by a character that none of them holds."""
    joined = pl.concat_str([pl.col(part) if isinstance(part, str) else part for part in parts], separator=_SEPARATOR)
    return plh.CryptographicHashingNameSpace(joined).blake3()


def draw(seed: str, digit: int, outcomes: pl.Expr | int) -> pl.Expr:
    """A number from 0 to below `outcomes`, taken from eight digits of a hexadecimal seed.

    Args:
        seed: column of hexadecimal digests.
        digit: first of the eight digits: draws that must be independent take different ones.
        outcomes: how many there are.
    """
    return pl.col(seed).str.slice(digit, 8).str.to_integer(base=16, dtype=pl.Int64) % outcomes


def seeded(
    drafts: pl.LazyFrame, task: str, *about: str | pl.Expr, variant: str | pl.Expr | None = None
) -> pl.LazyFrame:
    """Add `asked`, what the pair is about, and `seed`, which decides all that is drawn for it.

    Args:
        drafts: image_sha256, and what the arguments name.
        task: part of the seed.
        about: ids of the objects, in order; null where there is none.
        variant: where several questions are asked about the same objects; null for the plain one.
    """
    asked = pl.concat_str(*about, separator=",", ignore_nulls=True)
    if variant is not None:
        asked = pl.concat_str(asked, variant, separator=_VARIANT_SEPARATOR, ignore_nulls=True)
    return drafts.with_columns(asked=asked).with_columns(seed=blake3("image_sha256", pl.lit(task), "asked"))
