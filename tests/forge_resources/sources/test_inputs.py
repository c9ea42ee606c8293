"""Files of labels, on disk and on S3."""

import pytest

from forge_resources.s3 import S3Config, client
from forge_resources.sources import SourceError
from forge_resources.sources.inputs import input_file


def test_a_file_on_disk_is_read_where_it_lies(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text("{}")
    first = input_file("mine", path, S3Config(), tmp_path / "cache")
    path.write_text("{ }")
    second = input_file("mine", path, S3Config(), tmp_path / "cache")
    assert (first.name, first.path) == ("labels.json", path)
    assert first.fingerprint != second.fingerprint
    assert not (tmp_path / "cache").exists()


def test_a_file_on_s3_is_fetched_once_a_version(tmp_path, s3_bucket, s3_config):
    uri, store = s3_bucket / "some/labels.json", client(s3_config)
    store.put_object(Bucket=uri.bucket, Key=uri.key, Body=b"{}")
    first = input_file("mine", uri, s3_config, tmp_path)
    fetched = first.path.stat().st_mtime_ns
    again = input_file("mine", uri, s3_config, tmp_path)
    assert (first.name, first.path.read_bytes()) == ("labels.json", b"{}")
    assert again == first
    assert again.path.stat().st_mtime_ns == fetched
    store.put_object(Bucket=uri.bucket, Key=uri.key, Body=b"{ }")
    second = input_file("mine", uri, s3_config, tmp_path)
    assert second.path.read_bytes() == b"{ }"
    assert second.fingerprint != first.fingerprint
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["labels.json"] * 2


def test_a_file_that_is_not_there_is_named(tmp_path, s3_bucket, s3_config):
    with pytest.raises(SourceError, match=r"source mine: cannot read .*none\.json .No such file"):
        input_file("mine", tmp_path / "none.json", S3Config(), tmp_path)
    with pytest.raises(SourceError, match=r"source mine: there is no s3://.*/none\.json: correct it"):
        input_file("mine", s3_bucket / "none.json", s3_config, tmp_path)
