"""Left-right, near-far and perspective: the right answer whichever object is named first."""

import re

import pytest

DOG, CAT = (100, 600, 300, 800), (500, 600, 700, 800)  # 200 pixels apart, centres 400 apart
PERSON = (450, 200, 550, 800)


def by_category(row, *categories):
    """The object ids that a row names, as categories: objects are numbered in the order of `categories`."""
    return [categories[int(name[-3:])] for name in row["object_ids"]]


# --- left-right


@pytest.mark.parametrize("order", [("dog", "cat"), ("cat", "dog")])
def test_the_side_is_that_of_the_object_named_first(ask, order):
    boxes = {"dog": DOG, "cat": CAT}
    (row,) = ask("left_right", *((category, boxes[category], {}) for category in order))
    first, second = by_category(row, *order)
    assert row["short_answer"] == {"dog": "left", "cat": "right"}[first]
    assert row["question"].index(f"the {first}") < row["question"].index(f"the {second}")
    assert sorted(row["choices"]) == ["left", "right"]
    assert row["question"].index(row["choices"][0]) < row["question"].rindex(row["choices"][1])
    assert row["boxes"] == [list(boxes[first]), list(boxes[second])]
    assert row["answer_object_ids"] == row["object_ids"][:1]


def test_gaps_are_shares_of_the_width(ask):
    mirror = {"mirror_x1": 90, "mirror_x2": 330}
    (row,) = ask("left_right", ("dog", DOG, mirror), ("cat", CAT, {}))
    evidence = row["evidence"]
    assert evidence["gap"] == pytest.approx(0.2)
    assert evidence["mirror_gap"] == pytest.approx(0.17)
    assert evidence["center_gap"] == pytest.approx(0.4)


@pytest.mark.parametrize(("x", "asked"), [(250, False), (300, False), (301, True)])
def test_only_boxes_that_lie_apart_in_x_are_asked_about(ask, x, asked):
    dog, cat = ("dog", (100, 100, 300, 300), {}), ("cat", (x, 600, x + 200, 800), {})
    for form in ("side", "side_yes_no", "where"):
        assert len(ask("left_right", dog, cat, form=form)) == asked


@pytest.mark.parametrize(("x", "asked"), [(290, False), (310, True)])
def test_only_an_outermost_that_lies_apart_from_all_others_is_asked_for(ask, x, asked):
    """The dog ends at 300 and the bus begins at 800: the cat, to x + 200, lies clear of the bus in any case."""
    objects = [
        ("dog", (100, 600, 300, 800), {}),
        ("cat", (x, 600, x + 200, 800), {}),
        ("bus", (800, 600, 900, 800), {}),
    ]
    assert len(ask("left_right", *objects, form="leftmost_of")) == asked
    assert len(ask("left_right", *objects, form="rightmost_of")) == 1


def test_boxes_across_the_middle_are_in_no_half(ask):
    assert ask("left_right", ("dog", (400, 600, 510, 800), {}), form="half") == []
    assert len(ask("left_right", ("dog", (400, 600, 490, 800), {}), form="half")) == 1


def test_pairs_that_overlap_take_no_place_from_pairs_that_lie_apart(ask):
    """Of the pairs of the surest three, who stand in one column, none can be verified; all three do with the cup."""
    column = [(name, (100, 300 * row, 300, 300 * row + 200), {}) for row, name in enumerate(("dog", "cat", "bird"))]
    cup = ("cup", (700, 100, 900, 300), {"score": 0.6})
    rows = ask("left_right", *column, cup, form="side", max_pairs_per_task=3)
    assert rows
    assert all("the cup" in row["question"] for row in rows)


def test_a_mirror_that_shows_the_other_order_has_a_negative_gap(ask):
    (row,) = ask("left_right", ("dog", DOG, {"mirror_x1": 800, "mirror_x2": 900}), ("cat", CAT, {}))
    assert row["evidence"]["mirror_gap"] == pytest.approx(-0.4)


