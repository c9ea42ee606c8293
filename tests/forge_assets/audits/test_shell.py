"""The SQL shell, line by line."""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from forge_assets.audits.opening import open_lake
from forge_assets.audits.shell import MORE, PROMPT, run_shell
from forge_resources.config import load_config

Talk = Callable[..., list[str]]


@pytest.fixture
def talk(project: Path) -> Iterator[Talk]:
    """What the shell shows for these lines: prompts, rows and texts, in order."""
    with open_lake(load_config(project / "forge.yaml")) as tables:

        def talk(*lines: str | type[BaseException]) -> list[str]:
            shown: list[str] = []
            left = iter(lines)

            def ask(prompt: str) -> str:
                shown.append(prompt)
                line = next(left, EOFError)
                if isinstance(line, str):
                    return line
                raise line

            run_shell(tables, ask, lambda rows: shown.append(str(rows.rows())), shown.append)
            return shown

        yield talk


def test_a_statement_ends_with_a_semicolon_outside_of_quotes(talk: Talk) -> None:
    assert talk("SELECT 'é;", "b' AS x", "-- not yet;", "  ; -- now") == [
        PROMPT, MORE, MORE, MORE, "[('é;\\nb',)]", PROMPT,
    ]  # fmt: skip


def test_a_mistake_is_said_and_the_shell_goes_on(talk: Talk) -> None:
    shown = talk("SELEC 1;", "COPY verified_qa TO 'x.csv';", "SELECT 1;")
    assert "syntax error" in shown[1]
    assert "only reads" in shown[3]
    assert shown[5] == "[(1,)]"


def test_commands_tell_of_tables_columns_and_audits(talk: Talk) -> None:
    shown = talk(".tables", ".schema partitions", ".schema nosuch", ".audits", ".audit licenses", ".nosuch", ".quit")
    texts = [text for text in shown if text != PROMPT]
    assert {"objects", "depth", "image_licences", "quotas"} <= set(texts[0].split())
    assert "content_hash  VARCHAR" in texts[1]
    assert texts[2].startswith("error: there is no table 'nosuch'")
    assert "task_balance" in texts[3]
    assert "alert(1)" in texts[4]
    assert ".schema NAME" in texts[5]
    assert shown[-1] == PROMPT


def test_what_was_begun_can_be_dropped_and_the_last_needs_no_semicolon(talk: Talk) -> None:
    assert talk("SELECT 1,", KeyboardInterrupt, "SELECT 2") == [PROMPT, MORE, PROMPT, MORE, "[(2,)]"]


def test_blank_lines_are_nothing(talk: Talk) -> None:
    assert talk("", "  ") == [PROMPT] * 3


def test_the_views_hold_what_their_tables_hold(project: Path) -> None:
    with open_lake(load_config(project / "forge.yaml")) as tables:
        assert tables.query("SELECT count(*) FROM image_licences").item() == 4
        assert tables.query("FROM objects").is_empty()
        assert isinstance(tables.query("FROM depth"), pl.DataFrame)
