"""CSV tables with a header, read by column name in batches, so that no bad row stops or hides the others."""

import csv
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import polars as pl

from forge_resources.sources.base import SourceError
from forge_resources.sources.inputs import InputFile

BATCH_ROWS: Final = 50_000
MAX_BAD_SHARE: Final = 0.2
"""Of a table's rows; with more the table is taken for another one than it was configured as."""

_FEW: Final = 10
_SHOWN: Final = 120
_NOT_UTF8: Final = "\ufffd"
_NEVER_CLOSED: Final = ("unexpected end of data", "field larger than field limit")

_BAD_ROWS: Final = {"key": pl.String(), "line": pl.Int64(), "detail": pl.String()}
_Row = tuple[int, list[str]]
_BadRow = tuple[str | None, int, str]


class _Reader(Protocol):
    """What `csv.reader` returns."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...


@dataclass(frozen=True, slots=True)
class CsvBatch:
    """Some rows of a table."""

    rows: pl.DataFrame
    """Sound rows: the wanted columns as text, stripped, and `line`, the 1-based line at which the row begins."""
    bad: pl.DataFrame
    """Other rows: `key`, if it can be told, `line`, and `detail`, which says what was found and where."""


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A table as its source publishes it.

    Args:
        source: Name of the source, for messages.
        file: The table.
        columns: Wanted columns, each with the names that it goes by in the header.
        key: The column that tells which photo a row is of.
    """

    source: str
    file: InputFile
    columns: Mapping[str, Sequence[str]]
    key: str

    def batches(self) -> Iterator[CsvBatch]:
        """All rows in the order of the file, in bounded memory.

        Raises:
            SourceError: if the header lacks a column, or a quote is never closed.
        """
        with self._opened() as reader:
            width, places = self._header(reader)
            key = places[self.key]
            rows: list[_Row] = []
            bad: list[_BadRow] = []
            for line, fields, fault in self._records(reader):
                if fault is None and len(fields) != width:
                    quoted = f", up to line {reader.line_num}, by a quote" if reader.line_num > line else ""
                    fault = f"{len(fields)} fields where the header has {width}{quoted}"  # noqa: PLW2901 - as found
                if fault is None:
                    rows.append((line, fields))
                else:
                    bad.append((fields[key].strip() if len(fields) > key else None, line, self.at(line, fault)))
                if len(rows) + len(bad) == BATCH_ROWS:
                    yield self._batch(rows, bad, places)
                    rows, bad = [], []
            yield self._batch(rows, bad, places)

    def at(self, line: int, fault: str) -> str:
        """A message that names file and line."""
        return f"{self.file.name}: line {line}: {fault}"

    def error(self, message: str) -> SourceError:
        """An error about the whole table."""
        return SourceError(f"source {self.source}: {message}")

    @contextmanager
    def _opened(self) -> Generator[_Reader]:
        with self.file.path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
            yield csv.reader(text, strict=True)

    def _header(self, reader: _Reader) -> tuple[int, dict[str, int]]:
        _, header, fault = next(self._records(reader), (1, [], "the file is empty"))
        names = [name.strip() for name in header]
        places = {
            column: [i for i, name in enumerate(names) if name in known] for column, known in self.columns.items()
        }
        missing = [column for column, found in places.items() if len(found) != 1]
        if missing:
            found = fault or f"found {','.join(header)[:_SHOWN]!r}"
            wanted = self.at(1, f"the header must name {', '.join(missing)}, each once")
            raise self.error(
                f"{wanted}; {found}: take the file as it is published, with its header, fields separated by commas"
            )
        return len(names), {column: found[0] for column, found in places.items()}

    def _records(self, reader: _Reader) -> Iterator[tuple[int, list[str], str | None]]:
        """First line, fields and fault of each record; empty lines are none."""
        first = reader.line_num + 1
        is_read = False
        while not is_read:
            try:
                for fields in reader:
                    if fields:
                        yield first, fields, None
                    first = reader.line_num + 1
                is_read = True
            except csv.Error as error:
                if str(error).startswith(_NEVER_CLOSED):
                    raise self.error(
                        f"{self.at(first, 'a quote that opens in this row is never closed')}: mend or delete the row"
                    ) from error
                yield first, [], f"no CSV ({error})"
                first = reader.line_num + 1

    def _batch(self, rows: list[_Row], bad: list[_BadRow], places: Mapping[str, int]) -> CsvBatch:
        wanted = {column: [fields[place] for _, fields in rows] for column, place in places.items()}
        frame = pl.DataFrame(
            {"line": [line for line, _ in rows], **wanted},
            schema={"line": pl.Int64(), **dict.fromkeys(wanted, pl.String())},
        ).with_columns(pl.col(pl.String).str.strip_chars())
        bad_frame = pl.DataFrame(bad, schema=_BAD_ROWS, orient="row").with_columns(
            pl.when(~pl.col("key").str.contains(_NOT_UTF8, literal=True)).then("key")
        )
        batch = CsvBatch(frame, bad_frame)
        not_utf8 = {column: pl.col(column).str.contains(_NOT_UTF8, literal=True) for column in wanted}
        several_lines = {column: pl.col(column).str.contains("\n", literal=True) for column in wanted}
        batch = self.checked(batch, not_utf8, "is not UTF-8")
        return self.checked(batch, several_lines, "runs over several lines, by a quote: the rows in it are lost")

    def checked(self, batch: CsvBatch, faults: Mapping[str, pl.Expr], what: str) -> CsvBatch:
        """Move rows with a bad value from the sound ones to the others.

        Args:
            batch: Of this table.
            faults: By column, whether its value is bad.
            what: What a bad value is or is not, such as `is no number`.
        """
        found = pl.coalesce(
            pl.when(is_bad).then(pl.format("{}: line {}: {} {} {}", *self._told(column), pl.lit(what)))
            for column, is_bad in faults.items()
        )
        judged = batch.rows.with_columns(found.alias("detail"))
        sound = judged.filter(pl.col("detail").is_null()).drop("detail")
        if sound.height == judged.height:
            return batch
        key = pl.when(~pl.col(self.key).str.contains(_NOT_UTF8, literal=True)).then(self.key).alias("key")
        bad = judged.filter(pl.col("detail").is_not_null()).select(key, "line", "detail")
        return CsvBatch(sound, pl.concat([batch.bad, bad]))

    def _told(self, column: str) -> tuple[pl.Expr, pl.Expr, pl.Expr, pl.Expr]:
        value = pl.col(column).str.slice(0, _SHOWN)
        return pl.lit(self.file.name), pl.col("line"), pl.lit(column), pl.format("'{}'", value)


