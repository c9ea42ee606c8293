"""Tables as Parquet files that Polars, DuckDB and Hugging Face `datasets` read alike."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from forge_resources.content_hash import ContentHash

IMAGE: Final = pl.Struct({"bytes": pl.Binary(), "path": pl.String()})
"""A column of this type holds image files, and `datasets` is told so."""

ROW_GROUP_BYTES: Final = 2**30
"""Of image files, after which a batch is cut in two: Arrow's 32-bit offsets end at 2 GiB."""

_ARROW_IMAGE: Final = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def write_parquet(path: Path, rows: pl.DataFrame | Iterable[pl.DataFrame], schema: pl.Schema) -> tuple[str, int]:
    """Write a table, given whole or as a stream of batches in its order; each becomes a row group.

    Returns:
        The content hash of all rows, and how many there are.

    Raises:
        polars.exceptions.PolarsError: a batch does not fit `schema`.
    """
    running, total = ContentHash(), 0
    arrow = arrow_schema(schema)
    batches = (rows,) if isinstance(rows, pl.DataFrame) else rows
    with pq.ParquetWriter(path, arrow, compression="zstd") as writer:
        for batch in batches:
            frame = batch.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
            running.update(frame)
            total += frame.height
            for part in _within_offsets(frame):
                writer.write_table(part.to_arrow().cast(arrow))
        if total == 0:
            running.update(schema.to_frame())
    return running.hexdigest(), total


def arrow_schema(schema: pl.Schema) -> Any:  # noqa: ANN401 - PyArrow has no types
    """The `pyarrow.Schema` of a table's file, with the metadata by which `datasets` decodes its columns of images.

    `datasets` takes the feature that the key `huggingface` names for a column if the column has that feature's
    very Arrow type, with 32-bit offsets; it infers the features of the other columns.
    """
    plain = schema.to_frame().to_arrow().schema
    images = _images(schema)
    if not images:
        return plain
    fields = [pa.field(field.name, _ARROW_IMAGE) if field.name in images else field for field in plain]
    features = {name: {"_type": "Image"} for name in images}
    return pa.schema(fields, {b"huggingface": json.dumps({"info": {"features": features}}).encode()})


def _images(schema: pl.Schema) -> list[str]:
    return [name for name, dtype in schema.items() if dtype == IMAGE]


def _within_offsets(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    images = _images(frame.schema)
    if not images:
        yield frame
        return
    sizes = frame.select(
        pl.sum_horizontal(pl.col(name).struct.field("bytes").bin.size().fill_null(0).cast(pl.Int64) for name in images)
    ).to_series()
    part = sizes.cum_sum() // ROW_GROUP_BYTES
    start = 0
    for length in part.rle().struct.field("len"):
        yield frame.slice(start, length)
        start += length
