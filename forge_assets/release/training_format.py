"""What a training format is: SQL that turns a pair into the two turns of a conversation, and how files hold pairs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CONVERSATION = ("id", "image", "conversations")
"""Columns of a line where a format asks for no more."""

Layout = Literal["lines", "parquet", "tar"]


@dataclass(frozen=True)
class TrainingFormat:
    """How one family of models or one library wants its pairs.

    `question` and `answer` are DuckDB expressions over the columns of `verified_qa`, of which `answer` may stand for
    the short answer. In the layout `lines`, a line is a JSON object of a photo and a conversation about it; it has
    `columns`: `id` (qa_id of its first pair), `image` (path of the photo below the image root), `width` and `height`
    (pixels), and `conversations`, human and gpt turns, the first of which begins with `<image>`.
    """

    name: str
    question: str = "question"
    answer: str = "answer"
    columns: tuple[str, ...] = CONVERSATION
    reserved: tuple[str, ...] = ("<image>",)
    """Texts with a meaning of their own in the format, which no question or answer may hold."""
    derived: Mapping[str, str] = field(default_factory=dict[str, str])
    """DuckDB expressions of columns that `question` and `answer` read, by name; later ones may read earlier ones."""
    layout: Layout = "lines"
    holds_photos: bool = False
    """Whether its files can hold the photos' bytes."""


def regions() -> str:
    """SQL of the texts of this row's boxes, as questions and answers have them: `[x1, y1, x2, y2]`, 0-1000."""
    return "list_distinct(list_transform(boxes, lambda box: box::VARCHAR))"
