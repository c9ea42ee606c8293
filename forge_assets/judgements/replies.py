"""Whether a reply says what a pair's answer says: one function a kind of answer."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from forge_resources.models.boxes import iou_matrix, match_one_to_one
from forge_resources.models.vision_language.replies import boxes_in

MIN_IOU: Final = 0.5
"""Boxes that overlap less show different things."""
_LARGEST_WORD: Final = 100
_NUMBER: Final = re.compile(r"(?<![\w.-])\d+(?![\w]|\.\d)")
_ARTICLES: Final = re.compile(r"^(?:the|an?) ")


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a reply says of an answer."""

    agrees: bool | None
    """None where the reply cannot be read."""
    reason: str | None = None
    """Why it cannot: `no_number`, `several_numbers`, `no_yes_or_no`, `yes_and_no`, `no_option`, `several_options`, or
    `no_boxes`."""


def opinion(reply: str, answer_kind: str, short_answer: str, choices: Sequence[str] | None) -> Opinion:
    """Compare a reply with the answer of a pair.

    Args:
        reply: of the model that was asked as `questions.prompt` asks.
        answer_kind: as `CANDIDATE_QA` has it.
        short_answer: as `CANDIDATE_QA` has it; not read for texts, where the model was asked whether it is right.
        choices: options of a choice.
    """
    if answer_kind == "choice":
        return _of_choice(reply, short_answer, choices or ())
    return _BY_KIND[answer_kind](reply, short_answer)


def _of_number(reply: str, short_answer: str) -> Opinion:
    words = re.findall(r"[a-z-]+", reply.lower())
    said = {int(number) for number in _NUMBER.findall(reply)} | {
        _numbers()[word] for word in words if word in _numbers()
    }
    if len(said) == 1:
        return Opinion(said == {int(short_answer)})
    return Opinion(None, "several_numbers" if said else "no_number")


@cache
def _numbers() -> Mapping[str, int]:
    import inflect

    words = inflect.engine()
    return {str(words.number_to_words(str(number))): number for number in range(_LARGEST_WORD)}


def _of_yes_no(reply: str, short_answer: str) -> Opinion:
    said = {word for word in re.findall(r"[a-z]+", reply.lower()) if word in ("yes", "no")}
    if len(said) == 1:
        return Opinion(said == {short_answer.lower()})
    return Opinion(None, "yes_and_no" if said else "no_yes_or_no")


def _of_proposed(reply: str, _short_answer: str) -> Opinion:
    return _of_yes_no(reply, "yes")


def _of_choice(reply: str, short_answer: str, choices: Sequence[str]) -> Opinion:
    plain, answer = _plain(reply), _plain(short_answer)
    options = sorted({_plain(choice) for choice in choices}, key=lambda option: (-len(option), option))
    if plain in options:
        return Opinion(plain == answer)
    said: set[str] = set()
    for option in options:
        pattern = rf"(?<!\w){re.escape(option)}(?!\w)"
        plain, number = re.subn(pattern, " ", plain)
        if number:
            said.add(option)
    if len(said) == 1:
        return Opinion(said == {answer})
    return Opinion(None, "several_options" if said else "no_option")


def _plain(text: str) -> str:
    words = " ".join(re.sub(r"[\"'`*]", "", text.casefold()).split()).strip(" .,:;")
    return _ARTICLES.sub("", words)


def _of_boxes(reply: str, short_answer: str) -> Opinion:
    said, meant = boxes_in(reply), boxes_in(short_answer)
    if said is None or meant is None:
        return Opinion(None, "no_boxes")
    overlaps = iou_matrix(np.array(said).reshape(-1, 4), np.array(meant).reshape(-1, 4))
    matched = int((match_one_to_one(overlaps, MIN_IOU) >= 0).sum())
    return Opinion(matched == len(said) == len(meant))


_BY_KIND: Final[Mapping[str, Callable[[str, str], Opinion]]] = {
    "integer": _of_number,
    "yes_no": _of_yes_no,
    "text": _of_proposed,
    "bbox": _of_boxes,
}
