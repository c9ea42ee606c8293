"""What known truth says of hand-made pairs: right, wrong, or nothing."""

import numpy as np
import polars as pl
import pytest

from forge_assets.calibration.truth import boxes_of, judge_by_boxes, judge_by_depth, read_depth
from forge_assets.tables import CANDIDATE_QA, RAW_IMAGES

PHOTO = "hand/photo.jpg"
DOG, OTHER_DOG, CAT = (0.1, 0.6, 0.3, 0.8), (0.6, 0.6, 0.8, 0.8), (0.5, 0.1, 0.7, 0.3)
TRUTH = {PHOTO: {"dog": [DOG], "cat": [CAT], "bus": [DOG, OTHER_DOG]}}


def thousandths(box):
    return [round(1000 * side) for side in box]


def pair(task, answer, *objects, template_id="near_far.nearer.v1", answer_object=0, image_id=PHOTO):
    """A candidate about (category, box) objects, and their categories by id."""
    names = [f"#{index}" for index in range(len(objects))]
    row = dict.fromkeys(CANDIDATE_QA) | {
        "image_id": image_id, "task": task, "answer": answer, "template_id": template_id, "object_ids": names,
        "answer_object_ids": [names[answer_object]], "boxes": [thousandths(box) for _, box in objects],
    }  # fmt: skip
    return pl.DataFrame([row], schema=dict(CANDIDATE_QA)), dict(zip(names, (name for name, _ in objects), strict=True))


def by_boxes(task, answer, *objects, **more):
    pairs, categories = pair(task, answer, *objects, **more)
    return judge_by_boxes(pairs, TRUTH, categories).item()


# --- human boxes


def test_a_count_is_right_where_people_drew_as_many():
    assert by_boxes("counting", "1", ("dog", DOG)) is True
    assert by_boxes("counting", "2", ("dog", DOG)) is False
    assert by_boxes("counting", "2", ("bus", DOG)) is True
    assert by_boxes("counting", "1", ("zebra", DOG)) is False


def test_grounding_is_right_where_every_box_is_found_and_none_is_left():
    assert by_boxes("grounding", "", ("bus", DOG), ("bus", OTHER_DOG)) is True
    assert by_boxes("grounding", "", ("bus", OTHER_DOG), ("bus", DOG)) is True
    assert by_boxes("grounding", "", ("bus", DOG)) is False
    assert by_boxes("grounding", "", ("bus", DOG), ("bus", CAT)) is False
    assert by_boxes("grounding", "", ("bus", DOG), ("bus", DOG)) is False
    assert by_boxes("grounding", "", ("dog", DOG), ("dog", OTHER_DOG)) is False


def test_a_box_is_found_from_half_overlap_on():
    half = (0.1, 0.6, 0.2, 0.8)  # half of the dog's box: IoU 0.5
    assert by_boxes("referring", "", ("dog", half)) is True
    assert by_boxes("referring", "", ("dog", (0.1, 0.6, 0.199, 0.8))) is False


def test_referring_needs_the_only_object_of_its_class():
    assert by_boxes("referring", "", ("dog", DOG)) is True
    assert by_boxes("referring", "", ("bus", DOG)) is False
    assert by_boxes("referring", "", ("cat", DOG)) is False
    assert by_boxes("referring", "", ("zebra", DOG)) is False


def test_left_and_right_are_those_of_the_human_boxes():
    assert by_boxes("left_right", "left", ("dog", DOG), ("cat", CAT)) is True
    assert by_boxes("left_right", "right", ("dog", DOG), ("cat", CAT)) is False
    assert by_boxes("left_right", "right", ("cat", CAT), ("dog", DOG)) is True
    assert by_boxes("left_right", "left", ("cat", CAT), ("dog", DOG)) is False


def test_a_side_of_something_that_is_not_there_or_there_twice_is_wrong():
    assert by_boxes("left_right", "left", ("bus", DOG), ("cat", CAT)) is False
    assert by_boxes("left_right", "left", ("dog", DOG), ("zebra", CAT)) is False
    assert by_boxes("left_right", "left", ("dog", DOG), ("cat", OTHER_DOG)) is False


def test_boxes_say_nothing_of_depth_and_turn():
    assert by_boxes("near_far", "the dog", ("dog", DOG), ("cat", CAT)) is None
    assert by_boxes("perspective", "left", ("dog", DOG), ("cat", CAT)) is None


def test_a_labelled_photo_without_objects_makes_every_pair_wrong():
    assert by_boxes("grounding", "", ("dog", DOG), image_id="hand/empty.jpg") is False


