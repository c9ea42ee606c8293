"""DuckDB over the lake: one view a table, for audits, exports and questions by hand."""

import re
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import polars as pl

from forge_resources.errors import ForgeError
from forge_resources.lake import Lake, Manifest, PartitionMissing, Verdict
from forge_resources.s3 import REQUESTS_AT_ONCE
from forge_resources.shards import ShardKey

if TYPE_CHECKING:
    import duckdb
    from fsspec import AbstractFileSystem

_PARTITION: Mapping[str, pl.DataType] = {"table": pl.String(), "source": pl.String(), "shard": pl.String()}

PARTITIONS: Mapping[str, pl.DataType] = {
    **_PARTITION,
    "rows": pl.Int64(),
    "content_hash": pl.String(),
    "verdict": pl.String(),  # passed, failed, broken; stale: of other rows than these; none: not judged yet
    "failures": pl.Int64(),  # failing rows, all rules together
}
"""Columns of the table `partitions`: one row a partition."""

PARTITION_INPUTS: Mapping[str, pl.DataType] = {
    **_PARTITION,
    "input": pl.String(),  # a table
    "content_hash": pl.String(),  # of its partition at the time when this one was made of it
}
"""Columns of the table `partition_inputs`: one row a partition and table that it was made of."""

PARTITION_VERSIONS: Mapping[str, pl.DataType] = {
    **_PARTITION,
    "name": pl.String(),  # code, detector, verification, ...
    "version": pl.String(),
}
"""Columns of the table `partition_versions`: one row a partition and code, model or settings that made it."""

_OFF = ("autoinstall_known_extensions", "autoload_known_extensions", "enable_external_access")
"""Settings of DuckDB without which SQL reaches no other file, no network and no extension."""

_EXPLAIN = re.compile(r"^\s*EXPLAIN\s*(ANALYZE\b)?\s*(\([\w\s,]*\))?", re.IGNORECASE)

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


class DatabaseError(ForgeError, OSError):
    """A database file that cannot be written."""


