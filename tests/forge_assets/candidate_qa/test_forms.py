"""Each form of each task on a hand-made scene, with the geometry written out."""

import json
import re

import pytest

DOG, CAT, BUS = (100, 600, 300, 800), (500, 600, 700, 800), (750, 100, 950, 400)
TURNED = {"facing": 0.9, "mirror_facing": 0.9, "facing_score": 0.8}
LABELED = {"origin": "human", "is_labeled": True, "score": None}


def at(metres):
    return {f"{mirror}{kind}_depth": metres for mirror in ("", "mirror_") for kind in ("ground", "height")}


def person(x, **evidence):
    return ("person", (x, 200, x + 100, 600), evidence)


def car(x, color, y=100):
    return ("car", (x, y, x + 100, y + 100), {"color": color, "color_share": 0.9})


def numbers(ids):
    return [int(one[-3:]) for one in ids]


# --- grounding


def test_a_phrase_is_answered_by_one_box(ask):
    rows = ask("grounding", person(0), person(300), person(700), form="one", max_pairs_per_task=30)
    (row,) = [row for row in rows if "second person from the left" in row["question"]]
    assert json.loads(row["short_answer"]) == [{"bbox_2d": [300, 200, 400, 600], "label": "person"}]
    (phrase,) = row["evidence"]["phrases"]
    assert (phrase["kind"], phrase["matches"], phrase["count_spread"]) == ("ordinal", 1, 0)
    assert phrase["value"] == pytest.approx(0.3)
    assert row["categories"] == ["person"]


def test_all_of_a_colour_are_located_and_rest_on_all_of_the_class(ask):
    (row,) = ask("grounding", car(100, "red"), car(300, "blue"), car(500, "red"), form="every_colored")
    assert [item["bbox_2d"][0] for item in json.loads(row["short_answer"])] == [100, 500]
    assert numbers(row["object_ids"]) == [0, 1, 2]
    assert numbers(row["answer_object_ids"]) == [0, 2]
    assert "red car" in row["question"]
    assert [phrase["matches"] for phrase in row["evidence"]["phrases"]] == [1]


def test_a_car_whose_colour_is_not_known_may_be_one_more(ask):
    rows = ask("grounding", car(100, "red"), car(300, None), car(500, "red"), form="every_colored")
    assert [row["evidence"]["phrases"][0]["matches"] for row in rows] == [2]


def test_one_of_several_boxes_is_what_a_phrase_says(ask):
    rows = ask("grounding", ("dog", DOG, {}), ("cat", CAT, {}), ("bus", BUS, {}), form="which_box")
    for row in rows:
        assert sorted(row["choices"]) == ["[100, 600, 300, 800]", "[500, 600, 700, 800]", "[750, 100, 950, 400]"]
        assert row["short_answer"] == str(row["boxes"][0])
        assert all(choice in row["question"] for choice in row["choices"])
        assert row["categories"][0] in row["question"]


def test_a_box_of_the_same_place_is_no_wrong_option(ask):
    assert ask("grounding", ("dog", DOG, {}), ("cat", (100, 600, 300, 810), {}), form="which_box") == []


@pytest.mark.parametrize(("task", "form"), [("grounding", "box_yes_no"), ("referring", "phrase_yes_no")])
def test_a_box_shows_what_is_claimed_or_certainly_something_else(ask, task, form):
    boxes = {"dog": DOG, "cat": CAT, "bus": BUS}
    seen = set()
    for number in range(8):
        objects = [(name, box, {"image_sha256": f"{number:064x}"}) for name, box in boxes.items()]
        for row in ask(task, *objects, form=form):
            (claimed,) = [name for name in boxes if f"the {name}" in row["question"]]
            shown = re.search(r"\[[\d, ]+\]", row["question"])[0]
            assert row["short_answer"] == ("yes" if shown == str(list(boxes[claimed])) else "no")
            assert len(row["object_ids"]) == (1 if row["short_answer"] == "yes" else 2)
            assert str(row["boxes"][0]) == shown
            seen.add(row["short_answer"])
    assert seen == {"yes", "no"}


