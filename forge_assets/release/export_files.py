"""The files of an export: lines or rows that roll over into the next file, told with rows and SHA-256."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl
from pydantic import BaseModel


class WrittenFile(BaseModel, frozen=True):
    """One file of an export."""

    path: str
    """Below the export's folder."""
    rows: int
    """Lines, rows or samples that it has."""
    size: int
    """In bytes."""
    sha256: str


class RowFile(Protocol):
    """A file that is written some rows at a time."""

    def write(self, rows: pl.DataFrame) -> None:
        """Append rows."""
        ...

    def close(self) -> None:
        """Complete the file."""
        ...


class JsonLines:
    """Rows as JSON objects: one a line, or as one JSON array where the file's name ends in `.json`."""

    def __init__(self, path: Path) -> None:
        self._is_array = path.suffix == ".json"
        self._file = path.open("wb")
        self._rows = 0

    def write(self, rows: pl.DataFrame) -> None:
        """Append rows."""
        text = rows.write_ndjson()
        if self._is_array:
            text = ("[\n" if self._rows == 0 else ",\n") + text.removesuffix("\n").replace("\n", ",\n")
        self._file.write(text.encode())
        self._rows += rows.height

    def close(self) -> None:
        """Complete the file."""
        if self._is_array:
            self._file.write(b"\n]\n" if self._rows else b"[]\n")
        self._file.close()


@dataclass
class _Open:
    file: RowFile
    rows: int


class RollingFiles:
    """Files `<stem>-00000-of-00003<suffix>` of at most so many rows, for several stems side by side.

    Args:
        folder: of the files.
        suffix: of their names, with the dot.
        rows_a_file: at most.
        open_file: opens a file to be written.
    """

    def __init__(self, folder: Path, suffix: str, rows_a_file: int, open_file: Callable[[Path], RowFile]) -> None:
        self._folder, self._suffix, self._rows_a_file, self._open_file = folder, suffix, rows_a_file, open_file
        self._open: dict[str, _Open] = {}
        self._rows: dict[str, list[int]] = {}

    def write(self, stem: str, rows: pl.DataFrame) -> None:
        """Append rows to the files of a stem."""
        while rows.height:
            if stem not in self._open:
                number = len(self._rows.setdefault(stem, []))
                path = self._part(stem, number)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._open[stem] = _Open(self._open_file(path), 0)
            current = self._open[stem]
            taken = rows.head(self._rows_a_file - current.rows)
            current.file.write(taken)
            current.rows += taken.height
            rows = rows.slice(taken.height)
            if current.rows == self._rows_a_file:
                self._complete(stem)

    def close(self) -> list[WrittenFile]:
        """Complete all files, give them their names and say what they hold; sorted by name."""
        for stem in list(self._open):
            self._complete(stem)
        written = [
            self._named(stem, number, len(counts), rows)
            for stem, counts in self._rows.items()
            for number, rows in enumerate(counts)
        ]
        return sorted(written, key=lambda file: file.path)

    def abandon(self) -> None:
        """Close what is open; the files are not to be used."""
        for stem in list(self._open):
            self._open.pop(stem).file.close()

    def _complete(self, stem: str) -> None:
        done = self._open.pop(stem)
        done.file.close()
        self._rows[stem].append(done.rows)

    def _named(self, stem: str, number: int, count: int, rows: int) -> WrittenFile:
        path = self._folder / f"{stem}-{number:05d}-of-{count:05d}{self._suffix}"
        self._part(stem, number).rename(path)
        return described(path, self._folder, rows)

    def _part(self, stem: str, number: int) -> Path:
        return self._folder / f"{stem}-{number:05d}{self._suffix}"


def described(path: Path, folder: Path, rows: int) -> WrittenFile:
    """What a complete file holds, by its name below `folder`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return WrittenFile(path=path.relative_to(folder).as_posix(), rows=rows, size=path.stat().st_size, sha256=digest)