def test_an_object_that_the_mirror_lacks_has_no_mirror_gap(ask):
    (row,) = ask("left_right", ("dog", DOG, {"mirror_x1": None, "mirror_x2": None}), ("cat", CAT, {}))
    assert row["evidence"]["mirror_gap"] is None


def test_boxes_that_people_drew_need_no_mirror(ask):
    human = {"origin": "human", "is_labeled": True, "score": None} | dict.fromkeys(
        ("mirror_x1", "mirror_x2", "mirror_iou")
    )
    (row,) = ask("left_right", ("dog", DOG, human), ("cat", CAT, human))
    evidence = row["evidence"]
    assert evidence["mirror_gap"] == evidence["gap"] == pytest.approx(0.2)
    assert (evidence["scores"], evidence["mirror_ious"]) == ([1.0, 1.0], [1.0, 1.0])


def test_two_of_one_class_are_not_told_apart_by_name(ask):
    assert ask("left_right", ("dog", DOG, {}), ("dog", CAT, {})) == []


def test_a_class_that_may_be_there_twice_names_nothing(ask):
    assert ask("left_right", ("dog", DOG, {}), ("cat", CAT, {}), ("cat", (800, 100, 900, 200), {"score": 0.2})) == []
    (row,) = ask(
        "left_right",
        ("dog", DOG, {}),
        ("cat", CAT, {}),
        ("cat", (800, 100, 900, 200), {"score": 0.19, "mirror_score": 0.19}),
    )
    assert row["evidence"]["same_category"] == 1


def test_objects_of_different_photos_are_never_compared(ask):
    for task in ("left_right", "near_far", "perspective"):
        elsewhere = {"image_id": "hand/other.jpg", "ground_depth": 5.0}
        assert ask(task, ("person", PERSON, {"ground_depth": 2.0, "facing": 0.9}), ("cat", CAT, elsewhere)) == []


# --- near-far


def depth(ground=None, height=None, network=()):
    """Evidence of distance; `network` has triples of quantiles, first of the photo, then of the mirror."""
    readings = [
        {
            "reading": "net", "mirrored": bool(place), "kind": "metric", "depth_model": "test:net",
            "q10": q10, "q50": q50, "q90": q90,
        }
        for place, (q10, q50, q90) in enumerate(network)
    ]  # fmt: skip
    return {
        "ground_depth": ground, "mirror_ground_depth": ground, "height_depth": height, "mirror_height_depth": height,
        "depth": readings,
    }  # fmt: skip


@pytest.mark.parametrize("order", [("dog", "cat"), ("cat", "dog")])
@pytest.mark.parametrize("nearer", ["dog", "cat"])
def test_the_nearer_or_the_farther_one_is_named_as_asked(ask, order, nearer):
    boxes = {"dog": DOG, "cat": CAT}
    objects = [(name, boxes[name], depth(ground=2.0 if name == nearer else 4.0)) for name in order]
    (row,) = ask("near_far", *objects)
    asked_nearer = "nearer" in row["question"] or "closer" in row["question"]
    assert asked_nearer != ("farther" in row["question"] or "further" in row["question"])
    farther = {"dog": "cat", "cat": "dog"}[nearer]
    answer = nearer if asked_nearer else farther
    assert row["short_answer"] == f"the {answer}"
    assert row["choices"] == [f"the {name}" for name in by_category(row, *order)]
    assert row["answer_object_ids"] == [f"hand/photo.jpg#d00{order.index(answer)}"]


def test_every_reading_tells_how_much_farther_the_farther_one_is(ask):
    dog = depth(ground=2.0, height=3.0, network=[(0.9, 1.0, 1.1), (0.9, 1.0, 1.2)])
    cat = depth(ground=4.0, height=9.0, network=[(2.2, 3.0, 3.5), (2.2, 5.0, 5.5)])
    (row,) = ask("near_far", ("dog", DOG, dog), ("cat", CAT, cat))
    assert [tuple(reading.values()) for reading in row["evidence"]["readings"]] == [
        ("class_height", pytest.approx(3.0), pytest.approx(3.0), None, 0),
        ("ground_contact", pytest.approx(2.0), pytest.approx(2.0), None, 0),
        ("net", pytest.approx(3.0), pytest.approx(5.0), pytest.approx(2.2 / 1.1), 0),
    ]
    assert row["evidence"]["models"] == ["test:detector", "test:net"]


