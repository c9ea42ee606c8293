"""The rows of a data set's files as JSON text, a batch at a time, with their numbers."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from forge_resources.errors import ForgeError

if TYPE_CHECKING:
    import duckdb

SUFFIXES: Final = (".json", ".jsonl", ".ndjson", ".parquet")
BATCH_ROWS: Final = 20_000

_BATCH: Final = {"row": pl.Int64(), "text": pl.String(), "reason": pl.String()}


class DatasetError(ForgeError, ValueError):
    """A data set that cannot be opened at all; the message says what to do."""


def data_files(path: Path) -> list[Path]:
    """The data files that a path stands for, sorted.

    Args:
        path: a file, a folder (searched at all depths) or a pattern such as `folder/*.jsonl`.

    Raises:
        DatasetError: where there are none.
    """
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = [file for file in path.rglob("*") if file.is_file()]
    else:
        found = _matching(path)
    files = sorted(file for file in found if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DatasetError(f"no {', '.join(SUFFIXES)} file at {path}: name a file, a folder or a pattern of files")
    return files


def _matching(pattern: Path) -> list[Path]:
    parts = pattern.parts
    fixed = list(itertools.takewhile(lambda part: not set(part) & set("*?["), parts))
    if len(fixed) == len(parts):
        return []
    return [file for file in Path(*fixed).glob(str(Path(*parts[len(fixed) :]))) if file.is_file()]


def batches(connection: "duckdb.DuckDBPyConnection", file: Path) -> Iterator[pl.DataFrame]:
    """The rows of one file in order, at most `BATCH_ROWS` at a time; blank lines are none.

    Returns:
        row (from 1; of a file of lines, the line), text (JSON, null where it cannot be had) and reason (why). A file
        that cannot be read, or not to its end, has a last row without a number.
    """
    import duckdb

    if file.stat().st_size == 0:
        yield _failure("the file is empty")
        return
    sql = _query(connection, file)
    if sql is None:
        yield from _lines(file)
        return
    row = 0
    try:
        for texts in _texts(connection, sql):
            numbers = pl.Series(range(row + 1, row + 1 + len(texts)), dtype=pl.Int64)
            yield pl.DataFrame({"row": numbers, "text": texts}).with_columns(reason=pl.lit(None, pl.String))
            row += len(texts)
    except (duckdb.Error, OSError) as error:  # Arrow's reader turns DuckDB's errors into OSError
        yield _failure(f"the file cannot be read after row {row}: {str(error).splitlines()[0]}")
        return
    if row == 0:
        yield _failure("the file holds no row")


def _query(connection: "duckdb.DuckDBPyConnection", file: Path) -> str | None:
    """The SQL that gives each row of a file as JSON text; None for a file of lines."""
    name = "'" + str(file).replace("'", "''") + "'"
    if file.suffix.lower() == ".parquet":
        return _parquet_query(connection, name)
    with file.open("rb") as opened:
        first = opened.readline().strip()
    if first.startswith(b"["):
        return f"SELECT json::VARCHAR FROM read_json_objects({name}, format = 'array')"  # noqa: S608 -- a quoted path
    if file.suffix.lower() == ".json" and not _is_json(first):
        return f"SELECT json::VARCHAR FROM read_json_objects({name}, format = 'unstructured')"  # noqa: S608 -- a quoted path
    return None


def _parquet_query(connection: "duckdb.DuckDBPyConnection", name: str) -> str:
    """Columns with bytes, which hold photos, are left out."""
    import duckdb

    try:
        columns = connection.execute(f"DESCRIBE FROM read_parquet({name})").fetchall()
    except duckdb.Error:
        return f"FROM read_parquet({name})"
    kept = ", ".join('"' + column[0].replace('"', '""') + '"' for column in columns if "BLOB" not in column[1])
    return f"SELECT to_json(t)::VARCHAR FROM (SELECT {kept} FROM read_parquet({name})) t"  # noqa: S608 -- quoted names


def _texts(connection: "duckdb.DuckDBPyConnection", sql: str) -> Iterator[pl.Series]:
    with connection.cursor() as cursor:
        for batch in cursor.sql(sql).to_arrow_reader(BATCH_ROWS):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield frame.to_series(0)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _lines(file: Path) -> Iterator[pl.DataFrame]:
    row = 0
    with file.open("rb") as opened:
        while lines := list(itertools.islice(opened, BATCH_ROWS)):
            numbers = pl.Series(range(row + 1, row + 1 + len(lines)), dtype=pl.Int64)
            text = pl.Series([_text(line) for line in lines], dtype=pl.String)
            frame = pl.DataFrame({"row": numbers, "text": text})
            row += len(lines)
            yield frame.filter(pl.col("text").is_null() | (pl.col("text").str.strip_chars() != "")).with_columns(
                reason=pl.when(pl.col("text").is_null()).then(pl.lit("not UTF-8 text"))
            )


def _text(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


def _failure(reason: str) -> pl.DataFrame:
    return pl.DataFrame({"row": [None], "text": [None], "reason": [reason]}, schema=_BATCH)
