"""The tables of PixMo on their way into an index.

Format: the data set cards `allenai/pixmo-points`, `allenai/pixmo-count` and `allenai/pixmo-cap`. Points are percent of
the photo's width and height in pixmo-points, pixels in pixmo-count.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl
import polars_hash as plh
import pyarrow as pa
import pyarrow.parquet as pq

from forge_resources.s3 import S3Config, S3Uri, asking, client
from forge_resources.sources.base import SourceError
from forge_resources.sources.index import IndexWriter
from forge_resources.sources.inputs import InputFile, input_file
from forge_resources.sources.staging import Staging, staging

TableName = Literal["points", "count", "cap"]
PointUnit = Literal["percent", "pixels"]

MAX_OUTSIDE_SHARE: Final = 0.2
"""Of the photos with points; with more the points are taken to be in another unit than configured."""

_READER: Final = "pixmo 1"
_SUFFIX: Final = ".parquet"
_BATCH_ROWS: Final = 5_000
_KEY_DIGITS: Final = 32
_FEW: Final = 3
_ENOUGH: Final = 20
_MAX_COUNT: Final = 2**31 - 1
_UNITS: Final[Mapping[TableName, PointUnit]] = {"points": "percent", "count": "pixels", "cap": "pixels"}

_IsType = Callable[[pl.DataType], bool]


def _is_text(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.String | pl.Categorical)


def _is_whole(dtype: pl.DataType) -> bool:
    return dtype.is_integer()


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric()


def _is_list_of_points(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.List) and _axes_of(dtype.inner, _is_number)


def _is_two_lists(dtype: pl.DataType) -> bool:
    return _axes_of(dtype, _is_list_of_numbers)


def _is_list_of_numbers(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.List) and _is_of(dtype.inner, _is_number)


def _axes_of(dtype: object, is_type: _IsType) -> bool:
    if not isinstance(dtype, pl.Struct):
        return False
    fields = {field.name: field.dtype for field in dtype.fields}
    return all(axis in fields and _is_of(fields[axis], is_type) for axis in ("x", "y"))


def _is_of(dtype: object, is_type: _IsType) -> bool:
    return isinstance(dtype, pl.DataType) and is_type(dtype)


@dataclass(frozen=True, slots=True)
class _Column:
    is_type: _IsType
    described: str
    is_needed: bool = True


_TEXT: Final = _Column(_is_text, "text")
_LABELED: Final = {
    "image_url": _TEXT,
    "image_sha256": _TEXT,
    "count": _Column(_is_whole, "whole numbers"),
    "label": _TEXT,
}
_COLUMNS: Final[Mapping[TableName, Mapping[str, _Column]]] = {
    "points": {**_LABELED, "points": _Column(_is_list_of_points, "lists of {x, y}")},
    "count": {**_LABELED, "points": _Column(_is_two_lists, "{x, y} of lists", is_needed=False)},
    "cap": {"image_url": _TEXT, "caption": _TEXT},
}

_STAGED: Final = {
    "said": "key VARCHAR, url VARCHAR, sha256 VARCHAR, label VARCHAR, number BIGINT, x DOUBLE[], y DOUBLE[], "
    "place VARCHAR, fault VARCHAR",
}
_SHA256: Final = "^[0-9a-f]{64}$"

_PHOTOS: Final = f"""
    CREATE TABLE photos AS
    SELECT key, min(url) AS url,
           CASE WHEN count(DISTINCT sha256) > 1 THEN 'label_sha256_conflict'
                WHEN NOT regexp_matches(min(sha256), '{_SHA256}') THEN 'label_sha256_malformed' END AS rule,
           CASE WHEN rule IS NULL THEN min(said.sha256) END AS sha256,
           min(place) || ': SHA-256 ' || string_agg(DISTINCT sha256, ' and ' ORDER BY sha256)
           || ': no bytes can be proven to be those that were labelled, so the labels are not used' AS detail
    FROM said GROUP BY key
"""  # noqa: S608 - own names
_LABELS: Final = """
    CREATE TABLE labels AS
    WITH told AS (SELECT key, label, number, x, y, min(place) AS place, count(*) AS times
                  FROM said JOIN photos USING (key)
                  WHERE label IS NOT NULL AND fault IS NULL AND rule IS NULL
                  GROUP BY key, label, number, x, y)
    SELECT *, len(x) AS points,
           row_number() OVER (PARTITION BY key, label ORDER BY number, x, y) AS version,
           min(number) OVER (PARTITION BY key, label) AS least,
           max(number) OVER (PARTITION BY key, label) AS most,
           dense_rank() OVER (PARTITION BY key ORDER BY label) - 1 AS ordinal
    FROM told
