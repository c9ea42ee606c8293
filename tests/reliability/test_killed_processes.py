"""SIGKILL in the middle of a backfill: of a run's process, the daemon, PostgreSQL, the S3 server."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster import DagsterRunStatus
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

pytestmark = pytest.mark.long

SHARDS = 3


def process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> psutil.Process | None:
    """The process that executes a run, while it is there."""
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        found = entry.get_dagster_event().engine_event_data.metadata.get("pid")
        if found is not None and psutil.pid_exists(int(found.value)):
            return psutil.Process(int(found.value))
    return None


def going(instance: dg.DagsterInstance) -> Iterator[tuple[dg.DagsterRun, psutil.Process]]:
    """Runs that have started, and their processes."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        if (process := process_of(instance, run)) is not None:
            yield run, process


def end_of(instance: dg.DagsterInstance, backfill: str) -> Callable[[], str | None]:
    def ended() -> str | None:
        state = instance.get_backfill(backfill).status.value
        return state if state not in {"REQUESTED", "FAILING", "CANCELING"} else None

    return ended


def assert_all_is_as_undisturbed(
    project: Any, instance: dg.DagsterInstance, expected: dict[tuple[str, str], str]
) -> None:
    assert project.hashes() == expected
    keys = project.lake.keys("raw_images")
    assert all(project.lake.has_passed("raw_images", key) for key in keys)
    assert not instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES))
    for key in keys:
        with project.lake.store.lock(f".locks/{key.source}/{key.shard}", 0):
            pass
    project.lake.clear_staging(older_than_s=0)
    assert not list((project.lake.root / ".staging").iterdir())


def test_a_backfill_outlives_a_worker_the_daemon_and_the_database(  # noqa: PLR0917 -- fixtures
    new_project: Callable[..., Any],
    undisturbed: Callable[..., Any],
    deploy: Callable[..., Any],
    launch_backfill: Callable[..., str],
    eventually: Callable[..., Any],
    postgres: Any,
    postgres_server: Any,
) -> None:
    project, expected = new_project(SHARDS), undisturbed(SHARDS)
    deployment = deploy(project, postgres)
    with project.instance() as instance:
        keys = project.plan(instance)
        backfill = launch_backfill(instance, keys)
        struck: list[str] = []

        def next_run() -> tuple[dg.DagsterRun, psutil.Process] | None:
            for run, process in going(instance):
                if run.tags["dagster/partition"] not in struck:
                    struck.append(run.tags["dagster/partition"])
                    return run, process
            return None

        worker, process = eventually(next_run, "a run has started")
        process.kill()

        eventually(next_run, "a second one has started")
        deployment.kill("daemon")
        deployment.start("daemon")

        cut_off, process = eventually(next_run, "a third one has started")
        os.kill(process.pid, signal.SIGSTOP)
        postgres_server.stop(signal.SIGKILL)
        os.kill(process.pid, signal.SIGCONT)
        eventually(lambda: not process.is_running(), "its process gives up without the database")
        postgres_server.start()

        assert eventually(end_of(instance, backfill), "the backfill ends") == "COMPLETED_SUCCESS"
        assert_all_is_as_undisturbed(project, instance, expected)
        for lost in (worker, cut_off):
            assert instance.get_run_by_id(lost.run_id).status == DagsterRunStatus.FAILURE
        made = [run.tags["dagster/partition"] for run in instance.get_runs() if run.is_success]
        assert sorted(made) == sorted(map(str, keys))


def test_runs_outlive_a_killed_s3_server_or_one_command_makes_what_they_missed(
    new_project: Callable[..., Any],
    undisturbed: Callable[..., Any],
    s3_on_disk: Any,
    eventually: Callable[..., Any],
) -> None:
    s3 = {"endpoint_url": s3_on_disk.url, "path_style": True}
    project, expected = new_project(SHARDS, lake="s3://photos/lake", s3=s3), undisturbed(SHARDS)
    command = project.run()
    eventually(lambda: project.lake.keys("raw_images"), "a partition is there")
    s3_on_disk.kill()
    s3_on_disk.start()
    code, said = command.end()
    assert code in {0, 1}, said

    eventually(s3_on_disk.answers, "the S3 server answers again")
    left = project.hashes()
    assert left.items() <= expected.items()
    assert code == 1 or left == expected

    code, said = project.run().end()
    assert code == 0, said
    assert project.hashes() == expected
    assert all(project.lake.has_passed("raw_images", key) for key in project.lake.keys("raw_images"))
    listed = project.lake.store.glob("*/source=*/shard=*/*")
    assert len(listed) == len(set(listed)) == SHARDS * len(("data", "manifest", "verdict", "data", "manifest"))
