"""What downloads remember between runs: photos, and addresses that have none."""

import hashlib
import json
import logging
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from forge_resources.config import DownloadConfig
from forge_resources.images import UnusablePhoto
from forge_resources.sources.base import SourceError

_PHOTO: Final = ".bin"
_PHOTO_OF_ANY_ADDRESS: Final = ".private.bin"
_DEAD: Final = ".dead.json"

_log = logging.getLogger(__name__)


class _DeadAddress(BaseModel):
    model_config = ConfigDict(frozen=True)

    url: str
    rule: str
    detail: str
    sha256: str | None
    """That was wanted."""
    settings: str
    """Digest of the settings that the verdict rests on."""


class DownloadCache:
    """A folder with one file an address, `<first two digits>/<SHA-256 of the address>` and a suffix.

    `.bin` holds a photo's bytes, `.private.bin` those of a photo that was fetched while private addresses were
    allowed, `.dead.json` why there is none. Files appear whole or not at all. Threads and processes may share it.
    """

    def __init__(self, root: Path, config: DownloadConfig, *, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._photo_suffix = _PHOTO_OF_ANY_ADDRESS if config.allow_private_addresses else _PHOTO
        relevant = [config.allow_private_addresses, config.max_redirects, config.user_agent, max_bytes]
        self._settings = hashlib.sha256(json.dumps(relevant).encode()).hexdigest()[:12]

    def photo(self, url: str, sha256: str | None) -> bytes | None:
        """The bytes kept for an address; none if they break today's settings or differ from `sha256`."""
        data = self._read(self._path(url, self._photo_suffix))
        if not data or len(data) > self._max_bytes:
            return None
        return data if sha256 is None or is_sha256(data, sha256) else None

    def keep_photo(self, url: str, data: bytes) -> None:
        """Keep a photo's bytes, in place of what was known of its address.

        Raises:
            SourceError: if the folder cannot be written.
        """
        self._write(self._path(url, self._photo_suffix), data)
        self._remove(self._path(url, _DEAD))

    def dead(self, url: str, sha256: str | None) -> UnusablePhoto | None:
        """Why an address has no photo; none where that is not known under these settings, or not of `sha256`."""
        record = self._record(self._path(url, _DEAD))
        if record is None or (record.rule == "wrong_sha256" and record.sha256 != sha256):
            return None
        return UnusablePhoto(record.rule, record.detail)

    def keep_dead(self, url: str, problem: UnusablePhoto, sha256: str | None) -> None:
        """Remember why an address has no photo.

        Raises:
            SourceError: if the folder cannot be written.
        """
        record = _DeadAddress(url=url, rule=problem.rule, detail=problem.detail, sha256=sha256, settings=self._settings)
        self._write(self._path(url, _DEAD), record.model_dump_json().encode())

    def forget(self, urls: Iterable[str]) -> None:
        """Drop the photos of these addresses; what is known of dead ones stays."""
        for url in urls:
            for suffix in (_PHOTO, _PHOTO_OF_ANY_ADDRESS):
                self._remove(self._path(url, suffix))

    def forget_dead(self, rules: Collection[str] | None = None) -> int:
        """Drop what is known of dead addresses, whatever the settings it was found under.

        Args:
            rules: Only those that broke one of these; default, all.

        Returns:
            How many there were.
        """
        dropped = 0
        for path in self._dead_paths():
            record = self._parsed(path)
            if rules is None or record is None or record.rule in rules:
                self._remove(path)
                dropped += 1
        return dropped

    def remembered(self) -> dict[str, int]:
        """Dead addresses that will not be asked again under these settings, counted by rule, sorted by it."""
        records = (self._record(path) for path in self._dead_paths())
        return dict(sorted(Counter(record.rule for record in records if record is not None).items()))

    def _dead_paths(self) -> Iterator[Path]:
        return self._root.glob(f"[0-9a-f][0-9a-f]/*{_DEAD}")

    def _path(self, url: str, suffix: str) -> Path:
        key = hashlib.sha256(url.encode()).hexdigest()
        return self._root / key[:2] / f"{key}{suffix}"

    def _record(self, path: Path) -> _DeadAddress | None:
        record = self._parsed(path)
        return record if record is not None and record.settings == self._settings else None

    def _parsed(self, path: Path) -> _DeadAddress | None:
        text = self._read(path)
        if text is None:
            return None
        try:
            return _DeadAddress.model_validate_json(text)
        except ValidationError:
            _log.warning("%s cannot be read and is taken for absent: its address will be asked again", path)
            return None

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(path, error) from error

    def _write(self, path: Path, data: bytes) -> None:
        staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                staged.write_bytes(data)
                staged.replace(path)
            finally:
                staged.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(path, error) from error

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(path, error) from error


def is_sha256(data: bytes, sha256: str) -> bool:
    """Whether these bytes have that SHA-256, in hexadecimal digits of either case."""
    return hashlib.sha256(data).hexdigest() == sha256.lower()


def _unusable(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"downloads cannot be kept: {path} ({error.strerror}): make the folder `cache` writable, or free space on it"
    )