"""
_KEPT: Final = "version = 1 AND least IS NOT DISTINCT FROM most"
_MISMATCH: Final = "number <> points AND (points > 0 OR $points_are_complete)"
_LABEL_PROBLEMS: Final = f"""
    SELECT key, fault AS detail, 'label_malformed' AS rule FROM said WHERE fault IS NOT NULL
    UNION ALL
    SELECT key, detail, rule FROM photos WHERE rule IS NOT NULL
    UNION ALL
    SELECT key, format('{{}}: {{}} is counted as {{}} and as {{}}: neither row is used', place, label, least, most),
           'label_count_mismatch' FROM labels WHERE version = 1 AND least <> most
    UNION ALL
    SELECT key, format('{{}}: {{}} has another row with other points', place, label),
           'label_duplicate' FROM labels WHERE version > 1 AND least IS NOT DISTINCT FROM most
    UNION ALL
    SELECT key, format('{{}}: {{}} is counted as {{}} and has {{}} points: the count is not used',
                       place, label, number, points),
           'label_count_mismatch' FROM labels WHERE {_KEPT} AND {_MISMATCH}
"""  # noqa: S608 - own names
_COUNTS: Final = f"""
    SELECT key, ordinal AS position, label AS category, number AS count, place AS "where"
    FROM labels WHERE {_KEPT} AND number IS NOT NULL AND NOT ({_MISMATCH})
"""  # noqa: S608 - own names
_POINTS: Final = f"""
    CREATE VIEW points AS
    SELECT *, NOT (x BETWEEN 0 AND 100 AND y BETWEEN 0 AND 100) AS is_no_percent,
           format('{{}}-{{}}', ordinal, place_in_label) AS label_id,
           ordinal * 1000000 + place_in_label AS position
    FROM (SELECT key, label AS category, ordinal, place AS "where",
                 unnest(x) AS x, unnest(y) AS y, unnest(range(points)) AS place_in_label
          FROM labels WHERE {_KEPT})
"""  # noqa: S608 - own names
_OUTSIDE: Final = """
    SELECT key, format('{}: point {} at ({:g}, {:g}) percent', "where", label_id, x, y) AS detail,
           'label_point_outside' AS rule
    FROM points WHERE is_no_percent
"""
_BEYOND: Final = """
    SELECT count(DISTINCT key) AS photos, count(DISTINCT key) FILTER (is_no_percent) AS beyond,
           max(greatest(x, y)) AS largest
    FROM points
