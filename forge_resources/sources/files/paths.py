"""Names of photos and archives, and what may stand in them."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

PHOTO_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
ARCHIVE_SUFFIXES: Final = (".tar.gz", ".tgz", ".tar", ".zip")

_NO_NAMES: Final = {"": "%2F", ".": "%2E", "..": "%2E%2E"}
_DRIVE: Final = re.compile(r"^([A-Za-z]):")
_UNSAFE: Final = re.compile(r"[\\\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file is listed but not read."""

    rule: str
    """As `UnusablePhoto` has it."""
    detail: str


def is_photo(path: str) -> bool:
    """A photo by its suffix, whatever its case, and neither hidden nor in a hidden folder."""
    return path.lower().endswith(PHOTO_SUFFIXES) and not is_hidden(path)


def is_hidden(path: str) -> bool:
    """Any part of the path begins with a dot, other than `.` and `..`."""
    return any(part.startswith(".") and part not in _NO_NAMES for part in path.replace("\\", "/").split("/"))


def archive_name(path: str) -> str | None:
    """The name of an archive without its suffix; None if the file is none."""
    name = PurePosixPath(path).name
    suffix = next((suffix for suffix in ARCHIVE_SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: -len(suffix)] or None if suffix else None


def safe_path(name: str) -> tuple[str, Refusal | None]:
    """A name that came from outside, as a path that is safe to keep and to show.

    Parts that are empty, `.` or `..`, drive letters, backslashes, control characters and bytes that are no
    UTF-8 become `%` and hexadecimal digits. Two unsafe names may become the same path.

    Args:
        name: Parts joined by `/`.

    Returns:
        The path, and why a file of that name is to be refused: by `outside_folder` if the name is absolute or
        climbs, by `unreadable_file` if it is unsafe otherwise. None if the name is safe as it is.
    """
    path = _UNSAFE.sub(_escaped, "/".join(_NO_NAMES.get(part, part) for part in name.split("/")))
    path = _DRIVE.sub(r"\1%3A", path)
    if path == name:
        return path, None
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or _DRIVE.match(name):
        return path, Refusal("outside_folder", f"its name leads out: {name!r}")
    return path, Refusal("unreadable_file", f"its name cannot be that of a file everywhere: {name!r}")


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))