def test_readings_that_disagree_are_weighed_and_the_weaker_one_contradicts(ask):
    dog, cat = depth(ground=2.0, height=4.0), depth(ground=3.0, height=2.0)  # by 1.5 the dog, by 2 the cat
    (row,) = ask("near_far", ("dog", DOG, dog), ("cat", CAT, cat))
    ratios = {reading["reading"]: reading["ratio"] for reading in row["evidence"]["readings"]}
    assert ratios == {"ground_contact": pytest.approx(1 / 1.5), "class_height": pytest.approx(2)}


def test_a_reading_counts_only_where_both_objects_have_it(ask):
    assert ask("near_far", ("dog", DOG, depth(ground=2.0)), ("cat", CAT, depth(height=4.0))) == []
    (row,) = ask("near_far", ("dog", DOG, depth(ground=2.0)), ("cat", CAT, depth(ground=4.0, height=4.0)))
    assert [reading["reading"] for reading in row["evidence"]["readings"]] == ["ground_contact"]


def test_objects_without_any_depth_are_not_asked_about(ask):
    assert ask("near_far", ("dog", DOG, {}), ("cat", CAT, {})) == []


def test_a_mirror_that_lacks_the_object_leaves_its_ratio_open(ask):
    dog = depth(ground=2.0) | {"mirror_ground_depth": None}
    (row,) = ask("near_far", ("dog", DOG, dog), ("cat", CAT, depth(ground=4.0)))
    (reading,) = row["evidence"]["readings"]
    assert (reading["ratio"], reading["mirror_ratio"]) == (pytest.approx(2), None)


def test_objects_of_one_class_are_named_by_their_place_in_the_row(ask):
    (row,) = ask("near_far", ("dog", DOG, depth(ground=2.0)), ("dog", CAT, depth(ground=4.0)))
    assert sorted(row["choices"]) == ["the leftmost dog", "the rightmost dog"]


def test_objects_without_a_clear_phrase_are_named_by_their_regions(ask):
    stacked = [("dog", (100, 100, 300, 300), depth(ground=2.0)), ("dog", (100, 600, 300, 800), depth(ground=4.0))]
    hiding = [("cat", (150, top, 250, top + 100), {"score": 0.2}) for top in (150, 650)]
    (row,) = ask("near_far", *stacked, *hiding)
    assert sorted(row["choices"]) == ["the dog at [100, 100, 300, 300]", "the dog at [100, 600, 300, 800]"]
    assert row["evidence"]["phrases"] == []


def test_objects_without_a_clear_phrase_may_be_named_by_a_point_that_lies_in_no_other_box(ask):
    names = {
        name
        for number in range(20)
        for row in ask(
            "near_far",
            ("dog", (100, 100, 300, 300), depth(ground=2.0) | {"image_id": f"hand/{number}.jpg"}),
            ("dog", (100, 600, 300, 800), depth(ground=4.0) | {"image_id": f"hand/{number}.jpg"}),
        )
        for name in row["choices"]
    }
    assert names == {
        "the dog at [100, 100, 300, 300]", "the dog at the point [200, 200]",
        "the dog at [100, 600, 300, 800]", "the dog at the point [200, 700]",
    }  # fmt: skip


def test_two_of_one_class_whose_regions_read_alike_are_not_asked_about(ask):
    human = {"origin": "human", "is_labeled": True, "is_truncated": True}
    shifted = tuple(side + 0.25 for side in DOG)
    assert ask("near_far", ("dog", DOG, human | depth(ground=2.0)), ("dog", shifted, human | depth(ground=4.0))) == []


def agreed(metres):
    return depth(ground=metres, height=metres)


