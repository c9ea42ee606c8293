"""Phrases of hand-made rows of objects: what they say, how clearly, and what makes them unclear."""

import re
from itertools import product

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_assets.candidate_qa.entities import entities, possible_objects
from forge_assets.candidate_qa.phrase_kinds import KINDS, telling_none_of
from forge_assets.candidate_qa.phrases import NEIGHBORS, phrases
from forge_assets.scenes.colors import BASIC_COLORS
from forge_resources.config import ForgeConfig


@pytest.fixture(scope="module")
def say(make_scene):
    """Phrases of a scene by object number, as {text: (value, matches, count_spread, is_clear)}."""

    def of(*objects):
        scenes = make_scene(*objects).lazy()
        config = ForgeConfig()
        found = phrases(possible_objects(scenes, config), entities(scenes, config), config).collect()
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
    assert say(BUS, ("bus", (100, 100, 200, 200), {"score": 0.19, "mirror_score": 0.19}))[0]["the bus"][3]


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
    said = say(person(100), person(500), person(800, score=0.16, mirror_score=0.16))
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


# --- depth


def at(ground, height=None, **evidence):
    """Depths by geometry, which must both agree: by 1.15 where the box meets the ground, by 1.5 by its height."""
    height = ground if height is None else height
    depths = {"ground_depth": ground, "height_depth": height}
    return depths | {f"mirror_{name}": depth for name, depth in depths.items()} | evidence


def ranked(texts):
    """Phrases by depth: {text: (value, matches, count_spread, is_clear)}."""
    return {text: told for text, told in texts.items() if text.endswith(" the camera")}


NEAREST, FARTHEST = "the person nearest to the camera", "the person farthest from the camera"


def test_the_nearest_and_the_farthest_are_told_by_their_weakest_agreement_with_any_other(say):
    said = say(person(100, **at(6)), person(300, **at(2)), person(600, **at(3.3)))
    assert ranked(said[1]) == {NEAREST: (pytest.approx(1.65 / 1.5), 1, 0, True)}  # 3.3 m over 2 m, of 1.5 by height
    assert ranked(said[0]) == {FARTHEST: (pytest.approx(6 / 3.3 / 1.5), 1, 0, True)}
    assert ranked(said[2]) == {}


def test_readings_that_agree_by_less_than_their_margin_leave_the_rank_unclear(say):
    said = say(person(100, **at(2)), person(600, **at(2.9)))
    assert ranked(said[0]) == {NEAREST: (pytest.approx(1.45 / 1.5), 1, 0, False)}
    assert ranked(say(person(100, **at(2)), person(600, **at(3)))[0])[NEAREST][3]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(at(9, 1.9), id="height says the opposite"),
        pytest.param(at(9) | {"mirror_ground_depth": 1.9}, id="the mirror says the opposite"),
        pytest.param({"ground_depth": 9, "mirror_ground_depth": 9}, id="one reading alone"),
        pytest.param({}, id="no reading"),
    ],
)
def test_without_agreed_readings_of_every_other_none_is_nearest_or_farthest(say, other):
    said = say(person(100, **at(2)), person(300, **at(20)), person(600, **other))
    assert NEAREST not in said[0]
    assert FARTHEST not in said[2]


def test_one_that_may_be_there_must_be_agreed_to_be_farther_too(say):
    doubtful = {"score": 0.25, "mirror_score": 0.25}  # between the scores of possible and of askable objects
    assert NEAREST not in say(person(100, **at(2)), person(300, **at(9)), person(600, **doubtful))[0]
    assert not say(person(100, **at(2)), person(300, **at(9)), person(600, **at(20, **doubtful)))[0][NEAREST][3]


def test_a_network_and_a_reading_that_confirms_it_tell_the_nearest(say):
    def read(metres, ground):
        depths = [
            {"reading": "net", "mirrored": mirrored, "kind": "metric", "depth_model": "test:net"}
            | {"q10": 0.95 * metres, "q50": metres, "q90": 1.05 * metres}
            for mirrored in (False, True)
        ]
        return {"depth": depths, "ground_depth": ground, "mirror_ground_depth": ground}

    said = say(person(100, **read(2, 2)), person(600, **read(3, 2.2)))
    assert ranked(said[0]) == {NEAREST: (pytest.approx(1.0), 1, 0, True)}  # ground confirms by 1.1, as it must


