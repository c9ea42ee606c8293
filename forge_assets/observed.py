"""What Dagster shows of a partition that a stage has made: figures to plot, seconds by phase, models and versions."""

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import dagster as dg
import polars as pl

from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake, Manifest
from forge_resources.shards import ShardKey

_Item = TypeVar("_Item")
Picture = Callable[[Lake, ShardKey], str | None]
"""Markdown that shows a picture of a partition, or None where nothing is to be seen."""

NETWORK_TABLES: Final = ("detections", "depth_maps")
"""The tables whose manifests name the networks that all later tables rest on."""

_MODELS: Final = frozenset({"detector", "second_detector", "pose_model", "second_pose_model", "describer", "judge"})
_DEPTH_MODEL: Final = "depth_"

COLUMN_SCHEMAS = {
    table: dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in schema.items()])
    for table, schema in SCHEMAS.items()
}
"""The columns of every table, as Dagster shows them."""


class Stopwatch:
    """Seconds since it was made, and those spent in each phase by the thread that made it.

    A phase inside another stops the outer one: the seconds of all phases add up to no more than the total. What other
    threads do beside counts for nothing of its own: waiting for them does.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._started = self._turned = time.monotonic()
        self._spent: dict[str, float] = {}
        self._open: list[str] = []

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Count what is done inside for a phase; a phase that is entered again goes on."""
        if threading.get_ident() != self._thread:
            yield
            return
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def each(self, name: str, items: Iterable[_Item]) -> Iterator[_Item]:
        """The same items; what it takes to make each counts for a phase, what becomes of them does not."""
        remaining = iter(items)
        while True:
            with self.phase(name):
                try:
                    item = next(remaining)
                except StopIteration:
                    return
            yield item

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._started

    @property
    def phases(self) -> Mapping[str, float]:
        """Seconds spent in the phases that are over, by name, in the order in which they were first left."""
        return dict(self._spent)

    def _turn(self) -> None:
        now = time.monotonic()
        if self._open:
            self._spent[self._open[-1]] = self._spent.get(self._open[-1], 0.0) + now - self._turned
        self._turned = now


def materialized(
    lake: Lake,
    manifest: Manifest,
    watch: Stopwatch,
    metadata: Mapping[str, Any] | None = None,
    picture: Picture | None = None,
) -> dg.MaterializeResult[Any]:
    """What the Dagster UI shows of a partition: its content hash as data version, and figures that can be plotted.

    Names that begin with `dagster/` are those that Dagster's own integrations use; docs/observability.md lists all.

    Args:
        lake: that it was written to.
        manifest: of the partition just written.
        watch: started when its work began.
        metadata: figures and texts of this stage.
        picture: draws a picture of it; counts as the phase `picture`.
    """
    key = ShardKey(manifest.source, manifest.shard)
    with watch.phase("picture"):
        shown_picture = picture(lake, key) if picture else None
    path = lake.data_path(manifest.table, key)
    shown: dict[str, Any] = {
        "dagster/partition_row_count": manifest.rows,
        **({"picture": dg.MetadataValue.md(shown_picture)} if shown_picture else {}),
        **dict(manifest.counts),
        **(metadata or {}),
        **({"bytes": manifest.size_bytes} if manifest.size_bytes is not None else {}),
        "seconds": round(watch.seconds, 3),
        **{f"seconds/{phase}": round(seconds, 3) for phase, seconds in watch.phases.items()},
        **_identities(manifest.versions),
        "path": dg.MetadataValue.path(str(path)),
        "dagster/uri": path.absolute().as_uri() if isinstance(path, Path) else str(path),
        "dagster/column_schema": COLUMN_SCHEMAS[manifest.table],
    }
    return dg.MaterializeResult(
        asset_key=manifest.table, metadata=shown, data_version=dg.DataVersion(manifest.content_hash)
    )


def models_behind(lake: Lake, key: ShardKey) -> dict[str, str]:
    """The networks that a partition of pairs rests on, as `materialized` names them.

    Raises:
        PartitionMissing: if a table that networks make was never made.
    """
    versions = {
        name: version
        for table in NETWORK_TABLES
        for name, version in lake.manifest(table, key).versions.items()
        if _is_model(name)
    }
    return _identities(versions)


def counts_of(rows: pl.DataFrame, column: str, prefix: str = "") -> dict[str, int]:
    """How many rows there are of each value of a column, by `prefix` and value."""
    counted = rows.group_by(pl.col(column).cast(pl.String)).len().sort(column)
    return {f"{prefix}{value}": count for value, count in counted.iter_rows()}


def _identities(versions: Mapping[str, str]) -> dict[str, str]:
    return {f"{'model' if _is_model(name) else 'version'}/{name}": version for name, version in versions.items()}


def _is_model(name: str) -> bool:
    return name in _MODELS or name.startswith(_DEPTH_MODEL)
