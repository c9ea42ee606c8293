"""The tables of OpenImages V7 on their way into an index.

Format: https://storage.googleapis.com/openimages/web/download_v7.html, section "Data Formats".
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl
import polars_hash as plh

from forge_resources.sources.base import SourceError
from forge_resources.sources.csv_tables import BadShare, CsvBatch, CsvTable
from forge_resources.sources.index import IndexWriter
from forge_resources.sources.inputs import InputFile
from forge_resources.sources.staging import Staging, staging

READER: Final = "openimages 1"

_TOLERANCE: Final = 1e-3
"""How far out of 0 to 1 a coordinate may lie, as a share of the photo's side."""
_SAME_COORDINATE: Final = 1.5e-6
"""Boxes of two tables are one if no coordinate differs by more: they are printed with six digits."""

_CORNERS: Final = ("XMin", "XMax", "YMin", "YMax")
_FLAGS: Final = {
    "IsOccluded": "is_occluded",
    "IsTruncated": "is_truncated",
    "IsGroupOf": "is_group",
    "IsDepiction": "is_depiction",
    "IsInside": "is_inside",
}
_BOX_COLUMNS: Final = ("ImageID", "Source", "LabelName", "Confidence", *_CORNERS, *_FLAGS)
_IMAGE_COLUMNS: Final = ("ImageID", "License", "Rotation")
_PAIR_COLUMNS: Final = ("ImageID", "LabelName1", "LabelName2", *(f"{c}{n}" for n in (1, 2) for c in _CORNERS))
_PREDICATE: Final = "RelationshipLabel"
_PREDICATE_NAMES: Final = (_PREDICATE, "RelationLabel")
_HAS_ATTRIBUTE: Final = "is"
_DESCRIPTIONS_HEADER: Final = "LabelName"
_IMAGE_ID: Final = r"^[0-9A-Za-z_-]+$"
_ID_DIGITS: Final = 16
_POSITION_DIGITS: Final = 15
_UNTOLD: Final = ("", "nan")

_STAGED: Final = {
    "labeled": "key VARCHAR",
    "bad": "key VARCHAR, detail VARCHAR, of_boxes BOOLEAN",
    "images": "key VARCHAR, rotation SMALLINT, license VARCHAR, line BIGINT",
    "boxes": "key VARCHAR, mid VARCHAR, label_id VARCHAR, " + ", ".join(f"{corner} DOUBLE" for corner in _CORNERS),
    "pairs": "key VARCHAR, mid1 VARCHAR, mid2 VARCHAR, predicate VARCHAR, attribute VARCHAR, line BIGINT, "
    + ", ".join(f"{corner}{n} DOUBLE" for n in (1, 2) for corner in _CORNERS),
}

_CONFLICTS: Final = """
    SELECT key, format('{}: lines {} and {}', $file, min(line), max(line)) || ' differ in Rotation or License' AS detail
    FROM images GROUP BY key HAVING count(DISTINCT (rotation, coalesce(license, ''))) > 1
"""
_PHOTOS: Final = """
    WITH listed AS (SELECT key, min(rotation) AS rotation, min(license) AS license FROM images GROUP BY key),
         seen AS (SELECT key FROM labeled UNION SELECT bad.key FROM bad JOIN images USING (key) WHERE of_boxes)
    SELECT key, coalesce(rotation, 0) AS rotation, license, seen.key IS NOT NULL AS is_labeled,
           listed.key IS NULL AS is_unlisted
    FROM listed FULL JOIN seen USING (key)
"""
_BAD: Final = """
    SELECT bad.key, detail, known.key IS NOT NULL AS is_known
    FROM bad LEFT JOIN (SELECT key FROM images UNION SELECT key FROM labeled) AS known ON bad.key = known.key
"""


def _matched(number: int) -> str:
    near = " AND ".join(f"abs(boxes.{c} - pairs.{c}{number}) < {_SAME_COORDINATE}" for c in _CORNERS)
    return (
        f"SELECT pairs.line, min(label_id) AS label_id FROM pairs JOIN boxes "  # noqa: S608 - own names
        f"ON boxes.key = pairs.key AND boxes.mid = pairs.mid{number} AND {near} GROUP BY pairs.line"
    )


