"""Intervals against values that are known, and against what clustering does to them."""

import numpy as np
import pytest

from forge_assets.calibration.intervals import PhotoBootstrap, pairs_to_show, wilson

Z = 1.959964


def test_eight_right_of_ten_lie_between_the_ends_of_wilsons_interval():
    assert wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


def test_none_right_of_ten_is_not_certainty_either():
    assert wilson(0, 10) == (pytest.approx(0.0), pytest.approx(0.2775, abs=1e-4))


def test_all_right_is_not_certainty():
    assert wilson(20, 20) == (pytest.approx(20 / (20 + Z**2)), pytest.approx(1.0))


def test_nothing_counted_has_no_interval():
    assert wilson(0, 0) == (None, None)


@pytest.mark.parametrize(("goal", "pairs"), [(0.95, 73), (0.99, 381)])
def test_as_many_pairs_show_a_goal_and_one_less_does_not(goal, pairs):
    assert pairs_to_show(goal) == pairs
    assert wilson(pairs, pairs)[0] >= goal > wilson(pairs - 1, pairs - 1)[0]


def test_no_number_of_pairs_shows_that_all_are_right():
    assert pairs_to_show(1.0) is None


PHOTOS = [f"photo {index}" for index in range(10)]


def test_answers_that_go_wrong_by_photo_are_less_sure_than_as_many_independent_ones():
    of = np.full((10, 1), 10)
    right = np.where(np.arange(10) < 5, 10, 0).reshape(-1, 1)
    ((low, high),) = PhotoBootstrap(PHOTOS).intervals(right, of)
    by_wilson = wilson(50, 100)
    assert low < by_wilson[0] < 0.5 < by_wilson[1] < high


def test_the_same_photos_give_the_same_interval_in_whatever_order_they_come():
    right, of = np.arange(10).reshape(-1, 1), np.full((10, 1), 10)
    first, again = (PhotoBootstrap(photos).intervals(right, of) for photos in (PHOTOS, PHOTOS[::-1]))
    assert first == again


def test_without_photos_or_answers_there_is_no_interval():
    assert PhotoBootstrap([]).intervals(np.zeros((0, 1)), np.zeros((0, 1))) == [(None, None)]
    assert PhotoBootstrap(["a"]).intervals(np.zeros((1, 1)), np.zeros((1, 1))) == [(None, None)]
