"""An S3 that throttles, fails, cuts and forgets: asked again with growing waits, or given up on in clear words."""

import json
import random
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from forge_resources import s3 as s3_settings
from forge_resources.errors import ForgeError
from forge_resources.lake import Lake, PartitionMissing
from forge_resources.s3 import RenewedFilesystem, S3Error, S3Uri, client
from forge_resources.shards import ShardKey
from forge_resources.warehouse import Warehouse

KEY = ShardKey("mine", "s00000")
QUOTED = "the-token-that-the-server-repeats"
PASSING = {
    "throttled": ("status", {"status": 503, "code": "SlowDown"}),
    "failed": ("status", {"status": 500, "code": "InternalError"}),
    "refused": ("refuse", {}),
    "answer lost": ("lose", {}),
    "cut midway": ("cut", {}),
}
LASTING = {
    "throttled": ({"status": 503, "code": "SlowDown"}, r"still answered SlowDown at try 3: .*s3\.max_attempts"),
    "failed": ({"status": 500, "code": "InternalError"}, "still answered InternalError at try 3"),
    "expired": ({"status": 403, "code": "ExpiredToken"}, "the credentials have expired .*: log in again or renew them"),
    "expired as 400": ({"status": 400, "code": "ExpiredToken"}, "the credentials have expired"),
    "denied": ({"status": 403, "code": "AccessDenied"}, "access denied .*: check that the credentials"),
}


@pytest.fixture
def lake(faulty_s3: Any, s3_bucket: S3Uri, rows: pl.DataFrame) -> Lake:
    """A lake with one partition, behind the proxy."""
    lake = Lake(s3_bucket / "lake", faulty_s3.config)
    lake.write("table", KEY, rows, rows.schema)
    return lake


Ask = Callable[[Lake, pl.DataFrame], Any]


def write(lake: Lake, rows: pl.DataFrame) -> str:
    return lake.write("table", KEY, rows, rows.schema).content_hash


def manifest(lake: Lake, _rows: pl.DataFrame) -> str:
    return lake.manifest("table", KEY).content_hash


def scan(lake: Lake, _rows: pl.DataFrame) -> int:
    return lake.scan("table", KEY).select(pl.col("number").sum()).collect().item()


def batches(lake: Lake, _rows: pl.DataFrame) -> int:
    return sum(batch["number"].sum() for batch in lake.batches("table", KEY, 500))


def query(lake: Lake, rows: pl.DataFrame) -> int:
    with Warehouse(lake, {"table": rows.schema}) as warehouse:
        return warehouse.query('SELECT sum(number)::BIGINT FROM "table"').item()


ASKED: dict[Ask, str] = {
    write: "^PUT",
    manifest: "^GET .*manifest.json",
    scan: "^GET .*data.parquet",
    batches: "^GET .*data.parquet",
    query: "^GET .*data.parquet",
}
"""What is done, and the requests of it that meet the fault."""


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__)
def test_what_passes_is_not_noticed(ask: Ask, lake: Lake, rows: pl.DataFrame, faulty_s3: Any) -> None:
    expected = ask(lake, rows)
    for kind, details in PASSING.values():
        faulty_s3.heal()
        faulty_s3.fail(kind, ASKED[ask], times=1, **details)
        assert ask(lake, rows) == expected
        assert len(faulty_s3.struck) == 1


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__)
def test_what_lasts_ends_in_words_that_say_what_to_do_and_hold_no_secret(
    ask: Ask, lake: Lake, rows: pl.DataFrame, faulty_s3: Any, s3_credentials: str
) -> None:
    for details, message in LASTING.values():
        faulty_s3.heal()
        faulty_s3.fail("status", ASKED[ask], **details)
        with pytest.raises(ForgeError, match=message) as refused:
            ask(lake, rows)
        told = "".join(traceback.format_exception(refused.value))
        assert QUOTED not in told
        assert s3_credentials not in told
        assert "s3://" in str(refused.value), "the message names the file"


