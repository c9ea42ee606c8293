"""What all stage assets share: their attributes in the graph, their progress lines and their metadata."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from forge_assets.partitions import SHARDS
from forge_assets.progress import announce
from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake, Manifest
from forge_resources.shards import ShardKey

OWNERS = ["team:spatialforge"]
GPU_POOL = "gpu"
PROGRESS_LINES = 10

WHEN_INPUTS_PASS = (
    dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
).with_label("inputs_new_and_gates_passed")
"""Automation makes a partition when an input of it is new and all gates of its inputs have passed for it."""


COLUMN_SCHEMAS = {
    table: dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in schema.items()])
    for table, schema in SCHEMAS.items()
}
"""The columns of every table, as Dagster shows them."""


def stage_asset(
    *,
    group: str,
    kinds: set[str],
    code_version: str,
    deps: Sequence[dg.AssetsDefinition | dg.AssetKey] = (),
    pool: str | None = None,
    automated: bool = True,
) -> Callable[[Callable[..., dg.MaterializeResult[Any]]], dg.AssetsDefinition]:
    """`dagster.asset` for a partitioned stage, with what all of them have in common."""
    return dg.asset(
        partitions_def=SHARDS,
        group_name=group,
        kinds=kinds,
        code_version=code_version,
        deps=list(deps),
        owners=OWNERS,
        pool=pool,
        automation_condition=WHEN_INPUTS_PASS if automated else None,
    )


def shard_of(context: dg.AssetExecutionContext) -> ShardKey:
    """The shard that this run makes."""
    return ShardKey.parse(context.partition_key)


def progress_of(context: dg.AssetExecutionContext, stage: str, total: int) -> Callable[[int], None]:
    """A callback for photos done: about ten log lines over `total`, and word to whoever listens."""
    started, tenths = time.monotonic(), 0

    def report(done: int) -> None:
        nonlocal tenths
        announce(stage, done, total)
        reached = PROGRESS_LINES * done // max(total, 1)
        if reached > tenths:
            tenths = reached
            rate = done / max(time.monotonic() - started, 1e-9)
            context.log.info(f"{done} of {total} photos, {rate:.1f} a second")

    report(0)
    return report


def materialized(
    lake: Lake,
    manifest: Manifest,
    started: float,
    metadata: Mapping[str, Any] | None = None,
    picture: str | None = None,
) -> dg.MaterializeResult[Any]:
    """What the Dagster UI shows of a partition: its content hash as data version, and figures that can be plotted.

    Args:
        lake: that it was written to.
        manifest: of the partition just written.
        started: `time.monotonic()` when its work began.
        metadata: figures and texts of this stage.
        picture: Markdown that shows a picture.
    """
    shown: dict[str, Any] = {
        "dagster/row_count": manifest.rows,
        **({"picture": dg.MetadataValue.md(picture)} if picture else {}),
        **dict(manifest.counts),
        **(metadata or {}),
        "seconds": round(time.monotonic() - started, 3),
        **{f"version/{name}": version for name, version in manifest.versions.items()},
        "path": dg.MetadataValue.path(str(lake.data_path(manifest.table, ShardKey(manifest.source, manifest.shard)))),
        "dagster/column_schema": COLUMN_SCHEMAS[manifest.table],
    }
    return dg.MaterializeResult(
        asset_key=manifest.table, metadata=shown, data_version=dg.DataVersion(manifest.content_hash)
    )


def counts_of(rows: pl.DataFrame, column: str, prefix: str = "") -> dict[str, int]:
    """How many rows there are of each value of a column, by `prefix` and value."""
    counted = rows.group_by(pl.col(column).cast(pl.String)).len().sort(column)
    return {f"{prefix}{value}": count for value, count in counted.iter_rows()}
