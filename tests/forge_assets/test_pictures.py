"""Pictures for people: what they show, that they stay small, and that they are the same each time."""

import base64
import io
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from forge_assets.pictures import (
    BOX_COLORS,
    MAX_BYTES,
    TASK_COLORS,
    as_markdown_image,
    choose_pairs,
    contact_sheet,
    contact_sheet_of_depth,
    contact_sheet_of_detections,
    contact_sheet_of_photos,
    draw_pairs,
    encode_jpeg,
    object_colors,
    object_labels,
)
from forge_assets.tables import TASKS

Pairs = pl.DataFrame


def pair(
    task: str, boxes: list[list[int]], answers: list[int], qa_id: str = "00", image_id: str = "p"
) -> dict[str, Any]:
    ids = [str(index) for index in range(len(boxes))]
    return {
        "qa_id": qa_id,
        "image_id": image_id,
        "task": task,
        "question": "Which is nearer to the camera, the chair or the very long-winded sofa at the wall? " * 3,
        "answer": "the chair",
        "object_ids": ids,
        "answer_object_ids": [ids[index] for index in answers],
        "boxes": boxes,
    }


def frame(*rows: dict[str, Any]) -> Pairs:
    schema = {
        "task": pl.Enum(TASKS),
        "boxes": pl.List(pl.Array(pl.Int32, 4)),
        "object_ids": pl.List(pl.String),
        "answer_object_ids": pl.List(pl.String),
    }
    return pl.DataFrame(list(rows), schema_overrides=schema)


def grey(height: int = 200, width: int = 400) -> np.ndarray:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def noise(side: int = 900) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def opened(data: bytes, file_format: str = "WEBP") -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == file_format
    image.load()
    return image


def rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


def test_boxes_are_drawn_where_they_are() -> None:
    photo = grey()
    drawn = draw_pairs(photo, frame(pair("near_far", [[100, 500, 400, 900], [600, 500, 900, 900]], [0])))
    assert drawn.shape == photo.shape
    assert drawn.dtype == np.uint8
    assert (photo == 128).all()
    assert tuple(drawn[140, 41]) == rgb(BOX_COLORS[0])
    assert tuple(drawn[140, 241]) == rgb(BOX_COLORS[1])
    assert not (drawn[140, 100] == 128).all(), "the answer is tinted"
    assert (drawn[140, 300] == 128).all(), "the other one is not"
    assert (drawn[10, 10] == 128).all()


def test_a_listing_task_has_one_colour_and_no_tint() -> None:
    drawn = draw_pairs(grey(), frame(pair("grounding", [[100, 500, 400, 900]], [0])))
    assert tuple(drawn[140, 41]) == rgb(TASK_COLORS["grounding"])
    assert (drawn[140, 100] == 128).all()


def test_several_pairs_have_a_colour_a_task() -> None:
    rows = frame(pair("near_far", [[100, 500, 400, 900]], []), pair("left_right", [[600, 500, 900, 900]], []))
    drawn = draw_pairs(grey(), rows)
    assert tuple(drawn[140, 41]) == rgb(TASK_COLORS["near_far"])
    assert tuple(drawn[140, 241]) == rgb(TASK_COLORS["left_right"])


@pytest.mark.parametrize("box", [[0, 0, 1000, 1000], [0, 0, 1, 1], [999, 999, 1000, 1000], [0, 500, 1000, 501]])
def test_boxes_at_the_edge(box: list[int]) -> None:
    for photo in (grey(), grey(40, 40), grey(1, 300)):
        assert draw_pairs(photo, frame(pair("near_far", [box, box], [0]))).shape == photo.shape


def test_labels_and_colors() -> None:
    assert set(TASK_COLORS) == set(TASKS)
    assert object_labels("near_far", 3) == ["A", "B", "C"]
    assert object_labels("counting", 3) == ["1", "2", "3"]
    assert len(set(object_labels("near_far", 40))) == 40
    assert len(object_colors("near_far", 40)) == 40


