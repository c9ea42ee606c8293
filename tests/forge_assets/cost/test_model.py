"""The arithmetic of `forge cost`, against values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_assets.cost import measured
from forge_assets.cost.model import (
    Estimate,
    Line,
    Prices,
    Rates,
    RequestRate,
    StorageRate,
    TimeRate,
    Workload,
    estimate,
)

HAND_MADE = Rates(
    times=(
        TimeRate("detections", "GPU", 0.01, "photo", "by hand"),
        TimeRate("candidate_qa", "CPU", 0.001, "candidate", "by hand"),
        TimeRate("gates", "CPU", 36, "shard", "by hand"),
    ),
    storage=(
        StorageRate("raw_images", 100_000, "photo", "by hand"),
        StorageRate("verified_qa", 250, "pair", "by hand"),
        StorageRate("rejected_qa", 200, "rejected pair", "by hand"),
    ),
    requests=(
        RequestRate("raw_images", "write", 9, 0.01, "by hand"),
        RequestRate("raw_images", "read", 20, 0.0, "by hand"),
    ),
)
WORK = Workload(photos=90_000, candidates_per_photo=20, pairs_per_photo=4, shard_size=2_000)
PRICES = Prices(gpu_hour=2, cpu_hour=0.5, gb_month=0.1, months=3, thousand_writes=5, thousand_reads=0.4)


def by_name(made: Estimate) -> dict[tuple[str, str], Line]:
    return {(line.section, line.name): line for line in made.lines}


def test_amounts_are_those_worked_out_by_hand() -> None:
    lines = by_name(estimate(WORK, HAND_MADE, Prices()))
    assert {name: line.amount for name, line in lines.items()} == pytest.approx(
        {
            ("work", "photos"): 90_000,
            ("work", "shards"): 45,
            ("work", "candidates"): 1_800_000,
            ("work", "verified pairs"): 360_000,
            ("GPU", "detections"): 0.25,  # 90,000 x 0.01 s are 900 s
            ("CPU", "candidate_qa"): 0.5,  # 1,800,000 x 0.001 s are 1,800 s
            ("CPU", "gates"): 0.45,  # 45 x 36 s are 1,620 s
            ("storage", "raw_images"): 9,
            ("storage", "verified_qa"): 0.09,
            ("storage", "rejected_qa"): 0.288,  # 1,440,000 x 200 bytes
            ("requests", "raw_images, writes"): 1_305,  # 45 x 9 + 90,000 x 0.01
            ("requests", "raw_images, reads"): 900,
        }
    )


def test_money_is_that_worked_out_by_hand() -> None:
    made = estimate(WORK, HAND_MADE, PRICES)
    assert {
        name: line.amount for (section, name), line in by_name(made).items() if section == "money"
    } == pytest.approx(
        {
            "GPU": 0.5,  # 0.25 h x 2
            "CPU": 0.475,  # 0.95 h x 0.5
            "storage": 2.8134,  # 9.378 GB x 3 months x 0.1
            "writes": 6.525,  # 1.305 x 5
            "reads": 0.36,  # 0.9 x 0.4
        }
    )
    assert made.total("money") == pytest.approx(10.6734)
    assert made.total("CPU") == pytest.approx(0.95)


def test_every_line_shows_its_formula() -> None:
    lines = by_name(estimate(WORK, HAND_MADE, PRICES))
    assert lines["work", "shards"].formula == "90,000 photos / 2,000 a shard, rounded up"
    assert lines["GPU", "detections"].formula == "90,000 photos x 0.01 s / 3,600"
    assert lines["storage", "rejected_qa"].formula == "1,440,000 rejected pairs x 200 bytes / 10^9"
    assert lines["requests", "raw_images, writes"].formula == "45 shards x 9 + 90,000 photos x 0.01"
    assert lines["requests", "raw_images, reads"].formula == "45 shards x 20"
    assert lines["money", "storage"].formula == "28.13 x 0.1 (GB months, 9.378 GB for 3 months)"


def test_nothing_costs_anything_where_no_price_is_given() -> None:
    made = estimate(WORK, HAND_MADE, Prices())
    assert not [line for line in made.lines if line.section == "money"]
    assert made.total("money") == 0


def test_a_price_of_nothing_is_a_price() -> None:
    (line,) = [line for line in estimate(WORK, HAND_MADE, Prices(gpu_hour=0)).lines if line.section == "money"]
    assert line.amount == 0


def test_photos_and_pairs_are_not_added_up() -> None:
    with pytest.raises(ValueError, match="no sum"):
        estimate(WORK, HAND_MADE, Prices()).total("work")


def test_more_verified_pairs_than_candidates_leave_none_to_reject() -> None:
    work = Workload(photos=10, candidates_per_photo=1, pairs_per_photo=4, shard_size=2)
    assert work.amount("rejected pair") == 0


@given(shards=st.integers(1, 10_000), times=st.integers(1, 1_000), size=st.integers(1, 5_000))
def test_all_amounts_are_linear_in_whole_shards(shards: int, times: int, size: int) -> None:
    def lines(count: int) -> dict[tuple[str, str], Line]:
        work = Workload(photos=count * size, candidates_per_photo=21.2, pairs_per_photo=3.6, shard_size=size)
        return by_name(estimate(work, measured.RATES, PRICES))

    once, often = lines(shards), lines(shards * times)
    assert once.keys() == often.keys()
    for name, line in once.items():
        assert math.isclose(often[name].amount, times * line.amount, rel_tol=1e-9), name


@given(photos=st.integers(1, 10**7), more=st.integers(0, 10**6))
def test_more_photos_never_take_less(photos: int, more: int) -> None:
    def of(count: int) -> Estimate:
        return estimate(Workload(count, 21.2, 3.6, 2_000), measured.RATES, PRICES)

    fewer, all_of_them = of(photos), of(photos + more)
    for section in ("CPU", "storage", "requests", "money"):
        assert fewer.total(section) <= all_of_them.total(section)
