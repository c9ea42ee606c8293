"""What moving a threshold does, on hand-made pairs whose gaps are known."""

import numpy as np
import polars as pl
import pytest

from forge_assets.calibration.intervals import PhotoBootstrap
from forge_assets.calibration.thresholds import (
    changed,
    curves,
    grid,
    numeric_fields,
    table_of_curves,
    tasks_of,
)
from forge_assets.verified_qa.verify import verify
from forge_resources.config import VerificationConfig

THRESHOLDS = VerificationConfig()
GAPS = [0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.2]


@pytest.fixture(scope="module")
def pairs(make_pair, make_pairs):
    """Of each gap a right pair, and of the two smallest a wrong one too; a photo each."""
    dog, cat = ("dog", (0.1, 0.1, 0.3, 0.3)), ("cat", (0.6, 0.1, 0.9, 0.3))
    both = [(0, "class", "the dog"), (1, "class", "the cat")]

    def row(name, gap):
        return make_pair(
            "left_right", "side", "left", dog, cat, phrases=both, qa_id=name, image_id=f"hand/{name}",
            gap=gap, mirror_gap=gap, center_gap=0.5,
        )  # fmt: skip

    rows = [row(f"right {gap}", gap) for gap in GAPS] + [row(f"wrong {gap}", gap) for gap in GAPS[:2]]
    table = make_pairs(rows)
    return table.with_columns(
        pl.col("task").cast(pl.String), right=pl.col("qa_id").str.starts_with("right"), photo="qa_id"
    )


@pytest.fixture(scope="module")
def curve_of(pairs):
    bootstrap = PhotoBootstrap(pairs["photo"].to_list())
    found = curves(pairs, THRESHOLDS, bootstrap, lambda _: pairs)
    return lambda field: next(curve for curve in found if curve.field == field and curve.task == "left_right")


@pytest.mark.parametrize("field", numeric_fields())
def test_every_value_tried_is_allowed_and_the_current_one_is_among_them(field):
    current = getattr(THRESHOLDS, field)
    values = grid(field, current)
    assert current in values
    assert list(values) == sorted(set(values))
    assert len(values) > 2
    assert [getattr(changed(THRESHOLDS, field, value), field) for value in values] == list(values)


def test_a_value_that_no_setting_may_have_is_refused():
    with pytest.raises(ValueError, match="min_depth_ratio"):
        changed(THRESHOLDS, "min_depth_ratio", 0.5)


def test_a_threshold_concerns_the_tasks_whose_rules_look_at_it():
    assert tasks_of(THRESHOLDS, "min_center_gap") == ["left_right"]
    assert "near_far" in tasks_of(THRESHOLDS, "min_depth_ratio")
    assert "left_right" not in tasks_of(THRESHOLDS, "min_depth_ratio")
    assert len(tasks_of(THRESHOLDS, "min_score")) == 6


def test_a_lower_bound_that_rises_keeps_fewer_pairs(curve_of):
    for field in ("min_gap", "min_center_gap", "min_score"):
        kept = curve_of(field).verified.sum(axis=0)
        assert (np.diff(kept) <= 0).all(), field
    assert curve_of("min_gap").verified.sum(axis=0).max() > curve_of("min_gap").verified.sum(axis=0).min()


def test_a_curve_counts_what_verification_keeps_at_each_value(curve_of, pairs):
    curve = curve_of("min_gap")
    for index, value in enumerate(curve.values):
        verified, _ = verify(pairs, changed(THRESHOLDS, "min_gap", value))
        assert curve.verified[:, index].sum() == verified.height, value


def test_precision_and_yield_are_those_of_the_gaps(curve_of, pairs):
    table = table_of_curves([curve_of("min_gap")], PhotoBootstrap(pairs["photo"].to_list()))
    rows = {row["value"]: row for row in table.iter_rows(named=True)}
    assert (rows[0.0]["precision"], rows[0.0]["yield"]) == (0.8, 1.0)
    assert (rows[0.02]["precision"], rows[0.02]["yield"], rows[0.02]["is_current"]) == (1.0, 0.75, True)
    assert (rows[0.1]["precision"], rows[0.1]["yield"]) == (1.0, 0.25)
    assert table["candidates_right"].unique().to_list() == [8]


def test_for_a_threshold_that_no_rule_looks_at_candidates_are_made_again(pairs):
    asked: list[VerificationConfig] = []

    def made_again(thresholds):
        asked.append(thresholds)
        return pairs if thresholds.count_loose_score < 0.5 else pairs.head(0)

    found = curves(pairs, THRESHOLDS, PhotoBootstrap(pairs["photo"].to_list()), made_again)
    (curve,) = [curve for curve in found if curve.field == "count_loose_score"]
    kept = dict(zip(curve.values, curve.verified.sum(axis=0), strict=True))
    assert (kept[0.4], kept[0.5]) == (6, 0)
    assert {thresholds.min_gap for thresholds in asked} == {THRESHOLDS.min_gap}
