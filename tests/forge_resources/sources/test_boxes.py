"""Checks of human boxes and points."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_resources.sources.base import Label, LabelProblem, Point
from forge_resources.sources.boxes import checked_label, checked_point, collect, label_or_problem, turned

FRAME = (100, 80)


def label(*corners, label_id="1", category="cat") -> Label:
    return Label(label_id, category, *corners)


@pytest.mark.parametrize(
    ("corners", "kept"),
    [
        ((0, 0, 100, 80), (0, 0, 100, 80)),
        ((-5, -5, 5, 5), (0, 0, 5, 5)),
        ((99, 79, 500, 500), (99, 79, 100, 80)),
        ((-1, -1, 101, 81), (0, 0, 100, 80)),
    ],
)
def test_a_box_is_clipped_to_its_photo(corners, kept):
    assert checked_label(label(*corners), FRAME, "here") == label(*kept)


@pytest.mark.parametrize(
    ("corners", "rule"),
    [
        ((math.nan, 0, 1, 1), "label_not_finite"),
        ((0, -math.inf, 1, 1), "label_not_finite"),
        ((5, 0, 4, 1), "label_inverted"),
        ((5, 3, 6, 2), "label_inverted"),
        ((5, 0, 5, 1), "label_zero_size"),
        ((5, 2, 6, 2), "label_zero_size"),
        ((100, 0, 101, 1), "label_outside"),
        ((0, -9, 1, 0), "label_outside"),
    ],
)
def test_a_box_that_cannot_be_used_says_why_and_where(corners, rule):
    problem = checked_label(label(*corners), FRAME, "file: annotation 1")
    assert isinstance(problem, LabelProblem)
    assert problem.rule == rule
    assert problem.detail.startswith("file: annotation 1: ")


def test_a_box_of_coco_becomes_corners():
    found = label_or_problem("1", "cat", (10, 20, 30, 40), frame=FRAME, is_crowd=True, where="here")
    assert found == Label("1", "cat", 10, 20, 40, 60, is_crowd=True)


@pytest.mark.parametrize(
    ("x", "y", "rule"),
    [
        (0, 0, None),
        (100, 80, None),
        (100.5, 3, "label_point_outside"),
        (3, -0.1, "label_point_outside"),
        (math.nan, 3, "label_not_finite"),
        (3, math.inf, "label_not_finite"),
    ],
)
def test_a_point_is_inside_its_photo_or_a_problem(x, y, rule):
    point = Point("1", "cat", x, y)
    found = checked_point(point, FRAME, "here")
    assert found is point if rule is None else (isinstance(found, LabelProblem) and found.rule == rule)


def test_what_is_said_twice_counts_once():
    first, same_box, same_id = label(0, 0, 9, 9), label(0, 0, 9, 9, label_id="2"), label(0, 0, 8, 8)
    other_class, problem = label(0, 0, 9, 9, label_id="3", category="dog"), LabelProblem("label_outside", "x")
    found = collect([first, problem, same_box, same_id, other_class])
    assert found.labels == (first, other_class)
    assert [found.rule for found in found.problems] == ["label_outside", "label_duplicate", "label_duplicate_id"]
    assert found.is_labeled


@given(
    width=st.integers(1, 12),
    height=st.integers(1, 12),
    column=st.integers(0, 11),
    row=st.integers(0, 11),
    quarter=st.integers(0, 3),
)
def test_a_turned_point_lies_where_numpy_turns_its_pixel(width, height, column, row, quarter):
    pixels = np.zeros((height, width))
    pixels[row % height, column % width] = 1
    x, y = turned(column % width + 0.5, row % height + 0.5, 90 * quarter, (width, height))
    assert np.rot90(pixels, quarter)[math.floor(y), math.floor(x)] == 1


def test_another_turn_is_an_error():
    with pytest.raises(ValueError, match="rotation 45"):
        turned(0, 0, 45, FRAME)
