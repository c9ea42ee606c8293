"""Photo files in a folder on disk."""

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from forge_resources.images import UnusablePhoto
from forge_resources.sources.base import PhotoFile, SourceError
from forge_resources.sources.files.paths import PHOTO_SUFFIXES
from forge_resources.sources.files.ranges import FileRanges

_log = logging.getLogger(__name__)


class FolderFiles:
    """Files under one folder, at all depths; satisfies `PhotoFiles`.

    Files are told by their suffix, whatever its case. Hidden files and folders are left out. Links to
    folders are not followed, and a link to a file outside the folder is listed but not read. A file's
    version is its size and its modification time.

    Args:
        root: The folder.
        source: Name of the source, for messages.
    """

    def __init__(self, root: Path, *, source: str) -> None:
        self._root = root.resolve()
        self._source = source

    def list_files(self) -> Iterator[PhotoFile]:
        """All photos, in no order.

        Raises:
            SourceError: if the folder, or one in it, is absent or cannot be read.
        """
        return self.list_entries(PHOTO_SUFFIXES)

    def list_entries(self, suffixes: tuple[str, ...]) -> Iterator[PhotoFile]:
        """All files with one of these lower-case suffixes, in no order.

        Raises:
            SourceError: if the folder, or one in it, is absent or cannot be read.
        """
        folders = [""]
        while folders:
            folder = folders.pop()
            for entry in self._entries(folder):
                path = folder + entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{path}/")
                elif entry.is_symlink() and Path(entry.path).is_dir():
                    _log.warning(
                        "source %s: %s is a link to a folder and is not followed: "
                        "configure what it points to as a source of its own",
                        self._source,
                        path,
                    )
                elif entry.name.lower().endswith(suffixes) and self._can_be_listed(entry, path):
                    yield _listed(entry, path)

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._root / folder) as entries:
                yield from entries
        except OSError as error:
            raise SourceError(
                f"source {self._source}: cannot list {self._root / folder} ({error.strerror}): "
                "correct `path` in its configuration, or make the folder readable"
            ) from error

    def _can_be_listed(self, entry: os.DirEntry[str], path: str) -> bool:
        if not entry.is_symlink() and not entry.is_file():
            _log.warning("source %s: %s is not a regular file and is left out", self._source, path)
            return False
        try:
            path.encode()
        except UnicodeEncodeError:
            _log.warning("source %s: the name of %r is not UTF-8 and is left out: rename it", self._source, path)
            return False
        return True

    def require(self) -> None:
        """Nothing: listing a folder that is absent says so itself."""

    def top_files(self, beginning: str = "") -> list[PhotoFile]:
        """Files directly in the folder whose names begin so, hidden ones left out, sorted by path.

        Raises:
            SourceError: if the folder is absent or cannot be read.
        """
        return sorted(
            _listed(entry, entry.name)
            for entry in self._entries("")
            if entry.name.startswith(beginning) and not entry.name.startswith(".") and entry.is_file()
        )

    def folders(self) -> frozenset[str]:
        """Names of the folders directly in this one, but hidden or empty ones.

        Raises:
            SourceError: if the folder is absent or cannot be read.
        """
        names = (entry.name for entry in self._entries("") if entry.is_dir(follow_symlinks=False))
        return frozenset(name for name in names if not name.startswith(".") and self.has_folder(name))

    def has_folder(self, name: str) -> bool:
        """Whether a folder of that name, with anything in it, lies directly in this one.

        Raises:
            SourceError: if it cannot be read.
        """
        folder = self._root / name
        if folder.is_symlink() or not folder.is_dir():
            return False
        return any(True for _ in self._entries(name))

    def read(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """The bytes of one file.

        Args:
            path: As listed.
            max_bytes: Larger files are refused; None: no limit.

        Raises:
            OSError: if the file is not there or cannot be read.
            UnusablePhoto: by rule `outside_folder` if the path or a link leads out of the folder,
                `unreadable_file` if it is no regular file, `too_many_bytes` if it is larger than allowed.
        """
        target = self._located(path)
        if max_bytes is not None and target.stat().st_size > max_bytes:
            raise UnusablePhoto("too_many_bytes", f"{target.stat().st_size} bytes, more than {max_bytes}")
        return target.read_bytes()

    def _located(self, path: str) -> Path:
        target = Path(os.path.realpath(self._root / path, strict=True))
        if not target.is_relative_to(self._root):
            raise UnusablePhoto("outside_folder", f"leads to {target}, outside {self._root}")
        if not target.is_file():
            raise UnusablePhoto("unreadable_file", "not a regular file")
        return target

    def address(self, path: str) -> str:
        """Where a file lies, for people and to tell it from all others."""
        return str(self._root / path)

    def ranges(self, file: PhotoFile) -> FileRanges:
        """Parts of one file, read at will.

        Raises:
            OSError: if the file is not there, cannot be read, or has changed since it was listed.
            UnusablePhoto: if a link leads out of the folder.
        """
        return FileRanges(self._unchanged(file))

    def local_copy(self, file: PhotoFile, folder: Path) -> Path:  # noqa: ARG002 - S3 needs the folder
        """The file itself: it is on disk already.

        Raises:
            OSError: if the file is not there, or has changed since it was listed.
            UnusablePhoto: if a link leads out of the folder.
        """
        return self._unchanged(file)

    def _unchanged(self, file: PhotoFile) -> Path:
        target = self._located(file.path)
        if _version(target.stat()) != file.version:
            raise OSError(errno.ESTALE, "changed since it was listed", str(target))
        return target


def _listed(entry: os.DirEntry[str], path: str) -> PhotoFile:
    if entry.is_symlink() and not Path(entry.path).exists():
        return PhotoFile(path, 0, "")  # a dangling link: reading it tells
    status = entry.stat()
    return PhotoFile(path, status.st_size, _version(status))


def _version(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"
