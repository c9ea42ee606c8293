"""Pictures for people: photos with what a stage found in them, on sheets small enough for an asset's page."""

import base64
import io
import math
import string
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TASK_COLORS: Final[Mapping[str, str]] = {
    "grounding": "#2f6fed",
    "referring": "#8b4fe0",
    "counting": "#d9730d",
    "near_far": "#0b9488",
    "left_right": "#d6336c",
    "perspective": "#5c8a0f",
}
"""One colour a task, told apart on photos and on light and dark pages."""

BOX_COLORS: Final = ("#ffb020", "#35c7f4", "#ff6fae", "#8fe04b", "#c59bff", "#ff8a5c")
"""Colours of the objects of one pair, in the order in which its question names them."""

MAX_BYTES: Final = 29_500
"""A sheet is encoded smaller until it has at most as many bytes: Dagster keeps it, a third longer as text, in the
database of its event log."""

_LISTING: Final = ("grounding", "counting")
_SCALE = 1000
_INK, _PAPER, _MUTED = "#1d1d1f", "#ffffff", "#6b6b70"
_GUTTER = 12
_CAPTION_SIZE = 15
_LEGIBLE_WIDTH = 600
_TALLEST = 0.75  # of a tile's width

Photo = NDArray[np.uint8]


@dataclass(frozen=True)
class _Box:
    corners: tuple[float, float, float, float]  # pixels of the photo
    label: str
    color: str
    is_answer: bool = False


@dataclass(frozen=True)
class _Tile:
    photo: Photo
    heading: str
    color: str
    text: str = ""


def object_labels(task: str, count: int) -> list[str]:
    """Short names of a pair's objects: numbers where the answer lists a class, else letters in the question's order."""
    if task in _LISTING or count > len(string.ascii_uppercase):
        return [str(number) for number in range(1, count + 1)]
    return list(string.ascii_uppercase[:count])


def object_colors(task: str, count: int) -> list[str]:
    """Colours of a pair's objects: the task's where the answer lists a class, else one each."""
    if task in _LISTING:
        return [TASK_COLORS[task]] * count
    return [BOX_COLORS[i % len(BOX_COLORS)] for i in range(count)]


