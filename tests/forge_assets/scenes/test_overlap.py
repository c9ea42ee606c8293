"""How boxes stand to each other, with the areas written out."""

import pytest

from forge_assets.scenes.overlap import overlaps

BACK = (100, 100, 300, 300)  # 40 000 pixels


@pytest.fixture
def found(make_detections):
    def of(*objects):
        """Object number, overlap, occlusion, class conflict."""
        table = overlaps(make_detections(*objects)).sort("object_id")
        return [(int(name[-3:]), *values) for name, *values in table.rows()]

    return of


def test_boxes_that_do_not_touch_say_nothing_of_each_other(found):
    assert found(("dog", BACK, {}), ("cat", (300, 100, 400, 300), {}), ("cat", (100, 300, 300, 400), {})) == []


def test_the_box_that_reaches_lower_is_in_front(found):
    front = (200, 200, 400, 400)  # shares 100 x 100 = 10 000 of 40 000 with the one behind
    conflict = 10_000 / 70_000
    assert found(("dog", BACK, {}), ("cat", front, {})) == [
        (0, 0.25, 0.25, pytest.approx(conflict)),
        (1, 0.25, None, pytest.approx(conflict)),
    ]


def test_boxes_on_one_line_hide_nothing(found):
    assert [row[2] for row in found(("dog", BACK, {}), ("dog", (200, 100, 400, 300), {}))] == [None, None]


def test_the_largest_cover_counts_and_not_the_sum(found):
    rows = found(("dog", BACK, {}), ("dog", (100, 260, 300, 400), {}), ("dog", (100, 280, 300, 500), {}))
    assert rows[0][:3] == (0, pytest.approx(0.2), pytest.approx(0.2))


def test_a_box_in_front_that_covers_less_than_one_behind_counts_as_occlusion(found):
    behind, front = (100, 100, 300, 250), (100, 280, 300, 400)
    rows = found(("dog", BACK, {}), ("dog", behind, {}), ("dog", front, {}))
    assert rows[0][:3] == (0, pytest.approx(0.75), pytest.approx(0.1))


def test_two_readings_of_one_object_are_no_neighbours(found):
    twice = (100, 100, 300, 340)  # IoU 40 000 / 48 000 = 0.83
    assert found(("dog", BACK, {}), ("dog", twice, {"origin": "human"})) == []
    neighbour = (100, 100, 300, 360)  # IoU 40 000 / 52 000 = 0.77
    assert found(("dog", BACK, {}), ("dog", neighbour, {}))[0][:3] == (0, 1.0, 1.0)


def test_one_object_under_two_names_is_in_doubt(found):
    assert [row[3] for row in found(("dog", BACK, {}), ("cat", BACK, {}))] == [1.0, 1.0]


def test_boxes_of_one_class_are_no_rivals(found):
    assert [row[3] for row in found(("dog", BACK, {}), ("dog", (200, 200, 400, 400), {}))] == [None, None]


@pytest.mark.parametrize(
    ("score", "rival", "conflict"),
    [
        (0.5, {"score": 0.25}, 1.0),
        (0.9, {"score": 0.45}, 1.0),
        (0.9, {"score": 0.44}, None),  # less than half as sure as the box itself
        (0.3, {"score": 0.25}, 1.0),
        (0.3, {"score": 0.24}, None),  # unsure, however unsure the box itself is
        (0.9, {"score": None, "origin": "human"}, 1.0),
        (None, {"score": 0.5}, 1.0),  # a human box that no detection matches is sure
        (None, {"score": 0.49}, None),
    ],
)
def test_a_weak_rival_puts_nothing_into_doubt_but_a_human_one_does(found, score, rival, conflict):
    assert found(("dog", BACK, {"score": score}), ("cat", BACK, rival))[0] == (0, 1.0, None, conflict)


def test_boxes_of_other_photos_do_not_matter(found):
    assert found(("dog", BACK, {}), ("cat", BACK, {"image_id": "hand/other.jpg"})) == []
