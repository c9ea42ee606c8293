"""Phrases of hand-made rows of objects: what they say, how clearly, and what makes them unclear."""

import polars as pl
import pytest

from forge_assets.candidate_qa.entities import entities
from forge_assets.candidate_qa.phrases import NEIGHBORS, phrases
from forge_assets.scenes.colors import BASIC_COLORS
from forge_resources.config import ForgeConfig


@pytest.fixture(scope="module")
def say(make_scene):
    """Phrases of a scene by object number, as {text: (value, matches, count_spread, is_clear)}."""

    def of(*objects):
        scenes = make_scene(*objects).lazy()
        config = ForgeConfig()
        found = phrases(scenes, entities(scenes, config), config).collect()
        said = {}
        for object_id, *told in found.select(
            "object_id", "text", "value", "matches", "count_spread", "is_clear"
        ).iter_rows():
            said.setdefault(int(object_id[-3:]), {})[told[0]] = tuple(told[1:])
        return said

    return of


def person(x, y=200, **evidence):
    """100 pixels wide, 400 high."""
    return ("person", (x, y, x + 100, y + 400), evidence)


def car(x, color, share=0.9, **evidence):
    return ("car", (x, 100, x + 100, 200), {"color": color, "color_share": share} | evidence)


BUS = ("bus", (450, 500, 550, 700), {})


# --- class


def test_the_only_one_of_a_class_is_called_by_it(say):
    assert say(BUS)[0] == {"the bus": (None, 1, None, True)}


def test_a_class_name_that_a_doubtful_rival_may_fit_is_unclear(say):
    assert say(BUS, ("bus", (100, 100, 200, 200), {"score": 0.2}))[0]["the bus"] == (None, 2, None, False)
    assert say(BUS, ("bus", (100, 100, 200, 200), {"score": 0.19}))[0]["the bus"][3]


# --- places in a row


def test_a_row_is_counted_off_from_both_ends_and_the_gap_to_the_next_is_the_margin(say):
    said = say(person(0), person(150), person(350), person(600), person(800))  # centres 50, 200, 400, 650, 850
    ordinals = {
        number: {text: round(told[0], 3) for text, told in texts.items() if " from the " in text}
        for number, texts in said.items()
    }
    assert ordinals == {
        0: {},
        1: {"the second person from the left": 0.15},
        2: {"the third person from the left": 0.2, "the third person from the right": 0.2},
        3: {"the second person from the right": 0.2},
        4: {},
    }
    assert said[0]["the leftmost person"] == (pytest.approx(0.15), 1, 0, True)
    assert said[4]["the rightmost person"] == (pytest.approx(0.2), 1, 0, True)


def test_neighbours_whose_centres_are_close_are_not_clearly_in_order(say):
    said = say(person(0), person(29), person(400))
    assert said[0]["the leftmost person"] == (pytest.approx(0.029), 1, 0, False)
    assert not said[1]["the second person from the left"][3]
    assert say(person(0), person(30), person(400))[0]["the leftmost person"][3]


def test_a_row_that_the_mirror_shows_in_another_order_is_not_counted_off(say):
    said = say(person(0), person(150, mirror_x1=700, mirror_x2=800), person(400))
    assert 1 not in said
    assert "the rightmost person" not in said.get(2, {})


def test_a_class_of_which_there_may_be_more_is_counted_off_unclearly(say):
    said = say(person(100), person(500), person(800, score=0.35))
    assert said[0]["the leftmost person"][2:] == (1, False)  # counted at the loose score alone
    said = say(person(100), person(500), person(800, score=0.16))
    assert said[1]["the rightmost person"][2:] == (1, False)


def test_more_than_six_are_not_counted_off(say):
    assert "the leftmost person" in say(*(person(150 * i) for i in range(6)))[0]
    assert say(*(person(140 * i) for i in range(7))) == {}


# --- sizes


def dog(x, side, **evidence):
    return ("dog", (x, 100, x + side, 100 + side), evidence)


def test_the_largest_and_the_smallest_are_told_by_the_ratio_of_areas(say):
    said = say(dog(100, 100), dog(300, 200), dog(600, 150))
    assert said[1]["the largest dog"] == (pytest.approx(200**2 / 150**2), 1, 0, True)
    assert said[0]["the smallest dog"] == (pytest.approx(150**2 / 100**2), 1, 0, True)
    assert not say(dog(100, 100), dog(300, 120))[1]["the largest dog"][3]  # 1.44 times as large