def test_pairs_on_which_readings_agree_come_before_those_of_surer_objects(ask):
    """Heights put the dog and the cat the other way round; only with the bird, which is less sure, do all agree."""
    dog, cat = depth(ground=2.0, height=4.0), depth(ground=3.0, height=2.0)
    bird = agreed(20.0) | {"score": 0.6}
    objects = [("dog", DOG, dog), ("cat", CAT, cat), ("bird", (750, 100, 900, 300), bird)]
    rows = [row for form in ("nearer", "farther") for row in ask("near_far", *objects, form=form, max_pairs_per_task=2)]
    assert rows
    assert all("the bird" in row["choices"] for row in rows)


def test_names_that_tell_a_depth_are_not_used_to_ask_for_one(ask):
    """Two dogs on one spot, told apart by depth alone."""
    dogs = [("dog", (100, 600, 300, 800), agreed(metres)) for metres in (2.0, 6.0)]
    bus = ("bus", (600, 100, 800, 300), agreed(20.0))
    told = {row["evidence"]["phrases"][0]["text"] for row in ask("grounding", *dogs, bus, form="one")}
    assert told >= {"the dog nearest to the camera", "the dog farthest from the camera"}
    for form in ("nearer", "farther", "front_yes_no", "compare", "nearest_of", "order"):
        assert not any("the camera" in phrase["text"] for row in ask("near_far", *dogs, bus, form=form)
                       for phrase in row["evidence"]["phrases"])  # fmt: skip
    assert {row["evidence"]["phrases"][place]["text"] for row in ask("left_right", *dogs, bus) for place in (0, 1)} == {
        "the bus", "the dog nearest to the camera", "the dog farthest from the camera",
    }  # fmt: skip
    person = ("person", PERSON, agreed(4.0) | {"facing": 0.9, "mirror_facing": 0.9, "facing_score": 0.8})
    asked = {row["evidence"]["phrases"][1]["text"] for row in ask("perspective", person, *dogs, bus)}
    assert asked == {"the bus"}


# --- perspective


@pytest.mark.parametrize(
    ("facing", "box", "side"),
    [
        (0.9, DOG, "right"),  # to the left in the picture of one who looks at us: their right
        (0.9, (600, 600, 800, 800), "left"),
        (-0.9, DOG, "left"),
        (-0.9, (600, 600, 800, 800), "right"),
    ],
)
def test_the_side_is_the_persons_own(ask, facing, box, side):
    turned = {"facing": facing, "mirror_facing": facing, "facing_score": 0.8}
    for objects in ([("person", PERSON, turned), ("dog", box, {})], [("dog", box, {}), ("person", PERSON, turned)]):
        (row,) = ask("perspective", *objects)
        assert row["short_answer"] == side
        assert by_category(row, *(name for name, _, _ in objects)) == ["person", "dog"]
        assert "the person" in row["question"]
        assert "the dog" in row["question"]
        assert (row["evidence"]["facing"], row["evidence"]["facing_score"]) == (facing, 0.8)
        assert (row["choices"][0], row["choices"][1]) in (("left", "right"), ("right", "left"))


def test_gaps_of_perspective_are_those_of_the_picture(ask):
    (row,) = ask("perspective", ("person", PERSON, {"facing": 0.9}), ("dog", DOG, {"mirror_x2": 400}))
    assert row["evidence"]["gap"] == pytest.approx(0.15)
    assert row["evidence"]["mirror_gap"] == pytest.approx(0.05)


def test_people_whose_turn_is_unknown_and_other_people_are_not_asked_about(ask):
    assert ask("perspective", ("person", PERSON, {}), ("dog", DOG, {})) == []
    assert ask("perspective", ("person", PERSON, {"facing": 0.9}), ("person", DOG, {"facing": -0.9})) == []
    assert ask("perspective", ("dog", PERSON, {"facing": 0.9}), ("cat", DOG, {})) == []


