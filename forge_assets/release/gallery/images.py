"""The photos of a gallery and their depth maps, as files beside the page."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from forge_assets.pictures import encode_jpeg
from forge_assets.release.gallery.errors import GalleryError
from forge_resources.images import decode_upright
from forge_resources.lake import Lake, PartitionMissing
from forge_resources.shards import ShardKey

PHOTO_SIDE: Final = 1100
DEPTH_SIDE: Final = 640
COLORMAP: Final = "inferno"
"""Of matplotlib, perceptually uniform: the nearest is brightest."""

_DEPTH_QUALITY = 80
_NAME_DIGITS = 16
_STEPS = 65_535
_LEGEND_COLORS = 9


@dataclass(frozen=True)
class DepthFile:
    """A depth map in colours.

    Attributes:
        name: of the file.
        reading: the network's name.
        near: depth of the brightest pixel, as text.
        far: of the darkest.
    """

    name: str
    reading: str
    near: str
    far: str


@dataclass(frozen=True)
class PhotoFile:
    """A photo beside the page, with its depth map if the lake has one."""

    name: str
    depth: DepthFile | None


def write_images(lake: Lake, folder: Path, chosen: pl.DataFrame) -> dict[str, PhotoFile]:
    """Write photos, smaller, as JPEG and their depth maps as WebP; each photo once, by its content.

    Args:
        lake: only the partitions of the chosen photos are read.
        folder: to write to; it must be there.
        chosen: `image_id`, `source`, `shard`, one row a photo.

    Returns:
        Files by `image_id`.

    Raises:
        GalleryError: photos that their partition of `raw_images` lacks.
    """
    files: dict[str, PhotoFile] = {}
    for (source, shard), rows in sorted(chosen.partition_by("source", "shard", as_dict=True).items()):
        key, wanted = ShardKey(str(source), str(shard)), pl.col("image_id").is_in(rows["image_id"].implode())
        photos = _rows_of(lake, "raw_images", key, wanted, ["image_id", "image", "sha256", "orientation"])
        depth = {row["image_id"]: row for row in _depth_rows(lake, key, wanted)}
        for row in photos.iter_rows(named=True):
            name = row["sha256"][:_NAME_DIGITS]
            photo = decode_upright(row["image"]["bytes"], row["orientation"])
            (folder / f"{name}.jpg").write_bytes(encode_jpeg(photo, PHOTO_SIDE))
            colored = None
            if row["image_id"] in depth:
                colored = _depth_file(f"{name}-depth.webp", depth[row["image_id"]])
                (folder / colored.name).write_bytes(colored_depth(depth[row["image_id"]]["png"]))
            files[row["image_id"]] = PhotoFile(f"{name}.jpg", colored)
    missing = sorted(set(chosen["image_id"]) - set(files))
    if missing:
        raise GalleryError(f"{len(missing)} photos are not in raw_images, for one {missing[0]}")
    return files


def colored_depth(png: bytes) -> bytes:
    """A depth map of the lake as WebP in colours.

    Args:
        png: 16-bit greyscale, the logarithm of depth from the nearest (0) to the farthest (65535).
    """
    with Image.open(io.BytesIO(png)) as image:
        steps = np.asarray(image, dtype=np.float64)
    colors = Image.fromarray(_colors(1 - steps / _STEPS))
    colors.thumbnail((DEPTH_SIDE, DEPTH_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    colors.save(buffer, "WEBP", quality=_DEPTH_QUALITY, method=6)
    return buffer.getvalue()


def legend() -> list[str]:
    """Colours from near to far, as #rrggbb."""
    row = _colors(np.linspace(1, 0, _LEGEND_COLORS)[np.newaxis])[0]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in row.tolist()]


def _colors(nearness: NDArray[np.float64]) -> NDArray[np.uint8]:
    from matplotlib import colormaps

    return np.asarray(colormaps[COLORMAP](nearness, bytes=True), dtype=np.uint8)[..., :3].copy()


def _depth_rows(lake: Lake, key: ShardKey, wanted: pl.Expr) -> Sequence[Mapping[str, Any]]:
    """Of each photo the map of the first reading by name; none where the lake has none."""
    try:
        rows = _rows_of(
            lake, "depth_maps", key, wanted & ~pl.col("mirrored"), ["image_id", "reading", "kind", "near", "far", "png"]
        )
    except PartitionMissing:  # depth is not needed to make pairs of every task
        return []
    return rows.sort("image_id", "reading").unique("image_id", keep="first", maintain_order=True).to_dicts()


def _rows_of(lake: Lake, table: str, key: ShardKey, wanted: pl.Expr, columns: Sequence[str]) -> pl.DataFrame:
    return lake.scan(table, key).filter(wanted).select(columns).collect()


def _depth_file(name: str, row: Mapping[str, Any]) -> DepthFile:
    unit = " m" if row["kind"] == "metric" else ""
    return DepthFile(name, str(row["reading"]), f"{row['near']:.3g}{unit}", f"{row['far']:.3g}{unit}")
