"""Where S3 is and how it is asked: URIs, settings and the client, for the lake, the sources and the weights."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from forge_resources.errors import ForgeError

if TYPE_CHECKING:
    from boto3 import Session
    from botocore.credentials import ReadOnlyCredentials
    from mypy_boto3_s3 import S3Client

SCHEME = "s3://"
CONNECT_TIMEOUT_S: Final = 10
READ_TIMEOUT_S: Final = 60
REQUESTS_AT_ONCE: Final = 32
"""Connections that one client keeps open."""

_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_NOT_FOUND: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_EMPTY: Final = "InvalidRange"
"""What is said of the first byte of an object that has none."""
_NO_CREDENTIALS: Final = (
    "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role, "
    "or `s3: {unsigned: true}` where the bucket is public"
)
_EXPIRED: Final = "the credentials have expired ($reason): log in again or renew them"
_DENIED: Final = (
    "access denied ($reason): check that the credentials are those of $store and that they may list, read, write "
    "and delete there"
)
_THROTTLED: Final = (
    "$store still answered $reason at try $tries: start fewer runs or threads at once, or raise s3.max_attempts"
)
_ELSEWHERE: Final = "the bucket is in another region ($reason): set s3.region to its own"
_REFUSALS: Final = {
    "NoSuchBucket": "there is no such bucket at $store: make it, or name another",
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"), _EXPIRED),
    **dict.fromkeys(("401", "403", "AccessDenied", "AllAccessDisabled", "Forbidden", "Unauthorized"), _DENIED),
    **dict.fromkeys(("InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken"), _DENIED),
    **dict.fromkeys(("SignatureDoesNotMatch", "UnrecognizedClientException"), _DENIED),
    **dict.fromkeys(("429", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"), _THROTTLED),
    **dict.fromkeys(("500", "503", "InternalError", "ServiceUnavailable"), _THROTTLED),
    **dict.fromkeys(("RequestLimitExceeded", "RequestTimeout"), _THROTTLED),
    **dict.fromkeys(("301", "307", "AuthorizationHeaderMalformed", "PermanentRedirect"), _ELSEWHERE),
    "IllegalLocationConstraintException": _ELSEWHERE,
    "NotImplemented": "$store cannot do this ($reason): a lake needs a store with conditional writes",
}
"""What the error codes of S3 mean."""

_FAILURES: Final = {
    **dict.fromkeys(("NoCredentialsError", "PartialCredentialsError"), _NO_CREDENTIALS),
    "ProfileNotFound": "AWS_PROFILE names a profile that the AWS configuration lacks: mend one of them",
    **dict.fromkeys(
        ("CredentialRetrievalError", "MetadataRetrievalError", "SSOError", "TokenRetrievalError"),
        "credentials could not be had ($reason): log in again",
    ),
    **dict.fromkeys(
        ("ConnectionError", "HTTPClientError"),
        "$store cannot be reached ($reason): check s3.endpoint_url and the network; a store that wants the bucket in "
        "the path, such as MinIO, needs `s3: {path_style: true}`",
    ),
    "ParamValidationError": "boto3 does not ask for it ($reason): check the names of bucket and prefix",
}
"""What the exceptions of botocore mean, by class; a class stands for those derived from it."""


class S3Error(ForgeError, RuntimeError):
    """S3 did not do what it was asked; the message says what to mend."""


@dataclass(frozen=True, order=True, slots=True)
class S3Uri:
    """`s3://bucket/key`; the key may be empty and never begins or ends with `/`."""

    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an URI.

        Raises:
            ValueError: if the text is no `s3://bucket` or `s3://bucket/key`.
        """
        bucket, _, key = text.removeprefix(SCHEME).partition("/")
        if not text.startswith(SCHEME) or not bucket:
            raise ValueError(f"{text!r} is no S3 URI: write s3://bucket or s3://bucket/prefix")
        return cls(bucket, key.strip("/"))

    def __truediv__(self, part: str) -> "S3Uri":
        return S3Uri(self.bucket, f"{self.key}/{part}".strip("/"))

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}".rstrip("/")