def test_the_waits_between_tries_grow(lake: Lake, faulty_s3: Any) -> None:
    faulty_s3.heal()
    faulty_s3.fail("status", "manifest.json", times=2)
    random.seed(4)
    drawn = [random.random(), random.random()]
    random.seed(4)
    lake.manifest("table", KEY)
    first, second, third = faulty_s3.requests("manifest.json")
    assert second - first >= drawn[0]
    assert third - second >= 2 * drawn[1]


def test_credentials_that_expired_are_not_asked_with_again(lake: Lake, faulty_s3: Any) -> None:
    faulty_s3.heal()
    faulty_s3.fail("status", "manifest.json", status=403, code="ExpiredToken")
    with pytest.raises(S3Error, match="expired"):
        lake.manifest("table", KEY)
    assert len(faulty_s3.requests("manifest.json")) == 1


def test_credentials_that_are_renewed_meanwhile_are_taken(
    s3_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "credentials.json"

    def give(key: str) -> None:
        soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
        secrets = {"AccessKeyId": key, "SecretAccessKey": "secret", "SessionToken": "token", "Expiration": soon}
        given.write_text(json.dumps({"Version": 1} | secrets))

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {given}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    connected = RenewedFilesystem(s3_config)
    give("first")
    before = connected()
    assert connected() is before
    give("second")
    assert connected() is not before


def test_an_answer_that_does_not_come_is_asked_for_again(
    lake: Lake, rows: pl.DataFrame, faulty_s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_settings, "READ_TIMEOUT_S", 1)
    hurried = Lake(lake.root, faulty_s3.config)
    faulty_s3.fail("slow", "manifest.json", times=1, seconds=2)
    assert hurried.manifest("table", KEY).rows == rows.height
    assert len(faulty_s3.requests("^GET .*manifest.json")) == 2
    faulty_s3.fail("slow", "manifest.json", times=3, seconds=2)
    with pytest.raises(S3Error, match=r"cannot be reached \(ReadTimeoutError\)"):
        hurried.manifest("table", KEY)


@pytest.mark.parametrize("let_through", range(3))
def test_a_write_that_breaks_off_leaves_the_old_partition_or_none(
    let_through: int, lake: Lake, rows: pl.DataFrame, faulty_s3: Any
) -> None:
    old, new = lake.manifest("table", KEY).content_hash, rows.reverse()
    faulty_s3.fail("status", "^(PUT|DELETE)", after=let_through, status=403, code="ExpiredToken")
    with pytest.raises(S3Error, match="expired"):
        lake.write("table", KEY, new, rows.schema)
    if let_through == 0:
        assert lake.require_whole("table", KEY).content_hash == old
    else:
        assert lake.keys("table") == []
        with pytest.raises(PartitionMissing):
            lake.scan("table", KEY)
    faulty_s3.heal()
    again = lake.write("table", KEY, new, rows.schema)
    assert lake.require_whole("table", KEY) == again
    assert lake.scan("table", KEY).collect().equals(new)


def test_a_large_file_that_breaks_off_in_the_middle_is_not_there_and_leaves_no_parts(
    lake: Lake, noise: Callable[[int], pl.DataFrame], faulty_s3: Any, s3_bucket: S3Uri
) -> None:
    large = noise(20_000_000)
    faulty_s3.fail("refuse", "partNumber=2")
    with pytest.raises(S3Error, match="cannot be reached"):
        lake.write("large", KEY, large, large.schema)
    assert lake.keys("large") == lake.keys_with_rows("large") == []
    unfinished = client(faulty_s3.config).list_multipart_uploads(Bucket=s3_bucket.bucket)
    assert "Uploads" not in unfinished
    faulty_s3.heal()
    lake.write("large", KEY, large, large.schema)
    assert lake.scan("large", KEY).collect().equals(large)


def test_a_file_whose_answer_was_lost_was_made_by_the_one_who_asked_again(lake: Lake, faulty_s3: Any) -> None:
    faulty_s3.fail("lose", "^PUT", times=1)
    assert lake.store.create("plan.json", b"mine")
    assert len(faulty_s3.struck) == 1
    assert not lake.store.create("plan.json", b"mine")
    faulty_s3.fail("status", "^PUT", times=1, status=500, code="InternalError")
    assert not lake.store.create("plan.json", b"another's")
    assert lake.store.read("plan.json") == b"mine"
