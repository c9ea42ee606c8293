"""A partition is there whole or not at all, and says what it is and what its gate said of it."""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from forge_assets.tables import RAW_IMAGES, SCHEMAS
from forge_resources.content_hash import content_hash
from forge_resources.lake import Lake, PartitionMissing, PartitionRefused, Verdict
from forge_resources.s3 import S3Config, S3Error, S3Uri, client, storage_options
from forge_resources.shards import ShardKey

KEY = ShardKey("mine", "s00000")
OTHER = ShardKey("mine", "s00001")
SCHEMA = {"name": pl.String(), "number": pl.Int32()}
OLD = pl.DataFrame({"name": ["old"], "number": [1]}, schema=SCHEMA)
NEW = pl.DataFrame({"name": ["new", None, ""], "number": [2, 3, None]}, schema=SCHEMA)


def example(dtype, number):
    """Some value of any type that tables have."""
    match dtype:
        case pl.Struct():
            return {field.name: example(field.dtype, number) for field in dtype.fields}
        case pl.Array():
            return [example(dtype.inner, number)] * dtype.size
        case pl.List():
            return [example(dtype.inner, place) for place in range(number)]
        case pl.Enum():
            return dtype.categories[number % len(dtype.categories)]
        case _:
            plain = {pl.Binary(): bytes([number, 255]), pl.Boolean(): bool(number % 2), pl.String(): f"text {number}"}
            return plain.get(dtype, number)


def examples(schema, rows):
    made = [[*(example(dtype, number) for number in range(rows)), None] for dtype in schema.values()]
    return pl.DataFrame([pl.Series(name, of, dtype=schema[name]) for name, of in zip(schema, made, strict=True)])


@pytest.fixture
def files(place):
    """Every file under the lake, with its bytes."""
    root, config = place
    if isinstance(root, Path):
        return lambda: {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    s3 = client(config)

    def read():
        listed = s3.list_objects_v2(Bucket=root.bucket).get("Contents", [])
        return {item["Key"]: s3.get_object(Bucket=root.bucket, Key=item["Key"])["Body"].read() for item in listed}

    return read


# --- what goes in comes out


@pytest.mark.parametrize("table", SCHEMAS)
def test_rows_come_back_as_they_were_written(lake, table):
    rows = examples(SCHEMAS[table], 3)
    manifest = lake.write(table, KEY, [rows[:1], rows[1:]], SCHEMAS[table])
    assert lake.scan(table, KEY).collect().equals(rows)
    assert lake.scan(table, KEY).collect_schema() == pl.Schema(SCHEMAS[table])
    assert (manifest.rows, manifest.content_hash) == (4, content_hash(rows))
    batches = list(lake.batches(table, KEY, 3))
    assert pl.concat(batches).equals(rows)
    assert max(batch.height for batch in batches) <= 3


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_partition_of_no_rows_keeps_its_columns(lake, table):
    manifest = lake.write(table, KEY, [], SCHEMAS[table])
    back = lake.scan(table, KEY).collect()
    assert back.schema == pl.Schema(SCHEMAS[table])
    assert (back.height, manifest.rows) == (0, 0)
    assert manifest.content_hash == content_hash(back)
    assert list(lake.batches(table, KEY, 10)) == []
    assert lake.write(table, KEY, back, SCHEMAS[table]).content_hash == manifest.content_hash


def test_batches_give_the_columns_asked_for_in_order(lake):
    lake.write("table", KEY, [NEW[:2], NEW[2:]], SCHEMA)
    assert pl.concat(lake.batches("table", KEY, 1, ["number"])).equals(NEW.select("number"))


def test_batch_sizes_do_not_change_the_content_hash(lake):
    whole, batches = (lake.write("table", KEY, rows, SCHEMA) for rows in (NEW, [NEW[:1], NEW[:0], NEW[1:]]))
    assert batches.content_hash == whole.content_hash
    assert batches.rows == whole.rows


def test_rows_are_cast_to_the_schema_and_other_columns_left_out(lake):
    loose = pl.DataFrame({"extra": [1.5], "number": [7], "name": ["a"]})
    lake.write("table", KEY, loose, SCHEMA)
    assert lake.scan("table", KEY).collect().equals(pl.DataFrame({"name": ["a"], "number": [7]}, schema=SCHEMA))


# --- whole or not at all


def test_writing_again_replaces_the_rows_and_the_verdict(lake):
    lake.write("table", KEY, OLD, SCHEMA)
    lake.write_verdict("table", KEY, passed(lake))
    lake.write("table", KEY, NEW, SCHEMA)
    assert lake.scan("table", KEY).collect().equals(NEW)
    assert lake.verdict("table", KEY) is None


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(pl.DataFrame({"name": ["a"]}), id="a column is missing"),
        pytest.param(pl.DataFrame({"name": ["a"], "number": ["many"]}), id="a value does not fit"),
        pytest.param(None, id="the stream breaks"),
    ],
)
def test_a_failing_stream_leaves_the_old_partition_and_no_rubbish(lake, files, bad):
    def stream():
        yield NEW
        if bad is None:
            raise RuntimeError("the network went away")
        yield bad

    lake.write("table", KEY, OLD, SCHEMA)
    before = files()
    for key in (KEY, OTHER):
        with pytest.raises((pl.exceptions.PolarsError, RuntimeError)):
            lake.write("table", key, stream(), SCHEMA)
    assert files() == before
    assert lake.keys("table") == [KEY]


