"""Which pairs are asked, how, and what is told of the replies."""

import math
from typing import Any

import polars as pl
import pytest

from forge_assets.audits.runner import run_audit
from forge_assets.calibration.intervals import wilson
from forge_assets.judgements.judge import agreement
from forge_assets.judgements.questions import prompt, sample
from forge_assets.tables import ANSWER_KINDS, JUDGEMENTS, SCHEMAS, TASKS, VERIFIED_QA
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.warehouse import Warehouse


def pairs(count: int) -> pl.LazyFrame:
    ids = [f"{number:05d}" for number in range(count)]
    return pl.LazyFrame({"qa_id": ids, "image_id": [f"photos/{number % 7}" for number in range(count)]})


def test_a_sample_is_the_same_each_time_and_grows_by_adding() -> None:
    few, more = (set(sample(pairs(500), size).collect()["qa_id"]) for size in (50, 80))
    assert (len(few), len(more)) == (50, 80)
    assert few < more
    backwards = pairs(500).reverse()
    assert sample(backwards, 50).collect().equals(sample(pairs(500), 50).collect())
    assert sample(pairs(3), 50).collect().height == 3


@pytest.mark.parametrize("answer_kind", ANSWER_KINDS)
def test_the_answer_is_shown_for_texts_alone(answer_kind: str) -> None:
    asked = prompt("Where is it?", "In the attic.", answer_kind, ["left", "right"] if answer_kind == "choice" else None)
    assert "Where is it?" in asked
    assert ("In the attic." in asked) == (answer_kind == "text")
    assert ("left | right" in asked) == (answer_kind == "choice")


def judged(*rows: tuple[str, str, bool | None]) -> pl.DataFrame:
    shared = {"source": "photos", "shard": "s00000", "image_id": "photos/a", "model": "openai:org/model"}
    return pl.DataFrame(
        [
            dict.fromkeys(JUDGEMENTS) | shared | {"qa_id": f"{i}", "task": task, "form": form, "agrees": agrees}
            for i, (task, form, agrees) in enumerate(rows)
        ],
        schema=dict(JUDGEMENTS),
    )


ROWS = (
    *[("counting", "number", True)] * 8,
    ("counting", "number", False),
    ("counting", "zero", None),
    ("near_far", "nearer", None),
)


def test_agreement_counts_what_could_be_read() -> None:
    counting, near_far = agreement(judged(*ROWS)).to_dicts()
    low, high = wilson(8, 9)
    assert counting == {
        "task": "counting",
        "asked": 10,
        "read": 9,
        "agrees": 8,
        "share": pytest.approx(8 / 9),
        "low": low,
        "high": high,
    }
    assert near_far == {
        "task": "near_far",
        "asked": 1,
        "read": 0,
        "agrees": 0,
        "share": None,
        "low": None,
        "high": None,
    }
    assert agreement(judged()).is_empty()


def test_the_audit_has_the_same_figures_by_form(tmp_path: Any) -> None:
    lake, key = Lake(tmp_path), ShardKey("photos", "s00000")
    lake.write("judgements", key, judged(*ROWS), SCHEMAS["judgements"])
    with Warehouse(lake, SCHEMAS) as warehouse:
        rows = run_audit(warehouse, "judgements", dict.fromkeys(TASKS, 1.0))
    by_form = {(row["task"], row["form"]): row for row in rows.to_dicts()}
    assert set(by_form) == {
        ("counting", "number"),
        ("counting", "zero"),
        ("near_far", "nearer"),
        *((task, None) for task in TASKS if task not in ("counting", "near_far")),
    }
    number = by_form["counting", "number"]
    low, high = wilson(8, 9)
    assert low is not None
    assert (number["asked"], number["unread"], number["agrees"], number["disagrees"]) == (9, 0, 8, 1)
    assert math.isclose(number["low"], low, abs_tol=1e-6)
    assert math.isclose(number["high"], high, abs_tol=1e-6)
    zero = by_form["counting", "zero"]
    assert (zero["asked"], zero["unread"], zero["agreement"], zero["low"]) == (1, 1, None, None)
    assert by_form["perspective", None]["asked"] == 0


def test_the_table_of_judgements_names_columns_of_pairs() -> None:
    assert {name: JUDGEMENTS[name] for name in ("qa_id", "task", "form")} == {
        name: VERIFIED_QA[name] for name in ("qa_id", "task", "form")
    }
