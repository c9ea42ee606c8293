"""SQL reads the lake: no other file, no network, no environment, no setting, and it changes nothing."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from forge_assets.audits.opening import open_lake
from forge_assets.audits.runner import UnknownAuditError, audit_sql
from forge_assets.audits.shell import HELP, run_shell
from forge_assets.cli import app
from forge_assets.tables import SCHEMAS
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.s3 import S3Config, S3Uri
from forge_resources.shards import ShardKey
from forge_resources.warehouse import QueryError, Warehouse

KEY = ShardKey("photos", "s00000")
SECRET = "what-stands-outside"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.write("rejected_qa", KEY, pl.DataFrame(schema=SCHEMAS["rejected_qa"]), SCHEMAS["rejected_qa"])
    return lake


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the lake, with a secret in files of each kind that DuckDB reads."""
    folder = tmp_path / "outside"
    folder.mkdir()
    rows = pl.DataFrame({"secret": [SECRET]})
    rows.write_parquet(folder / "rows.parquet")
    rows.write_csv(folder / "rows.csv")
    rows.write_ndjson(folder / "rows.json")
    return folder


@pytest.fixture
def warehouse(lake: Lake) -> Iterator[Warehouse]:
    with Warehouse(lake, SCHEMAS) as warehouse:
        yield warehouse