def test_an_object_without_another_is_not_asked_about_by_yes_and_no(ask):
    assert ask("grounding", ("dog", DOG, {}), form="box_yes_no") == []


# --- referring


def test_wrong_phrases_are_clear_phrases_of_other_objects(ask):
    rows = ask("referring", ("dog", DOG, {}), ("cat", CAT, {}), ("bus", BUS, {}), form="which_phrase")
    assert len(rows) == 3
    for row in rows:
        assert sorted(row["choices"]) == ["the bus", "the cat", "the dog"]
        assert row["short_answer"] == f"the {row['categories'][0]}"
        assert sorted(phrase["text"] for phrase in row["evidence"]["phrases"]) == sorted(row["choices"])


# --- counting


def test_a_number_is_one_of_four_neighbours(ask):
    (row,) = ask("counting", person(0), person(300), form="number_choice")
    options = sorted(map(int, row["choices"]))
    assert options == list(range(options[0], options[0] + 4))
    assert row["short_answer"] == "2"
    assert "2" in row["choices"]


def test_a_number_is_claimed_rightly_or_off_by_one(ask):
    for number in range(8):
        evidence = {"image_sha256": f"{number:064x}"}
        (row,) = ask("counting", person(0, **evidence), person(300, **evidence), form="number_yes_no")
        claimed = int(re.search(r"\d+", row["question"])[0])
        assert (claimed == 2) == (row["short_answer"] == "yes")
        assert claimed in (1, 2, 3)
        assert "1 people" not in row["question"]


def test_those_of_a_colour_are_counted(ask):
    rows = ask("counting", car(100, "red"), car(300, "blue"), car(500, "red"), form="colored")
    assert {re.search("red|blue", row["question"])[0]: row["short_answer"] for row in rows} == {"red": "2", "blue": "1"}
    assert all(len(row["object_ids"]) == 3 for row in rows)


def test_those_in_one_half_are_counted_if_all_lie_clear_of_the_middle(ask):
    (row,) = ask("counting", person(0), person(300), person(600), form="half")
    assert row["short_answer"] == ("2" if "left half" in row["question"] else "1")
    assert row["evidence"]["gap"] == pytest.approx(0.1)  # of the second, whose box ends at 400, and of the third
    assert ask("counting", person(0), person(450), form="half") == []


def test_those_nearer_than_another_object_are_counted_by_the_readings_of_each(ask):
    bus = ("bus", BUS, at(5))
    (row,) = ask("counting", person(0, **at(2)), person(200, **at(9)), person(500, **at(3)), bus, form="nearer_than")
    assert row["short_answer"] == "2"
    assert numbers(row["answer_object_ids"]) == [0, 2]
    assert numbers(row["object_ids"]) == [0, 1, 2, 3]
    assert [(one["pair"], one["ratio"]) for one in row["evidence"]["readings"]] == [
        (pair, pytest.approx(ratio)) for pair, ratio in ((0, 2.5), (0, 2.5), (1, 1.8), (1, 1.8), (2, 5 / 3), (2, 5 / 3))
    ]
    assert ask("counting", person(0, **at(2)), person(200), bus, form="nearer_than") == []


def test_an_absent_class_that_one_would_expect_is_counted_none(ask):
    rows = ask("counting", ("bus", BUS, {}), form="zero")
    assert len(rows) == 2
    for row in rows:
        assert (row["short_answer"], row["object_ids"], row["answer_object_ids"]) == ("0", [], [])
        assert row["category"] in ("bicycle", "motorcycle", "fire hydrant", "stop sign", "dog", "airplane")


