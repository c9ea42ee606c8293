"""The picture that each stage shows of a partition in the Dagster UI, as Markdown; None where nothing is to be seen."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.pictures import (
    as_markdown_image,
    choose_pairs,
    contact_sheet,
    contact_sheet_of_depth,
    contact_sheet_of_detections,
    contact_sheet_of_photos,
)
from forge_resources.images import decode_upright
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

PHOTOS_SHOWN = 4
OBJECT_PHOTOS_SHOWN = 3
DEPTH_MAPS_SHOWN = 2
PAIRS_SHOWN = 4
SHOWN_SCORE = 0.3
"""Weaker detections are evidence, not objects, and are not drawn."""


def _photos(lake: Lake, key: ShardKey, image_ids: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
    rows = lake.scan("raw_images", key).filter(pl.col("image_id").is_in(list(image_ids)))
    found = rows.select("image_id", "image", "orientation").collect()
    return {
        row["image_id"]: decode_upright(row["image"]["bytes"], row["orientation"])
        for row in found.iter_rows(named=True)
    }


def _first_images(rows: pl.DataFrame, count: int) -> list[str]:
    return rows["image_id"].unique().sort().head(count).to_list()


def picture_of_photos(lake: Lake, key: ShardKey) -> str | None:
    """The first photos of a `raw_images` partition."""
    shown = _first_images(lake.scan("raw_images", key).select("image_id").collect(), PHOTOS_SHOWN)
    return as_markdown_image(contact_sheet_of_photos(_photos(lake, key, shown))) if shown else None


def picture_of_detections(lake: Lake, key: ShardKey) -> str | None:
    """Photos of a `detections` partition with boxes, classes and scores."""
    is_named = pl.col("origin").is_in(["human", "detector"])
    rows = lake.scan("detections", key).filter(is_named & (pl.col("score").fill_null(1.0) >= SHOWN_SCORE)).collect()
    shown = _first_images(rows, OBJECT_PHOTOS_SHOWN)
    if not shown:
        return None
    drawn = rows.filter(pl.col("image_id").is_in(shown))
    return as_markdown_image(contact_sheet_of_detections(drawn, _photos(lake, key, shown)))


def picture_of_depth(lake: Lake, key: ShardKey) -> str | None:
    """Depth maps of a `depth_maps` partition beside their photos."""
    rows = lake.scan("depth_maps", key).filter(~pl.col("mirrored")).head(DEPTH_MAPS_SHOWN).collect()
    if rows.is_empty():
        return None
    return as_markdown_image(contact_sheet_of_depth(rows, _photos(lake, key, rows["image_id"].to_list())))


def picture_of_pairs(lake: Lake, key: ShardKey, table: str) -> str | None:
    """A few pairs of a partition, one of each task first."""
    rows = choose_pairs(lake.scan(table, key).collect(), PAIRS_SHOWN)
    if rows.is_empty():
        return None
    return as_markdown_image(contact_sheet(rows, _photos(lake, key, rows["image_id"].to_list())))
