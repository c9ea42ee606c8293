"""DuckDB over the lake: one view a table, for audits, exports and questions by hand."""

import tempfile
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self

import polars as pl

from forge_resources.errors import ForgeError
from forge_resources.lake import Lake, PartitionMissing
from forge_resources.s3 import REQUESTS_AT_ONCE
from forge_resources.shards import ShardKey

if TYPE_CHECKING:
    import duckdb

PARTITIONS: Mapping[str, pl.DataType] = {
    "table": pl.String(),
    "source": pl.String(),
    "shard": pl.String(),
    "rows": pl.Int64(),
    "content_hash": pl.String(),
    "verdict": pl.String(),  # passed, failed, broken; stale: of other rows than these; none: not judged yet
    "failures": pl.Int64(),  # failing rows, all rules together
}
"""Columns of the view `partitions`."""

_SCALARS: Mapping[type[pl.DataType], str] = {
    pl.Boolean: "BOOLEAN",
    pl.Int8: "TINYINT",
    pl.Int16: "SMALLINT",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.Float32: "FLOAT",
    pl.Float64: "DOUBLE",
    pl.String: "VARCHAR",
    pl.Enum: "VARCHAR",
    pl.Categorical: "VARCHAR",
    pl.Binary: "BLOB",
}


class QueryError(ForgeError, ValueError):
    """SQL that DuckDB could not run; the message holds DuckDB's own words and the SQL."""


