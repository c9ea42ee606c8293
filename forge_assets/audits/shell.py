"""A shell for SQL: statements end with `;`, commands begin with a dot."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import polars as pl

from forge_assets.audits.runner import audit_names, audit_question, audit_sql
from forge_resources.errors import ForgeError
from forge_resources.warehouse import SqlTables

PROMPT: Final = "forge> "
MORE: Final = "   ..> "
HELP: Final = """Statements are DuckDB's SQL and end with ;
.tables          tables and views
.schema NAME     columns of one
.audits          audits, and what each answers
.audit NAME      run one
.quit            leave; so does Ctrl-D"""


class _Quit(Exception):
    """The shell is to end."""


def run_shell(
    tables: SqlTables, ask: Callable[[str], str], show: Callable[[pl.DataFrame], None], say: Callable[[str], None]
) -> None:
    """Read and answer until the input ends or `.quit` comes; what fails is said, and the shell goes on.

    Args:
        tables: what is asked.
        ask: gives the next line for a prompt; raises EOFError at the end, KeyboardInterrupt to drop what was begun.
        show: shows rows.
        say: shows a line of text.
    """
    try:
        for entry in _entries(ask):
            try:
                _answer(tables, entry, show, say)
            except ForgeError as error:
                say(f"error: {error}")
            except KeyboardInterrupt:
                say("interrupted")
    except _Quit:
        return


def _entries(ask: Callable[[str], str]) -> Iterator[str]:
    """Commands and whole statements, as they come."""
    begun: list[str] = []
    while True:
        try:
            line = ask(MORE if begun else PROMPT)
        except EOFError:
            if begun:
                yield "\n".join(begun)
            return
        except KeyboardInterrupt:
            begun = []
            continue
        if not begun and line.strip().startswith("."):
            yield line.strip()
            continue
        if begun or line.strip():
            begun.append(line)
        if _is_whole("\n".join(begun)):
            yield "\n".join(begun)
            begun = []


def _is_whole(text: str) -> bool:
    """Whether the SQL ends with a semicolon, comments left aside; a semicolon in quotes ends nothing."""
    import duckdb

    starts = [start for start, kind in duckdb.tokenize(text) if kind != duckdb.token_type.comment]
    return bool(starts) and text.encode()[starts[-1] :].startswith(b";")


def _answer(tables: SqlTables, entry: str, show: Callable[[pl.DataFrame], None], say: Callable[[str], None]) -> None:
    match entry.rstrip(";").split() if entry.startswith(".") else []:
        case []:
            show(tables.query(entry))
        case [".quit" | ".exit"]:
            raise _Quit
        case [".tables"]:
            say("\n".join(tables.names))
        case [".schema", name]:
            say("\n".join(_aligned(tables.columns(name).items())))
        case [".audits"]:
            say("\n".join(_aligned((name, audit_question(name)) for name in audit_names())))
        case [".audit", name]:
            show(tables.query(audit_sql(name)))
        case _:
            say(HELP)


def _aligned(pairs: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(pairs)
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{name:{width}}  {text}" for name, text in rows]
