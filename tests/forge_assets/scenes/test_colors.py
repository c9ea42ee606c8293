"""Plain colours: painted objects whose colour is known, and real photos that a person has looked at."""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from forge_assets.scenes.colors import (
    BASIC_COLORS,
    DARK,
    LOOKED_SIDE,
    MIN_PIXELS,
    SCHEMA,
    color_of_name,
    color_shares,
    colored_classes,
    colors_of_shard,
    decode_small,
    hiding_boxes,
    is_dim,
    looked_at,
    names_of_rgb,
    plain_color,
)
from forge_resources.vocabulary import Vocabulary

SKY = (180, 190, 200)
PAINTS = [
    ("black", (12, 12, 12)), ("black", (22, 20, 22)),
    ("white", (250, 250, 250)), ("white", (232, 233, 230)),
    ("grey", (115, 115, 115)), ("grey", (128, 130, 126)),
    ("red", (220, 20, 20)), ("red", (150, 10, 10)), ("red", (200, 10, 15)),
    ("orange", (255, 120, 0)), ("orange", (255, 145, 40)),
    ("yellow", (250, 225, 30)), ("yellow", (255, 245, 90)),
    ("green", (20, 150, 40)), ("green", (10, 90, 25)), ("green", (110, 210, 100)),
    ("blue", (30, 80, 210)), ("blue", (20, 40, 130)), ("blue", (90, 160, 235)),
    ("purple", (125, 30, 160)), ("purple", (90, 20, 110)), ("purple", (160, 90, 200)),
    ("pink", (250, 120, 180)), ("pink", (255, 165, 205)),
    ("brown", (100, 55, 15)), ("brown", (80, 45, 20)),
]  # fmt: skip
BETWEEN = [(10, 150, 150), (215, 195, 160), (190, 190, 190), (60, 60, 62), (225, 190, 150), (150, 165, 175)]
"""Teal, tan, silver, charcoal, beige, the shade of a blue sky: no two people agree on one basic term."""


def painted(size, *patches):
    """A photo in a plain background colour with rectangles in it, later ones above."""
    photo = np.full((size[1], size[0], 3), SKY, np.uint8)
    for (x1, y1, x2, y2), color in patches:
        photo[y1:y2, x1:x2] = color
    return Image.fromarray(photo)


def stored(image, image_format="PNG", orientation=1, **options):
    data = io.BytesIO()
    image.save(data, image_format, **options)
    return data.getvalue(), orientation, image.size


def photos(*files):
    """Rows as `raw_images` has them, named a, b, c; sizes are of the upright photo."""
    rows = [
        {
            "image_id": f"hand/{name}",
            "image": {"bytes": data, "path": None},
            "orientation": orientation,
            "width": size[0],
            "height": size[1],
        }
        for name, (data, orientation, size) in zip("abcdef", files, strict=False)
    ]
    schema = {"orientation": pl.Int8, "width": pl.Int32, "height": pl.Int32}
    return pl.DataFrame(rows, schema_overrides=schema)


def objects(*boxes, image_id="hand/a"):
    names = ("object_id", "image_id", "category", "x1", "y1", "x2", "y2", "score")
    rows = [
        (f"{image_id}#{index}", image_id, category, *map(float, box), *(score[0] if score else (0.9,)))
        for index, (category, box, *score) in enumerate(boxes)
    ]
    return pl.DataFrame(
        rows, schema=dict.fromkeys(names[:3], pl.String) | dict.fromkeys(names[3:], pl.Float64), orient="row"
    )


def colors(image, *boxes):
    return colors_of_shard([photos(stored(image))], objects(*boxes))["color"].to_list()


# --- names of colours


@pytest.mark.parametrize(("name", "paint"), PAINTS)
def test_a_painted_object_is_called_by_its_paint(name, paint):
    box = (100, 80, 300, 220)
    assert colors(painted((400, 300), (box, paint)), ("suitcase", box)) == [name]


@pytest.mark.parametrize("paint", BETWEEN)
def test_a_colour_between_two_names_is_not_named(paint):
    box = (100, 80, 300, 220)
    assert colors(painted((400, 300), (box, paint)), ("suitcase", box)) == [None]