_FOUND_PAIRS: Final = f"""
    CREATE VIEW found AS
    SELECT pairs.*, subjects.label_id AS subject_label_id,
           CASE WHEN attribute IS NULL THEN objects.label_id END AS object_label_id,
           subject_label_id IS NOT NULL AND coalesce(attribute, object_label_id) IS NOT NULL AS is_matched
    FROM pairs LEFT JOIN ({_matched(1)}) AS subjects USING (line) LEFT JOIN ({_matched(2)}) AS objects USING (line)
"""  # noqa: S608 - own names
_RELATIONSHIPS: Final = """
    SELECT *, row_number() OVER (PARTITION BY key ORDER BY subject_label_id, predicate, object_label_id, attribute)
           AS position
    FROM (SELECT DISTINCT key, subject_label_id, predicate, object_label_id, attribute FROM found WHERE is_matched)
"""
_UNMATCHED: Final = "SELECT line FROM found WHERE NOT is_matched ORDER BY line"


@dataclass(frozen=True, slots=True)
class OpenImagesTables:
    """The tables of one subset.

    Args:
        source: Name of the source, for messages.
        boxes: CSV of boxes.
        images: CSV of images; may list photos without boxes.
        class_descriptions: CSV of MIDs and their names.
        relationships: CSV of relationships between boxes.
        folder: Of the source's indexes.
    """

    source: str
    boxes: InputFile
    images: InputFile
    class_descriptions: InputFile
    relationships: InputFile | None
    folder: Path

    def fingerprints(self) -> dict[str, str]:
        """Of each table, by what it is and its name."""
        tables = {
            "boxes": self.boxes,
            "images": self.images,
            "class_descriptions": self.class_descriptions,
            "relationships": self.relationships,
        }
        return {f"{what} {file.name}": file.fingerprint for what, file in tables.items() if file}

    def build(self, index: IndexWriter) -> None:
        """Add all rows to an index.

        Raises:
            SourceError: if a table is not what it should be.
        """
        names = class_names(self.source, self.class_descriptions)
        with staging(self.folder, _STAGED) as staged:
            self._add_boxes(index, staged, names)
            self._add_images(index, staged)
            if self.relationships:
                self._add_relationships(index, staged, names, self.relationships)
            self._add_bad_rows(index, staged)

    def _add_boxes(self, index: IndexWriter, staged: Staging, names: pl.DataFrame) -> None:
        table = CsvTable(self.source, self.boxes, {column: (column,) for column in _BOX_COLUMNS}, key="ImageID")
        share = BadShare(table)
        rows = described = 0
        for raw in table.batches():
            batch = checked_boxes(table, raw)
            share.count(batch, _inverted(batch.rows, table))
            _stage_bad(index, staged, batch, of_boxes=True)
            staged.append("labeled", batch.rows.select(key="ImageID").unique())
            absent = batch.rows.filter(pl.col("Confidence") == 0)
            for line in absent["line"]:
                index.note("box_of_confidence_0", table.at(line, "says that the class is not there"))
            labels = _named(batch.rows.filter(pl.col("Confidence") != 0), names, "LabelName")
            _note_unnamed(index, labels, "LabelName")
            rows, described = rows + labels.height, described + labels["name"].count()
            labels = _labels(labels, table)
            index.add("labels", labels)
            if self.relationships:
                staged.append("boxes", labels.select("key", "mid", "label_id", *_CORNERS))
        share.finish()
        if rows and not described:
            raise table.error(
                f"{self.class_descriptions.name} describes no class of {self.boxes.name}: "
                "correct `class_descriptions` in the configuration"
            )

    def _add_images(self, index: IndexWriter, staged: Staging) -> None:
        table = CsvTable(self.source, self.images, {column: (column,) for column in _IMAGE_COLUMNS}, key="ImageID")
        share = BadShare(table)
        for raw in table.batches():
            batch = checked_images(table, raw)
            share.count(batch)
            _stage_bad(index, staged, batch)
            staged.append("images", batch.rows)
        share.finish()
        unlisted = photos = 0
        for found in staged.rows(_PHOTOS):
            index.add("photos", found)
            photos += found.filter("is_labeled").height
            lost = found.filter("is_unlisted")["key"].sort()
            unlisted += len(lost)
            for key in lost:
                index.note(
                    "image_not_listed", f"{key} has boxes in {self.boxes.name} and no sound row in {self.images.name}"
                )
        if unlisted and unlisted == photos:
            raise table.error(f"{self.images.name} lists no image of {self.boxes.name}: take both tables of one subset")
        for found in staged.rows(_CONFLICTS.replace("$file", _quoted(self.images.name))):
            index.add("problems", found.with_columns(rule=pl.lit("label_conflict")))

    def _add_relationships(self, index: IndexWriter, staged: Staging, names: pl.DataFrame, file: InputFile) -> None:
        columns = {**{column: (column,) for column in _PAIR_COLUMNS}, _PREDICATE: _PREDICATE_NAMES}
        table = CsvTable(self.source, file, columns, key="ImageID")
        share = BadShare(table)
        for raw in table.batches():
            batch = checked_pairs(table, raw)
            share.count(batch)
            _stage_bad(index, staged, batch)
            pairs = _named(batch.rows, names, "LabelName2")
            _note_unnamed(index, pairs.filter(pl.col(_PREDICATE) == _HAS_ATTRIBUTE), "LabelName2")
            staged.append("pairs", _pairs(pairs))
        share.finish()
        staged.execute(_FOUND_PAIRS)
        for found in staged.rows(_RELATIONSHIPS):
            index.add("relationships", found)
        for found in staged.rows(_UNMATCHED):
            for line in found["line"]:
                index.note("relationship_unmatched", table.at(line, f"no such box in {self.boxes.name}"))

    @staticmethod
    def _add_bad_rows(index: IndexWriter, staged: Staging) -> None:
        for found in staged.rows(_BAD):
            index.add("problems", found.filter("is_known").with_columns(rule=pl.lit("label_malformed")))
            for detail in found.filter(~pl.col("is_known"))["detail"].sort():
                index.note("row_of_no_photo", detail)


