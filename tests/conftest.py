"""A real S3 server on this machine, for all tests that need one."""

import itertools
from collections.abc import Iterator

import pytest

from forge_resources.s3 import S3Config, S3Uri, client

_BUCKETS = itertools.count()
SECRET = "the-secret-that-no-message-may-hold"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server that knows what AWS knows."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch) -> str:
    """Credentials in the environment; the secret one."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "some-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return SECRET


@pytest.fixture
def s3_config(s3_server: str, s3_credentials: str) -> S3Config:  # noqa: ARG001 -- they are in the environment
    """How the server is reached."""
    return S3Config(endpoint_url=s3_server, path_style=True, max_attempts=2)


@pytest.fixture
def s3_bucket(s3_config: S3Config) -> S3Uri:
    """An empty bucket."""
    bucket = S3Uri(f"bucket-{next(_BUCKETS)}")
    client(s3_config).create_bucket(Bucket=bucket.bucket)
    return bucket
