"""The warehouse shows a lake as it lies, and of gated tables only what passed."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
from fsspec.implementations.arrow import ArrowFile

from forge_resources.lake import Lake, Manifest, PartitionMissing, Verdict
from forge_resources.s3 import S3Config, S3Error, S3Uri
from forge_resources.shards import ShardKey
from forge_resources.warehouse import DatabaseError, QueryError, SqlTables, Warehouse

PHOTOS = {
    "image_id": pl.String(),
    "source": pl.String(),
    "shard": pl.String(),
    "image": pl.Struct({"bytes": pl.Binary(), "path": pl.String()}),
    "png": pl.Binary(),
    "width": pl.Int32(),
}
PAIRS = {
    "qa_id": pl.String(),
    "source": pl.String(),
    "shard": pl.String(),
    "task": pl.Enum(["counting", "near_far"]),
    "boxes": pl.List(pl.Array(pl.Int32(), 4)),
    "score": pl.Float64(),
}
SCHEMAS = {"raw_images": PHOTOS, "verified_qa": PAIRS, "candidate_qa": PAIRS}
FIRST, SECOND = ShardKey("a", "s00000"), ShardKey("b_2", "s00001")


def pairs(key: ShardKey, count: int = 2) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "qa_id": [f"{key}-{i:03d}" for i in range(count)],
            "source": key.source,
            "shard": key.shard,
            "task": "counting",
            "boxes": [[[1, 2, 3, 4]]] * count,
            "score": [i / 10 for i in range(count)],
        },
        schema=PAIRS,
    )


def judge(lake: Lake, manifest: Manifest, outcome: str = "passed", failures: dict[str, int] | None = None) -> None:
    verdict = Verdict(
        gate="g",
        content_hash=manifest.content_hash,
        suite_hash="0",
        outcome=outcome,
        rows=manifest.rows,
        failures=failures or {},
    )
    lake.write_verdict(manifest.table, ShardKey(manifest.source, manifest.shard), verdict)


@pytest.fixture
def warehouse(lake: Lake) -> Iterator[Warehouse]:
    for key in (FIRST, SECOND):
        lake.write("candidate_qa", key, pairs(key, 3), PAIRS)
        judge(lake, lake.write("verified_qa", key, pairs(key), PAIRS))
    with Warehouse(lake, SCHEMAS) as warehouse:
        yield warehouse


def test_rows_of_all_partitions_with_source_and_shard_once(warehouse: Warehouse) -> None:
    rows = warehouse.query("SELECT * FROM verified_qa ORDER BY qa_id")
    assert rows.columns == list(PAIRS)
    assert rows["source"].to_list() == ["a", "a", "b_2", "b_2"]
    assert rows["shard"].to_list() == ["s00000", "s00000", "s00001", "s00001"]
    assert rows["boxes"].to_list() == [[[1, 2, 3, 4]]] * 4


def test_a_table_not_written_yet_is_empty_with_the_same_columns(lake: Lake) -> None:
    with Warehouse(lake, SCHEMAS) as warehouse:
        assert warehouse.query("SELECT * FROM candidate_qa").is_empty()
        empty = {table: warehouse.query(f"DESCRIBE {table}") for table in SCHEMAS}
        assert warehouse.query("FROM partitions").is_empty()
    for table, schema in SCHEMAS.items():
        null_row = pl.DataFrame({name: [None] for name in schema}, schema=schema)
        judge(lake, lake.write(table, FIRST, null_row, schema))
    with Warehouse(lake, SCHEMAS) as warehouse:
        for table, columns in empty.items():
            assert warehouse.query(f"DESCRIBE {table}").equals(columns)


def test_bytes_are_left_out(lake: Lake) -> None:
    image = {"bytes": b"jpeg", "path": "x.jpg"}
    row = {"image_id": "a/x", "source": "a", "shard": "s00000", "image": image, "png": b"png", "width": 3}
    lake.write("raw_images", FIRST, pl.DataFrame([row], schema=PHOTOS), PHOTOS)
    with Warehouse(lake, SCHEMAS) as warehouse:
        (row,) = warehouse.query("SELECT *, image.path AS path FROM raw_images").to_dicts()
    assert row == {"image_id": "a/x", "source": "a", "shard": "s00000", "image": {"path": "x.jpg"}} | {
        "width": 3,
        "path": "x.jpg",
    }


@pytest.mark.parametrize("outcome", ["failed", "broken", "stale", "none"])
def test_only_partitions_that_passed_count(lake: Lake, outcome: str) -> None:
    judge(lake, lake.write("verified_qa", FIRST, pairs(FIRST), PAIRS))
    manifest = lake.write("verified_qa", SECOND, pairs(SECOND), PAIRS)
    if outcome == "stale":
        judge(lake, manifest)
        verdict = lake.verdict("verified_qa", SECOND)
        assert verdict is not None
        lake.write("verified_qa", SECOND, pairs(SECOND, 5), PAIRS)
        lake.write_verdict("verified_qa", SECOND, verdict)
    elif outcome != "none":
        judge(lake, manifest, outcome, {"range": 2, "unique": 1})
    with Warehouse(lake, SCHEMAS) as warehouse:
        assert warehouse.query("SELECT DISTINCT source FROM verified_qa").to_series().to_list() == ["a"]
        states = warehouse.query('SELECT source, verdict, failures, "rows" FROM partitions ORDER BY source')
    failures = 3 if outcome in ("failed", "broken") else 0
    assert states.rows() == [("a", "passed", 0, 2), ("b_2", outcome, failures, 5 if outcome == "stale" else 2)]


def test_ungated_tables_count_without_a_verdict(warehouse: Warehouse) -> None:
    assert warehouse.query("SELECT count(*) FROM candidate_qa").item() == 6


def test_stream_is_ordered_and_bounded(warehouse: Warehouse) -> None:
    batches = list(warehouse.stream("SELECT qa_id FROM candidate_qa ORDER BY qa_id", batch_rows=4))
    assert [batch.height for batch in batches] == [4, 2]
    assert pl.concat(batches).equals(warehouse.query("SELECT qa_id FROM candidate_qa ORDER BY qa_id"))
    assert list(warehouse.stream("SELECT qa_id FROM candidate_qa WHERE false")) == []


def test_two_streams_at_once(warehouse: Warehouse) -> None:
    sql = "SELECT qa_id FROM candidate_qa ORDER BY qa_id"
    together = list(zip(warehouse.stream(sql, 1), warehouse.stream(sql, 1), strict=True))
    assert len(together) == 6
    assert all(left.equals(right) for left, right in together)


def test_parameters(warehouse: Warehouse) -> None:
    found = warehouse.query("SELECT count(*) FROM candidate_qa WHERE source = $source", {"source": "a' OR true --"})
    assert found.item() == 0


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nope FROM verified_qa", "nope"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT 'a'::INT", "Could not convert"),
        ("", "one SQL statement"),
        ("SELECT 1; SELECT 2", "one SQL statement"),
        ("CREATE TABLE x (i INT)", "only reads"),
        ("COPY verified_qa TO 'x.csv'", "only reads"),
    ],
)
def test_broken_sql_says_so(warehouse: Warehouse, sql: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        warehouse.query(sql)
    with pytest.raises(QueryError, match=message):
        list(warehouse.stream(sql))


def test_added_tables_are_replaced(warehouse: Warehouse) -> None:
    for value in (1, 2):
        warehouse.add_table("quotas", pl.DataFrame({"quota": [value]}))
    assert warehouse.query("FROM quotas").item() == 2


def test_closed_is_closed(lake: Lake) -> None:
    with Warehouse(lake, SCHEMAS) as warehouse:
        spill = Path(warehouse.query("SELECT current_setting('temp_directory')").item())
        assert spill.exists()
    warehouse.close()
    assert not spill.exists()
    with pytest.raises(QueryError):
        warehouse.query("SELECT 1")


def test_a_column_type_without_a_counterpart_is_refused(lake: Lake) -> None:
    with pytest.raises(TypeError, match="no DuckDB type"):
        Warehouse(lake, {"t": {"at": pl.Datetime()}})


def test_partitions_with_older_columns_are_named_and_how_to_mend_them(lake: Lake) -> None:
    key = ShardKey("photos", "s00000")
    older = {"image_id": pl.String()}
    lake.write("scenes", key, pl.DataFrame({"image_id": ["a"]}), older)
    with pytest.raises(QueryError, match="scenes holds partitions with other columns") as refused:
        Warehouse(lake, {"scenes": {**older, "facing": pl.Float64()}})
    assert "forge run --again" in str(refused.value)


def test_a_table_that_spans_all_partitions_is_a_view_like_the_others(lake: Lake) -> None:
    schemas = SCHEMAS | {"whole": PAIRS}
    for count in (0, 3):
        if count:
            lake.write_table("whole", pairs(FIRST, count), PAIRS)
        with Warehouse(lake, schemas) as warehouse:
            assert warehouse.query("SELECT count(*) FROM whole").item() == count
            assert warehouse.query("FROM partitions").is_empty()


def test_both_stores_give_the_same_rows_and_types(local_lake: Lake, s3_bucket: S3Uri, s3_config: S3Config) -> None:
    asked = (
        "SELECT * FROM verified_qa WHERE task = 'counting' AND score >= 0.1 ORDER BY qa_id",
        "SELECT *, image.path AS path FROM raw_images ORDER BY image_id",
        "DESCRIBE verified_qa",
        "DESCRIBE raw_images",
        "SELECT task, boxes[1][2] AS x, count(*) AS n FROM candidate_qa GROUP BY ALL",
    )
    answers = []
    for lake in (local_lake, Lake(s3_bucket / "lake", s3_config)):
        for key in (FIRST, SECOND):
            row = {"image_id": f"{key}/x", "source": key.source, "shard": key.shard, "png": b"png", "width": 3}
            row["image"] = {"bytes": b"jpeg", "path": "x.jpg"}
            lake.write("raw_images", key, pl.DataFrame([row], schema=PHOTOS), PHOTOS)
            lake.write("candidate_qa", key, pairs(key, 3), PAIRS)
            judge(lake, lake.write("verified_qa", key, pairs(key), PAIRS))
        with Warehouse(lake, SCHEMAS) as warehouse:
            answers.append([warehouse.query(sql) for sql in asked])
    for local, remote in zip(*answers, strict=True):
        assert local.height > 0
        assert remote.equals(local)
        assert remote.schema == local.schema


def test_on_s3_bytes_that_are_not_asked_for_are_not_read(
    s3_bucket: S3Uri, s3_config: S3Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(self: ArrowFile) -> Callable[..., bytes]:
        def count(*size: int) -> bytes:
            data = self.stream.read(*size)
            read.append(len(data))
            return data

        return count

    monkeypatch.setattr(ArrowFile, "read", property(counted))
    noise = random.Random(0)
    rows = [
        {"image_id": f"a/{i}", "image": {"bytes": noise.randbytes(1_000_000), "path": f"{i}.jpg"}, "width": i}
        for i in range(8)
    ]
    lake = Lake(s3_bucket, s3_config)
    lake.write("raw_images", FIRST, [pl.DataFrame([row], schema=PHOTOS) for row in rows], PHOTOS)
    with Warehouse(lake, SCHEMAS) as warehouse:
        paths = warehouse.query("SELECT image.path AS path FROM raw_images WHERE width > 5 ORDER BY width")
    assert paths["path"].to_list() == ["6.jpg", "7.jpg"]
    assert 0 < sum(read) < 1_000_000


def test_a_partition_that_is_being_replaced_is_left_out(lake: Lake) -> None:
    for key in (FIRST, SECOND):
        lake.write("candidate_qa", key, pairs(key), PAIRS)

    class Replacing(Lake):
        def manifest(self, table: str, key: ShardKey) -> Manifest:
            if key == SECOND:
                raise PartitionMissing
            return super().manifest(table, key)

    replacing = Replacing(lake.root)
    replacing.store = lake.store
    with Warehouse(replacing, SCHEMAS) as warehouse:
        assert warehouse.query("SELECT DISTINCT source FROM candidate_qa").to_series().to_list() == ["a"]


def test_a_lake_that_cannot_be_reached_is_said(s3_config: S3Config) -> None:
    with pytest.raises(S3Error, match="there is no such bucket"):
        Warehouse(Lake(S3Uri("no-such-bucket"), s3_config), SCHEMAS)


OUTSIDE = [
    "FROM read_csv('/etc/passwd')",
    "FROM read_text('/etc/passwd')",
    "FROM glob('/etc/*')",
    "FROM '/etc/passwd'",
    "FROM read_json('http://127.0.0.1:9/x.json')",
    "FROM read_parquet('s3://bucket/x.parquet')",
]
WRITING = [
    "COPY verified_qa TO '{folder}/x.csv'",
    "ATTACH '{folder}/x.duckdb'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "EXPORT DATABASE '{folder}/x'",
    "SET enable_external_access = true",
    "PRAGMA enable_profiling",
    "CREATE SECRET (TYPE s3)",
]


@pytest.mark.parametrize("sql", [*OUTSIDE, *WRITING])
def test_sql_reaches_the_lake_alone(warehouse: Warehouse, sql: str, tmp_path: Path) -> None:
    with pytest.raises(QueryError):
        warehouse.query(sql.format(folder=tmp_path))
    assert not list(tmp_path.glob("x*"))
    assert warehouse.query("SELECT count(*) FROM candidate_qa").item() == 6


def test_sql_sees_no_variables_of_python(warehouse: Warehouse) -> None:
    secret = pl.DataFrame({"a": [1]})
    with pytest.raises(QueryError, match="secret"):
        warehouse.query("FROM secret")
    assert secret.height == 1


def test_a_lake_that_is_locked_still_sorts_more_than_memory_holds(local_lake: Lake) -> None:
    local_lake.write("candidate_qa", FIRST, pairs(FIRST), PAIRS)
    with Warehouse(local_lake, SCHEMAS) as warehouse:
        assert warehouse.query("SELECT current_setting('lock_configuration')").item()
        rows = warehouse.query(
            "SELECT count(*) FROM (SELECT range, row_number() OVER (ORDER BY hash(range)) FROM range(2_000_000))"
        )
    assert rows.item() == 2_000_000


def test_where_it_is_allowed_sql_reads_and_writes_other_files(lake: Lake, tmp_path: Path) -> None:
    lake.write("candidate_qa", FIRST, pairs(FIRST, 3), PAIRS)
    with Warehouse(lake, SCHEMAS, allow_external=True) as warehouse:
        warehouse.query(f"COPY (SELECT qa_id FROM candidate_qa) TO '{tmp_path}/out.csv'")
        assert warehouse.query(f"SELECT count(*) FROM read_csv('{tmp_path}/out.csv')").item() == 3


def test_a_plan_may_be_asked_for(warehouse: Warehouse) -> None:
    assert warehouse.query("EXPLAIN FROM verified_qa").height > 0


def test_views_and_columns_are_named(lake: Lake) -> None:
    with Warehouse(lake, SCHEMAS, views={"counts": "SELECT count(*) AS n FROM candidate_qa"}) as warehouse:
        catalogue = {"partitions", "partition_inputs", "partition_versions"}
        assert set(warehouse.names) == {*SCHEMAS, *catalogue, "counts"}
        assert warehouse.columns("counts") == {"n": "BIGINT"}
        with pytest.raises(QueryError, match="there is no table 'nosuch'; there are: candidate_qa"):
            warehouse.columns("nosuch")


def test_inputs_and_versions_are_listed(lake: Lake) -> None:
    lake.write("candidate_qa", FIRST, pairs(FIRST), PAIRS, inputs={"scenes": "ab"}, versions={"code": "1", "a": "2"})
    with Warehouse(lake, SCHEMAS) as warehouse:
        assert warehouse.query("FROM partition_inputs").rows() == [("candidate_qa", *key_of(FIRST), "scenes", "ab")]
        versions = warehouse.query("SELECT name, version FROM partition_versions ORDER BY name")
    assert versions.rows() == [("a", "2"), ("code", "1")]


def key_of(key: ShardKey) -> tuple[str, str]:
    return key.source, key.shard


@pytest.mark.parametrize("copy", [False, True])
def test_a_database_file_opens_in_any_client(local_lake: Lake, tmp_path: Path, copy: bool) -> None:
    for key in (FIRST, SECOND):
        judge(local_lake, local_lake.write("verified_qa", key, pairs(key), PAIRS))
    target = tmp_path / "new" / "it's.duckdb"
    with Warehouse(local_lake, SCHEMAS) as warehouse:
        for _ in range(2):
            warehouse.save(target, views={"partition_count": "SELECT count(*) AS n FROM partitions"}, copy=copy)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    if copy:
        shutil.rmtree(tmp_path / "lake")
    with duckdb.connect(str(target), read_only=True) as client:
        assert client.sql("SELECT count(*) FROM verified_qa").fetchall() == [(4,)]
        assert client.sql("FROM partition_count").fetchall() == [(2,)]
        assert client.sql("SELECT count(*) FROM raw_images").fetchall() == [(0,)]


def test_a_database_of_a_lake_on_s3_takes_its_rows_along(s3_bucket: S3Uri, s3_config: S3Config, tmp_path: Path) -> None:
    lake = Lake(s3_bucket / "lake", s3_config)
    judge(lake, lake.write("verified_qa", FIRST, pairs(FIRST), PAIRS))
    with Warehouse(lake, SCHEMAS) as warehouse:
        warehouse.save(tmp_path / "a.duckdb", copy=True)
    with duckdb.connect(str(tmp_path / "a.duckdb"), read_only=True) as client:
        assert client.sql("SELECT count(*) FROM verified_qa").fetchall() == [(2,)]


def test_a_database_that_cannot_be_written_leaves_nothing(local_lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Warehouse(local_lake, SCHEMAS) as warehouse:
        with pytest.raises(DatabaseError, match="cannot be written"):
            warehouse.save(tmp_path / "file" / "a.duckdb")
        with pytest.raises(QueryError, match=r"a\.duckdb is not written"):
            warehouse.save(tmp_path / "a.duckdb", views={"broken": "SELECT nosuch FROM partitions"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_rows_in_memory_are_tables_too() -> None:
    with SqlTables(SCHEMAS, frames={"verified_qa": pairs(FIRST, 3)}) as tables:
        assert tables.query("SELECT count(*) FROM verified_qa").item() == 3
        assert tables.query("FROM candidate_qa").is_empty()
