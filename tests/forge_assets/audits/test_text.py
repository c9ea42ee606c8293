"""Rows of any type as text: JSON, CSV and Markdown hold what the table holds."""

import csv
import io
import json

import polars as pl
import pytest

from forge_assets.audits.text import as_text

JPEG = b"\xff\xd8\xff\xe0"
IN_BASE64 = "/9j/4A=="


@pytest.fixture
def rows() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "image_bytes": [JPEG, None],
            "parts": [[JPEG, None], []],
            "photo": [{"bytes": JPEG, "path": "a.jpg"}, None],
            "category": ["<script>alert(1)</script>|", "x" * 500],
            "score": [0.5, None],
        }
    )


def test_json_holds_bytes_as_base64_wherever_they_are(rows: pl.DataFrame) -> None:
    first, second = json.loads(as_text(rows, "json"))
    assert first == {
        "image_bytes": IN_BASE64,
        "parts": [IN_BASE64, None],
        "photo": {"bytes": IN_BASE64, "path": "a.jpg"},
        "category": "<script>alert(1)</script>|",
        "score": 0.5,
    }
    assert second["image_bytes"] is None


def test_csv_holds_bytes_as_base64_and_nested_values_as_json(rows: pl.DataFrame) -> None:
    first = next(csv.DictReader(io.StringIO(as_text(rows, "csv"))))
    assert first["image_bytes"] == IN_BASE64
    assert json.loads(first["parts"]) == [IN_BASE64, None]
    assert json.loads(first["photo"]) == {"bytes": IN_BASE64, "path": "a.jpg"}


def test_markdown_cuts_no_text_and_lets_no_tag_through(rows: pl.DataFrame) -> None:
    text = as_text(rows, "markdown")
    assert "x" * 500 in text
    assert r"\<script\>alert\(1\)\</script\>\|" in text
    assert len(text.splitlines()) == len(rows) + 2


def test_no_rows_are_headings_in_markdown_and_csv_and_an_empty_list_in_json(rows: pl.DataFrame) -> None:
    none = rows.clear()
    assert as_text(none, "markdown").splitlines()[0] == r"| image\_bytes | parts | photo | category | score |"
    assert as_text(none, "csv") == "image_bytes,parts,photo,category,score"
    assert json.loads(as_text(none, "json")) == []