def test_one_that_is_hidden_may_be_farther_than_it_reads(say):
    hidden = {"occlusion": 0.41}
    said = say(person(100, **at(2, **hidden)), person(600, **at(9)))
    assert (said[0][NEAREST][1:], said[1][FARTHEST][1:]) == ((2, 0, False), (2, 0, False))
    said = say(person(100, **at(2)), person(600, **at(9, **hidden)))
    assert (said[0][NEAREST][1:], said[1][FARTHEST][1:]) == ((1, 0, True), (1, 0, True))


def test_of_more_than_six_none_is_told_by_depth(say):
    assert NEAREST in say(*(person(150 * i, **at(2.0**i)) for i in range(6)))[0]
    assert say(*(person(140 * i, **at(2.0**i)) for i in range(7))) == {}


# --- a rank among those of a colour


def counted_off(texts):
    """Phrases by place among the red cars: {text: (value, matches, count_spread, is_clear)}."""
    return {text: told for text, told in texts.items() if re.search("(most|second|third) red car", text)}


def test_a_place_is_counted_off_among_those_of_a_colour(say):
    """Centres at 50, 70, 350, 550, 750: the first two are too close to be told apart, but one of them is blue."""
    said = say(car(0, "blue"), car(20, "red"), car(300, "red"), car(500, "blue"), car(700, "red", 0.75))
    assert counted_off(said[1]) == {
        "the leftmost red car": (pytest.approx(0.75 / 0.6), 1, 0, True)
    }  # the colour is less
    assert counted_off(said[2]) == {}  # it is the third car from either side, which is clear
    assert counted_off(said[4]) == {}
    assert not counted_off(said[0])


def test_the_second_of_a_colour_is_counted_from_either_side(say):
    """Centres at 50, 270, 290, 550, 710."""
    said = say(car(0, "red"), car(220, "red"), car(240, "green"), car(500, "red"), car(660, "red"))
    assert counted_off(said[1]) == {
        "the second red car from the left": (pytest.approx(0.9 / 0.6), 1, 0, True),
        "the third red car from the right": (pytest.approx(0.9 / 0.6), 1, 0, True),
    }


def test_one_that_may_be_of_the_colour_counts_only_where_it_comes_before(say):
    """The orange car at 850 may be called red: the second from the right may be the first, that from the left stays."""
    said = say(car(0, "red"), car(220, "red"), car(240, "green"), car(500, "red"), car(800, "orange"))
    assert counted_off(said[1]) == {
        "the second red car from the left": (pytest.approx(1.5), 1, 0, True),
        "the third red car from the right": (pytest.approx(1.5), 2, 0, False),
    }
    assert counted_off(said[4]) == {}


@pytest.mark.parametrize("color", ["orange", None])
def test_one_that_may_be_of_the_colour_and_lies_further_out_leaves_no_outermost(say, color):
    said = say(car(0, color, None), car(20, "green"), car(40, "red"), car(300, "red"))
    assert "the leftmost red car" not in said[2]
    assert "the leftmost red car" in say(car(0, "blue"), car(20, "green"), car(40, "red"), car(300, "red"))[2]


def test_a_colour_that_one_has_or_all_may_have_needs_no_rank(say):
    assert {*say(car(0, "red"), car(20, "blue"), car(300, "blue"))[0]} == {
        "the red car", "the leftmost car", "the largest car",
    }  # fmt: skip
    assert {*say(car(0, "red"), car(20, "red"), car(300, "orange"))[0]} == {"the leftmost car", "the largest car"}


def sized(x, side, color, **evidence):
    return ("car", (x, 100, x + side, 100 + side), {"color": color, "color_share": 0.9} | evidence)


def test_the_largest_of_a_colour_is_clearer_than_the_larger_ones_of_others(say):
    said = say(sized(0, 100, "red"), sized(200, 130, "red"), sized(400, 150, "blue"), sized(600, 90, "blue"))
    assert said[1]["the largest red car"] == (pytest.approx(1.69 / 1.5), 1, 0, True)
    assert said[0]["the smallest red car"] == (pytest.approx(1.69 / 1.5), 1, 0, True)
    hidden = sized(0, 100, "red", occlusion=0.5)
    said = say(hidden, sized(200, 130, "red"), sized(400, 150, "blue"), sized(600, 90, "blue"))
    assert said[1]["the largest red car"][1:] == (2, 0, False)