KILLED_WRITER = """
import sys, time
from pathlib import Path
import polars as pl
from forge_resources.lake import Lake
from forge_resources.s3 import SCHEME, S3Config, S3Uri
from forge_resources.shards import ShardKey

def stream():
    yield pl.DataFrame({"name": ["half"], "number": [0]})
    print("in the middle", flush=True)
    time.sleep(3600)

root, config = sys.argv[1:]
lake = Lake(S3Uri.parse(root), S3Config.model_validate_json(config)) if root.startswith(SCHEME) else Lake(Path(root))
schema = {"name": pl.String(), "number": pl.Int32()}
lake.write("table", ShardKey("mine", "s00000"), stream(), schema)
"""


@pytest.mark.parametrize("before", [None, OLD], ids=["nothing", "an older partition"])
def test_a_writer_killed_midway_leaves_what_was_there_and_a_second_run_completes(place, lake, files, before):
    if before is not None:
        lake.write("table", KEY, before, SCHEMA)
    config = (place[1] or S3Config()).model_dump_json()
    killed = [sys.executable, "-c", KILLED_WRITER, str(lake.root), config]
    with subprocess.Popen(killed, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"in the middle\n"
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    if before is None:
        assert lake.keys("table") == []
        assert not [path for path in map(str, files()) if path.endswith(".parquet") and ".staging" not in path]
        with pytest.raises(PartitionMissing):
            lake.scan("table", KEY)
    else:
        assert lake.scan("table", KEY).collect().equals(before)
    lake.write("table", KEY, NEW, SCHEMA)
    assert lake.scan("table", KEY).collect().equals(NEW)
    assert lake.keys("table") == [KEY]


WRITER_KILLED_WHILE_PUBLISHING = """
import os, signal, sys
import polars as pl
from forge_resources.lake import Lake
from forge_resources.s3 import S3Config, S3Uri
from forge_resources.shards import ShardKey
from forge_resources.stores.s3 import S3Store

root, config, last = sys.argv[1:]
upload = S3Store._upload

def upload_or_die(self, file, path):
    if path.endswith(last):
        os.kill(os.getpid(), signal.SIGKILL)
    upload(self, file, path)

S3Store._upload = upload_or_die
schema = {"name": pl.String(), "number": pl.Int32()}
rows = pl.DataFrame({"name": ["new"], "number": [0]})
Lake(S3Uri.parse(root), S3Config.model_validate_json(config)).write("table", ShardKey("mine", "s00000"), rows, schema)
"""


@pytest.mark.parametrize("not_sent", ["data.parquet", "manifest.json"])
def test_a_writer_killed_between_two_uploads_leaves_no_partition(s3_bucket, s3_config, not_sent):
    lake = Lake(s3_bucket, s3_config)
    lake.write("table", KEY, OLD, SCHEMA)
    lake.write_verdict("table", KEY, passed(lake))
    killed = [sys.executable, "-c", WRITER_KILLED_WHILE_PUBLISHING, str(s3_bucket), s3_config.model_dump_json()]
    assert subprocess.run([*killed, not_sent], check=False).returncode == -signal.SIGKILL
    assert (lake.keys("table"), lake.verdict("table", KEY), lake.has_passed("table", KEY)) == ([], None, False)
    for read in (lake.manifest, lake.scan):
        with pytest.raises(PartitionMissing):
            read("table", KEY)
    lake.write("table", KEY, NEW, SCHEMA)
    assert lake.scan("table", KEY).collect().equals(NEW)
    assert lake.verdict("table", KEY) is None


# --- manifests and verdicts


def passed(lake, outcome="passed", table="table", **failures):
    manifest = lake.manifest(table, KEY)
    return Verdict(
        gate=f"{table}_gate",
        content_hash=manifest.content_hash,
        suite_hash="suite",
        outcome=outcome,
        rows=manifest.rows,
        failures=failures,
    )


def test_a_manifest_says_what_the_rows_are_and_what_made_them(lake):
    counts = {}

    def stream():
        yield OLD
        counts["seen"] = 1

    made = {"inputs": {"earlier": "ab"}, "versions": {"code": "1"}}
    written = lake.write("table", KEY, stream(), SCHEMA, counts=counts, **made)
    assert lake.manifest("table", KEY) == written
    assert (written.table, written.source, written.shard, written.rows) == ("table", "mine", "s00000", 1)
    assert (written.inputs, written.versions, written.counts) == ({"earlier": "ab"}, {"code": "1"}, {"seen": 1})


def test_a_verdict_comes_back_as_it_was_given_and_may_be_given_again(lake):
    lake.write("table", KEY, OLD, SCHEMA)
    assert lake.verdict("table", KEY) is None
    for verdict in (passed(lake, "failed", boxes_in_range=3), passed(lake)):
        lake.write_verdict("table", KEY, verdict)
        assert lake.verdict("table", KEY) == verdict


def test_a_passed_partition_may_be_read(lake):
    written = lake.write("table", KEY, OLD, SCHEMA)
    lake.write_verdict("table", KEY, passed(lake))
    assert lake.require_passed("table", KEY) == written


def test_a_partition_that_was_never_made_is_missing_everywhere(lake):
    for read in (lake.manifest, lake.require_passed, lake.scan):
        with pytest.raises(PartitionMissing, match=r"table \[mine/s00000\] is not in the lake"):
            read("table", KEY)
    with pytest.raises(PartitionMissing):
        next(lake.batches("table", KEY, 1))
    assert lake.keys("table") == []


def test_rows_that_no_gate_has_judged_are_refused(lake):
    lake.write("table", KEY, OLD, SCHEMA)
    with pytest.raises(PartitionRefused, match=r"table \[mine/s00000\] has not been judged.*run the check table_gate"):
        lake.require_passed("table", KEY)


def test_a_verdict_on_other_rows_does_not_count(lake):
    lake.write("table", KEY, NEW, SCHEMA)
    stale = passed(lake)
    lake.write("table", KEY, OLD, SCHEMA)
    lake.write_verdict("table", KEY, stale)
    with pytest.raises(PartitionRefused, match="has not been judged by its gate as it lies there now"):
        lake.require_passed("table", KEY)


def test_a_failed_partition_is_refused_by_gate_partition_and_rule(lake):
    lake.write("table", KEY, OLD, SCHEMA)
    lake.write_verdict("table", KEY, passed(lake, "failed", boxes_in_range=3, scores=1))
    with pytest.raises(PartitionRefused) as refusal:
        lake.require_passed("table", KEY)
    for part in ("table_gate failed", "mine/s00000", "boxes_in_range", "3", "scores"):
        assert part in str(refusal.value)


def test_a_partition_whose_gate_broke_is_refused(lake):
    lake.write("table", KEY, OLD, SCHEMA)
    lake.write_verdict("table", KEY, passed(lake, "broken", scores=0))
    with pytest.raises(PartitionRefused, match=r"table_gate broke.*mine/s00000"):
        lake.require_passed("table", KEY)


def test_rows_made_of_an_input_that_changed_since_are_refused(lake):
    earlier = lake.write("earlier", KEY, OLD, SCHEMA)
    lake.write("table", KEY, OLD, SCHEMA, inputs={"earlier": earlier.content_hash})
    lake.write_verdict("table", KEY, passed(lake))
    lake.write("earlier", KEY, OLD, SCHEMA)
    assert lake.require_passed("table", KEY).inputs == {"earlier": earlier.content_hash}
    lake.write("earlier", KEY, NEW, SCHEMA)
    with pytest.raises(PartitionRefused, match=r"table \[mine/s00000\] was made of an older earlier"):
        lake.require_passed("table", KEY)


def test_keys_are_those_written_and_sorted(lake):
    keys = [ShardKey("b", "s00001"), ShardKey("a", "s00002"), ShardKey("a", "s00000")]
    for key in keys:
        lake.write("table", key, OLD, SCHEMA)
    lake.write("another", KEY, OLD, SCHEMA)
    assert lake.keys("table") == sorted(keys)


# --- tables that span all partitions


def test_a_table_that_spans_all_partitions_comes_back_and_is_replaced(lake):
    assert not lake.has_table("whole")
    made = {"inputs": {"earlier": "ab"}, "versions": {"code": "1"}, "counts": {"groups": 2}}
    for rows in (OLD, NEW):
        written = lake.write_table("whole", rows, SCHEMA, **made)
        assert lake.table_manifest("whole") == written
        assert lake.scan_table("whole").collect().equals(rows)
        assert (written.table, written.rows, written.content_hash) == ("whole", rows.height, content_hash(rows))
    assert (written.inputs, written.versions, written.counts) == tuple(made.values())
    assert lake.has_table("whole")
    assert lake.keys("whole") == []


def test_a_table_that_was_never_made_is_missing(lake):
    for read in (lake.table_manifest, lake.scan_table):
        with pytest.raises(PartitionMissing, match=r"whole is not in the lake .*: materialize whole first"):
            read("whole")


def test_a_failing_stream_leaves_the_old_table(lake, files):
    lake.write_table("whole", OLD, SCHEMA)
    before = files()
    with pytest.raises(pl.exceptions.PolarsError):
        lake.write_table("whole", [NEW, pl.DataFrame({"name": ["a"]})], SCHEMA)
    assert files() == before


def test_partitions_are_not_written_over_by_a_table(lake):
    lake.write("table", KEY, OLD, SCHEMA)
    with pytest.raises(ValueError, match="table has partitions"):
        lake.write_table("table", NEW, SCHEMA)
    assert lake.scan("table", KEY).collect().equals(OLD)


# --- on S3


def test_a_partition_of_several_parts_arrives_whole(s3_bucket, s3_config):
    import random

    noise = random.Random(0)
    schema = {"name": pl.String(), "bytes": pl.Binary()}
    rows = pl.DataFrame({"name": list("abcd"), "bytes": [noise.randbytes(6_000_000) for _ in range(4)]}, schema=schema)
    lake = Lake(s3_bucket, s3_config)
    lake.write("table", KEY, [rows[:2], rows[2:]], schema)
    assert pl.concat(lake.batches("table", KEY, 1)).equals(rows)
    path = str(lake.data_path("table", KEY))
    assert path == f"{s3_bucket}/table/source=mine/shard=s00000/data.parquet"
    entity = client(s3_config).head_object(Bucket=s3_bucket.bucket, Key=S3Uri.parse(path).key)["ETag"]
    assert entity.endswith('-3"'), "S3 was sent three parts of 8 MiB or less"


@pytest.mark.slow
def test_more_partitions_than_one_listing_gives(s3_bucket, s3_config):
    lake, s3 = Lake(s3_bucket / "lake", s3_config), client(s3_config)
    keys = [ShardKey.numbered("mine", number) for number in range(1_005)]
    for key in keys:
        s3.put_object(Bucket=s3_bucket.bucket, Key=f"lake/table/source=mine/shard={key.shard}/manifest.json", Body=b"")
    s3.put_object(Bucket=s3_bucket.bucket, Key="lake/table/source=mine/shard=s99999/deeper/manifest.json", Body=b"")
    s3.put_object(Bucket=s3_bucket.bucket, Key="lake/table_2/source=mine/shard=s99999/manifest.json", Body=b"")
    assert lake.keys("table") == keys


def test_a_bucket_that_is_not_there_is_named(s3_config):
    lake = Lake(S3Uri("no-such-bucket", "lake"), s3_config)
    asked = [
        lambda: lake.keys("table"),
        lambda: lake.manifest("table", KEY),
        lambda: lake.write("table", KEY, OLD, SCHEMA),
        lambda: lake.write_verdict("table", KEY, Verdict.model_construct()),
    ]
    for ask in asked:
        with pytest.raises(S3Error, match=r"s3://no-such-bucket/lake.*: there is no such bucket"):
            ask()


def test_a_partition_that_lost_its_rows_is_said(lake):
    lake.write("table", KEY, OLD, SCHEMA)
    path = lake.data_path("table", KEY)
    if isinstance(path, Path):
        path.unlink()
    else:
        lake.store._delete("table/source=mine/shard=s00000/data.parquet")
    with pytest.raises(FileNotFoundError):
        next(lake.batches("table", KEY, 1))


# --- readable as it lies


@pytest.fixture
def photos(lake):
    """Two partitions of `raw_images` that hold one real photo each."""
    asset = Path(find_spec("ultralytics").submodule_search_locations[0]) / "assets/zidane.jpg"
    row = examples(RAW_IMAGES, 2)[1:2]
    for key in (KEY, OTHER):
        image = pl.struct(pl.lit(asset.read_bytes()).alias("bytes"), pl.lit("zidane.jpg").alias("path"))
        placed = row.with_columns(image=image, source=pl.lit(key.source), shard=pl.lit(key.shard))
        lake.write("raw_images", key, placed, RAW_IMAGES)
    return lake


@pytest.fixture
def local_photos(local_lake, photos):
    """The same in a folder."""
    for key in (KEY, OTHER):
        local_lake.write("raw_images", key, photos.scan("raw_images", key).collect(), RAW_IMAGES)
    return local_lake


def test_duckdb_reads_the_table_and_its_partitions(local_photos):
    import duckdb

    found = duckdb.sql(
        f"select source, shard, split, image.path, labels[1].category from "
        f"read_parquet('{local_photos.glob('raw_images')}', hive_partitioning = true) order by shard"
    ).fetchall()
    assert found == [("mine", shard, "val", "zidane.jpg", "text 0") for shard in ("s00000", "s00001")]


def test_polars_reads_the_table_and_its_partitions(photos, place):
    options = storage_options(place[1], photos.root.bucket) if place[1] else None
    found = pl.scan_parquet(photos.glob("raw_images"), hive_partitioning=True, storage_options=options).collect()
    assert found.schema == pl.Schema(RAW_IMAGES)
    assert found["shard"].sort().to_list() == ["s00000", "s00001"]


@pytest.mark.slow
def test_datasets_takes_the_column_of_photos_for_images(local_photos, tmp_path):
    from datasets import Image, load_dataset

    found = load_dataset(
        "parquet", data_files=local_photos.glob("raw_images"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert found.features["image"] == Image()
    assert sorted(found["shard"]) == ["s00000", "s00001"]
    assert found[0]["image"].size == (1280, 720)
    (rows,) = (local_photos.scan("raw_images", key).collect() for key in (KEY,))
    others = [name for name in RAW_IMAGES if name != "image"]
    assert found.select_columns(others)[0] == rows.select(others).to_dicts()[0]


def test_what_a_killed_writer_staged_is_cleared_once_it_is_old(tmp_path):
    lake = Lake(tmp_path)
    left, in_use = (tmp_path / ".staging" / name for name in ("left", "in_use"))
    for folder in (left, in_use):
        folder.mkdir(parents=True)
    os.utime(left, (0, 0))
    assert lake.clear_staging() == 1
    assert (left.exists(), in_use.exists()) == (False, True)
    assert Lake(tmp_path / "none").clear_staging() == 0


def test_on_s3_nothing_is_staged(s3_bucket, s3_config):
    assert Lake(s3_bucket, s3_config).clear_staging() == 0


def test_a_public_lake_is_read_without_credentials(s3_bucket, s3_config, monkeypatch):
    lake, s3 = Lake(s3_bucket, s3_config), client(s3_config)
    lake.write("table", KEY, OLD, SCHEMA)
    for item in s3.list_objects_v2(Bucket=s3_bucket.bucket)["Contents"]:
        s3.put_object_acl(Bucket=s3_bucket.bucket, Key=item["Key"], ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    public = Lake(s3_bucket, s3_config.model_copy(update={"unsigned": True}))
    assert public.scan("table", KEY).collect().equals(OLD)
    assert pl.concat(public.batches("table", KEY, 1)).equals(OLD)
    with pytest.raises(S3Error, match="no credentials were found"):
        lake.scan("table", KEY)
