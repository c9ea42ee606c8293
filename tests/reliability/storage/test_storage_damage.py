"""Files of the lake that are not as they were written: named by table and partition, and made again by one command."""

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from forge_assets.release.duplicates import duplicates
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake, PartitionDamaged, PartitionMissing, Verdict
from forge_resources.shards import ShardKey

KEY, OTHER = ShardKey("mine", "s00000"), ShardKey("mine", "s00001")
CUT_SHORT = "cannot be read"


def truncated(folder: Path) -> None:
    file = folder / "data.parquet"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(folder: Path) -> None:
    (folder / "data.parquet").write_bytes(b"")


def zeros(folder: Path) -> None:
    file = folder / "data.parquet"
    file.write_bytes(bytes(file.stat().st_size))


def flipped_in_the_middle(folder: Path) -> None:
    file = folder / "data.parquet"
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0xFF for byte in data[middle : middle + 64])
    file.write_bytes(data)


def without_pages(folder: Path) -> None:
    file = folder / "data.parquet"
    data = bytearray(file.read_bytes())
    data[4 : len(data) // 2] = b"\xff" * (len(data) // 2 - 4)
    file.write_bytes(data)


def other_rows(folder: Path) -> None:
    file = folder / "data.parquet"
    pl.read_parquet(file).reverse().write_parquet(file)


def without_rows(folder: Path) -> None:
    (folder / "data.parquet").unlink()


def manifest_cut_short(folder: Path) -> None:
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text()[:50])


def empty_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"")


def manifest_of_other_rows(folder: Path) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"content_hash": "0" * 32}))


def manifest_of_another(folder: Path) -> None:
    (folder / "manifest.json").write_bytes((folder.with_name("shard=s00001") / "manifest.json").read_bytes())


def without_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def verdict_cut_short(folder: Path) -> None:
    (folder / "verdict.json").write_text("{")


Damage = Callable[[Path], None]
UNREADABLE: dict[Damage, str] = {
    truncated: r"its data.parquet cannot be read \(",
    empty: r"its data.parquet cannot be read \(",
    zeros: r"its data.parquet cannot be read \(",
    manifest_cut_short: "its manifest.json cannot be read",
    empty_manifest: "its manifest.json cannot be read",
    manifest_of_another: r"its manifest.json is that of table \[mine/s00001\]",
}
"""What no reader gets past, and what it says."""
FOUND: dict[Damage, str] = UNREADABLE | {
    flipped_in_the_middle: "its ",
    other_rows: "its 2000 rows are not the 2000 that its manifest.json describes",
    manifest_of_other_rows: "its 2000 rows are not the 2000 that its manifest.json describes",
    without_rows: "it has no data.parquet",
    without_manifest: "it has no manifest.json",
    verdict_cut_short: "its verdict.json cannot be read",
}
"""What is found where all is read."""


@pytest.fixture
def lake(tmp_path: Path, rows: pl.DataFrame) -> Lake:
    """Two partitions that their gate has passed."""
    lake = Lake(tmp_path / "lake")
    for key in (KEY, OTHER):
        made = lake.write("table", key, rows if key == KEY else rows.head(3), rows.schema)
        verdict = Verdict(
            gate="table_gate", content_hash=made.content_hash, suite_hash="suite", outcome="passed", rows=made.rows
        )
        lake.write_verdict("table", key, verdict)
    return lake


def damage(lake: Lake, how: Damage, table: str = "table", key: ShardKey = KEY) -> None:
    how(Path(str(lake.partition_dir(table, key))))


@pytest.mark.parametrize("how", FOUND, ids=lambda how: how.__name__)
def test_damage_is_found_by_table_and_partition_where_all_is_read(how: Damage, lake: Lake) -> None:
    damage(lake, how)
    with pytest.raises(PartitionDamaged, match=rf"^table \[mine/s00000\] is damaged: {FOUND[how]}") as found:
        lake.require_whole("table", KEY)
    assert str(found.value).endswith("; make it again with `forge fsck --repair`")
    lake.require_whole("table", OTHER)
    assert lake.keys_with_rows("table") == ([OTHER] if how is without_rows else [KEY, OTHER])


@pytest.mark.parametrize("how", UNREADABLE, ids=lambda how: how.__name__)
def test_damage_is_named_by_whoever_reads(how: Damage, lake: Lake) -> None:
    damage(lake, how)
    reads: list[Callable[[], object]] = [
        lambda: lake.scan("table", KEY).collect(),
        lambda: pl.concat([lake.scan("table", key) for key in (OTHER, KEY)]).select("number").collect(),
        lambda: list(lake.batches("table", KEY, 100)),
    ]
    for read in reads:
        with pytest.raises(PartitionDamaged, match=rf"table \[mine/s00000\] is damaged: {UNREADABLE[how]}"):
            read()


