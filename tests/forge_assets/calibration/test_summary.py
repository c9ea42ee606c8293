"""Precision and yield, counted on pairs whose truth is known."""

import polars as pl
import pytest

from forge_assets.calibration.intervals import PhotoBootstrap
from forge_assets.calibration.summary import against_goals, not_judged, summary

COLUMNS = ("task", "form", "photo", "verified", "right", "not_judged")


def judged(*rows):
    """(task, verified, right) triples, each of a photo of its own."""
    of_form = [
        (task, "plain", f"p{i}", verified, right, None if right is not None else "a reason")
        for i, (task, verified, right) in enumerate(rows)
    ]
    schema = dict.fromkeys(COLUMNS, pl.String) | {"verified": pl.Boolean, "right": pl.Boolean}
    return pl.DataFrame(of_form, schema=schema, orient="row")


def counted(*rows, by=("task",)):
    pairs = judged(*rows)
    return summary(pairs, PhotoBootstrap(pairs["photo"].to_list()), by)


def test_yield_is_the_share_of_right_candidates_that_were_kept():
    rows = [("near_far", True, True)] * 3 + [("near_far", False, True)] + [("near_far", False, False)] * 4
    (row,) = counted(*rows).rows(named=True)
    assert (row["candidates"], row["judged"], row["right"]) == (8, 8, 4)
    assert (row["verified"], row["verified_judged"], row["verified_right"]) == (3, 3, 3)
    assert (row["precision"], row["yield"]) == (1.0, 0.75)


def test_precision_comes_with_both_intervals():
    rows = [("counting", True, True)] * 8 + [("counting", True, False)] * 2
    (row,) = counted(*rows).rows(named=True)
    assert (row["precision"], row["low"], row["high"]) == (
        0.8,
        pytest.approx(0.4902, abs=1e-4),
        pytest.approx(0.9433, abs=1e-4),
    )
    assert 0.4 <= row["photo_low"] < 0.8 < row["photo_high"] <= 1.0


def test_pairs_of_unknown_truth_are_candidates_but_not_judged():
    (row,) = counted(("near_far", True, None), ("near_far", True, True), ("near_far", False, None)).rows(named=True)
    assert (row["candidates"], row["judged"], row["verified"], row["verified_judged"]) == (3, 1, 2, 1)


def test_tasks_come_in_their_usual_order():
    table = counted(*((task, True, True) for task in ("left_right", "near_far", "counting", "grounding")))
    assert table["task"].to_list() == ["grounding", "counting", "near_far", "left_right"]


def test_nothing_verified_has_no_precision_and_nothing_right_no_yield():
    (row,) = counted(("counting", False, False)).rows(named=True)
    assert {row[name] for name in ("precision", "low", "high", "photo_low", "photo_high", "yield")} == {None}


def test_forms_are_counted_apart():
    pairs = judged(("counting", True, True), ("counting", True, False)).with_columns(form=pl.Series(["b", "a"]))
    table = summary(pairs, PhotoBootstrap(pairs["photo"].to_list()), ("task", "form"))
    assert table.select("form", "precision").rows() == [("a", 0.0), ("b", 1.0)]


def test_what_is_not_judged_is_counted_by_its_reason():
    table = not_judged(judged(("near_far", True, None), ("near_far", False, None), ("counting", True, True)))
    assert table.rows() == [("near_far", "plain", "a reason", 2, 1)]


@pytest.mark.parametrize(
    ("task", "rows", "says"),
    [
        ("counting", [(True, True)] * 19, "19 pairs: nothing can be said"),
        ("counting", [(True, True)], "1 pair: nothing can be said"),
        ("counting", [(True, True)] * 72, "met here, not shown: that takes 73 independent pairs, all right"),
        ("counting", [(True, True)] * 73, "met, and shown"),
        ("left_right", [(True, True)] * 73, "met here, which no number of pairs can prove"),
        ("counting", [(True, True)] * 18 + [(True, False)] * 2, "precision missed by 0.050"),
        ("counting", [(True, True)] * 20 + [(False, True)] * 60, "yield missed by 0.083"),
        ("counting", [(False, True)] * 20, "no verified pair could be judged"),
        ("perspective", [(True, None)] * 20, "no verified pair could be judged"),
    ],
)
def test_goals_are_called_met_missed_or_beyond_what_so_few_pairs_can_tell(task, rows, says):
    table = against_goals(counted(*((task, *row) for row in rows)))
    assert table.filter(pl.col("task") == task)["says"].item() == says


def test_every_task_has_a_line_among_the_goals():
    assert against_goals(counted(("counting", True, True))).height == 6
