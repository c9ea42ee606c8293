"""A store under a prefix of an S3-compatible object store.

S3 has no renaming: a folder counts from the moment at which its last file is there, see `S3Store.publish`.
"""

import re
import tempfile
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pyarrow.parquet as pq
from fsspec.implementations.arrow import ArrowFile, ArrowFSWrapper

from forge_resources.s3 import (
    SCHEME,
    RenewedFilesystem,
    S3Config,
    S3Error,
    S3Uri,
    asking,
    client,
    read_object,
    require_readable,
    storage_options,
)
from forge_resources.stores.disk import filling

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_TAKEN: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
"""What a conditional write is answered with when another was first, or is at it now."""
_OF_S3: Final = re.compile(r"AWS Error (\w+)|object-store error")
"""What Arrow and Polars say where S3 did not answer as it should, and not of files that are damaged."""


class S3Store:
    """Objects under a prefix; what is staged lies in the local folder for temporary files."""

    def __init__(self, root: S3Uri, config: S3Config) -> None:
        self._root = root
        self._config = config

    @cached_property
    def _s3(self) -> "S3Client":
        return client(self._config)

    @cached_property
    def _connected(self) -> RenewedFilesystem:
        return RenewedFilesystem(self._config)

    @property
    def root(self) -> S3Uri:
        """The prefix."""
        return self._root

    def read(self, path: str) -> bytes | None:
        """See `Store`."""
        try:
            return read_object(self._s3, self._config, self._root / path)
        except FileNotFoundError:
            return None

    def write(self, path: str, data: bytes) -> None:
        """See `Store`."""
        uri = self._root / path
        with asking(self._config, uri):
            self._s3.put_object(Bucket=uri.bucket, Key=uri.key, Body=data)

    def create(self, path: str, data: bytes) -> bool:
        """See `Store`; the store must know conditional writes, as AWS, MinIO, R2 and Ceph do."""
        from botocore.exceptions import ClientError

        uri = self._root / path
        with asking(self._config, uri):
            try:
                self._s3.put_object(Bucket=uri.bucket, Key=uri.key, Body=data, IfNoneMatch="*")
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in _TAKEN:
                    raise
                was_asked_again = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0
                return was_asked_again and self.read(path) == data  # the answer to the first try may have been lost
        return True

    def glob(self, pattern: str) -> list[str]:
        """See `Store`."""
        start = f"{self._root.key}/" if self._root.key else ""
        matching = re.compile("[^/]*".join(map(re.escape, pattern.split("*"))))
        found: list[str] = []
        with asking(self._config, self._root):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._root.bucket, Prefix=start + pattern.partition("*")[0]
            )
            for page in pages:
                found += [item["Key"].removeprefix(start) for item in page.get("Contents", []) if "Key" in item]
        return sorted(path for path in found if matching.fullmatch(path))

    def lock(self, folder: str, timeout_s: float) -> nullcontext[None]:  # noqa: ARG002 -- as `Store` has it
        """See `Store`: nobody waits here, `create` tells who was first."""
        return nullcontext()

    @contextmanager
    def staging(self) -> Generator[Path]:
        """See `Store`."""
        with filling(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="forge-lake-") as folder:
            yield Path(folder)

    def publish(self, staged: Path, target: str, last: str) -> None:
        """See `Store`; from the first upload to the end of the last one the folder is not whole, so it is absent."""
        made = sorted(path.name for path in staged.iterdir() if path.name != last)
        for path in self.glob(f"{target}/*"):
            if path.rpartition("/")[2] not in {*made, last}:
                self._delete(path)
        self._delete(f"{target}/{last}")
        for name in (*made, last):
            self._upload(staged / name, f"{target}/{name}")

    def _upload(self, file: Path, path: str) -> None:
        """A large file goes up in parts and is there once all are."""
        uri = self._root / path
        with asking(self._config, uri), file.open("rb") as data:
            self._s3.upload_fileobj(data, Bucket=uri.bucket, Key=uri.key)

    def _delete(self, path: str) -> None:
        uri = self._root / path
        with asking(self._config, uri):
            self._s3.delete_object(Bucket=uri.bucket, Key=uri.key)

    def clear_staging(self, older_than_s: float) -> int:  # noqa: ARG002 -- as `Store` has it
        """See `Store`: nothing is staged in the store itself."""
        return 0

    def scan(self, path: str) -> pl.LazyFrame:
        """See `Store`; the credentials are those of the moment of the call."""
        options = storage_options(self._config, self._root.bucket)
        return pl.scan_parquet(
            str(self._root / path),
            storage_options=options,
            credential_provider=None,
            hive_partitioning=False,
            glob=False,
        )

    @contextmanager
    def parquet(self, path: str) -> Generator[pq.ParquetFile]:
        """See `Store`; the credentials are those of the moment of the call."""
        uri = self._root / path
        place, connected = f"{uri.bucket}/{uri.key}", self._connected()
        with (
            self.reading(path),
            pq.ParquetFile(place, filesystem=connected, page_checksum_verification=True) as file,
        ):
            yield file

    def reading(self, path: str) -> AbstractContextManager[None]:
        """See `Store`."""
        return self._reading(self._root / path)

    @contextmanager
    def _reading(self, uri: S3Uri) -> Generator[None]:
        try:
            yield
        except OSError as error:
            found = _OF_S3.search(str(error))
            if found is None:
                raise
            said = found[1] or type(error).__name__
        else:
            return
        # beyond the handler: what the libraries quote of the answer may hold a session token
        require_readable(self._s3, self._config, uri)
        raise S3Error(f"{uri} could not be read ({said}), though it can be now: run again")

    def filesystem(self) -> "_S3Files":
        """See `Store`; the credentials are those of the moment at which a file is opened."""
        return _S3Files(self._connected, self._reading)


class _S3Files(ArrowFSWrapper):
    """S3 as fsspec sees it, for files that do not change meanwhile: each is asked for its size once.

    Args:
        connect: Gives an Arrow filesystem with the credentials of the moment.
        reading: See `Store.reading`.
    """

    cachable = False

    def __init__(self, connect: Callable[[], Any], reading: Callable[[S3Uri], AbstractContextManager[None]]) -> None:
        super().__init__(connect())
        self._connect = connect
        self._reading = reading
        self._infos: dict[str, dict[str, Any]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(SCHEME)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - as fsspec has it
        """Size and time of one file."""
        name = self._strip_protocol(path)
        if name not in self._infos:
            with self._reading(S3Uri.parse(SCHEME + name)):
                self._infos[name] = super().info(name, **kwargs)
        return self._infos[name]

    def modified(self, path: str) -> Any:  # noqa: ANN401 - as fsspec has it
        """When the file was last written."""
        return self.info(path)["mtime"]

    def _open(self, path: str, *_: object, **__: object) -> "_S3File":
        name = self._strip_protocol(path)
        reading = partial(self._reading, S3Uri.parse(SCHEME + name))
        with reading():
            return _S3File(self, self._connect().open_input_file(name), name, reading)


class _S3File(ArrowFile):
    """A file on S3, open to be read."""

    def __init__(
        self,
        fs: _S3Files,
        stream: Any,  # noqa: ANN401 - PyArrow has no types
        path: str,
        reading: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__(fs, stream, path, "rb")
        self._reading = reading

    def read(self, size: int | None = None, /) -> bytes:
        """At most so many bytes, or the rest."""
        with self._reading():
            return super().read(size)