def text_on(color: str) -> str:
    """The colour, dark or white, that is readable on `color` (both as #rrggbb)."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 140  # noqa: PLR2004 -- luma of ITU-R BT.601, 0-255
    return _INK if is_light else _PAPER


def choose_pairs(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    """The same few pairs each time: by `qa_id`, which is a hash; first one of each task, then second ones.

    Within a task, pairs that come first of all pairs of their photo are taken before others, so that photos vary.

    Args:
        rows: pairs with at least `qa_id`, `image_id` and `task`.
        limit: the number of pairs wanted; fewer come back where there are fewer.
    """
    place = pl.int_range(pl.len())
    return (
        rows.sort("qa_id", "image_id")
        .with_columns(nth_of_photo=place.over("image_id"))
        .sort("nth_of_photo", "qa_id", "image_id")
        .with_columns(turn=place.over("task"))
        .sort("turn", pl.col("task").cast(pl.String), "qa_id", "image_id")
        .head(limit)
        .drop("turn", "nth_of_photo")
    )


def draw_pairs(photo: Photo, pairs: pl.DataFrame) -> Photo:
    """Draw the objects of some pairs of one photo.

    Args:
        photo: upright RGB, (height, width, 3), uint8; it is left as it is.
        pairs: rows with `task`, `object_ids`, `answer_object_ids` and `boxes` (0-1000).

    Returns:
        A copy of the photo. One pair has the colours and labels of `object_colors` and `object_labels`,
        several have a colour a task. Where the answer is some of its objects, those are tinted.
    """
    several = pairs.height > 1
    boxes = [
        box for row in pairs.iter_rows(named=True) for box in _pair_boxes(row, photo.shape[1], photo.shape[0], several)
    ]
    return _drawn(photo, boxes)


def contact_sheet(rows: pl.DataFrame, photos: Mapping[str, Photo], columns: int = 4, width: int = 1000) -> bytes:
    """A sheet of pairs: each photo with its objects, the question and the answer below.

    Args:
        rows: pairs in the order of the sheet; those whose photo is not in `photos` are not asked for.
        photos: upright RGB photos by `image_id`, (height, width, 3), uint8.
        columns: tiles in a row.
        width: of the sheet, in pixels.

    Returns:
        WebP bytes, at most `MAX_BYTES` where that can be had without illegible text.

    Raises:
        KeyError: a pair's photo is not in `photos`.
        ValueError: no rows.
    """
    side = _tile_width(rows.height, columns, width)
    tiles = [
        _Tile(
            photo=draw_pairs(_fitted(photos[row["image_id"]], side), rows[index]),
            heading=str(row["task"]).replace("_", " "),
            color=TASK_COLORS[str(row["task"])],
            text=f"Q  {row['question']}\nA  {row['answer']}",
        )
        for index, row in enumerate(rows.iter_rows(named=True))
    ]
    return _sheet(tiles, columns, width)


def contact_sheet_of_photos(photos: Mapping[str, Photo], columns: int = 4, width: int = 1000) -> bytes:
    """A sheet of photos with their ids.

    Args:
        photos: upright RGB photos by `image_id`, (height, width, 3), uint8.
        columns: tiles in a row.
        width: of the sheet, in pixels.

    Returns:
        WebP bytes.

    Raises:
        ValueError: no photos.
    """
    side = _tile_width(len(photos), columns, width)
    tiles = [
        _Tile(_fitted(photo, side), image_id, _INK, f"{photo.shape[1]} x {photo.shape[0]}")
        for image_id, photo in photos.items()
    ]
    return _sheet(tiles, columns, width)


def contact_sheet_of_detections(
    rows: pl.DataFrame, photos: Mapping[str, Photo], columns: int = 3, width: int = 1000
) -> bytes:
    """A sheet of photos with the objects found in them.

    Args:
        rows: of the table `detections`: `image_id`, `category`, `score`, `origin`, `x1` … `y2` in pixels.
        photos: upright RGB photos by `image_id`, (height, width, 3), uint8; one tile each.
        columns: tiles in a row.
        width: of the sheet, in pixels.

    Returns:
        WebP bytes. Each category has a colour; a human's boxes say `human` for want of a score.

    Raises:
        ValueError: no photos.
    """
    found = rows.filter(pl.col("image_id").is_in(list(photos))).sort("image_id", "object_id")
    categories = found["category"].unique().sort().to_list()
    colors = {category: BOX_COLORS[i % len(BOX_COLORS)] for i, category in enumerate(categories)}
    side = _tile_width(len(photos), columns, width)
    tiles: list[_Tile] = []
    for image_id, photo in photos.items():
        objects, small = found.filter(image_id=image_id), _fitted(photo, side)
        scale = small.shape[1] / photo.shape[1]
        boxes = [
            _Box(
                (row["x1"] * scale, row["y1"] * scale, row["x2"] * scale, row["y2"] * scale),
                f"{row['category']} {'human' if row['score'] is None else format(row['score'], '.2f')}",
                colors[row["category"]],
            )
            for row in objects.iter_rows(named=True)
        ]
        tiles.append(_Tile(_drawn(small, boxes), image_id, _INK, f"objects: {objects.height}"))
    return _sheet(tiles, columns, width)


def contact_sheet_of_depth(
    rows: pl.DataFrame, photos: Mapping[str, Photo], columns: int = 2, width: int = 1000
) -> bytes:
    """A sheet of depth maps, each beside its photo: near is warm, far is cold.

    Args:
        rows: of the table `depth_maps`, their `png` with them; one tile each.
        photos: upright RGB photos by `image_id`, (height, width, 3), uint8.
        columns: tiles in a row.
        width: of the sheet, in pixels.

    Returns:
        WebP bytes.

    Raises:
        KeyError: a map's photo is not in `photos`.
        ValueError: no rows.
    """
    side = _tile_width(rows.height, columns, width)
    tiles = [
        _Tile(
            photo=_fitted(
                np.hstack([photos[row["image_id"]], _colored_depth(row["png"], photos[row["image_id"]])]), side
            ),
            heading=row["image_id"],
            color=_INK,
            text=f"{row['reading']}, {row['kind']}{', mirrored' if row['mirrored'] else ''}: "
            f"{row['near']:.3g} to {row['far']:.3g}{' m' if row['kind'] == 'metric' else ''}",
        )
        for row in rows.iter_rows(named=True)
    ]
    return _sheet(tiles, columns, width)


def as_markdown_image(webp: bytes, alt: str = "contact sheet") -> str:
    """Markdown that shows a WebP where no file can be served, as in an asset's metadata."""
    return f"![{alt}](data:image/webp;base64,{base64.b64encode(webp).decode()})"


def encode_jpeg(photo: Photo, longest_side: int, quality: int = 82) -> bytes:
    """A photo as JPEG, made smaller where its longer side exceeds `longest_side` pixels."""
    image = Image.fromarray(photo)
    image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _pair_boxes(row: Mapping[str, object], width: int, height: int, by_task: bool) -> list[_Box]:
    task, object_ids, boxes, answers = str(row["task"]), row["object_ids"], row["boxes"], row["answer_object_ids"]
    assert isinstance(object_ids, list)
    assert isinstance(boxes, list)
    assert isinstance(answers, list)
    across, down = width / _SCALE, height / _SCALE
    labels = object_labels(task, len(boxes))
    colors = [TASK_COLORS[task]] * len(boxes) if by_task else object_colors(task, len(boxes))
    return [
        _Box(
            corners=(box[0] * across, box[1] * down, box[2] * across, box[3] * down),
            label=label,
            color=color,
            is_answer=object_id in answers and len(answers) < len(boxes),
        )
        for object_id, box, label, color in zip(object_ids, boxes, labels, colors, strict=True)
    ]


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _drawn(photo: Photo, boxes: Sequence[_Box]) -> Photo:
    height, width = photo.shape[:2]
    side = max(height, width)
    stroke = max(2, round(side / 240))
    font = _font(max(12, side / 34))
    image = Image.fromarray(photo)
    tint = Image.new("RGBA", image.size)
    brush = ImageDraw.Draw(tint)
    for box in boxes:
        if box.is_answer:
            brush.rectangle(_clipped(box.corners, width, height), fill=f"{box.color}3c")
    for box in boxes:
        brush.rectangle(_grown(box.corners, stroke / 2, width, height), outline="#000000a0", width=2 * stroke)
        brush.rectangle(_clipped(box.corners, width, height), outline=box.color, width=stroke)
    for box in boxes:
        _label(brush, box, font, width, height)
    return np.asarray(Image.alpha_composite(image.convert("RGBA"), tint).convert("RGB"))


