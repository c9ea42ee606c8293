"""Gates in real runs of Dagster: toy assets around the real checks, on an instance in memory."""

import warnings

import dagster as dg
import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG

from forge_assets.gates.factory import GATES, gate_check
from forge_assets.partitions import SHARDS, ShardKey
from forge_resources.lake import PartitionRefused

pytestmark = pytest.mark.slow

GOOD, BAD = ShardKey("holiday", "s00000"), ShardKey("zoo", "s00000")


@pytest.fixture
def shards(forge, make_rows):
    """Two shards written, one of them with an object of a score beyond 1."""
    for key in (GOOD, BAD):
        rows = make_rows(key, 2)
        if key == BAD:
            rows["detections"][0]["score"] = 7.0
        forge.write(key, rows)
        forge.add(key)
    return forge


def _definitions(forge) -> dg.Definitions:
    @dg.asset(partitions_def=SHARDS)
    def detections() -> None: ...

    @dg.asset(
        partitions_def=SHARDS,
        deps=[detections],
        automation_condition=dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed(),
    )
    def scenes(context: dg.AssetExecutionContext) -> None:
        forge.lake.require_passed("detections", ShardKey.parse(context.partition_key))

    return dg.Definitions(
        assets=[detections, scenes], asset_checks=[gate_check("detections")], resources={"forge": forge.resource}
    )


def _run(forge, key: ShardKey, selection: dg.AssetSelection | None = None) -> dg.ExecuteInProcessResult:
    """Run a partition named by tag: a run of checks alone takes no `partition_key` in this Dagster."""
    definitions = _definitions(forge)
    selection = selection or dg.AssetSelection.all() | dg.AssetSelection.all_asset_checks()
    job = dg.define_asset_job("some", selection)
    definitions = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    return definitions.resolve_job_def("some").execute_in_process(
        instance=forge.instance, tags={PARTITION_NAME_TAG: str(key)}, raise_on_error=False
    )


def _only_gate() -> dg.AssetSelection:
    return dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("detections"), "detections_gate"))


def _made(result: dg.ExecuteInProcessResult) -> list[str]:
    return [event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key]


def _evaluation(result: dg.ExecuteInProcessResult):
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def test_every_gated_table_has_a_partitioned_blocking_check_and_no_warning_is_printed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks = [gate_check(stage) for stage in GATES]
        definitions = dg.Definitions(
            assets=[dg.AssetSpec(stage, partitions_def=SHARDS) for stage in GATES], asset_checks=checks
        )
    assert definitions
    for stage, check in zip(GATES, checks, strict=True):
        (spec,) = check.check_specs
        assert spec.name == f"{stage}_gate"
        assert spec.blocking
        assert spec.partitions_def == SHARDS


def test_only_that_preview_warning_is_kept_quiet():
    with pytest.warns(dg.PreviewWarning, match="partitions_def on an AssetCheckSpec"):
        dg.AssetCheckSpec("any", asset="any", partitions_def=SHARDS)


def test_a_good_shard_passes_and_a_bad_one_stops_before_the_next_stage(shards):
    good, bad = _run(shards, GOOD), _run(shards, BAD)

    assert good.success
    assert _made(good) == ["detections", "scenes"]
    assert not bad.success
    assert _made(bad) == ["detections"]


def test_the_check_is_recorded_for_its_partition(shards):
    _run(shards, GOOD)
    _run(shards, BAD)
    check = dg.AssetCheckKey(dg.AssetKey("detections"), "detections_gate")

    records = shards.instance.event_log_storage.get_asset_check_execution_history(check, limit=10)

    events = [record.event.dagster_event for record in records if record.event]
    verdicts = {
        (event.asset_check_evaluation_data.partition, event.asset_check_evaluation_data.passed) for event in events
    }
    assert verdicts == {(str(GOOD), True), (str(BAD), False)}


def test_partition_key_names_the_partition_where_assets_run_too(shards):
    job = dg.define_asset_job("all", dg.AssetSelection.all() | dg.AssetSelection.all_asset_checks())
    definitions = dg.Definitions.merge(_definitions(shards), dg.Definitions(jobs=[job]))

    result = definitions.resolve_job_def("all").execute_in_process(instance=shards.instance, partition_key=str(GOOD))

    assert _evaluation(result).partition == str(GOOD)


def test_the_result_says_which_rule_failed_where(shards):
    evaluation = _evaluation(_run(shards, BAD, _only_gate()))

    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert evaluation.description == "data failed: rule score_in_range on 1 row (found 7.0; expected 0 to 1)"
    assert evaluation.metadata["outcome"].value == "failed"
    assert evaluation.metadata["rows"].value == 4
    assert evaluation.metadata["failing_ids"].value == "score_in_range: zoo/0000.jpg#d0"
    table = {record.data["rule"]: record.data for record in evaluation.metadata["expectations"].records}
    assert table["score_in_range"] == {
        "rule": "score_in_range",
        "result": "fails",
        "severity": "critical",
        "expectation": "expect_column_values_to_be_between(score)",
        "failing_rows": 1,
        "expected": "0 to 1",
        "examples": "zoo/0000.jpg#d0",
        "values": "7.0",
    }
    assert table["object_id_unique"]["result"] == "holds"


