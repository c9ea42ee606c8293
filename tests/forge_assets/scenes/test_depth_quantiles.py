"""Depth of objects from a map whose every value is known."""

import numpy as np
import polars as pl
import pytest

from forge_assets.depth_maps.encoding import encode_depth, relative_error
from forge_assets.scenes.depth_quantiles import SCHEMA, inner_depths, object_depths
from forge_assets.tables import DEPTH_MAPS

RAMP = np.repeat(np.linspace(1, 10, 100, dtype=np.float32)[:, None], 50, axis=1)  # 100 rows deep, 50 columns
"""Depth grows downwards by 1/11 a row; nothing changes from left to right."""


@pytest.fixture
def depth_map():
    def of(depth, **values):
        stored = encode_depth(depth)
        row = dict.fromkeys(DEPTH_MAPS) | {
            "image_id": "hand/photo.jpg", "reading": "net", "mirrored": False, "kind": "metric",
            "depth_model": "test:net",
            "width": stored.width, "height": stored.height, "near": stored.near, "far": stored.far, "png": stored.png,
        }  # fmt: skip
        return pl.DataFrame([row | values], schema=dict(DEPTH_MAPS))

    return of


def objects(*boxes, image_id="hand/photo.jpg"):
    rows = [(f"#{index}", image_id, "dog", *box, 500, 1000) for index, box in enumerate(boxes)]
    names = ("object_id", "image_id", "category", "x1", "y1", "x2", "y2", "image_width", "image_height")
    return pl.DataFrame(rows, schema=names, orient="row")


def test_quantiles_are_of_the_inner_part_of_the_box(depth_map):
    found = object_depths(depth_map(RAMP), objects((100, 200, 400, 700)))
    inner = RAMP[30:60, 0]  # rows 20 to 70 of the map, a fifth of 50 cut off at both ends
    expected = np.quantile(inner, (0.1, 0.5, 0.9))
    assert found.select("q10", "q50", "q90").row(0) == pytest.approx(expected, rel=2 * relative_error(1, 10))
    assert found.drop("q10", "q50", "q90").row(0) == ("#0", "net", False, "metric", "test:net")
    assert found.schema == pl.Schema(SCHEMA)


def test_a_rim_of_background_does_not_change_the_depth(depth_map):
    depth = np.full((100, 50), 50, np.float32)
    depth[30:60, 15:36] = 2
    found = object_depths(depth_map(depth), objects((100, 200, 400, 700)))
    assert found.select("q10", "q50", "q90").row(0) == pytest.approx((2, 2, 2), rel=1e-3)


def test_every_object_is_read_in_every_map_of_its_photo(depth_map):
    maps = pl.concat([depth_map(RAMP), depth_map(RAMP * 2, mirrored=True), depth_map(RAMP, image_id="hand/other.jpg")])
    boxes = [(0, 0, 500, 500), (0, 500, 500, 1000)]
    found = object_depths(maps, objects(*boxes))
    assert found.select("object_id", "mirrored").sort(pl.all()).rows() == [
        ("#0", False), ("#0", True), ("#1", False), ("#1", True),
    ]  # fmt: skip
    by_name = {(name, mirrored): depth for name, mirrored, depth in found.select("object_id", "mirrored", "q50").rows()}
    assert by_name["#1", False] > by_name["#0", False]
    assert by_name["#0", True] == pytest.approx(2 * by_name["#0", False], rel=1e-3)


def test_a_photo_without_objects_and_no_maps_at_all_give_no_rows(depth_map):
    elsewhere = objects((0, 0, 500, 500), image_id="hand/other.jpg")
    for found in (object_depths(depth_map(RAMP), elsewhere), object_depths(depth_map(RAMP).clear(), elsewhere)):
        assert (found.height, found.schema) == (0, pl.Schema(SCHEMA))


@pytest.mark.parametrize("box", [(0, 0, 0.001, 0.001), (0.999, 0.999, 1, 1), (0.5, 0.5, 0.5001, 0.5001)])
def test_the_smallest_box_has_one_pixel(box):
    assert inner_depths(RAMP, box).shape == (1,)


def test_the_whole_photo_loses_a_fifth_on_each_side():
    assert inner_depths(RAMP, (0, 0, 1, 1)).shape == (60 * 30,)


def test_what_a_box_in_front_covers_is_not_read(depth_map):
    depth = np.full((100, 50), 8, np.float32)
    depth[40:, 25:] = 2
    far, near = (0, 0, 500, 900), (250, 400, 500, 1000)
    found = object_depths(depth_map(depth), objects(far, near)).sort("object_id")
    assert found["q10"].to_list() == pytest.approx([8, 2], rel=1e-3)
    assert found["q90"].to_list() == pytest.approx([8, 2], rel=1e-3)


def test_an_object_of_which_hardly_a_fifth_is_seen_has_no_depth(depth_map):
    hidden, in_front = (100, 100, 400, 800), (90, 90, 410, 1000)
    assert object_depths(depth_map(RAMP), objects(hidden, in_front))["object_id"].to_list() == ["#1"]
