"""Selections: by SQL, split, balance plan and quotas, told cut by cut."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import pytest

from forge_assets.release import balance_plan as plans
from forge_assets.release.balance_asset import plan_inputs, releasable_pairs, verified_shards
from forge_assets.release.balance_plan import BALANCE_PLAN, BALANCE_REPEATS
from forge_assets.release.export_commands import quotas_of
from forge_assets.release.selection import Cut, Selected, Selection, SelectionError, quota_pairs, select_pairs
from forge_assets.tables import DUPLICATES, SCHEMAS
from forge_resources.config import BalanceConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.warehouse import Warehouse

Select = Callable[..., tuple[Selected, list[str]]]


@pytest.fixture
def select(lake: Lake) -> Select:
    """Select pairs of the lake as it is now: the figures, and the ids of the view, sorted."""

    def run(**selection: Any) -> tuple[Selected, list[str]]:
        with Warehouse(lake, SCHEMAS) as warehouse:
            selected = select_pairs(warehouse, lake, Selection(**selection))
            rows = warehouse.query("FROM selected_pairs ORDER BY qa_id")
        assert rows.columns == list(SCHEMAS["verified_qa"])
        assert rows.height == selected.pairs
        return selected, rows["qa_id"].to_list()

    return run


@pytest.fixture
def many(lake: Lake, builders: Any) -> Mapping[str, int]:
    """A lake of two shards with 300 pairs of counting and 100 of left_right."""
    for number, key in enumerate((builders.KEY, ShardKey("demo", "s00001"))):
        photo = builders.photo_row(builders.BUS) | {"image_id": f"demo/{number}", "shard": key.shard}
        rows = [
            builders.pair_row(
                task, builders.BUS, f"{number} {task} {n}?", "1", [[1, 2, 3, 4]], "integer", score=n / 150
            )
            | {"image_id": f"demo/{number}", "shard": key.shard, "categories": ["person"], "form": "number"}
            for task, count in (("counting", 150), ("left_right", 50))
            for n in range(count)
        ]
        builders.write(lake, "raw_images", [photo], key)
        builders.write(lake, "verified_qa", rows, key)
    return {"counting": 300, "left_right": 100}


def by_task(selected: Selected) -> dict[str, int]:
    return dict(selected.counts.group_by("task").agg(pl.col("pairs").sum()).iter_rows())


# --- conditions


def test_all_pairs_are_selected_by_default(select: Select, pairs: list[dict[str, Any]]) -> None:
    selected, ids = select()
    assert ids == sorted(pair["qa_id"] for pair in pairs)
    assert selected.counts.columns == ["task", "source", "split", "pairs"]
    assert by_task(selected) == Counter(pair["task"] for pair in pairs)
    assert selected.left_out == {}


def test_conditions_and_splits_drop_what_they_say(select: Select) -> None:
    selected, _ = select(where="score > 0.15 -- a comment ends nothing but itself", split="train")
    assert selected.cuts == (Cut("repeats of photos", 0, 6), Cut("where", 1, 5), Cut("split", 2, 3))
    assert select(where="true) OR (true", split="val")[0].pairs == 2


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"where": "score > 99"}, "no verified pair is selected by where='score > 99', split=None (where dropped 6)"),
        ({"where": "scoer > 0"}, "scoer"),
        ({"where": "score >"}, "syntax error"),
        ({"where": "true); DROP TABLE partitions; --"}, "cannot be selected"),
        ({"split": "test"}, "unknown split 'test'"),
        ({"quotas": {"depth": 3}}, "a quota for the unknown task 'depth'; tasks: grounding,"),
        ({"quotas": {"counting": 0.5}}, "the quota counting=0.5 is a share: say of how many pairs with --total"),
        ({"quotas": {"counting": 1.5}, "total": 3}, "a share is from 0 to 1"),
        ({"quotas": {"counting": -1}}, "is below 0"),
        ({"total": 0}, "a total of 0 pairs"),
        ({"quotas": {"counting": 3}}, "counting: 1 pairs of 3, 2 too few"),
        ({"total": 9}, "the tasks without a quota: 6 pairs of 9, 3 too few"),
        (
            {"quotas": {"counting": 1, "grounding": 2}, "total": 2},
            "quotas ask for 1 pairs more than the total of 2",
        ),
        ({"balanced": True}, "there is no balance plan: make it with `dagster asset materialize"),
    ],
)
def test_what_cannot_be_selected_says_why(selection: dict[str, Any], message: str, select: Select) -> None:
    with pytest.raises(SelectionError, match=re.escape(message)):
        select(**selection)


def test_repeats_of_photos_are_left_out(lake: Lake, select: Select, builders: Any) -> None:
    groups = [
        {"image_id": image_id, "source": "demo", "shard": "s00000", "group_id": builders.BUS, "is_kept": is_kept}
        for image_id, is_kept in ((builders.BUS, True), (builders.ZIDANE, False))
    ]
    rows = pl.DataFrame([dict.fromkeys(DUPLICATES) | row for row in groups], schema=dict(DUPLICATES))
    lake.write_table("duplicates", rows, DUPLICATES)
    selected, _ = select()
    assert selected.cuts == (Cut("repeats of photos", 2, 4),)


# --- partitions that do not count


def test_partitions_that_failed_or_are_missing_are_named(lake: Lake, select: Select, builders: Any) -> None:
    builders.write(lake, "verified_qa", builders.PAIRS[:2], ShardKey("demo", "s00001"), passed=False)
    builders.write(lake, "raw_images", [], ShardKey("demo", "s00002"))
    with pytest.raises(SelectionError, match="2 partitions would be left out") as caught:
        select()
    assert "verified_qa_gate failed for partition demo/s00001 by rule answer_in_choices" in str(caught.value)
    assert "verified_qa [demo/s00002] is not in the lake" in str(caught.value)
    assert "--allow-missing" in str(caught.value)
    selected, ids = select(allow_missing=True)
    assert list(selected.left_out) == ["demo/s00001", "demo/s00002"]
    assert len(ids) == 6


def test_a_partition_made_of_older_inputs_does_not_count(lake: Lake, select: Select, builders: Any) -> None:
    key = builders.KEY
    rows = lake.scan("verified_qa", key).collect()
    manifest = lake.write("verified_qa", key, rows, SCHEMAS["verified_qa"], inputs={"candidate_qa": "older"})
    lake.write_verdict(
        "verified_qa", key,
        builders.Verdict(gate="g", content_hash=manifest.content_hash, suite_hash="0", outcome="passed", rows=6),
    )  # fmt: skip
    with pytest.raises(SelectionError, match="was made of an older candidate_qa"):
        select()
    with pytest.raises(SelectionError, match="no verified pair is selected"):
        select(allow_missing=True)


# --- quotas


def test_quotas_are_met_to_the_pair(select: Select, many: Mapping[str, int]) -> None:
    assert by_task(select(quotas={"counting": 70})[0]) == {"counting": 70, "left_right": many["left_right"]}
    assert by_task(select(quotas={"counting": 70, "left_right": 0})[0]) == {"counting": 70}
    assert by_task(select(quotas={"counting": 0.25}, total=120)[0]) == {"counting": 30, "left_right": 90}
    assert sum(by_task(select(total=33)[0]).values()) == 33
    selected, _ = select(quotas={"counting": 999}, total=1000, allow_short=True)
    assert by_task(selected)["counting"] == many["counting"]


@pytest.mark.usefixtures("many")
def test_a_larger_quota_selects_the_same_pairs_and_more(select: Select) -> None:
    few, more = (set(select(quotas={"counting": count, "left_right": 0})[1]) for count in (40, 90))
    assert few < more
    assert select(quotas={"counting": 40, "left_right": 0})[1] == sorted(few)


@pytest.mark.usefixtures("many")
def test_quotas_are_filled_from_what_the_condition_leaves(select: Select) -> None:
    _, ids = select(where="score >= 0.5", quotas={"counting": 100, "left_right": 0})
    assert len(ids) == 100
    with pytest.raises(SelectionError, match="counting: 150 pairs of 151, 1 too few"):
        select(where="score >= 0.5", quotas={"counting": 151})


def test_shares_are_rounded_to_a_sum_that_is_right() -> None:
    assert quota_pairs({"counting": 1 / 3, "grounding": 1 / 3, "referring": 1 / 3}, 100) == {
        "counting": 34,
        "grounding": 33,
        "referring": 33,
    }
    assert quota_pairs({"counting": 5, "grounding": 0.5}, 11) == {"counting": 5, "grounding": 6}


def test_quotas_are_read_from_the_command_line() -> None:
    quotas = quotas_of(["counting=1000", "grounding=0.1", "referring=1", "near_far=1.0"])
    assert quotas == {"counting": 1000, "grounding": 0.1, "referring": 1, "near_far": 1.0}
    assert [type(quota) for quota in quotas.values()] == [int, float, int, float]
    for texts in (["counting"], ["counting=many"], ["counting=1", "counting=2"]):
        with pytest.raises(SelectionError, match="quota"):
            quotas_of(texts)


# --- the balance plan


@pytest.fixture
def planned(lake: Lake, many: Mapping[str, int]) -> Lake:
    """The same, with a plan that thins it to half."""
    shards = verified_shards(lake)
    plan = plans.balance(releasable_pairs(lake, shards), BalanceConfig(target_pairs=200), many)
    inputs = plan_inputs(lake, shards)
    lake.write_table("balance_repeats", plan.repeats, BALANCE_REPEATS, inputs=inputs)
    lake.write_table("balance_plan", plan.strata, BALANCE_PLAN, inputs=inputs)
    return lake


def test_a_plan_selects_what_it_keeps(planned: Lake, select: Select) -> None:
    shards = verified_shards(planned)
    plan = plans.BalancePlan(
        planned.scan_table("balance_plan").collect(), planned.scan_table("balance_repeats").collect()
    )
    kept = plans.selected(releasable_pairs(planned, shards), plan).select("qa_id").collect()["qa_id"]
    selected, ids = select(balanced=True)
    assert ids == sorted(kept)
    assert 120 < len(ids) < 280
    assert selected.cuts[-1] == Cut("balance plan", 400 - len(ids), len(ids))
    _, some = select(balanced=True, where="task = 'counting'", quotas={"counting": 20})
    assert set(some) < set(ids)


def test_a_plan_of_other_pairs_is_stale(planned: Lake, select: Select, builders: Any) -> None:
    builders.write(planned, "raw_images", [], ShardKey("demo", "s00002"))
    builders.write(planned, "verified_qa", [], ShardKey("demo", "s00002"))
    with pytest.raises(SelectionError, match="stale: 1 of its inputs have changed since, for one verified_qa/demo/s"):
        select(balanced=True)
