"""Depth of objects from dense maps: robust quantiles over the inner part of each box."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.depth_maps.encoding import decode_depth
from forge_assets.scenes.overlap import boxes_in_front
from forge_assets.tables import DEPTH_READING

ERODED_SHARE = 0.2
"""Cut off each side of a box, as a share of its width or height: the rim is mostly background."""
QUANTILES = (0.1, 0.5, 0.9)

MIN_SEEN_SHARE = 0.2
"""Of the pixels inside: where boxes in front leave fewer, nothing is read."""

SCHEMA = pl.Schema({"object_id": pl.String(), **DEPTH_READING.to_schema()})


Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 as shares of the photo, 0-1."""


def inner_depths(depth: NDArray[np.float32], box: Box, in_front: Sequence[Box] = ()) -> NDArray[np.float32]:
    """The depths inside an eroded box that no box in front covers.

    Args:
        depth: map of shape (height, width).
        box: of the object.
        in_front: boxes of objects that may hide it.

    Returns:
        One axis; empty where less than `MIN_SEEN_SHARE` of the inner pixels is left.
    """
    height, width = depth.shape
    x1, y1, x2, y2 = box
    dx, dy = ERODED_SHARE * (x2 - x1), ERODED_SHARE * (y2 - y1)
    left, right = _pixel_range(x1 + dx, x2 - dx, width)
    top, bottom = _pixel_range(y1 + dy, y2 - dy, height)
    inside = depth[top:bottom, left:right]
    is_seen = np.ones(inside.shape, dtype=np.bool_)
    for other_x1, other_y1, other_x2, other_y2 in in_front:
        columns = slice(max(int(other_x1 * width) - left, 0), max(int(np.ceil(other_x2 * width)) - left, 0))
        lines = slice(max(int(other_y1 * height) - top, 0), max(int(np.ceil(other_y2 * height)) - top, 0))
        is_seen[lines, columns] = False
    seen = inside[is_seen]
    return seen if seen.size >= MIN_SEEN_SHARE * inside.size else seen[:0]


def _pixel_range(start: float, stop: float, size: int) -> tuple[int, int]:
    first = min(max(int(start * size), 0), size - 1)
    return first, max(min(int(np.ceil(stop * size)), size), first + 1)


def depths_of_shard(maps: Iterable[pl.DataFrame], objects: pl.DataFrame, photos: pl.DataFrame) -> pl.DataFrame:
    """`object_depths` of a stream of depth maps, so that memory follows the batch and not the shard.

    Args:
        maps: batches of rows of `depth_maps`; none where no network reads depth.
        objects: object_id, image_id, category, x1, y1, x2, y2 (pixels).
        photos: image_id, width, height (pixels).
    """
    sizes = photos.select("image_id", image_width="width", image_height="height")
    placed = objects.join(sizes, on="image_id")
    return pl.concat([SCHEMA.to_frame(), *(object_depths(batch, placed) for batch in maps)])


def object_depths(maps: pl.DataFrame, objects: pl.DataFrame) -> pl.DataFrame:
    """Quantiles of each reading of each object, one row an object and map.

    Args:
        maps: rows of `depth_maps`.
        objects: object_id, image_id, category, x1, y1, x2, y2 (pixels), image_width, image_height.

    Returns:
        object_id, reading, mirrored, kind, q10, q50, q90 (in the map's unit), depth_model; no row of an object that
        others hide.
    """
    boxes = (
        objects.join(boxes_in_front(objects), on="object_id", how="left")
        .select(
            "image_id",
            "object_id",
            pl.col("in_front").fill_null([]),
            *(pl.col(x) / pl.col("image_width") for x in ("x1", "x2")),
            *(pl.col(y) / pl.col("image_height") for y in ("y1", "y2")),
        )
        .partition_by("image_id", as_dict=True)
    )
    return pl.DataFrame(list(_rows(maps, boxes)), schema=SCHEMA, orient="row")


def _rows(
    maps: pl.DataFrame, boxes: dict[tuple[object, ...], pl.DataFrame]
) -> Iterator[tuple[str, str, bool, str, float, float, float, str]]:
    for row in maps.iter_rows(named=True):
        inside = boxes.get((row["image_id"],))
        if inside is None:
            continue
        depth = decode_depth(row["png"], row["near"], row["far"])
        for object_id, in_front, *box in inside.select("object_id", "in_front", "x1", "y1", "x2", "y2").iter_rows():
            seen = inner_depths(depth, (box[0], box[1], box[2], box[3]), in_front)
            if not seen.size:
                continue
            q10, q50, q90 = np.quantile(seen, QUANTILES)
            yield (
                object_id, row["reading"], row["mirrored"], row["kind"],
                float(q10), float(q50), float(q90), row["depth_model"],
            )  # fmt: skip
