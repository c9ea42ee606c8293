"""The lake: one folder of Parquet tables, each partition written whole or not at all.

    <root>/<table>/source=<source>/shard=<shard>/data.parquet    the rows
                                                 manifest.json   what the rows are and what made them
                                                 verdict.json    what the gate said of those very rows

Hive style, so that DuckDB, Polars and `datasets` read the tables as they lie.
"""

import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field

from forge_resources.content_hash import ContentHash
from forge_resources.errors import ForgeError
from forge_resources.shards import ShardKey

DATA = "data.parquet"
MANIFEST = "manifest.json"
VERDICT = "verdict.json"
_STAGING = ".staging"
STALE_STAGING_S = 86_400.0


class Manifest(BaseModel, frozen=True):
    """What a written partition holds and what it was made of."""

    table: str
    source: str
    shard: str
    content_hash: str
    rows: int
    inputs: Mapping[str, str] = Field(default_factory=dict)
    """Content hash of each partition that was read, by table name."""
    versions: Mapping[str, str] = Field(default_factory=dict)
    """Code, models and thresholds that made the rows, by name."""
    counts: Mapping[str, int] = Field(default_factory=dict)
    """Figures of interest, such as rows in, rejected by rule."""


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
    """A partition that was asked for has not been made."""


class PartitionRefused(ForgeError, RuntimeError):
    """A partition is there, but no gate has passed its present content."""


class Lake:
    """Tables on a local folder.

    A partition is staged beside the tables and moved into place by renaming its folder, so a reader
    sees the old one, the new one, or (for the instant between two renames) none, never a part.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def partition_dir(self, table: str, key: ShardKey) -> Path:
        """The folder of one partition, whether or not it exists."""
        return self.root / table / f"source={key.source}" / f"shard={key.shard}"

    def data_path(self, table: str, key: ShardKey) -> Path:
        """The Parquet file of one partition, whether or not it exists."""
        return self.partition_dir(table, key) / DATA

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
        """
        staged = self.root / _STAGING / uuid.uuid4().hex
        staged.mkdir(parents=True)
        try:
            digest, total = self._write_parquet(staged / DATA, rows, pl.Schema(schema))
            manifest = Manifest(
                table=table,
                source=key.source,
                shard=key.shard,
                content_hash=digest,
                rows=total,
                inputs=inputs or {},
                versions=versions or {},
                counts=counts or {},
            )
            (staged / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
            self._swap_in(staged, self.partition_dir(table, key))
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return manifest

    @staticmethod
    def _write_parquet(path: Path, rows: pl.DataFrame | Iterable[pl.DataFrame], schema: pl.Schema) -> tuple[str, int]:
        running, total = ContentHash(), 0
        empty = schema.to_frame()
        arrow_schema = empty.to_arrow().schema
        batches = (rows,) if isinstance(rows, pl.DataFrame) else rows
        with pq.ParquetWriter(path, arrow_schema, compression="zstd") as writer:
            for batch in batches:
                frame = batch.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
                running.update(frame)
                total += frame.height
                writer.write_table(frame.to_arrow().cast(arrow_schema))
            if total == 0:
                running.update(empty)
        return running.hexdigest(), total

    def _swap_in(self, staged: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        retired = self.root / _STAGING / uuid.uuid4().hex
        if target.exists():
            target.rename(retired)
        staged.rename(target)
        shutil.rmtree(retired, ignore_errors=True)

    def clear_staging(self, older_than_s: float = STALE_STAGING_S) -> int:
        """Remove what killed writers left behind in the staging folder.

        Args:
            older_than_s: seconds since a staged folder was last touched; younger ones may be in use.

        Returns:
            How many folders were removed.
        """
        oldest = time.time() - older_than_s
        stale = [folder for folder in (self.root / _STAGING).glob("*") if folder.stat().st_mtime < oldest]
        for folder in stale:
            shutil.rmtree(folder)
        return len(stale)

    def write_verdict(self, table: str, key: ShardKey, verdict: Verdict) -> None:
        """Lay a gate's verdict beside the rows that it judged."""
        folder = self.partition_dir(table, key)
        staged = folder / f".{VERDICT}.{uuid.uuid4().hex}"
        staged.write_text(verdict.model_dump_json(indent=2) + "\n")
        staged.replace(folder / VERDICT)

    # --- reading

    def manifest(self, table: str, key: ShardKey) -> Manifest:
        """The manifest of one partition.

        Raises:
            PartitionMissing: if it was never made.
        """
        path = self.partition_dir(table, key) / MANIFEST
        if not path.exists():
            raise PartitionMissing(
                f"{table} [{key}] is not in the lake {self.root}: materialize {table} for {key} first"
            )
        return Manifest.model_validate_json(path.read_text())

    def verdict(self, table: str, key: ShardKey) -> Verdict | None:
        """The gate's last word on one partition, or None where no gate has run on it."""
        path = self.partition_dir(table, key) / VERDICT
        return Verdict.model_validate_json(path.read_text()) if path.exists() else None

    def require_passed(self, table: str, key: ShardKey) -> Manifest:
        """The manifest of a partition that its gate has passed, as it lies there now.

        Raises:
            PartitionMissing: if it was never made.
            PartitionRefused: if its gate failed, broke, or has not judged its present content, or if it was
                made of an input that has changed since.
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
            if self._has(source, key) and self.manifest(source, key).content_hash != content_hash:
                raise PartitionRefused(
                    f"{table} [{key}] was made of an older {source}: materialize {table} for {key} again"
                )
        return manifest

    def has_passed(self, table: str, key: ShardKey) -> bool:
        """Whether `require_passed` would give a manifest."""
        try:
            self.require_passed(table, key)
        except (PartitionMissing, PartitionRefused):
            return False
        return True

    def _has(self, table: str, key: ShardKey) -> bool:
        return (self.partition_dir(table, key) / MANIFEST).exists()

    def scan(self, table: str, key: ShardKey) -> pl.LazyFrame:
        """The rows of one partition, ungated; `source` and `shard` come from the rows themselves."""
        self.manifest(table, key)
        return pl.scan_parquet(self.data_path(table, key), hive_partitioning=False)

    def batches(
        self, table: str, key: ShardKey, rows: int, columns: Sequence[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        """The rows of one partition, ungated, at most `rows` at a time and in order."""
        self.manifest(table, key)
        with pq.ParquetFile(self.data_path(table, key)) as file:
            for batch in file.iter_batches(batch_size=rows, columns=list(columns) if columns else None):
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)
                yield frame

    def keys(self, table: str) -> list[ShardKey]:
        """All partitions of a table that were written, sorted."""
        found = self.root.glob(f"{table}/source=*/shard=*/{MANIFEST}")
        return sorted(
            ShardKey(path.parts[-3].removeprefix("source="), path.parts[-2].removeprefix("shard=")) for path in found
        )
