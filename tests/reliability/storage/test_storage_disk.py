"""A lake on a disk that is full or read-only: nothing half-written, and the words say what to do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from forge_resources.lake import Lake, Verdict
from forge_resources.shards import ShardKey
from forge_resources.sources.base import Member
from forge_resources.sources.shard_plan import ShardPlan
from forge_resources.stores.disk import DiskError
from forge_resources.warehouse import Warehouse

KEY = ShardKey("mine", "s00000")
FULL = "cannot be written: no room is left there"


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def verdict(lake: Lake) -> Verdict:
    manifest = lake.manifest("table", KEY)
    return Verdict(
        gate="table_gate",
        content_hash=manifest.content_hash,
        suite_hash="suite",
        outcome="passed",
        rows=manifest.rows,
        failures={f"a rule with a long name {index}": index for index in range(10_000)},
    )


def test_a_full_disk_leaves_the_old_partition_and_the_next_write_completes(
    small_disk: Any, rows: pl.DataFrame, noise: Callable[[int], pl.DataFrame]
) -> None:
    lake = Lake(small_disk.folder / "lake")
    lake.write("table", KEY, rows, rows.schema)
    old, before = lake.manifest("table", KEY), files(small_disk.folder)
    large = noise(2_000_000)
    for table in ("table", "another"):
        with pytest.raises(DiskError, match=f"{lake.root} {FULL}"):
            lake.write(table, KEY, large, large.schema)
    assert files(small_disk.folder) == before
    assert lake.require_whole("table", KEY) == old
    assert lake.keys("another") == []
    small_disk.remount("size=8m")
    written = lake.write("table", KEY, large, large.schema)
    assert lake.require_whole("table", KEY) == written
    elsewhere = Lake(small_disk.folder / "never_full").write("table", KEY, large, large.schema)
    assert written.content_hash == elsewhere.content_hash


def test_a_verdict_or_a_plan_that_finds_no_room_is_not_half_there(small_disk: Any, rows: pl.DataFrame) -> None:
    lake, plan = Lake(small_disk.folder / "lake"), ShardPlan(small_disk.folder / "lake")
    lake.write("table", KEY, rows, rows.schema)
    filler = small_disk.folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(small_disk.folder).free)
    before = files(small_disk.folder)
    photos = [Member(f"{index}.jpg", 1) for index in range(1_000)]
    for write in (lambda: lake.write_verdict("table", KEY, verdict(lake)), lambda: plan.extend("mine", photos, 1_000)):
        with pytest.raises(DiskError, match=FULL):
            write()
    assert [name for name in files(small_disk.folder) if not name.endswith(".lock")] == before
    assert (lake.verdict("table", KEY), plan.keys()) == (None, [])
    filler.unlink()
    lake.write_verdict("table", KEY, verdict(lake))
    assert lake.has_passed("table", KEY)
    assert plan.extend("mine", photos, 1_000) == [KEY]


def test_a_read_only_lake_is_read_and_what_writes_says_so(small_disk: Any, rows: pl.DataFrame) -> None:
    lake, plan = Lake(small_disk.folder / "lake"), ShardPlan(small_disk.folder / "lake")
    lake.write("table", KEY, rows, rows.schema)
    small_disk.remount("ro")
    writes = (
        lambda: lake.write("table", KEY, rows, rows.schema),
        lambda: lake.write("another", KEY, rows, rows.schema),
        lambda: lake.write_verdict("table", KEY, verdict(lake)),
        lambda: plan.extend("mine", [Member("a.jpg", 1)], 1),
    )
    for write in writes:
        with pytest.raises(DiskError, match="cannot be written: it is mounted read-only: mount it for writing"):
            write()
    assert lake.require_whole("table", KEY).rows == rows.height
    assert lake.scan("table", KEY).collect().equals(rows)
    assert pl.concat(lake.batches("table", KEY, 500)).equals(rows)
    with Warehouse(lake, {"table": rows.schema}) as warehouse:
        assert warehouse.query('SELECT count(*) FROM "table"').item() == rows.height


WRITER_WITHIN_A_LIMIT = """
import os, resource, signal, sys
from pathlib import Path
import polars as pl
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.stores.disk import DiskError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rows = pl.DataFrame({"noise": [os.urandom(1_000_000)]})
try:
    Lake(Path(sys.argv[1])).write("table", ShardKey("mine", "s00000"), rows, rows.schema)
except DiskError as error:
    print(error)
"""


def test_a_limit_on_file_sizes_is_like_a_full_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER_WITHIN_A_LIMIT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"{FULL} (File too large)" in done.stdout, done.stderr
    assert files(tmp_path) == []


@pytest.mark.slow
def test_a_run_on_a_full_disk_fails_clearly_and_is_completed_once_there_is_room(
    small_disk: Any, new_project: Any, untouched: Any
) -> None:
    new_project.configure(lake=str(small_disk.folder / "lake"))
    small_disk.remount("size=200k")  # bus.jpg has 134 KB: with its plan there is room for one photo
    failed = new_project.forge("run", "--stage", "raw_images")
    assert failed.exit_code == 1
    assert FULL in " ".join(failed.output.split())
    assert len(new_project.lake.keys("raw_images")) == 1
    assert not list((small_disk.folder / "lake/.staging").iterdir())
    small_disk.remount("size=4m")
    done = new_project.forge("run", "--stage", "raw_images")
    assert done.exit_code == 0, done.output
    expected = {place: digest for place, digest in untouched.hashes().items() if place[0].endswith("_images")}
    assert new_project.hashes() == expected