class Warehouse:
    """A read-only look at a lake, as it stood when this was opened.

    Each table of `schemas` is a view over its Parquet files, be they partitions or one file of a table that spans
    all of them, and empty while it has none. On S3 the files are read by ranges as queries need them. Columns of
    bytes (photos, depth maps) are left out; `source` and `shard` come from the rows, enumerations read
    as text. A table in `gated` holds only partitions whose gate has passed their present content. The
    table `partitions` lists every partition with its verdict, whether or not it counts.

    Sorts that outgrow memory go to a folder of temporary files, which `close` removes.

    Args:
        lake: where the tables lie.
        schemas: columns of each table, by table name.
        gated: tables whose partitions count only once their gate has passed.

    Raises:
        QueryError: if a table's files lack a column of its schema.
    """

    def __init__(
        self, lake: Lake, schemas: Mapping[str, Mapping[str, pl.DataType]], gated: tuple[str, ...] = ("verified_qa",)
    ) -> None:
        self._spill = tempfile.TemporaryDirectory(prefix="forge-warehouse-")
        import duckdb

        self._connection = duckdb.connect(config={"temp_directory": self._spill.name})
        filesystem = lake.store.filesystem()
        if filesystem is not None:
            self._connection.register_filesystem(filesystem)
        partitions = _partitions(lake, tuple(schemas))
        self.add_table("partitions", partitions)
        for table, schema in schemas.items():
            counted = partitions.filter(table=table)
            if table in gated:
                counted = counted.filter(verdict="passed")
            files = [
                str(lake.data_path(table, ShardKey(source, shard)))
                for source, shard in counted.select("source", "shard").iter_rows()
            ]
            if lake.has_table(table):
                files.append(str(lake.table_path(table)))
            try:
                self._connection.execute(_view(table, pl.Schema(schema), files))
            except duckdb.BinderException as error:
                raise QueryError(
                    f"{table} holds partitions with other columns than this version writes ({error}): "
                    "make them again with `forge run --again`"
                ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and remove its temporary files; doing so again changes nothing."""
        self._connection.close()
        self._spill.cleanup()

    def add_table(self, name: str, rows: pl.DataFrame) -> None:
        """Make `rows` known to queries as the table `name`, in place of an earlier one of that name."""
        self._connection.register("_incoming", rows.to_arrow())
        self._connection.execute(f"CREATE OR REPLACE TABLE {_quoted(name)} AS FROM _incoming")
        self._connection.unregister("_incoming")

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Run one SQL statement that reads and return all its rows.

        Args:
            sql: one statement; `$name` stands for a parameter.
            parameters: values of the parameters, by name.

        Raises:
            QueryError: the SQL is broken, fails, or is not one statement that only reads.
        """
        with self._relation(sql, parameters) as relation:
            return relation.pl()

    def stream(
        self, sql: str, batch_rows: int = 50_000, parameters: Mapping[str, object] | None = None
    ) -> Iterator[pl.DataFrame]:
        """Run one SQL statement and yield its rows in order, at most `batch_rows` at a time.

        Without rows, nothing is yielded. Memory follows the batch, and the sort where the SQL asks for one.

        Raises:
            QueryError: as `query`, once the first batch is asked for.
        """
        with self._relation(sql, parameters) as relation:
            for batch in relation.to_arrow_reader(batch_rows):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                yield frame

    @contextmanager
    def _relation(self, sql: str, parameters: Mapping[str, object] | None) -> Generator["duckdb.DuckDBPyRelation"]:
        import duckdb

        try:
            with self._connection.cursor() as cursor:
                statements = cursor.extract_statements(sql)
                if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                    raise QueryError(f"expected one SQL statement that only reads, such as SELECT:\n{sql}")
                yield cursor.sql(sql, params=dict(parameters) if parameters else None)
        except duckdb.Error as error:
            raise QueryError(f"{error}\nin the SQL:\n{sql}") from error


def _partitions(lake: Lake, tables: tuple[str, ...]) -> pl.DataFrame:
    written = [(table, key) for table in tables for key in lake.keys(table)]
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        rows = pool.map(partial(_partition_row, lake), written)
        return pl.DataFrame([row for row in rows if row is not None], schema=dict(PARTITIONS), orient="row")


def _partition_row(lake: Lake, place: tuple[str, ShardKey]) -> tuple[object, ...] | None:
    """What is said of a table's partition; None where a writer has taken it away since, to replace it."""
    table, key = place
    try:
        manifest = lake.manifest(table, key)
    except PartitionMissing:
        return None
    verdict = lake.verdict(table, key)
    if verdict is None:
        outcome, failures = "none", 0
    elif verdict.content_hash != manifest.content_hash:
        outcome, failures = "stale", 0
    else:
        outcome, failures = verdict.outcome, sum(verdict.failures.values())
    return (
        manifest.table,
        manifest.source,
        manifest.shard,
        manifest.rows,
        manifest.content_hash,
        outcome,
        failures,
    )


def _view(table: str, schema: pl.Schema, files: list[str]) -> str:
    columns = {name: expression for name, dtype in schema.items() if (expression := _without_bytes(name, dtype))}
    select = ", ".join(f"{expression} AS {_quoted(name)}" for name, expression in columns.items())
    if files:
        origin = f"read_parquet([{', '.join(map(_literal, files))}], hive_partitioning = false)"
    else:
        nulls = ", ".join(f"NULL::{_sql_type(dtype)} AS {_quoted(name)}" for name, dtype in schema.items())
        origin = f"(SELECT {nulls} LIMIT 0)"
    return f"CREATE VIEW {_quoted(table)} AS SELECT {select} FROM {origin}"  # noqa: S608 -- names and paths are quoted


def _without_bytes(name: str, dtype: pl.DataType) -> str | None:
    """The SQL that reads a column, a struct without its fields of bytes; None where nothing is left."""
    column = _quoted(name)
    if isinstance(dtype, pl.Struct):
        kept = [field for field in dtype.fields if field.dtype != pl.Binary]
        if len(kept) == len(dtype.fields):
            return column
        fields = ", ".join(f"{_quoted(field.name)}: {column}.{_quoted(field.name)}" for field in kept)
        return f"{{{fields}}}" if kept else None
    return None if dtype == pl.Binary else column


def _sql_type(dtype: object) -> str:
    """The DuckDB type that a Parquet column of this Polars type reads as."""
    if isinstance(dtype, pl.List | pl.Array):
        return f"{_sql_type(dtype.inner)}[]"
    if isinstance(dtype, pl.Struct):
        return f"STRUCT({', '.join(f'{_quoted(field.name)} {_sql_type(field.dtype)}' for field in dtype.fields)})"
    if isinstance(dtype, pl.DataType) and type(dtype) in _SCALARS:
        return _SCALARS[type(dtype)]
    raise TypeError(f"no DuckDB type is known for {dtype}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
