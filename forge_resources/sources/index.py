"""The labels of a whole source as sorted Parquet tables, made once of whatever files the source publishes.

    <cache>/indexes/<source>/<key>/photos.parquet         one row a photo that the files name
                                   labels.parquet         boxes
                                   points.parquet, counts.parquet, relationships.parquet
                                   problems.parquet       what could not be used, by photo
                                   notes.json             what concerns no photo of its own

The key covers the files' fingerprints and the reader's version, so other files make another index. Rows are
sorted by photo: a shard reads the few row groups that hold its photos.
"""

import glob
import hashlib
import json
import logging
import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
import pyarrow.parquet as pq
from filelock import FileLock

from forge_resources.sources.base import (
    Count,
    Label,
    LabelProblem,
    PhotoLabels,
    Point,
    Relationship,
)
from forge_resources.sources.boxes import checked_label, checked_point, collect, turned

TableName = Literal["photos", "labels", "points", "counts", "relationships", "problems"]
Unit = pl.Enum(["pixels", "percent", "share"])
"""Of coordinates: pixels, hundredths or parts of the stored photo's width and height."""

FLAGS: Final = (
    "is_crowd",
    "is_group",
    "is_depiction",
    "is_inside",
    "is_occluded",
    "is_truncated",
    "is_fake",
    "is_reflected",
)

_OF_A_PHOTO: Final[dict[str, pl.DataType]] = {"key": pl.String(), "position": pl.Int64()}

INDEX_SCHEMAS: Final[Mapping[TableName, Mapping[str, pl.DataType]]] = {
    "photos": {
        "key": pl.String(),  # the source's own id of the photo, as `key_of` its path gives it
        "url": pl.String(),  # where it is fetched from; null where it lies in files
        "sha256": pl.String(),  # that its bytes must have; null where the source does not say
        "rotation": pl.Int16(),  # degrees counter-clockwise that bring stored pixels upright; null: as EXIF says
        "license": pl.String(),  # null: that of the source
        "width": pl.Int32(),  # pixels, as the source states them; null where it does not, 0 where it states no size
        "height": pl.Int32(),
        "is_labeled": pl.Boolean(),  # a person looked for objects in it, perhaps in vain
    },
    "labels": {
        **_OF_A_PHOTO,
        "label_id": pl.String(),
        "category": pl.String(),
        "unit": Unit,
        "left": pl.Float64(),
        "top": pl.Float64(),
        "width": pl.Float64(),
        "height": pl.Float64(),
        **{flag: pl.Boolean() for flag in FLAGS},  # null: not said
        "where": pl.String(),  # file and line or annotation id, for people
    },
    "points": {
        **_OF_A_PHOTO,
        "label_id": pl.String(),
        "category": pl.String(),
        "unit": Unit,
        "x": pl.Float64(),
        "y": pl.Float64(),
        "where": pl.String(),
    },
    "counts": {**_OF_A_PHOTO, "category": pl.String(), "count": pl.Int32(), "where": pl.String()},
    "relationships": {
        **_OF_A_PHOTO,
        "subject_label_id": pl.String(),
        "predicate": pl.String(),
        "object_label_id": pl.String(),
        "attribute": pl.String(),
    },
    "problems": {"key": pl.String(), "rule": pl.String(), "detail": pl.String()},
}
"""Columns of the index. `position` orders the rows of a photo and is the same in every run."""

ROW_GROUP: Final = 20_000
_SORT_MEMORY: Final = "400MB"
_NOTE_EXAMPLES: Final = 10
_NOT_CONTENT: Final = ("key", "position", "where")

_log = logging.getLogger(__name__)


