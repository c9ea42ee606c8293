"""Two runs of one partition at once: the second waits for the first, and both leave the same rows."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from forge_resources.lake import Lake
from forge_resources.partition_lock import PartitionBusy, only_run_of
from forge_resources.run_launcher import HOST_TAG
from forge_resources.s3 import S3Config, S3Uri
from forge_resources.shards import ShardKey
from forge_resources.stores import open_store

KEY = ShardKey.numbered("photos", 0)
SCHEMA = {"number": pl.Int64()}
ROUNDS = 20
PHOTOS = 200
"""Enough to be killed among them."""


def test_the_second_waits_until_the_first_has_ended(tmp_path: Path, eventually: Callable[..., Any]) -> None:
    lake, said, order = Lake(tmp_path), [], []

    def second() -> None:
        with only_run_of(lake, KEY, say=said.append):
            order.append("second")

    with ThreadPoolExecutor() as pool:
        with only_run_of(lake, KEY, say=said.append):
            waiting = pool.submit(second)
            eventually(lambda: said, "the second says that it waits")
            order.append("first")
        waiting.result()
    assert order == ["first", "second"]
    assert said == ["another run makes photos/s00000: waiting for its end"]


def test_runs_of_other_partitions_go_beside(tmp_path: Path) -> None:
    lake, said = Lake(tmp_path), []
    with only_run_of(lake, KEY, say=said.append), only_run_of(lake, ShardKey.numbered("photos", 1), say=said.append):
        assert said == []


def test_who_waits_too_long_is_told_what_to_do(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with (
        only_run_of(lake, KEY, say=print),
        pytest.raises(PartitionBusy, match="another run has held photos/s00000 for 0 s: end it"),
        only_run_of(lake, KEY, say=print, timeout_s=0),
    ):
        pass


def times_of_steps(instance: dg.DagsterInstance, run_id: str) -> list[float]:
    """When the steps of a run began and ended."""
    events = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS}
    return sorted(entry.timestamp for entry in instance.all_logs(run_id, of_type=events))


@pytest.mark.slow
def test_a_partition_that_two_processes_make_at_once_is_made_by_one_after_the_other(
    new_project: Callable[..., Any], undisturbed: Callable[..., Any]
) -> None:
    project = new_project(1)
    with project.instance() as instance:
        project.plan(instance)
        both = [project.run("--shard", KEY.shard, "--stage", "raw_images") for _ in range(2)]
        for command in both:
            code, said = command.end()
            assert code == 0, said
        spans = [times_of_steps(instance, run.run_id) for run in instance.get_runs()]
    earlier, later = sorted(spans)
    assert earlier[-1] <= later[0], "their steps went at once"
    assert project.hashes() == undisturbed(1)
    assert project.lake.has_passed("raw_images", KEY)
    assert not list((project.lake.root / ".staging").iterdir())


@pytest.mark.slow
def test_a_killed_run_leaves_no_lock_and_is_found_by_run_monitoring(
    new_project: Callable[..., Any], undisturbed: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    project = new_project(1, photos=PHOTOS)
    with project.instance() as instance:
        project.plan(instance)
        command = project.run()

        def started() -> dg.DagsterRun | None:
            return next((run for run in instance.get_runs() if HOST_TAG in run.tags), None)

        run = eventually(started, "the run has started")
        assert instance.run_launcher.check_run_worker_health(run).status.value == "RUNNING"
        command.kill()
        record = instance.get_run_record_by_id(run.run_id)
        assert record.dagster_run.status == dg.DagsterRunStatus.STARTED
        monitor_started_run(instance, None, record, dg.get_dagster_logger())
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE

        code, said = project.run().end()
        assert code == 0, said
    assert project.hashes() == undisturbed(1, PHOTOS)


def rows(number: int) -> pl.DataFrame:
    return pl.DataFrame({"number": [number] * 1_000})


def test_writers_at_once_on_s3_leave_a_whole_partition_of_one_of_them(s3_bucket: S3Uri, s3_config: S3Config) -> None:
    lake = Lake(s3_bucket / "lake", s3_config)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: lake.write("raw_images", KEY, rows(1), SCHEMA), range(ROUNDS)))
    assert {manifest.content_hash for manifest in made} == {lake.manifest("raw_images", KEY).content_hash}
    assert lake.scan("raw_images", KEY).collect().equals(rows(1))
    assert open_store(s3_bucket / "lake", s3_config).glob("raw_images/source=*/shard=*/*") == [
        f"raw_images/source=photos/shard=s00000/{name}" for name in ("data.parquet", "manifest.json")
    ]
