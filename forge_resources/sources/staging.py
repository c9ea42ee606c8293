"""Rows of a source on their way into its index, on disk, where tables are joined in bounded memory."""

import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    import duckdb

_MEMORY: Final = "300MB"
_BATCH_ROWS: Final = 50_000


class Staging:
    """Tables that SQL can join.

    Args:
        database: Holds them.
        tables: By name, their columns with DuckDB's types.
    """

    def __init__(self, database: "duckdb.DuckDBPyConnection", tables: Mapping[str, str]) -> None:
        self._database = database
        for name, columns in tables.items():
            database.execute(f"CREATE TABLE {name} ({columns})")

    def append(self, table: str, rows: pl.DataFrame) -> None:
        """Add rows to a table, by column name."""
        self._database.register("appended_rows", rows.to_arrow())
        self._database.execute(f"INSERT INTO {table} BY NAME SELECT * FROM appended_rows")  # noqa: S608 - own names
        self._database.unregister("appended_rows")

    def execute(self, sql: str) -> None:
        """Run a statement that returns no rows."""
        self._database.execute(sql)

    def rows(self, sql: str) -> Iterator[pl.DataFrame]:
        """What a query finds, in batches."""
        for batch in self._database.sql(sql).to_arrow_reader(_BATCH_ROWS):
            yield pl.DataFrame(batch)

    def all_rows(self, sql: str) -> pl.DataFrame:
        """What a query finds, where that is little."""
        return self._database.sql(sql).pl()


@contextmanager
def staging(folder: Path, tables: Mapping[str, str]) -> Generator[Staging]:
    """Empty tables, gone afterwards.

    Args:
        folder: Of the source's indexes, where `open_index` clears what killed builds left.
        tables: By name, their columns with DuckDB's types.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix=".staged-", dir=folder) as temporary:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY,
            "threads": 2,
            "temp_directory": str(Path(temporary) / "spill"),
            "preserve_insertion_order": False,
        }
        with duckdb.connect(Path(temporary) / "rows.duckdb", config=settings) as database:
            yield Staging(database, tables)