@pytest.mark.parametrize(
    ("name", "stands_for"),
    [
        ("dark red", "red"), ("gray", "grey"), ("navy blue", "blue"), ("yellowish brown", "brown"),
        ("off white", "white"), ("greenish blue", "undecided"), ("blue grey", "undecided"), ("red brown", "undecided"),
        ("light teal", "undecided"), ("beige", "undecided"), ("rose", None), ("blue/green", None),
    ],
)  # fmt: skip
def test_a_name_of_the_survey_stands_for_its_only_basic_term(name, stands_for):
    color = color_of_name(name)
    assert (None if color is None else (*BASIC_COLORS, "undecided")[color]) == stands_for


def test_the_table_of_names_has_every_basic_colour_and_cannot_be_written():
    names = names_of_rgb()
    assert set(np.unique(names)) == set(range(DARK + 1))
    assert not names.flags.writeable


def test_shares_of_every_copy_sum_to_one():
    pixels = np.random.default_rng(0).integers(0, 256, (500, 3), np.uint8)
    assert color_shares(pixels).sum(axis=1) == pytest.approx(1)


@given(rgb=st.tuples(*[st.integers(0, 255)] * 3), exposure=st.floats(0.85, 1.15))
def test_light_turns_no_named_colour_into_another(rgb, exposure):
    patch = np.full((400, 3), rgb, np.uint8)
    lit = np.clip(patch * exposure ** (1 / 2.2), 0, 255).astype(np.uint8)
    named, relit = plain_color(patch), plain_color(lit)
    assert named is None or relit is None or named.color == relit.color


@given(st.tuples(*[st.integers(0, 255)] * 3), st.tuples(*[st.integers(0, 255)] * 3))
def test_two_colours_half_and_half_are_no_plain_colour(one, other):
    halves = np.array([one] * 300 + [other] * 300, np.uint8)
    whole = [plain_color(halves[:300]), plain_color(halves[300:])]
    if all(whole) and whole[0].color != whole[1].color:
        assert plain_color(halves) is None


def test_the_runner_up_is_told_with_its_share():
    pixels = np.array([(220, 20, 20)] * 800 + [(30, 80, 210)] * 150 + [(10, 150, 150)] * 50, np.uint8)
    assert plain_color(pixels) == ("red", pytest.approx(0.8), "blue", pytest.approx(0.15))


def test_one_paint_alone_has_no_runner_up():
    assert plain_color(np.full((300, 3), (220, 20, 20), np.uint8)) == ("red", 1.0, None, 0.0)


def test_black_needs_more_of_the_pixels_than_red():
    rest = [(10, 150, 150)] * 400
    assert plain_color(np.array([(220, 20, 20)] * 600 + rest, np.uint8)).color == "red"
    assert plain_color(np.array([(8, 8, 8)] * 600 + rest, np.uint8)) is None


def test_dark_glass_does_not_hide_the_paint_of_a_car():
    body, glass = (60, 40, 340, 220), (60, 40, 340, 130)
    red_car = painted((400, 300), (body, (200, 15, 20)), (glass, (30, 32, 34)))
    assert colors(red_car, ("car", body), ("suitcase", body)) == [None, None]  # two classes claim one box
    assert colors(red_car, ("car", body)) == ["red"]
    assert colors(red_car, ("suitcase", body)) == [None]


def test_a_black_car_is_black():
    body = (60, 40, 340, 220)
    assert colors(painted((400, 300), (body, (10, 10, 11))), ("car", body)) == ["black"]


# --- which objects


def test_classes_are_those_of_the_vocabulary_and_colours_are_basic():
    assert set(colored_classes()) <= Vocabulary.packaged().categories
    assert all(known.colors <= set(BASIC_COLORS) for known in colored_classes().values())


@pytest.mark.parametrize(
    "category", ["person", "bicycle", "giraffe", "chair", "bowl", "wine glass", "tv", "plastic bag"]
)
def test_classes_whose_box_shows_much_else_have_no_colour(category):
    box = (100, 80, 300, 220)
    assert colors(painted((400, 300), (box, (220, 20, 20))), (category, box)) == [None]