def test_human_boxes_come_as_shares_of_the_photo_by_class():
    def label(number, category, box):
        return {"label_id": str(number), "category": category, "is_crowd": False} | dict(
            zip(("x1", "y1", "x2", "y2"), box, strict=True)
        )

    names = ("image_id", "width", "height", "labels")
    labels = [
        label(0, "dog", (20.0, 60.0, 60.0, 80.0)),
        label(1, "cat", (0.0, 0.0, 200.0, 100.0)),
        label(2, "dog", (0.0,) * 4),
    ]
    photos = pl.DataFrame(
        [(PHOTO, 200, 100, labels), ("hand/empty.jpg", 5, 5, [])],
        schema={name: RAW_IMAGES[name] for name in names},
        orient="row",
    )
    assert boxes_of(photos) == {
        PHOTO: {"dog": [(0.1, 0.6, 0.3, 0.8), (0, 0, 0, 0)], "cat": [(0, 0, 1, 1)]},
        "hand/empty.jpg": {},
    }


# --- measured depth

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def by_depth(left, right, *, template, answer_object, order=(LEFT, RIGHT), known=1.0):
    """Judge a pair about the left and the right half of a photo with these depths; `known` is the share measured."""
    depth = np.full((10, 20), np.nan, np.float32)
    rows = round(10 * known)
    depth[:rows, :10], depth[:rows, 10:] = left, right
    pairs, _ = pair(
        "near_far",
        "",
        *(("dog", box) for box in order),
        template_id=f"near_far.{template}.v1",
        answer_object=answer_object,
    )
    return judge_by_depth(pairs, {PHOTO: depth}).item()


@pytest.mark.parametrize("template", ["nearer", "closer"])
def test_the_nearer_one_is_right_where_nearer_is_asked(template):
    assert by_depth(2, 4, template=template, answer_object=0) is True
    assert by_depth(2, 4, template=template, answer_object=1) is False
    assert by_depth(4, 2, template=template, answer_object=1) is True
    assert by_depth(2, 4, template=template, answer_object=1, order=(RIGHT, LEFT)) is True


@pytest.mark.parametrize("template", ["farther", "further_away"])
def test_the_farther_one_is_right_where_farther_is_asked(template):
    assert by_depth(2, 4, template=template, answer_object=1) is True
    assert by_depth(2, 4, template=template, answer_object=0) is False


def test_a_tie_is_neither_right_nor_wrong():
    assert by_depth(2.0, 2.09, template="nearer", answer_object=0) is None
    assert by_depth(2.0, 2.11, template="nearer", answer_object=0) is True
    assert by_depth(2.11, 2.0, template="nearer", answer_object=0) is False


def test_depth_that_was_not_measured_says_nothing():
    assert by_depth(2, np.nan, template="nearer", answer_object=0) is None
    # rows 2 to 7 of 10 lie inside the boxes: 3 measured rows are one of 6, 4 are two
    assert by_depth(2, 4, template="nearer", answer_object=0, known=0.3) is None
    assert by_depth(2, 4, template="nearer", answer_object=0, known=0.4) is True


def test_other_tasks_and_photos_without_depth_are_unknown():
    left_right, _ = pair("left_right", "left", ("dog", LEFT), ("cat", RIGHT))
    near_far, _ = pair("near_far", "", ("dog", LEFT), ("cat", RIGHT), image_id="hand/other.jpg")
    depths = {PHOTO: np.ones((10, 10), np.float32)}
    assert judge_by_depth(pl.concat([left_right, near_far]), depths).to_list() == [None, None]


@pytest.mark.parametrize(("form", "first_is_right"), [("nearer", True), ("farther", False)])
def test_every_near_far_template_is_judged_by_what_it_asks(form, first_is_right):
    from forge_assets.candidate_qa.templates import templates

    for template in templates().filter(task="near_far", form=form)["template_id"].str.split(".").list.get(1):
        assert by_depth(2, 4, template=template, answer_object=0) is first_is_right, template


def test_measured_depth_is_read_with_unknown_pixels_left_open(tmp_path):
    np.savez(tmp_path / "a_gt.npz", gt=np.array([[2.0, 0.0], [4.0, -1.0]]))
    np.testing.assert_array_equal(read_depth(tmp_path, "a", "depth_m"), np.float32([[2, np.nan], [4, np.nan]]))
    np.testing.assert_array_equal(
        read_depth(tmp_path, "a", "disparity_px"), np.float32([[0.5, np.nan], [0.25, np.nan]])
    )
