"""Rates of a lake: what its manifests and the Dagster instance say of it."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from forge_assets.cost import measured as defaults
from forge_assets.cost.from_lake import STAGES, UNITS, Measured, NothingMeasuredError, measured
from forge_assets.cost.model import StorageRate, TimeRate
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

KEYS = [ShardKey("photos", "s00000"), ShardKey("photos", "s00001")]
ROWS = {"raw_images": 5, "candidate_qa": 40, "verified_qa": 10, "rejected_qa": 30}
SECONDS = {"raw_images": 1.0, "detections": 20.0, "verified_qa": 0.5}
SCHEMA = {"name": pl.String()}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two shards whose verified pairs are there, and one that has photos alone."""
    lake = Lake(tmp_path / "lake")
    for key in KEYS:
        for table in UNITS:
            names = [f"{table} {number}" for number in range(ROWS.get(table, 7))]
            lake.write(table, key, pl.DataFrame({"name": names}, SCHEMA), SCHEMA)
    lake.write("raw_images", ShardKey("photos", "s00002"), pl.DataFrame({"name": ["more"]}, SCHEMA), SCHEMA)
    return lake


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def record(instance: dg.DagsterInstance, stage: str, key: ShardKey, seconds: float) -> None:
    made = dg.AssetMaterialization(asset_key=stage, partition=str(key), metadata={"seconds": seconds})
    instance.report_runless_asset_event(made)


def record_all(instance: dg.DagsterInstance) -> None:
    for stage, seconds in SECONDS.items():
        for key in KEYS:
            record(instance, stage, key, seconds)


def times(found: Measured) -> dict[str, TimeRate]:
    return {rate.stage: rate for rate in found.rates.times}


def sizes(found: Measured) -> dict[str, StorageRate]:
    return {rate.table: rate for rate in found.rates.storage}


def test_yield_and_bytes_are_those_of_the_lake(lake: Lake, instance: dg.DagsterInstance) -> None:
    found = measured(lake, instance, defaults.RATES, cores=2)
    assert (found.photos, found.candidates_per_photo, found.pairs_per_photo) == (10, 8, 2)
    on_disk = [Path(lake.data_path("verified_qa", key)).stat().st_size for key in KEYS]
    assert sizes(found)["verified_qa"].bytes == sum(on_disk) / 20
    assert sizes(found)["verified_qa"].unit == "pair"
    assert all(str(lake.root) in rate.origin for rate in found.rates.storage)


def test_seconds_count_for_all_cores_or_for_one_gpu(lake: Lake, instance: dg.DagsterInstance) -> None:
    record_all(instance)
    found = times(measured(lake, instance, defaults.RATES, cores=4, on_gpu={"detections"}))
    assert (found["raw_images"].processor, found["raw_images"].seconds) == ("CPU", 4 * 2.0 / 10)
    assert (found["detections"].processor, found["detections"].seconds) == ("GPU", 40.0 / 10)
    assert found["raw_images"].origin.endswith("10 photos in 2 shards, 4 cores by the clock")


def test_what_is_not_on_record_keeps_the_rate_of_the_benchmarks(lake: Lake, instance: dg.DagsterInstance) -> None:
    record_all(instance)
    record(instance, "scenes", KEYS[0], 3.0)  # of one shard of two
    found = times(measured(lake, instance, defaults.RATES, cores=2))
    assert {stage for stage in STAGES if found[stage] not in defaults.TIMES} == set(SECONDS)
    assert found["gates"] in defaults.TIMES


def test_the_last_time_that_a_shard_was_made_counts(lake: Lake, instance: dg.DagsterInstance) -> None:
    for key in KEYS:
        record(instance, "raw_images", key, 100.0)
    record_all(instance)
    assert times(measured(lake, instance, defaults.RATES, cores=1))["raw_images"].seconds == 2.0 / 10


def test_a_lake_without_verified_pairs_says_what_to_do(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    with pytest.raises(NothingMeasuredError, match="forge run"):
        measured(Lake(tmp_path), instance, defaults.RATES, cores=1)
