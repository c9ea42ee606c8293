"""`forge fsck`: what in the lake is not as it was written, and how it is made again.

A partition whose rows differ from its manifest may have been read before anyone saw it, so whatever the lake holds of
its shard that was made of it is made again too.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import dagster as dg

from forge_assets.definitions import build_definitions
from forge_assets.problems import problems_of
from forge_assets.release.release_folder import ReleaseError, damaged_files, release_names
from forge_assets.runs import QUIET, made_together
from forge_assets.tables import SCHEMAS
from forge_resources.content_hash import UnknownDigest
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake, PartitionDamaged
from forge_resources.shards import ShardKey
from forge_resources.sources.shard_plan import ShardPlan, ShardPlanError

WHOLE_TABLES: Final = {
    "duplicates": "duplicates",
    "guessability": "guessability",
    "balance_plan": "balance_plan",
    "balance_repeats": "balance_plan",
}
"""Tables that span all partitions, and the asset that makes each; in the order in which they are read."""

PARTITIONED_TABLES: Final = tuple(table for table in SCHEMAS if table not in WHOLE_TABLES)

_MADE_WITH: Final = {"rejected_images": "raw_images"}
"""Assets of the tables that bear another name than theirs."""
_CHECKED_AT_ONCE: Final = 4


@dataclass(frozen=True, order=True)
class Place:
    """A partition of a table; a table that spans all partitions where `key` is None."""

    table: str
    key: ShardKey | None

    def __str__(self) -> str:
        return f"{self.table} [{self.key}]" if self.key else self.table


@dataclass(frozen=True)
class Finding:
    """What was found at a place."""

    place: Place
    problem: str | None
    """What is wrong with which file; None where nothing is."""


@dataclass(frozen=True)
class Repair:
    """What was made again at a time."""

    key: ShardKey | None
    made: tuple[str, ...]
    """Names of assets, sorted."""
    problems: tuple[str, ...]
    """What gates and stages said, where something failed."""


def places(lake: Lake, sources: Sequence[str] | None = None, shards: Sequence[str] | None = None) -> list[Place]:
    """All that a lake holds, by table and partition; with `sources` or `shards`, their partitions alone.

    Raises:
        S3Error: if S3 does not do what it is asked.
    """
    keyed = [
        Place(table, key)
        for table in PARTITIONED_TABLES
        for key in sorted({*lake.keys(table), *lake.keys_with_rows(table)})
        if (not sources or key.source in sources) and (not shards or key.shard in shards)
    ]
    if sources or shards:
        return keyed
    return [*keyed, *(Place(table, None) for table in WHOLE_TABLES if lake.has_table(table))]


def examine(lake: Lake, looked_at: Sequence[Place]) -> Iterator[Finding]:
    """Read every row of these places and compare it with what its manifest says; findings come in the same order.

    Raises:
        S3Error: if S3 does not do what it is asked.
    """
    with ThreadPoolExecutor(_CHECKED_AT_ONCE) as pool:
        yield from pool.map(partial(_examined, lake), looked_at)


def _examined(lake: Lake, place: Place) -> Finding:
    try:
        lake.require_whole(place.table, place.key)
    except PartitionDamaged as error:
        return Finding(place, error.problem)
    except UnknownDigest as error:
        return Finding(place, str(error))
    return Finding(place, None)


def beyond_repair(lake: Lake, plan: ShardPlan) -> Iterator[str]:
    """What is damaged and cannot be made again, each with what to do: shard plans and releases.

    Raises:
        S3Error: if S3 does not do what it is asked.
    """
    planned = plan.keys()
    for key in planned:
        try:
            plan.digest(key)
        except ShardPlanError as error:
            yield str(error)
    for name in release_names(lake):
        try:
            damaged = damaged_files(lake, name)
        except ReleaseError as error:
            yield str(error)
            continue
        if damaged:
            yield (
                f"the release {name} is damaged: {', '.join(damaged)}: restore it from a copy, or make one of another "
                "name by the same selection"
            )


def repair(
    forge: ForgeResource, instance: dg.DagsterInstance, lake: Lake, damaged: Sequence[Place]
) -> Iterator[Repair]:
    """Make damaged places again, and what the lake holds of the same shards that was made of them.

    One run makes what is due of a shard, and one each table that spans all partitions.

    Args:
        forge: the configuration.
        instance: knows the partitions.
        lake: the one that `forge` names.
        damaged: what to make again.
    """
    definitions = build_definitions(forge)
    held = {table: {*lake.keys(table), *lake.keys_with_rows(table)} for table in PARTITIONED_TABLES}
    for key in sorted({place.key for place in damaged if place.key is not None}):
        names = {_MADE_WITH.get(place.table, place.table) for place in damaged if place.key == key}
        there = {table for table, keys in held.items() if key in keys}
        yield _made(definitions, instance, key, names | (there & _made_of(definitions, names)))
    whole = {WHOLE_TABLES[place.table] for place in damaged if place.key is None}
    for name in sorted(whole, key=list(WHOLE_TABLES).index):
        yield _made(definitions, instance, None, {name})


def _made_of(definitions: dg.Definitions, names: set[str]) -> set[str]:
    """Assets of all later stages."""
    later = dg.AssetSelection.assets(*names).downstream(include_self=False).resolve(definitions.resolve_asset_graph())
    return {asset.to_user_string() for asset in later}


def _made(definitions: dg.Definitions, instance: dg.DagsterInstance, key: ShardKey | None, names: set[str]) -> Repair:
    made = made_together(names)
    job = dg.define_asset_job("repair", selection=dg.AssetSelection.assets(*made))
    result = (
        dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
        .resolve_job_def(job.name)
        .execute_in_process(
            partition_key=str(key) if key else None, instance=instance, raise_on_error=False, run_config=QUIET
        )
    )
    problems = () if result.success else tuple(problems_of(result.all_events)) or ("the run failed",)
    return Repair(key, tuple(made), problems)
