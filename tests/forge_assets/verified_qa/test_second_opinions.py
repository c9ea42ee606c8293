"""Rules that ask whether a second network, and people who counted, agree."""

import polars as pl
import pytest

from forge_assets.candidate_qa.generate import candidates
from forge_assets.verified_qa.verify import verify
from forge_resources.config import ForgeConfig

BUS = (100, 100, 500, 500)
AGREED = {"second_score": 0.9, "second_iou": 0.9}


@pytest.fixture
def judge(make_scene):
    """Rules that pairs of a form broke, null for those verified."""

    def of(form, *objects):
        config = ForgeConfig()
        verified, rejected = verify(candidates(make_scene(*objects), config), config.verification)
        judged = pl.concat([verified, rejected], how="diagonal").filter(form=form)
        return judged.select("rule", "value").rows()

    return of


@pytest.mark.parametrize(
    ("second", "outcome"),
    [
        (AGREED, (None, None)),
        ({}, (None, None)),
        ({"second_score": 0.15, "second_iou": 0.9}, ("second_detector", 0.15)),
        ({"second_score": 0.9, "second_iou": 0.4}, ("second_detector", 0.0)),
        ({"second_score": 0.0, "second_iou": 0.0}, ("second_detector", 0.0)),
    ],
)
def test_a_second_detector_that_knows_the_class_must_find_the_object(judge, second, outcome):
    assert judge("one", ("bus", BUS, second)) == [outcome]


def test_an_object_that_only_the_second_detector_saw_makes_the_number_uncertain(judge):
    other = ("bus", (600, 100, 900, 500), {"origin": "second", "score": 0.8})
    assert judge("number", ("bus", BUS, AGREED), other) == [("count_stable", 1.0)]


def test_another_class_that_the_second_detector_sees_there_puts_the_object_into_doubt(judge):
    truck = {"origin": "second", "score": 0.8}
    pairs = judge("one", ("bus", BUS, AGREED | {"class_conflict": 0.9}), ("truck", BUS, truck))
    assert pairs == [("class_conflict", 0.9)]


@pytest.mark.parametrize(("number", "rule"), [(1, None), (2, "count_stable")])
def test_a_number_is_what_people_counted(judge, number, rule):
    counted = {"human_counts": [{"category": "bus", "count": number}]}
    assert [broken for broken, _ in judge("number", ("bus", BUS, AGREED | counted))] == [rule]


def test_nobody_is_asked_for_zero_of_what_people_counted(judge):
    """Of the classes that are common on a street, every one was pointed at."""
    from forge_assets.candidate_qa.absent import plausible_classes

    everything = [{"category": name, "count": 1} for name in plausible_classes()["category"].unique().sort()]
    assert judge("zero", ("bus", BUS, AGREED))
    assert not judge("zero", ("bus", BUS, AGREED | {"human_counts": everything}))


@pytest.mark.parametrize(("second_facing", "is_verified"), [(None, True), (0.5, True), (-0.5, False), (0.0, False)])
def test_a_second_pose_network_must_read_the_same_turn(judge, second_facing, is_verified):
    turned = {"facing": 0.9, "mirror_facing": 0.9, "second_facing": second_facing, "facing_score": 0.8}
    person = ("person", (600, 100, 800, 900), turned)
    pairs = judge("own_side", person, ("dog", (100, 600, 300, 800), {}))
    assert [rule for rule, _ in pairs] == [None if is_verified else "facing"]
