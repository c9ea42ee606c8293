"""Texts and tables of data as Markdown, which shows them letter by letter whatever they hold."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$])")
_DIGITS: Final = 4


def escaped(text: str) -> str:
    """A text as Markdown shows it letter by letter, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def markdown_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """Rows of the same columns as a Markdown table.

    Args:
        rows: what the cells hold; a fraction shows four digits after the point, below one four that are not zero.
        columns: the headings where there are no rows; without them the text is empty then.
    """
    headings = list(rows[0]) if rows else columns
    if not headings:
        return ""
    lines = [
        [escaped(heading) for heading in headings],
        ["---"] * len(headings),
        *([_cell(value) for value in row.values()] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}" if abs(value) < 1 else np.format_float_positional(value, _DIGITS, trim="-")
    return escaped(str(value))
