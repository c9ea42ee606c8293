"""Large JSON objects, record by record."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forge_resources.sources import json_records
from forge_resources.sources.json_records import BrokenJsonError, json_lists


def read(path) -> dict[str, list | None]:
    return {name: None if records is None else list(records) for name, records in json_lists(path)}


@pytest.fixture
def written(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "some.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.dictionaries(st.text(), ANY_JSON, max_size=5),
    chunk=st.integers(1, 40),
    form=st.fixed_dictionaries({"indent": st.none() | st.just(2), "ensure_ascii": st.booleans()}),
)
def test_it_reads_what_json_reads_wherever_the_chunks_end(monkeypatch, written, content, chunk, form):
    monkeypatch.setattr(json_records, "CHUNK_BYTES", chunk)
    text = json.dumps(content, **form)
    found = read(written(text.encode("utf-8", "surrogatepass")))
    assert found == {name: value if isinstance(value, list) else None for name, value in content.items()}


def test_a_byte_order_mark_and_what_is_no_number_are_taken(written):
    found = read(written(b'\xef\xbb\xbf{"a": [NaN, Infinity, -Infinity]}'))
    assert math.isnan(found["a"][0])
    assert found["a"][1:] == [math.inf, -math.inf]


def test_lists_that_nobody_reads_are_skipped(written):
    assert [name for name, _ in json_lists(written('{"a": [1, 2, {"b": []}], "c": [3]}'))] == ["a", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "at byte 0: it ends where '{' is due"),
        (b"[]", "at byte 0: '{' is expected, found '['"),
        (b"<html>", "at byte 0: '{' is expected, found '<'"),
        (b'{"a": [1, 2', "at byte 11: ',' or ']' is expected"),
        (b'{"a": [1, 2, ', "at byte 13: Expecting value"),
        (b'{"a": [1 2]}', "at byte 9: ',' or ']' is expected"),
        (b'{"a": [{"b": 1, "c": "x', "at byte 21: Unterminated string"),
        (b'{"a": [1]', "at byte 9: it ends where '}' is due"),
        (b'{"a": [1]} {}', "at byte 11: the object is complete, but the file goes on"),
        (b'{"a": [1], "a": [2]}', "a name that is new is expected, found 'a'"),
        (b'{"a": [1], 7: [2]}', "a name that is new is expected, found 7"),
        ('{"ä": ["ü", }'.encode(), "at byte 14: Expecting value"),
        (b'{"a": ["\xff"]}', "at byte 8: it is not UTF-8"),
        (b'{"a": ["\xc3', "at byte 8: it is not UTF-8"),
        ('{"a": []}'.encode("utf-16"), "at byte 0: it is not UTF-8"),
        (b'{"a": [' + b"[" * 100_000, "recursion"),
        (b'{"a": [' + b"1" * 5_000 + b"]}", "4300"),
    ],
)
@pytest.mark.parametrize("chunk", [3, 1 << 20])
def test_a_broken_file_is_refused_with_its_byte(monkeypatch, written, content, message, chunk):
    monkeypatch.setattr(json_records, "CHUNK_BYTES", chunk)
    with pytest.raises(BrokenJsonError) as refused:
        read(written(content))
    assert message in str(refused.value)


def test_a_record_without_end_does_not_fill_the_memory(monkeypatch, written):
    monkeypatch.setattr(json_records, "CHUNK_BYTES", 1_000)
    monkeypatch.setattr(json_records, "MAX_RECORD_BYTES", 10_000)
    path = written('{"a": ["' + "x" * 100_000)
    with pytest.raises(BrokenJsonError, match="at byte 7: Unterminated string"):
        read(path)
