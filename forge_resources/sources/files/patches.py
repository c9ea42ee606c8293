"""Plain photo files and the members of archives beside them, as one."""

import logging
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Protocol, Self

from forge_resources.sources.base import PhotoFile, SourceError
from forge_resources.sources.files.archives import Archive, Holder
from forge_resources.sources.files.paths import ARCHIVE_SUFFIXES, PHOTO_SUFFIXES, archive_name

_log = logging.getLogger(__name__)


class PlainFiles(Holder, Protocol):
    """A folder or an S3 prefix: files, some of which may be archives."""

    def require(self) -> None:
        """Raise SourceError if there is nothing at all."""
        ...

    def list_entries(self, suffixes: tuple[str, ...]) -> Iterator[PhotoFile]:
        """All files with one of these lower-case suffixes, at all depths, in no order."""
        ...

    def top_files(self, beginning: str = "") -> list[PhotoFile]:
        """Files directly there whose names begin so, sorted by path."""
        ...

    def folders(self) -> frozenset[str]:
        """Names of the folders directly there."""
        ...

    def has_folder(self, name: str) -> bool:
        """Whether a folder of that name, with anything in it, lies directly there."""
        ...

    def read(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """The bytes of one file."""
        ...


class PatchFiles:
    """Photos of a folder or S3 prefix, and of the archives directly in it; satisfies `PhotoFiles`.

    Where a folder and an archive have the same name the folder is taken, with a warning. An archive that
    lies deeper is not opened, with a warning. It is a context manager that closes the archives.

    Args:
        plain: The folder or prefix.
        cache: Local folder for the indexes of archives.
        source: Name of the source, for messages.
    """

    def __init__(self, plain: PlainFiles, cache: Path, *, source: str) -> None:
        self._plain = plain
        self._cache = cache
        self._source = source
        self._lock = Lock()
        self._archives: dict[str, Archive | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the archives; no thread may be reading."""
        with self._lock:
            for archive in filter(None, self._archives.values()):
                archive.close()
            self._archives.clear()

    def groups(self) -> frozenset[str]:
        """First parts of the paths that can be there: folders, and archives without their suffix.

        Raises:
            SourceError: if the folder or prefix cannot be listed.
        """
        archives = (archive_name(file.path) for file in self._plain.top_files())
        return self._plain.folders() | frozenset(filter(None, archives))

    def list_files(self) -> Iterator[PhotoFile]:
        """All photos, in no order.

        Raises:
            SourceError: if the folder or prefix cannot be listed in full, or an archive is damaged.
        """
        self._plain.require()
        archives: list[PhotoFile] = []
        for file in self._plain.list_entries(PHOTO_SUFFIXES + ARCHIVE_SUFFIXES):
            if file.path.lower().endswith(PHOTO_SUFFIXES):
                yield file
            elif "/" in file.path:
                _log.warning("source %s: %s lies in a folder and is not opened", self._source, file.path)
            else:
                archives.append(file)
        for name in sorted({archive_name(file.path) or "" for file in archives} - {""}):
            archive = self._archive(name, [file for file in archives if archive_name(file.path) == name])
            if archive is not None:
                yield from archive.list_files()

    def read(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """The bytes of one photo. Threads may call it at once.

        Args:
            path: As listed.
            max_bytes: Larger photos are refused; None: no limit.

        Raises:
            OSError: if the file is not there or cannot be read.
            UnusablePhoto: by rule `outside_folder`, `link_in_archive`, `unreadable_file` or `too_many_bytes`.
            SourceError: if its archive is damaged.
            S3Error: if S3 does not do what it is asked.
        """
        group, _, rest = path.partition("/")
        if self._archives.get(group) is None:
            try:
                return self._plain.read(path, max_bytes=max_bytes)
            except FileNotFoundError:
                if not rest or self._archive_beside(group) is None:
                    raise
        archive = self._archives[group]
        assert archive is not None
        return archive.read(path, max_bytes=max_bytes)

    def _archive_beside(self, name: str) -> Archive | None:
        with self._lock:
            if name in self._archives:
                return self._archives[name]
        beside = [file for file in self._plain.top_files(f"{name}.") if archive_name(file.path) == name]
        return self._archive(name, beside)

    def _archive(self, name: str, files: list[PhotoFile]) -> Archive | None:
        with self._lock:
            if name not in self._archives:
                self._archives[name] = self._chosen(name, sorted(files))
            return self._archives[name]

    def _chosen(self, name: str, files: list[PhotoFile]) -> Archive | None:
        if not files:
            return None
        if self._plain.has_folder(name):
            _log.warning(
                "source %s: the folder %s is taken, and %s is not opened", self._source, name, _paths_of(files)
            )
            return None
        if len(files) > 1:
            raise SourceError(
                f"source {self._source}: {_paths_of(files)} would give photos the same paths: move all but one away"
            )
        return Archive(self._plain, files[0], name, self._cache, source=self._source)


def _paths_of(files: list[PhotoFile]) -> str:
    return " and ".join(file.path for file in files)
