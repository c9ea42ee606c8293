"""A partition key is a text that says where its rows lie, in one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_resources.shards import InvalidShardKey, ShardKey

sources = st.text("abyz_019", min_size=1, max_size=9)


@given(source=sources, number=st.integers(0, 10**9))
def test_a_key_survives_being_written_and_read(source, number):
    key = ShardKey.numbered(source, number)
    assert ShardKey.parse(str(key)) == key
    assert str(ShardKey.parse(str(key))) == str(key)
    assert int(key.shard[1:]) == number


@given(text=st.text())
def test_a_text_is_refused_or_is_its_own_key(text):
    try:
        key = ShardKey.parse(text)
    except InvalidShardKey:
        return
    assert str(key) == text


def test_numbers_have_at_least_five_digits():
    assert str(ShardKey.numbered("coco", 17)) == "coco/s00017"
    assert str(ShardKey.numbered("coco", 123_456)) == "coco/s123456"


def test_shards_of_a_source_sort_by_number():
    keys = [ShardKey.numbered(source, number) for source in ("b", "a") for number in (10, 9, 100)]
    assert [str(key) for key in sorted(keys)] == [
        "a/s00009", "a/s00010", "a/s00100", "b/s00009", "b/s00010", "b/s00100",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "coco", "coco/", "/s00001", "coco/00001", "coco/s0001", "coco/s00001 ", "coco/s00001\n", "Coco/s00001",
        "coco/s00001/s00001", "co co/s00001", "../s00001", "coco/s-0001",
        "coco/s\u0660\u0660\u0660\u0660\u0661", "cöco/s00001", "coco|s00001",
    ],
)  # fmt: skip
def test_other_texts_are_refused_by_name(text):
    with pytest.raises(InvalidShardKey) as refusal:
        ShardKey.parse(text)
    assert repr(text if "/" in text else f"{text}/") in str(refusal.value)
    assert "source/s00000" in str(refusal.value)


def test_a_negative_number_is_refused():
    with pytest.raises(InvalidShardKey):
        ShardKey.numbered("coco", -1)


def test_a_key_cannot_be_built_from_parts_that_only_look_right_together():
    with pytest.raises(InvalidShardKey):
        ShardKey("coco/s00000", "s00000")