class IndexWriter:
    """Takes the rows of a source in any order and lays them down sorted, in bounded memory.

    Args:
        folder: Where the tables go; exists and is empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[TableName, pq.ParquetWriter] = {}
        self._problems: list[tuple[str, str, str]] = []
        self._notes: Counter[str] = Counter()
        self._examples: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, table: TableName, rows: pl.DataFrame) -> None:
        """Append rows; columns that are absent are null.

        Raises:
            polars.exceptions.PolarsError: if the rows do not fit `INDEX_SCHEMAS`.
        """
        schema = INDEX_SCHEMAS[table]
        frame = rows.select(
            (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in schema.items()
        )
        self._write(table, frame)

    def problem(self, key: str, rule: str, detail: str) -> None:
        """Note a label, or all labels of a photo, that cannot be used; `rule` begins with `label_`."""
        self._problems.append((key, rule, detail))
        if len(self._problems) == ROW_GROUP:
            self._write_problems()

    def note(self, rule: str, example: str, count: int = 1) -> None:
        """Count what concerns no photo of the files, such as annotations of an image that they do not list."""
        self._notes[rule] += count
        if len(self._examples[rule]) < _NOTE_EXAMPLES:
            self._examples[rule].append(example)

    def finish(self) -> None:
        """Sort all tables and make versions of the photos."""
        self._write_problems()
        for table in INDEX_SCHEMAS:
            if table not in self._writers:
                self._write(table, pl.DataFrame(schema=INDEX_SCHEMAS[table]))
        for writer in self._writers.values():
            writer.close()
        _sort(self._folder)
        notes = {
            rule: {"count": count, "examples": self._examples[rule]} for rule, count in sorted(self._notes.items())
        }
        (self._folder / "notes.json").write_text(json.dumps(notes, indent=1) + "\n")

    def _write_problems(self) -> None:
        self._write("problems", pl.DataFrame(self._problems, schema=INDEX_SCHEMAS["problems"], orient="row"))
        self._problems.clear()

    def _write(self, table: TableName, frame: pl.DataFrame) -> None:
        arrow = frame.with_columns(pl.col(pl.Enum).cast(pl.String)).to_arrow()
        if table not in self._writers:
            self._writers[table] = pq.ParquetWriter(_unsorted(self._folder, table), arrow.schema, compression="zstd")
        self._writers[table].write_table(arrow.cast(self._writers[table].schema))


class LabelIndex:
    """A finished index.

    Args:
        folder: That holds its tables.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def photos(self) -> pl.LazyFrame:
        """All photos that the files name, sorted by key, with `version`: it changes with any row of the photo."""
        return self.scan("photos")

    def scan(self, table: TableName) -> pl.LazyFrame:
        """One table, sorted by key."""
        return pl.scan_parquet(self._folder / f"{table}.parquet", glob=False)

    def notes(self) -> dict[str, dict[str, Any]]:
        """What concerns no photo of its own: count and examples by rule."""
        return json.loads((self._folder / "notes.json").read_text())

    def shard(self, keys: Sequence[str]) -> "IndexedPhotos":
        """All that is known of these photos, read into memory."""
        return IndexedPhotos({table: self._rows_by_key(table, keys) for table in INDEX_SCHEMAS})

    def _rows_by_key(self, table: TableName, keys: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        if keys:
            wanted = pl.LazyFrame({"key": sorted(set(keys))})
            near = self.scan(table).filter(pl.col("key").is_between(pl.lit(min(keys)), pl.lit(max(keys))))
            found = near.join(wanted, on="key", how="semi", maintain_order="left").collect()
            for row in found.iter_rows(named=True):
                rows[row["key"]].append(row)
        return rows


class IndexedPhotos:
    """What an index knows of the photos of one shard.

    Args:
        rows: Rows by key, of each table.
    """

    def __init__(self, rows: Mapping[TableName, Mapping[str, list[dict[str, Any]]]]) -> None:
        self._rows = rows

    def photo(self, key: str) -> dict[str, Any] | None:
        """The row of one photo; None if the files do not name it."""
        rows = self._rows["photos"].get(key)
        return rows[0] if rows else None

    def labels(self, key: str, width: int, height: int) -> PhotoLabels:
        """All that people said of one photo.

        Args:
            key: The photo.
            width: Of the upright photo in pixels.
            height: Of the upright photo in pixels.
        """
        photo = self.photo(key)
        if photo is None:
            return PhotoLabels(problems=(LabelProblem("label_absent", "the source's files do not name this photo"),))
        problems = tuple(LabelProblem(row["rule"], row["detail"]) for row in self._of("problems", key))
        rotation = photo["rotation"] or 0
        stored = (height, width) if rotation in (90, 270) else (width, height)
        stated = (
            stored[0] if photo["width"] is None else photo["width"],
            stored[1] if photo["height"] is None else photo["height"],
        )
        if stated != stored:
            lost = sum(len(self._of(table, key)) for table in ("labels", "points", "counts"))
            detail = f"stated {stated[0]}x{stated[1]}, the photo has {stored[0]}x{stored[1]} pixels"
            mismatch = LabelProblem("label_size_mismatch", f"{detail}; {lost} labels not used")
            return PhotoLabels(problems=(*problems, mismatch))
        boxes = collect(
            checked_label(_label(row, rotation, stored), (width, height), row["where"])
            for row in self._of("labels", key)
        )
        points = [
            checked_point(_point(row, rotation, stored), (width, height), row["where"])
            for row in self._of("points", key)
        ]
        related = list(self._relationships(key, {label.label_id for label in boxes.labels}))
        return PhotoLabels(
            is_labeled=photo["is_labeled"],
            labels=boxes.labels,
            problems=(
                *problems,
                *boxes.problems,
                *(point for point in points if isinstance(point, LabelProblem)),
                *(one for one in related if isinstance(one, LabelProblem)),
            ),
            points=tuple(point for point in points if isinstance(point, Point)),
            counts=tuple(Count(row["category"], row["count"]) for row in self._of("counts", key)),
            relationships=tuple(one for one in related if isinstance(one, Relationship)),
        )

    def _relationships(self, key: str, kept: set[str]) -> Iterator[Relationship | LabelProblem]:
        for row in self._of("relationships", key):
            one = Relationship(row["subject_label_id"], row["predicate"], row["object_label_id"], row["attribute"])
            if {one.subject_label_id, one.object_label_id or one.subject_label_id} <= kept:
                yield one
            else:
                said = f"{one.subject_label_id} {one.predicate} {one.object_label_id or one.attribute}"
                yield LabelProblem("label_unrelated", f"{said}: a label of this relationship could not be used")

    def _of(self, table: TableName, key: str) -> list[dict[str, Any]]:
        return self._rows[table].get(key, [])


def open_index(
    folder: Path, reader: str, fingerprints: Mapping[str, str], build: Callable[[IndexWriter], None]
) -> LabelIndex:
    """The index of these files; made first where it is not there yet. Two callers at once wait for each other.

    Args:
        folder: Of all indexes of one source, in the cache.
        reader: Name and version of the reader, and every setting that changes what it reads.
        fingerprints: Size and modification time, or ETag, of each file by its name.
        build: Adds all rows of the files to a writer.

    Raises:
        SourceError: as `build` does; nothing is left behind then.
    """
    identity = json.dumps([reader, *sorted(fingerprints.items())])
    target = folder / hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if not target.exists():
                _log.info("indexing %s: this is done once for these files", ", ".join(fingerprints))
                with _staged(folder) as staged:
                    writer = IndexWriter(staged)
                    build(writer)
                    writer.finish()
                    staged.rename(target)
                for rule, note in LabelIndex(target).notes().items():
                    _log.warning("%s: %d, such as %s", rule, note["count"], "; ".join(note["examples"][:3]))
    return LabelIndex(target)


@contextmanager
def _staged(folder: Path) -> Generator[Path]:
    for leftover in folder.glob(".staged-*"):
        shutil.rmtree(leftover)
    staged = folder / f".staged-{uuid.uuid4().hex}"
    staged.mkdir()
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _unsorted(folder: Path, table: str) -> Path:
    return folder / f"{table}.unsorted.parquet"


def _sort(folder: Path) -> None:
    import duckdb

    spill = folder / "spill"
    with duckdb.connect(config={"memory_limit": _SORT_MEMORY, "temp_directory": str(spill), "threads": 2}) as database:
        for table in INDEX_SCHEMAS:
            database.execute(f"CREATE VIEW {table}_rows AS FROM read_parquet({_glob(_unsorted(folder, table))})")
        for table, schema in INDEX_SCHEMAS.items():
            order = "key, position" if "position" in schema else "ALL"
            rows = f"SELECT * FROM {table}_rows ORDER BY {order}" if table != "photos" else _versioned_photos()  # noqa: S608
            database.execute(
                f"COPY ({rows}) TO {_quoted(folder / f'{table}.parquet')} "
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
            )
    for table in INDEX_SCHEMAS:
        _unsorted(folder, table).unlink()
    shutil.rmtree(spill, ignore_errors=True)


def _quoted(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _glob(path: Path) -> str:
    return _quoted(glob.escape(str(path)))


def _versioned_photos() -> str:
    """Photos with a version each: the sum of their rows' MD5, which no order of rows changes."""
    digests = "\n UNION ALL ".join(
        f"SELECT key, md5_number_lower(concat_ws(chr(31), '{table}', {_content(schema)}))::HUGEINT AS digest "  # noqa: S608
        f"FROM {table}_rows"
        for table, schema in INDEX_SCHEMAS.items()
    )
    versions = f"SELECT key, hex(sum(digest)) AS version FROM ({digests}) GROUP BY key"  # noqa: S608
    return f"SELECT photos_rows.*, version FROM photos_rows JOIN ({versions}) USING (key) ORDER BY key"  # noqa: S608


def _content(schema: Mapping[str, pl.DataType]) -> str:
    return ", ".join(f'coalesce("{name}"::VARCHAR, chr(30))' for name in schema if name not in _NOT_CONTENT)


def _label(row: Mapping[str, Any], rotation: int, stored: tuple[int, int]) -> Label:
    across, down = _pixels_per_unit(row["unit"], stored)
    left, top = row["left"] * across, row["top"] * down
    right, bottom = left + row["width"] * across, top + row["height"] * down
    x1, y1, x2, y2 = _turned_box((left, top, right, bottom), rotation, stored)
    flags = {flag: row[flag] for flag in FLAGS} | {"is_crowd": bool(row["is_crowd"])}
    return Label(row["label_id"], row["category"], x1, y1, x2, y2, **flags)


def _turned_box(
    box: tuple[float, float, float, float], rotation: int, stored: tuple[int, int]
) -> tuple[float, float, float, float]:
    if rotation == 0 or box[0] > box[2] or box[1] > box[3]:
        return box
    (ax, ay), (bx, by) = turned(box[0], box[1], rotation, stored), turned(box[2], box[3], rotation, stored)
    return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)


def _point(row: Mapping[str, Any], rotation: int, stored: tuple[int, int]) -> Point:
    across, down = _pixels_per_unit(row["unit"], stored)
    x, y = turned(row["x"] * across, row["y"] * down, rotation, stored)
    return Point(row["label_id"], row["category"], x, y)


def _pixels_per_unit(unit: str, stored: tuple[int, int]) -> tuple[float, float]:
    match unit:
        case "share":
            return float(stored[0]), float(stored[1])
        case "percent":
            return stored[0] / 100, stored[1] / 100
        case _:
            return 1.0, 1.0