def test_a_stage_started_by_hand_is_refused_what_no_gate_has_passed(shards):
    only_scenes = dg.AssetSelection.assets("scenes").without_checks()
    assert not _run(shards, GOOD, only_scenes).success

    _run(shards, BAD, _only_gate())

    assert not _run(shards, BAD, only_scenes).success
    with pytest.raises(PartitionRefused) as refusal:
        shards.lake.require_passed("detections", BAD)
    for word in ("detections_gate", "failed", "zoo/s00000", "score_in_range"):
        assert word in str(refusal.value)


def test_the_verdict_is_for_these_bytes_only(shards, make_rows):
    _run(shards, GOOD)
    before = shards.lake.verdict("detections", GOOD)
    manifest = shards.lake.require_passed("detections", GOOD)
    assert (before.outcome, before.rows, before.failures) == ("passed", 4, {})
    assert before.content_hash == manifest.content_hash

    shards.write(GOOD, make_rows(GOOD, 3))

    with pytest.raises(PartitionRefused):
        shards.lake.require_passed("detections", GOOD)


def test_after_a_threshold_changes_the_gate_alone_gives_another_verdict(shards):
    _run(shards, GOOD)
    before = shards.lake.verdict("detections", GOOD)

    shards.configure(models={"detector": {"score_floor": 0.95}})
    stricter = _run(shards, GOOD, _only_gate())

    assert _made(stricter) == []
    after = shards.lake.verdict("detections", GOOD)
    assert (before.outcome, after.outcome) == ("passed", "failed")
    assert after.failures == {"score_above_floor": 4}
    assert after.content_hash == before.content_hash
    assert after.suite_hash != before.suite_hash

    shards.configure(models={"detector": {"score_floor": 0.1}})
    assert _run(shards, GOOD, _only_gate()).success
    assert shards.lake.verdict("detections", GOOD) == before


def test_a_broken_gate_stops_the_shard_but_does_not_blame_the_data(shards):
    assert _run(shards, GOOD).success
    shards.lake.data_path("raw_images", GOOD).unlink()

    result = _run(shards, GOOD)

    assert _made(result) == ["detections"]
    evaluation = _evaluation(result)
    assert not evaluation.passed
    assert evaluation.description.startswith("the gate itself broke: ")
    assert evaluation.metadata["outcome"].value == "broken"
    assert evaluation.metadata["error"].value
    assert shards.lake.verdict("detections", GOOD).outcome == "broken"
    with pytest.raises(PartitionRefused, match="detections_gate broke on partition holiday/s00000"):
        shards.lake.require_passed("detections", GOOD)


def test_a_gate_on_a_partition_that_was_never_made_says_so(forge):
    forge.add(GOOD)

    evaluation = _evaluation(_run(forge, GOOD, _only_gate()))

    assert not evaluation.passed
    assert "materialize detections for holiday/s00000 first" in evaluation.description


def test_a_shard_without_any_row_passes(forge, make_rows):
    forge.write(GOOD, make_rows(GOOD, 0))
    forge.add(GOOD)

    result = _run(forge, GOOD)

    assert result.success
    assert _evaluation(result).description.endswith("rules hold on 0 rows")


def test_warnings_pass_and_are_told(forge, make_rows):
    rows = make_rows(GOOD, 2)
    rows["raw_images"][1]["sha256"] = rows["raw_images"][0]["sha256"]
    forge.write(GOOD, rows)
    forge.add(GOOD)

    @dg.asset(partitions_def=SHARDS)
    def raw_images() -> None: ...

    result = dg.materialize(
        [raw_images, gate_check("raw_images")],
        instance=forge.instance,
        partition_key=str(GOOD),
        resources={"forge": forge.resource},
    )

    evaluation = _evaluation(result)
    assert evaluation.passed
    assert evaluation.description.endswith("warnings: rule sha256_unique on 2 rows")
    assert evaluation.metadata["failing_ids"].value == "sha256_unique: holiday/0000.jpg, holiday/0001.jpg"


def test_automation_holds_back_the_failed_partition_and_no_other(shards):
    definitions = _definitions(shards)
    first = dg.evaluate_automation_conditions(definitions, shards.instance)
    assert first.get_requested_partitions(dg.AssetKey("scenes")) == set()

    upstream = dg.AssetSelection.assets("detections") | _only_gate()
    for key in (GOOD, BAD):
        _run(shards, key, upstream)
    second = dg.evaluate_automation_conditions(definitions, shards.instance, cursor=first.cursor)

    assert second.get_requested_partitions(dg.AssetKey("scenes")) == {str(GOOD)}
