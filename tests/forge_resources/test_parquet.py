"""Parquet files say which of their columns are images, and no row group outgrows Arrow's offsets."""

import json

import polars as pl
import pyarrow.parquet as pq
import pytest

from forge_resources import parquet
from forge_resources.content_hash import content_hash
from forge_resources.parquet import IMAGE, write_parquet


def images(*sizes):
    rows = [{"bytes": bytes([i]) * size, "path": f"{i}.jpg"} for i, size in enumerate(sizes)]
    return pl.DataFrame({"image": rows, "other": [1] * len(rows)}, schema={"image": IMAGE, "other": pl.Int8()})


def test_only_columns_of_images_are_named_as_such(tmp_path):
    for frame, expected in ((images(1), {"image": {"_type": "Image"}}), (images(1).select("other"), None)):
        write_parquet(tmp_path / "x.parquet", frame, frame.schema)
        metadata = (pq.read_schema(tmp_path / "x.parquet").metadata or {}).get(b"huggingface")
        assert (metadata and json.loads(metadata)["info"]["features"]) == expected


@pytest.mark.parametrize(
    ("sizes", "groups"), [([3, 3, 3], [3]), ([4, 4, 4, 4, 4], [2, 2, 1]), ([9, 9], [1, 1]), ([0], [1]), ([], [])]
)
def test_a_batch_of_many_bytes_becomes_several_row_groups(tmp_path, monkeypatch, sizes, groups):
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 10)
    frame = images(*sizes)
    assert write_parquet(tmp_path / "x.parquet", frame, frame.schema) == (content_hash(frame), len(sizes))
    with pq.ParquetFile(tmp_path / "x.parquet") as file:
        found = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert [rows for rows in found if rows] == groups
    assert pl.read_parquet(tmp_path / "x.parquet").equals(frame)


def test_a_photo_that_is_null_stays_null(tmp_path):
    frame = pl.DataFrame({"image": [None, {"bytes": None, "path": "x"}]}, schema={"image": IMAGE})
    write_parquet(tmp_path / "x.parquet", frame, frame.schema)
    assert pl.read_parquet(tmp_path / "x.parquet").equals(frame)


def test_image_files_are_not_compressed_again_and_all_else_is(tmp_path):
    frame = images(9).with_columns(
        names=pl.Series([["x"]]),
        marks=pl.Series([[{"name": "y", "seen": True}]]),
        box=pl.Series([[1, 2]], dtype=pl.Array(pl.Int32, 2)),
    )
    write_parquet(tmp_path / "x.parquet", frame, frame.schema)
    row_group = pq.read_metadata(tmp_path / "x.parquet").row_group(0)
    columns = [row_group.column(i) for i in range(row_group.num_columns)]
    assert {column.path_in_schema: column.compression for column in columns} == {
        "image.bytes": "UNCOMPRESSED",
        "image.path": "ZSTD",
        "other": "ZSTD",
        "names.list.element": "ZSTD",
        "marks.list.element.name": "ZSTD",
        "marks.list.element.seen": "ZSTD",
        "box.list.element": "ZSTD",
    }
    assert pl.read_parquet(tmp_path / "x.parquet").equals(frame)


def test_floats_and_files_have_no_dictionary_and_values_in_lists_no_statistics(tmp_path):
    frame = pl.DataFrame(
        {
            "share": [0.5, 0.5],
            "name": ["a", "a"],
            "number": [1, 1],
            "png": [b"x", b"x"],
            "scores": [[0.5], [0.5]],
            "names": [["a"], ["a"]],
            "evidence": [{"gap": 0.5, "marks": [{"kind": "a"}]}] * 2,
        }
    )
    write_parquet(tmp_path / "x.parquet", frame, frame.schema)
    row_group = pq.read_metadata(tmp_path / "x.parquet").row_group(0)
    columns = [row_group.column(i) for i in range(row_group.num_columns)]
    found = {column.path_in_schema: (column.has_dictionary_page, column.statistics is not None) for column in columns}
    assert found == {
        "share": (False, True),
        "name": (True, True),
        "number": (True, True),
        "png": (False, False),
        "scores.list.element": (False, False),
        "names.list.element": (True, False),
        "evidence.gap": (False, True),
        "evidence.marks.list.element.kind": (True, False),
    }
    assert pl.read_parquet(tmp_path / "x.parquet").equals(frame)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.Enum(["near", "far"]), pl.Enum(["far", "near"])),
        (pl.Struct({"a": pl.Int8(), "b": pl.Int8()}), pl.Struct({"b": pl.Int8(), "a": pl.Int8()})),
        (pl.List(pl.Float32()), pl.List(pl.Float64())),
        (pl.Array(pl.Int8(), 1), pl.Array(pl.Int8(), 2)),
        (IMAGE, pl.Struct({"bytes": pl.Binary(), "name": pl.String()})),
    ],
)
def test_tables_of_nearly_the_same_types_keep_their_own(tmp_path, one, other):
    for dtype in (one, other, one):
        frame = pl.DataFrame({"x": [None]}, schema={"x": dtype})
        write_parquet(tmp_path / "x.parquet", frame, frame.schema)
        assert pl.read_parquet(tmp_path / "x.parquet").schema == frame.schema
        metadata = pq.read_schema(tmp_path / "x.parquet").metadata or {}
        assert (b"huggingface" in metadata) == (dtype == IMAGE)
