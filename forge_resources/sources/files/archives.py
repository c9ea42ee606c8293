"""Photos in one archive, read where they lie: nothing is unpacked to disk."""

import errno
import hashlib
import io
import logging
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

import polars as pl
from filelock import FileLock

from forge_resources.images import UnusablePhoto
from forge_resources.sources.base import PhotoFile, SourceError
from forge_resources.sources.files.archive_index import Member, index_table, index_tar, index_zip
from forge_resources.sources.files.ranges import GzipRanges, RangeFile, Ranges, open_gzip

_VERSION: Final = 1
_READ_AHEAD: Final = 8 << 20
_MIN_SPACING: Final = 4 << 20
_MAX_SEEK_POINTS: Final = 1024
"""Each takes 32 KB, on disk and in each handle."""
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
_LOCAL_SIGNATURE: Final = b"PK\3\4"
_DAMAGE: Final = (
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
    OSError,
    EOFError,
    ValueError,
    ArithmeticError,
    LookupError,
    struct.error,
    zlib.error,
)
"""What the libraries raise on an archive that is not what its headers promised."""

_log = logging.getLogger(__name__)


class Holder(Protocol):
    """What keeps archives: a folder or an S3 prefix."""

    def address(self, path: str) -> str:
        """Where a file lies, for people and to tell it from all others."""
        ...

    def ranges(self, file: PhotoFile) -> Ranges:
        """Parts of one file, read at will."""
        ...

    def local_copy(self, file: PhotoFile, folder: Path) -> Path:
        """The file on disk: itself, or a copy in `folder`."""
        ...