"""


def parquet_files(source: str, location: Path | S3Uri, s3: S3Config, cache: Path) -> list[InputFile]:
    """The Parquet files of a table, sorted by name.

    Args:
        source: Name of the source, for messages.
        location: One file, or a folder or S3 prefix that is searched at all depths.
        s3: How S3 is reached.
        cache: Folder of fetched files.

    Raises:
        SourceError: if there are none, or one cannot be read.
        S3Error: if S3 cannot be asked.
    """
    places: Sequence[Path | S3Uri]
    if isinstance(location, S3Uri):
        places = [location] if location.key.endswith(_SUFFIX) else list(_objects(location, s3))
    elif location.is_dir():
        places = sorted(path for path in location.rglob(f"*{_SUFFIX}") if not path.name.startswith("."))
    else:
        places = [location]
    if not places:
        raise SourceError(f"source {source}: there is no *{_SUFFIX} in {location}: correct `path` in the configuration")
    return [input_file(source, place, s3, cache) for place in places]


def _objects(prefix: S3Uri, s3: S3Config) -> Iterator[S3Uri]:
    with asking(s3, prefix):
        pages = (
            client(s3)
            .get_paginator("list_objects_v2")
            .paginate(Bucket=prefix.bucket, Prefix=f"{prefix.key}/" if prefix.key else "")
        )
        for page in pages:
            for item in page.get("Contents", []):
                if (key := item.get("Key", "")).endswith(_SUFFIX):
                    yield S3Uri(prefix.bucket, key)


@dataclass(frozen=True, slots=True)
class PixMoTables:
    """The files of one table.

    Args:
        source: Name of the source, for messages.
        files: Its Parquet files.
        table: Which table it is.
        point_unit: Of the points; auto: as that table is published.
        folder: Of the source's indexes.
    """

    source: str
    files: Sequence[InputFile]
    table: TableName
    point_unit: Literal["auto", "percent", "pixels"]
    folder: Path

    @property
    def unit(self) -> PointUnit:
        """Of the points."""
        return _UNITS[self.table] if self.point_unit == "auto" else self.point_unit

    @property
    def reader(self) -> str:
        """Who reads the files, with every setting that changes what it reads."""
        return f"{_READER} {self.table} {self.unit}"

    def fingerprints(self) -> dict[str, str]:
        """Of each file; equal names are told apart by their place among the files."""
        return {f"{place} {file.name}": file.fingerprint for place, file in enumerate(self.files)}

    def build(self, index: IndexWriter) -> None:
        """Add all rows to an index.

        Raises:
            SourceError: if a file is no such table, or the points are in another unit.
        """
        with staging(self.folder, _STAGED) as staged:
            for file in self.files:
                for rows in self._rows(file):
                    staged.append("said", rows)
            staged.execute(_PHOTOS)
            staged.execute(_LABELS)
            staged.execute(_POINTS)
            for photos in staged.rows("SELECT key, url, sha256 FROM photos"):
                index.add("photos", photos.with_columns(is_labeled=pl.lit(value=False)))
            complete = str(self.table == "points").lower()
            for problems in staged.rows(_LABEL_PROBLEMS.replace("$points_are_complete", complete)):
                index.add("problems", problems)
            for counts in staged.rows(_COUNTS.replace("$points_are_complete", complete)):
                index.add("counts", counts)
            self._add_points(index, staged)
            for repeated in staged.rows("SELECT place, times FROM labels WHERE times > 1 ORDER BY place"):
                for place, times in repeated.iter_rows():
                    index.note("row_repeated", place, times - 1)

    def _add_points(self, index: IndexWriter, staged: Staging) -> None:
        photos, beyond, largest = staged.all_rows(_BEYOND).row(0)
        points = "SELECT * FROM points"
        if self.unit == "percent":
            if beyond >= _FEW and beyond > MAX_OUTSIDE_SHARE * photos:
                raise SourceError(
                    f"source {self.source}: {beyond} of {photos} photos have points that are no percent, up to "
                    f"{largest:g}: set `point_unit: pixels` if that is what they are, or correct `table`"
                )
            for problems in staged.rows(_OUTSIDE):
                index.add("problems", problems)
            points += " WHERE NOT is_no_percent"
        elif photos >= _ENOUGH and not beyond:
            index.note("points_may_be_percent", f"no point of {photos} photos is over 100: check `point_unit`")
        for found in staged.rows(points):
            index.add("points", found.with_columns(unit=pl.lit(self.unit)))

    def _rows(self, file: InputFile) -> Iterator[pl.DataFrame]:
        try:
            columns = self._columns(file, pl.read_parquet_schema(file.path))
            with pq.ParquetFile(file.path) as parquet:
                first = 1
                for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns):
                    yield self._said(pl.DataFrame(batch), file.name, first)
                    first += batch.num_rows
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
            raise SourceError(
                f"source {self.source}: {file.name} is no Parquet file that can be read in full ({error}): "
                "fetch it again"
            ) from error

    def _columns(self, file: InputFile, schema: Mapping[str, pl.DataType]) -> list[str]:
        """Names of the columns that are read."""
        names: list[str] = []
        for name, column in _COLUMNS[self.table].items():
            if name not in schema and column.is_needed:
                raise self._wrong(f"{file.name} has no column {name}, it has {', '.join(schema)}")
            dtype = schema.get(name, pl.Null())
            if isinstance(dtype, pl.Null):
                continue
            if not column.is_type(dtype):
                raise self._wrong(f"{file.name}: column {name} has {dtype} where {column.described} belong")
            names.append(name)
        return names

    def _wrong(self, found: str) -> SourceError:
        return SourceError(
            f"source {self.source}: {found}: this is not pixmo-{self.table} as it is published; "
            "correct `table` or `path` in the configuration"
        )

    def _said(self, rows: pl.DataFrame, file: str, first: int) -> pl.DataFrame:
        """Rows to stage; `fault` tells why a row's label cannot be used."""
        absent = {
            "image_url": pl.String(),
            "image_sha256": pl.String(),
            "label": pl.String(),
            "count": pl.Int64(),
            "points": pl.Null(),
        }
        rows = rows.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items() if name not in rows)
        x, y = _axes(rows.schema["points"])
        said = rows.with_row_index("row", first).select(
            url=pl.col("image_url").cast(pl.String).fill_null(""),
            sha256=pl.col("image_sha256").cast(pl.String).str.to_lowercase(),
            label=pl.col("label").cast(pl.String).str.strip_chars(),
            number=pl.col("count").cast(pl.Int64),
            x=x.fill_null([]),
            y=y.fill_null([]),
            place=pl.format("{}: row {}", pl.lit(file), "row"),
        )
        both = pl.concat_list("x", "y")
        faults = {
            "no label": pl.lit(self.table != "cap") & (pl.col("label").fill_null("") == ""),
            "a count below 0 or beyond all reason": ~pl.col("number").is_between(0, _MAX_COUNT),
            "not as many x as y": pl.col("x").list.len() != pl.col("y").list.len(),
            "a point without a finite x and y": both.list.eval(pl.element().is_finite().fill_null(value=False))
            .list.all()
            .not_(),
        }
        fault = pl.coalesce(
            pl.when(is_so).then(pl.format("{}: {}", "place", pl.lit(what))) for what, is_so in faults.items()
        )
        return said.with_columns(fault=fault, key=plh.col("url").chash.sha2_256().str.slice(0, _KEY_DIGITS))


def _axes(points: pl.DataType) -> tuple[pl.Expr, pl.Expr]:
    """Both coordinates of the column `points`, as a list a row."""
    numbers = pl.List(pl.Float64())
    column = pl.col("points")
    match points:
        case pl.Struct():
            return column.struct.field("x").cast(numbers), column.struct.field("y").cast(numbers)
        case pl.List():
            each = pl.element().struct
            return column.list.eval(each.field("x")).cast(numbers), column.list.eval(each.field("y")).cast(numbers)
        case _:
            return column.cast(numbers), column.cast(numbers)
