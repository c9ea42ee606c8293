"""The words of pairs: question, short answer and answer, filled for whole tables at once."""

from collections.abc import Sequence
from functools import cache
from typing import Final

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

_COUNTED: Final = ("count", "singular", "plural")
_OF_COUNT: Final = {
    "how_many": pl.when(pl.col("count") == 0).then(pl.lit("no")).otherwise(pl.col("count").cast(pl.String)),
    "noun": pl.when(pl.col("count") == 1).then("singular").otherwise("plural"),
    "are": pl.when(pl.col("count") == 1).then(pl.lit("is")).otherwise(pl.lit("are")),
}
"""Slots that follow from the count: "there are no dogs", "there is 1 dog"."""


def columns_needed(task: str) -> set[str]:
    """The columns of drafts that the words of a task are made of."""
    named = {column_of(slot) for slot in slots(task)}
    return (named - set(_OF_COUNT)) | (set(_COUNTED) if named & set(_OF_COUNT) else set())


def worded(drafts: pl.LazyFrame, task: str, form: str) -> pl.LazyFrame:
    """Add question, answer, short_answer and template_id; question and answer are drawn by the seed.

    Args:
        drafts: of one form, with `seed`, the columns of its slots, and `answer`, the short one, if the form makes none.
        task: of the drafts.
        form: of the drafts.
    """
    words = _words(task, form)
    ways = answer_templates().filter(task=task, form=form).height
    question = draw("seed", TEMPLATE_DIGIT, words.height // ways)
    follows = {name: _OF_COUNT[name] for name in map(column_of, slots(task, form)) if name in _OF_COUNT}
    return (
        drafts.with_columns(words_index=question * ways + draw("seed", ANSWER_DIGIT, ways), **follows)
        .join(words.lazy(), on="words_index")
        .with_columns(answer=_filled(words, "short") if words["short"].count() else pl.col("answer"))
        .with_columns(
            short_answer="answer",
            question=_filled(words, "question"),
            answer=_filled(words, "said", "said_if_no"),
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


@cache
def _words(task: str, form: str) -> pl.DataFrame:
    """Each question with each way to answer it: words_index, template_id, question, short, said and said_if_no."""
    return (
        templates()
        .filter(task=task, form=form)
        .join(answer_templates(), on=["task", "form"], maintain_order="left_right")
        .select(
            template_id=pl.concat_str("template_id", "answer_id", separator=ANSWER_MARK),
            question=pl.concat_str("question", "demand", separator=" ", ignore_nulls=True),
            short="short_answer",
            said="answer",
            said_if_no="answer_if_no",
        )
        .with_row_index("words_index")
        .with_columns(pl.col("words_index").cast(pl.Int64))
    )


def _filled(words: pl.DataFrame, text: str, if_no: str | None = None) -> pl.Expr:
    """The column `text` filled, or the column `if_no` where the answer is no and the form has words for it."""
    used = [text] if if_no is None or words[if_no].count() == 0 else [text, if_no]
    names = {slot for name in used for sentence in words[name].drop_nulls().unique() for slot in slots_in(sentence)}
    is_no = pl.col("answer") == "no"
    sentence = pl.col(text) if len(used) == 1 else pl.when(is_no).then(pl.coalesce(if_no, text)).otherwise(text)
    return filled(sentence, sorted(names))
