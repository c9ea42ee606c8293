"""Human boxes of a COCO instances file, streamed into an index: that of COCO, of Objects365, of a folder's owner.

The sections may come in any order. The records are laid down as they come and joined on disk, so memory
depends neither on the file's size nor on its order.
"""

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeGuard, cast

import polars as pl

from forge_resources.sources.base import SourceError
from forge_resources.sources.index import IndexWriter
from forge_resources.sources.inputs import InputFile
from forge_resources.sources.json_records import BrokenJsonError, json_lists
from forge_resources.sources.staging import Staging, staging

BoxForm = Literal["xywh", "xyxy"]
"""Of `bbox`: left, top, width, height; or left, top, right, bottom."""

SAMPLED_BOXES: Final = 100_000
MIN_SAMPLED_BOXES: Final = 20
FAR_OUT: Final = 1.1
"""Times the photo's width or height: boxes that reach further are taken for a sign of the other form."""
MAX_ODD_SHARE: Final = 0.3
MAX_ODD_SHARE_OF_OTHER: Final = 0.1

_BOX_NUMBERS: Final = 4
_NUMBER_TYPES: Final = frozenset({int, float})
_BATCH_ROWS: Final = 50_000
_MAX_SIZE: Final = 2**31 - 1
_NOTE_EXAMPLES: Final = 5
_FLAGS: Final = {"iscrowd": "is_crowd", "isfake": "is_fake", "isreflected": "is_reflected"}
_SECTIONS: Final = ("images", "annotations", "categories")

_TABLES: Final[Mapping[str, Mapping[str, pl.DataType]]] = {
    "entries": {
        "image": pl.String(),
        "position": pl.Int64(),
        "key": pl.String(),
        "width": pl.Int32(),
        "height": pl.Int32(),
    },
    "annotations": {
        "image": pl.String(),
        "position": pl.Int64(),
        "label_id": pl.String(),
        "category_id": pl.String(),
        "a": pl.Float64(),
        "b": pl.Float64(),
        "c": pl.Float64(),
        "d": pl.Float64(),
        **{flag: pl.Boolean() for flag in _FLAGS.values()},
    },
    "malformed": {"image": pl.String(), "label_id": pl.String(), "detail": pl.String()},
    "categories": {"category_id": pl.String(), "category": pl.String()},
}
"""Ids are kept as JSON text, so that 1 and "1" stay two; `a` to `d` are the numbers of `bbox`."""

_SQL_TYPES: Final = {
    pl.String(): "VARCHAR",
    pl.Int64(): "BIGINT",
    pl.Int32(): "INTEGER",
    pl.Float64(): "DOUBLE",
    pl.Boolean(): "BOOLEAN",
}

_JOINED: Final = """
    CREATE TEMP VIEW owners AS SELECT image, key, count(*) OVER (PARTITION BY key) = 1 AS is_alone FROM entries;
    CREATE TEMP TABLE repeated AS
        SELECT label_id, min(position) AS first FROM annotations GROUP BY label_id HAVING count(*) > 1;
    CREATE TEMP VIEW judged AS
        SELECT key, annotations.*, category, coalesce(position > first, false) AS is_repeat
        FROM annotations JOIN owners USING (image)
            LEFT JOIN repeated USING (label_id) LEFT JOIN categories USING (category_id)
        WHERE is_alone;
"""
_PHOTOS: Final = """
    SELECT key, count(*) = 1 AS is_labeled,
        CASE WHEN count(*) = 1 THEN any_value(width) END AS width,
        CASE WHEN count(*) = 1 THEN any_value(height) END AS height
    FROM entries GROUP BY key
"""
_LABELS: Final = """
    SELECT key, position, label_id, category, 'pixels' AS unit, a AS "left", b AS top,
        {width} AS width, {height} AS height, is_crowd, is_fake, is_reflected,
        $file || ': annotation ' || label_id AS "where"
    FROM judged WHERE category IS NOT NULL AND NOT is_repeat
"""
_PROBLEMS: Final = """
    SELECT key, 'label_unknown_class' AS rule,
        $file || ': annotation ' || label_id || ': category_id ' || category_id AS detail
    FROM judged WHERE category IS NULL
    UNION ALL
    SELECT key, 'label_duplicate_id', $file || ': annotation ' || label_id || ': an earlier annotation has that id'
    FROM judged WHERE category IS NOT NULL AND is_repeat
    UNION ALL
    SELECT key, 'label_malformed', $file || ': annotation ' || label_id || ': ' || detail
    FROM malformed JOIN owners USING (image) WHERE is_alone
    UNION ALL
    SELECT key, 'label_ambiguous_file_name', $file || ': ' || count(DISTINCT owners.image)
        || ' entries have the file_name ' || key || '; ' || count(found.image) || ' labels not used'
    FROM owners LEFT JOIN (SELECT image FROM annotations UNION ALL SELECT image FROM malformed) AS found USING (image)
    WHERE NOT is_alone GROUP BY key
"""


