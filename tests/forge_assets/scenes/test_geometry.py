"""Depth from boxes alone, with the camera written out.

A photo of 1000 x 1000 pixels from a level camera with a focal length of 900 pixels, its horizon at y = 500.
A point `Z` metres away and `d` metres below the camera is seen at y = 500 + 900 * d / Z. The camera is 1.5 m high,
so a person of 1.65 m stands at 3 m with the feet at 500 + 900 * 1.5 / 3 = 950 and is 900 * 1.65 / 3 = 495 high;
at 6 m with the feet at 725, 247.5 high.
"""

import polars as pl
import pytest

from forge_assets.scenes.build import scenes
from forge_assets.scenes.depth_quantiles import SCHEMA

AT_3_M = (100, 455, 300, 950)
AT_6_M = (700, 477.5, 800, 725)
NO_MAPS = pl.DataFrame(schema=dict(SCHEMA))


@pytest.fixture
def look(make_photos, make_detections):
    def at(*objects, width=1000, height=1000):
        return scenes(make_photos(width=width, height=height), make_detections(*objects), NO_MAPS)

    return at


@pytest.fixture
def depths(look):
    """Ground and height depth of one object with other evidence, of the photo and of the mirror."""

    def of(category, box, **evidence):
        row = look((category, box, evidence)).row(0, named=True)
        return tuple(
            row[name] for name in ("ground_depth", "height_depth", "mirror_ground_depth", "mirror_height_depth")
        )

    return of


def test_two_people_of_one_height_at_twice_the_distance_are_read_so_twice(look):
    near, far = look(("person", AT_3_M, {}), ("person", AT_6_M, {})).rows(named=True)
    assert near["ground_depth"] == pytest.approx(3 / 1.5)  # camera heights
    assert far["ground_depth"] == pytest.approx(6 / 1.5)
    assert near["height_depth"] == pytest.approx(3)  # metres
    assert far["height_depth"] == pytest.approx(6)


def test_a_bus_and_a_person_at_one_distance_are_read_alike(look):
    bus = (400, 950 - 900 * 3.10 / 3, 900, 950)
    person, large = look(("person", AT_3_M, {}), ("bus", bus, {})).rows(named=True)
    assert large["height_depth"] == pytest.approx(person["height_depth"])
    assert large["ground_depth"] == person["ground_depth"]


def test_the_longer_side_carries_the_focal_length(look):
    row = look(("person", (100, 250, 200, 447.5), {}), width=2000, height=500).row(0, named=True)
    assert row["ground_depth"] == pytest.approx(0.9 * 2000 / 197.5)
    assert row["height_depth"] == pytest.approx(0.9 * 2000 * 1.65 / 197.5)


def test_the_mirror_is_read_from_its_own_box(depths):
    mirror = dict(zip(("mirror_x1", "mirror_y1", "mirror_x2", "mirror_y2"), AT_6_M, strict=True))
    assert depths("person", AT_3_M, **mirror) == pytest.approx((2, 3, 4, 6))


def test_an_object_that_the_mirror_does_not_show_has_no_depth_there(depths):
    nowhere = dict.fromkeys(("mirror_x1", "mirror_y1", "mirror_x2", "mirror_y2"))
    assert depths("person", AT_3_M, **nowhere) == (pytest.approx(2), pytest.approx(3), None, None)


@pytest.mark.parametrize(
    ("category", "box", "ground", "height"),
    [
        pytest.param("person", (100, 455, 300, 990), None, None, id="cut below: neither feet nor height"),
        pytest.param("person", (100, 455, 300, 989), 900 / 489, 900 * 1.65 / 534, id="just not cut below"),
        pytest.param("person", (100, 10, 300, 950), 2, None, id="cut above: the feet are seen"),
        pytest.param("person", (0, 455, 200, 950), 2, 3, id="cut at the side: both are seen"),
        pytest.param("person", (100, 300, 300, 495), None, 900 * 1.65 / 195, id="feet above the horizon"),
        pytest.param("person", (100, 300, 300, 550), None, 900 * 1.65 / 250, id="feet too near to the horizon"),
        pytest.param("person", (100, 300, 300, 551), 900 / 51, 900 * 1.65 / 251, id="feet just low enough"),
        pytest.param("bottle", (100, 455, 300, 950), None, 900 * 0.26 / 495, id="bottles need not stand on the ground"),
        pytest.param("dog", (100, 455, 300, 950), 2, None, id="dogs have no usual height"),
        pytest.param("unheard-of", (100, 455, 300, 950), None, None, id="an unknown class has neither"),
    ],
)
def test_a_box_is_read_only_where_it_can_be_trusted(depths, category, box, ground, height):
    expected = tuple(None if value is None else pytest.approx(value) for value in (ground, height))
    assert depths(category, box) == expected * 2


def test_an_object_behind_another_is_not_read_and_the_one_in_front_is(look):
    hidden, front = look(("person", AT_3_M, {}), ("bench", (100, 752, 300, 970), {})).rows(named=True)
    assert hidden["occlusion"] == pytest.approx(198 / 495)  # the bench hides two fifths, the feet among them
    assert (hidden["ground_depth"], hidden["height_depth"], hidden["mirror_height_depth"]) == (None, None, None)
    assert front["occlusion"] == 0
    assert front["ground_depth"] == pytest.approx(900 / 470)


def test_an_object_hidden_a_little_is_still_read(look):
    box = (100, 802, 300, 970)  # covers 148 of 495 pixels: 0.299
    assert look(("person", AT_3_M, {}), ("bench", box, {}))["ground_depth"].null_count() == 0
