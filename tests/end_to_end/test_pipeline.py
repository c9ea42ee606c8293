"""Real photos through real models and gates, in real Dagster runs."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import skimage

from forge_assets.automation import new_photos, nightly, reconcile
from forge_assets.definitions import build_definitions
from forge_assets.runs import STAGES, judge_partitions
from forge_assets.tables import SCHEMAS as TABLES
from forge_resources.shards import ShardKey

pytestmark = pytest.mark.slow

NewProject = Callable[..., Any]
FIRST, SECOND = ShardKey("photos", "s00000"), ShardKey("photos", "s00001")
OTHERS = ("duplicates", "descriptions", "judgements")
SCHEMAS = {name: schema for name, schema in TABLES.items() if name not in OTHERS}
"""Of the tables that have partitions."""
TRUNCATED = b"\xff\xd8\xff\xe0" + b"no photo" * 100


def packaged(name: str) -> Path:
    return Path(skimage.__file__).parent / "data" / name


def content_hashes(project: Any, key: ShardKey) -> dict[str, str]:
    return {table: project.lake.manifest(table, key).content_hash for table in SCHEMAS}


def test_photos_become_verified_pairs_with_every_row_accounted_for(new_project: NewProject) -> None:
    project = new_project("bus.jpg", "zidane.jpg")
    (outcome,) = project.make(project.plan())
    assert outcome.succeeded, outcome.problems
    for table, schema in SCHEMAS.items():
        assert project.lake.scan(table, FIRST).collect_schema() == pl.Schema(schema), table
    counts = {table: project.lake.manifest(table, FIRST).rows for table in SCHEMAS}
    assert counts["raw_images"] == 2
    assert counts["detections"] == counts["scenes"] > 0
    assert counts["candidate_qa"] == counts["verified_qa"] + counts["rejected_qa"]
    assert counts["verified_qa"] > 0
    assert {project.lake.verdict(table, FIRST).outcome for table in STAGES[:-1]} == {"passed"}
    counted = project.lake.scan("verified_qa", FIRST).filter(pl.col("form") == "number", pl.col("category") == "bus")
    assert counted.collect()["short_answer"].to_list() == ["1"]


def test_a_partition_made_twice_has_the_same_content_in_every_table(new_project: NewProject) -> None:
    project = new_project("bus.jpg", "astronaut.png")
    keys = project.plan()
    project.make(keys)
    before = content_hashes(project, FIRST)
    project.make(keys)
    assert content_hashes(project, FIRST) == before


def test_a_poisoned_partition_stops_its_own_downstream_alone(new_project: NewProject) -> None:
    project = new_project("bus.jpg", "zidane.jpg")
    project.add("zz_broken.jpg", TRUNCATED)
    project.add("zz_good.png", packaged("astronaut.png"))
    good, poisoned = project.make(project.plan())
    assert good.succeeded
    assert not poisoned.succeeded
    assert any("raw_images_gate" in problem and "unusable_share" in problem for problem in poisoned.problems)
    assert project.lake.keys("detections") == [FIRST]
    rejects = project.lake.scan("rejected_images", SECOND).collect()
    assert rejects["path"].to_list() == ["zz_broken.jpg"]


def test_a_later_stage_started_by_hand_is_refused_by_gate_partition_and_rule(new_project: NewProject) -> None:
    project = new_project("bus.jpg", "zidane.jpg")
    keys = project.plan()
    project.make(keys, "raw_images", "detections", "depth_maps")
    lake = project.lake
    spoilt = lake.scan("detections", FIRST).collect().with_columns(score=pl.lit(1.5))
    lake.write("detections", FIRST, spoilt, SCHEMAS["detections"], inputs=lake.manifest("detections", FIRST).inputs)
    (judged,) = judge_partitions(project.forge, project.instance, "detections", keys)
    assert not judged.succeeded

    (outcome,) = project.make(keys, "scenes")

    assert not outcome.succeeded
    said = " ".join(outcome.problems)
    assert "detections_gate failed for partition photos/s00000 by rule" in said
    assert "score" in said


def test_a_gate_run_again_alone_after_a_threshold_changed_lets_the_partition_through(new_project: NewProject) -> None:
    project = new_project("bus.jpg")
    project.add("zz_broken.jpg", TRUNCATED)
    keys = project.plan()
    (outcome,) = project.make(keys, "raw_images")
    assert not outcome.succeeded
    project.configure(gates={"max_rejected_images": 0.5})
    made_at = project.lake.data_path("raw_images", FIRST).stat().st_mtime_ns

    (judged,) = judge_partitions(project.forge, project.instance, "raw_images", keys)

    assert judged.succeeded
    assert project.lake.data_path("raw_images", FIRST).stat().st_mtime_ns == made_at
    assert project.make(keys, "detections")[0].succeeded


def test_a_shard_in_which_nothing_is_found_is_valid_and_yields_no_pairs(new_project: NewProject) -> None:
    project = new_project("brick.png", "grass.png")
    project.configure(
        models={"detector": {"backend": "embedded", "score_floor": 0.95}, "pose": {"backend": "none"}, "depth": []}
    )
    (outcome,) = project.make(project.plan())
    assert outcome.succeeded, outcome.problems
    assert {
        table: project.lake.manifest(table, FIRST).rows for table in ("raw_images", "detections", "verified_qa")
    } == {
        "raw_images": 2,
        "detections": 0,
        "verified_qa": 0,
    }


def test_stages_made_of_an_older_input_are_refused(new_project: NewProject) -> None:
    project = new_project("bus.jpg", "zidane.jpg")
    keys = project.plan()
    project.make(keys, "raw_images", "detections", "depth_maps")
    project.configure(tasks={"val_share": 1.0})
    project.make(keys, "raw_images")

    (outcome,) = project.make(keys, "scenes")

    assert not outcome.succeeded
    assert "detections [photos/s00000] was made of an older raw_images" in " ".join(outcome.problems)


def test_the_sensor_finds_new_photos_and_starts_only_their_shards(new_project: NewProject) -> None:
    project = new_project("bus.jpg", "zidane.jpg")
    project.make(project.plan(), "raw_images")
    project.add("later.png", packaged("astronaut.png"))

    with dg.build_sensor_context(instance=project.instance, resources={"forge": project.forge}) as context:
        requests = new_photos(context)
        again = new_photos(context)

    assert [request.partition_key for request in requests] == ["photos/s00001"]
    assert [request.run_key for request in again] == [request.run_key for request in requests]
    assert project.instance.get_dynamic_partitions("source_shard") == ["photos/s00000", "photos/s00001"]


def test_the_sensor_says_why_it_starts_nothing(new_project: NewProject) -> None:
    project = new_project("bus.jpg")
    project.make(project.plan(), "raw_images")
    with dg.build_sensor_context(instance=project.instance, resources={"forge": project.forge}) as context:
        assert isinstance(new_photos(context), dg.SkipReason)


def test_the_nightly_schedule_does_the_same(new_project: NewProject, tmp_path: Path) -> None:
    project = new_project("bus.jpg", "zidane.jpg")
    project.instance = dg.DagsterInstance.local_temp(str(tmp_path))
    project.make(project.plan(), "raw_images")
    project.add("later.png", packaged("astronaut.png"))
    night = datetime(2026, 1, 2, 2, tzinfo=UTC)
    with dg.build_schedule_context(
        instance=project.instance, resources={"forge": project.forge}, scheduled_execution_time=night
    ) as context:
        requests = nightly(context)
    assert [request.partition_key for request in requests] == ["photos/s00001"]


def test_reconcile_rebuilds_the_keys_from_the_lake_and_changes_nothing_the_second_time(new_project: NewProject) -> None:
    project = new_project("bus.jpg", "zidane.jpg", "astronaut.png")
    keys = project.plan()
    project.make(keys, "raw_images")
    with dg.DagsterInstance.ephemeral() as fresh:
        assert reconcile(fresh, project.config) == keys
        assert reconcile(fresh, project.config) == []
        assert fresh.get_dynamic_partitions("source_shard") == [str(key) for key in keys]


def test_automation_starts_the_next_stage_of_passed_partitions_alone(new_project: NewProject) -> None:
    project = new_project("bus.jpg", "zidane.jpg")
    project.add("zz_broken.jpg", TRUNCATED)
    project.add("zz_good.png", packaged("astronaut.png"))
    definitions = build_definitions(project.forge)
    keys = project.plan()
    start = dg.evaluate_automation_conditions(definitions, instance=project.instance)
    project.make(keys, "raw_images")

    asked = dg.evaluate_automation_conditions(definitions, instance=project.instance, cursor=start.cursor)

    for stage in ("detections", "depth_maps"):
        assert asked.get_requested_partitions(dg.AssetKey(stage)) == {"photos/s00000"}, stage


def test_a_run_killed_in_the_middle_leaves_nothing_half_written_and_a_second_one_completes(
    new_project: NewProject,
) -> None:
    project = new_project("bus.jpg", "zidane.jpg", "astronaut.png", "motorcycle_left.png", shard_size=4)
    command = [sys.executable, "-m", "forge_assets.cli", "run", "--config", str(project.config_file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(project.lake.root.glob(".staging/*/data.parquet")):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = {path.parent for path in project.lake.root.glob("*/source=*/shard=*/manifest.json")}
    assert {path.parent for path in project.lake.root.glob("*/source=*/shard=*/data.parquet")} == whole

    again = subprocess.run(command, capture_output=True, text=True, check=False)

    assert again.returncode == 0, again.stdout + again.stderr
    assert project.lake.require_passed("verified_qa", FIRST).rows > 0


def test_a_weight_file_with_another_hash_stops_the_run_and_says_so(new_project: NewProject, tmp_path: Path) -> None:
    project = new_project("bus.jpg")
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"not the weights that were meant")
    project.configure(
        models={
            "detector": {"backend": "ultralytics", "weights": str(weights), "sha256": "0" * 64},
            "pose": {"backend": "none"},
            "depth": [],
        }
    )
    (outcome,) = project.make(project.plan())
    assert not outcome.succeeded
    (said,) = outcome.problems
    assert "WeightsHashError" in said
    assert "weights.pt" in said
