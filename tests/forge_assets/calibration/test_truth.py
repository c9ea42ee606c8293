"""Truth as it lies in folders, and what of it a box sees."""

import json

import numpy as np
import polars as pl
import pytest

from forge_assets.calibration.truth import (
    CalibrationError,
    all_matched,
    boxes_of,
    depth_index,
    is_same,
    median_depth,
    read_depth,
)
from forge_assets.tables import RAW_IMAGES

DOG, OTHER_DOG = (0.1, 0.6, 0.3, 0.8), (0.6, 0.6, 0.8, 0.8)


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
        [("hand/photo.jpg", 200, 100, labels), ("hand/empty.jpg", 5, 5, [])],
        schema={name: RAW_IMAGES[name] for name in names},
        orient="row",
    )
    assert boxes_of(photos) == {
        "hand/photo.jpg": {"dog": [(0.1, 0.6, 0.3, 0.8), (0, 0, 0, 0)], "cat": [(0, 0, 1, 1)]},
        "hand/empty.jpg": {},
    }


def test_boxes_match_one_to_one_and_none_is_left():
    assert all_matched([DOG, OTHER_DOG], [OTHER_DOG, DOG])
    assert not all_matched([DOG], [DOG, OTHER_DOG])
    assert not all_matched([DOG, DOG], [DOG, OTHER_DOG])
    assert all_matched([], [])


def test_a_box_is_the_same_from_half_overlap_on():
    assert is_same((0.1, 0.6, 0.2, 0.8), DOG)
    assert not is_same((0.1, 0.6, 0.199, 0.8), DOG)


def test_depth_of_a_box_is_the_median_of_what_was_measured_inside():
    depth = np.full((10, 10), 3, np.float32)
    depth[5] = 100
    assert median_depth(depth, (0, 0, 1, 1)) == 3
    depth[:7] = np.nan  # of rows 2 to 7 that are inside, row 7 alone is left: 1 of 6
    assert median_depth(depth, (0, 0, 1, 1)) is None
    depth[6] = 3
    assert median_depth(depth, (0, 0, 1, 1)) == 3


def test_measured_depth_is_read_with_unknown_pixels_left_open(tmp_path):
    np.savez(tmp_path / "a_gt.npz", gt=np.array([[2.0, 0.0], [4.0, -1.0]]))
    np.testing.assert_array_equal(read_depth(tmp_path, "a", "depth_m"), np.float32([[2, np.nan], [4, np.nan]]))
    np.testing.assert_array_equal(
        read_depth(tmp_path, "a", "disparity_px"), np.float32([[0.5, np.nan], [0.25, np.nan]])
    )


def test_the_index_names_the_kind_of_each_depth(tmp_path):
    (tmp_path / "index.json").write_text(json.dumps([{"name": "a", "kind": "depth_m", "origin": "a room"}]))
    assert depth_index(tmp_path) == {"a": "depth_m"}


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "must be a list"), ('[{"name": "a"}]', "must be a list"), ('[{"name": "a", "kind": "feet"}]', "feet")],
)
def test_an_index_that_is_wrong_is_named(tmp_path, text, says):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(CalibrationError, match=says) as error:
        depth_index(tmp_path)
    assert str(tmp_path / "index.json") in str(error.value)


def test_files_that_are_missing_are_named(tmp_path):
    with pytest.raises(CalibrationError, match=r"index\.json is missing"):
        depth_index(tmp_path)
    with pytest.raises(CalibrationError, match=r"a_gt\.npz is missing"):
        read_depth(tmp_path, "a", "depth_m")
    np.savez(tmp_path / "a_gt.npz", depth=np.ones((2, 2)))
    with pytest.raises(CalibrationError, match="no array named gt"):
        read_depth(tmp_path, "a", "depth_m")
