"""What a source of photos is, whatever keeps the files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from forge_resources.errors import ForgeError


class SourceError(ForgeError, RuntimeError):
    """A source that cannot be read as it is configured; the message says what to do."""


@dataclass(frozen=True, order=True, slots=True)
class Member:
    """One photo of a source."""

    path: str
    """Relative to the source, parts joined by `/`."""
    byte_size: int


@dataclass(frozen=True, slots=True)
class Label:
    """One human label; the box in pixels of the upright photo, inside its frame."""

    label_id: str
    category: str
    x1: float
    y1: float
    x2: float
    y2: float
    is_crowd: bool


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


NO_LABELS = PhotoLabels()

LabelReader = Callable[[Member, int, int], PhotoLabels]
"""Labels of a photo, given its upright width and height in pixels. Threads may call it at once."""


class PhotoSource(Protocol):
    """Photos behind one name, with their human labels where there are any."""

    def list_photos(self) -> list[Member]:
        """All photos that are there now, sorted by path.

        Raises:
            SourceError: if the source cannot be listed in full.
        """
        ...

    def read(self, member: Member) -> bytes:
        """The bytes of one photo. Threads may call it at once.

        Raises:
            OSError: if the file is not there or cannot be read.
            UnusablePhoto: if it is not a file of this source.
        """
        ...

    def labels(self, members: Sequence[Member]) -> LabelReader:
        """The reader of the human labels of these photos; for others it knows none.

        Raises:
            SourceError: if labels are configured and cannot be used.
        """
        ...