class SqlTables:
    """Tables that can be asked by SQL: each a view over Parquet files, or held in memory.

    Each table of `schemas` that `files` names is a view over its Parquet files. One that `frames` names is held in
    memory. One that neither names is empty. Columns of bytes (photos, depth maps) are left out; `source` and
    `shard` come from the rows, enumerations read as text.

    Queries read, and they reach these tables alone: no other file, no network, no setting. Sorts that outgrow memory go
    to a folder of temporary files, which `close` removes.

    Args:
        schemas: columns of each table, by table name.
        files: Parquet files of each table, absolute, by table name.
        frames: rows held in memory, by table name; tables outside of `schemas` may be among them.
        views: SQL of further views over these tables, by view name.
        filesystem: how files that lie elsewhere than on disk are read.
        allow_external: whether SQL may do all that DuckDB can: read and write other files, reach the network,
            load extensions.

    Raises:
        QueryError: if a table's files lack a column of its schema.
    """

    def __init__(
        self,
        schemas: Mapping[str, Mapping[str, pl.DataType]],
        *,
        files: Mapping[str, Sequence[str]] | None = None,
        frames: Mapping[str, pl.DataFrame] | None = None,
        views: Mapping[str, str] | None = None,
        filesystem: "AbstractFileSystem | None" = None,
        allow_external: bool = False,
    ) -> None:
        self._spill = tempfile.TemporaryDirectory(prefix="forge-warehouse-")
        self._free = allow_external
        self._filesystem = filesystem
        self._names: set[str] = set()
        self._views: dict[str, str] = {}
        files = files or {}
        self._connection = self._connect(":memory:")
        for name, rows in (frames or {}).items():
            self.add_table(name, rows)
        for table, schema in schemas.items():
            if table not in self._names:
                self._define(table, _select(pl.Schema(schema), files.get(table, ())))
        for name, sql in (views or {}).items():
            self._define(name, sql)
        if not allow_external:
            self._lock([file for of_table in files.values() for file in of_table])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and remove its temporary files; doing so again changes nothing."""
        self._connection.close()
        self._spill.cleanup()

    def _connect(self, database: str) -> "duckdb.DuckDBPyConnection":
        import duckdb

        connection = duckdb.connect(
            database, config={"temp_directory": self._spill.name, "python_enable_replacements": False}
        )
        connection.execute("SET parquet_metadata_cache = true")
        if self._filesystem is not None:
            connection.register_filesystem(self._filesystem)
        return connection

    def _lock(self, files: Sequence[str]) -> None:
        allowed = ", ".join(map(_literal, files))
        self._connection.execute(f"SET allowed_paths = [{allowed}]")
        for setting in _OFF:
            self._connection.execute(f"SET {setting} = false")
        self._connection.execute("SET lock_configuration = true")

    def _define(self, name: str, sql: str) -> None:
        import duckdb

        try:
            self._connection.execute(f"CREATE VIEW {_quoted(name)} AS {sql}")
        except duckdb.BinderException as error:
            raise QueryError(
                f"{name} holds partitions with other columns than this version writes ({error}): "
                "make them again with `forge run --again`"
            ) from error
        except duckdb.Error as error:
            raise QueryError(f"{name} cannot be read: {error}") from error
        self._views[name] = sql
        self._names.add(name)

    def add_table(self, name: str, rows: pl.DataFrame) -> None:
        """Make `rows` known to queries as the table `name`, in place of an earlier one of that name."""
        _put(self._connection, name, rows)
        self._names.add(name)

    def append(self, name: str, rows: pl.DataFrame) -> None:
        """Add `rows` to a table that `add_table` made; they have its columns, in its order."""
        _put(self._connection, name, rows, "INSERT INTO {}")

    def add_view(self, name: str, sql: str) -> None:
        """Make the rows of one SQL statement that reads known as the view `name`, in place of an earlier one.

        Raises:
            QueryError: the SQL is broken, or is not one statement that only reads.
        """
        with self._relation(sql, None):
            self._connection.execute(f"CREATE OR REPLACE VIEW {_quoted(name)} AS {sql}")
        self._names.add(name)
        self._views[name] = sql

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tables and views, sorted."""
        return tuple(sorted(self._names))

    def columns(self, name: str) -> Mapping[str, str]:
        """DuckDB types of the columns of one table or view, by column name.

        Raises:
            QueryError: there is none of that name.
        """
        if name not in self._names:
            raise QueryError(f"there is no table {name!r}; there are: {', '.join(self.names)}")
        described = self.query(f"DESCRIBE {_quoted(name)}")
        return dict(described.select("column_name", "column_type").iter_rows())

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Run one SQL statement that reads and return all its rows.

        Args:
            sql: one statement; `$name` stands for a parameter.
            parameters: values of the parameters, by name.

        Raises:
            QueryError: the SQL is broken, fails, or is not one statement that only reads.
        """
        with self._relation(sql, parameters) as relation:
            return pl.DataFrame() if relation is None else relation.pl()

    def stream(
        self, sql: str, batch_rows: int = 50_000, parameters: Mapping[str, object] | None = None
    ) -> Iterator[pl.DataFrame]:
        """Run one SQL statement and yield its rows in order, at most `batch_rows` at a time.

        Without rows, nothing is yielded. Memory follows the batch, and the sort where the SQL asks for one.

        Raises:
            QueryError: as `query`, once the first batch is asked for.
        """
        with self._relation(sql, parameters) as relation:
            for batch in relation.to_arrow_reader(batch_rows) if relation is not None else ():
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                yield frame

    @contextmanager
    def _relation(
        self, sql: str, parameters: Mapping[str, object] | None
    ) -> Generator["duckdb.DuckDBPyRelation | None"]:
        import duckdb

        try:
            with self._connection.cursor() as cursor:
                statements = cursor.extract_statements(sql)
                if len(statements) != 1 or not (self._free or _reads(cursor, statements[0])):
                    raise QueryError(f"expected one SQL statement that only reads, such as SELECT:\n{sql}")
                if not self._free:
                    cursor.execute("BEGIN TRANSACTION READ ONLY")
                yield cursor.sql(sql, params=dict(parameters) if parameters else None)
        except (duckdb.Error, pl.exceptions.ComputeError) as error:
            raise QueryError(f"{error}\nin the SQL:\n{sql}") from error

    def save(self, target: Path, *, views: Mapping[str, str] | None = None, copy: bool = False) -> None:
        """Write a database file that any DuckDB client opens, with the same tables and views.

        Views read the Parquet files where they lie: a client needs to reach them as this process does. The file is
        there whole or not at all, in place of an earlier one.

        Args:
            target: the file.
            views: SQL of views to add, by name.
            copy: whether to take the rows of all tables along, so that the file needs no others.

        Raises:
            DatabaseError: the file cannot be written.
            QueryError: a table cannot be read, or the SQL of a view is broken.
        """
        import duckdb

        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".forge-", dir=target.parent) as folder:
                staged = Path(folder) / "staged.duckdb"
                with self._connect(str(staged)) as database:
                    self._write_into(database, "TABLE" if copy else "VIEW", views or {})
                staged.replace(target)
        except (OSError, duckdb.IOException) as error:
            raise DatabaseError(f"{target} cannot be written: {error}") from error
        except duckdb.Error as error:
            raise QueryError(f"{target} is not written: {error}") from error

    def _write_into(self, database: "duckdb.DuckDBPyConnection", kind: str, views: Mapping[str, str]) -> None:
        for name in self.names:
            if name not in self._views:
                _put(database, name, self.query(f"FROM {_quoted(name)}"))
        for name, sql in self._views.items():
            database.execute(f"CREATE {kind} {_quoted(name)} AS {sql}")
        for name, sql in views.items():
            database.execute(f"CREATE VIEW {_quoted(name)} AS {sql}")


def _reads(cursor: "duckdb.DuckDBPyConnection", statement: "duckdb.Statement") -> bool:
    """Whether a statement is a SELECT, or the EXPLAIN of one: `EXPLAIN ANALYZE` does what it explains."""
    from duckdb import StatementType

    if statement.type != StatementType.EXPLAIN:
        return statement.type == StatementType.SELECT
    explained = cursor.extract_statements(_EXPLAIN.sub("", statement.query, count=1))
    return [inner.type for inner in explained] == [StatementType.SELECT]


class Warehouse(SqlTables):
    """A read-only look at a lake, as it stood when this was opened.

    Each table of `schemas` is a view over its Parquet files, be they partitions or one file of a table that spans
    all of them, and empty while it has none. On S3 the files are read by ranges as queries need them. A table in
    `gated` holds only partitions whose gate has passed their present content. The table `partitions` lists every
    partition with its verdict, whether or not it counts; `partition_inputs` and `partition_versions` what each was made
    of and by.

    Args:
        lake: where the tables lie.
        schemas: columns of each table, by table name.
        gated: tables whose partitions count only once their gate has passed.
        views: SQL of further views, by view name.
        allow_external: see `SqlTables`.

    Raises:
        QueryError: if a table's files lack a column of its schema.
    """

    def __init__(
        self,
        lake: Lake,
        schemas: Mapping[str, Mapping[str, pl.DataType]],
        gated: tuple[str, ...] = ("verified_qa",),
        *,
        views: Mapping[str, str] | None = None,
        allow_external: bool = False,
    ) -> None:
        shards = _shards(lake, tuple(schemas))
        files: dict[str, list[str]] = {table: [] for table in schemas}
        for shard in shards:
            table = shard.manifest.table
            if table not in gated or shard.verdict == "passed":
                files[table].append(_location(lake.data_path(table, shard.key)))
        for table in schemas:
            if lake.has_table(table):
                files[table].append(_location(lake.table_path(table)))
        super().__init__(
            schemas,
            files=files,
            frames=_catalogue(shards),
            views=views,
            filesystem=lake.store.filesystem(),
            allow_external=allow_external,
        )


@dataclass(frozen=True)
class _Shard:
    """A partition of a table, as it lay there when it was looked at."""

    manifest: Manifest
    verdict: str
    failures: int
    key: ShardKey = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", ShardKey(self.manifest.source, self.manifest.shard))


def _shards(lake: Lake, tables: tuple[str, ...]) -> list[_Shard]:
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        listed = zip(tables, pool.map(lake.keys, tables), strict=True)
        written = [(table, key) for table, keys in listed for key in keys]
        return [shard for shard in pool.map(partial(_shard, lake), written) if shard is not None]


def _shard(lake: Lake, place: tuple[str, ShardKey]) -> _Shard | None:
    """What is said of a table's partition; None where a writer has taken it away since, to replace it."""
    table, key = place
    try:
        manifest = lake.manifest(table, key)
    except PartitionMissing:
        return None
    return _Shard(manifest, *_outcome(manifest, lake.verdict(table, key)))


