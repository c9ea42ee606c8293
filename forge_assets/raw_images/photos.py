"""One shard of photos, checked and streamed as batches of the table `raw_images`."""

import dataclasses
import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
from more_itertools import constrained_batches

from forge_assets.raw_images.naming import LabelNaming
from forge_assets.raw_images.shard_duplicates import SAME_PICTURE, ShardDuplicates
from forge_assets.tables import RAW_IMAGES, REJECTED_IMAGES
from forge_resources.config import SourceConfig
from forge_resources.images import PhotoInfo, UnusablePhoto, inspect, upright
from forge_resources.parquet import IMAGE
from forge_resources.perceptual_hash import ENOUGH_SIDE, HASH_BITS, perceptual_hash
from forge_resources.shards import ShardKey
from forge_resources.sources.base import Member, PhotoLabels, PhotoSource, ShardReader, SourcePhoto

BATCH_PHOTOS: Final = 128
BATCH_BYTES: Final = 64_000_000
HARMLESS_LABEL_RULES: Final = ("label_duplicate", "label_absent", "label_unrelated")
"""They lose no object: it stands in the labels once more, nobody labelled the photo, or its own row tells of it."""
_AHEAD_BYTES: Final = 64_000_000
_HANDFUL: Final = 32
"""Photos that go from thread to thread together, at most."""
_SPLIT_DIGITS: Final = 8
_INFO_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(PhotoInfo))
_OF_LABELS: Final = {name: RAW_IMAGES[name] for name in ("labels", "points", "counts", "relationships")}

_RejectedRow = tuple[str, str, str, str | None, str | None]
Progress = Callable[[int, int], None]
"""Called with the photos that are done and the photos of the shard."""


class RejectedPhotos:
    """What a shard could not take, gathered while it streams: photos, and single labels of photos.

    Args:
        key: The shard.
    """

    def __init__(self, key: ShardKey) -> None:
        self._key = key
        self._rows: list[_RejectedRow] = []

    def add(self, path: str, rule: str, detail: str, sha256: str | None = None, phash: str | None = None) -> None:
        """Note one photo, or one label of a photo if `rule` begins with `label_`; hashes if it was decoded."""
        self._rows.append((path, rule, detail, sha256, phash))

    @property
    def photos(self) -> int:
        """How many photos were rejected; rejected labels do not count."""
        return sum(not rule.startswith("label_") for _, rule, *_ in self._rows)

    def counts(self) -> dict[str, int]:
        """Rejected photos and labels by rule, sorted by rule."""
        return dict(sorted(Counter(rule for _, rule, *_ in self._rows).items()))

    def frame(self) -> pl.DataFrame:
        """Rows of the table `rejected_images`, sorted by image id, rule and detail."""
        rows = [
            (image_id(self._key, path), self._key.source, self._key.shard, path, *rest)
            for path, *rest in sorted(self._rows, key=lambda row: row[:3])
        ]
        return pl.DataFrame(rows, schema=dict(REJECTED_IMAGES), orient="row")


def image_id(key: ShardKey, path: str) -> str:
    """The id of a photo: its source, and its path in there."""
    return f"{key.source}/{path}"


def split_of(sha256: str, val_share: float) -> str:
    """`val` or `train`, by the photo's content alone.

    Args:
        sha256: Of the photo's bytes, hexadecimal.
        val_share: Share of photos, 0-1, that is to be `val`.
    """
    return "val" if int(sha256[:_SPLIT_DIGITS], 16) / 16**_SPLIT_DIGITS < val_share else "train"