class Archive:
    """The photos of a `.tar`, `.tar.gz`, `.tgz` or `.zip`; satisfies `PhotoFiles`.

    A photo's path is the archive's name without its suffix and the member's path in the archive, without a
    leading folder of that same name: `x.jpg` and `patch0/x.jpg` of patch0.tar.gz are both `patch0/x.jpg`.
    Its version is the CRC-32 and size of its bytes; each read is checked against them.

    A member whose name leads out (rule `outside_folder`), a link (`link_in_archive`), a device, an encrypted
    or sparse member, and a path that members with other bytes share (`unreadable_file`) are listed under a
    safe path and refused on reading.

    An archive is indexed once, in one pass, and again when its size, time or ETag has changed. The index
    lies in the cache; of a gzip file, with a seek index of about 8 MB a GB. Tars and zips on S3 are read by
    ranges; a tar.gz on S3 is copied to the cache first, and stays there.

    Args:
        holder: What keeps the archive.
        file: The archive there.
        name: Its name without its suffix.
        cache: Local folder for the index.
        source: Name of the source, for messages.
    """

    def __init__(self, holder: Holder, file: PhotoFile, name: str, cache: Path, *, source: str) -> None:
        self._holder = holder
        self._file = file
        self._name = name
        self._source = source
        self._address = holder.address(file.path)
        self._folder = cache / "archives" / _digest(self._address)
        self._lock = Lock()
        self._members: dict[str, int] | None = None
        self._table: pl.DataFrame | None = None
        self._ranges: Ranges | None = None

    def list_files(self) -> Iterator[PhotoFile]:
        """All photos, sorted by path.

        Raises:
            SourceError: if the archive is damaged or cannot be read: none of its photos is listed then.
        """
        for path, size, crc in self._indexed().select("path", "size", "crc").iter_rows():
            yield PhotoFile(path, size, f"{crc:08x}-{size}")

    def read(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """The bytes of one photo. Threads may call it at once.

        Args:
            path: As listed.
            max_bytes: Larger photos are refused; None: no limit.

        Raises:
            SourceError: if the archive is damaged or cannot be read.
            OSError: if there is no such photo, or its bytes are not those that were indexed.
            UnusablePhoto: by rule `outside_folder`, `link_in_archive`, `unreadable_file`, or `too_many_bytes` if
                it is larger than allowed.
        """
        member, ranges = self._opened(path)
        if member.rule is not None:
            raise UnusablePhoto(member.rule, f"{self._address}: {member.detail}")
        if max_bytes is not None and member.size > max_bytes:
            raise UnusablePhoto("too_many_bytes", f"{member.size} bytes, more than {max_bytes}")
        data = _unpacked(member, ranges.read_at(member.offset, member.extent))
        if data is None or len(data) != member.size or zlib.crc32(data) != member.crc:
            raise OSError(errno.EIO, "its checksum is another: the archive is damaged, or has changed", path)
        return data

    def close(self) -> None:
        """Close the archive; no thread may be reading."""
        if self._ranges is not None:
            self._ranges.close()
        self._ranges = self._table = self._members = None

    def _opened(self, path: str) -> tuple[Member, Ranges]:
        with self._lock:
            if self._table is None or self._members is None:
                self._table = self._indexed()
                self._members = {member: row for row, member in enumerate(self._table["path"])}
            if self._ranges is None:
                self._ranges = self._open_ranges()
            row = self._members.get(path)
            if row is None:
                raise FileNotFoundError(errno.ENOENT, f"not in {self._address}", path)
            return Member(*self._table.row(row)), self._ranges

    @property
    def _is_gzip(self) -> bool:
        return self._file.path.lower().endswith((".gz", ".tgz"))

    @property
    def _version_folder(self) -> Path:
        return self._folder / _digest(f"{_VERSION} {self._name} {self._file.byte_size} {self._file.version}")

    def _open_ranges(self) -> Ranges:
        if not self._is_gzip:
            return self._holder.ranges(self._file)
        folder = self._version_folder
        return GzipRanges(self._holder.local_copy(self._file, folder), folder / "seek.gzidx")

    def _indexed(self) -> pl.DataFrame:
        folder = self._version_folder
        target = folder / "members.parquet"
        if not target.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock"):
                if not target.exists():
                    self._write_index(folder, target)
        return pl.read_parquet(target)

    def _write_index(self, folder: Path, target: Path) -> None:
        for stale in self._folder.iterdir():
            if stale.is_dir():
                shutil.rmtree(stale)
        folder.mkdir()
        _log.info("source %s: indexing %s, %d bytes, once", self._source, self._address, self._file.byte_size)
        try:
            table = self._gzip_table(folder) if self._is_gzip else self._plain_table()
        except UnusablePhoto as error:
            raise SourceError(
                f"source {self._source}: {self._address} {error.detail}: configure the folder that it points to, or "
                "put the archive itself in its place"
            ) from error
        except _DAMAGE as error:
            raise SourceError(
                f"source {self._source}: {self._address} is damaged, cut short or no archive ({error}): none of its "
                "photos is taken; fetch or pack it anew, or move it away"
            ) from error
        staged = target.with_suffix(".part")
        table.write_parquet(staged)
        staged.replace(target)

    def _plain_table(self) -> pl.DataFrame:
        index = index_zip if self._file.path.lower().endswith(".zip") else index_tar
        with (
            closing(self._holder.ranges(self._file)) as ranges,
            io.BufferedReader(RangeFile(ranges, self._file.byte_size), _READ_AHEAD) as file,
        ):
            return index_table(index(file, self._name))

    def _gzip_table(self, folder: Path) -> pl.DataFrame:
        path = self._holder.local_copy(self._file, folder)
        spacing = max(_MIN_SPACING, self._file.byte_size // _MAX_SEEK_POINTS)
        with open_gzip(path, spacing=spacing) as file:
            table = index_table(index_tar(file, self._name))
            file.export_index(str(folder / "seek.gzidx"))
            return table


def _unpacked(member: Member, block: bytes) -> bytes | None:
    """The photo's bytes; at most one more than it is to have. None if they are not where they should be."""
    if member.kind == "tar":
        return block
    if len(block) < _LOCAL_HEADER.size:
        return None
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(block)
    start = _LOCAL_HEADER.size + name_bytes + extra_bytes
    packed = block[start : start + member.packed]
    if signature != _LOCAL_SIGNATURE:
        return None
    if member.kind == "stored":
        return packed
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
    except zlib.error:
        return None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
