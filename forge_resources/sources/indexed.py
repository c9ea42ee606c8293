"""Photos in files, their labels in an index: what Objects365, OpenImages and COCO folders have in common."""

import logging
import posixpath
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from forge_resources.config import MissingPhotos
from forge_resources.images import UnusablePhoto
from forge_resources.sources.base import Member, PhotoFiles, PhotoLabels, ReadableFiles, SourceError, SourcePhoto
from forge_resources.sources.index import IndexedPhotos, LabelIndex

KeyOf = Callable[[str], str]
"""The index key of a photo, by the path of its file."""
PathOf = Callable[[str, frozenset[str]], str | None]
"""Where the photo of a key should lie, given the folders that hold photos; None if its folder is not there yet."""

ABSENT: Final = "absent"
_EXAMPLES: Final = 3

_log = logging.getLogger(__name__)


class IndexedFiles:
    """Files of photos that an index describes; satisfies `PhotoSource`.

    A file that the index does not name is a photo without labels. A photo that the index names and that
    is not where it should be is a member all the same: reading it tells that it is missing. So is one whose
    name leads out of the source: reading it refuses it, and opens nothing.

    Args:
        name: Of the source, for messages.
        files: Where the photos lie.
        index: Opens the index; called once, when it is first needed.
        key_of: The index key of a file.
        path_of: Where a named photo should lie.
        missing: What becomes of photos that are not there.
        threads: How many photos are best read at once.
    """

    def __init__(
        self,
        name: str,
        *,
        files: PhotoFiles,
        index: Callable[[], LabelIndex],
        key_of: KeyOf,
        path_of: PathOf,
        missing: MissingPhotos,
        threads: int,
    ) -> None:
        self.name = name
        self.threads = threads
        self._files = files
        self._open_index = index
        self._index: LabelIndex | None = None
        self._key_of = key_of
        self._path_of = path_of
        self._missing: MissingPhotos = missing

    def list_photos(self) -> list[Member]:
        """All photos that are there, and those that should be.

        Raises:
            SourceError: if the files cannot be listed, the index cannot be made, or two files have one key.
        """
        versions = dict(self._labels().photos().select("key", "version").collect().iter_rows())
        found: dict[str, str] = {}
        members: list[Member] = []
        for file in self._files.list_files():
            key = self._key_of(file.path)
            if key in found:
                raise SourceError(
                    f"source {self.name}: {found[key]} and {file.path} are both photo {key}: remove one of them"
                )
            found[key] = file.path
            members.append(Member(file.path, file.byte_size, f"{file.version} {versions.get(key, '')}".strip()))
        if members and not found.keys() & versions.keys():
            raise SourceError(
                f"source {self.name}: none of its {len(members)} photos, such as {members[0].path}, is named by the "
                f"labels: correct the paths in its configuration"
            )
        members.extend(self._absent(versions.keys() - found.keys(), frozenset(map(posixpath.dirname, found.values()))))
        return sorted(members)

    def _absent(self, keys: set[str], folders: frozenset[str]) -> Iterator[Member]:
        inside = (key for key in keys if not leads_out(key))
        expected = [path for key in inside if (path := self._path_of(key, folders)) is not None]
        yield from absent_members(self.name, filter(leads_out, keys), expected, self._missing)

    @contextmanager
    def open_shard(self, members: Sequence[Member]) -> Generator["IndexedShard"]:
        """The reader of these photos and of their labels.

        Raises:
            SourceError: if the index cannot be made.
        """
        known = self._labels().shard([self._key_of(member.path) for member in members])
        try:
            yield IndexedShard(self._files, known, self._key_of)
        finally:
            self._files.close()

    def written(self, members: Sequence[Member]) -> None:
        """Nothing is kept for a shard."""

    def counts(self) -> Mapping[str, int]:
        """No figures."""
        return {}

    def _labels(self) -> LabelIndex:
        if self._index is None:
            self._index = self._open_index()
        return self._index


def absent_members(
    source: str, outside: Iterable[str], expected: Iterable[str], missing: MissingPhotos
) -> Iterator[Member]:
    """Members for photos that labels name and that are not there: reading each tells why.

    Args:
        source: Its name, for the log.
        outside: Names that lead out of the source.
        expected: Paths where a photo should be.
        missing: What becomes of the expected ones.
    """
    yield from (Member(path, 0, ABSENT) for path in sorted(outside))
    paths = sorted(expected)
    if paths:
        _log.warning(
            "source %s: %d photos that the labels name are not there and are %s, such as %s",
            source,
            len(paths),
            "skipped" if missing == "skip" else "rejected as missing_photo",
            ", ".join(paths[:_EXAMPLES]),
        )
    if missing == "reject":
        yield from (Member(path, 0, ABSENT) for path in paths)


class IndexedShard:
    """Photos of one shard, from files, with what the index knows of them; satisfies `ShardReader`.

    Args:
        files: Where the photos lie.
        known: What the index knows.
        key_of: The index key of a file.
        unnamed: What to say of the labels of a file that the index does not name; default, as the index has it.
    """

    def __init__(
        self,
        files: ReadableFiles,
        known: IndexedPhotos,
        key_of: KeyOf,
        unnamed: Callable[[str], PhotoLabels] | None = None,
    ) -> None:
        self._files = files
        self._known = known
        self._key_of = key_of
        self._unnamed = unnamed

    def read(self, member: Member) -> SourcePhoto:
        """One photo, turned and licensed as the index says.

        Raises:
            OSError: if the file is not there or cannot be read.
            UnusablePhoto: by rule `outside_folder` if its name leads out, or if the files refuse it.
        """
        if leads_out(member.path):
            raise UnusablePhoto("outside_folder", f"the labels name it {member.path}, which leads out of the source")
        data = self._files.read(member.path)
        photo = self._known.photo(self._key_of(member.path))
        if photo is None:
            return SourcePhoto(data)
        return SourcePhoto(data, photo["rotation"], photo["license"])

    def labels(self, member: Member, width: int, height: int) -> PhotoLabels:
        """The human labels of a photo, given its upright width and height in pixels."""
        key = self._key_of(member.path)
        if self._unnamed is not None and self._known.photo(key) is None:
            return self._unnamed(member.path)
        return self._known.labels(key, width, height)


def leads_out(path: str) -> bool:
    """Whether a photo of that name would lie outside its source: an absolute path, or one that climbs."""
    parts = path.split("/")
    return not parts[0] or ".." in parts
