"""What lies where in an archive: one row a photo, sound or refused."""

import logging
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import IO, Final, Self

import polars as pl

from forge_resources.sources.files.paths import Refusal, is_photo, safe_path

SCHEMA: Final = {
    "path": pl.String,
    "kind": pl.String,
    "offset": pl.Int64,
    "extent": pl.Int64,
    "packed": pl.Int64,
    "size": pl.Int64,
    "crc": pl.Int64,
    "rule": pl.String,
    "detail": pl.String,
}

_BLOCK: Final = 1 << 20
_ENCRYPTED: Final = 0x1
_ZIP_KINDS: Final = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
_LOCAL_HEADER_MAX: Final = 30 + 2 * 0xFFFF
_DEFLATE_GROWTH: Final = 1_000
"""Deflate adds at most 5 bytes to each 16 KB, and a few."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """One photo in an archive; the fields are those of `SCHEMA`."""

    path: str
    """`<archive>/<path in the archive>`."""
    kind: str
    """`tar`: the bytes lie as they are. `stored`, `deflated`: a zip's local header and what follows it."""
    offset: int
    """Of the first byte to read; of a tar.gz, in what it unpacks to."""
    extent: int
    """Bytes to read from there."""
    packed: int
    """Bytes of the photo as it lies there."""
    size: int
    """Bytes of the photo."""
    crc: int
    """CRC-32 of the photo's bytes."""
    rule: str | None = None
    """By which it is refused; None if it is sound."""
    detail: str | None = None


def index_tar(file: IO[bytes], archive: str) -> Iterator[Member]:
    """Read a tar once, from its beginning to its end.

    Args:
        file: Of the tar, unpacked; need not be seekable.
        archive: Name of the archive without its suffix.

    Raises:
        tarfile.TarError: if it is no tar, or damaged, or ends before its end mark.
    """
    with tarfile.open(fileobj=file, mode="r|", bufsize=_BLOCK, tarinfo=_StrictTarInfo) as tar:
        for info in tar:
            if info.isdir() or not is_photo(info.name):
                continue
            path, refusal = _member_path(info.name, archive)
            refusal = refusal or _tar_refusal(info)
            if refusal:
                yield Member(path, "tar", 0, 0, 0, max(info.size, 0), 0, refusal.rule, refusal.detail)
            else:
                yield Member(path, "tar", info.offset_data, info.size, info.size, info.size, _crc(tar, info))
    if any(block.strip(b"\0") for block in iter(lambda: file.read(_BLOCK), b"")):
        _log.warning("%s: what follows the end mark of this tar is left out", archive)


def index_zip(file: IO[bytes], archive: str) -> Iterator[Member]:
    """Read the directory of a zip.

    Args:
        file: Of the zip; seekable.
        archive: Name of the archive without its suffix.

    Raises:
        zipfile.BadZipFile: if it is no zip, or its directory is damaged or missing.
    """
    with zipfile.ZipFile(file) as directory:
        infos = sorted(directory.infolist(), key=lambda info: info.header_offset)
        ends = [info.header_offset for info in infos[1:]] + [directory.start_dir]
    for info, end in zip(infos, ends, strict=True):
        if info.orig_filename.endswith("/") or not is_photo(info.orig_filename):
            continue
        path, refusal = _member_path(info.orig_filename, archive)
        refusal = refusal or _zip_refusal(info)
        if refusal:
            yield Member(path, "stored", 0, 0, 0, info.file_size, 0, refusal.rule, refusal.detail)
        else:
            extent = min(end - info.header_offset, info.compress_size + _LOCAL_HEADER_MAX)
            kind = _ZIP_KINDS[info.compress_type]
            yield Member(path, kind, info.header_offset, extent, info.compress_size, info.file_size, info.CRC)


def index_table(members: Iterator[Member]) -> pl.DataFrame:
    """The index of an archive: columns of `SCHEMA`, one row a path, sorted by path.

    Members of one path and the same bytes are one; of several with other bytes, or that are refused, none is
    taken: the path is refused.
    """
    rows = pl.DataFrame([astuple(member) for member in members], schema=SCHEMA, orient="row")
    several = pl.len().over("path") > 1
    differ = (pl.struct("size", "crc").n_unique() > 1).over("path") | pl.col("rule").is_not_null().any().over("path")
    refused = several & differ
    detail = pl.format("{} members of the archive have this path", pl.len().over("path"))
    return (
        rows.with_columns(
            rule=pl.when(refused).then(pl.lit("unreadable_file")).otherwise("rule"),
            detail=pl.when(refused).then(detail).otherwise("detail"),
        )
        .sort("path", "offset", maintain_order=True)
        .unique("path", keep="first", maintain_order=True)
    )


class _StrictTarInfo(tarfile.TarInfo):
    """Makes errors of what `tarfile` takes for the end of an archive: a bad header, or no end mark."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # the end mark
            raise tarfile.ReadError(f"{error} where a member or the end mark should be") from error


def _member_path(name: str, archive: str) -> tuple[str, Refusal | None]:
    first, *others = name.split("/")
    parts = [first, *(part for part in others if part)] if first != "." else [part for part in others if part]
    parts = [part for part in parts if part != "."]
    if parts[0] == archive and len(parts) > 1:
        parts = parts[1:]
    path, refusal = safe_path("/".join(parts))
    return f"{archive}/{path}", refusal


def _tar_refusal(info: tarfile.TarInfo) -> Refusal | None:
    if info.issym() or info.islnk():
        return Refusal("link_in_archive", f"a link to {info.linkname!r}")
    if not info.isreg():
        return Refusal("unreadable_file", "a device, a pipe or the like")
    if info.issparse():
        return Refusal("unreadable_file", "a sparse file")
    return None


def _crc(tar: tarfile.TarFile, info: tarfile.TarInfo) -> int:
    content = tar.extractfile(info)
    assert content is not None
    crc = 0
    while block := content.read(_BLOCK):
        crc = zlib.crc32(block, crc)
    return crc


def _zip_refusal(info: zipfile.ZipInfo) -> Refusal | None:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return Refusal("link_in_archive", "a link")
    if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
        return Refusal("unreadable_file", "a device, a pipe or the like")
    if info.flag_bits & _ENCRYPTED:
        return Refusal("unreadable_file", "encrypted")
    if info.compress_type not in _ZIP_KINDS:
        return Refusal("unreadable_file", f"packed by method {info.compress_type}; only store and deflate are read")
    if info.compress_size > info.file_size + info.file_size // _DEFLATE_GROWTH + _DEFLATE_GROWTH:
        return Refusal("unreadable_file", f"{info.compress_size} bytes are said to hold {info.file_size}")
    return None
