"""Photo files under an S3 prefix."""

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError, ResponseStreamingError

from forge_resources.images import UnusablePhoto
from forge_resources.s3 import S3Config, S3Error, S3Uri, asking, client
from forge_resources.sources.base import PhotoFile, SourceError
from forge_resources.sources.files.paths import PHOTO_SUFFIXES, Refusal, is_hidden, safe_path

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectTypeDef

_BROKEN: Final = (HTTPClientError, IncompleteReadError, ResponseStreamingError)
"""What a connection that breaks while an answer comes in raises; boto3 does not ask again by itself then."""
_PAGE: Final = 1_000


class S3Files:
    """Objects under one prefix, at all depths; satisfies `PhotoFiles`.

    Files are told by their suffix, whatever its case. Keys with a part that begins with a dot are left out.
    A key that no file can have everywhere (`..`, `//`, a backslash) is listed under a safe path and refused
    on reading. An object's version is its ETag.

    Args:
        uri: Bucket and prefix.
        s3: How S3 is reached.
        source: Name of the source, for messages.
    """

    def __init__(self, uri: S3Uri, s3: S3Config, *, source: str) -> None:
        self._uri = uri
        self._prefix = f"{uri.key}/" if uri.key else ""
        self._source = source
        self._s3 = s3
        self._client = client(s3)

    def require(self) -> None:
        """Check that anything lies under the prefix.

        Raises:
            SourceError: if nothing does, or S3 does not say.
        """
        if not any(True for _ in self._objects(self._prefix, page_size=1)):
            raise SourceError(f"source {self._source}: nothing lies under {self._uri}: correct `path`")

    def list_files(self) -> Iterator[PhotoFile]:
        """All photos, in no order.

        Raises:
            SourceError: if nothing lies under the prefix, or it cannot be listed in full.
        """
        self.require()
        return self.list_entries(PHOTO_SUFFIXES)

    def list_entries(self, suffixes: tuple[str, ...]) -> Iterator[PhotoFile]:
        """All objects with one of these lower-case suffixes, in no order.

        Raises:
            SourceError: if they cannot be listed in full.
        """
        for name, found in self._objects(self._prefix):
            if name.lower().endswith(suffixes) and not is_hidden(name):
                yield _listed(safe_path(name)[0], found)

    def top_files(self, beginning: str = "") -> list[PhotoFile]:
        """Objects directly under the prefix whose names begin so, hidden ones left out, sorted by path.

        Raises:
            SourceError: if they cannot be listed in full.
        """
        found = self._objects(self._prefix + beginning, delimiter="/")
        return sorted(_listed(name, each) for name, each in found if not is_hidden(name) and safe_path(name)[1] is None)

    def folders(self) -> frozenset[str]:
        """First parts of the keys under the prefix, hidden ones and those of no other key left out.

        Raises:
            SourceError: if they cannot be listed in full.
        """
        found = [each for page in self._pages(self._prefix, delimiter="/") for each in page.get("CommonPrefixes", [])]
        names = (each.get("Prefix", "").removeprefix(self._prefix).removesuffix("/") for each in found)
        return frozenset(name for name in names if name and not name.startswith(".") and self.has_folder(name))

    def has_folder(self, name: str) -> bool:
        """Whether any key but the mark of an empty folder begins with that name and `/`.

        Raises:
            SourceError: if S3 does not say.
        """
        mark = f"{self._prefix}{name}/"
        return any(found.get("Key") != mark for _, found in self._objects(mark, page_size=2))

    def read(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """The bytes of one object. Threads may call it at once.

        Args:
            path: As listed.
            max_bytes: Larger objects are refused; None: no limit.

        Raises:
            OSError: if the object is not there.
            UnusablePhoto: by rule `outside_folder` or `unreadable_file` if its key cannot be that of a file,
                `too_many_bytes` if it is larger than allowed.
            S3Error: if S3 does not do what it is asked, or denies access.
        """
        refusal = safe_path(path)[1]
        if refusal is not None:
            raise UnusablePhoto(refusal.rule, refusal.detail)
        try:
            return self._get(path, max_bytes)
        except FileNotFoundError:
            refusal = self._refusal_of(path)
            if refusal is None:
                raise
            raise UnusablePhoto(refusal.rule, refusal.detail) from None

    def _get(self, path: str, max_bytes: int | None) -> bytes:
        key = self._prefix + path
        with asking(self._s3, f"s3://{self._uri.bucket}/{key}"):
            for _ in range(self._s3.max_attempts - 1):
                try:
                    return self._get_once(key, max_bytes)
                except _BROKEN:
                    continue
            return self._get_once(key, max_bytes)

    def _get_once(self, key: str, max_bytes: int | None) -> bytes:
        response = self._client.get_object(Bucket=self._uri.bucket, Key=key)
        with closing(response["Body"]) as body:
            if max_bytes is not None and response["ContentLength"] > max_bytes:
                raise UnusablePhoto("too_many_bytes", f"{response['ContentLength']} bytes, more than {max_bytes}")
            return body.read()

    def _refusal_of(self, path: str) -> Refusal | None:
        """Why the key that was listed under this path is refused; None if there is no such key."""
        if "%" not in path:
            return None
        beginning = path.partition("%")[0]
        names = (name for name, _ in self._objects(self._prefix + beginning))
        return next((refusal for safe, refusal in map(safe_path, names) if safe == path), None)

    def address(self, path: str) -> str:
        """Where an object lies, for people and to tell it from all others."""
        return f"s3://{self._uri.bucket}/{self._prefix}{path}"

    def ranges(self, file: PhotoFile) -> "S3Ranges":
        """Parts of one object, read at will."""
        return S3Ranges(self._client, self._s3, S3Uri(self._uri.bucket, self._prefix + file.path), file)

    def local_copy(self, file: PhotoFile, folder: Path) -> Path:
        """The object as a file in `folder`, fetched if it is not there.

        Raises:
            OSError: if the object is not there, or is of another size than it was listed with.
            S3Error: if S3 does not do what it is asked.
        """
        target = folder / "archive"
        if target.exists():
            return target
        staged = target.with_suffix(".part")
        with asking(self._s3, self.address(file.path)):
            self._client.download_file(self._uri.bucket, self._prefix + file.path, str(staged))
        if staged.stat().st_size != file.byte_size:
            raise OSError(errno.EIO, f"{staged.stat().st_size} bytes came, not {file.byte_size}", file.path)
        return staged.replace(target)

    def _objects(
        self, prefix: str, *, delimiter: str = "", page_size: int = _PAGE
    ) -> "Iterator[tuple[str, ObjectTypeDef]]":
        """Objects whose keys begin so, each with its key's rest after this source's prefix."""
        for page in self._pages(prefix, delimiter=delimiter, page_size=page_size):
            for found in page.get("Contents", []):
                yield found.get("Key", "").removeprefix(self._prefix), found

    def _pages(
        self, prefix: str, *, delimiter: str = "", page_size: int = _PAGE
    ) -> "Iterator[ListObjectsV2OutputTypeDef]":
        paginator = self._client.get_paginator("list_objects_v2")
        try:
            with asking(self._s3, self._uri):
                yield from paginator.paginate(
                    Bucket=self._uri.bucket,
                    Prefix=prefix,
                    Delimiter=delimiter,
                    PaginationConfig={"PageSize": page_size},
                )
        except S3Error as error:
            raise SourceError(f"source {self._source}: cannot list {self._uri}: {error}") from error


class S3Ranges:
    """Parts of one object; satisfies `Ranges`."""

    def __init__(self, s3: "S3Client", config: S3Config, uri: S3Uri, file: PhotoFile) -> None:
        self._client = s3
        self._s3 = config
        self._uri = uri
        self._etag = file.version
        self._size = file.byte_size

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on, as `Ranges` has it.

        Raises:
            OSError: if the object is not there, or has changed since it was listed.
            S3Error: if S3 does not do what it is asked.
        """
        length = min(length, self._size - offset)
        if length <= 0:
            return b""
        with asking(self._s3, self._uri):
            for _ in range(self._s3.max_attempts - 1):
                try:
                    return self._get_once(offset, length)
                except _BROKEN:
                    continue
            return self._get_once(offset, length)

    def _get_once(self, offset: int, length: int) -> bytes:
        try:
            response = self._client.get_object(
                Bucket=self._uri.bucket,
                Key=self._uri.key,
                Range=f"bytes={offset}-{offset + length - 1}",
                IfMatch=f'"{self._etag}"',
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in {"PreconditionFailed", "412"}:
                raise
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), f"{self._uri} has changed") from error
        with closing(response["Body"]) as body:
            return body.read()

    def close(self) -> None:
        """Nothing is held open."""


def _listed(path: str, found: "ObjectTypeDef") -> PhotoFile:
    return PhotoFile(path, found.get("Size", 0), found.get("ETag", "").strip('"'))
