"""Drift between shards, quotas and answers of the whole set, on lakes made for it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from forge_assets.audits.asset import answers_check, drift_check, quotas_check, task_balance
from forge_assets.audits.runner import run_audit
from forge_assets.gates import whole_set
from forge_assets.tables import SCHEMAS
from forge_resources.config import ForgeConfig, GatesConfig
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake, Verdict
from forge_resources.shards import ShardKey
from forge_resources.warehouse import Warehouse

QUOTAS = ForgeConfig().quotas
PHOTOS = 200
Shard = Callable[..., None]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def write(lake: Lake, table: str, key: ShardKey, rows: pl.DataFrame, outcome: str = "passed") -> None:
    schema = SCHEMAS[table]
    full = rows.with_columns(source=pl.lit(key.source), shard=pl.lit(key.shard)).select(
        (pl.col(name) if name in rows.columns or name in ("source", "shard") else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    )
    manifest = lake.write(table, key, full, schema)
    lake.write_verdict(
        table,
        key,
        Verdict(gate="g", content_hash=manifest.content_hash, suite_hash="0", outcome=outcome, rows=manifest.rows),  # pyright: ignore[reportArgumentType]
    )


@pytest.fixture
def shard(lake: Lake) -> Shard:
    """Write one shard: so many near_far and counting pairs of 200 photos, and as many candidates as are said."""

    def shard(
        source: str, number: int, *, near_far: int = 300, counting: int = 100, objects: int = 1600, dropped: int = 100,
        score: float = 0.5, outcome: str = "passed",
    ) -> None:  # fmt: skip
        key = ShardKey.numbered(source, number)
        tasks = ["near_far"] * near_far + ["counting"] * counting
        scores = [score * (0.5 + (i % 10) / 10) for i in range(len(tasks))]
        answers = [str(i % 3) for i in range(len(tasks))]
        photos = [f"{key}/{i % PHOTOS}" for i in range(len(tasks))]
        kept = pl.DataFrame(
            {"image_id": photos, "task": tasks, "score": scores, "short_answer": answers},
            schema_overrides={"task": pl.String},
        ).with_columns(
            qa_id=pl.format("{}/{}", pl.lit(str(key)), pl.int_range(pl.len())),
            answer_kind=pl.when(task="near_far").then(pl.lit("choice")).otherwise(pl.lit("integer")),
            choices=pl.when(task="near_far").then(pl.lit(["0", "1", "2"])),
        )
        lost = pl.DataFrame({"task": ["near_far"] * dropped, "rule": ["depth_readings"] * dropped}).with_columns(
            image_id=pl.lit("x"), qa_id=pl.int_range(pl.len()).cast(pl.String)
        )
        write(lake, "raw_images", key, pl.DataFrame({"image_id": [f"{key}/{i}" for i in range(PHOTOS)]}))
        write(lake, "detections", key, pl.DataFrame({"object_id": [str(i) for i in range(objects)]}))
        write(lake, "candidate_qa", key, pl.concat([kept.select("qa_id", "task"), lost.select("qa_id", "task")]))
        write(lake, "rejected_qa", key, lost)
        write(lake, "verified_qa", key, kept, outcome)

    return shard


def drift(lake: Lake) -> pl.DataFrame:
    with Warehouse(lake, SCHEMAS) as warehouse:
        return run_audit(warehouse, "drift", QUOTAS)


def far(rows: pl.DataFrame) -> set[tuple[str, str, str | None]]:
    beyond = rows.filter(pl.col("deviation") > GatesConfig().max_drift)
    return {(f"{row['source']}/{row['shard']}", row["measure"], row["subject"]) for row in beyond.to_dicts()}


def values(check: dg.AssetCheckResult) -> Mapping[str, Any]:
    return {name: value.value for name, value in check.metadata.items()}


def test_shards_that_are_alike_do_not_drift_and_each_measure_shows_its_furthest(lake: Lake, shard: Shard) -> None:
    for number in range(8):
        shard("a", number, near_far=300 + number, counting=100 - number, dropped=100 + number)
    rows = drift(lake)
    assert far(rows) == set()
    assert set(rows["measure"]) == set(whole_set.MEASURES)
    assert rows.select("measure", "subject").is_unique().all()
    assert set(rows["shards"]) == {8}


@pytest.mark.parametrize(
    ("change", "measures"),
    [
        ({"near_far": 100, "counting": 300}, {("task_share", "near_far"), ("task_share", "counting")}),
        ({"dropped": 700}, {("reject_rate", "depth_readings"), ("yield", "near_far")}),
        ({"score": 1.5}, {("median_score", "near_far"), ("median_score", "counting")}),
        ({"near_far": 1200, "counting": 400, "dropped": 400}, {("pairs_per_photo", None)}),
        ({"objects": 100}, {("objects_per_photo", None)}),
    ],
)
def test_the_shard_that_differs_is_named_with_what_differs(
    lake: Lake, shard: Shard, change: dict[str, Any], measures: set[tuple[str, str | None]]
) -> None:
    for number in range(8):
        shard("a", number)
    shard("a", 8, **change)
    found = far(drift(lake))
    assert {name for name, *_ in found} == {"a/s00008"}
    assert {(measure, subject) for _, measure, subject in found} >= measures


def test_a_value_its_median_and_its_spread_are_as_the_comment_says(lake: Lake, shard: Shard) -> None:
    for number, objects in enumerate([1600, 1600, 1620, 1640, 3000]):
        shard("a", number, objects=objects)
    row = drift(lake).filter(measure="objects_per_photo").row(0, named=True)
    median = 1620 / PHOTOS
    distance = 1.4826 * 20 / PHOTOS
    spread = (distance**2 + (0.02 * median) ** 2 + (median / PHOTOS**0.5) ** 2) ** 0.5
    assert (row["source"], row["shard"], row["value"]) == ("a", "s00004", 15.0)
    assert (row["median"], row["spread"]) == pytest.approx((median, spread))
    assert row["deviation"] == pytest.approx((15 - median) / spread)


def test_a_source_with_enough_shards_is_compared_with_itself_and_a_small_one_with_all(lake: Lake, shard: Shard) -> None:
    for number in range(9):
        shard("a", number)
    for number in range(5):
        shard("b", number, near_far=100, counting=300)
    shard("c", 0, near_far=100, counting=300)
    rows = drift(lake)
    assert {source.partition("/")[0] for source, *_ in far(rows)} == {"c"}
    compared = dict(rows.select("source", "compared_with").iter_rows())
    assert compared["c"] == "all shards"


def test_a_small_shard_may_stray_further_by_chance(lake: Lake, shard: Shard) -> None:
    for number in range(8):
        shard("a", number)
    shard("a", 8, near_far=2, counting=2, dropped=1)
    assert not {(measure, subject) for _, measure, subject in far(drift(lake))} & {("task_share", "near_far")}


def test_a_partition_that_its_gate_stopped_is_not_compared(lake: Lake, shard: Shard) -> None:
    for number in range(8):
        shard("a", number)
    shard("a", 8, objects=100, outcome="failed")
    assert far(drift(lake)) == set()


def test_fewer_than_five_shards_are_not_judged(lake: Lake, shard: Shard) -> None:
    for number in range(4):
        shard("a", number, objects=100 + 5_000 * number)
    check = drift_check(drift(lake), GatesConfig())
    assert check.passed
    assert check.description == "not judged: fewer than 5 shards have verified pairs that passed their gate"


@pytest.mark.slow
def test_the_drift_check_warns_and_names_shard_measure_value_and_bounds(lake: Lake, shard: Shard) -> None:
    for number in range(8):
        shard("a", number)
    shard("a", 8, objects=100)
    check = drift_check(drift(lake), GatesConfig())
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "objects_per_photo_alike on 1 row" in (check.description or "")
    shown = values(check)
    table = check.metadata["drifting_shards"]
    assert isinstance(table, dg.TableMetadataValue)
    (row,) = (record.data for record in table.records)
    assert (row["source"], row["shard"], row["measure"], row["value"]) == ("a", "s00008", "objects_per_photo", 0.5)
    assert row["lower"] > 0.5
    assert row["upper"] > 8.0 > row["lower"]
    assert shown["drifting"] == 1
    assert drift_check(drift(lake), GatesConfig(max_drift=1000)).passed


def balance(pairs: Mapping[str, int], quotas: Mapping[str, float]) -> pl.DataFrame:
    total, wanted = sum(pairs.values()), sum(quotas.values())
    rows = [
        {
            "task": task,
            "source": source,
            "task_pairs": count,
            "share": count / total if total else 0.0,
            "quota": quotas[task] / wanted,
            "gap": (count / total if total else 0.0) - quotas[task] / wanted,
        }
        for task, count in pairs.items()
        for source in ("a", "b")
    ]
    return whole_set.quota_rows(pl.DataFrame(rows))


@pytest.mark.slow
def test_quotas_that_are_missed_by_more_than_the_tolerance_turn_the_check_red() -> None:
    quotas = {"grounding": 0.7, "near_far": 0.28, "counting": 0.02}
    near = quotas_check(balance({"grounding": 6_500, "near_far": 3_300, "counting": 200}, quotas), GatesConfig())
    assert near.passed, near.description
    missed = quotas_check(balance({"grounding": 5_000, "near_far": 4_800, "counting": 200}, quotas), GatesConfig())
    assert not missed.passed
    assert missed.severity is dg.AssetCheckSeverity.ERROR
    assert "shares_near_quotas on 2 rows" in (missed.description or "")
    assert "grounding" in values(missed)["failing_ids"]
    none = quotas_check(balance({"grounding": 7_000, "near_far": 3_000, "counting": 0}, quotas), GatesConfig())
    assert not none.passed, "a task with a quota of 2 % of 10,000 pairs has none"
    assert "counting" in values(none)["failing_ids"]
    assert "near_far" not in values(none)["failing_ids"]


def test_quotas_of_few_pairs_are_not_judged() -> None:
    check = quotas_check(balance({"grounding": 999}, {"grounding": 1.0}), GatesConfig())
    assert check.passed
    assert check.description == "not judged: 999 verified pairs, of 1000 needed"


def answers(lake: Lake) -> pl.DataFrame:
    with Warehouse(lake, SCHEMAS) as warehouse:
        return whole_set.answer_rows(warehouse, GatesConfig())


@pytest.mark.slow
def test_an_answer_or_a_place_that_is_right_too_often_turns_the_check_red(lake: Lake) -> None:
    count = 3_000
    place = pl.when(pl.int_range(count) % 2 == 0).then(0).otherwise(pl.int_range(count) % 3)
    options = pl.concat_list(pl.format("the cat {}", pl.int_range(count)), pl.lit("the dog"), pl.lit("the cow"))
    rows = pl.select(
        qa_id=pl.int_range(count).cast(pl.String),
        task=pl.lit("near_far"),
        answer_kind=pl.lit("choice"),
        choices=options,
        short_answer=options.list.get(place),
    )
    yes = pl.select(
        qa_id=pl.format("y{}", pl.int_range(count)),
        task=pl.lit("left_right"),
        answer_kind=pl.lit("yes_no"),
        choices=pl.lit(None, pl.List(pl.String)),
        short_answer=pl.when(pl.int_range(count) % 4 == 0).then(pl.lit("No")).otherwise(pl.lit("Yes")),
    )
    write(lake, "verified_qa", ShardKey("a", "s00000"), pl.concat([rows, yes]))
    found = answers(lake)
    assert found.select("what", "task", "answer_kind", "options", "most", "pairs").rows() == [
        ("answer", "left_right", "yes_no", None, "Yes", count),
        ("answer", "near_far", "choice", None, "the dog", count),
        ("place", "near_far", "choice", 3, "1", count),
    ]
    assert found["share"].to_list() == pytest.approx([0.75, 1 / 6, 2 / 3], abs=0.001)
    check = answers_check(found, GatesConfig())
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR
    assert "answers_vary on 1 row (found 0.75" in (check.description or "")
    assert "places_vary on 1 row" in (check.description or "")
    assert answers_check(found, GatesConfig(max_place_lean=0.4, max_set_answer_share=0.8)).passed


def test_few_answers_are_not_judged(lake: Lake, shard: Shard) -> None:
    shard("a", 0)
    check = answers_check(answers(lake), GatesConfig())
    assert check.passed
    assert check.description == "not judged: no task and kind of answer has 1000 pairs"


@pytest.mark.slow
def test_the_asset_shows_plot_tables_and_all_three_checks(lake: Lake, shard: Shard, tmp_path: Path) -> None:
    for number in range(6):
        shard("a", number)
    config = tmp_path / "forge.yaml"
    config.write_text(yaml.safe_dump({"lake": str(lake.root), "sources": {"a": {"path": str(tmp_path)}}}))
    result = dg.materialize([task_balance], resources={"forge": ForgeResource(config_path=str(config))})
    assert result.success, "a check over the whole set stops nothing"
    (event,) = result.asset_materializations_for_node("task_balance")
    assert str(event.metadata["plot"].value).startswith("![task balance](data:image/png;base64,")
    assert event.metadata["pairs"].value == 2400
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert {name: check.passed for name, check in checks.items()} == {
        "quotas": False,
        "drift": True,
        "answer_balance": True,
    }
    assert not any(check.blocking for check in checks.values())
