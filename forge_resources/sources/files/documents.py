"""Small files beside the photos, such as labels, on disk or on S3."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from forge_resources.s3 import Location, S3Config, S3Uri, asking, client, read_object
from forge_resources.sources.files.folder import FolderFiles
from forge_resources.sources.files.s3_prefix import S3Files

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Documents:
    """Reads small files wherever they lie. Threads may share it.

    Args:
        s3: How S3 is reached.
        source: Name of the source, for messages.
        places: Where documents will be asked for; with none on S3, S3 is not asked for anything.
    """

    def __init__(self, s3: S3Config, *, source: str, places: tuple[Location | None, ...]) -> None:
        self._s3 = s3
        self._source = source
        on_s3 = any(isinstance(place, S3Uri) for place in places)
        self._client: S3Client | None = client(s3) if on_s3 else None

    def read(self, place: Location) -> bytes:
        """The bytes of one file.

        Raises:
            OSError: if it is not there or cannot be read.
            S3Error: if S3 does not do what it is asked.
        """
        if isinstance(place, Path):
            return place.read_bytes()
        return read_object(self._asked(), self._s3, place)

    def version(self, place: Location) -> str | None:
        """What changes with the file: size and modification time, or ETag; None if it is not there.

        Raises:
            S3Error: if S3 does not do what it is asked.
        """
        try:
            if isinstance(place, Path):
                status = place.stat()
                return f"{status.st_size}-{status.st_mtime_ns}"
            with asking(self._s3, place):
                return self._asked().head_object(Bucket=place.bucket, Key=place.key)["ETag"].strip('"')
        except (FileNotFoundError, NotADirectoryError):
            return None

    def listed(self, base: Location, suffix: str) -> Mapping[Location, str]:
        """Versions of all files below `base` with a suffix; none if there is no such folder.

        Raises:
            SourceError: if they cannot be listed in full.
        """
        if isinstance(base, Path):
            files = FolderFiles(base, source=self._source).list_entries((suffix,)) if base.is_dir() else ()
        else:
            files = S3Files(base, self._s3, source=self._source).list_entries((suffix,))
        return {base / file.path: file.version for file in files}

    def _asked(self) -> "S3Client":
        assert self._client is not None, "a place on S3 that was not announced"
        return self._client