@pytest.mark.parametrize("hidden", [{"is_truncated": True}, {"occlusion": 0.41}])
def test_one_that_is_cut_or_hidden_may_be_larger_than_it_looks(say, hidden):
    said = say(dog(100, 100, **hidden), dog(300, 200))
    assert said[1]["the largest dog"][1:] == (2, 0, False)
    assert said[0]["the smallest dog"][1:] == (2, 0, False)
    said = say(dog(100, 100), dog(300, 200, **hidden))
    assert said[1]["the largest dog"][3]
    assert said[0]["the smallest dog"][3]


# --- colours


def test_a_colour_that_no_other_may_have_tells_an_object(say):
    said = say(car(100, "red"), car(300, "blue", 0.7), car(500, "white"))
    assert said[0]["the red car"] == (0.7, 1, None, True)  # the least plain colour of the class is the margin


def test_every_colour_has_its_neighbours_and_is_theirs():
    assert set(NEIGHBORS) == set(BASIC_COLORS)
    assert all(color in NEIGHBORS[other] for color, others in NEIGHBORS.items() for other in others)


@pytest.mark.parametrize("rival", ["orange", "pink", "brown", None])
def test_a_colour_is_unclear_beside_one_that_may_be_called_so(say, rival):
    share = None if rival is None else 0.9
    assert say(car(100, "red"), car(300, rival, share))[0]["the red car"][1:] == (2, None, False)


def test_a_doubtful_car_of_unknown_colour_may_be_red_too(say):
    said = say(car(100, "red"), car(300, "blue"), car(500, None, None, score=0.2))
    assert said[0]["the red car"][1:] == (2, None, False)


def test_two_of_a_colour_are_not_told_by_it(say):
    assert "the red car" not in say(car(100, "red"), car(300, "red"), car(500, "blue"))[0]


def test_a_weak_colour_is_unclear(say):
    assert not say(car(100, "red", 0.59), car(300, "blue"))[0]["the red car"][3]
    assert say(car(100, "red", 0.6), car(300, "blue"))[0]["the red car"][3]


# --- landmarks


def test_the_only_one_on_a_side_of_a_landmark_is_told_by_it(say):
    said = say(person(100), person(600), person(800), BUS)  # gaps to the bus: 250, 50, 250 pixels
    assert said[0]["the person to the left of the bus"] == (pytest.approx(0.05), 1, 0, True)
    assert "the person to the right of the bus" not in {
        text for texts in said.values() for text, t in texts.items() if t[3]
    }


def test_all_others_must_be_clear_of_the_landmark_on_its_other_side(say):
    said = say(person(100), person(560), BUS)  # 10 pixels to the right of the bus
    assert said[0]["the person to the left of the bus"] == (pytest.approx(0.01), 1, 0, False)


@pytest.mark.parametrize("doubt", [{"score": 0.45}, {"mirror_iou": 0.5}, {"class_conflict": 0.6}])
def test_a_doubtful_landmark_tells_nothing(say, doubt):
    said = say(person(100), person(700), ("bus", BUS[1], doubt))
    assert "the person to the left of the bus" not in said[0]


def test_a_landmark_of_which_there_may_be_two_tells_nothing(say):
    said = say(person(100), person(700), BUS, ("bus", (300, 500, 400, 700), {"score": 0.2}))
    assert not [text for texts in said.values() for text in texts if "of the bus" in text]


# --- labelled photos


HUMAN = {"origin": "human", "is_labeled": True, "score": None} | dict.fromkeys(("mirror_x1", "mirror_x2", "mirror_iou"))


def test_boxes_that_people_drew_need_no_mirror(say):
    assert say(person(0, **HUMAN), person(500, **HUMAN))[0]["the leftmost person"] == (0.5, 1, 0, True)


def test_a_label_that_could_not_be_used_makes_every_phrase_unclear(say):
    dropped = HUMAN | {"labels_dropped": 1}
    said = say(person(0, **dropped), person(500, **dropped), ("bus", BUS[1], dropped))
    assert not [text for texts in said.values() for text, told in texts.items() if told[3]]


def test_a_crowd_makes_a_row_unclear(say):
    said = say(person(0, **HUMAN), person(500, **HUMAN), person(800, **HUMAN, is_crowd=True))
    assert not [text for texts in said.values() for text, told in texts.items() if told[3]]


def test_phrases_of_an_empty_table(make_scene):
    scenes = make_scene().lazy()
    found = phrases(scenes, entities(scenes, ForgeConfig()), ForgeConfig()).collect()
    assert found.height == 0
    assert found.schema["is_clear"] == pl.Boolean()