def raw_images(
    key: ShardKey,
    members: Sequence[Member],
    source: PhotoSource,
    config: SourceConfig,
    *,
    naming: LabelNaming,
    val_share: float,
    rejects: RejectedPhotos,
    progress: Progress | None = None,
) -> Iterator[pl.DataFrame]:
    """Stream one shard as batches of `raw_images`, sorted by image id.

    Each member becomes a row here or, by the time the stream ends, a row of `rejects`. A batch has at
    most 128 photos and 64 MB of bytes (or one larger photo); besides it about as much is read ahead.

    Args:
        key: The shard.
        members: Its photos.
        source: Where their bytes and labels come from.
        config: Licence and limits of the source.
        naming: Names the classes of the labels, and counts the unknown ones.
        val_share: Share of photos, 0-1, in the split `val`.
        rejects: Takes what cannot be used, and why.
        progress: Called after each batch and at the end.

    Raises:
        SourceError: if the source or its labels cannot be used.
    """
    ordered = sorted(members)
    duplicates = ShardDuplicates(config.max_near_duplicate_distance)
    batch: list[_Photo] = []
    batch_bytes = 0
    with source.open_shard(ordered) as shard:
        for done, outcome in enumerate(_checked(ordered, shard, config, source.threads), start=1):
            photo = _first_of_its_kind(outcome, duplicates)
            if isinstance(photo, _Reject):
                rejects.add(photo.path, photo.rule, photo.detail, photo.sha256, photo.phash)
                continue
            for problem in photo.labels.problems:
                rejects.add(photo.path, problem.rule, problem.detail)
            if batch and (len(batch) == BATCH_PHOTOS or batch_bytes + len(photo.data) > BATCH_BYTES):
                yield _frame(key, batch, naming, val_share)
                batch, batch_bytes = [], 0
                if progress is not None:
                    progress(done - 1, len(ordered))
            batch.append(photo)
            batch_bytes += len(photo.data)
    if batch:
        yield _frame(key, batch, naming, val_share)
    if progress is not None:
        progress(len(ordered), len(ordered))


@dataclass(frozen=True, slots=True)
class _Photo:
    path: str
    data: bytes
    sha256: str
    phash: str | None
    info: PhotoInfo
    license: str
    labels: PhotoLabels


@dataclass(frozen=True, slots=True)
class _Reject:
    path: str
    rule: str
    detail: str
    sha256: str | None = None
    phash: str | None = None


def _first_of_its_kind(outcome: "_Photo | _Reject", duplicates: ShardDuplicates) -> "_Photo | _Reject":
    if isinstance(outcome, _Reject):
        return outcome
    earlier = duplicates.earlier(outcome.path, outcome.sha256, outcome.phash)
    if earlier is None:
        return outcome
    detail = f"the same bytes as {earlier.image_id}"
    if earlier.rule == SAME_PICTURE:
        detail = (
            f"the same picture as {earlier.image_id}: their hashes differ in {earlier.distance} of {HASH_BITS} bits"
        )
    return _Reject(outcome.path, earlier.rule, detail, outcome.sha256, outcome.phash)


def _checked(
    members: Sequence[Member], shard: ShardReader, config: SourceConfig, threads: int
) -> Iterator["_Photo | _Reject"]:
    """Each member read, decoded and labelled, in order; the threads work a bounded way ahead, a handful each.

    Reads wait and may be many; of decoding threads, more than there are cores only get in each other's way.
    """
    ahead: deque[tuple[int, Future[list[_Photo | _Reject]]]] = deque()
    ahead_bytes = 0
    with ThreadPoolExecutor(threads, "reading") as reading, ThreadPoolExecutor(os.cpu_count(), "decoding") as decoding:
        try:
            for handful in _handfuls(members, threads):
                size = sum(member.byte_size for member in handful)
                while ahead and (len(ahead) > threads or ahead_bytes + size > _AHEAD_BYTES):
                    first_size, first = ahead.popleft()
                    ahead_bytes -= first_size
                    yield from first.result()
                read = reading.submit(_read_all, handful, shard, config)
                ahead.append((size, decoding.submit(_check_all, handful, read, shard, config)))
                ahead_bytes += size
            while ahead:
                yield from ahead.popleft()[1].result()
        finally:
            decoding.shutdown(wait=False, cancel_futures=True)
            reading.shutdown(wait=False, cancel_futures=True)


