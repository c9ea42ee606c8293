"""Tables as Parquet files that Polars, DuckDB and Hugging Face `datasets` read alike."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from forge_resources.content_hash import ContentHash

IMAGE: Final = pl.Struct({"bytes": pl.Binary(), "path": pl.String()})
"""A column of this type holds image files, and `datasets` is told so."""

ROW_GROUP_BYTES: Final = 2**30
"""Of image files, after which a batch is cut in two: Arrow's 32-bit offsets end at 2 GiB."""

_VALUES_AT_ONCE: Final = 16_384
"""That the writer encodes together."""

_ARROW_IMAGE: Final = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def write_parquet(path: Path, rows: pl.DataFrame | Iterable[pl.DataFrame], schema: pl.Schema) -> tuple[str, int]:
    """Write a table, given whole or as a stream of batches in its order; each becomes a row group.

    Returns:
        The content hash of all rows, and how many there are.

    Raises:
        polars.exceptions.PolarsError: a batch does not fit `schema`.
    """
    running, total = ContentHash(), 0
    arrow, options = _layout(tuple(schema.items()))
    images = _images(schema)
    batches = (rows,) if isinstance(rows, pl.DataFrame) else rows
    with pq.ParquetWriter(path, arrow, **options) as writer:
        for batch in batches:
            frame = batch if batch.schema == schema else batch.select(_cast_to(schema))
            total += frame.height
            for part in _within_offsets(frame, images):
                table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
                running.update_arrow(table)
                writer.write_table(table.cast(arrow))
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


def _cast_to(schema: pl.Schema) -> list[pl.Expr]:
    return [pl.col(name).cast(dtype) for name, dtype in schema.items()]


@cache
def _layout(columns: tuple[tuple[str, pl.DataType], ...]) -> tuple[Any, dict[str, Any]]:
    """The Arrow schema of a table's file and the writer's options: each shard writes the same few tables."""
    schema = pl.Schema(columns)
    arrow = arrow_schema(schema)
    return arrow, _options(schema, arrow)


def _options(schema: pl.Schema, arrow: Any) -> dict[str, Any]:  # noqa: ANN401 - PyArrow has no types
    """How `pyarrow.parquet` writes the columns.

    Image files, compressed as they are, are not packed once more. Dictionaries of floats and of files are larger than
    their values, and no reader looks at the statistics of values within lists. Pages have checksums, so that a flipped
    bit in a photo is found.
    """
    leaves = [leaf for field in arrow for leaf in _leaves(field.type, field.name)]
    image_files = {f"{name}.bytes" for name in _images(schema)}
    repeated = [leaf for leaf in leaves if not (pa.types.is_floating(leaf.dtype) or _is_file(leaf.dtype))]
    return {
        "compression": {leaf.path: "none" if leaf.path in image_files else "zstd" for leaf in leaves},
        "use_dictionary": [leaf.path for leaf in repeated],
        "write_statistics": [leaf.path for leaf in leaves if not (leaf.in_list or _is_file(leaf.dtype))],
        "write_batch_size": _VALUES_AT_ONCE,
        "write_page_checksum": True,
    }


class _Leaf(NamedTuple):
    """Values of one type, with the name that Parquet has for them."""

    path: str
    dtype: Any
    in_list: bool


def _leaves(dtype: Any, path: str, *, in_list: bool = False) -> Iterator[_Leaf]:  # noqa: ANN401 - PyArrow has no types
    if pa.types.is_struct(dtype):
        for field in dtype:
            yield from _leaves(field.type, f"{path}.{field.name}", in_list=in_list)
    elif pa.types.is_nested(dtype):
        yield from _leaves(dtype.value_type, f"{path}.list.element", in_list=True)
    else:
        yield _Leaf(path, dtype, in_list)


def _is_file(dtype: Any) -> bool:  # noqa: ANN401 - PyArrow has no types
    return pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype)


def _images(schema: pl.Schema) -> list[str]:
    return [name for name, dtype in schema.items() if dtype == IMAGE]


def _within_offsets(frame: pl.DataFrame, images: Sequence[str]) -> Iterator[pl.DataFrame]:
    if not images or frame.estimated_size() < ROW_GROUP_BYTES:
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
