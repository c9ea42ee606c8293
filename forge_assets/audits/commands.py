"""The commands `forge audit` and `forge sql`: questions to the lake."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forge_assets.command_line import ConfigFile, clear_errors, config_file

if TYPE_CHECKING:
    import polars as pl

    from forge_resources.config import ForgeConfig
    from forge_resources.warehouse import SqlTables

app = typer.Typer()
_UNREADABLE_SHOWN = 5


class AuditFormat(StrEnum):
    """How audits are shown or written."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"
    markdown = "markdown"
    html = "html"


class RowsFormat(StrEnum):
    """How the rows of a query are shown or written."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"
    markdown = "markdown"


class DatasetForm(StrEnum):
    """Forms of pairs that were made elsewhere."""

    llava = "llava"
    sharegpt = "sharegpt"
    qwen3_vl = "qwen3-vl"
    qwen2_5_vl = "qwen2.5-vl"
    internvl = "internvl"
    spatialforge_10m = "spatialforge-10m"


@app.command(
    epilog="Examples: `forge audit`; `forge audit drop_reasons`; `forge audit task_balance --format json`; "
    "`forge audit --format html --output report.html`; `forge audit --database audits.duckdb`"
)
def audit(
    name: Annotated[list[str] | None, typer.Argument(help="Audits to run; default, all.")] = None,
    config: ConfigFile = None,
    format: Annotated[AuditFormat, typer.Option(help="How to show or write the rows.")] = AuditFormat.table,  # noqa: A002
    output: Annotated[
        Path | None,
        typer.Option(help="File to write; for CSV or Parquet of several audits, a folder. Default: the terminal."),
    ] = None,
    database: Annotated[
        Path | None,
        typer.Option(help="Write a DuckDB file with all views and audits, for any DuckDB client, and run none."),
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Take the rows along in the database: it needs the lake no more.")
    ] = False,
    dataset: Annotated[
        Path | None, typer.Option(help="Audit these pairs, made elsewhere, in place of the lake's.")
    ] = None,
    form: Annotated[DatasetForm, typer.Option("--as", help="Form of the dataset.")] = DatasetForm.llava,
) -> None:
    """Ask the lake the questions in forge_assets/audits/*.sql: task balance, yield, bias, leakage, margins and more."""
    with clear_errors():
        from forge_assets.audits.runner import audit_names, audit_sql, audits_of_pairs, run_audit

        settings, names = _settings(config, needed=dataset is None), tuple(name or ())
        for chosen in names:
            audit_sql(chosen)
        _refuse_wrong_output(format, output, 1 if len(names) == 1 else 0)
        names = names or (audits_of_pairs() if dataset else audit_names())
        with _opened(dataset, form, settings) as tables:
            if database is not None:
                tables.save(database, views={f"audit_{name}": audit_sql(name) for name in audit_names()}, copy=copy)
                typer.echo(f"wrote {database}")
                return
            rows = {chosen: run_audit(tables, chosen, settings.quotas) for chosen in names}
        _show_audits(rows, str(dataset or settings.lake), format, output)


@app.command(
    epilog='Examples: `forge sql`; `forge sql "SELECT task, count(*) FROM verified_qa GROUP BY task"`; '
    '`forge sql "FROM rejected_qa LIMIT 10" --format json`'
)
def sql(
    query: Annotated[str | None, typer.Argument(help="One SQL statement; without one, a shell opens.")] = None,
    config: ConfigFile = None,
    format: Annotated[RowsFormat, typer.Option(help="How to show or write the rows.")] = RowsFormat.table,  # noqa: A002
    output: Annotated[Path | None, typer.Option(help="File to write. Default: the terminal.")] = None,
    allow_external: Annotated[
        bool,
        typer.Option("--allow-external", help="Let SQL reach other files and the network, and write."),
    ] = False,
) -> None:
    """Ask the lake anything in SQL: one statement, or a shell. It reads, and reaches the lake alone, unless allowed."""
    with clear_errors():
        from forge_assets.audits.opening import open_lake

        _refuse_wrong_output(AuditFormat(format.value), output, 1)
        with open_lake(_settings(config, needed=True), allow_external=allow_external) as tables:
            if query is None:
                _shell(tables, format)
            else:
                _show_rows(tables.query(query), format, output)


def _settings(config: Path | None, *, needed: bool) -> "ForgeConfig":
    """The configuration; its defaults where it is not needed, not named and not there."""
    from forge_resources.config import ForgeConfig, load_config

    path = config_file(config)
    return load_config(path) if needed or config is not None or path.exists() else ForgeConfig()


def _refuse_wrong_output(format: AuditFormat, output: Path | None, tables: int) -> None:  # noqa: A002
    from forge_assets.audits.output import OutputError

    if format is AuditFormat.table and output is not None:
        raise OutputError("a table is for the terminal: name another --format to write a file")
    if output is None and (
        format in (AuditFormat.parquet, AuditFormat.html) or (format is AuditFormat.csv and tables != 1)
    ):
        raise OutputError(f"--format {format.value} needs --output: a file, or a folder for several audits")


@contextmanager
def _opened(dataset: Path | None, form: DatasetForm, settings: "ForgeConfig") -> "Generator[SqlTables]":
    """The lake, or the dataset where one is named; what of it could not be read is said."""
    from forge_assets.audits.opening import open_lake, open_pairs

    if dataset is None:
        with open_lake(settings) as lake:
            yield lake
        return
    from forge_assets.audits.dataset import open_dataset

    with open_dataset(dataset, form.value) as read:
        if read.unreadable.height:
            typer.secho(f"{read.unreadable.height} rows could not be read, such as:", fg="yellow", err=True)
            for file, row, reason in read.unreadable.head(_UNREADABLE_SHOWN).iter_rows():
                typer.echo(f"  {file}, row {row}: {reason}", err=True)
        with open_pairs(read.path, read.unreadable, settings.quotas) as tables:
            yield tables


def _show_audits(
    rows: "dict[str, pl.DataFrame]",
    title: str,
    format: AuditFormat,  # noqa: A002
    output: Path | None,
) -> None:
    from forge_assets.audits.output import write_files, write_tables
    from forge_assets.audits.runner import audit_question
    from forge_assets.audits.text import all_as_text

    if format is AuditFormat.table:
        from forge_assets import terminal

        for name, table in rows.items():
            terminal.console.print(terminal.table_of(table, f"{name}: {audit_question(name)}"))
            if table.is_empty():
                terminal.console.print("  no rows")
    elif output is not None and format is AuditFormat.html:
        from forge_assets.audits.report import render_report

        (path,) = write_files(output.parent, {output.name: render_report(rows, title).encode()})
        typer.echo(f"wrote {path}")
    elif output is not None:
        for path in write_tables(rows, output, format.value):
            typer.echo(f"wrote {path}")
    elif len(rows) == 1:
        (table,) = rows.values()
        _show_rows(table, RowsFormat(format.value), None)
    else:
        typer.echo(all_as_text(rows, format.value))


def _show_rows(rows: "pl.DataFrame", format: RowsFormat, output: Path | None) -> None:  # noqa: A002
    from forge_assets.audits.output import write_tables
    from forge_assets.audits.text import as_text

    if output is not None:
        for path in write_tables({"rows": rows}, output, format.value):
            typer.echo(f"wrote {path}")
    elif format is RowsFormat.table:
        from forge_assets import terminal

        terminal.console.print(terminal.table_of(rows))
        terminal.console.print(f"{rows.height:,} rows")
    else:
        typer.echo(as_text(rows, format.value))


def _shell(tables: "SqlTables", format: RowsFormat) -> None:  # noqa: A002
    from functools import partial

    from forge_assets.audits.shell import HELP, run_shell

    if sys.stdin.isatty():
        _remember_lines()
        typer.echo(HELP)
    run_shell(tables, _ask, partial(_show_rows, format=format, output=None), typer.echo)


def _ask(prompt: str) -> str:
    return input(prompt if sys.stdin.isatty() else "")


def _remember_lines() -> None:
    """Keep the lines typed for the next shell, in the user's folder for state."""
    import atexit
    import contextlib
    import os
    import readline

    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    history = state / "spatialforge" / "sql_history"
    with contextlib.suppress(OSError):  # a folder that cannot be written costs the history alone
        history.parent.mkdir(parents=True, exist_ok=True)
        history.touch()
        readline.read_history_file(history)
        atexit.register(readline.write_history_file, history)