@dataclass(frozen=True, slots=True)
class CocoFile:
    """An instances file and how it is read.

    Args:
        source: Name of the source, for messages.
        file: The JSON.
        key_of: The index key of a photo, by its `file_name` with parts joined by `/` and no `.` in it.
        boxes: What `bbox` holds.
        other_form: What to do if the boxes turn out to have the other form.
    """

    source: str
    file: InputFile
    key_of: Callable[[str], str]
    boxes: BoxForm = "xywh"
    other_form: str = "write them as [x, y, width, height]"

    def index(self, writer: IndexWriter, folder: Path) -> None:
        """Add all that the file says to an index.

        Args:
            writer: Of the index.
            folder: Of the source's indexes, for what is kept on disk meanwhile.

        Raises:
            SourceError: if it is no COCO instances file, or its boxes look like the other form.
        """
        tables = {
            name: ", ".join(f"{column} {_SQL_TYPES[dtype]}" for column, dtype in columns.items())
            for name, columns in _TABLES.items()
        }
        with staging(folder, tables) as rows:
            _Records(self, rows).read()
            self._require_single_ids(rows)
            self._require_box_form(rows)
            self._note_unlisted(rows, writer)
            self._join(rows, writer)

    def broken(self, reason: str) -> NoReturn:
        """Refuse the file.

        Raises:
            SourceError: always.
        """
        raise SourceError(f"source {self.source}: {self.file.path} is no COCO instances file: {reason}")

    def _require_single_ids(self, rows: Staging) -> None:
        for section, table, column in (("images", "entries", "image"), ("categories", "categories", "category_id")):
            repeated = rows.all_rows(
                f"SELECT {column} FROM {table} GROUP BY {column} HAVING count(*) > 1 ORDER BY {column} LIMIT 1"  # noqa: S608
            )
            if repeated.height:
                self.broken(f"{section} repeat the id {repeated.item()}")

    def _require_box_form(self, rows: Staging) -> None:
        sampled, *odd = rows.all_rows(f"""
            SELECT count(*), avg((c < 0 OR d < 0 OR a + c > {FAR_OUT} * width OR b + d > {FAR_OUT} * height)::INT),
                avg((c < a OR d < b OR c > {FAR_OUT} * width OR d > {FAR_OUT} * height)::INT)
            FROM (FROM annotations WHERE position < {SAMPLED_BOXES}) AS sample
                JOIN (FROM entries WHERE width > 0 AND height > 0) AS sized USING (image)
        """).row(0)  # noqa: S608
        if sampled < MIN_SAMPLED_BOXES:
            return
        own, other = odd if self.boxes == "xywh" else reversed(odd)
        if own > MAX_ODD_SHARE and other < MAX_ODD_SHARE_OF_OTHER:
            form = "xyxy" if self.boxes == "xywh" else "xywh"
            raise SourceError(
                f"source {self.source}: the boxes of {self.file.path} look like {form}: read as {self.boxes}, "
                f"{own:.0%} of {sampled} are inverted or reach far out of their photos: {self.other_form}"
            )

    def _note_unlisted(self, rows: Staging, writer: IndexWriter) -> None:
        rows.execute("""
            CREATE TEMP VIEW unlisted AS SELECT label_id, image
            FROM (SELECT label_id, image FROM annotations UNION ALL SELECT label_id, image FROM malformed)
            ANTI JOIN entries USING (image)
        """)
        count = rows.all_rows("SELECT count(*) FROM unlisted").item()
        shown = rows.all_rows(f"FROM unlisted ORDER BY ALL LIMIT {_NOTE_EXAMPLES}")
        for number, (label_id, image) in enumerate(shown.iter_rows()):
            example = f"{self.file.name}: annotation {label_id} is of image {image}, which is not listed"
            writer.note("annotations_of_unlisted_images", example, 1 if number else count - shown.height + 1)

    def _join(self, rows: Staging, writer: IndexWriter) -> None:
        rows.execute(_JOINED)
        width, height = ("c", "d") if self.boxes == "xywh" else ("c - a", "d - b")
        file = "'" + self.file.name.replace("'", "''") + "'"
        for batch in rows.rows(_PHOTOS):
            writer.add("photos", batch)
        for batch in rows.rows(_LABELS.format(width=width, height=height).replace("$file", file)):
            writer.add("labels", batch)
        for batch in rows.rows(_PROBLEMS.replace("$file", file)):
            writer.add("problems", batch)


