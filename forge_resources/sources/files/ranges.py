"""Parts of large files, read from any position by several threads at once."""

import io
import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from indexed_gzip import IndexedGzipFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Ranges(Protocol):
    """A file that is read in parts."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on; fewer than `length` only where the file ends. Threads may call it at once.

        Raises:
            OSError: if they cannot be read.
        """
        ...

    def close(self) -> None:
        """Give back what is held open."""
        ...


class FileRanges:
    """Parts of a file on disk; satisfies `Ranges`.

    Raises:
        OSError: if the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on, as `Ranges` has it."""
        found = bytearray()
        while len(found) < length and (part := os.pread(self._file.fileno(), length - len(found), offset + len(found))):
            found += part
        return bytes(found)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class GzipRanges:
    """Parts of what a gzip file unpacks to, by way of its seek index.

    Each thread has a handle of its own while it reads; handles are kept for the next read. A handle
    holds the whole seek index in memory.

    Args:
        path: The gzip file.
        index: Its seek index, as `IndexedGzipFile.export_index` wrote it.
    """

    def __init__(self, path: Path, index: Path) -> None:
        self._path = path
        self._index = index
        self._idle: deque[Any] = deque()

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on, as `Ranges` has it."""
        try:
            handle = self._idle.pop()
        except IndexError:
            handle = open_gzip(self._path, index_file=str(self._index))
        try:
            return handle.pread(length, offset)
        finally:
            self._idle.append(handle)

    def close(self) -> None:
        """Close all handles; no thread may be reading."""
        while self._idle:
            self._idle.pop().close()


def open_gzip(path: Path, **options: Any) -> Any:  # noqa: ANN401 - the library has no types
    """A gzip file that can be read from any position.

    Args:
        path: The file.
        options: Of `IndexedGzipFile`: `spacing` in bytes for a new seek index, `index_file` for one that is there.

    Raises:
        OSError: if the file cannot be read or the seek index is of another file.
    """
    return IndexedGzipFile(str(path), drop_handles=False, readbuf_size=1 << 20, buffer_size=1 << 20, **options)


class RangeFile(io.RawIOBase):
    """A file object over `Ranges`, for libraries that want one; wrap it in `io.BufferedReader`.

    Args:
        ranges: What is read.
        size: Bytes of the whole file.
    """

    def __init__(self, ranges: Ranges, size: int) -> None:
        super().__init__()
        self._ranges = ranges
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position, which is returned."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise OSError(f"position {origin + offset} lies before the file")
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the buffer from the position on; returns the number of bytes."""
        view = memoryview(buffer).cast("B")
        length = min(len(view), max(0, self._size - self._position))
        found = self._ranges.read_at(self._position, length) if length else b""
        view[: len(found)] = found
        self._position += len(found)
        return len(found)