def test_bytes_that_change_below_a_reader_are_named_where_they_are_read(lake: Lake) -> None:
    scanned = lake.scan("table", KEY)
    damage(lake, without_pages)
    with pytest.raises(PartitionDamaged, match=r"table \[mine/s00000\] is damaged: its data.parquet cannot be read"):
        scanned.filter(pl.col("number") > 3).select(pl.col("name").str.len_bytes().sum()).collect()


def test_a_wrong_question_is_not_taken_for_damage(lake: Lake) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        lake.scan("table", KEY).select("none").collect()
    with pytest.raises(pl.exceptions.PolarsError):
        lake.scan("table", KEY).filter(pl.col("name").str.to_integer() > 0).collect()


def test_a_partition_without_manifest_counts_for_nobody(lake: Lake) -> None:
    damage(lake, without_manifest)
    assert lake.keys("table") == [OTHER]
    with pytest.raises(PartitionMissing):
        lake.scan("table", KEY)


@pytest.mark.parametrize("how", [manifest_cut_short, verdict_cut_short], ids=lambda how: how.__name__)
def test_a_damaged_partition_has_not_passed(how: Damage, lake: Lake) -> None:
    assert lake.has_passed("table", KEY)
    damage(lake, how)
    assert not lake.has_passed("table", KEY)


def test_rows_come_back_as_polars_gives_them(lake: Lake, rows: pl.DataFrame) -> None:
    scanned = lake.scan("table", KEY)
    assert scanned.collect_schema() == rows.schema
    assert scanned.collect().equals(rows)
    assert scanned.head(7).collect().equals(rows.head(7))
    assert scanned.filter(pl.col("number") < 5).head(2).collect().equals(rows.filter(pl.col("number") < 5).head(2))
    assert scanned.select(pl.len()).collect().item() == rows.height
    assert scanned.select("number", "name").collect(engine="streaming").equals(rows.select("number", "name"))


# --- made again


@pytest.mark.slow
def test_one_command_names_what_is_damaged_and_makes_it_again(made_project: object, untouched: object) -> None:
    project, expected = made_project, untouched.hashes()
    first, second = ShardKey("photos", "s00000"), ShardKey("photos", "s00001")
    forge = ForgeResource(config_path=str(project.folder / "forge.yaml"))
    assert dg.materialize([duplicates], resources={"forge": forge}).success
    of_all = project.lake.require_whole("duplicates", None)
    assert project.forge("fsck").exit_code == 0
    truncated(project.folder / "lake/duplicates")
    damage(project.lake, truncated, "raw_images", first)
    damage(project.lake, other_rows, "scenes", second)
    damage(project.lake, empty_manifest, "rejected_qa", second)

    found = project.forge("fsck")
    assert found.exit_code == 1
    named = [line.split(":")[1].strip() for line in found.output.splitlines() if line.startswith("damaged:")]
    assert named == [f"raw_images [{first}]", f"scenes [{second}]", f"rejected_qa [{second}]", "duplicates"]
    assert project.forge("fsck", "--shard", "s00001", "--source", "photos").output.count("damaged:") == 2

    repaired = project.forge("fsck", "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert f"made again: {second}: candidate_qa, rejected_qa, scenes, verified_qa" in repaired.output
    assert "0 damaged after the repair" in repaired.output
    assert project.hashes() == expected
    assert project.lake.require_whole("duplicates", None).content_hash == of_all.content_hash
    assert project.forge("fsck").exit_code == 0
    assert all(project.lake.has_passed("verified_qa", key) for key in (first, second))


@pytest.mark.slow
def test_what_cannot_be_made_again_is_named_with_what_to_do(made_project: object) -> None:
    released = made_project.forge("release", "first", "--all")
    assert released.exit_code == 0, released.output
    table = next((made_project.folder / "lake/releases/first/data").rglob("*.parquet"))
    table.write_bytes(table.read_bytes()[:-1])
    plan = made_project.folder / "lake/_shards/source=photos/s00001.json"
    plan.write_text(plan.read_text().replace("zidane", "nobody"))
    found = made_project.forge("fsck", "--repair")
    assert found.exit_code == 1
    assert "damaged: the release first is damaged: data/" in found.output
    assert "damaged: the plan of photos/s00001 was changed after it was made: restore" in found.output
