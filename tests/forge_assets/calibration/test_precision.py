"""Precision with its uncertainty, counted on pairs whose truth is known."""

import polars as pl
import pytest

from forge_assets.calibration.precision import summary


def judged(*rows):
    schema = {"qa_id": pl.String, "task": pl.String, "verified": pl.Boolean, "right": pl.Boolean}
    return pl.DataFrame([(str(number), *row) for number, row in enumerate(rows)], schema=schema, orient="row")


def test_eight_right_of_ten_lie_between_the_ends_of_wilsons_interval():
    rows = [("counting", True, True)] * 8 + [("counting", True, False)] * 2
    (row,) = summary(judged(*rows)).rows(named=True)
    assert row["precision"] == 0.8
    assert (row["low"], row["high"]) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


def test_all_right_is_not_certainty():
    (row,) = summary(judged(*[("counting", True, True)] * 20)).rows(named=True)
    assert (row["precision"], row["high"]) == (1.0, pytest.approx(1.0))
    assert row["low"] == pytest.approx(20 / (20 + 1.959964**2))


def test_yield_is_the_share_of_right_candidates_that_were_kept():
    rows = [("near_far", True, True)] * 3 + [("near_far", False, True)] * 1 + [("near_far", False, False)] * 4
    (row,) = summary(judged(*rows)).rows(named=True)
    assert (row["candidates"], row["candidates_right"], row["verified"], row["verified_right"]) == (8, 4, 3, 3)
    assert (row["precision"], row["yield"]) == (1.0, 0.75)


def test_pairs_of_unknown_truth_are_left_out():
    table = summary(judged(("near_far", True, None), ("near_far", True, True), ("perspective", True, None)))
    assert table.select("task", "candidates", "verified").rows() == [("near_far", 1, 1)]


def test_tasks_come_in_their_usual_order():
    table = summary(judged(*((task, True, True) for task in ("left_right", "near_far", "counting", "grounding"))))
    assert table["task"].to_list() == ["grounding", "counting", "near_far", "left_right"]


def test_nothing_verified_has_no_precision_and_nothing_right_no_yield():
    (row,) = summary(judged(("counting", False, False))).rows(named=True)
    assert (row["precision"], row["low"], row["high"], row["yield"]) == (None, None, None, None)