class S3Config(BaseModel):
    """How an S3-compatible store is reached; credentials come from the environment, files or roles, as boto3 has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint_url: str | None = Field(default=None, description="Of the store; default, that of AWS.")
    region: str | None = Field(default=None, description="Default, as the environment says.")
    unsigned: bool = Field(default=False, description="Ask without credentials, as public buckets allow.")
    path_style: bool = Field(default=False, description="Bucket in the path, not in the host name; MinIO wants it.")
    max_attempts: int = Field(default=8, ge=1, description="Tries of each request, with growing waits between.")


def _located(value: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
    if isinstance(value, str):
        return S3Uri.parse(value) if value.startswith(SCHEME) else Path(value)
    return value


Location = Annotated[Path | S3Uri, BeforeValidator(_located), PlainSerializer(str, return_type=str)]
"""A path on disk or an S3 URI, as written in the configuration."""


# --- asking


def client(config: S3Config) -> "S3Client":
    """A boto3 client; threads may share it.

    Failed and throttled requests are tried again with growing waits, `max_attempts` times in all. Stores other
    than AWS get no checksum trailers, which some of them refuse.

    Raises:
        S3Error: if the endpoint is no address, or the profile that the environment names is not there.
    """
    import botocore
    from boto3 import Session
    from botocore.config import Config

    endpoint = _endpoint(config)
    checksums = "when_required" if endpoint else "when_supported"
    settings = Config(
        region_name=config.region,
        signature_version=botocore.UNSIGNED if config.unsigned else None,
        s3={"addressing_style": "path" if config.path_style else "virtual"},
        retries={"mode": "standard", "total_max_attempts": config.max_attempts},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=REQUESTS_AT_ONCE,
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
    )
    with asking(config, endpoint or "S3"):
        return Session().client("s3", endpoint_url=endpoint, config=settings)


def read_object(s3: "S3Client", config: S3Config, uri: S3Uri) -> bytes:
    """The bytes of one object, asked for again where the connection broke midway.

    Raises:
        FileNotFoundError: if the bucket has no such key.
        S3Error: if the store cannot be read.
    """
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    with asking(config, uri):
        for _ in range(config.max_attempts - 1):
            response = s3.get_object(Bucket=uri.bucket, Key=uri.key)
            try:
                return response["Body"].read()
            except (HTTPClientError, IncompleteReadError):
                continue
        return s3.get_object(Bucket=uri.bucket, Key=uri.key)["Body"].read()


@contextmanager
def asking(config: S3Config, place: S3Uri | str) -> Generator[None]:
    """Turn what boto3 raises inside into an error that says what to mend, and that holds no secret.

    Args:
        config: How the store is reached.
        place: What is asked for, to be named in the message.

    Raises:
        FileNotFoundError: if the bucket has no such key.
        S3Error: for all else.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise explained(error, config, place) from None  # what boto3 quotes may hold a token or a password


def explained(error: Exception, config: S3Config, place: S3Uri | str) -> S3Error | FileNotFoundError:
    """What an error of boto3 means and what to do about it; keys, tokens and the server's own words stay out of it."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        reason = error.response.get("Error", {}).get("Code", "an unknown error")
        if reason in _NOT_FOUND:
            return FileNotFoundError(f"{place} is not there")
        advice = _REFUSALS.get(reason, "$store refused with $reason")
    else:
        reason = type(error).__name__
        known = (_FAILURES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _FAILURES)
        advice = next(known, "S3 failed with $reason")
    said = Template(advice).substitute(reason=reason, store=_shown(config), tries=config.max_attempts)
    return S3Error(f"{place}: {said}")


def require_readable(s3: "S3Client", config: S3Config, uri: S3Uri) -> None:
    """Ask for the first byte of an object: where another library could not read it, this says why.

    Raises:
        FileNotFoundError: if the bucket has no such key.
        S3Error: if the object cannot be read.
    """
    from botocore.exceptions import ClientError

    with asking(config, uri):
        try:
            s3.get_object(Bucket=uri.bucket, Key=uri.key, Range="bytes=0-0")["Body"].read()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != _EMPTY:
                raise


def _endpoint(config: S3Config) -> str | None:
    """The store's address, None for AWS's own.

    Raises:
        S3Error: if it is none.
    """
    given = (config.endpoint_url, *(os.environ.get(name) for name in _ENDPOINT_VARIABLES))
    endpoint = next((url for url in given if url), None)
    if endpoint is not None and (urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).hostname):
        raise S3Error("the S3 endpoint is no address: write http://host:port or https://host in s3.endpoint_url")
    return endpoint


def _shown(config: S3Config) -> str:
    """The store's address without what may stand before an `@` in it."""
    endpoint = _endpoint(config)
    return urlsplit(endpoint).netloc.rpartition("@")[2] if endpoint else "S3"