def held(folder: Path) -> dict[str, str]:
    """All files below a folder, by what they hold."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


READING = [
    "FROM read_csv('{outside}/rows.csv')",
    "FROM read_parquet('{outside}/rows.parquet')",
    "FROM read_parquet(['{file}', '{outside}/rows.parquet'])",
    "FROM read_parquet('{file}/../../../../../outside/rows.parquet')",
    "FROM read_parquet('{lake}/../outside/*.parquet')",
    "FROM '{outside}/rows.parquet'",
    "FROM '{outside}/rows.json'",
    "FROM read_ndjson_objects('{outside}/rows.json')",
    "FROM read_blob('{outside}/rows.csv')",
    "FROM read_text('/proc/self/environ')",
    "FROM read_csv('/dev/stdin')",
    "FROM read_csv('file://{outside}/rows.csv')",
    "FROM read_duckdb('{outside}/x.duckdb')",
    "FROM sniff_csv('{outside}/rows.csv')",
    "FROM parquet_metadata('{outside}/rows.parquet')",
    "FROM parquet_kv_metadata('{outside}/rows.parquet')",
    "FROM glob('{outside}/*')",
    "FROM glob('{lake}/**')",
    "FROM read_text('{lake}/rejected_qa/source=photos/shard=s00000/manifest.json')",
    "FROM query('FROM read_csv(''{outside}/rows.csv'')')",
    "FROM query_table('{outside}/rows.parquet')",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_csv(''{outside}/rows.csv'')'))",
    "WITH x AS MATERIALIZED (FROM read_csv('{outside}/rows.csv')) FROM x",
    "SELECT (SELECT secret FROM read_csv('{outside}/rows.csv'))",
    "EXPLAIN ANALYZE FROM read_csv('{outside}/rows.csv')",
    "SUMMARIZE FROM read_csv('{outside}/rows.csv')",
    "DESCRIBE FROM read_csv('{outside}/rows.csv')",
]
NETWORK = [
    "FROM read_csv('http://127.0.0.1:9/rows.csv')",
    "FROM 'https://127.0.0.1:9/rows.parquet'",
    "FROM read_parquet('s3://bucket/rows.parquet')",
    "FROM read_parquet('hf://datasets/org/name/rows.parquet')",
    "FROM postgres_scan('host=127.0.0.1', 'public', 't')",
    "FROM sqlite_scan('{outside}/x.sqlite', 't')",
    "FROM load_aws_credentials()",
    "FROM read_xlsx('{outside}/rows.xlsx')",
]
SETTINGS = [
    "SELECT getenv('AWS_SECRET_ACCESS_KEY')",
    "SELECT current_setting('s3_secret_access_key')",
    "FROM duckdb_secrets()",
    "FROM which_secret('s3://bucket/x', 's3')",
    "SET enable_external_access = true",
    "SET GLOBAL allowed_paths = ['{outside}/rows.csv']",
    "RESET enable_external_access",
    "SET lock_configuration = false",
    "SET VARIABLE path = '{outside}/rows.csv'",
    "PRAGMA enable_external_access",
    "PRAGMA database_list",
    "CALL enable_logging(storage = 'file', storage_config = {{'path': '{outside}'}})",
    "FROM enable_logging(storage = 'file', storage_config = {{'path': '{outside}'}})",
    "FROM enable_profiling()",
    "CREATE SECRET (TYPE s3)",
    "CREATE PERSISTENT SECRET (TYPE s3)",
]
WRITING = [
    "COPY partitions TO '{outside}/new.csv'",
    "COPY partitions TO '{file}' (USE_TMP_FILE false)",
    "COPY partitions FROM '{outside}/rows.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{outside}/new.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)",
    "/* */ EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO (current_setting('temp_directory') || '/new.csv')",
    "EXPLAIN ANALYZE DELETE FROM partitions",
    "EXPLAIN ANALYZE WITH x AS (SELECT 1) INSERT INTO partitions FROM partitions",
    "EXPLAIN ANALYZE CREATE TABLE new AS SELECT 1",
    "DELETE FROM partitions",
    "UPDATE partitions SET verdict = 'passed'",
    "WITH x AS (DELETE FROM partitions RETURNING *) FROM x",
    "MERGE INTO partitions USING quotas ON true WHEN MATCHED THEN DELETE",
    "DROP VIEW rejected_qa",
    "CREATE OR REPLACE VIEW rejected_qa AS SELECT 1",
    "CREATE TEMP TABLE new AS SELECT 1",
    "CREATE MACRO new() AS 1",
    "EXPORT DATABASE '{outside}/new'",
    "IMPORT DATABASE '{outside}'",
    "ATTACH '{outside}/new.duckdb'",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "INSTALL httpfs FROM community",
    "FORCE INSTALL httpfs FROM 'http://127.0.0.1:9'",
    "LOAD httpfs",
    "LOAD '{outside}/code.so'",
    "BEGIN; COMMIT",
    "SELECT 1; COPY (SELECT 1) TO '{outside}/new.csv'",
    "PREPARE p AS COPY (SELECT 1) TO '{outside}/new.csv'",
    "EXECUTE p",
    "CHECKPOINT",
]


@pytest.mark.parametrize("sql", [*READING, *NETWORK, *SETTINGS, *WRITING])
def test_there_is_no_way_round(
    warehouse: Warehouse, lake: Lake, outside: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    before, partitions = held(outside.parent), warehouse.query("FROM partitions")
    asked = sql.format(outside=outside, lake=lake.root, file=lake.data_path("rejected_qa", KEY))
    with pytest.raises(QueryError) as refused:
        warehouse.query(asked)
    assert SECRET not in str(refused.value)
    assert held(outside.parent) == before
    assert warehouse.query("FROM partitions").equals(partitions)
    assert warehouse.query("FROM rejected_qa").is_empty()


def test_what_duckdb_tells_of_itself_holds_no_secret(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    for sql in ("FROM duckdb_settings()", "FROM duckdb_views()", "FROM duckdb_databases()", "FROM duckdb_logs"):
        assert SECRET not in str(warehouse.query(sql).rows())
    locked = ("enable_external_access", "autoinstall_known_extensions", "autoload_known_extensions")
    for setting in locked:
        assert warehouse.query(f"SELECT current_setting('{setting}')").item() is False


def test_credentials_of_a_lake_on_s3_are_out_of_reach(
    s3_bucket: S3Uri, s3_config: S3Config, s3_credentials: str
) -> None:
    lake = Lake(s3_bucket / "lake", s3_config)
    lake.write("rejected_qa", KEY, pl.DataFrame(schema=SCHEMAS["rejected_qa"]), SCHEMAS["rejected_qa"])
    manifest = str(lake.data_path("rejected_qa", KEY)).replace("data.parquet", "manifest.json")
    with Warehouse(lake, SCHEMAS) as warehouse:
        assert warehouse.query("FROM rejected_qa").is_empty()
        for sql in ("FROM duckdb_settings()", "FROM duckdb_views()"):
            assert s3_credentials not in str(warehouse.query(sql).rows())
        for path in (manifest, f"{s3_bucket}/*", f"{s3_bucket}/lake/**"):
            with pytest.raises(QueryError):
                warehouse.query(f"FROM read_text('{path}')")
            with pytest.raises(QueryError):
                warehouse.query(f"FROM glob('{path}')")


@pytest.mark.parametrize(
    "sql", ["EXPLAIN FROM partitions", "explain analyze SELECT 1", "EXPLAIN (FORMAT json) SELECT 1"]
)
def test_a_plan_of_what_reads_may_be_asked_for(warehouse: Warehouse, sql: str) -> None:
    assert warehouse.query(sql).height == 1


def test_the_shell_has_no_command_that_leaves_the_lake(lake: Lake, outside: Path) -> None:
    lines = [
        *(".shell id", ".system id", ".! id", "!id;", f".read {outside}/rows.csv", f".open {outside}/new.duckdb"),
        *(f".output {outside}/new.txt", f".once {outside}/new.txt", f".import {outside}/rows.csv t", ".load x.so"),
        *(f".cd {outside}", ".audit ../../outside/rows", f".audit {outside}/rows", ".schema '; FROM glob(''/*'')"),
    ]
    before = held(outside.parent)
    said: list[str] = []
    left = iter(lines)

    def ask(_prompt: str) -> str:
        line = next(left, None)
        if line is None:
            raise EOFError
        return line

    with open_lake(ForgeConfig.model_validate({"lake": str(lake.root)})) as tables:
        run_shell(tables, ask, lambda rows: said.append(str(rows.rows())), said.append)
    assert held(outside.parent) == before
    assert len(said) == len(lines)
    assert all(text == HELP or text.startswith("error: ") for text in said), said


def test_an_audit_is_named_not_pathed() -> None:
    for name in ("../runner", "/etc/passwd", "sub/../duplicates"):
        with pytest.raises(UnknownAuditError):
            audit_sql(name)


@pytest.fixture
def run_sql(lake: Lake, tmp_path: Path) -> Callable[..., str]:
    """What the command `forge sql` prints."""
    config = tmp_path / "forge.yaml"
    config.write_text(f"lake: {lake.root}\n")
    return lambda *arguments: CliRunner().invoke(app, ["sql", "--config", str(config), *arguments]).output


def test_the_command_opens_other_files_only_where_it_is_asked_to(run_sql: Callable[..., str], outside: Path) -> None:
    query = f"SELECT secret FROM read_csv('{outside}/rows.csv')"
    refused = run_sql(query)
    assert SECRET not in refused
    assert "disabled by configuration" in refused
    assert SECRET in run_sql(query, "--allow-external")
