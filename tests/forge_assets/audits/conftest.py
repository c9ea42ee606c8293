"""Lakes small enough to count by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest

from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake, Manifest, Verdict
from forge_resources.shards import ShardKey

Write = Callable[..., Manifest]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


@pytest.fixture
def write(lake: Lake) -> Write:
    """Write a partition of a table from rows that name the columns that matter, and its verdict where one is given."""

    def write(
        table: str,
        source: str,
        rows: list[dict[str, Any]],
        outcome: Literal["passed", "failed", "broken"] | None = None,
        *,
        shard: str = "s00000",
        **made_of: Any,
    ) -> Manifest:
        key, schema = ShardKey(source, shard), SCHEMAS[table]
        full = [
            dict.fromkeys(schema)
            | {"source": key.source, "shard": key.shard, "qa_id": f"{i}", "image_id": f"{i}"}
            | row
            for i, row in enumerate(rows)
        ]
        full = [{name: row[name] for name in schema} for row in full]
        manifest = lake.write(table, key, pl.DataFrame(full, schema=dict(schema), strict=False), schema, **made_of)
        if outcome:
            failures = {"suite": 4} if outcome == "failed" else {}
            verdict = Verdict(
                gate="g",
                content_hash=manifest.content_hash,
                suite_hash="0",
                outcome=outcome,
                rows=manifest.rows,
                failures=failures,
            )
            lake.write_verdict(table, key, verdict)
        return manifest

    return write


@pytest.fixture
def project(tmp_path: Path, lake: Lake, write: Write) -> Path:
    """A folder with a configuration and a lake of three pairs, one of them dropped; a class has a hostile name."""
    hostile = "<script>alert(1)</script>"
    pair = {"task": "counting", "split": "train", "license": hostile, "question": "How many?", "answer_kind": "integer"}
    pair |= {"template_id": "counting.number_1.v1", "form": "number", "boxes": [[0, 0, 500, 500]], "score": 0.5}
    pairs = [pair | {"image_id": f"a/{i}", "qa_id": f"{i}", "answer": f"{i}", "short_answer": f"{i}"} for i in range(3)]
    write("raw_images", "a", [{"image_id": f"a/{i}", "license": hostile, "split": "train"} for i in range(4)], "passed")
    write("candidate_qa", "a", [{k: v for k, v in row.items() if k != "score"} for row in pairs], "passed")
    write("verified_qa", "a", pairs[:2], "passed")
    dropped = {k: v for k, v in pairs[2].items() if k != "score"} | {"rule": "overlap", "value": 0.9, "threshold": 0.6}
    write("rejected_qa", "a", [dropped])
    (tmp_path / "forge.yaml").write_text(f"lake: {lake.root}\n")
    return tmp_path
