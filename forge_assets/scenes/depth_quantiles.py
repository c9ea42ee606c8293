"""Depth of objects from dense maps: robust quantiles over the inner part of each box."""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.depth_maps.encoding import decode_depth
from forge_assets.tables import DEPTH_READING

ERODED_SHARE = 0.2
"""Cut off each side of a box, as a share of its width or height: the rim is mostly background."""
QUANTILES = (0.1, 0.5, 0.9)

SCHEMA = pl.Schema({"object_id": pl.String(), **DEPTH_READING.to_schema()})


def inner_depths(depth: NDArray[np.float32], box: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """The depths inside an eroded box, at least one pixel.

    Args:
        depth: map of shape (height, width).
        box: x1, y1, x2, y2 as shares of the photo, 0-1.
    """
    height, width = depth.shape
    x1, y1, x2, y2 = box
    dx, dy = ERODED_SHARE * (x2 - x1), ERODED_SHARE * (y2 - y1)
    left, right = _pixel_range(x1 + dx, x2 - dx, width)
    top, bottom = _pixel_range(y1 + dy, y2 - dy, height)
    return depth[top:bottom, left:right]


def _pixel_range(start: float, stop: float, size: int) -> tuple[int, int]:
    first = min(max(int(start * size), 0), size - 1)
    return first, max(min(int(np.ceil(stop * size)), size), first + 1)


def depths_of_shard(maps: Iterable[pl.DataFrame], objects: pl.DataFrame, photos: pl.DataFrame) -> pl.DataFrame:
    """`object_depths` of a stream of depth maps, so that memory follows the batch and not the shard.

    Args:
        maps: batches of rows of `depth_maps`; none where no network reads depth.
        objects: object_id, image_id, x1, y1, x2, y2 (pixels).
        photos: image_id, width, height (pixels).
    """
    sizes = photos.select("image_id", image_width="width", image_height="height")
    placed = objects.join(sizes, on="image_id")
    return pl.concat([SCHEMA.to_frame(), *(object_depths(batch, placed) for batch in maps)])


def object_depths(maps: pl.DataFrame, objects: pl.DataFrame) -> pl.DataFrame:
    """Quantiles of each reading of each object, one row an object and map.

    Args:
        maps: rows of `depth_maps`.
        objects: object_id, image_id, x1, y1, x2, y2 (pixels), image_width, image_height.

    Returns:
        object_id, reading, mirrored, kind, q10, q50, q90 (in the map's unit), depth_model.
    """
    boxes = objects.select(
        "image_id",
        "object_id",
        *(pl.col(x) / pl.col("image_width") for x in ("x1", "x2")),
        *(pl.col(y) / pl.col("image_height") for y in ("y1", "y2")),
    ).partition_by("image_id", as_dict=True)
    return pl.DataFrame(list(_rows(maps, boxes)), schema=SCHEMA, orient="row")


def _rows(
    maps: pl.DataFrame, boxes: dict[tuple[object, ...], pl.DataFrame]
) -> Iterator[tuple[str, str, bool, str, float, float, float, str]]:
    for row in maps.iter_rows(named=True):
        inside = boxes.get((row["image_id"],))
        if inside is None:
            continue
        depth = decode_depth(row["png"], row["near"], row["far"])
        for object_id, x1, y1, x2, y2 in inside.select("object_id", "x1", "y1", "x2", "y2").iter_rows():
            q10, q50, q90 = np.quantile(inner_depths(depth, (x1, y1, x2, y2)), QUANTILES)
            yield (
                object_id, row["reading"], row["mirrored"], row["kind"],
                float(q10), float(q50), float(q90), row["depth_model"],
            )  # fmt: skip
