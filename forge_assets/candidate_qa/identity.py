"""Names and seeds from content: BLAKE3, so that they hold across versions, machines and runs."""

import polars as pl
import polars_hash as plh

_SEPARATOR = "\x1f"
QA_ID_DIGITS = 24


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
