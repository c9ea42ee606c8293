"""The hash follows the values and their order, and nothing else."""

import datetime as dt
import decimal
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_resources.content_hash import ContentHash, UnknownDigest, content_hash

SCHEMA = {
    "text": pl.String(),
    "kind": pl.Enum(["near", "far"]),
    "flag": pl.Boolean(),
    "number": pl.Int32(),
    "share": pl.Float64(),
    "blob": pl.Binary(),
    "names": pl.List(pl.String()),
    "box": pl.Array(pl.Int32(), 2),
    "boxes": pl.List(pl.Array(pl.Int32(), 2)),
    "record": pl.Struct({"name": pl.String(), "marks": pl.List(pl.Float64())}),
    "records": pl.List(pl.Struct({"name": pl.String(), "seen": pl.Boolean()})),
}


def or_null(strategy):
    return st.none() | strategy


texts = or_null(st.text(st.sampled_from("ab\x00é"), max_size=2))
numbers = or_null(st.integers(-2, 2))
shares = or_null(st.floats(allow_nan=False).map(lambda value: value + 0.0))  # -0.0 equals 0.0 in Python, not in bytes
boxes = or_null(st.lists(numbers, min_size=2, max_size=2))
records = or_null(st.fixed_dictionaries({"name": texts, "seen": or_null(st.booleans())}))
VALUES = {
    "text": texts,
    "kind": or_null(st.sampled_from(["near", "far"])),
    "flag": or_null(st.booleans()),
    "number": numbers,
    "share": shares,
    "blob": or_null(st.binary(max_size=2)),
    "names": or_null(st.lists(texts, max_size=2)),
    "box": boxes,
    "boxes": or_null(st.lists(boxes, max_size=2)),
    "record": or_null(st.fixed_dictionaries({"name": texts, "marks": or_null(st.lists(shares, max_size=2))})),
    "records": or_null(st.lists(records, max_size=2)),
}
rows = st.fixed_dictionaries(VALUES)


def table(of_rows):
    return pl.DataFrame(
        [pl.Series(name, [row[name] for row in of_rows], dtype=dtype) for name, dtype in SCHEMA.items()]
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, max_size=5), st.lists(st.integers(0, 5), max_size=3))
def test_batches_and_chunks_do_not_matter(of_rows, cuts):
    whole = table(of_rows)
    edges = sorted({0, whole.height, *(min(cut, whole.height) for cut in cuts)})
    parts = [whole[start:stop] for start, stop in pairwise(edges)] or [whole]
    running = ContentHash()
    for part in parts:
        running.update(part)
    assert running.hexdigest() == content_hash(whole)
    assert content_hash(pl.concat(parts, rechunk=False)) == content_hash(whole)


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=1, max_size=3), st.data())
def test_every_value_matters(of_rows, data):
    place = data.draw(st.integers(0, len(of_rows) - 1))
    column = data.draw(st.sampled_from(sorted(SCHEMA)))
    value = data.draw(VALUES[column])
    changed = [dict(row) for row in of_rows]
    changed[place][column] = value
    assert (content_hash(table(changed)) == content_hash(table(of_rows))) == (changed == of_rows)


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, max_size=4), st.randoms(use_true_random=False))
def test_order_of_rows_matters_and_order_of_columns_does_not(of_rows, random):
    shuffled = random.sample(of_rows, len(of_rows))
    assert (content_hash(table(shuffled)) == content_hash(table(of_rows))) == (shuffled == of_rows)
    names = random.sample(list(SCHEMA), len(SCHEMA))
    assert content_hash(table(of_rows).select(names)) == content_hash(table(of_rows))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (pl.String, ["", None]),
        (pl.Binary, [b"", b"\0", None]),
        (pl.Int32, [0, None]),
        (pl.Float64, [0.0, None]),
        (pl.Boolean, [False, None]),
        (pl.List(pl.Int32), [[], [0], [None], None]),
        (pl.List(pl.List(pl.Int32)), [[], [[]], [None], [[], []], None]),
        (pl.Struct({"a": pl.Int32}), [{"a": 0}, {"a": None}, None]),
        (pl.Array(pl.Int32, 1), [[0], [None], None]),
    ],
)
def test_nothing_is_told_apart_from_zero_and_from_empty(dtype, values):
    digests = {content_hash(pl.DataFrame({"column": pl.Series([value], dtype=dtype)})) for value in values}
    assert len(digests) == len(values)


