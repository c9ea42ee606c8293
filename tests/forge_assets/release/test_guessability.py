"""The text-only baseline finds what was planted, with its size, and nothing where nothing was."""

from collections.abc import Callable

import polars as pl
import pytest

from forge_assets.release.guessability import GUESSABILITY, guessability

MakePairs = Callable[..., pl.DataFrame]


def only_row(pairs: pl.DataFrame) -> dict[str, object]:
    rows = guessability(pairs.lazy())
    assert dict(rows.schema) == dict(GUESSABILITY)
    assert rows.height == 1
    return rows.row(0, named=True)


def test_nothing_is_found_where_answers_do_not_hang_on_the_text(make_pairs: MakePairs) -> None:
    row = only_row(make_pairs(3000))
    assert (row["task"], row["kind"], row["pairs"], row["photos"], row["chance"]) == (
        "near_far", "nearer", 3000, 750, 0.5,
    )  # fmt: skip
    assert abs(row["lift"]) < 3
    assert row["lift_low"] < row["lift"] < row["lift_high"]


@pytest.mark.parametrize("bus_farther", [1.0, 0.8])
def test_a_category_that_usually_wins_is_found(make_pairs: MakePairs, bus_farther: float) -> None:
    row = only_row(make_pairs(3000, bus_farther=bus_farther))
    with_bus = 1 / 3
    assert row["lift"] == pytest.approx(100 * with_bus * (bus_farther - 0.5), abs=2.5)
    assert row["lift_low"] > 0


@pytest.mark.parametrize("first", [1.0, 0.75])
def test_a_place_that_is_usually_right_is_found(make_pairs: MakePairs, first: float) -> None:
    row = only_row(make_pairs(2000, first=first))
    assert row["lift"] == pytest.approx(100 * (first - 0.5), abs=3)
    assert row["model"] == "place"
    assert row["majority"] == pytest.approx(first, abs=0.03)


def test_a_word_that_is_usually_right_is_found(make_pairs: MakePairs) -> None:
    row = only_row(make_pairs(2000, yes=0.8))
    assert (row["answer_kind"], row["model"]) == ("yes_no", "word")
    assert row["lift"] == pytest.approx(30, abs=3)


def test_answers_that_the_numbers_of_boxes_give_away_are_found(make_pairs: MakePairs) -> None:
    row = only_row(make_pairs(3000, lower=1.0))
    assert row["lift"] > 35
    assert abs(only_row(make_pairs(3000, lower=0.5))["lift"]) < 3


def test_the_figures_do_not_depend_on_the_order_of_the_pairs(make_pairs: MakePairs) -> None:
    pairs = make_pairs(600, bus_farther=0.8)
    shuffled = pairs.sample(fraction=1, shuffle=True, seed=1)
    assert guessability(pairs.lazy()).equals(guessability(shuffled.lazy()))


def test_a_large_task_is_judged_by_a_sample_that_its_ids_decide(make_pairs: MakePairs) -> None:
    pairs = make_pairs(2000, first=0.9)
    sampled = guessability(pairs.lazy(), sample=500)
    assert sampled["pairs"].item() <= 500
    assert sampled["pairs"].item() > 400
    assert sampled.equals(guessability(pairs.reverse().lazy(), sample=500))


def test_too_few_pairs_are_not_judged(make_pairs: MakePairs) -> None:
    row = only_row(make_pairs(20))
    assert (row["pairs"], row["model"], row["lift"]) == (20, None, None)


def test_pairs_without_a_fixed_set_of_answers_are_passed_over(make_pairs: MakePairs) -> None:
    pairs = make_pairs(100).with_columns(answer_kind=pl.lit("text"))
    assert guessability(pairs.lazy()).height == 0