def test_a_colour_that_the_class_does_not_have_is_not_named():
    box = (100, 80, 300, 220)
    assert colors(painted((400, 300), (box, (30, 80, 210))), ("dog", box)) == [None]


def test_in_a_dim_photo_only_hues_are_named():
    red, black = (20, 20, 180, 280), (220, 20, 380, 280)
    night = np.full((300, 400, 3), 40, np.uint8)
    night[20:280, 20:180], night[20:280, 220:380] = (200, 20, 20), (8, 8, 8)
    assert is_dim(night)
    assert colors(Image.fromarray(night), ("suitcase", red), ("suitcase", black)) == ["red", None]


# --- which pixels


def test_what_stands_before_an_object_is_not_looked_at():
    car, person = (50, 50, 350, 250), (60, 40, 190, 280)
    photo = painted((400, 300), (car, (30, 80, 210)), (person, (220, 20, 20)))
    assert colors(photo, ("suitcase", car), ("person", person)) == ["blue", None]
    assert colors(photo, ("suitcase", car)) == [None]
    assert colors(photo, ("suitcase", car), ("person", person, (0.1,))) == [None, None]


def test_a_human_box_without_a_score_hides_as_well():
    car, person = (50, 50, 350, 250), (60, 40, 190, 280)
    photo = painted((400, 300), (car, (30, 80, 210)), (person, (220, 20, 20)))
    assert colors(photo, ("suitcase", car), ("person", person, (None,))) == ["blue", None]


def test_an_object_that_others_cover_has_no_colour():
    car = (50, 50, 350, 250)
    photo = painted((400, 300), (car, (30, 80, 210)))
    assert colors(photo, ("suitcase", car), ("person", (40, 40, 270, 280))) == [None, None]


def test_what_an_object_stands_on_and_a_second_box_of_it_do_not_hide_it():
    bag = (150, 120, 230, 200)
    photo = painted((400, 300), (bag, (220, 20, 20)))
    found = colors(photo, ("handbag", bag), ("person", (100, 20, 300, 290)), ("handbag", (152, 121, 229, 202)))
    assert found == ["red", None, "red"]


def test_hiding_goes_by_the_box_that_is_held():
    bear_on_couch = objects(("teddy bear", (100, 100, 200, 200)), ("couch", (0, 50, 400, 300)))
    assert hiding_boxes(bear_on_couch).tolist() == [[False, False], [True, False]]


def test_too_few_pixels_are_no_proof():
    side = 30
    photo = np.full((100, 100, 3), (220, 20, 20), np.uint8)
    big, small = np.array([10.0, 10.0, 10.0 + side, 10.0 + side]), np.array([10.0, 10.0, 30.0, 30.0])
    nothing = np.empty((0, 4))
    assert len(looked_at(photo, big, nothing)) >= MIN_PIXELS
    assert len(looked_at(photo, small, nothing)) == 0
    assert len(looked_at(photo, np.array([10.0, 10.0, 10.0, 50.0]), nothing)) == 0
    assert colors(Image.fromarray(photo), ("suitcase", small)) == [None]


def test_only_the_middle_of_the_box_is_looked_at():
    photo = np.full((100, 100, 3), (220, 20, 20), np.uint8)
    photo[20:80, 20:80] = (30, 80, 210)
    assert (looked_at(photo, np.array([0.0, 0.0, 100.0, 100.0]), np.empty((0, 4))) == (30, 80, 210)).all()


def test_a_box_that_reaches_out_of_the_photo_is_looked_at_where_there_is_photo():
    photo = np.full((100, 100, 3), (220, 20, 20), np.uint8)
    assert len(looked_at(photo, np.array([-40.0, -40.0, 140.0, 140.0]), np.empty((0, 4)))) == pytest.approx(
        np.pi * 54**2, rel=0.1
    )


# --- photos