def test_text_does_not_run_from_one_row_into_the_next():
    assert content_hash(pl.DataFrame({"a": ["ab", "c"]})) != content_hash(pl.DataFrame({"a": ["a", "bc"]}))
    assert content_hash(pl.DataFrame({"a": [["x"], ["y"]]})) != content_hash(pl.DataFrame({"a": [["x", "y"], []]}))


def test_names_of_columns_and_fields_matter():
    assert content_hash(pl.DataFrame({"a": [1]})) != content_hash(pl.DataFrame({"b": [1]}))
    assert content_hash(pl.DataFrame({"s": [{"a": 1}]})) != content_hash(pl.DataFrame({"s": [{"b": 1}]}))


def test_a_slice_hashes_like_a_table_of_its_own():
    whole = pl.DataFrame({"a": [["x"], None, ["y", "z"]], "b": ["1", "2", None]})
    again = pl.DataFrame({"a": [None, ["y", "z"]], "b": ["2", None]})
    assert content_hash(whole[1:]) == content_hash(again)


@pytest.mark.parametrize("value", [dt.date(2024, 1, 1), decimal.Decimal("1.5"), dt.timedelta(1)])
def test_types_that_tables_do_not_use_are_refused(value):
    with pytest.raises(TypeError, match="column a: no content hash"):
        content_hash(pl.DataFrame({"a": [value]}))


FIXED = {
    "text": "photo", "kind": "near", "flag": True, "number": 3, "share": 0.25, "blob": b"\xff",
    "names": ["a", None], "box": [1, 2], "boxes": [[1, 2], None], "record": {"name": "r", "marks": [0.5]},
    "records": [{"name": "s", "seen": False}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("of_rows", "now", "earlier"),
    [
        ([FIXED, dict.fromkeys(SCHEMA)], "xxh3:67621c316f42c6d318a34f5b6f4ee03b", "28f4fa8e0d9136bf4297f6f34235a80a"),
        ([], "xxh3:b5721922424ef9158c7d1b149efc30ef", "4652b2e2c174916eec08ac17a64bc08b"),
    ],
)
def test_the_digests_of_a_fixed_table_never_change_and_those_of_earlier_versions_can_be_made(of_rows, now, earlier):
    fixed = table(of_rows)
    assert content_hash(fixed) == now
    for digest in (now, earlier):
        again = ContentHash.like(digest)
        again.update(fixed)
        assert again.hexdigest() == digest


@pytest.mark.parametrize("digest", ["xxh4:67621c316f42c6d318a34f5b6f4ee03b", "a:xxh3:6762", ":6762"])
def test_a_digest_of_an_unknown_kind_is_refused(digest):
    with pytest.raises(UnknownDigest, match="this version does not know"):
        ContentHash.like(digest)


def test_the_digest_stays_as_it_was():
    one = {
        "text": ["aé", None],
        "kind": ["far", None],
        "flag": [True, None],
        "number": [-3, None],
        "share": [0.25, None],
        "blob": [b"\0\1", None],
        "names": [["x", None], None],
        "box": [[1, 2], None],
        "boxes": [[[3, 4], None], []],
        "record": [{"name": "n", "marks": [1.5]}, None],
        "records": [[{"name": None, "seen": False}, None], None],
    }
    assert content_hash(pl.DataFrame(one, schema=SCHEMA)) == "xxh3:135609c7eb91a1f2c1403707b4cab218"
    assert content_hash(pl.DataFrame(schema=SCHEMA)) == "xxh3:b5721922424ef9158c7d1b149efc30ef"
