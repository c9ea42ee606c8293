"""Photos of a selection of pairs, read from the lake and written as files."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from forge_assets.release.export import ExportError, selection
from forge_resources.images import decode_upright
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.warehouse import QueryError, Warehouse

_BATCH_ROWS = 64
_UPRIGHT = 1


@dataclass(frozen=True)
class Photo:
    """One photo as it lies in the lake."""

    image_id: str
    source: str
    path: str
    sha256: str
    orientation: int
    data: bytes


def read_photos(warehouse: Warehouse, lake: Lake, image_ids: Sequence[str]) -> Iterator[Photo]:
    """Read photos by their ids, shard by shard and a few at a time; ids that `raw_images` lacks are left out."""
    places = warehouse.query(
        "SELECT source, shard, list(image_id) AS ids FROM raw_images "
        "WHERE image_id IN (SELECT unnest($ids)) GROUP BY source, shard ORDER BY source, shard",
        {"ids": list(image_ids)},
    )
    columns = ["image_id", "image", "sha256", "orientation"]
    for source, shard, ids in places.iter_rows():
        wanted = set(ids)
        for batch in lake.batches("raw_images", ShardKey(source, shard), _BATCH_ROWS, columns):
            for row in batch.filter(batch["image_id"].is_in(wanted)).iter_rows(named=True):
                image = row["image"]
                yield Photo(
                    image_id=row["image_id"],
                    source=source,
                    path=image["path"],
                    sha256=row["sha256"],
                    orientation=row["orientation"],
                    data=image["bytes"],
                )


def export_photos(
    warehouse: Warehouse, lake: Lake, folder: Path, *, where: str | None = None, split: str | None = None
) -> int:
    """Write the photos of the selected pairs below `folder`, named as `image` names them in an export.

    Files are the source's own bytes, except photos stored turned, which are written upright: boxes are
    of the upright photo, and training code seldom heeds EXIF.

    Returns:
        The number of photos written.

    Raises:
        ExportError: broken SQL, or a path that would lie outside of `folder`.
    """
    try:
        ids = warehouse.query(f"SELECT DISTINCT image_id FROM ({selection(where, split)}) ORDER BY image_id")  # noqa: S608
    except QueryError as error:
        raise ExportError(f"the photos cannot be selected: {error}") from error
    written = 0
    for photo in read_photos(warehouse, lake, ids["image_id"].to_list()):
        relative = PurePosixPath(photo.path)
        if relative.is_absolute() or ".." in relative.parts:
            raise ExportError(f"the photo {photo.image_id} has the path {photo.path!r}, which leads out of {folder}")
        target = folder / photo.source / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(photo.data if photo.orientation == _UPRIGHT else _turned_upright(photo))
        written += 1
    return written


def _turned_upright(photo: Photo) -> bytes:
    with Image.open(io.BytesIO(photo.data)) as image:
        image_format = image.format or "JPEG"
    buffer = io.BytesIO()
    Image.fromarray(decode_upright(photo.data, photo.orientation)).save(buffer, format=image_format, quality=95)
    return buffer.getvalue()
