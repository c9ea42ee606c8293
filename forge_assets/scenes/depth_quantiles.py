"""Depth of objects from dense maps: robust quantiles over the inner part of each box."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.depth_maps.encoding import decode_depth
from forge_assets.scenes.overlap import boxes_in_front
from forge_assets.tables import DEPTH_READING
from forge_resources.models.batching import DECODING_THREADS

ERODED_SHARE = 0.2
"""Cut off each side of a box, as a share of its width or height: the rim is mostly background."""
QUANTILES = (0.1, 0.5, 0.9)

MIN_SEEN_SHARE = 0.2
"""Of the pixels inside: where boxes in front leave fewer, nothing is read."""

SCHEMA = pl.Schema({"object_id": pl.String(), **DEPTH_READING.to_schema()})


Box = Sequence[float]
"""x1, y1, x2, y2 as shares of the photo, 0-1."""
_PlacedBox = tuple[str, Box, Sequence[Box]]
"""object_id, its box, and the boxes in front of it."""


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
    boxes = _boxes_by_photo(objects.join(sizes, on="image_id"))
    with ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="depths") as pool:
        return pl.concat([SCHEMA.to_frame(), *(_depths_of_batch(batch, boxes, pool) for batch in maps)])


def object_depths(maps: pl.DataFrame, objects: pl.DataFrame) -> pl.DataFrame:
    """Quantiles of each reading of each object, one row an object and map.

    Args:
        maps: rows of `depth_maps`.
        objects: object_id, image_id, category, x1, y1, x2, y2 (pixels), image_width, image_height.

    Returns:
        object_id, reading, mirrored, kind, q10, q50, q90 (in the map's unit), depth_model; no row of an object that
        others hide.
    """
    with ThreadPoolExecutor(1) as pool:
        return _depths_of_batch(maps, _boxes_by_photo(objects), pool)


def _boxes_by_photo(objects: pl.DataFrame) -> dict[str, list[_PlacedBox]]:
    placed = (
        objects.join(boxes_in_front(objects), on="object_id", how="left")
        .select(
            "image_id",
            "object_id",
            pl.concat_list(
                pl.col("x1") / pl.col("image_width"),
                pl.col("y1") / pl.col("image_height"),
                pl.col("x2") / pl.col("image_width"),
                pl.col("y2") / pl.col("image_height"),
            ).alias("box"),
            pl.col("in_front").fill_null([]),
        )
        .sort("image_id", maintain_order=True)
    )
    return {
        image_id: [(object_id, box, in_front) for _, object_id, box, in_front in rows]
        for image_id, rows in groupby(placed.iter_rows(), key=itemgetter(0))
    }


def _depths_of_batch(
    maps: pl.DataFrame, boxes: Mapping[str, Sequence[_PlacedBox]], pool: ThreadPoolExecutor
) -> pl.DataFrame:
    wanted = maps.filter(pl.col("image_id").is_in(list(boxes)))
    inside = [boxes[image_id] for image_id in wanted["image_id"]]
    rows = [row for found in pool.map(_depths_of_map, wanted.iter_rows(named=True), inside) for row in found]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _depths_of_map(row: Mapping[str, Any], boxes: Sequence[_PlacedBox]) -> list[tuple[object, ...]]:
    depth = decode_depth(row["png"], row["near"], row["far"])
    seen = ((object_id, inner_depths(depth, box, in_front)) for object_id, box, in_front in boxes)
    return [
        (
            object_id, row["reading"], row["mirrored"], row["kind"],
            *quantiles(values).tolist(), row["depth_model"],
        )
        for object_id, values in seen
        if values.size
    ]  # fmt: skip


def quantiles(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The very numbers that `numpy.quantile` gives for `QUANTILES`, in less than half its time for few values.

    Args:
        values: one axis, not empty, without NaN.
    """
    last = values.size - 1
    places = last * np.array(QUANTILES)
    lower = places.astype(np.intp)
    upper = np.minimum(lower + 1, last)
    ordered = np.partition(values, np.unique(np.concatenate((lower, upper))))
    below, above = ordered[lower], ordered[upper]
    share, step = places - lower, above - below
    return np.where(share < 0.5, below + step * share, above - step * (1 - share))  # noqa: PLR2004 - as NumPy rounds
