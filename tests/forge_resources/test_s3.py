"""S3 is asked as configured, asked again when it is busy, and its errors say what to mend."""

import json
import socket
import subprocess
import sys
from threading import Thread

import pytest

from forge_resources.s3 import (
    S3Config,
    S3Error,
    S3Uri,
    arrow_filesystem,
    asking,
    client,
    read_object,
    storage_options,
)

OBJECT = S3Uri("bucket", "a/key")


def ask(url: str, uri: S3Uri = OBJECT, **settings) -> bytes:
    config = S3Config(endpoint_url=url, path_style=True, **{"max_attempts": 1} | settings)
    return read_object(client(config), config, uri)


@pytest.mark.parametrize("text", ["s3://bucket", "s3://bucket/a/b"])
def test_a_uri_comes_back_as_it_was_written(text):
    assert str(S3Uri.parse(text)) == text
    assert S3Uri.parse(f"{text}/") == S3Uri.parse(text)


@pytest.mark.parametrize("text", ["s3://", "s3:///key", "bucket/key", "https://bucket"])
def test_what_is_no_uri_is_refused(text):
    with pytest.raises(ValueError, match="no S3 URI"):
        S3Uri.parse(text)


def test_an_object_comes_back_and_a_missing_one_is_not_found(s3_config, s3_bucket):
    s3, uri = client(s3_config), s3_bucket / "a name with ä.bin"
    s3.put_object(Bucket=uri.bucket, Key=uri.key, Body=b"bytes")
    assert read_object(s3, s3_config, uri) == b"bytes"
    with pytest.raises(FileNotFoundError, match=f"{s3_bucket}/none is not there"):
        read_object(s3, s3_config, s3_bucket / "none")


@pytest.mark.parametrize("answer", [(503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")])
def test_a_busy_store_is_asked_again(scripted_s3, answer):
    store = scripted_s3(answer, answer)
    assert ask(store.url, max_attempts=3) == store.body
    assert len(store.requests) == 3


def test_a_store_that_stays_busy_is_given_up_on(scripted_s3):
    store = scripted_s3(*[(503, "SlowDown")] * 9)
    with pytest.raises(S3Error, match=r"s3://bucket/a/key: 127.* answered SlowDown at try 2: .*s3\.max_attempts"):
        ask(store.url, max_attempts=2)
    assert len(store.requests) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((400, "ExpiredToken"), "credentials have expired"),
        ((403, "AccessDenied"), "access denied"),
        ((403, "InvalidAccessKeyId"), "access denied"),
        ((403, "SignatureDoesNotMatch"), "access denied"),
        ((404, "NoSuchBucket"), "no such bucket at 127"),
        ((400, "AuthorizationHeaderMalformed"), "set s3.region"),
        ((501, "NotImplemented"), "conditional writes"),
        ((400, "NeverHeardOf"), "refused with NeverHeardOf"),
    ],
)
def test_a_refusal_says_what_to_mend_and_no_secret(scripted_s3, s3_credentials, answer, message):
    store = scripted_s3(answer)
    with pytest.raises(S3Error, match=message) as refused:
        ask(store.url)
    assert str(refused.value).startswith("s3://bucket/a/key: ")
    assert s3_credentials not in str(refused.value)
    assert len(store.requests) == 1


@pytest.mark.usefixtures("s3_credentials")
def test_a_bucket_that_is_not_there_is_named(s3_server):
    with pytest.raises(S3Error, match="s3://no-such-bucket/key: there is no such bucket"):
        ask(s3_server, S3Uri("no-such-bucket", "key"))


def test_without_credentials_the_ways_to_give_them_are_named(scripted_s3, monkeypatch):
    store = scripted_s3()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    config = S3Config(endpoint_url=store.url, path_style=True)
    for way in (lambda: ask(store.url), lambda: storage_options(config, "bucket"), lambda: arrow_filesystem(config)):
        with pytest.raises(S3Error, match=r"AWS_ACCESS_KEY_ID.*AWS_PROFILE.*unsigned: true"):
            way()
    assert store.requests == []
    assert ask(store.url, unsigned=True) == store.body
    assert storage_options(S3Config(unsigned=True), "bucket")["aws_skip_signature"] == "true"
    arrow_filesystem(S3Config(unsigned=True, region="us-east-1"))


@pytest.mark.usefixtures("s3_credentials")
def test_a_profile_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(S3Error, match="AWS_PROFILE"):
        client(S3Config())


def test_an_endpoint_that_cannot_be_reached_is_named_without_its_password(s3_credentials):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(S3Error, match=f"{host} cannot be reached.*endpoint_url") as refused:
        ask(f"http://me:{s3_credentials}@{host}")
    assert s3_credentials not in str(refused.value)


@pytest.mark.parametrize("endpoint", ["minio:9000", "ftp://minio", "http://"])
@pytest.mark.usefixtures("s3_credentials")
def test_an_endpoint_that_is_no_address_is_refused(endpoint):
    with pytest.raises(S3Error, match="write http://host:port"):
        client(S3Config(endpoint_url=endpoint))


@pytest.mark.usefixtures("s3_credentials")
def test_a_name_that_no_bucket_can_have_is_refused(s3_server):
    with pytest.raises(S3Error, match="check the names"):
        ask(s3_server, S3Uri("no bucket", "key"))


@pytest.mark.usefixtures("s3_credentials")
def test_what_is_no_error_of_s3_passes():
    with pytest.raises(ZeroDivisionError), asking(S3Config(), OBJECT):
        raise ZeroDivisionError


@pytest.mark.usefixtures("s3_credentials")
def test_a_connection_that_breaks_midway_is_asked_again():
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfour"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in (whole[:-2], whole):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        serving = Thread(target=serve)
        serving.start()
        assert ask(f"http://127.0.0.1:{server.getsockname()[1]}", max_attempts=2) == b"four"
        serving.join()


def test_the_endpoint_may_stand_in_the_environment(s3_config, s3_bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_config.endpoint_url)
    config = s3_config.model_copy(update={"endpoint_url": None})
    client(config).put_object(Bucket=s3_bucket.bucket, Key="key", Body=b"bytes")
    with arrow_filesystem(config).open_input_file(f"{s3_bucket.bucket}/key") as file:
        assert file.read() == b"bytes"
    assert storage_options(config, s3_bucket.bucket)["aws_endpoint_url"] == s3_config.endpoint_url


def test_other_libraries_are_told_the_same(monkeypatch, s3_credentials):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    options = storage_options(S3Config(endpoint_url="https://store.example", region="eu-1", max_attempts=5), "mine")
    assert options == {
        "aws_access_key_id": "some-key",
        "aws_secret_access_key": s3_credentials,
        "aws_session_token": "token",
        "aws_region": "eu-1",
        "aws_endpoint_url": "https://mine.store.example",
        "aws_allow_http": "false",
        "aws_virtual_hosted_style_request": "true",
        "max_retries": 4,
    }


def test_the_configuration_is_read_without_boto3():
    script = (
        "import sys, json, forge_resources.config; "
        "print(json.dumps([name for name in ('boto3', 'botocore', 'pyarrow') if name in sys.modules]))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert json.loads(loaded) == []
