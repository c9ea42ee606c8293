"""What a source of photos is, whatever keeps the files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from forge_resources.errors import ForgeError


class SourceError(ForgeError, RuntimeError):
    """A source that cannot be read as it is configured; the message says what to do."""


@dataclass(frozen=True, order=True, slots=True)
class Member:
    """One photo of a source."""

    path: str
    """The source's own id of it: a path in the source, parts joined by `/`."""
    byte_size: int
    """0 where only reading the photo tells."""
    version: str = ""
    """Changes whenever the photo's bytes or its labels may have changed."""


@dataclass(frozen=True, slots=True)
class Label:
    """One human label; the box in pixels of the upright photo, inside its frame.

    A flag is None where the source does not say.
    """

    label_id: str
    category: str
    """As the source names it."""
    x1: float
    y1: float
    x2: float
    y2: float
    is_crowd: bool = False
    """Many objects in one box (COCO, Objects365)."""
    is_group: bool | None = None
    """More than five objects in one box that touch each other (OpenImages)."""
    is_depiction: bool | None = None
    """A drawing, a statue or the like (OpenImages)."""
    is_inside: bool | None = None
    """Seen from within, such as a car or a building (OpenImages)."""
    is_occluded: bool | None = None
    is_truncated: bool | None = None
    """Reaches out of the photo."""
    is_fake: bool | None = None
    """A picture or a toy of the object (Objects365)."""
    is_reflected: bool | None = None
    """Seen in a mirror (Objects365)."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point that a person set on an object, in pixels of the upright photo."""

    label_id: str
    category: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Count:
    """How many objects of a class a person saw in the whole photo."""

    category: str
    count: int


@dataclass(frozen=True, slots=True)
class Relationship:
    """What a person said of two labels of a photo, or of one label and an attribute."""

    subject_label_id: str
    predicate: str
    object_label_id: str | None
    """None where the statement is of an attribute."""
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class LabelProblem:
    """One human label, or all of a photo's, that could not be used."""

    rule: str
    """Begins with `label_`."""
    detail: str
    """What was found, and at which line or annotation id."""


@dataclass(frozen=True, slots=True)
class PhotoLabels:
    """What people said of one photo."""

    is_labeled: bool = False
    """A human labelled this photo, perhaps with no object."""
    labels: tuple[Label, ...] = ()
    problems: tuple[LabelProblem, ...] = ()
    points: tuple[Point, ...] = ()
    counts: tuple[Count, ...] = ()
    relationships: tuple[Relationship, ...] = ()


NO_LABELS = PhotoLabels()

LabelReader = Callable[[Member, int, int], PhotoLabels]
"""Labels of a photo, given its upright width and height in pixels. Threads may call it at once."""


@dataclass(frozen=True, slots=True)
class SourcePhoto:
    """The bytes of one photo, and what its source says of the file."""

    data: bytes
    rotation: int | None = None
    """Degrees counter-clockwise, 0, 90, 180 or 270, that bring the stored pixels upright; None: as EXIF says."""
    license: str | None = None
    """Of this photo; None: that of the source."""


class ShardReader(Protocol):
    """Photos of one shard."""

    def read(self, member: Member) -> SourcePhoto:
        """One photo. Threads may call it at once.

        Raises:
            OSError: if the file is not there or cannot be read.
            UnusablePhoto: if the source refuses it, by a rule of its own.
        """
        ...

    def labels(self, member: Member, width: int, height: int) -> PhotoLabels:
        """The human labels of a photo, given its upright width and height in pixels. Threads may call it at once."""
        ...


class PhotoSource(Protocol):
    """Photos behind one name, with their human labels where there are any."""

    threads: int
    """How many photos are best read at once."""

    def list_photos(self) -> list[Member]:
        """All photos that are there now, sorted by path.

        Raises:
            SourceError: if the source cannot be listed in full.
        """
        ...

    def open_shard(self, members: Sequence[Member]) -> AbstractContextManager[ShardReader]:
        """The reader of these photos and of their labels.

        Raises:
            SourceError: if labels are configured and cannot be used.
        """
        ...

    def written(self, members: Sequence[Member]) -> None:
        """These photos' shard is in the lake: what was kept to make it can go."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Figures of what was read so far, such as downloads by outcome; empty where there are none."""
        ...


@dataclass(frozen=True, order=True, slots=True)
class PhotoFile:
    """A file that keeps a photo, or an archive's member that does."""

    path: str
    """Relative to where the files lie, parts joined by `/`."""
    byte_size: int
    version: str
    """Changes with the file's bytes: modification time, ETag or checksum."""


class ReadableFiles(Protocol):
    """Files of photos whose paths are known."""

    def read(self, path: str) -> bytes:
        """The bytes of one file. Threads may call it at once.

        Raises:
            OSError: if the file is not there or cannot be read.
            UnusablePhoto: by rule `outside_folder` if the path or a link leads out, `link_in_archive` if it is one,
                `unreadable_file` if it is no regular file.
        """
        ...


class PhotoFiles(ReadableFiles, Protocol):
    """Files of photos in a folder, under an S3 prefix, or in archives."""

    def list_files(self) -> Iterable[PhotoFile]:
        """All photos, told by their suffix, in no order.

        Raises:
            SourceError: if they cannot be listed in full.
        """
        ...

    def close(self) -> None:
        """Close what is held open; it is opened again when it is next needed. No thread may be reading."""
        ...
