"""What the text of a pair says by itself: which kind of question it is, which answer is right, where its boxes lie."""

from typing import Final

import polars as pl

from forge_assets.candidate_qa.identity import blake3
from forge_assets.candidate_qa.templates import ANSWER_MARK

BOX: Final = r"\[(\d+), (\d+), (\d+), (\d+)\]"
"""A box in a sentence: x1, y1, x2, y2 in thousandths of the photo's sides."""

FAVOURS_FIRST: Final = {"yes": True, "no": False, "left": True, "right": False}
"""Answers that are the same words for all photos, and whether they favour the object that is named first."""

MAX_OPTIONS: Final = 8
_DIGITS: Final = 12


def fraction(purpose: str, column: str) -> pl.Expr:
    """A number from 0 to below 1 that the text in `column` decides; draws for different purposes are independent."""
    drawn = blake3(pl.lit(purpose), column).str.slice(0, _DIGITS).str.to_integer(base=16, dtype=pl.Int64)
    return drawn / 16**_DIGITS


def is_closed() -> pl.Expr:
    """The pair has a fixed set of answers: a choice, or yes and no."""
    return pl.col("answer_kind").cast(pl.String).is_in(["choice", "yes_no"])


def kind() -> pl.Expr:
    """The kind of question, such as nearer or farther: the form of its template."""
    return pl.col("form")


def question_template() -> pl.Expr:
    """The part of `template_id` that names the question's template."""
    return pl.col("template_id").str.split(ANSWER_MARK).list.first()


def place() -> pl.Expr:
    """The place of the answer among the options as shown, from 0; null without options."""
    return pl.coalesce(
        pl.when(pl.col("choices").list.get(i, null_on_oob=True) == pl.col("short_answer")).then(pl.lit(i, pl.Int8))
        for i in range(MAX_OPTIONS)
    )


def word() -> pl.Expr:
    """The answer where it is one of the words that are the same for all photos; else null."""
    answer = pl.col("short_answer")
    return pl.when(answer.is_in(list(FAVOURS_FIRST))).then(answer)


def options() -> pl.Expr:
    """How many answers there are to choose from."""
    return pl.col("choices").list.len().fill_null(2).cast(pl.Int8)


def coordinate(text: pl.Expr, number: int) -> pl.Expr:
    """One of x1, y1, x2, y2 (1 to 4) of the first box in a text, in thousandths; null without a box."""
    return text.str.extract(BOX, number).cast(pl.Int32)
