"""What the lake asks of the place where its files lie."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl
import pyarrow.parquet as pq

from forge_resources.s3 import S3Uri

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Store(Protocol):
    """Files below one root. Paths are relative to it, their parts joined by `/`. Threads may share a store.

    Each method raises `forge_resources.s3.S3Error` where S3 does not answer as it should, and those that write raise
    `forge_resources.stores.disk.DiskError` where a disk is full, read-only or forbidden.
    """

    @property
    def root(self) -> Path | S3Uri:
        """Where the files lie."""
        ...

    def read(self, path: str) -> bytes | None:
        """The bytes of a small file, or None where there is none."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Put a small file there, in place of an earlier one: a reader sees the old or the new, never a part."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Put a small file there unless there is one already: of callers at once, one alone succeeds.

        Returns:
            Whether the file was made.
        """
        ...

    def glob(self, pattern: str) -> list[str]:
        """Paths of the files that match, sorted; `*` stands for any text without `/`."""
        ...

    def lock(self, folder: str, timeout_s: float) -> AbstractContextManager[None]:
        """Keep other callers on the same folder waiting, where the store can do so; S3 cannot.

        Raises:
            TimeoutError: if another holds it for longer.
        """
        ...

    def staging(self) -> AbstractContextManager[Path]:
        """A local folder to make files in that are to be published; it is removed at the end."""
        ...

    def publish(self, staged: Path, target: str, last: str) -> None:
        """Make the files of a staged folder the content of the folder `target`, in place of what was there.

        Args:
            staged: The folder, one of `staging` of the same store.
            target: Where its files go.
            last: Name of the file that says that the folder is whole. While it is there, all files of the old or
                all of the new content are; whoever is killed between leaves it absent.
        """
        ...

    def clear_staging(self, older_than_s: float) -> int:
        """Remove what killed writers staged so many seconds ago or earlier; how many folders were removed."""
        ...

    def scan(self, path: str) -> pl.LazyFrame:
        """The rows of a Parquet file; only the columns that are used are read."""
        ...

    def parquet(self, path: str) -> AbstractContextManager[pq.ParquetFile]:
        """A Parquet file, open to be read bit by bit.

        Raises:
            FileNotFoundError: if it is not there.
        """
        ...

    def reading(self, path: str) -> AbstractContextManager[None]:
        """For code that lets a library read the file by itself: where S3 fails, say what to mend.

        What the library says may quote S3's answer, and that may hold a session token: none of it is passed on.

        Raises:
            FileNotFoundError: if S3 has no such file.
            S3Error: if S3 does not answer as it should.
        """
        ...

    def filesystem(self) -> "AbstractFileSystem | None":
        """How DuckDB reads the files at `root`; None where it can by itself."""
        ...