def class_names(source: str, file: InputFile) -> pl.DataFrame:
    """Names of classes: columns `mid` and `name`, one row a class.

    Args:
        source: Name of the source, for messages.
        file: CSV of MID and name, with a header or without.

    Raises:
        SourceError: if it is no such file.
    """
    names: dict[str, str] = {}
    with file.path.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        try:
            for row in filter(None, reader):
                mid, name = _description(row)
                if names.setdefault(mid, name) != name:
                    raise ValueError(f"{mid} was {names[mid]!r} before and is {name!r} here")  # noqa: TRY301
        except (csv.Error, ValueError) as error:  # a UnicodeDecodeError is a ValueError
            raise SourceError(
                f"source {source}: {file.name}: line {reader.line_num}: {error}: take class descriptions as published"
            ) from error
    names.pop(_DESCRIPTIONS_HEADER, None)
    return pl.DataFrame(
        {"mid": list(names), "name": list(names.values())}, schema=dict.fromkeys(("mid", "name"), pl.String())
    )


def _description(row: list[str]) -> tuple[str, str]:
    mid, *rest = (field.strip() for field in row)
    if len(rest) != 1 or not rest[0] or not (mid.startswith("/") or mid == _DESCRIPTIONS_HEADER):
        raise ValueError(f"{row} is not a MID, such as /m/01g317, and a name")
    return mid, rest[0]


def checked_boxes(table: CsvTable, batch: CsvBatch) -> CsvBatch:
    """Rows of boxes with numbers as numbers: coordinates and `Confidence` as floats, flags as booleans."""
    batch = _identified(table, batch, "LabelName")
    batch = _numbers(table, batch, ("Confidence", *_CORNERS))
    flags = {flag: pl.col(flag).cast(pl.Float64, strict=False) for flag in _FLAGS}
    no_flag = {flag: ~value.is_in([-1.0, 0.0, 1.0]).fill_null(value=False) for flag, value in flags.items()}
    batch = table.checked(batch, no_flag, "is none of 1, 0 and -1")
    said = [pl.when(value >= 0).then(value == 1).alias(flag) for flag, value in flags.items()]
    return replace(batch, rows=batch.rows.with_columns(said))


def checked_images(table: CsvTable, batch: CsvBatch) -> CsvBatch:
    """Rows of images as `key`, `rotation` (degrees counter-clockwise), `license` (null if empty) and `line`.

    The page "Rotated images in Open Images" of the data set says what `Rotation` is: by how many degrees
    counter-clockwise image and boxes are to be turned. It is empty or `nan` for photos that Flickr told nothing of.
    """
    batch = _identified(table, batch)
    untold = pl.col("Rotation").str.to_lowercase().is_in(_UNTOLD)
    degrees = pl.when(untold).then(0.0).otherwise(pl.col("Rotation").cast(pl.Float64, strict=False))
    no_rotation = ~degrees.is_in([0.0, 90.0, 180.0, 270.0]).fill_null(value=False)
    batch = table.checked(batch, {"Rotation": no_rotation}, "is none of 0, 90, 180 and 270")
    rows = batch.rows.select(
        "line",
        key="ImageID",
        rotation=degrees.cast(pl.Int16),
        license=pl.when(pl.col("License") != "").then("License"),
    )
    return replace(batch, rows=rows)


