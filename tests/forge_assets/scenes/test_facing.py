"""Which way people are turned: frontal shoulders are 1.2 times as wide as the nose is high above them."""

import polars as pl
import pytest

from forge_assets.scenes.facing import facing, facing_score
from forge_assets.tables import DETECTIONS

BACK = {"face": 0.1}


@pytest.fixture
def turned(make_keypoints):
    def of(**pose):
        points = [make_keypoints(**pose)]
        return pl.DataFrame({"keypoints": points}, schema_overrides=DETECTIONS).select(facing("keypoints")).item()

    return of


def test_frontal_shoulders_are_turned_fully_to_the_camera(turned):
    assert turned(shoulders=120, rise=100) == pytest.approx(1)
    assert turned(shoulders=300, rise=100) == 1


def test_half_the_width_is_half_the_turn(turned):
    assert turned(shoulders=60, rise=100) == pytest.approx(0.5)
    assert turned(shoulders=-60, rise=100, **BACK) == pytest.approx(-0.5)


def test_shoulders_in_the_other_order_and_no_face_are_a_back(turned):
    assert turned(shoulders=-120, rise=100, **BACK) == pytest.approx(-1)


def test_a_person_in_profile_is_turned_to_neither_side(turned):
    assert turned(shoulders=6, rise=100) == pytest.approx(0.05)
    assert turned(shoulders=0, rise=100, **BACK) == 0


@pytest.mark.parametrize(
    "pose",
    [
        pytest.param({"shoulders": 120, "face": 0.34}, id="a front without a face"),
        pytest.param({"shoulders": -120, "face": 0.9}, id="a back with a face"),
        pytest.param({"shoulders": -120, "face": 0.25}, id="a back with what may be a face"),
        pytest.param({"shoulders": 120, "eyes": -20}, id="a front with its eyes swapped"),
        pytest.param({"shoulders": 120, "eyes": 0}, id="a front with its eyes in one place"),
        pytest.param({"shoulders": 120, "rise": -10}, id="a nose below the shoulders"),
        pytest.param({"shoulders": 120, "rise": 0}, id="a nose between the shoulders"),
    ],
)
def test_a_face_that_contradicts_the_shoulders_leaves_the_turn_open(turned, pose):
    assert turned(**pose) is None


def test_the_face_is_seen_from_its_threshold_on(turned):
    assert turned(face=0.35) == pytest.approx(1)
    assert turned(shoulders=-120, face=0.24) == pytest.approx(-1)


def test_people_without_keypoints_have_no_turn():
    nobody = pl.DataFrame({"keypoints": [None, []]}, schema={"keypoints": DETECTIONS["keypoints"]})
    assert nobody.select(turn=facing("keypoints"), score=facing_score("keypoints")).rows() == [(None, None)] * 2


def test_the_score_is_that_of_the_worse_shoulder(make_keypoints):
    points = make_keypoints(score=0.8)
    points[6] = points[6] | {"score": 0.3}
    people = pl.DataFrame({"keypoints": [points]}, schema_overrides=DETECTIONS)
    assert people.select(facing_score("keypoints")).item() == 0.3