def _label(
    brush: ImageDraw.ImageDraw, box: _Box, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, height: int
) -> None:
    left, top, right, bottom = brush.textbbox((0, 0), box.label, font=font)
    pad = (bottom - top) * 0.3
    label_width, label_height = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(box.corners[0], 0), max(width - label_width, 0))
    above = box.corners[1] - label_height
    y = above if above >= 0 else min(max(box.corners[1], 0), max(height - label_height, 0))
    brush.rectangle((x, y, x + label_width, y + label_height), fill=box.color)
    brush.text((x + pad - left, y + pad - top), box.label, font=font, fill=text_on(box.color))


def _clipped(corners: tuple[float, float, float, float], width: int, height: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = corners
    left, top = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    return left, top, max(min(x2, width - 1), left), max(min(y2, height - 1), top)


def _grown(
    corners: tuple[float, float, float, float], by: float, width: int, height: int
) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = corners
    return _clipped((x1 - by, y1 - by, x2 + by, y2 + by), width, height)


def _colored_depth(png: bytes, photo: Photo) -> Photo:
    import cv2

    with Image.open(io.BytesIO(png)) as image:
        steps = np.asarray(image).astype(np.float64)  # logarithm of depth: 0 nearest, 65535 farthest
    near = np.round(255 - steps / 257).astype(np.uint8)
    colored = cv2.cvtColor(cv2.applyColorMap(near, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    resized = cv2.resize(colored, (photo.shape[1], photo.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def _sheet(tiles: Sequence[_Tile], columns: int, width: int) -> bytes:
    if not tiles:
        raise ValueError("a contact sheet needs at least one tile")
    columns = min(columns, len(tiles))
    tile_width = _tile_width(len(tiles), columns, width)
    images = [_tile_image(tile, tile_width) for tile in tiles]
    lines = [images[start : start + columns] for start in range(0, len(images), columns)]
    heights = [max(image.height for image in line) for line in lines]
    sheet = Image.new("RGB", (width, sum(heights) + _GUTTER * (len(lines) + 1)), _PAPER)
    y = _GUTTER
    for line, height in zip(lines, heights, strict=True):
        for column, image in enumerate(line):
            sheet.paste(image, (_GUTTER + column * (tile_width + _GUTTER), y))
        y += height + _GUTTER
    return _small_webp(sheet)


def _tile_width(tiles: int, columns: int, width: int) -> int:
    columns = max(1, min(columns, tiles))
    return (width - _GUTTER * (columns + 1)) // columns


def _fitted(photo: Photo, width: int) -> Photo:
    """A photo as large as a tile of that width shows it: what is drawn on it then is not made smaller."""
    scale = min(width / photo.shape[1], _TALLEST * width / photo.shape[0])
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def _tile_image(tile: _Tile, width: int) -> Image.Image:
    photo = Image.fromarray(tile.photo)
    font, heading_font = _font(_CAPTION_SIZE), _font(_CAPTION_SIZE - 1)
    characters = max(12, math.floor(width / (_CAPTION_SIZE * 0.52)))
    lines = [
        piece
        for line in tile.text.splitlines()
        for piece in textwrap.wrap(line, characters, max_lines=5, placeholder=" …", break_long_words=True)
    ]
    line_height = round(_CAPTION_SIZE * 1.4)
    image = Image.new("RGB", (width, photo.height + line_height * (len(lines) + 1) + 10), _PAPER)
    image.paste(photo, (0, 0))
    brush = ImageDraw.Draw(image)
    y = photo.height + 8
    brush.rectangle((0, y + 3, 9, y + 12), fill=tile.color)
    heading = textwrap.shorten(tile.heading, characters, placeholder="…") or tile.heading[:characters]
    brush.text((16, y), heading, font=heading_font, fill=_MUTED)
    for line in lines:
        y += line_height
        brush.text((0, y), line, font=font, fill=_INK)
    return image


def _small_webp(image: Image.Image) -> bytes:
    while True:
        for quality in (80, 65, 50, 40, 30):
            buffer = io.BytesIO()
            image.save(buffer, format="WEBP", quality=quality, method=6)
            if buffer.tell() <= MAX_BYTES:
                return buffer.getvalue()
        if image.width <= _LEGIBLE_WIDTH:
            return buffer.getvalue()
        width = max(image.width * 4 // 5, _LEGIBLE_WIDTH)
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
