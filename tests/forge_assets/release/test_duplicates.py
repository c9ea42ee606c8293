"""Duplicates within a shard and over the whole set."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_assets.raw_images.shard_duplicates import ShardDuplicates
from forge_assets.release.duplicates import (
    PHOTO_COLUMNS,
    NoHashesError,
    agreement_masks,
    by_source_pair,
    duplicates,
    find_duplicates,
    largest_groups,
    max_distances_of,
    photos_of,
)
from forge_assets.tables import DUPLICATES
from forge_resources.config import ForgeConfig, ImageFolderConfig, write_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey


class Photo(NamedTuple):
    image_id: str
    source: str
    sha256: str
    phash: str | None


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digits(value: int | None) -> str | None:
    return None if value is None else f"{value:016x}"


def ingest(photos: Sequence[Photo], shard_of: dict[str, int], limits: dict[str, int | None]) -> pl.DataFrame:
    """What the shards keep, and what they reject as duplicates, as `find_duplicates` takes it."""
    rows: list[dict[str, Any]] = []
    seen: dict[tuple[str, int], ShardDuplicates] = {}
    for photo in sorted(photos):
        shard = shard_of[photo.image_id]
        inside = seen.setdefault((photo.source, shard), ShardDuplicates(limits[photo.source]))
        is_kept = inside.earlier(photo.image_id, photo.sha256, photo.phash) is None
        rows.append({**photo._asdict(), "shard": f"s{shard:05d}", "is_kept": is_kept})
    schema = dict.fromkeys(PHOTO_COLUMNS[:-1], pl.String) | {"is_kept": pl.Boolean}
    return pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=schema)


def finally_kept(ingested: pl.DataFrame, limits: dict[str, int | None]) -> set[str]:
    found = find_duplicates(ingested.lazy(), limits)
    dropped = set(found.filter(~pl.col("is_kept"))["image_id"])
    return set(ingested.filter("is_kept")["image_id"]) - dropped


def smallest_of_components(photos: Sequence[Photo], limits: dict[str, int | None]) -> set[str]:
    """By hand: flood each component."""

    def same(a: Photo, b: Photo) -> bool:
        if a.sha256 == b.sha256:
            return True
        first, second = limits[a.source], limits[b.source]
        if a.phash is None or b.phash is None or first is None or second is None:
            return False
        return (int(a.phash, 16) ^ int(b.phash, 16)).bit_count() <= min(first, second)

    left, kept = sorted(photos), set[str]()
    while left:
        component, frontier = {left[0]}, [left[0]]
        while frontier:
            photo = frontier.pop()
            near = {other for other in left if other not in component and same(photo, other)}
            component |= near
            frontier += near
        kept.add(min(component).image_id)
        left = [photo for photo in left if photo not in component]
    return kept


@st.composite
def photo_sets(draw: st.DrawFn) -> list[Photo]:
    """Photos with planted copies: of bytes, of hashes, and chains of near hashes."""
    hashes = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    values: list[tuple[str, int | None]] = []
    for step in range(draw(st.integers(2, 14))):
        kind = draw(st.sampled_from(["new", "copy", "near", "flat"]))
        if kind == "copy" and values:
            values.append(draw(st.sampled_from(values)))
        elif kind == "flat":
            values.append((sha(f"flat {step}"), None))
        else:
            base = draw(st.sampled_from(hashes))
            flips = draw(st.sets(st.integers(0, 63), max_size=5)) if kind == "near" else set[int]()
            near = base ^ sum(1 << bit for bit in flips)
            hashes.append(near)
            values.append((sha(f"photo {step}"), near))
    names = draw(st.permutations(range(len(values))))
    sources = [draw(st.sampled_from(["a", "b"])) for _ in values]
    return [
        Photo(f"{source}/{name:02d}", source, sha256, digits(value))
        for source, name, (sha256, value) in zip(sources, names, values, strict=True)
    ]


LIMITS = st.sampled_from([0, 1, 2, 3, 5, 8, None])


@settings(deadline=None, max_examples=25)
@given(photos=photo_sets(), limits=st.fixed_dictionaries({"a": LIMITS, "b": LIMITS}), data=st.data())
def test_what_is_kept_depends_neither_on_shards_nor_on_order(
    photos: list[Photo], limits: dict[str, int | None], data: st.DataObject
):
    expected = smallest_of_components(photos, limits)
    for _ in range(2):
        shard_of = {photo.image_id: data.draw(st.integers(0, 3)) for photo in photos}
        order = data.draw(st.permutations(photos))
        assert finally_kept(ingest(order, shard_of, limits), limits) == expected


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 8), st.sampled_from([2, 1_000, 100_000, 3_000_000]), st.data())
def test_two_near_hashes_agree_under_a_mask(max_distance: int, hashes: int, data: st.DataObject):
    differing = data.draw(st.sets(st.integers(0, 63), max_size=max_distance))
    difference = sum(1 << bit for bit in differing)
    masks = agreement_masks(hashes, max_distance)
    assert any(mask & difference == 0 for mask in masks)
    assert all(mask.bit_count() >= 64 // (max_distance + 1) for mask in masks)


# --- within a shard


def test_the_first_earlier_photo_of_the_same_bytes_is_named():
    shard = ShardDuplicates(3)
    assert shard.earlier("a", sha("x"), digits(0)) is None
    assert shard.earlier("b", sha("x"), digits(0)) == ("duplicate_image", "a", 0)
    assert shard.earlier("c", sha("x"), digits(0)) == ("duplicate_image", "a", 0)


def test_a_near_photo_is_named_with_its_distance_up_to_the_limit():
    shard = ShardDuplicates(3)
    shard.earlier("a", sha("a"), digits(0))
    assert shard.earlier("b", sha("b"), digits(0b1111)) is None
    assert shard.earlier("c", sha("c"), digits(0b0111)) == ("near_duplicate_image", "a", 3)


def test_a_rejected_photo_links_later_ones():
    shard = ShardDuplicates(1)
    shard.earlier("a", sha("a"), digits(0b00))
    assert shard.earlier("b", sha("b"), digits(0b01)) == ("near_duplicate_image", "a", 1)
    assert shard.earlier("c", sha("c"), digits(0b11)) == ("near_duplicate_image", "b", 1)


def test_photos_without_a_hash_are_the_same_by_their_bytes_alone():
    shard = ShardDuplicates(8)
    assert shard.earlier("a", sha("a"), None) is None
    assert shard.earlier("b", sha("b"), None) is None
    assert shard.earlier("c", sha("b"), None) == ("duplicate_image", "b", 0)


def test_without_a_distance_only_the_same_bytes_count():
    shard = ShardDuplicates(None)
    assert shard.earlier("a", sha("a"), digits(7)) is None
    assert shard.earlier("b", sha("b"), digits(7)) is None


def test_a_full_shard_is_searched_to_its_end():
    shard = ShardDuplicates(0)
    for i in range(2_000):
        assert shard.earlier(f"{i:04d}", sha(str(i)), digits(i)) is None
    assert shard.earlier("last", sha("last"), digits(1_999)) == ("near_duplicate_image", "1999", 0)


# --- over the whole set


def photos(*rows: tuple[str, str, int | None, bool]) -> pl.LazyFrame:
    """From (image id, bytes, hash, is kept)."""
    return pl.LazyFrame(
        [(name, name.split("/")[0], "s00000", sha(data), digits(value), kept) for name, data, value, kept in rows],
        schema=dict.fromkeys(PHOTO_COLUMNS[:-1], pl.String) | {"is_kept": pl.Boolean},
        orient="row",
    )


def test_a_row_says_how_a_photo_repeats_the_kept_one():
    found = find_duplicates(
        photos(
            ("a/1", "x", 0b0, True),
            ("a/2", "y", 0b11, True),
            ("b/1", "x", 0b0, True),
            ("b/2", "z", 0b1111, True),
            ("b/3", "alone", 0xFF00FF00FF00FF00, True),
        ),
        {"a": 2, "b": 2},
    )
    assert found.schema == pl.Schema(DUPLICATES)
    assert found.select("image_id", "group_id", "kind", "distance", "is_kept").rows() == [
        ("a/1", "a/1", "exact", 0, True),
        ("a/2", "a/1", "near", 2, False),
        ("b/1", "a/1", "exact", 0, False),
        ("b/2", "a/1", "near", 4, False),
    ]


def test_flat_photos_are_never_near():
    assert find_duplicates(photos(("a/1", "x", None, True), ("a/2", "y", None, True)), {"a": 8}).is_empty()


def test_two_sources_are_near_only_as_far_as_both_allow():
    rows = photos(("a/1", "x", 0, True), ("b/1", "y", 1, True))
    assert find_duplicates(rows, {"a": 8, "b": 0}).is_empty()
    assert find_duplicates(rows, {"a": 8, "b": None}).is_empty()
    assert find_duplicates(rows, {"a": 8, "b": 1}).height == 2


def test_one_hash_under_two_limits_is_one_picture():
    assert find_duplicates(photos(("a/1", "x", 5, True), ("b/1", "y", 5, True)), {"a": 8, "b": 0}).height == 2


def test_no_group_is_lost_when_its_smallest_photo_was_rejected_under_an_older_setting():
    rows = photos(("a/1", "x", 0, False), ("a/2", "y", 0, True), ("a/3", "z", 0, True))
    assert find_duplicates(rows, {"a": 3}).filter("is_kept")["image_id"].to_list() == ["a/2"]


def test_no_photos_have_no_duplicates():
    assert find_duplicates(photos(), {}).schema == pl.Schema(DUPLICATES)


def test_a_hash_that_very_many_photos_share_costs_no_pairs():
    many = [(f"a/{i:06d}", f"{i}", 77, True) for i in range(30_000)]
    found = find_duplicates(photos(*many), {"a": 3})
    assert found.height == 30_000
    assert found["group_id"].unique().to_list() == ["a/000000"]


# --- the asset


@pytest.fixture
def forge(tmp_path: Path) -> ForgeResource:
    folder = ImageFolderConfig(path=tmp_path)
    config = write_config(tmp_path / "forge.yaml", {"a": folder, "b": folder})
    return ForgeResource(config_path=str(config))


def write_shard(lake: Lake, source: str, shard: str, rows: list[tuple[str, str, int | None, str | None]]) -> None:
    """From (name, bytes, hash, rule by which the shard rejected it)."""
    schema: dict[str, pl.DataType] = {name: pl.String() for name in PHOTO_COLUMNS[:-1]}
    frame = pl.DataFrame(
        [(f"{source}/{name}", source, shard, sha(data), digits(value), rule) for name, data, value, rule in rows],
        schema={**schema, "rule": pl.String()},
        orient="row",
    )
    key = ShardKey(source, shard)
    lake.write("raw_images", key, frame.filter(pl.col("rule").is_null()).drop("rule"), schema)
    rejected = frame.filter(pl.col("rule").is_not_null())
    lake.write("rejected_images", key, rejected, {**schema, "rule": pl.String()})


def test_the_asset_writes_the_table_and_shows_who_repeats_whom(forge: ForgeResource):
    write_shard(forge.lake, "a", "s00000", [("1", "x", 0, None), ("2", "y", 1, "near_duplicate_image")])
    write_shard(
        forge.lake,
        "b",
        "s00000",
        [("1", "x", 0, None), ("2", "z", 0b111, None), ("3", "q", None, None), ("4", "x", None, "too_small")],
    )
    result = dg.materialize([duplicates], resources={"forge": forge}, selection=[duplicates])
    assert result.success
    rows = forge.lake.scan_table("duplicates").collect()
    assert rows.select("image_id", "group_id", "kind", "is_kept").rows() == [
        ("a/1", "a/1", "exact", True),
        ("a/2", "a/1", "near", False),
        ("b/1", "a/1", "exact", False),
        ("b/2", "a/1", "near", False),
    ]
    manifest = forge.lake.table_manifest("duplicates")
    assert manifest.counts == {"groups": 1, "dropped": 3, "dropped/exact": 1, "dropped/near": 2}
    assert set(manifest.inputs) == {"raw_images", "rejected_images"}
    assert by_source_pair(rows).rows() == [("a", "a", "near", 1), ("b", "a", "exact", 1), ("b", "a", "near", 1)]
    assert largest_groups(rows).rows() == [("a/1", 4, 2, "a, b")]


def test_an_empty_lake_has_an_empty_table(forge: ForgeResource):
    assert dg.materialize([duplicates], resources={"forge": forge}, selection=[duplicates]).success
    assert forge.lake.scan_table("duplicates").collect().is_empty()


def test_photos_without_hashes_are_named_with_the_remedy(forge: ForgeResource):
    old = {"image_id": pl.String(), "source": pl.String(), "shard": pl.String(), "sha256": pl.String()}
    forge.lake.write("raw_images", ShardKey("a", "s00000"), pl.DataFrame(schema=old), old)
    with pytest.raises(NoHashesError, match="forge run --again"):
        dg.materialize([duplicates], resources={"forge": forge}, selection=[duplicates])


def test_a_source_that_is_no_longer_configured_has_the_default_distance(tmp_path: Path):
    config = ForgeConfig(sources={"a": ImageFolderConfig(path=tmp_path, max_near_duplicate_distance=None)})
    assert max_distances_of(config, ["a", "gone"]) == {"a": None, "gone": 3}


def test_photos_of_an_empty_lake_have_their_columns(tmp_path: Path):
    assert photos_of(Lake(tmp_path)).collect().columns == list(PHOTO_COLUMNS)