def test_the_nearest_of_a_colour_needs_no_depth_of_others(say):
    said = say(car(0, "red", **at(3)), car(200, "red", **at(6)), car(400, "blue"))
    assert ranked(said[0]) == {"the red car nearest to the camera": (pytest.approx(2 / 1.5), 1, 0, True)}
    assert ranked(said[1]) == {"the red car farthest from the camera": (pytest.approx(2 / 1.5), 1, 0, True)}
    unread = say(car(0, "red", **at(3)), car(200, "red", **at(6)), car(400, "blue"), car(600, None, None))
    assert ranked(unread[0]) == {}  # the last one may be red, and nearer


def test_a_weak_colour_leaves_a_clear_rank_unclear(say):
    said = say(car(0, "red", **at(3)), car(200, "red", **at(6)), car(400, "blue", 0.57))
    assert ranked(said[0])["the red car nearest to the camera"] == (pytest.approx(0.95), 1, 0, False)


def test_kinds_that_tell_what_is_asked_for_are_left_out_alone_and_with_a_colour():
    assert telling_none_of("size", "depth_rank") == ("class", "color", "ordinal", "side_of", "color_ordinal")
    assert telling_none_of() == KINDS


def truth(text, scene):
    """The numbers of the cars that a phrase may mean: one for each way in which doubtful colours may be called."""
    color = next((color for color in text.split() if color in NEIGHBORS), None)
    sure = {number for number, one in enumerate(scene) if color is None or one["color"] == color}
    doubtful = [
        number
        for number, one in enumerate(scene)
        if number not in sure and (one["color"] is None or one["color"] in NEIGHBORS[color])
    ]
    order = {
        "left": lambda one: one["x"], "right": lambda one: -one["x"],
        "largest": lambda one: -one["side"], "smallest": lambda one: one["side"],
        "nearest": lambda one: one["metres"], "farthest": lambda one: -one["metres"],
    }  # fmt: skip
    by = next((by for word, by in order.items() if re.search(rf"\b{word}(most)?\b", text)), None)
    place = next((place for place, word in enumerate(("second", "third"), 1) if word in text), 0)
    for chosen in product((False, True), repeat=len(doubtful)):
        members = sure | {number for number, is_one in zip(doubtful, chosen, strict=True) if is_one}
        if by is None:
            yield from members
        else:
            yield sorted(members, key=lambda number: by(scene[number]))[place]


cars = st.fixed_dictionaries(
    {
        "color": st.sampled_from(["red", "red", "blue", "blue", "orange", None]),
        "x": st.integers(0, 40).map(lambda step: 20 * step),
        "side": st.sampled_from([60, 80, 100, 130]),
        "metres": st.sampled_from([1, 2, 4, 8, 16]),
    }
)


parkings = st.lists(st.lists(cars, min_size=2, max_size=6, unique_by=lambda one: one["x"]), min_size=5, max_size=10)


@settings(max_examples=10, deadline=None)
@given(parkings)
def test_a_clear_phrase_means_its_car_whatever_doubtful_colours_are_called(say, drawn):
    """All boxes are centred at x + 100."""
    objects = [
        (photo, number, "car", (one["x"] + 100 - half, 100, one["x"] + 100 + half, 100 + one["side"]),
         {"image_id": f"hand/{photo}.jpg", "color": one["color"], "color_share": 0.9} | at(one["metres"]))
        for photo, scene in enumerate(drawn) for number, one in enumerate(scene) for half in [one["side"] / 2]
    ]  # fmt: skip
    said = say(*(thing for _, _, *thing in objects))
    for place, (photo, number, *_) in enumerate(objects):
        texts = said.get(place, {})
        assert len(texts) <= 12
        for text in (text for text, told in texts.items() if told[3]):
            assert set(truth(text, drawn[photo])) == {number}, text


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
    found = phrases(possible_objects(scenes, ForgeConfig()), entities(scenes, ForgeConfig()), ForgeConfig()).collect()
    assert found.height == 0
    assert found.schema["is_clear"] == pl.Boolean()
