"""Photos of pairs, read from the lake, and written or linked as files."""

import io
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from forge_resources.errors import ForgeError
from forge_resources.images import decode_upright
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.warehouse import Warehouse

_BATCH_ROWS = 64
_UPRIGHT = 1


class PhotoError(ForgeError, ValueError):
    """A photo that cannot be written or linked; the message says which, and why."""


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
    for source, shard, ids in places.iter_rows():
        yield from photos_of_shard(lake, ShardKey(source, shard), set(ids))


def photos_of_shard(lake: Lake, key: ShardKey, image_ids: Set[str]) -> Iterator[Photo]:
    """Read photos of one shard, a few at a time and in its order; ids that it lacks are left out."""
    columns = ["image_id", "image", "sha256", "orientation"]
    for batch in lake.batches("raw_images", key, _BATCH_ROWS, columns):
        for row in batch.filter(batch["image_id"].is_in(image_ids)).iter_rows(named=True):
            yield Photo(
                image_id=row["image_id"],
                source=key.source,
                path=row["image"]["path"],
                sha256=row["sha256"],
                orientation=row["orientation"],
                data=row["image"]["bytes"],
            )


def upright_bytes(photo: Photo) -> bytes:
    """The source's own bytes, or those of the photo turned upright where it is stored turned.

    Boxes are of the upright photo, and training code seldom heeds EXIF.
    """
    return photo.data if photo.orientation == _UPRIGHT else _turned_upright(photo)


def place_in(root: Path, image_id: str, source: str, path: str) -> Path:
    """Where a photo is put below an image root, as `image` names it in an export: `<source>/<its path there>`.

    Raises:
        PhotoError: if that would lie outside of `root`.
    """
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise PhotoError(f"the photo {image_id} has the path {path!r}, which leads out of {root}")
    target = root / source / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def link_photo(target: Path, original: Path, byte_size: int) -> None:
    """Make `target` a symbolic link to the photo's file in its source.

    Args:
        target: the link.
        original: the file.
        byte_size: of the photo as it was read.

    Raises:
        PhotoError: if the file is gone or has another size.
    """
    if not original.is_file():
        raise PhotoError(f"{original} is not there to be linked to: use --images copy")
    if original.stat().st_size != byte_size:
        raise PhotoError(f"{original} has changed since it was read: plan and run again, or use --images copy")
    target.symlink_to(original.resolve())


def _turned_upright(photo: Photo) -> bytes:
    with Image.open(io.BytesIO(photo.data)) as image:
        image_format = image.format or "JPEG"
    buffer = io.BytesIO()
    Image.fromarray(decode_upright(photo.data, photo.orientation)).save(buffer, format=image_format, quality=95)
    return buffer.getvalue()