def test_choice_takes_each_task_first_and_the_same_each_time() -> None:
    rows = frame(
        *(pair("grounding", [], [], qa_id=f"0{i}") for i in range(5)),
        *(pair("counting", [], [], qa_id=f"f{i}") for i in range(2)),
    )
    chosen = choose_pairs(rows.sample(fraction=1, shuffle=True, seed=1), 4)
    assert chosen.select(pl.col("task").cast(pl.String), "qa_id").rows() == [
        ("counting", "f0"),
        ("grounding", "00"),
        ("counting", "f1"),
        ("grounding", "01"),
    ]
    assert choose_pairs(rows.reverse(), 4).equals(chosen)
    assert choose_pairs(rows, 99).height == 7
    assert choose_pairs(rows.clear(), 3).is_empty()


def test_choice_takes_different_photos_where_it_can() -> None:
    rows = frame(
        *(pair("counting", [], [], qa_id=f"{i}", image_id="p") for i in range(3)),
        *(pair("grounding", [], [], qa_id=f"{i}a", image_id="p") for i in range(3)),
        pair("grounding", [], [], qa_id="z", image_id="q"),
    )
    assert choose_pairs(rows, 2)["image_id"].to_list() == ["p", "q"]


def test_boxes_on_a_sheet_are_as_thick_on_large_photos_as_on_small_ones() -> None:
    rows = frame(pair("near_far", [[100, 100, 900, 900], [200, 200, 800, 800]], []))
    small, large = (np.asarray(opened(contact_sheet(rows, {"p": grey(side, side)}))) for side in (400, 3000))
    assert np.abs(small.astype(int) - large.astype(int)).mean() < 1


def test_sheet_of_pairs_is_small_and_stable() -> None:
    photos = {"p": noise(), "q": noise(400)}
    rows = frame(
        *(pair(task, [[0, 0, 500, 500], [500, 0, 1000, 500]], [1], image_id=i) for task in TASKS[:2] for i in "pq")
    )
    sheet = contact_sheet(rows, photos)
    assert len(sheet) <= MAX_BYTES
    assert sheet == contact_sheet(rows, photos)
    assert 600 <= opened(sheet).width <= 1000
    assert len(as_markdown_image(sheet)) < 40_000


def test_sheet_of_one_pair_and_of_none() -> None:
    assert opened(contact_sheet(frame(pair("counting", [], [])), {"p": grey()}, columns=3, width=640)).width == 640
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet(frame(pair("counting", [], [])).clear(), {})
    with pytest.raises(KeyError):
        contact_sheet(frame(pair("counting", [], [])), {})


def test_sheet_of_photos() -> None:
    photos = {f"source/{'x' * 90}{i}": grey(90 + 60 * i, 120) for i in range(5)}
    assert opened(contact_sheet_of_photos(photos, columns=2, width=800)).width == 800


def test_sheet_of_detections_with_and_without_objects() -> None:
    rows = pl.DataFrame(
        {
            "object_id": ["a", "b", "c"],
            "image_id": ["p", "p", "elsewhere"],
            "category": ["person", "dining table", "dog"],
            "score": [0.9, None, 0.5],
            "x1": [10.0, 150.0, 0.0],
            "y1": [60.0, 70.0, 0.0],
            "x2": [100.0, 380.0, 9.0],
            "y2": [190.0, 190.0, 9.0],
        }
    )
    assert opened(contact_sheet_of_detections(rows, {"p": grey(), "empty": grey()})).width == 1000


def test_sheet_of_depth_shows_near_warm_and_far_cold() -> None:
    steps = np.repeat(np.array([[0, 65535]], dtype=np.uint16), 64, axis=1).repeat(64, axis=0)
    buffer = io.BytesIO()
    Image.fromarray(steps).save(buffer, "PNG")
    row = {"image_id": "p", "reading": "depth", "mirrored": False, "kind": "metric", "near": 1.0, "far": 9.0}
    rows = pl.DataFrame([row | {"png": buffer.getvalue()}])
    sheet = np.asarray(opened(contact_sheet_of_depth(rows, {"p": grey(300, 300)}, width=1200))).astype(int)
    near, far = sheet[200, 700], sheet[200, 1100]
    assert near[0] > near[2] + 50
    assert far[2] > far[0]


def test_markdown_and_jpeg() -> None:
    data = encode_jpeg(grey(3000, 1500), 600)
    assert opened(data, "JPEG").size == (300, 600)
    assert opened(encode_jpeg(grey(30, 15), 600), "JPEG").size == (15, 30)
    text = as_markdown_image(data, alt="pairs")
    assert text.startswith("![pairs](data:image/webp;base64,")
    assert base64.b64decode(text.rpartition(",")[2].removesuffix(")")) == data