# --- the same store for libraries with clients of their own


def storage_options(config: S3Config, bucket: str) -> dict[str, Any]:
    """What Polars needs to read this bucket, with the credentials of this moment.

    Raises:
        S3Error: if there are no credentials.
    """
    options: dict[str, Any] = {
        "max_retries": config.max_attempts - 1,
        "aws_virtual_hosted_style_request": str(not config.path_style).lower(),
    }
    if region := _region(config):
        options["aws_region"] = region
    if endpoint := _endpoint(config):
        host = urlsplit(endpoint)
        asked = host if config.path_style else host._replace(netloc=f"{bucket}.{host.netloc}")
        options |= {"aws_endpoint_url": asked.geturl(), "aws_allow_http": str(host.scheme == "http").lower()}
    credentials = _credentials(config)
    if credentials is None:
        return options | {"aws_skip_signature": "true"}
    options |= {"aws_access_key_id": credentials.access_key, "aws_secret_access_key": credentials.secret_key}
    return options | ({"aws_session_token": credentials.token} if credentials.token else {})


def arrow_filesystem(config: S3Config) -> Any:  # noqa: ANN401 - PyArrow has no types
    """The store as a `pyarrow.fs.S3FileSystem`, with the credentials of this moment; its paths are `bucket/key`.

    Raises:
        S3Error: if there are no credentials.
    """
    return _arrow_filesystem(config, _credentials(config))


class RenewedFilesystem:
    """An Arrow filesystem as `arrow_filesystem` makes it, made anew whenever the credentials have been renewed.

    Those of roles and of `credential_process` last an hour or so, and Arrow does not renew what it was given. Threads
    may share it.
    """

    def __init__(self, config: S3Config) -> None:
        self._config = config
        self._lock = Lock()
        self._session: Session | None = None
        self._credentials: ReadOnlyCredentials | None = None
        self._filesystem: Any = None

    def __call__(self) -> Any:  # noqa: ANN401 - PyArrow has no types
        """The filesystem for what is opened now.

        Raises:
            S3Error: if there are no credentials.
        """
        from boto3 import Session

        with self._lock:
            self._session = self._session or Session()
            found = _credentials(self._config, self._session)
            if self._filesystem is None or found != self._credentials:
                self._credentials, self._filesystem = found, _arrow_filesystem(self._config, found)
            return self._filesystem


def _arrow_filesystem(config: S3Config, credentials: "ReadOnlyCredentials | None") -> Any:  # noqa: ANN401 - as above
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    host = urlsplit(_endpoint(config) or "https://")
    return S3FileSystem(
        access_key=credentials.access_key if credentials else None,
        secret_key=credentials.secret_key if credentials else None,
        session_token=credentials.token if credentials else None,
        anonymous=credentials is None,
        region=_region(config),
        scheme=host.scheme,
        endpoint_override=host.netloc or None,
        force_virtual_addressing=not config.path_style,
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=READ_TIMEOUT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=config.max_attempts),
    )


def _credentials(config: S3Config, session: "Session | None" = None) -> "ReadOnlyCredentials | None":
    """Those of this moment; None where requests are not to be signed."""
    from boto3 import Session

    if config.unsigned:
        return None
    with asking(config, _shown(config)):
        found = (session or Session()).get_credentials()
        if found is None:
            raise S3Error(f"{_shown(config)}: {_NO_CREDENTIALS}")
        return found.get_frozen_credentials()


def _region(config: S3Config) -> str | None:
    from boto3 import Session

    if config.region:
        return config.region
    with asking(config, _shown(config)):
        return Session().region_name
