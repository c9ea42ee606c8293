"""Question and answer sentences, read from `templates.yaml` and filled for whole tables at once."""

import re
from functools import cache
from importlib import resources

import polars as pl
import yaml

_SLOT = re.compile(r"\{(\w+)\}")


@cache
def templates() -> pl.DataFrame:
    """All templates: task, form, index (within its form), forms (how many there are), template_id, question, answer."""
    raw = yaml.safe_load(resources.files("forge_assets.candidate_qa").joinpath("templates.yaml").read_text())
    version = raw.pop("version")
    return pl.DataFrame(
        [
            {
                "task": task,
                "form": form,
                "template_index": index,
                "template_count": len(entries),
                "template_id": f"{task}.{entry['id']}.v{version}",
                "question": entry["question"],
                "answer": entry.get("answer"),
            }
            for task, forms in raw.items()
            for form, entries in forms.items()
            for index, entry in enumerate(entries)
        ],
        schema_overrides={"template_index": pl.UInt32, "template_count": pl.UInt32, "answer": pl.String},
    )


def slots() -> list[str]:
    """The names of all slots that any template uses, sorted."""
    sentences = pl.concat([templates()["question"], templates()["answer"].drop_nulls()])
    return sorted({slot for sentence in sentences for slot in _SLOT.findall(sentence)})


def filled(sentence: str, available: list[str]) -> pl.Expr:
    """The column `sentence` with each `{slot}` replaced by the column of that name."""
    text = pl.col(sentence)
    for slot in available:
        text = text.str.replace_all(f"{{{slot}}}", pl.col(slot).cast(pl.String).fill_null(""), literal=True)
    return text