@pytest.mark.parametrize("seen", [("motorcycle", 0.1), ("bicycle", 0.1)])
def test_a_class_that_the_weakest_box_may_show_and_its_lookalikes_are_not_called_absent(ask, seen):
    category, score = seen
    asked = {
        row["category"]
        for number in range(12)
        for row in ask(
            "counting",
            ("bus", BUS, {"image_sha256": f"{number:064x}"}),
            (category, DOG, {"score": score, "image_sha256": f"{number:064x}"}),
            form="zero",
        )
    }
    assert asked
    assert not asked & {"motorcycle", "bicycle", "car", "truck", "train", "bus"}


def test_nothing_is_called_absent_from_labels_nor_from_a_photo_in_doubt_nor_if_switched_off(ask):
    assert ask("counting", ("bus", BUS, LABELED), form="zero") == []
    assert ask("counting", ("bus", BUS, {"score": 0.59}), form="zero") == []
    assert ask("counting", ("bus", BUS, {}), form="zero", zero_counts=False) == []


# --- near-far

THREE = [("dog", DOG, at(2)), ("cat", CAT, at(4)), ("bus", BUS, at(8))]


def test_the_nearest_of_three_rests_on_its_pairs_with_both_others(ask):
    (row,) = ask("near_far", *THREE, form="nearest_of")
    assert row["short_answer"] == "the dog"
    assert sorted(row["choices"]) == ["the bus", "the cat", "the dog"]
    assert all(choice in row["question"] for choice in row["choices"])
    assert sorted((one["pair"], round(one["ratio"])) for one in row["evidence"]["readings"]) in (
        [(0, 2), (0, 2), (1, 4), (1, 4)],
        [(0, 4), (0, 4), (1, 2), (1, 2)],
    )


def test_the_farthest_of_three_rests_on_its_pairs_with_both_others(ask):
    (row,) = ask("near_far", *THREE, form="farthest_of")
    assert row["short_answer"] == "the bus"
    assert {round(one["ratio"]) for one in row["evidence"]["readings"]} == {2, 4}


def test_an_order_rests_on_neighbours_and_names_the_nearest_first(ask):
    (row,) = ask("near_far", *THREE, form="order")
    assert "the dog, the cat, the bus" in row["short_answer"]
    assert numbers(row["answer_object_ids"]) == [0, 1, 2]
    assert [(one["pair"], round(one["ratio"])) for one in row["evidence"]["readings"]] == [
        (0, 2),
        (0, 2),
        (1, 2),
        (1, 2),
    ]


def test_objects_of_which_a_pair_shares_no_reading_are_not_ordered(ask):
    ground = {"ground_depth": 4.0, "mirror_ground_depth": 4.0}
    height = {"height_depth": 9.0, "mirror_height_depth": 9.0}
    for form in ("nearest_of", "farthest_of", "order"):
        assert ask("near_far", ("dog", DOG, at(2)), ("cat", CAT, ground), ("bus", BUS, height), form=form) == []


def test_whether_one_is_nearer_is_asked_and_told(ask):
    (row,) = ask("near_far", *THREE[:2], form="front_yes_no")
    assert row["short_answer"] == (
        "yes" if row["question"].index("the dog") < row["question"].index("the cat") else "no"
    )
    (row,) = ask("near_far", *THREE[:2], form="compare")
    assert row["answer_kind"] == "text"
    assert numbers(row["answer_object_ids"]) == [0]


# --- left-right


def test_the_outermost_of_three_stands_apart_from_the_next(ask):
    objects = [("dog", DOG, {}), ("cat", CAT, {}), ("bus", BUS, {})]
    (left,) = ask("left_right", *objects, form="leftmost_of")
    assert left["short_answer"] == "the dog"
    assert left["evidence"]["gap"] == pytest.approx(0.2)  # 300 to 500
    assert left["evidence"]["center_gap"] == pytest.approx(0.4)
    (right,) = ask("left_right", *objects, form="rightmost_of")
    assert right["short_answer"] == "the bus"
    assert right["evidence"]["mirror_gap"] == pytest.approx(0.05)  # 700 to 750


