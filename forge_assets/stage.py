"""What all stage assets share: their attributes in the graph and their progress lines."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from forge_assets.partitions import SHARDS
from forge_assets.progress import announce
from forge_resources.shards import ShardKey

OWNERS = ["team:spatialforge"]
GPU_POOL = "gpu"
PROGRESS_LINES = 10

WHEN_INPUTS_PASS = (
    dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
).with_label("inputs_new_and_gates_passed")
"""Automation makes a partition when an input of it is new and all gates of its inputs have passed for it."""


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