def test_one_of_several_people_is_named_by_a_phrase_and_the_object_must_have_one_that_tells_no_place(ask):
    people = [("person", PERSON, {"facing": 0.9}), ("person", (800, 200, 900, 800), {})]
    (row,) = ask("perspective", *people, ("dog", DOG, {}))
    assert "the leftmost person" in row["question"]
    assert [phrase["text"] for phrase in row["evidence"]["phrases"]] == ["the leftmost person", "the dog"]
    assert ask("perspective", *people, ("dog", DOG, {}), ("dog", CAT, {})) == []
    larger = ("dog", (100, 500, 350, 800), {})
    rows = ask("perspective", *people, larger, ("dog", (600, 700, 700, 800), {}))
    assert {row["evidence"]["phrases"][1]["text"] for row in rows} == {"the largest dog", "the smallest dog"}


def test_sides_are_asked_only_of_boxes_that_lie_apart_from_the_person(ask):
    person = ("person", PERSON, {"facing": 0.9, "mirror_facing": 0.9, "facing_score": 0.8})
    for form in ("own_side", "own_side_yes_no", "tell_side", "turn"):
        assert ask("perspective", person, ("dog", (300, 600, 451, 800), {}), form=form) == []
        assert len(ask("perspective", person, ("dog", (300, 600, 449, 800), {}), form=form)) == 1


@pytest.mark.parametrize(
    ("facing", "metres", "is_towards"), [(0.9, 2.0, True), (0.9, 8.0, False), (-0.9, 2.0, False), (-0.9, 8.0, True)]
)
def test_one_faces_what_lies_in_the_direction_of_the_face(ask, facing, metres, is_towards):
    """Who looks at us faces what is nearer to us, who is seen from behind what is farther; the boxes may overlap."""
    objects = []
    for number in range(16):
        photo = {"image_id": f"hand/{number}.jpg", "image_sha256": f"{number:064x}"}
        turned = photo | agreed(4.0) | {"facing": facing, "mirror_facing": facing, "facing_score": 0.8}
        objects += [("person", PERSON, turned), ("bicycle", (400, 700, 550, 900), photo | agreed(metres))]
    rows = ask("perspective", *objects, form="facing_yes_no")
    claims = [re.search(r"\b(facing towards|face)\b", row["question"]) is not None for row in rows]
    assert len(rows) == 16
    assert set(claims) == {True, False}
    for row, claims_face in zip(rows, claims, strict=True):
        assert claims_face != (re.search(r"\b(turned away from|back)\b", row["question"]) is not None)
        assert row["short_answer"] == ("yes" if claims_face == is_towards else "no")
        assert (row["answer_kind"], row["evidence"]["gap"]) == ("yes_no", None)
        assert row["evidence"]["center_gap"] == pytest.approx(0.025)  # centres at 500 and 475
        assert {round(one["ratio"], 6) for one in row["evidence"]["readings"]} == {2}


@pytest.mark.parametrize("doubt", [{"facing": 0.7}, {"mirror_facing": 0.7}, "offset", "depth"])
def test_pairs_that_can_be_told_in_front_or_behind_come_first(ask, doubt):
    """Of two people of one turn before two things in line, one person is surer but turned aside, or off the line."""
    turned = agreed(4.0) | {"facing": 0.9, "mirror_facing": 0.9, "facing_score": 0.8}
    sure = turned | (doubt if isinstance(doubt, dict) else {}) | (agreed(2.2) if doubt == "depth" else {})
    place = 300 if doubt == "offset" else 460
    people = [
        ("person", (place, 200, place + 80, 600), sure),
        ("person", (500, 250, 600, 900), turned | {"score": 0.6}),
    ]
    (row,) = ask(
        "perspective", *people, ("dog", (480, 700, 580, 900), agreed(2.0)), form="front_or_behind", max_pairs_per_task=6
    )[:1]
    assert row["object_ids"][0].endswith("d001")


def test_without_depth_none_is_asked_whether_they_face_anything(ask):
    person = ("person", PERSON, {"facing": 0.9, "mirror_facing": 0.9, "facing_score": 0.8})
    assert ask("perspective", person, ("dog", DOG, {}), form="facing_yes_no") == []
