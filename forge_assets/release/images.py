"""Fetch or link the photos of a release, which holds none, from where they lie; what cannot be had becomes a row."""

import csv
import hashlib
import io
import os
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import polars as pl
from PIL import Image

from forge_assets.release.release_folder import IMAGES, Release, ReleaseError
from forge_resources.config import ForgeConfig, PixMoConfig
from forge_resources.images import UnusablePhoto, decode_upright
from forge_resources.lake import Lake
from forge_resources.s3 import S3Config, S3Uri
from forge_resources.shards import ShardKey
from forge_resources.sources import Member, open_source
from forge_resources.sources.files import open_files
from forge_resources.warehouse import Warehouse

MISSING: Final = "missing.csv"
_COLUMNS: Final = ("image_id", "source", "path", "sha256", "orientation")
_UPRIGHT: Final = 1
_THREADS: Final = 8
_LAKE_ROWS: Final = 64
_OPENED_AT_ONCE: Final = 20_000
_QUALITY: Final = 95

Progress = Callable[[int, int], None]
"""Called with the photos that are done and the photos of the release."""


class WantedPhoto(NamedTuple):
    """One photo of a release, as `images.parquet` has it."""

    image_id: str
    source: str
    path: str
    sha256: str
    orientation: int


class Unavailable(NamedTuple):
    """A photo that could not be had: a row of `missing.csv`."""

    image_id: str
    source: str
    path: str
    reason: str


@dataclass(frozen=True)
class FetchedImages:
    """What became of a release's photos."""

    counts: Mapping[str, int]
    """Photos written, linked, there already and missing."""
    missing: Sequence[Unavailable]
    """Sorted by `image_id`."""


ReadPhoto = Callable[[WantedPhoto], bytes]
"""Reads the bytes of one photo; threads may call it at once. Raises OSError or UnusablePhoto where it cannot."""


def fetch_images(
    release: Release,
    output: Path,
    config: ForgeConfig | None,
    places: Mapping[str, Path | S3Uri],
    *,
    link: bool = False,
    progress: Progress | None = None,
) -> FetchedImages:
    """Write the photos of a release, upright, as `<output>/<source>/<path>`, and `missing.csv` of those it cannot.

    A photo comes from the place that is named for its source, else from the lake's raw_images, else from the
    configured source. Bytes must have the SHA-256 of the release. What lies in `output` already is kept.

    Args:
        release: whose photos are wanted.
        output: folder; made if it is not there.
        config: names lake and sources; None: `places` alone count.
        places: folder or S3 prefix of a source's photos, by the source's name.
        link: make symbolic links to photos that lie upright in a folder, in place of copies.
        progress: is told how far it is.

    Raises:
        ReleaseError: a source of the release that is neither named nor configured, or a file that cannot be written.
        SourceError: if a source cannot be opened.
        S3Error: if S3 does not do what it is asked.
    """
    photos = _wanted(release)
    lake = Lake(config.lake, config.s3) if config is not None else None
    counts: Counter[str] = Counter()
    missing: list[Unavailable] = []
    try:
        output.mkdir(parents=True, exist_ok=True)
        for source, rows in photos.group_by("source", maintain_order=True):
            name = str(source[0])
            todo = _not_there(rows, output, counts)
            place = places.get(name)
            if lake is not None and place is None:
                todo = _from_lake(lake, todo, output, counts)
            folder = place if link and isinstance(place, Path) else None
            for start in range(0, len(todo), _OPENED_AT_ONCE):
                part = todo[start : start + _OPENED_AT_ONCE]
                with _reader(name, config, place, part) as read, ThreadPoolExecutor(_THREADS) as pool:
                    for said in pool.map(partial(_fetched, read, output, folder), part):
                        if isinstance(said, Unavailable):
                            missing.append(said)
                        counts["missing" if isinstance(said, Unavailable) else said] += 1
                        if progress is not None:
                            progress(counts.total(), photos.height)
        _write_missing(output, sorted(missing))
    except OSError as error:
        raise ReleaseError(
            f"photos cannot be written to {output} ({error}): make room or mend what is named, then run the command "
            "again; it goes on where it stopped"
        ) from error
    return FetchedImages(dict(sorted(counts.items())), sorted(missing))


def _wanted(release: Release) -> pl.DataFrame:
    import pyarrow.parquet as pq

    if not isinstance(release.root, Path):
        raise ReleaseError(f"{release.root} lies on S3: copy the release to a folder first")
    rows = pl.from_arrow(pq.read_table(release.root / IMAGES, columns=list(_COLUMNS)))
    assert isinstance(rows, pl.DataFrame)
    return rows.select(_COLUMNS).sort("source", "image_id")


def _not_there(rows: pl.DataFrame, output: Path, counts: Counter[str]) -> list[WantedPhoto]:
    """The photos that are not in `output` yet; files of turned photos were written anew, so their bytes say nothing."""
    todo: list[WantedPhoto] = []
    for photo in map(WantedPhoto._make, rows.iter_rows()):
        target = _target(output, photo)
        there = target.is_file() and (photo.orientation != _UPRIGHT or _sha256(target.read_bytes()) == photo.sha256)
        if there:
            counts["there already"] += 1
        else:
            todo.append(photo)
    return todo


