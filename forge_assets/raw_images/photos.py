"""One shard of photos, checked and streamed as batches of the table `raw_images`."""

import dataclasses
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from forge_assets.tables import RAW_IMAGES, REJECTED_IMAGES
from forge_resources.config import SourceConfig
from forge_resources.images import PhotoInfo, UnusablePhoto, inspect
from forge_resources.shards import ShardKey
from forge_resources.sources.base import LabelReader, Member, PhotoLabels, PhotoSource

BATCH_PHOTOS: Final = 64
BATCH_BYTES: Final = 64_000_000
HARMLESS_LABEL_RULE: Final = "label_duplicate"
"""What it drops stands in the photo's labels once more."""
_THREADS: Final = 4
_AHEAD_PHOTOS: Final = 16
_AHEAD_BYTES: Final = 64_000_000
_SPLIT_DIGITS: Final = 8

Progress = Callable[[int, int], None]
"""Called with the photos that are done and the photos of the shard."""


class RejectedPhotos:
    """What a shard could not take, gathered while it streams: photos, and single labels of photos.

    Args:
        key: The shard.
    """

    def __init__(self, key: ShardKey) -> None:
        self._key = key
        self._rows: list[tuple[str, str, str]] = []

    def add(self, path: str, rule: str, detail: str) -> None:
        """Note one photo, or one label of a photo if `rule` begins with `label_`."""
        self._rows.append((path, rule, detail))

    @property
    def photos(self) -> int:
        """How many photos were rejected; rejected labels do not count."""
        return sum(not rule.startswith("label_") for _, rule, _ in self._rows)

    def counts(self) -> dict[str, int]:
        """Rejected photos and labels by rule, sorted by rule."""
        return dict(sorted(Counter(rule for _, rule, _ in self._rows).items()))

    def frame(self) -> pl.DataFrame:
        """Rows of the table `rejected_images`, sorted by image id, rule and detail."""
        rows = [
            (image_id(self._key, path), self._key.source, self._key.shard, path, rule, detail)
            for path, rule, detail in sorted(self._rows)
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
    val_share: float,
    rejects: RejectedPhotos,
    progress: Progress | None = None,
) -> Iterator[pl.DataFrame]:
    """Stream one shard as batches of `raw_images`, sorted by image id.

    Each member becomes a row here or, by the time the stream ends, a row of `rejects`. A batch has at
    most 64 photos and 64 MB of bytes (or one larger photo); besides it about as much is read ahead.

    Args:
        key: The shard.
        members: Its photos.
        source: Where their bytes and labels come from.
        config: Licence and limits of the source.
        val_share: Share of photos, 0-1, in the split `val`.
        rejects: Takes what cannot be used, and why.
        progress: Called after each batch and at the end.

    Raises:
        SourceError: if the source's labels cannot be used.
    """
    ordered = sorted(members)
    read_labels = source.labels(ordered)
    kept: dict[str, str] = {}
    batch: list[_Photo] = []
    for done, outcome in enumerate(_checked(ordered, source, config, read_labels), start=1):
        photo = _first_of_its_kind(outcome, kept)
        if isinstance(photo, _Reject):
            rejects.add(photo.path, photo.rule, photo.detail)
            continue
        for problem in photo.labels.problems:
            rejects.add(photo.path, problem.rule, problem.detail)
        if batch and (len(batch) == BATCH_PHOTOS or _bytes_of([*batch, photo]) > BATCH_BYTES):
            yield _frame(key, batch, config.license, val_share)
            batch = []
            if progress is not None:
                progress(done - 1, len(ordered))
        batch.append(photo)
    if batch:
        yield _frame(key, batch, config.license, val_share)
    if progress is not None:
        progress(len(ordered), len(ordered))


@dataclass(frozen=True, slots=True)
class _Photo:
    path: str
    data: bytes
    sha256: str
    info: PhotoInfo
    labels: PhotoLabels


@dataclass(frozen=True, slots=True)
class _Reject:
    path: str
    rule: str
    detail: str


def _first_of_its_kind(outcome: "_Photo | _Reject", kept: dict[str, str]) -> "_Photo | _Reject":
    if isinstance(outcome, _Reject):
        return outcome
    first = kept.setdefault(outcome.sha256, outcome.path)
    if first == outcome.path:
        return outcome
    return _Reject(outcome.path, "duplicate_image", f"the same bytes as {first}, which is kept")


def _checked(
    members: Sequence[Member], source: PhotoSource, config: SourceConfig, read_labels: LabelReader
) -> Iterator["_Photo | _Reject"]:
    """Each member read, decoded and labelled, in order; a few threads work a bounded way ahead."""
    ahead: deque[tuple[Member, Future[_Photo | _Reject]]] = deque()
    ahead_bytes = 0
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="photos") as pool:
        try:
            for member in members:
                while ahead and (len(ahead) >= _AHEAD_PHOTOS or ahead_bytes + member.byte_size > _AHEAD_BYTES):
                    first, future = ahead.popleft()
                    ahead_bytes -= first.byte_size
                    yield future.result()
                ahead.append((member, pool.submit(_check, member, source, config, read_labels)))
                ahead_bytes += member.byte_size
            while ahead:
                yield ahead.popleft()[1].result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _check(member: Member, source: PhotoSource, config: SourceConfig, read_labels: LabelReader) -> "_Photo | _Reject":
    try:
        _require_bytes_under(config.max_bytes, member.byte_size)
        data = source.read(member)
        _require_bytes_under(config.max_bytes, len(data))
        info = inspect(data, max_pixels=config.max_pixels, min_side=config.min_side)
    except UnusablePhoto as error:
        return _Reject(member.path, error.rule, error.detail)
    except OSError as error:
        return _Reject(member.path, "unreadable_file", error.strerror or str(error))
    labels = read_labels(member, info.width, info.height)
    return _Photo(member.path, data, hashlib.sha256(data).hexdigest(), info, labels)


def _require_bytes_under(limit: int, byte_size: int) -> None:
    if byte_size > limit:
        raise UnusablePhoto("too_many_bytes", f"{byte_size} bytes, more than {limit}")


def _bytes_of(photos: Sequence[_Photo]) -> int:
    return sum(len(photo.data) for photo in photos)


def _frame(key: ShardKey, photos: Sequence[_Photo], license_name: str, val_share: float) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "image_id": image_id(key, photo.path),
            "source": key.source,
            "shard": key.shard,
            "image": {"bytes": photo.data, "path": photo.path},
            **dataclasses.asdict(photo.info),
            "byte_size": len(photo.data),
            "sha256": photo.sha256,
            "license": license_name,
            "split": split_of(photo.sha256, val_share),
            "is_labeled": photo.labels.is_labeled,
            "labels_dropped": sum(problem.rule != HARMLESS_LABEL_RULE for problem in photo.labels.problems),
            "labels": [dataclasses.asdict(label) for label in photo.labels.labels],
        }
        for photo in photos
    ]
    return pl.DataFrame(rows, schema=dict(RAW_IMAGES))