@pytest.mark.parametrize("size", [(400, 300), (511, 90), (1023, 767), (1024, 768), (1537, 1025), (3001, 4099)])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_photos_are_decoded_small_whatever_their_format(size, image_format):
    small = decode_small(stored(Image.new("RGB", size), image_format)[0], 1, *size)
    longest, full = max(small.shape[:2]), max(size)
    assert min(full, LOOKED_SIDE) <= longest < max(2 * LOOKED_SIDE, 2)
    assert small.shape[1] / small.shape[0] == pytest.approx(size[0] / size[1], rel=0.02)


def test_a_photo_of_another_size_than_its_row_says_is_refused():
    data, _, _ = stored(Image.new("RGB", (400, 300)), "JPEG")
    with pytest.raises(ValueError, match="300 x 400 pixels by its row decodes to 400 x 300"):
        decode_small(data, 1, 300, 400)


def test_a_photo_that_does_not_come_is_missed():
    with pytest.raises(ValueError, match="no row for the photo 'hand/b'"):
        colors_of_shard([photos(stored(painted((400, 300))))], objects(("car", (0, 0, 9, 9)), image_id="hand/b"))


def test_every_object_has_a_row_even_without_photos_to_look_at():
    found = colors_of_shard([], objects(("person", (0, 0, 9, 9)), ("bicycle", (0, 0, 9, 9))))
    assert found.schema == SCHEMA
    assert found["object_id"].to_list() == ["hand/a#0", "hand/a#1"]
    assert found["color"].null_count() == 2


SCENE = [
    ((20, 30, 300, 260), (220, 20, 20)),
    ((340, 60, 620, 400), (20, 150, 40)),
    ((60, 300, 280, 460), (30, 80, 210)),
]
BOXES = [("suitcase", box) for box, _ in SCENE]


def turned_box(box, transposition, size):
    mask = Image.new("L", size)
    mask.paste(255, box)
    return mask.transpose(transposition).getbbox()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stored_turned_gives_the_same_colours(orientation, image_format):
    upright = painted((640, 480), *SCENE)
    back = {5: 5, 6: 8, 8: 6}.get(orientation, orientation)
    carrier = upright.copy()
    carrier.getexif()[0x0112] = back
    data, _, _ = stored(ImageOps.exif_transpose(carrier), image_format)
    found = colors_of_shard([photos((data, orientation, upright.size))], objects(*BOXES))
    assert found["color"].to_list() == ["red", "green", "blue"]


def test_a_mirrored_photo_gives_the_same_colours_and_shares():
    scene = painted((640, 480), *SCENE, ((110, 110, 150, 160), (250, 225, 30)))
    mirrored = [(name, turned_box(box, Image.Transpose.FLIP_LEFT_RIGHT, scene.size)) for name, box in BOXES]
    straight = colors_of_shard([photos(stored(scene))], objects(*BOXES))
    turned = colors_of_shard([photos(stored(ImageOps.mirror(scene)))], objects(*mirrored))
    assert straight["second_color"].to_list() == ["yellow", None, None]
    assert turned.equals(straight)


def test_a_photos_colours_do_not_depend_on_its_batch_and_are_the_same_again():
    files = [stored(painted((640, 480), *SCENE[index:]), "JPEG") for index in range(3)]
    table = photos(*files)
    asked = pl.concat(objects(*BOXES, image_id=f"hand/{name}") for name in "abc")
    together = colors_of_shard([table], asked)
    one_by_one = colors_of_shard(table.iter_slices(1), asked)
    assert together["color"].count() == 6
    assert together.equals(one_by_one)
    assert together.equals(colors_of_shard([table.reverse()], asked.reverse()))


def test_the_bus_of_a_real_photo_is_blue_and_stays_so_in_other_light():
    path = Path(find_spec("ultralytics").submodule_search_locations[0]) / "assets" / "bus.jpg"
    people = [("person", (48, 398, 246, 903)), ("person", (669, 392, 810, 878)), ("person", (222, 406, 345, 858))]
    with Image.open(path) as photo:
        for light in (0.85, 1.0, 1.15):
            lit = photo.point(lambda value, light=light: value * light)
            assert colors(lit, ("bus", (5, 229, 806, 744)), *people)[0] == "blue"