def _handfuls(members: Sequence[Member], threads: int) -> Iterator[tuple[Member, ...]]:
    """Members in order, fewer at a time where there are few, so that all threads have some to read."""
    most = min(max(len(members) // (4 * threads), 1), _HANDFUL)
    return constrained_batches(members, _AHEAD_BYTES // 4, most, get_len=lambda member: member.byte_size, strict=False)


def _read_all(members: Sequence[Member], shard: ShardReader, config: SourceConfig) -> "list[SourcePhoto | _Reject]":
    return [_read(member, shard, config) for member in members]


def _check_all(
    members: Sequence[Member],
    read: "Future[list[SourcePhoto | _Reject]]",
    shard: ShardReader,
    config: SourceConfig,
) -> "list[_Photo | _Reject]":
    return [
        photo if isinstance(photo, _Reject) else _check(member, photo, shard, config)
        for member, photo in zip(members, read.result(), strict=True)
    ]


def _read(member: Member, shard: ShardReader, config: SourceConfig) -> "SourcePhoto | _Reject":
    try:
        _require_bytes_under(config.max_bytes, member.byte_size)
        photo = shard.read(member)
        _require_bytes_under(config.max_bytes, len(photo.data))
    except UnusablePhoto as error:
        return _Reject(member.path, error.rule, error.detail)
    except FileNotFoundError as error:
        return _Reject(member.path, "missing_photo", error.strerror or str(error))
    except OSError as error:
        return _Reject(member.path, "unreadable_file", error.strerror or str(error))
    return photo


def _check(member: Member, photo: SourcePhoto, shard: ShardReader, config: SourceConfig) -> "_Photo | _Reject":
    try:
        info, image = inspect(
            photo.data,
            max_pixels=config.max_pixels,
            min_side=config.min_side,
            rotation=photo.rotation,
            enough_side=ENOUGH_SIDE,
        )
    except UnusablePhoto as error:
        return _Reject(member.path, error.rule, error.detail)
    return _Photo(
        path=member.path,
        data=photo.data,
        sha256=hashlib.sha256(photo.data).hexdigest(),
        phash=perceptual_hash(upright(image, info.orientation)),
        info=info,
        license=photo.license or config.license,
        labels=shard.labels(member, info.width, info.height),
    )


def _require_bytes_under(limit: int, byte_size: int) -> None:
    if byte_size > limit:
        raise UnusablePhoto("too_many_bytes", f"{byte_size} bytes, more than {limit}")


def _frame(key: ShardKey, photos: Sequence[_Photo], naming: LabelNaming, val_share: float) -> pl.DataFrame:
    images = {"bytes": [photo.data for photo in photos], "path": [photo.path for photo in photos]}
    of_labels = pl.from_dicts([naming.columns(photo.labels) for photo in photos], schema=_OF_LABELS)
    columns: dict[str, pl.Series | list[Any]] = {
        "image_id": [image_id(key, photo.path) for photo in photos],
        "source": [key.source] * len(photos),
        "shard": [key.shard] * len(photos),
        "image": pl.DataFrame(images, schema=IMAGE.to_schema()).to_struct(),
        **{name: [getattr(photo.info, name) for photo in photos] for name in _INFO_COLUMNS},
        "byte_size": [len(photo.data) for photo in photos],
        "sha256": [photo.sha256 for photo in photos],
        "phash": [photo.phash for photo in photos],
        "license": [photo.license for photo in photos],
        "split": [split_of(photo.sha256, val_share) for photo in photos],
        "is_labeled": [photo.labels.is_labeled for photo in photos],
        "labels_dropped": [_labels_dropped(photo.labels) for photo in photos],
        **of_labels.to_dict(),
    }
    return pl.DataFrame({name: columns[name] for name in RAW_IMAGES}, schema=dict(RAW_IMAGES))


def _labels_dropped(labels: PhotoLabels) -> int:
    return sum(problem.rule not in HARMLESS_LABEL_RULES for problem in labels.problems)
