"""The places in which a source's photo files lie: folders, S3 prefixes, and archives in either."""

from pathlib import Path

from forge_resources.s3 import Location, S3Config
from forge_resources.sources.files.folder import FolderFiles
from forge_resources.sources.files.patches import PatchFiles
from forge_resources.sources.files.s3_prefix import S3Files

__all__ = ["FolderFiles", "PatchFiles", "S3Files", "open_files"]


def open_files(location: Location, s3: S3Config, cache: Path, *, source: str) -> PatchFiles:
    """The photos of a folder or S3 prefix, and of the archives directly under it; read when asked for.

    Args:
        location: The folder or prefix.
        s3: How S3 is reached, if the photos lie there.
        cache: Local folder for the indexes of archives; made if it is not there.
        source: Name of the source, for messages.
    """
    plain = FolderFiles(location, source=source) if isinstance(location, Path) else S3Files(location, s3, source=source)
    return PatchFiles(plain, cache, source=source)