def _outcome(manifest: Manifest, verdict: Verdict | None) -> tuple[str, int]:
    if verdict is None:
        return "none", 0
    if verdict.content_hash != manifest.content_hash:
        return "stale", 0
    return verdict.outcome, sum(verdict.failures.values())


def _catalogue(shards: Sequence[_Shard]) -> dict[str, pl.DataFrame]:
    """The tables about partitions, by name."""
    partitions, inputs, versions = [], [], []
    for shard in shards:
        manifest = shard.manifest
        place = (manifest.table, manifest.source, manifest.shard)
        partitions.append((*place, manifest.rows, manifest.content_hash, shard.verdict, shard.failures))
        inputs += [(*place, *item) for item in sorted(manifest.inputs.items())]
        versions += [(*place, *item) for item in sorted(manifest.versions.items())]
    return {
        "partitions": pl.DataFrame(partitions, schema=dict(PARTITIONS), orient="row"),
        "partition_inputs": pl.DataFrame(inputs, schema=dict(PARTITION_INPUTS), orient="row"),
        "partition_versions": pl.DataFrame(versions, schema=dict(PARTITION_VERSIONS), orient="row"),
    }


def empty_catalogue() -> dict[str, pl.DataFrame]:
    """The tables about partitions of what has none, by name."""
    return _catalogue([])


def _location(path: object) -> str:
    return str(path.absolute() if isinstance(path, Path) else path)


def _put(
    connection: "duckdb.DuckDBPyConnection", name: str, rows: pl.DataFrame, verb: str = "CREATE OR REPLACE TABLE {} AS"
) -> None:
    connection.register("_incoming", rows.to_arrow())
    connection.execute(f"{verb.format(_quoted(name))} FROM _incoming")
    connection.unregister("_incoming")


def _select(schema: pl.Schema, files: Sequence[str]) -> str:
    columns = {name: expression for name, dtype in schema.items() if (expression := _without_bytes(name, dtype))}
    select = ", ".join(f"{expression} AS {_quoted(name)}" for name, expression in columns.items())
    if files:
        origin = f"read_parquet([{', '.join(map(_literal, files))}], hive_partitioning = false)"
    else:
        nulls = ", ".join(f"NULL::{_sql_type(dtype)} AS {_quoted(name)}" for name, dtype in schema.items())
        origin = f"(SELECT {nulls} LIMIT 0)"
    return f"SELECT {select} FROM {origin}"  # noqa: S608 -- names and paths are quoted


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
