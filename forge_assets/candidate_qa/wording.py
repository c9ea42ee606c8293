"""The words of pairs: question, short answer and answer, filled for whole tables at once."""

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import polars as pl

from forge_assets.candidate_qa.identity import ANSWER_DIGIT, TEMPLATE_DIGIT, draw
from forge_assets.candidate_qa.templates import (
    ANSWER_MARK,
    answer_templates,
    column_of,
    slots,
    slots_in,
    templates,
)

_OF_COUNT: Final = {
    "how_many": pl.when(pl.col("count") == 0).then(pl.lit("no")).otherwise(pl.col("count").cast(pl.String)),
    "noun": pl.when(pl.col("count") == 1).then("singular").otherwise("plural"),
    "are": pl.when(pl.col("count") == 1).then(pl.lit("is")).otherwise(pl.lit("are")),
}
"""Slots that follow from the count: "there are no dogs", "there is 1 dog"."""


def worded(drafts: pl.LazyFrame, task: str, form: str) -> pl.LazyFrame:
    """Add question, answer, short_answer and template_id; question and answer are drawn by the seed.

    Args:
        drafts: of one form, with `seed`, the columns of its slots, and `answer`, the short one, if the form makes none.
        task: of the drafts.
        form: of the drafts.
    """
    words = _words(task, form)
    question = draw("seed", TEMPLATE_DIGIT, words.rows.height // words.ways)
    said = _drawn(words, "said")
    if words.has_no:
        said = pl.when(pl.col("answer") == "no").then(_drawn(words, "said_if_no")).otherwise(said)
    return (
        drafts.with_columns(
            words_index=question * words.ways + draw("seed", ANSWER_DIGIT, words.ways),
            **{name: _OF_COUNT[name] for name in words.follows},
        )
        .with_columns(answer=filled(_drawn(words, "short"), words.in_short) if words.makes_short else pl.col("answer"))
        .with_columns(
            template_id=_drawn(words, "template_id"),
            short_answer="answer",
            question=filled(_drawn(words, "question"), words.in_question),
            answer=filled(said, words.in_answer),
        )
    )


def filled(sentence: pl.Expr, names: Sequence[str]) -> pl.Expr:
    """Sentences with each `{slot}` replaced by the column of that name, and `{Slot}` by the same with a capital.

    Args:
        sentence: the text of each row.
        names: of the slots.
    """
    for name in names:
        column = column_of(name)
        value = pl.col(column).cast(pl.String).fill_null("")
        sentence = sentence.str.replace_all(
            f"{{{name}}}", value if name == column else _capitalized(value), literal=True
        )
    return sentence


def _capitalized(text: pl.Expr) -> pl.Expr:
    return pl.concat_str(text.str.head(1).str.to_uppercase(), text.str.slice(1))


class _Words(NamedTuple):
    """The words of one form, and the names of the slots in them."""

    rows: pl.DataFrame
    """Each question with each way to answer it: template_id, question, short, said and said_if_no."""
    ways: int
    """To answer a question."""
    makes_short: bool
    """Whether the words make the short answer; else its drafts bring it."""
    has_no: bool
    """Whether there are other words for the answer no."""
    in_question: Sequence[str]
    in_short: Sequence[str]
    in_answer: Sequence[str]
    follows: Sequence[str]
    """Of these, such as follow from the count."""


@cache
def _words(task: str, form: str) -> _Words:
    ways = answer_templates().filter(task=task, form=form)
    rows = (
        templates()
        .filter(task=task, form=form)
        .join(ways, on=["task", "form"], maintain_order="left_right")
        .select(
            template_id=pl.concat_str("template_id", "answer_id", separator=ANSWER_MARK),
            question=pl.concat_str("question", "demand", separator=" ", ignore_nulls=True),
            short="short_answer",
            said="answer",
            said_if_no=pl.coalesce("answer_if_no", "answer"),
        )
    )
    return _Words(
        rows=rows,
        ways=ways.height,
        makes_short=rows["short"].count() > 0,
        has_no=ways["answer_if_no"].count() > 0,
        in_question=_slots_of(rows["question"]),
        in_short=_slots_of(rows["short"]),
        in_answer=_slots_of(rows["said"], rows["said_if_no"]),
        follows=[name for name in map(column_of, slots(task, form)) if name in _OF_COUNT],
    )


def _slots_of(*texts: pl.Series) -> list[str]:
    return sorted({slot for text in texts for sentence in text.drop_nulls().unique() for slot in slots_in(sentence)})


def _drawn(words: _Words, column: str) -> pl.Expr:
    """What the words that are drawn for a row say in a column."""
    return pl.lit(words.rows[column]).gather("words_index")
