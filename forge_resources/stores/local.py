"""A store in a folder on disk."""

import os
import shutil
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq
from filelock import FileLock

from forge_resources.stores.disk import filling, writing

_STAGING: Final = ".staging"
_LOCK: Final = ".lock"


class LocalStore:
    """Files in a folder on disk; what is staged lies beside them and is moved into place by renaming."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def read(self, path: str) -> bytes | None:
        """See `Store`."""
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, path: str, data: bytes) -> None:
        """See `Store`."""
        with self._beside(path, data) as staged:
            staged.replace(self._root / path)

    def create(self, path: str, data: bytes) -> bool:
        """See `Store`."""
        with self._beside(path, data) as staged:
            try:
                (self._root / path).hardlink_to(staged)  # unlike a rename, never replaces a file that is there
            except FileExistsError:
                return False
        return True

    @contextmanager
    def _beside(self, path: str, data: bytes) -> Generator[Path]:
        """The data on disk, in the folder of `path`, under a name that is gone at the end."""
        target = self._root / path
        staged = target.with_name(f".{target.stem}.{uuid.uuid4().hex}")
        with writing(self._root):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with staged.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                yield staged
            finally:
                staged.unlink(missing_ok=True)

    def glob(self, pattern: str) -> list[str]:
        """See `Store`."""
        return sorted(path.relative_to(self._root).as_posix() for path in self._root.glob(pattern) if path.is_file())

    @contextmanager
    def lock(self, folder: str, timeout_s: float) -> Generator[None]:
        """See `Store`; the lock is let go when its holder dies."""
        lock = FileLock(self._root / folder / _LOCK, timeout=timeout_s)
        with writing(self._root):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def staging(self) -> Generator[Path]:
        """See `Store`."""
        folder = self._root / _STAGING / uuid.uuid4().hex
        with writing(self._root):
            folder.mkdir(parents=True)
        try:
            with filling(self._root):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, staged: Path, target: str, last: str) -> None:  # noqa: ARG002 -- folders are renamed whole
        """See `Store`; for the instant between two renames the folder is absent.

        The files are on the disk before the folder has its name: a machine that loses power leaves no empty ones.
        """
        folder = self._root / target
        retired = self._root / _STAGING / uuid.uuid4().hex
        with writing(self._root):
            for file in staged.iterdir():
                _sync(file)
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists():
                folder.rename(retired)
            try:
                staged.rename(folder)
            except OSError:
                if retired.exists():
                    retired.rename(folder)
                raise
        shutil.rmtree(retired, ignore_errors=True)

    def clear_staging(self, older_than_s: float) -> int:
        """See `Store`."""
        oldest = time.time() - older_than_s
        stale = [folder for folder in (self._root / _STAGING).glob("*") if folder.stat().st_mtime < oldest]
        for folder in stale:
            shutil.rmtree(folder)
        return len(stale)

    def scan(self, path: str) -> pl.LazyFrame:
        """See `Store`."""
        return pl.scan_parquet(self._root / path, credential_provider=None, hive_partitioning=False, glob=False)

    @contextmanager
    def parquet(self, path: str) -> Generator[pq.ParquetFile]:
        """See `Store`."""
        with pq.ParquetFile(self._root / path, page_checksum_verification=True) as file:
            yield file

    def reading(self, path: str) -> nullcontext[None]:  # noqa: ARG002 -- as `Store` has it
        """See `Store`: what a disk says is clear and holds no secret."""
        return nullcontext()

    def filesystem(self) -> None:
        """See `Store`."""
        return


def _sync(path: Path) -> None:
    """Return once a file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
