"""Which threshold is proposed, and what is left of its precision on photos that it was not chosen by."""

import numpy as np
import pytest

from forge_assets.calibration.proposals import choose, out_of_fold, proposals
from forge_assets.calibration.thresholds import Curve


def chosen(verified, right, *, candidates=100, goal=0.95, current=0, least=20):
    return choose(np.array(verified), np.array(right), candidates, goal, current, least=least)


def test_of_values_that_show_the_goal_the_loosest_is_taken():
    assert chosen([100, 90, 80], [90, 90, 80]) == 1


def test_where_none_shows_the_goal_the_surest_is_taken():
    assert chosen([60, 50, 40], [50, 49, 36]) == 1


def test_a_value_that_keeps_too_few_pairs_is_not_considered():
    assert chosen([60, 19], [50, 19], candidates=50) == 0
    assert chosen([19, 10], [19, 10]) is None


def test_a_value_that_keeps_too_little_of_what_is_right_is_not_considered_while_another_does():
    assert chosen([100, 30], [90, 30], candidates=100) == 0
    assert chosen([30, 25], [20, 25], candidates=100) == 1


def test_the_current_value_stays_where_another_is_no_better():
    assert chosen([40, 40, 40], [40, 40, 40], current=2) == 2


def test_many_wrong_pairs_are_not_proposed_over_a_few_good_ones():
    assert chosen([10, 40], [10, 20]) is None


def curve(verified, right, *, candidates=None, current=0, task="counting", field="min_score"):
    verified, right = np.array(verified), np.array(right)
    values = tuple(float(index) for index in range(verified.shape[1]))
    of = right[:, current] if candidates is None else np.full(len(verified), candidates)
    return Curve(task, field, values, current, verified, right, of)


def test_a_choice_that_follows_the_photos_falls_on_others():
    """Each value is wrong about one photo alone: the other photos choose it, and all of what it says there is wrong."""
    verified = np.full((5, 5), 20)
    right = verified * (1 - np.eye(5, dtype=int))
    assert out_of_fold(curve(verified, right, candidates=20)) == 0.0
    (row,) = proposals([curve(verified, right, candidates=20, current=4)]).rows(named=True)
    # in the fold, every value looks alike
    assert row["says"] == "changes nothing on these photos"


def test_a_choice_that_holds_everywhere_keeps_its_precision():
    verified, right = np.full((10, 2), 10), np.array([[8, 10]] * 10)
    (row,) = proposals([curve(verified, right, candidates=10)]).rows(named=True)
    assert (row["current"], row["proposed"], row["precision"]) == (0.0, 1.0, 1.0)
    assert (row["precision_out_of_fold"], row["drop"]) == (1.0, 0.0)
    assert row["says"] == "shows the goal; better out of fold too"


def test_one_photo_has_none_to_be_judged_by():
    assert out_of_fold(curve([[30, 20]], [[25, 20]])) is None


@pytest.mark.parametrize(
    ("verified", "right", "says"),
    [
        ([[12, 8]], [[12, 8]], "12 pairs: nothing can be said"),
        ([[1, 0]], [[1, 0]], "1 pair: nothing can be said"),
        ([[10, 40]], [[10, 20]], "10 pairs now; no value that keeps 20 is surer"),
        ([[40, 40]], [[30, 30]], "changes nothing on these photos"),
    ],
)
def test_what_few_pairs_cannot_tell_is_said(verified, right, says):
    (row,) = proposals([curve(verified, right)]).rows(named=True)
    assert (row["proposed"], row["says"]) == (None, says)
