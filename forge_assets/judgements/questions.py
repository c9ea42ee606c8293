"""Which pairs a judge is asked, and in which words."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from forge_assets.candidate_qa.identity import blake3

_PLACES: Final = "Places are in thousandths of the photo's width and height: boxes x1, y1, x2, y2 and points x, y."
_HOW: Final = {
    "integer": "Answer with one number alone, in digits.",
    "yes_no": "Answer with Yes or No alone.",
    "bbox": 'Answer with JSON alone: a list of {"bbox_2d": [x1, y1, x2, y2]}.',
    "choice": "Answer with one of these alone, word for word: ",
}


def sample(pairs: pl.LazyFrame, size: int) -> pl.LazyFrame:
    """So many pairs at most, the same ones each time: those whose ids have the smallest hashes.

    Args:
        pairs: rows of `VERIFIED_QA`.
        size: pairs wanted.
    """
    drawn = pl.struct(blake3(pl.lit("judge"), "qa_id"), "qa_id").rank("ordinal")
    return pairs.filter(drawn <= size).sort("image_id", "qa_id")


def prompt(question: str, answer: str, answer_kind: str, choices: Sequence[str] | None) -> str:
    """A pair's question, with how to answer it so that the reply can be read.

    A text can be said in many ways: there the answer is shown, and the judge is asked whether it is right. A judge
    that says yes to everything agrees with all of these.

    Args:
        question: as `CANDIDATE_QA` has it; this and all below.
        answer: shown for texts alone.
        answer_kind: one of `ANSWER_KINDS`.
        choices: options of a choice.
    """
    if answer_kind == "text":
        proposed = f"Proposed answer: {answer}\nIs the proposed answer right? Answer with Yes or No alone."
        return f"{_PLACES}\nQuestion: {question}\n{proposed}"
    how = _HOW[answer_kind] + (" | ".join(choices or ()) if answer_kind == "choice" else "")
    return f"{_PLACES}\n{question}\n{how}"
