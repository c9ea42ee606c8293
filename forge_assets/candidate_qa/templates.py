"""Question and answer sentences, read from `templates/<task>.yaml` and filled for whole tables at once."""

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import polars as pl
import yaml

from forge_assets.tables import TASKS

_SLOT = re.compile(r"\{(\w+)\}")
_AS = "questions_of"
"""A form that is asked in the very words of another names it by this key."""


@cache
def templates() -> pl.DataFrame:
    """All templates: task, form, index (within its form), forms (how many there are), template_id, question, answer."""
    folder = resources.files("forge_assets.candidate_qa").joinpath("templates")
    return pl.DataFrame(
        [row for task in TASKS for row in _of_task(task, yaml.safe_load(folder.joinpath(f"{task}.yaml").read_text()))],
        schema_overrides={"template_index": pl.UInt32, "template_count": pl.UInt32, "answer": pl.String},
    )


def _of_task(task: str, raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    version = raw.pop("version")
    for form, written in raw.items():
        asked_as = written.get(_AS) if isinstance(written, dict) else None
        entries = [entry | {"id": f"{form}_{entry['id']}"} for entry in raw[asked_as]] if asked_as else written
        for index, entry in enumerate(entries):
            yield {
                "task": task,
                "form": form,
                "template_index": index,
                "template_count": len(entries),
                "template_id": f"{task}.{entry['id']}.v{version}",
                "question": entry["question"],
                "answer": entry.get("answer"),
            }


@cache
def slots(task: str, form: str | None = None, text: str | None = None) -> list[str]:
    """The names of all slots that templates of a task use, sorted.

    Args:
        task: of the templates.
        form: of the templates; None: all forms.
        text: `question` or `answer`; None: both.
    """
    chosen = templates().filter((pl.col("task") == task) & (pl.lit(form is None) | (pl.col("form") == (form or ""))))
    sentences = pl.concat([chosen[name].drop_nulls() for name in ([text] if text else ["question", "answer"])])
    return sorted({slot for sentence in sentences for slot in _SLOT.findall(sentence)})


def filled(sentence: str, available: list[str]) -> pl.Expr:
    """The column `sentence` with each `{slot}` replaced by the column of that name."""
    text = pl.col(sentence)
    for slot in available:
        text = text.str.replace_all(f"{{{slot}}}", pl.col(slot).cast(pl.String).fill_null(""), literal=True)
    return text