def checked_pairs(table: CsvTable, batch: CsvBatch) -> CsvBatch:
    """Rows of relationships, coordinates as floats."""
    batch = _identified(table, batch, "LabelName1", "LabelName2", _PREDICATE)
    return _numbers(table, batch, tuple(f"{corner}{n}" for n in (1, 2) for corner in _CORNERS))


def _identified(table: CsvTable, batch: CsvBatch, *needed: str) -> CsvBatch:
    no_id = {"ImageID": ~pl.col("ImageID").str.contains(_IMAGE_ID)}
    batch = table.checked(batch, no_id, "is no ImageID")
    return table.checked(batch, {column: pl.col(column) == "" for column in needed}, "is empty") if needed else batch


def _numbers(table: CsvTable, batch: CsvBatch, columns: tuple[str, ...]) -> CsvBatch:
    numbers = {column: pl.col(column).cast(pl.Float64, strict=False) for column in columns}
    outside = {
        column: ~number.is_between(-_TOLERANCE, 1 + _TOLERANCE).fill_null(value=False)
        for column, number in numbers.items()
    }
    batch = table.checked(batch, outside, "is no number from 0 to 1")
    return replace(batch, rows=batch.rows.with_columns(**numbers))


def _inverted(rows: pl.DataFrame, table: CsvTable) -> pl.DataFrame:
    """Boxes whose left is right of their right: a few are mistakes, many tell that the columns are moved."""
    inverted = (pl.col("XMin") > pl.col("XMax")) | (pl.col("YMin") > pl.col("YMax"))
    detail = pl.format("{}: line {}: XMin {}, XMax {}, YMin {}, YMax {}", pl.lit(table.file.name), "line", *_CORNERS)
    return rows.filter(inverted).select(detail=detail)


def _labels(rows: pl.DataFrame, table: CsvTable) -> pl.DataFrame:
    """Rows of the index's labels, with `mid` and the corners as they were.

    The id is made of class and box alone: it stays what it is whatever else a later release adds.
    """
    box = [(pl.col(corner) * 1e6).round().cast(pl.Int64) for corner in _CORNERS]
    content = pl.concat_str("LabelName", *box, separator=" ")
    all_content = pl.concat_str(content, "Source", "Confidence", *_FLAGS, separator=" ", ignore_nulls=True)
    return rows.with_columns(content=content, all_content=all_content).select(
        *_CORNERS,
        key="ImageID",
        mid="LabelName",
        label_id=plh.col("content").chash.sha2_256().str.slice(0, _ID_DIGITS),
        category=pl.coalesce("name", "LabelName"),
        unit=pl.lit("share"),
        left="XMin",
        top="YMin",
        width=pl.col("XMax") - pl.col("XMin"),
        height=pl.col("YMax") - pl.col("YMin"),
        **{ours: pl.col(theirs) for theirs, ours in _FLAGS.items()},
        position=plh.col("all_content").chash.sha2_256().str.slice(0, _POSITION_DIGITS).str.to_integer(base=16),
        where=pl.format("{}: line {}", pl.lit(table.file.name), "line"),
    )


def _pairs(rows: pl.DataFrame) -> pl.DataFrame:
    is_attribute = pl.col(_PREDICATE) == _HAS_ATTRIBUTE
    return rows.select(
        *(f"{corner}{n}" for n in (1, 2) for corner in _CORNERS),
        "line",
        key="ImageID",
        mid1="LabelName1",
        mid2="LabelName2",
        predicate=_PREDICATE,
        attribute=pl.when(is_attribute).then(pl.coalesce("name", "LabelName2")),
    )


def _named(rows: pl.DataFrame, names: pl.DataFrame, column: str) -> pl.DataFrame:
    return rows.join(names, left_on=column, right_on="mid", how="left", maintain_order="left")


def _note_unnamed(index: IndexWriter, rows: pl.DataFrame, column: str) -> None:
    unnamed = rows.filter(pl.col("name").is_null()).group_by(column).len().sort(column)
    for mid, count in unnamed.iter_rows():
        index.note("class_not_described", f"{mid} is kept under its MID", count)


def _stage_bad(index: IndexWriter, staged: Staging, batch: CsvBatch, *, of_boxes: bool = False) -> None:
    told = batch.bad.filter(pl.col("key").is_not_null() & (pl.col("key") != ""))
    staged.append("bad", told.select("key", "detail", of_boxes=pl.lit(of_boxes)))
    for detail in batch.bad.filter(pl.col("key").is_null() | (pl.col("key") == ""))["detail"]:
        index.note("row_of_no_photo", detail)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
