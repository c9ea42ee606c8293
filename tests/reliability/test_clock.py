"""Clocks that are wrong or jump: no table, no verdict and no partition that is due depends on them."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs

from forge_assets.audits.runner import run_audit
from forge_assets.automation import new_photos, nightly, not_made_as_planned
from forge_assets.runs import STAGES, make_partitions, unfinished
from forge_assets.tables import SCHEMAS
from forge_resources.shards import ShardKey
from forge_resources.sources.shard_plan import ShardPlan
from forge_resources.warehouse import Warehouse

pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)
NIGHT = datetime(2031, 5, 4, 2, tzinfo=UTC)
SHARDS = 2
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
KEY = ShardKey.numbered("photos", 0)
FILES = ("data.parquet", "manifest.json", "verdict.json")


def with_photo(project: Any) -> Any:
    """The project with a photo in which something is found."""
    photos = Path(find_spec("ultralytics").submodule_search_locations[0]) / "assets"
    shutil.copy(photos / "bus.jpg", project.folder / "photos" / "bus.jpg")
    return project


def files(project: Any) -> dict[str, bytes]:
    """Bytes of all that the lake holds of partitions, by path."""
    lake = project.lake.root
    return {str(path.relative_to(lake)): path.read_bytes() for name in FILES for path in sorted(lake.rglob(name))}


@pytest.fixture(scope="module")
def made(new_project: Callable[..., Any]) -> Any:
    """A project with all stages of all shards, made by the clock as it is."""
    project = with_photo(new_project(1))
    with dg.DagsterInstance.ephemeral() as instance:
        outcomes = list(make_partitions(project.forge, instance, project.plan(instance), STAGES))
    assert all(outcome.succeeded for outcome in outcomes), outcomes
    return project


def test_a_run_whose_clock_is_far_off_and_jumps_back_an_hour_writes_the_same_bytes(
    made: Any, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    if LIBRARY is None:
        pytest.skip("NOT TESTED: a run whose clock jumps. There is no libfaketime here; install the package `faketime`")
    expected, clock = files(made), tmp_path / "clock"
    made.lake.root.rename(made.folder / "lake_by_the_true_clock")
    clock.write_text("+400d")
    command = made.run(
        *(f"--stage={stage}" for stage in STAGES[:-1]),
        LD_PRELOAD=str(LIBRARY),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_CACHE_DURATION="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    eventually(lambda: made.lake.keys("raw_images") or command.process.poll() is not None, "the photos are there")
    (tmp_path / "next").write_text("+9599h")
    (tmp_path / "next").replace(clock)
    code, said = command.end()
    assert code == 0, said
    with made.instance() as instance:
        created = [record.create_timestamp for record in instance.get_run_records()]
    assert min(created) > datetime.now(UTC) + timedelta(days=300), "the clock was not off"
    assert files(made) == expected


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forth", "back"])
def test_nothing_is_due_and_nothing_is_stale_when_the_clock_has_jumped(made: Any, jump: timedelta) -> None:
    lake = made.lake
    for number, path in enumerate(sorted(lake.root.rglob("*"))):
        moved = path.stat().st_mtime + jump.total_seconds() * (1 + number % 3)
        os.utime(path, (moved, moved))
    plan = ShardPlan(lake.root)
    assert not_made_as_planned(lake, plan, [KEY]) == []
    assert unfinished(lake, plan, [KEY]) == []
    with Warehouse(lake, SCHEMAS) as warehouse:
        assert run_audit(warehouse, "freshness", made.config.quotas).is_empty()


@pytest.fixture(scope="module")
def daemon(new_project: Callable[..., Any]) -> Iterator[tuple[Any, WorkspaceProcessContext]]:
    """A project that nothing was made of, and what the daemon knows of its definitions."""
    project = new_project(SHARDS)
    with pytest.MonkeyPatch.context() as patch, project.instance() as instance:
        patch.setenv("FORGE_CONFIG", str(project.config_file))
        target = ModuleTarget("forge_assets.definitions", None, str(project.folder), None)
        with WorkspaceProcessContext(instance, target) as process:
            yield project, process


def repository_of(process: WorkspaceProcessContext) -> Any:
    (location,) = process.create_request_context().code_locations
    (repository,) = location.get_repositories().values()
    return repository


def runs_of(process: WorkspaceProcessContext, tag: str, name: str) -> list[str]:
    return sorted(run.tags["dagster/partition"] for run in process.instance.get_runs(dg.RunsFilter(tags={tag: name})))


def test_the_schedule_starts_a_night_once_though_the_clock_strikes_two_twice(
    daemon: tuple[Any, WorkspaceProcessContext],
) -> None:
    _, process = daemon
    with freeze_time(NIGHT - HOUR):
        process.instance.start_schedule(repository_of(process).get_schedule(nightly.name))
    seen = []
    for now in (NIGHT + HOUR / 60, NIGHT - HOUR / 2, NIGHT + HOUR / 60, NIGHT + HOUR):
        with freeze_time(now):
            list(launch_scheduled_runs(process, logging.getLogger(), now, {}))
        seen.append(runs_of(process, "dagster/schedule_name", nightly.name))
    assert seen == [["photos/s00000", "photos/s00001"]] * 4


def test_the_sensor_starts_nothing_twice_and_misses_nothing_when_the_clock_jumps_back_and_forth(
    daemon: tuple[Any, WorkspaceProcessContext],
) -> None:
    project, process = daemon
    with freeze_time(NIGHT):
        process.instance.start_sensor(repository_of(process).get_sensor(new_photos.name))
    seen = []
    for now in (NIGHT, NIGHT + HOUR, NIGHT, NIGHT + HOUR / 60, NIGHT + HOUR + HOUR / 30):
        if now == NIGHT and seen:
            shutil.copy(project.folder / "photos/00000.png", project.folder / "photos/new.png")
        with freeze_time(now):
            list(execute_sensor_iteration(process, logging.getLogger(), None, None))
        seen.append(runs_of(process, "dagster/sensor_name", new_photos.name))
    both = ["photos/s00000", "photos/s00001"]
    assert seen[:2] == [both, both]
    assert seen[-1] == [*both, "photos/s00002"]
