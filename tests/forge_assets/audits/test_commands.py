"""`forge audit` and `forge sql` as a person meets them: all formats, files, databases, datasets and mistakes."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from forge_assets.audits.commands import DatasetForm
from forge_assets.audits.dataset import FORMS
from forge_assets.audits.runner import audit_names, audit_sql, audits_of_pairs
from forge_assets.cli import app

Forge = Callable[..., Result]


@pytest.fixture
def forge(project: Path) -> Forge:
    def run(*arguments: str, typed: str | None = None) -> Result:
        environment = {"FORGE_CONFIG": None, "DAGSTER_HOME": None, "COLUMNS": "200", "TERMINAL_WIDTH": "200"}
        with contextlib.chdir(project):
            return CliRunner().invoke(app, arguments, env=environment, input=typed)

    return run


def refused(result: Result, says: str) -> None:
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_all_audits_are_one_json_object(forge: Forge) -> None:
    answers = json.loads(forge("audit", "--format", "json").stdout)
    assert tuple(answers) == audit_names()
    assert [row["pairs"] for row in answers["task_balance"] if row["task"] == "counting"] == [2]


def test_the_terminal_shows_question_and_rows(forge: Forge) -> None:
    output = forge("audit", "licenses", "split_leakage").stdout
    assert "licenses: Under which licences do photos and pairs stand?" in output
    assert "<script>alert(1)</script>" in output
    assert "no rows" in output


def test_markdown_has_a_heading_for_each_audit(forge: Forge) -> None:
    assert "## licenses\n\n| license" in forge("audit", "licenses", "stages", "--format", "markdown").stdout


@pytest.mark.parametrize(("form", "read"), [("csv", pl.read_csv), ("parquet", pl.read_parquet)])
def test_files_hold_the_rows_of_all_audits(
    form: str, read: Callable[[Path], pl.DataFrame], forge: Forge, project: Path
) -> None:
    for _ in range(2):
        assert forge("audit", "--format", form, "--output", "out").exit_code == 0
    assert sorted(path.name for path in (project / "out").iterdir()) == [f"{name}.{form}" for name in audit_names()]
    assert read(project / f"out/stages.{form}")["rows"].to_list() == [4, 3, 2]


@pytest.mark.parametrize("form", ["json", "csv", "parquet", "markdown"])
def test_one_audit_is_one_file(form: str, forge: Forge, project: Path) -> None:
    assert forge("audit", "stages", "--format", form, "--output", f"new/stages.{form}").exit_code == 0
    assert [path.name for path in (project / "new").iterdir()] == [f"stages.{form}"]


def test_the_database_runs_every_audit_in_a_plain_client(forge: Forge, project: Path) -> None:
    assert forge("audit", "--database", "audits.duckdb").stdout == "wrote audits.duckdb\n"
    with duckdb.connect(str(project / "audits.duckdb"), read_only=True) as client:
        for name in audit_names():
            rows = client.sql(audit_sql(name)).pl()
            assert client.sql(f'FROM "audit_{name}"').pl().equals(rows)
        assert client.sql("SELECT count(*) FROM verified_qa").fetchall() == [(2,)]
        assert client.sql("SELECT count(*) FROM image_licences").fetchall() == [(4,)]


def test_pairs_from_elsewhere_are_audited_and_what_cannot_be_read_is_said(forge: Forge, project: Path) -> None:
    talk = [{"from": "human", "value": "<image>\nIs it red?"}, {"from": "gpt", "value": "Yes"}]
    rows = [{"id": "1", "image": "x.jpg", "conversations": talk}, {"id": "2", "image": "y.jpg"}]
    (project / "set.json").write_text(json.dumps(rows))
    result = forge("audit", "--dataset", "set.json", "--as", "llava", "--format", "json")
    assert result.exit_code == 0, result.output
    answers = json.loads(result.stdout)
    assert tuple(answers) == audits_of_pairs()
    assert [(row["value"], row["pairs"]) for row in answers["answer_bias"]] == [("Yes", 1)]
    assert "rows could not be read" in result.stderr
    assert "row 2" in result.stderr


def test_all_forms_of_datasets_can_be_named() -> None:
    assert [form.value for form in DatasetForm] == list(FORMS)


def test_sql_answers_one_statement(forge: Forge) -> None:
    result = forge("sql", "SELECT count(*) AS n FROM verified_qa", "--format", "json")
    assert json.loads(result.stdout) == [{"n": 2}]
    assert "1 rows" in forge("sql", "SELECT 1 AS n").stdout


def test_lists_go_into_csv_as_json(forge: Forge) -> None:
    output = forge("sql", "SELECT boxes FROM verified_qa LIMIT 1", "--format", "csv").stdout
    assert output == 'boxes\n"[[0, 0, 500, 500]]"\n'


def test_sql_without_a_statement_is_a_shell(forge: Forge) -> None:
    result = forge("sql", "--format", "json", typed="SELECT 1\nAS n;\n.tables\nSELECT nosuch;\n")
    assert result.exit_code == 0
    assert '[{"n":1}]' in result.stdout
    assert "image_licences" in result.stdout
    assert "nosuch" in result.stdout


def test_sql_reaches_other_files_only_where_allowed(forge: Forge, project: Path) -> None:
    (project / "other.csv").write_text("a\n7\n")
    query = "SELECT a FROM read_csv('other.csv')"
    refused(forge("sql", query), "disabled by configuration")
    assert "7" in forge("sql", query, "--allow-external").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("audit", "nosuch"), "unknown audit 'nosuch'"),
        (("audit", "--format", "csv"), "needs --output"),
        (("audit", "stages", "--format", "parquet"), "needs --output"),
        (("audit", "--format", "html"), "needs --output"),
        (("audit", "--output", "x"), "a table is for the terminal"),
        (("audit", "--format", "html", "--output", "forge.yaml/x"), "cannot be written"),
        (("audit", "--format", "csv", "--output", "forge.yaml"), "cannot be written"),
        (("audit", "--database", "forge.yaml/x"), "cannot be written"),
        (("audit", "--dataset", "nosuch.json"), "nosuch.json"),
        (("sql", "SELEC 1"), "syntax error"),
        (("sql", "SELECT 1; SELECT 2"), "one SQL statement"),
        (("sql", "FROM nosuch"), "nosuch"),
        (("sql", "SELECT 1", "--format", "parquet"), "needs --output"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_said_in_one_message_and_nothing_is_written(
    arguments: tuple[str, ...], says: str, forge: Forge, project: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    refused(forge(*arguments), says)
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()} == {
        path: time for path, time in before.items() if path.is_file()
    }


def test_a_file_that_is_broken_is_named(forge: Forge, project: Path) -> None:
    (broken,) = (project / "lake/verified_qa").rglob("data.parquet")
    broken.write_bytes(b"no parquet")
    refused(forge("audit", "--format", "html", "--output", "r.html"), "data.parquet")
    assert not (project / "r.html").exists()
