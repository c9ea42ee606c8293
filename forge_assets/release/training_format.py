"""What a training format is: SQL that turns a pair into the two turns of a conversation."""

from dataclasses import dataclass

CONVERSATION = ("id", "image", "conversations")
"""Columns of a line where a format asks for no more."""


@dataclass(frozen=True)
class TrainingFormat:
    """How one family of models wants its pairs, one JSON object a line.

    `question` and `answer` are DuckDB expressions over the columns of `verified_qa`. A line has
    `columns`: `id` (qa_id), `image` (path of the photo below the image root), `width` and `height`
    (pixels), and `conversations`, a human turn that begins with `<image>` and a gpt turn.
    """

    name: str
    question: str = "question"
    answer: str = "answer"
    columns: tuple[str, ...] = CONVERSATION
    reserved: tuple[str, ...] = ("<image>",)
    """Texts with a meaning of their own in the format, which no question or answer may hold."""
