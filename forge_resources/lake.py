"""The lake: Parquet tables on a local folder or an S3 prefix, each partition written whole or not at all.

    <root>/<table>/source=<source>/shard=<shard>/data.parquet    the rows
                                                 manifest.json   what the rows are and what made them
                                                 verdict.json    what the gate said of those very rows
    <root>/<table>/data.parquet, manifest.json                   of a table that spans all partitions

Hive style, so that DuckDB, Polars and `datasets` read the tables as they lie.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source
from pydantic import BaseModel, Field, ValidationError

from forge_resources.content_hash import ContentHash
from forge_resources.errors import ForgeError
from forge_resources.parquet import write_parquet
from forge_resources.s3 import S3Config, S3Uri
from forge_resources.shards import ShardKey
from forge_resources.stores import Store, open_store

DATA = "data.parquet"
MANIFEST = "manifest.json"
VERDICT = "verdict.json"
STALE_STAGING_S = 86_400.0
CHECKED_ROWS = 256
"""Rows that are held at once where a partition is read to be checked; photos may be large."""


class TableManifest(BaseModel, frozen=True):
    """What a written table holds and what it was made of."""

    table: str
    content_hash: str
    rows: int
    size_bytes: int | None = None
    """Of the Parquet file; None in manifests of versions that did not count it."""
    inputs: Mapping[str, str] = Field(default_factory=dict)
    """Content hash of all that was read; of a partition, by table name."""
    versions: Mapping[str, str] = Field(default_factory=dict)
    """Code, models and thresholds that made the rows, by name."""
    counts: Mapping[str, int] = Field(default_factory=dict)
    """Figures of interest, such as rows in, rejected by rule."""


class Manifest(TableManifest, frozen=True):
    """What a written partition holds and what it was made of."""

    source: str
    shard: str


class Verdict(BaseModel, frozen=True):
    """What a gate said of one partition's rows."""

    gate: str
    content_hash: str
    suite_hash: str
    outcome: Literal["passed", "failed", "broken"]
    rows: int
    failures: Mapping[str, int] = Field(default_factory=dict)
    """Failing rows by rule; empty when the gate passed."""
    error: str | None = None
    """Why a broken gate could not judge."""


class PartitionMissing(ForgeError, LookupError):
    """A partition, or a table that spans all of them, has not been made."""


