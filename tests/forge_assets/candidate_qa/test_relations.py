"""Left-right, near-far and perspective: the right answer whichever object is named first."""

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
    assert row["answer"] == {"dog": "left", "cat": "right"}[first]
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


def test_boxes_that_overlap_in_x_have_a_negative_gap(ask):
    (row,) = ask("left_right", ("dog", (100, 100, 300, 300), {}), ("cat", (250, 600, 450, 800), {}))
    assert row["evidence"]["gap"] == pytest.approx(-0.05)


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
    (row,) = ask("left_right", ("dog", DOG, {}), ("cat", CAT, {}), ("cat", (800, 100, 900, 200), {"score": 0.19}))
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
    assert row["answer"] == f"the {answer}"
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
        assert row["answer"] == side
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
