"""Markdown of data shows it letter by letter, and is a table whatever the cells hold."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from forge_assets.markdown import escaped, markdown_table

HOSTILE = "<script>alert(1)</script> | [x](javascript:alert) `a` **b** \\| &lt; ~~c~~\n# d"


def shown(table: str) -> list[list[str]]:
    """Text of the cells as a page would show it, heading first; only the table's own elements are allowed."""
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(table)
    assert {tag.strip("/") for tag in re.findall(r"<([^\s>]+)", html)} <= {"table", "thead", "tbody", "tr", "th", "td"}
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


@given(st.text(min_size=1, max_size=60))
def test_escaped_text_shows_as_it_is(text: str) -> None:
    inline = MarkdownIt("commonmark", {"html": True}).parseInline(escaped(text))[0]
    assert all(token.type in ("text", "text_special") for token in inline.children or [])


def test_headings_and_cells_show_what_they_hold_and_run_nothing() -> None:
    assert shown(markdown_table([{HOSTILE: HOSTILE, "n": 3}])) == [
        [" ".join(HOSTILE.split()), "n"],
        [" ".join(HOSTILE.split()), "3"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "True"),
        (10_200_000, "10200000"),
        (1234567.5, "1234567.5"),
        (2.0, "2"),
        (0.951234567, "0.9512"),
        (0.0000123456, "1.235e-05"),
        (float("nan"), "nan"),
    ],
)
def test_values_are_read_without_loss_that_matters(value: object, text: str) -> None:
    assert shown(markdown_table([{"value": value}])) == [["value"], [text]]


def test_a_table_without_rows_has_headings_where_they_are_known() -> None:
    assert markdown_table([]) == ""
    assert shown(markdown_table([], ["task", "pairs"])) == [["task", "pairs"]]
