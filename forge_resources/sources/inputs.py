"""The files of labels that a source publishes, on disk or on S3, as local files with fingerprints."""

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path

from forge_resources.s3 import S3Config, S3Uri, asking, client
from forge_resources.sources.base import SourceError


@dataclass(frozen=True, slots=True)
class InputFile:
    """One published file, readable on this machine."""

    name: str
    """As people know it, for messages."""
    path: Path
    fingerprint: str
    """Changes with the file: size and modification time, or ETag."""


def input_file(source: str, location: Path | S3Uri, s3: S3Config, cache: Path) -> InputFile:
    """A file as it lies on disk, or fetched from S3 into the cache unless that very version is there.

    Args:
        source: Name of the source, for messages.
        location: Of the file.
        s3: How S3 is reached.
        cache: Folder of fetched files.

    Raises:
        SourceError: if there is no such file, or it cannot be read.
        S3Error: if S3 cannot be asked.
    """
    if isinstance(location, S3Uri):
        return _fetched(source, location, s3, cache)
    try:
        stat = location.stat()
        with location.open("rb"):
            pass
    except OSError as error:
        raise SourceError(
            f"source {source}: cannot read {location} ({error.strerror}): correct its path in the configuration"
        ) from error
    return InputFile(location.name, location, f"{stat.st_size}-{stat.st_mtime_ns}")


def _fetched(source: str, uri: S3Uri, s3: S3Config, cache: Path) -> InputFile:
    asked = client(s3)
    try:
        with asking(s3, uri):
            etag = asked.head_object(Bucket=uri.bucket, Key=uri.key)["ETag"]
    except FileNotFoundError as error:
        raise SourceError(f"source {source}: there is no {uri}: correct it in the configuration") from error
    name = uri.key.rsplit("/", 1)[-1]
    path = cache / hashlib.blake2b(f"{uri} {etag}".encode(), digest_size=12).hexdigest() / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{uuid.uuid4().hex}")
        try:
            with asking(s3, uri):
                asked.download_file(uri.bucket, uri.key, str(staged))
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)
    return InputFile(name, path, etag)