class BadShare:
    """Counts bad rows and refuses a table that is mostly such.

    Args:
        table: That is read.
    """

    def __init__(self, table: CsvTable) -> None:
        self._table = table
        self._rows = self._bad = 0
        self._example = ""

    def count(self, batch: CsvBatch, doubtful: pl.DataFrame | None = None) -> None:
        """Add the rows of a batch.

        Args:
            batch: As far as it was checked.
            doubtful: Of its sound rows those that speak against the table, with `detail`, such as inverted boxes.

        Raises:
            SourceError: if too many rows so far are bad.
        """
        bad = batch.bad if doubtful is None else pl.concat([batch.bad.select("detail"), doubtful.select("detail")])
        self._rows += batch.rows.height + batch.bad.height
        self._bad += bad.height
        if bad.height and not self._example:
            self._example = bad["detail"][0]
        if self._bad > _FEW and self._bad > MAX_BAD_SHARE * self._rows:
            self._refuse()

    def finish(self) -> None:
        """Check the table as a whole.

        Raises:
            SourceError: if no row is sound.
        """
        if self._rows == self._bad:
            self._refuse()

    def _refuse(self) -> None:
        if not self._rows:
            raise self._table.error(f"{self._table.file.name} has no rows: take the file as it is published")
        raise self._table.error(
            f"{self._bad} of the first {self._rows} rows cannot be used, such as {self._example}: the table is cut, "
            "its columns are moved, or it is another one"
        )
