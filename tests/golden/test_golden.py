"""The pairs of real photos, as a person can read them: `pairs.md`.

`scenes.ndjson` holds what the networks said of the demo's photos, once and for all, so the pairs rest on nothing but
the code. After a change that is meant, write both anew and read the difference:

    forge demo --folder forge-demo
    FORGE_GOLDEN=forge-demo/lake pytest tests/golden      (new scenes and pairs; `FORGE_GOLDEN=1`: new pairs alone)
"""

import os
from pathlib import Path

import polars as pl
import pytest

from forge_assets.candidate_qa.generate import candidates
from forge_assets.tables import SCENES, TASKS
from forge_assets.verified_qa.verify import verify
from forge_resources.config import ForgeConfig

FOLDER = Path(__file__).parent
SCENES_FILE, PAIRS_FILE = FOLDER / "scenes.ndjson", FOLDER / "pairs.md"
WRITE = os.environ.get("FORGE_GOLDEN")
DIGITS = 6


@pytest.fixture(scope="module")
def judged() -> pl.DataFrame:
    """Verified and rejected pairs of the stored scenes; `rule` is null for verified ones."""
    if WRITE and WRITE != "1":
        scenes = pl.concat(pl.read_parquet(path) for path in sorted(Path(WRITE).glob("scenes/**/*.parquet")))
        scenes.with_columns(pl.col(pl.Float64).round(DIGITS)).sort("object_id").write_ndjson(SCENES_FILE)
    config = ForgeConfig()
    scenes = pl.read_ndjson(SCENES_FILE, schema=dict(SCENES))
    return pl.concat(verify(candidates(scenes, config), config.verification), how="diagonal")


def written(judged: pl.DataFrame) -> str:
    """All pairs, by task and photo."""
    lines = ["# Pairs of the demo's photos", "", "Written by `test_golden.py`; each pair with what became of it.", ""]
    for task in TASKS:
        pairs = judged.filter(pl.col("task") == task).sort("image_id", "form", "template_id", "qa_id")
        verified = pairs["rule"].null_count()
        lines += [f"## {task}: {verified} verified, {pairs.height - verified} rejected", ""]
        for photo, of_photo in pairs.group_by("image_id", maintain_order=True):
            lines += [f"### {photo[0]}", "", "| | form | question | answer | |", "|---|---|---|---|---|"]
            lines += [line(pair) for pair in of_photo.iter_rows(named=True)]
            lines.append("")
    return "\n".join(lines)


def line(pair: dict[str, object]) -> str:
    outcome = f"score {pair['score']:.2f}" if pair["rule"] is None else f"{pair['rule']}: {told(pair['value'])}"
    mark = "yes" if pair["rule"] is None else "no"
    return f"| {mark} | `{pair['form']}` | {pair['question']} | {pair['answer']} | {outcome} |"


def told(value: object) -> str:
    return "no value" if value is None else f"{value:.3g}"


def test_the_pairs_of_real_photos_are_those_that_a_person_has_read(judged: pl.DataFrame) -> None:
    text = written(judged)
    if WRITE:
        PAIRS_FILE.write_text(text)
    assert text.splitlines() == PAIRS_FILE.read_text().splitlines()


def test_every_task_is_asked_about_real_photos(judged: pl.DataFrame) -> None:
    assert set(judged["task"].cast(pl.String)) == set(TASKS)
