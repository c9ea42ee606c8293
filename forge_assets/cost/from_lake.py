"""Rates of a lake that was made here: bytes from its manifests, seconds from the Dagster instance that made it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import dagster as dg

from forge_assets.cost.model import Rates, StorageRate, TimeRate, Unit
from forge_resources.errors import ForgeError
from forge_resources.lake import Lake, Manifest
from forge_resources.s3 import REQUESTS_AT_ONCE
from forge_resources.shards import ShardKey

UNITS: Mapping[str, Unit] = {
    "raw_images": "photo",
    "detections": "photo",
    "depth_maps": "photo",
    "scenes": "photo",
    "candidate_qa": "candidate",
    "verified_qa": "pair",
    "rejected_qa": "rejected pair",
}
"""The unit in which a table grows."""

STAGES = ("raw_images", "detections", "depth_maps", "scenes", "candidate_qa", "verified_qa")
SECONDS = "seconds"
"""Under which `forge_assets.observed.materialized` records how long a stage worked on a partition."""
BATCH = 1_000


class NothingMeasuredError(ForgeError, LookupError):
    """A lake has no partition that can be measured."""


@dataclass(frozen=True)
class Measured:
    """What a lake tells of photos like its own."""

    photos: int
    candidates_per_photo: float
    pairs_per_photo: float
    rates: Rates


def measured(
    lake: Lake, instance: dg.DagsterInstance, otherwise: Rates, *, cores: int, on_gpu: Collection[str] = ()
) -> Measured:
    """What the partitions of a lake took that went all the way to verified pairs.

    A stage's seconds are by the clock and hold the loading of its networks; the clock of a CPU stage counts for all
    cores of the machine. What the lake does not tell (gates, process start, requests, and what was made before sizes
    and seconds were recorded) stays as in `otherwise`; the origin of each rate says which it is.

    Args:
        lake: that was made.
        instance: in whose records its partitions stand.
        otherwise: rates of what the lake does not tell.
        cores: of the machine that made it.
        on_gpu: stages that ran on a GPU there.

    Raises:
        NothingMeasuredError: if no partition has verified pairs, or none of those has a photo.
        PartitionMissing: if a partition with verified pairs lacks an earlier table.
    """
    keys = lake.keys("verified_qa")
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        manifests = {table: list(pool.map(partial(lake.manifest, table), keys)) for table in UNITS}
    photos, candidates, pairs = (_rows(manifests[table]) for table in ("raw_images", "candidate_qa", "verified_qa"))
    if not photos:
        raise NothingMeasuredError(f"the lake {lake.root} has no verified pairs to measure: forge run")
    units: Mapping[Unit, int] = {
        "photo": photos,
        "candidate": candidates,
        "pair": pairs,
        "rejected pair": _rows(manifests["rejected_qa"]),
    }
    origin = f"{lake.root}: {photos:,} photos in {len(keys):,} shards"
    sizes = {table: _bytes(of_table) for table, of_table in manifests.items()}
    spent = {stage: seconds_of(instance, stage, keys) for stage in STAGES}
    times = [
        _time(rate, spent.get(rate.stage), photos, origin=origin, cores=None if rate.stage in on_gpu else cores)
        for rate in otherwise.times
    ]
    storage = [_size(rate, sizes.get(rate.table), units, origin) for rate in otherwise.storage]
    return Measured(photos, candidates / photos, pairs / photos, replace(otherwise, times=times, storage=storage))


def seconds_of(instance: dg.DagsterInstance, stage: str, keys: Sequence[ShardKey]) -> float | None:
    """Seconds that a stage worked on these partitions when it last made each; None where one is not on record."""
    latest: dict[str, float] = {}
    for partition, seconds in _recorded(instance, stage, [str(key) for key in keys]):
        latest.setdefault(partition, seconds)
    return sum(latest.values()) if len(latest) == len(keys) else None


def _recorded(instance: dg.DagsterInstance, stage: str, partitions: list[str]) -> Iterator[tuple[str, float]]:
    """Partition and seconds of each time that it was made, the newest first."""
    asked, cursor = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage), asset_partitions=partitions), None
    while True:
        found = instance.fetch_materializations(asked, limit=BATCH, cursor=cursor)
        for record in found.records:
            made = record.asset_materialization
            seconds = made.metadata.get(SECONDS) if made else None
            if record.partition_key is not None and isinstance(seconds, dg.FloatMetadataValue) and seconds.value:
                yield record.partition_key, seconds.value
        if not found.has_more:
            return
        cursor = found.cursor


def _rows(manifests: Sequence[Manifest]) -> int:
    return sum(manifest.rows for manifest in manifests)


def _bytes(manifests: Sequence[Manifest]) -> int | None:
    sizes = [manifest.size_bytes for manifest in manifests]
    return sum(size for size in sizes if size is not None) if None not in sizes else None


def _time(rate: TimeRate, seconds: float | None, photos: int, *, origin: str, cores: int | None) -> TimeRate:
    """The rate of one stage, whose clock counts for a GPU, or for so many cores."""
    if seconds is None:
        return rate
    if cores is None:
        return TimeRate(rate.stage, "GPU", seconds / photos, "photo", origin)
    return TimeRate(rate.stage, "CPU", seconds * cores / photos, "photo", f"{origin}, {cores} cores by the clock")


def _size(rate: StorageRate, size: int | None, units: Mapping[Unit, int], origin: str) -> StorageRate:
    unit = UNITS[rate.table]
    return rate if size is None or not units[unit] else StorageRate(rate.table, size / units[unit], unit, origin)
