"""Question-answer sets of others, read into the columns of `verified_qa` as far as their text tells."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import polars as pl

from forge_assets.audits.dataset_files import DatasetError, batches, data_files
from forge_assets.audits.dataset_pairs import FORMS, read_rows
from forge_assets.tables import VERIFIED_QA
from forge_resources.parquet import write_parquet

UNREADABLE = {"file": pl.String(), "row": pl.Int64(), "reason": pl.String()}
"""Columns of what could not be read; `row` counts from 1, and is null where the file as a whole is meant."""


@dataclass(frozen=True)
class Dataset:
    """A set that was read. Its pairs lie in a temporary file, which `close` removes."""

    path: Path
    """Parquet file of the pairs, in the columns of `verified_qa`."""
    unreadable: pl.DataFrame
    """What could not be read, in the columns of `UNREADABLE`, by file and row; a row may give pairs all the same."""
    _folder: "tempfile.TemporaryDirectory[str]" = field(repr=False)

    @property
    def pairs(self) -> pl.LazyFrame:
        """The pairs, in the order of files and rows.

        The columns of `verified_qa`. What the text does not tell is null, lists of objects are empty. `source` is
        the row's, or the set's name; `shard` is the file's name, and `form` the task in the row's own words.
        """
        return pl.scan_parquet(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary file."""
        self._folder.cleanup()


def open_dataset(path: Path, as_: str) -> Dataset:
    r"""Read a set of question-answer pairs. Memory follows the batch, but for what could not be read.

    Rows are conversations (`conversations` of `from` and `value`, or `messages` of `role` and `content`), each
    question with its answer a pair, or have the keys `question` and `answer`. Boxes are `[x1, y1, x2, y2]` anywhere in
    question and answer, as JSON `bbox_2d` or in InternVL's tags, which are taken out of the text.

    What the text tells by rule:
        answer_kind  bbox: only boxes, or JSON with `bbox_2d`. choice: one of the options, or its letter. yes_no: it
                     starts with yes or no. integer: a number, or the only number in the answer to a question how many.
                     text: all others.
        choices      lines `A. …`, `(A) …` or `A) …`, or a list at the question's end: `…: red, green or blue?`
        task         the row's `task`, `category` or `type`, the file's name, or else: boxes are grounding, a number of
                     something is counting, somebody's own left or right is perspective, nearer to the camera or the
                     viewer is near_far, left or right of something is left_right; in doubt null.

    Args:
        path: a JSON array, JSON lines or Parquet file, a folder of such files, or a pattern.
        as_: one of `FORMS`: `llava` and `sharegpt` (boxes in 0-1000, or in shares of the photo where none of a text
            is above 1), `qwen3-vl` and `internvl` (0-1000), `qwen2.5-vl` (pixels of the resized photo: read where
            `width` and `height` of the photo stand in the row), `spatialforge-10m` (0-1000, a file set a task).

    Raises:
        DatasetError: for a form that is not known, or a path without data files.
    """
    if as_ not in FORMS:
        raise DatasetError(f"unknown form {as_!r} of a data set; forms: {', '.join(FORMS)}")
    files = data_files(path)
    folder = tempfile.TemporaryDirectory(prefix="forge-dataset-")
    unreadable: list[pl.DataFrame] = [pl.DataFrame(schema=UNREADABLE)]
    pairs = Path(folder.name) / "pairs.parquet"
    write_parquet(pairs, _read(files, as_, _name_of(path), unreadable), pl.Schema(VERIFIED_QA))
    return Dataset(pairs, pl.concat(unreadable), folder)


def _read(files: list[Path], form: str, source: str, unreadable: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Pairs, batch by batch; what could not be read is added to `unreadable` meanwhile."""
    import duckdb

    with duckdb.connect() as connection:
        for file in files:
            for rows in batches(connection, file):
                found, faults = read_rows(connection, rows, form, source=source, file_name=file.stem)
                if not faults.is_empty():
                    unreadable.append(faults.select(file=pl.lit(str(file)), row="row", reason="reason"))
                if not found.is_empty():
                    yield found


def _name_of(path: Path) -> str:
    """The last part of a path that is no pattern, without a suffix."""
    plain = [part for part in path.parts if not set(part) & set("*?[")]
    return Path(plain[-1]).stem if plain else "dataset"