def test_an_object_that_the_mirror_lacks_leaves_the_gap_open(ask):
    objects = [("dog", DOG, {}), ("cat", CAT, {"mirror_x1": None, "mirror_x2": None}), ("bus", BUS, {})]
    (row,) = ask("left_right", *objects, form="leftmost_of")
    assert row["evidence"]["mirror_gap"] is None


def test_the_half_is_told_with_its_distance_from_the_middle(ask):
    (row,) = ask("left_right", ("dog", DOG, {}), form="half")
    assert (row["short_answer"], sorted(row["choices"])) == ("left", ["left", "right"])
    assert row["evidence"]["gap"] == pytest.approx(0.2)
    assert row["evidence"]["center_gap"] == pytest.approx(0.3)


def test_a_side_is_claimed_rightly_or_the_wrong_way_round(ask):
    for number in range(8):
        evidence = {"image_sha256": f"{number:064x}"}
        (row,) = ask("left_right", ("dog", DOG, evidence), ("cat", CAT, evidence), form="side_yes_no")
        dog_first = row["question"].index("the dog") < row["question"].index("the cat")
        claimed = re.findall(r"\b(?:left|right)\b", row["question"].replace("Is that right?", ""))[-1]
        assert (row["short_answer"] == "yes") == ((claimed == "left") == dog_first)


def test_the_side_is_told_openly(ask):
    (row,) = ask("left_right", ("dog", DOG, {}), ("cat", CAT, {}), form="where")
    side = "left" if numbers(row["object_ids"]) == [0, 1] else "right"
    assert re.findall(r"\b(?:left|right)\b", row["short_answer"]) == [side]


def test_names_that_tell_a_place_are_not_used_to_ask_for_one(ask):
    people = [person(0), person(300), person(700)]
    for form in ("side", "side_yes_no", "where", "leftmost_of", "rightmost_of"):
        assert ask("left_right", *people, ("dog", DOG, {}), form=form) == []


# --- perspective


@pytest.mark.parametrize(
    ("facing", "x", "side"), [(0.9, 100, "right"), (0.9, 700, "left"), (-0.9, 100, "left"), (-0.9, 700, "right")]
)
def test_one_turns_to_the_side_on_which_the_object_is(ask, facing, x, side):
    turned = TURNED | {"facing": facing, "mirror_facing": facing}
    objects = [person(450, **turned), ("dog", (x, 600, x + 150, 800), {})]
    (row,) = ask("perspective", *objects, form="turn")
    assert row["short_answer"] == side
    (row,) = ask("perspective", *objects, form="tell_side")
    assert re.findall(r"\b(?:left|right)\b", row["short_answer"])[-1] == side
    (row,) = ask("perspective", *objects, form="own_side_yes_no")
    claimed = re.findall(r"\b(?:left|right)\b", row["question"])[-1]
    assert row["short_answer"] == ("yes" if claimed == side else "no")


@pytest.mark.parametrize(
    ("facing", "metres", "where"),
    [(0.9, 2, "in front"), (0.9, 8, "behind"), (-0.9, 2, "behind"), (-0.9, 8, "in front")],
)
def test_in_front_is_where_the_face_is_turned_and_the_depth_says_so(ask, facing, metres, where):
    turned = TURNED | at(4) | {"facing": facing, "mirror_facing": facing}
    (row,) = ask(
        "perspective", person(450, **turned), ("dog", (400, 700, 550, 900), at(metres)), form="front_or_behind"
    )
    assert row["short_answer"] == where
    assert sorted(row["choices"]) == ["behind", "in front"]
    assert row["evidence"]["center_gap"] == pytest.approx(0.025)  # centres at 500 and 475
    assert {round(one["ratio"], 6) for one in row["evidence"]["readings"]} == {2}


def test_without_depth_nothing_is_asked_of_in_front(ask):
    assert ask("perspective", person(450, **TURNED), ("dog", DOG, {}), form="front_or_behind") == []