class _Records:
    """Lays the records of a file down as rows."""

    def __init__(self, coco: CocoFile, rows: Staging) -> None:
        self._coco = coco
        self._rows = rows
        self._waiting: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _TABLES}

    def read(self) -> None:
        takers = {"images": self._entry, "annotations": self._annotation, "categories": self._category}
        found: set[str] = set()
        try:
            for section, records in json_lists(self._coco.file.path):
                if section in takers and records is not None:
                    found.add(section)
                    self._take(section, records, takers[section])
        except BrokenJsonError as error:
            self._coco.broken(str(error))
        except OSError as error:
            raise SourceError(
                f"source {self._coco.source}: cannot read {self._coco.file.path} ({error.strerror})"
            ) from error
        for section in _SECTIONS:
            if section not in found:
                self._coco.broken(f"it has no list `{section}`")
        for table in _TABLES:
            self._flush(table)

    def _take(self, section: str, records: Iterator[Any], take: Callable[[int, Mapping[str, Any]], None]) -> None:
        for position, record in enumerate(records):
            if not isinstance(record, dict):
                self._coco.broken(f"{section}[{position}] is no object")
            take(position, cast("dict[str, Any]", record))

    def _entry(self, position: int, record: Mapping[str, Any]) -> None:
        image, file_name = _id(record.get("id")), record.get("file_name")
        path = posixpath.normpath(file_name.replace("\\", "/")) if _is_text(file_name) else "."
        if image is None or path == "." or "\0" in path:
            self._coco.broken(f"images[{position}] has no proper id and file_name")
        size = [_size(record[side]) if side in record else None for side in ("width", "height")]
        self._add("entries", (image, position, self._coco.key_of(path), *size))

    def _annotation(self, position: int, record: Mapping[str, Any]) -> None:
        image = _id(record.get("image_id"))
        if image is None:
            self._coco.broken(f"annotations[{position}] has no proper image_id")
        given = record.get("id")
        label_id = str(given) if type(given) is int or _is_text(given) else f"n{position}"
        box, category_id = _numbers(record.get("bbox")), record.get("category_id")
        flags = [_flag(record.get(name)) for name in _FLAGS]
        if box is None:
            detail = f"bbox {_shown(record.get('bbox'))} is not a list of four numbers"
            self._add("malformed", (image, label_id, detail))
        elif "odd" in flags:
            name = tuple(_FLAGS)[flags.index("odd")]
            self._add("malformed", (image, label_id, f"{name} {_shown(record[name])} is neither 0 nor 1"))
        else:
            row = (image, position, label_id, _id(category_id) or _shown(category_id), *box, *flags)
            self._add("annotations", row)

    def _category(self, position: int, record: Mapping[str, Any]) -> None:
        category_id, name = _id(record.get("id")), record.get("name")
        category = str(name).strip() if type(name) is int or _is_text(name) else ""
        if category_id is None or not category:
            self._coco.broken(f"categories[{position}] has no proper id and name")
        self._add("categories", (category_id, category))

    def _add(self, table: str, row: tuple[Any, ...]) -> None:
        waiting = self._waiting[table]
        waiting.append(row)
        if len(waiting) == _BATCH_ROWS:
            self._flush(table)

    def _flush(self, table: str) -> None:
        waiting = self._waiting[table]
        if waiting:
            columns = dict(zip(_TABLES[table], zip(*waiting, strict=True), strict=True))
            self._rows.append(table, pl.DataFrame(columns, schema=_TABLES[table]))
            waiting.clear()


def _id(value: object) -> str | None:
    """An id as JSON text; None if the value is none."""
    if type(value) is int:
        return str(value)
    return json.dumps(value) if _is_text(value) else None


def _is_text(value: object) -> TypeGuard[str]:
    """A text that has no half of a character pair, which JSON can spell and UTF-8 cannot."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value))


def _size(value: object) -> int:
    """A width or height in pixels; 0, which no photo has, if the value is none."""
    is_whole = type(value) is int or (isinstance(value, float) and value.is_integer())
    number = int(cast("int | float", value)) if is_whole else 0
    return number if 0 < number <= _MAX_SIZE else 0


def _numbers(box: object) -> tuple[float, ...] | None:
    """The four numbers of `bbox`, perhaps not finite; None if there are not four."""
    if not isinstance(box, list) or len(box) != _BOX_NUMBERS:
        return None
    numbers = cast("list[float]", box)
    if not _NUMBER_TYPES.issuperset(map(type, numbers)):
        return None
    try:
        return tuple(map(float, numbers))
    except OverflowError:
        return (float("inf"),) * _BOX_NUMBERS


def _flag(value: object) -> bool | Literal["odd"] | None:
    if value is None:
        return None
    return bool(value) if value in (0, 1) else "odd"


def _shown(value: object) -> str:
    return ascii(value)[:100]
