"""What Dagster shows of a partition."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

from forge_assets.observed import Stopwatch, counts_of, materialized, models_behind
from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake, PartitionMissing
from forge_resources.shards import ShardKey

KEY = ShardKey("photos", "s00000")


class Clock:
    """A clock that stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("forge_assets.observed.time", SimpleNamespace(monotonic=clock))
    return clock


def test_a_phase_inside_another_counts_for_itself_alone(clock: Clock) -> None:
    watch = Stopwatch()
    clock.pass_by(1)
    with watch.phase("outer"):
        clock.pass_by(2)
        with watch.phase("inner"):
            clock.pass_by(4)
        clock.pass_by(8)
    with watch.phase("outer"):
        clock.pass_by(16)
    assert watch.phases == {"inner": 4, "outer": 26}
    assert watch.seconds == 31


def test_a_phase_that_is_left_by_an_error_is_counted_and_over(clock: Clock) -> None:
    def write() -> None:
        with watch.phase("write"):
            clock.pass_by(2)
            raise ValueError("broken")

    watch = Stopwatch()
    with pytest.raises(ValueError, match="broken"):
        write()
    clock.pass_by(4)
    assert watch.phases == {"write": 2}


def test_streams_count_what_it_takes_to_make_their_items_and_not_what_becomes_of_them(clock: Clock) -> None:
    def made(items: Iterator[int], seconds: float) -> Iterator[int]:
        for item in items:
            clock.pass_by(seconds)
            yield item

    watch = Stopwatch()
    read = watch.each("read", made(iter(range(3)), 1))
    with watch.phase("write"):
        for _ in watch.each("networks", made(read, 10)):
            clock.pass_by(100)
    assert watch.phases == {"read": 3, "networks": 30, "write": 300}


def test_an_error_in_a_stream_comes_through(clock: Clock) -> None:
    def broken() -> Iterator[int]:
        yield 1
        clock.pass_by(2)
        raise ValueError("broken")

    watch = Stopwatch()
    with pytest.raises(ValueError, match="broken"):
        list(watch.each("read", broken()))
    assert watch.phases == {"read": 2}


def test_what_other_threads_do_is_not_counted(clock: Clock) -> None:
    watch = Stopwatch()

    def beside() -> None:
        with watch.phase("beside"):
            clock.pass_by(5)

    with watch.phase("wait"):
        thread = Thread(target=beside)
        thread.start()
        thread.join()
    assert watch.phases == {"wait": 5}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def write(lake: Lake, table: str, **versions: str) -> dg.MaterializeResult:
    manifest = lake.write(table, KEY, [], SCHEMAS[table], versions=versions, counts={"photos_in": 3})
    return materialized(lake, manifest, Stopwatch(), {"photos": 2}, lambda _lake, key: f"![{key}](data:)")


def test_a_partition_shows_figures_size_place_and_picture(lake: Lake) -> None:
    result = write(lake, "scenes", code="3")
    shown, path = dict(result.metadata or {}), lake.data_path("scenes", KEY)
    assert result.asset_key == dg.AssetKey("scenes")
    assert result.data_version == dg.DataVersion(lake.manifest("scenes", KEY).content_hash)
    assert (shown["dagster/partition_row_count"], shown["photos"], shown["photos_in"]) == (0, 2, 3)
    assert shown["bytes"] == Path(path).stat().st_size > 0
    assert shown["dagster/uri"] == Path(path).as_uri()
    assert shown["picture"].value == "![photos/s00000](data:)"
    assert 0 <= shown["seconds/picture"] <= shown["seconds"]
    assert shown["version/code"] == "3"
    names = [column.name for column in shown["dagster/column_schema"].columns]
    assert names == list(SCHEMAS["scenes"])


def test_networks_are_told_from_versions_of_code_and_settings(lake: Lake) -> None:
    shown = write(lake, "detections", code="2", detector="org/net@1", detector_settings="ab").metadata
    assert shown is not None
    assert {name: text for name, text in shown.items() if name.startswith(("model/", "version/"))} == {
        "version/code": "2",
        "model/detector": "org/net@1",
        "version/detector_settings": "ab",
    }


def test_later_stages_show_the_networks_that_they_rest_on(lake: Lake) -> None:
    write(lake, "detections", code="2", detector="org/net@1", pose_model="org/pose@2", pose_settings="ab")
    write(lake, "depth_maps", code="2", depth_indoor="sha256:12")
    assert models_behind(lake, KEY) == {
        "model/detector": "org/net@1",
        "model/pose_model": "org/pose@2",
        "model/depth_indoor": "sha256:12",
    }


def test_networks_of_tables_that_are_not_there_are_missing(lake: Lake) -> None:
    with pytest.raises(PartitionMissing, match="detections"):
        models_behind(lake, KEY)


def test_counts_are_by_value_sorted() -> None:
    rows = pl.DataFrame({"rule": ["b", "a", "b"]})
    assert list(counts_of(rows, "rule", "dropped/").items()) == [("dropped/a", 1), ("dropped/b", 2)]
