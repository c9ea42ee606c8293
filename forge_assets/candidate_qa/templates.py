"""Questions, demands and answer sentences, read from `templates/<task>.yaml`."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

import polars as pl
import yaml

from forge_assets.tables import TASKS

ANSWER_MARK: Final = "/"
"""In a pair's `template_id`, stands between the question's template and the answer's."""

_SLOT: Final = re.compile(r"\{(\w+)\}")
_AS: Final = "words_of"
"""A form that is asked and answered in the very words of another names it by this key."""
_SHORT_ANSWER: Final = "{answer}"

_QUESTION_SCHEMA: Final = {
    "task": pl.String(),
    "form": pl.String(),
    "template_id": pl.String(),
    "question": pl.String(),
    "short_answer": pl.String(),
}
_ANSWER_SCHEMA: Final = {
    "task": pl.String(),
    "form": pl.String(),
    "answer_id": pl.String(),
    "demand": pl.String(),
    "answer": pl.String(),
    "answer_if_no": pl.String(),
}


class _Form(NamedTuple):
    task: str
    version: int
    name: str
    prefix: str
    """Put before the names of questions that are those of another form too."""
    words: Mapping[str, Any]


@cache
def templates() -> pl.DataFrame:
    """All questions, in the order of the files.

    Returns:
        task, form, template_id (such as `counting.how_many.v2`), `question`, and `short_answer`: how the form's short
        answer is made, null where its pairs bring it.
    """
    rows = [
        {
            "task": form.task,
            "form": form.name,
            "template_id": f"{form.task}.{form.prefix}{name}.v{form.version}",
            "question": question,
            "short_answer": form.words.get("short_answer"),
        }
        for form in _forms()
        for name, question in form.words["questions"].items()
    ]
    return pl.DataFrame(rows, schema=_QUESTION_SCHEMA)


@cache
def answer_templates() -> pl.DataFrame:
    """All ways to answer, in the order of the files.

    Returns:
        task, form, answer_id, `demand`, `answer` and `answer_if_no`. With a demand, which is put behind the question,
        the answer is the short answer alone; `answer_if_no` is null but in yes/no questions.
    """
    rows = [{"task": form.task, "form": form.name, **way} for form in _forms() for way in _ways_to_answer(form.words)]
    return pl.DataFrame(rows, schema=_ANSWER_SCHEMA)


@cache
def slots(task: str, form: str | None = None) -> list[str]:
    """The names of all slots in the words of a task, sorted, as they are written: with a capital or without.

    Args:
        task: of the words.
        form: of the words; None: all forms.
    """
    chosen = (pl.col("task") == task) & (pl.lit(form is None) | (pl.col("form") == (form or "")))
    questions, answers = templates().filter(chosen), answer_templates().filter(chosen)
    texts = [questions["question"], questions["short_answer"], answers["answer"], answers["answer_if_no"]]
    return sorted({slot for text in pl.concat(texts).drop_nulls() for slot in slots_in(text)})


def slots_in(sentence: str) -> list[str]:
    """The names of the slots of one sentence, each once, in their order."""
    return list(dict.fromkeys(_SLOT.findall(sentence)))


def column_of(slot: str) -> str:
    """The column that fills a slot: `{Landmark}` is `landmark` begun with a capital."""
    return slot[0].lower() + slot[1:]


@cache
def _forms() -> list[_Form]:
    return [form for task in TASKS for form in _of_task(task)]


def _of_task(task: str) -> Iterator[_Form]:
    folder = resources.files("forge_assets.candidate_qa").joinpath("templates")
    raw: dict[str, Any] = yaml.safe_load(folder.joinpath(f"{task}.yaml").read_text())
    version = raw.pop("version")
    for name, written in raw.items():
        shared = written.get(_AS)
        prefix, words = (f"{name}_", raw[shared]) if shared else ("", written)
        yield _Form(task, version, name, prefix, words)


def _ways_to_answer(words: Mapping[str, Any]) -> Iterator[dict[str, str | None]]:
    for name, demand in words["demands"].items():
        yield {"answer_id": name, "demand": demand, "answer": _SHORT_ANSWER, "answer_if_no": None}
    for name, said in words["answers"].items():
        if_yes, if_no = (said, None) if isinstance(said, str) else (said["if_yes"], said["if_no"])
        yield {"answer_id": name, "demand": None, "answer": if_yes, "answer_if_no": if_no}
