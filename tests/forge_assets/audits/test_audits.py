"""Audits on a lake small enough to count by hand."""

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest

from forge_assets.audits.runner import UnknownAuditError, audit_names, audit_question, audit_reads, audit_sql, run_audit
from forge_assets.tables import SCHEMAS, TASKS
from forge_resources.lake import Lake
from forge_resources.warehouse import Warehouse

QUOTAS = {"grounding": 3.0, "near_far": 1.0, "counting": 0.0, "left_right": 0.0, "referring": 0.0, "perspective": 0.0}
Write = Callable[..., None]


@pytest.fixture
def warehouse(lake: Lake, write: Write) -> Iterator[Warehouse]:
    def pairs(task: str, count: int, **columns: Any) -> list[dict[str, Any]]:
        return [{"task": task, **columns}] * count

    depth = {"rule": "depth_readings", "threshold": 1.0}
    write("raw_images", "a", [{}] * 9, "passed")
    write("raw_images", "b", [{}] * 5, "failed")
    write(
        "rejected_images",
        "a",
        [{"rule": "truncated", "path": "y"}, {"rule": "truncated", "path": "x"}, {"rule": "tiny"}],
    )
    write("rejected_images", "b", [])
    write("candidate_qa", "a", [*pairs("grounding", 4), *pairs("near_far", 6)], "passed")
    write("candidate_qa", "b", pairs("near_far", 2), "passed")
    write("verified_qa", "a", [*pairs("grounding", 4), *pairs("near_far", 2)], "passed")
    write("verified_qa", "b", pairs("near_far", 2), "failed")
    dropped = [
        *pairs("near_far", 1, value=0.5, **depth),
        *pairs("near_far", 2, value=0.75, **depth),
        *pairs("near_far", 1, rule="overlap", value=0.9, threshold=0.6),
    ]
    write("rejected_qa", "a", dropped)
    write("rejected_qa", "b", [])
    with Warehouse(lake, SCHEMAS) as warehouse:
        yield warehouse


def test_names() -> None:
    assert {"drop_reasons", "partitions", "rejected_photos", "task_balance", "yield"} <= set(audit_names())
    with pytest.raises(UnknownAuditError, match=r"unknown audit 'yeild'; audits: .*drop_reasons"):
        audit_sql("yeild")


@pytest.mark.parametrize("name", audit_names())
def test_each_file_asks_one_question_and_says_what_it_reads(name: str) -> None:
    assert audit_question(name).endswith("?")
    assert audit_reads(name) <= {*SCHEMAS, "partitions", "partition_inputs", "partition_versions", "quotas"}
    assert audit_sql(name).splitlines()[1] == "--"


def test_task_balance(warehouse: Warehouse) -> None:
    rows = run_audit(warehouse, "task_balance", QUOTAS)
    by_key = {(row["task"], row["source"]): row for row in rows.to_dicts()}
    assert set(by_key) == {(task, source) for task in TASKS for source in ("a", "b")}
    grounding, near_far = by_key["grounding", "a"], by_key["near_far", "a"]
    assert grounding | {"share": 0, "filled": 0, "gap": 0} == {
        "task": "grounding",
        "source": "a",
        "pairs": 4,
        "train": 0,
        "val": 0,
        "val_share": 0.0,
        "source_share": 1.0,
        "task_pairs": 4,
        "share": 0,
        "quota": 0.75,
        "filled": 0,
        "gap": 0,
        "missing": 1,
    }
    assert (grounding["share"], grounding["filled"]) == pytest.approx((4 / 6, 4 / 6 / 0.75))
    assert (grounding["gap"], near_far["gap"]) == pytest.approx((4 / 6 - 0.75, 2 / 6 - 0.25))
    assert by_key["counting", "b"]["pairs"] == by_key["counting", "b"]["share"] == 0
    assert by_key["near_far", "b"]["pairs"] == 0, "its gate failed"
    assert rows["task"].to_list()[:4] == ["grounding", "grounding", "near_far", "near_far"]


def test_yield(warehouse: Warehouse) -> None:
    rows = {(row.pop("task"), row.pop("source")): row for row in run_audit(warehouse, "yield", QUOTAS).to_dicts()}
    assert len(rows) == len(TASKS) * 2
    assert rows["grounding", "a"] == {"candidates": 4, "verified": 4, "rejected": 0, "withheld": 0, "yield": 1.0}
    near_far = rows["near_far", "a"]
    assert near_far["yield"] == pytest.approx(1 / 3)
    assert (near_far["rejected"], near_far["withheld"]) == (4, 0)
    assert rows["near_far", "b"] == {"candidates": 2, "verified": 0, "rejected": 0, "withheld": 2, "yield": 0.0}
    assert rows["counting", "a"] == {"candidates": 0, "verified": 0, "rejected": 0, "withheld": 0, "yield": None}


def test_drop_reasons(warehouse: Warehouse) -> None:
    rows = run_audit(warehouse, "drop_reasons", QUOTAS)
    assert rows.filter(task="near_far").rows() == [
        ("near_far", "depth_readings", 3, 3 / 8, 0.75, 1.0),
        ("near_far", "overlap", 1, 1 / 8, 0.9, 0.6),
    ]
    assert rows.filter(task="grounding").rows() == [("grounding", None, 0, 0.0, None, None)]


def test_rejected_photos(warehouse: Warehouse) -> None:
    rows = run_audit(warehouse, "rejected_photos", QUOTAS)
    assert rows.select("source", "rule", "photos", "rows", "example", "accepted").rows() == [
        ("a", "truncated", 2, 2, "x", 9),
        ("a", "tiny", 1, 1, None, 9),
        ("b", None, 0, 0, None, 5),
    ]


def test_partitions(warehouse: Warehouse) -> None:
    rows = run_audit(warehouse, "partitions", QUOTAS)
    states = rows.filter(source="b").select("stage", "state", "rows", "failures").rows()
    assert states == [
        ("raw_images", "failed", 5, 4),
        ("detections", "missing", None, None),
        ("depth_maps", "missing", None, None),
        ("scenes", "missing", None, None),
        ("candidate_qa", "passed", 2, 0),
        ("verified_qa", "failed", 2, 4),
    ]


@pytest.mark.parametrize("name", audit_names())
def test_an_empty_lake_has_an_answer(name: str, lake: Lake) -> None:
    with Warehouse(lake, SCHEMAS) as warehouse:
        rows = run_audit(warehouse, name, QUOTAS)
    if "quotas" in audit_reads(name):
        assert set(rows["task"]) == set(TASKS)
        assert rows.height == len(TASKS)
    else:
        assert rows.is_empty()


@pytest.mark.parametrize("name", audit_names())
def test_rows_come_in_the_same_order_each_time(name: str, warehouse: Warehouse) -> None:
    first = run_audit(warehouse, name, QUOTAS)
    assert all(run_audit(warehouse, name, QUOTAS).equals(first) for _ in range(5))
    assert first.is_unique().all()


@pytest.mark.parametrize("name", audit_names())
def test_files_run_as_they_lie(name: str, warehouse: Warehouse) -> None:
    run_audit(warehouse, name, QUOTAS)
    assert len(duckdb.extract_statements(audit_sql(name))) == 1
    assert warehouse.query(audit_sql(name)).equals(run_audit(warehouse, name, QUOTAS))


def test_a_task_without_a_quota_still_shows(warehouse: Warehouse) -> None:
    rows = run_audit(warehouse, "task_balance", {"grounding": 1.0})
    assert rows.filter(task="near_far", source="a").select("pairs", "quota", "filled").row(0) == (2, 0.0, None)