class PartitionDamaged(ForgeError, ValueError):
    """A partition, or a table that spans all of them, whose files are not as they were written.

    Args:
        place: its name.
        problem: what is wrong with which file.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(place, problem)
        self.place = place
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.place} is damaged: {self.problem}; make it again with `forge fsck --repair`"


class PartitionRefused(ForgeError, RuntimeError):
    """A partition is there, but no gate has passed its present content."""


_Document = TypeVar("_Document", bound=BaseModel)
_OF_PARQUET = "parquet: "
"""How Polars begins what it says of a file that is no Parquet, or a broken one."""


class Lake:
    """Tables on a local folder or an S3 prefix.

    A partition is made aside and put in place as its store can: a reader sees the old one, the new one, or
    (locally for an instant, on S3 while the new one is uploaded) none, never a part. One writer at a time makes
    a partition; of two at once, the later one stays.

    Args:
        root: A folder, or an S3 prefix.
        s3: How S3 is reached; default, as boto3 does.
    """

    def __init__(self, root: Path | S3Uri, s3: S3Config | None = None) -> None:
        self.root = root
        self.store: Store = open_store(root, s3)

    def partition_dir(self, table: str, key: ShardKey) -> Path | S3Uri:
        """The folder of one partition, whether or not it exists."""
        return self.root / _folder(table, key)

    def data_path(self, table: str, key: ShardKey) -> Path | S3Uri:
        """The Parquet file of one partition, whether or not it exists."""
        return self.partition_dir(table, key) / DATA

    def table_path(self, table: str) -> Path | S3Uri:
        """The Parquet file of a table that spans all partitions, whether or not it exists."""
        return self.root / table / DATA

    def glob(self, table: str) -> str:
        """The pattern of all Parquet files of a table."""
        return str(self.root / table / "source=*" / "shard=*" / DATA)

    # --- writing

    def write(
        self,
        table: str,
        key: ShardKey,
        rows: pl.DataFrame | Iterable[pl.DataFrame],
        schema: Mapping[str, pl.DataType],
        *,
        inputs: Mapping[str, str] | None = None,
        versions: Mapping[str, str] | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> Manifest:
        """Replace one partition by `rows`, given as one table or as a stream of batches.

        Batches must come in the table's order; each is cast to `schema` and becomes a row group, so
        memory follows the batch. `counts` is read after the last batch: a stage may fill it meanwhile.

        Raises:
            polars.exceptions.PolarsError: a batch does not fit `schema`; nothing is written then.
            S3Error: if S3 cannot be written.
            DiskError: if a disk cannot be written.
        """
        with self.store.staging() as staged:
            digest, total = write_parquet(staged / DATA, rows, pl.Schema(schema))
            manifest = Manifest(
                table=table,
                source=key.source,
                shard=key.shard,
                content_hash=digest,
                rows=total,
                size_bytes=(staged / DATA).stat().st_size,
                inputs=inputs or {},
                versions=versions or {},
                counts=counts or {},
            )
            self._publish(staged, manifest, _folder(table, key))
        return manifest

    def write_table(
        self,
        table: str,
        rows: pl.DataFrame | Iterable[pl.DataFrame],
        schema: Mapping[str, pl.DataType],
        *,
        inputs: Mapping[str, str] | None = None,
        versions: Mapping[str, str] | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> TableManifest:
        """Replace a table that spans all partitions; all else is as in `write`.

        Raises:
            ValueError: if the lake holds partitions of that table.
            polars.exceptions.PolarsError: a batch does not fit `schema`; nothing is written then.
            S3Error: if S3 cannot be written.
            DiskError: if a disk cannot be written.
        """
        if self.keys(table):
            raise ValueError(f"{table} has partitions: it cannot be written as one table")
        with self.store.staging() as staged:
            digest, total = write_parquet(staged / DATA, rows, pl.Schema(schema))
            manifest = TableManifest(
                table=table,
                content_hash=digest,
                rows=total,
                size_bytes=(staged / DATA).stat().st_size,
                inputs=inputs or {},
                versions=versions or {},
                counts=counts or {},
            )
            self._publish(staged, manifest, table)
        return manifest

    def _publish(self, staged: Path, manifest: TableManifest, folder: str) -> None:
        (staged / MANIFEST).write_bytes(_as_file(manifest))
        self.store.publish(staged, folder, last=MANIFEST)

    def clear_staging(self, older_than_s: float = STALE_STAGING_S) -> int:
        """Remove what killed writers left behind in the staging folder; on S3 there is none.

        Args:
            older_than_s: seconds since a staged folder was last touched; younger ones may be in use.

        Returns:
            How many folders were removed.
        """
        return self.store.clear_staging(older_than_s)

    def write_verdict(self, table: str, key: ShardKey, verdict: Verdict) -> None:
        """Lay a gate's verdict beside the rows that it judged."""
        self.store.write(f"{_folder(table, key)}/{VERDICT}", _as_file(verdict))

    # --- reading

    def manifest(self, table: str, key: ShardKey) -> Manifest:
        """The manifest of one partition.

        Raises:
            PartitionMissing: if it was never made.
            PartitionDamaged: if it cannot be read, or is that of another partition.
        """
        found = self._manifest(table, key)
        if found is None:
            raise PartitionMissing(
                f"{table} [{key}] is not in the lake {self.root}: materialize {table} for {key} first"
            )
        return found

    def _manifest(self, table: str, key: ShardKey) -> Manifest | None:
        name = f"{table} [{key}]"
        found = self._document(f"{_folder(table, key)}/{MANIFEST}", Manifest, name)
        if found is not None and (found.table, found.source, found.shard) != (table, key.source, key.shard):
            other = f"{found.table} [{found.source}/{found.shard}]"
            raise PartitionDamaged(name, f"its {MANIFEST} is that of {other}")
        return found

    def verdict(self, table: str, key: ShardKey) -> Verdict | None:
        """The gate's last word on one partition, or None where no gate has run on it.

        Raises:
            PartitionDamaged: if it cannot be read.
        """
        return self._document(f"{_folder(table, key)}/{VERDICT}", Verdict, f"{table} [{key}]")

    def _document(self, path: str, kind: type[_Document], name: str) -> _Document | None:
        text = self.store.read(path)
        if text is None:
            return None
        try:
            return kind.model_validate_json(text)
        except ValidationError as error:
            raise PartitionDamaged(name, f"its {path.rpartition('/')[2]} cannot be read") from error

    def require_passed(self, table: str, key: ShardKey) -> Manifest:
        """The manifest of a partition that its gate has passed, as it lies there now.

        Raises:
            PartitionMissing: if it was never made.
            PartitionRefused: if its gate failed, broke, or has not judged its present content, or if it was
                made of an input that has changed since.
            PartitionDamaged: if its manifest or verdict, or the manifest of an input, cannot be read.
        """
        manifest, verdict = self.manifest(table, key), self.verdict(table, key)
        judge_again = f"run the check {table}_gate for {key} again"
        if verdict is None or verdict.content_hash != manifest.content_hash:
            raise PartitionRefused(
                f"{table} [{key}] has not been judged by its gate as it lies there now: {judge_again}"
            )
        if verdict.outcome == "broken":
            raise PartitionRefused(
                f"{verdict.gate} broke on partition {key} and could not judge it ({verdict.error}): {judge_again}"
            )
        if verdict.outcome == "failed":
            rules = ", ".join(f"{rule} (failing rows: {count})" for rule, count in verdict.failures.items())
            raise PartitionRefused(
                f"{verdict.gate} failed for partition {key} by rule {rules}: mend the cause and materialize {table} "
                f"again, or change the threshold and {judge_again}"
            )
        for source, content_hash in manifest.inputs.items():
            present = self._manifest(source, key)
            if present is not None and present.content_hash != content_hash:
                raise PartitionRefused(
                    f"{table} [{key}] was made of an older {source}: materialize {table} for {key} again"
                )
        return manifest

    def has_passed(self, table: str, key: ShardKey) -> bool:
        """Whether `require_passed` would give a manifest."""
        try:
            self.require_passed(table, key)
        except (PartitionMissing, PartitionRefused, PartitionDamaged):
            return False
        return True

    def scan(self, table: str, key: ShardKey) -> pl.LazyFrame:
        """The rows of one partition, ungated; `source` and `shard` come from the rows themselves.

        Raises:
            PartitionMissing: if it was never made.
            PartitionDamaged: if its file is damaged; also raised where the rows are collected.
            S3Error: if S3 does not answer as it should; likewise.
        """
        self.manifest(table, key)
        return self._scan(f"{_folder(table, key)}/{DATA}", f"{table} [{key}]")

    def _scan(self, path: str, name: str) -> pl.LazyFrame:
        """The rows of a file that Polars reads itself, but for the words in which it fails."""
        with self._reading(path, name):
            file = self.store.scan(path)
            schema = file.collect_schema()

        def read(
            columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _batch_rows: int | None
        ) -> Iterator[pl.DataFrame]:
            asked = file if rows is None else file.head(rows)
            asked = asked if predicate is None else asked.filter(predicate)
            with self._reading(path, name):
                found = (asked if columns is None else asked.select(columns)).collect()
            yield found

        return register_io_source(read, schema=schema, is_pure=True)

    def batches(
        self, table: str, key: ShardKey, rows: int, columns: Sequence[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        """The rows of one partition, ungated, at most `rows` at a time and in order.

        Raises:
            PartitionMissing: if it was never made.
            PartitionDamaged: if its file is damaged.
            FileNotFoundError: if its file is not there.
            S3Error: if S3 does not answer as it should.
        """
        self.manifest(table, key)
        yield from self._batches(f"{_folder(table, key)}/{DATA}", f"{table} [{key}]", rows, columns)

    def _batches(self, path: str, name: str, rows: int, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        with self._reading(path, name), self.store.parquet(path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=list(columns) if columns else None):
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)
                yield frame

    @contextmanager
    def _reading(self, path: str, name: str) -> Generator[None]:
        """Name the partition where a library says that its file is damaged.

        Raises:
            PartitionDamaged: if the file is damaged.
            S3Error: if S3 does not answer as it should.
        """
        try:
            with self.store.reading(path):
                yield
        except (ForgeError, FileNotFoundError):
            raise
        except (
            pl.exceptions.PolarsError,
            pl.exceptions.PanicException,
            pa.ArrowException,
            OSError,
            ValueError,
        ) as error:
            if not _is_damage(error):
                raise
            raise PartitionDamaged(name, f"its {DATA} cannot be read ({error})") from error

    def keys(self, table: str) -> list[ShardKey]:
        """All partitions of a table that were written, sorted."""
        return _keys(self.store.glob(f"{table}/source=*/shard=*/{MANIFEST}"))

    def has_table(self, table: str) -> bool:
        """Whether a table that spans all partitions was written."""
        return self.store.read(f"{table}/{MANIFEST}") is not None

    def table_manifest(self, table: str) -> TableManifest:
        """The manifest of a table that spans all partitions.

        Raises:
            PartitionMissing: if it was never made.
            PartitionDamaged: if it cannot be read, or is that of another table.
        """
        found = self._document(f"{table}/{MANIFEST}", TableManifest, table)
        if found is None:
            raise PartitionMissing(f"{table} is not in the lake {self.root}: materialize {table} first")
        if found.table != table:
            raise PartitionDamaged(table, f"its {MANIFEST} is that of {found.table}")
        return found

    def scan_table(self, table: str) -> pl.LazyFrame:
        """The rows of a table that spans all partitions.

        Raises:
            PartitionMissing: if it was never made.
            PartitionDamaged: if its file is damaged; also raised where the rows are collected.
            S3Error: if S3 does not answer as it should; likewise.
        """
        self.table_manifest(table)
        return self._scan(f"{table}/{DATA}", table)

    # --- checking

    def require_whole(self, table: str, key: ShardKey | None) -> TableManifest:
        """Read all rows of a partition, or of a table that spans all of them, and compare them with its manifest.

        Memory follows the batch. The rows of a file that is not whole, or of which bytes have changed, either cannot be
        read or have another content hash.

        Args:
            table: its name.
            key: the partition; None for a table that spans all of them.

        Returns:
            The manifest.

        Raises:
            PartitionDamaged: if its rows, manifest or verdict are not as they were written, or not there.
            UnknownDigest: if a later version of the program wrote its content hash.
            S3Error: if S3 does not answer as it should.
        """
        folder, name = (_folder(table, key), f"{table} [{key}]") if key else (table, table)
        try:
            manifest = self.manifest(table, key) if key else self.table_manifest(table)
        except PartitionMissing as error:
            raise PartitionDamaged(name, f"it has no {MANIFEST}") from error
        running, rows = ContentHash.like(manifest.content_hash), 0
        try:
            for batch in self._batches(f"{folder}/{DATA}", name, CHECKED_ROWS):
                running.update(batch)
                rows += batch.height
            if rows == 0:
                running.update(self._scan(f"{folder}/{DATA}", name).collect())
        except FileNotFoundError as error:
            raise PartitionDamaged(name, f"it has no {DATA}") from error
        if running.hexdigest() != manifest.content_hash:
            raise PartitionDamaged(
                name,
                f"its {rows} rows are not the {manifest.rows} that its {MANIFEST} describes "
                f"(content hash {running.hexdigest()}, not {manifest.content_hash})",
            )
        if key:
            self.verdict(table, key)
        return manifest

    def keys_with_rows(self, table: str) -> list[ShardKey]:
        """All partitions of a table that have a file of rows, sorted; `keys` has those that count."""
        return _keys(self.store.glob(f"{table}/source=*/shard=*/{DATA}"))


def _is_damage(error: BaseException) -> bool:
    """Whether a library that reads Parquet complains of the file, and not of what it was asked or of the system."""
    match error:
        case pl.exceptions.ComputeError():
            return str(error).startswith(_OF_PARQUET)
        case OSError():
            return error.errno is None
        case pl.exceptions.PolarsError():
            return False
        case _:
            return isinstance(error, pa.ArrowException | pl.exceptions.PanicException | UnicodeDecodeError)


def _keys(paths: Iterable[str]) -> list[ShardKey]:
    folders = (path.split("/")[-3:-1] for path in paths)
    return sorted(ShardKey(source.removeprefix("source="), shard.removeprefix("shard=")) for source, shard in folders)


def _folder(table: str, key: ShardKey) -> str:
    return f"{table}/source={key.source}/shard={key.shard}"


def _as_file(document: BaseModel) -> bytes:
    return document.model_dump_json(indent=2).encode() + b"\n"