def _target(output: Path, photo: WantedPhoto) -> Path:
    relative = PurePosixPath(photo.source) / photo.path
    if PurePosixPath(photo.path).is_absolute() or ".." in relative.parts:
        raise ReleaseError(f"the photo {photo.image_id} has the path {photo.path!r}, which leads out of {output}")
    return output / relative


# --- where photos come from


def _from_lake(lake: Lake, todo: Sequence[WantedPhoto], output: Path, counts: Counter[str]) -> list[WantedPhoto]:
    """Write the photos that raw_images holds; those that it does not hold, or with other bytes."""
    left = {photo.image_id: photo for photo in todo}
    for image_id, data in _lake_photos(lake, list(left)):
        photo = left[image_id]
        if _sha256(data) == photo.sha256:
            _write(_target(output, photo), _upright(data, photo.orientation))
            counts["written"] += 1
            del left[image_id]
    return list(left.values())


def _lake_photos(lake: Lake, image_ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    schema = {"image_id": pl.String(), "source": pl.String(), "shard": pl.String()}
    with Warehouse(lake, {"raw_images": schema}, gated=()) as warehouse:
        warehouse.add_table("wanted", pl.DataFrame({"image_id": image_ids}, schema={"image_id": pl.String}))
        shards = warehouse.query(
            "SELECT source, shard, list(image_id) AS ids FROM raw_images SEMI JOIN wanted USING (image_id) "
            "GROUP BY source, shard ORDER BY source, shard"
        )
    for source, shard, ids in shards.iter_rows():
        wanted = set(ids)
        for batch in lake.batches("raw_images", ShardKey(source, shard), _LAKE_ROWS, ["image_id", "image"]):
            for image_id, image in batch.filter(pl.col("image_id").is_in(wanted)).iter_rows():
                yield image_id, image["bytes"]


@contextmanager
def _reader(
    source: str, config: ForgeConfig | None, place: Path | S3Uri | None, photos: Sequence[WantedPhoto]
) -> Generator[ReadPhoto]:
    settings = config.sources.get(source) if config is not None else None
    if place is None and settings is None:
        raise ReleaseError(
            f"the release has photos of the source {source}, which is not configured: say where they lie with "
            f"--source {source}=PATH"
        )
    shared = config or ForgeConfig()
    with ExitStack() as stack:
        if place is None and isinstance(settings, PixMoConfig):
            members = [Member(photo.path, 0) for photo in photos]
            shard = stack.enter_context(
                open_source(source, settings, shared.s3, shared.cache).open_shard(sorted(members))
            )
            yield lambda photo: shard.read(Member(photo.path, 0)).data
            return
        location = place if place is not None else settings.path if settings is not None else None
        assert location is not None
        s3: S3Config = (settings.s3 if settings is not None else None) or shared.s3
        files = stack.enter_context(open_files(location, s3, shared.cache, source=source))
        yield lambda photo: files.read(photo.path)


# --- one photo


def _fetched(read: ReadPhoto, output: Path, folder: Path | None, photo: WantedPhoto) -> str | Unavailable:
    """`written` or `linked`, or why neither could be done."""
    try:
        data = read(photo)
    except UnusablePhoto as error:
        return _unavailable(photo, str(error))
    except FileNotFoundError:
        return _unavailable(photo, "missing_photo: it is not there")
    except OSError as error:
        return _unavailable(photo, f"unreadable_file: {error.strerror or error}")
    if _sha256(data) != photo.sha256:
        return _unavailable(photo, f"changed: its SHA-256 is {_sha256(data)}, that of the release {photo.sha256}")
    target = _target(output, photo)
    origin = folder / photo.path if folder is not None else None
    if origin is not None and photo.orientation == _UPRIGHT and origin.is_file():
        _link(target, origin)
        return "linked"
    _write(target, _upright(data, photo.orientation))
    return "written"


def _unavailable(photo: WantedPhoto, reason: str) -> Unavailable:
    return Unavailable(photo.image_id, photo.source, photo.path, reason)


def _upright(data: bytes, orientation: int) -> bytes:
    if orientation == _UPRIGHT:
        return data
    with Image.open(io.BytesIO(data)) as image:
        image_format = image.format or "JPEG"
    buffer = io.BytesIO()
    Image.fromarray(decode_upright(data, orientation)).save(buffer, format=image_format, quality=_QUALITY)
    return buffer.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _staged(target: Path) -> Generator[Path]:
    """A name beside the target that becomes the target at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{uuid.uuid4().hex}")
    try:
        yield staged
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)


def _write(target: Path, data: bytes) -> None:
    with _staged(target) as staged:
        staged.write_bytes(data)


def _link(target: Path, origin: Path) -> None:
    with _staged(target) as staged:
        staged.symlink_to(os.path.abspath(origin))  # noqa: PTH100 -- links in the source stay as they are


def _write_missing(output: Path, missing: Sequence[Unavailable]) -> None:
    """The table of photos that are missing now; none where none is."""
    if not missing:
        (output / MISSING).unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Unavailable._fields)
    writer.writerows(missing)
    _write(output / MISSING, text.getvalue().encode())
