"""A store under a prefix of an S3-compatible object store.

S3 has no renaming: a folder counts from the moment at which its last file is there, see `S3Store.publish`.
"""

import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pyarrow.parquet as pq
from fsspec.implementations.arrow import ArrowFSWrapper

from forge_resources.s3 import (
    SCHEME,
    S3Config,
    S3Error,
    S3Uri,
    arrow_filesystem,
    asking,
    client,
    read_object,
    storage_options,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_TAKEN: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
"""What a conditional write is answered with when another was first, or is at it now."""


class S3Store:
    """Objects under a prefix; what is staged lies in the local folder for temporary files."""

    def __init__(self, root: S3Uri, config: S3Config) -> None:
        self._root = root
        self._config = config

    @cached_property
    def _s3(self) -> "S3Client":
        return client(self._config)

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
                if error.response.get("Error", {}).get("Code") in _TAKEN:
                    return False
                raise
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
        with tempfile.TemporaryDirectory(prefix="forge-lake-") as folder:
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
        try:
            with pq.ParquetFile(f"{uri.bucket}/{uri.key}", filesystem=arrow_filesystem(self._config)) as file:
                yield file
        except FileNotFoundError:
            raise
        except OSError as error:
            raise S3Error(f"{uri} cannot be read: {error}") from error

    def filesystem(self) -> "_S3Files":
        """See `Store`; the credentials are those of the moment of the call."""
        return _S3Files(arrow_filesystem(self._config))


class _S3Files(ArrowFSWrapper):
    """S3 as fsspec sees it, for files that do not change meanwhile: each is asked for its size once."""

    cachable = False

    def __init__(self, fs: Any) -> None:  # noqa: ANN401 - PyArrow has no types
        super().__init__(fs)
        self._infos: dict[str, dict[str, Any]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(SCHEME)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - as fsspec has it
        """Size and time of one file."""
        name = self._strip_protocol(path)
        if name not in self._infos:
            self._infos[name] = super().info(name, **kwargs)
        return self._infos[name]

    def modified(self, path: str) -> Any:  # noqa: ANN401 - as fsspec has it
        """When the file was last written."""
        return self.info(path)["mtime"]
