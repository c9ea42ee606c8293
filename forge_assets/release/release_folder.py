"""A release as it lies on disk or on S3: its manifest, and DuckDB over its tables.

<lake>/releases/<name>/data/<task>/<split>-00000-of-00002.parquet   pairs
                       images.parquet                               the photos that they are about
                       README.md, croissant.json                    what people and tools read of it
                       manifest.json                                what it holds and what made it
"""

import hashlib
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field, ValidationError

from forge_resources.errors import ForgeError
from forge_resources.lake import Lake
from forge_resources.s3 import S3Uri

if TYPE_CHECKING:
    import duckdb
    from fsspec import AbstractFileSystem

RELEASES: Final = "releases"
MANIFEST: Final = "manifest.json"
CARD: Final = "README.md"
CROISSANT: Final = "croissant.json"
IMAGES: Final = "images.parquet"
DATA: Final = "data"
MEMORY_LIMIT: Final = "2GB"
"""Of DuckDB over releases; what outgrows it goes to temporary files."""


class ReleaseError(ForgeError, ValueError):
    """A release that cannot be made or read; none of its name is left behind."""


class ReleaseFile(BaseModel, frozen=True):
    """One file of a release."""

    path: str
    """Below the release's folder, parts joined by `/`."""
    sha256: str
    bytes: int
    rows: int | None = None
    """None where the file is no table."""


class PairCount(BaseModel, frozen=True):
    """How many pairs there are of one task, source and split."""

    task: str
    source: str
    split: str
    pairs: int


class SelectionCut(BaseModel, frozen=True):
    """One step of the selection."""

    name: str
    dropped: int
    left: int


class LeftOut(BaseModel, frozen=True):
    """A partition whose pairs could not be released."""

    partition: str
    reason: str


class ReleaseManifest(BaseModel, frozen=True):
    """What a release holds and what made it."""

    name: str
    content_hash: str
    """Of all pairs: BLAKE2b over the lines `<qa_id> <SHA-256 of the answer>`, sorted."""
    pairs: int
    photos: int
    selection: Mapping[str, Any]
    """What was asked for, as `Selection` has it."""
    cuts: Sequence[SelectionCut]
    """What each step of the selection dropped."""
    counts: Sequence[PairCount]
    licenses: Mapping[str, int]
    """Photos by licence."""
    models: Sequence[str]
    """Identities of the networks that the pairs rest on."""
    templates: Mapping[str, int]
    """Pairs by versioned template."""
    versions: Mapping[str, Sequence[str]]
    """Code, models and settings of the partitions: `<table>/<name>`, with all values that occur."""
    thresholds: Mapping[str, Any] | None
    """Of the rules; None where partitions were verified with others than the configuration has."""
    balance_plan: str | None
    """Content hash of the plan that was applied."""
    partitions: Mapping[str, str]
    """Content hash of each partition of verified_qa that pairs were taken from."""
    left_out: Sequence[LeftOut]
    files: Sequence[ReleaseFile] = Field(default=())

    @property
    def data_files(self) -> list[ReleaseFile]:
        """The files of pairs."""
        return [file for file in self.files if file.path.startswith(f"{DATA}/")]


@dataclass(frozen=True)
class Release:
    """A release and where it lies."""

    root: Path | S3Uri
    manifest: ReleaseManifest
    filesystem: "AbstractFileSystem | None" = None
    """How DuckDB reads its files; None where it can by itself."""


def release_path(lake: Lake, name: str) -> Path | S3Uri:
    """The folder of a release of that name, whether or not it exists."""
    return lake.root / RELEASES / name


def open_release(place: str, lake: Lake | None = None) -> Release:
    """Find a release by its folder, its manifest's path, or its name in the lake.

    Args:
        place: folder, path of `manifest.json`, or name.
        lake: where names are looked up; None: nowhere.

    Raises:
        ReleaseError: if there is no such release, or a file of it is missing or has another size.
        S3Error: if S3 does not do what it is asked.
    """
    path = Path(place).expanduser()
    folder = path.parent if path.name == MANIFEST else path
    if (folder / MANIFEST).is_file():
        release = Release(folder.absolute(), _parsed((folder / MANIFEST).read_bytes(), place))
        _require_files(release)
        return release
    text = lake.store.read(f"{RELEASES}/{place}/{MANIFEST}") if lake and "/" not in place else None
    if lake is None or text is None:
        raise ReleaseError(f"there is no release {place}: {_known(lake)}")
    release = Release(release_path(lake, place), _parsed(text, place), lake.store.filesystem())
    _require_files(release)
    return release


def release_names(lake: Lake) -> list[str]:
    """The releases that a lake holds, sorted."""
    return [path.split("/")[1] for path in lake.store.glob(f"{RELEASES}/*/{MANIFEST}")]


def damaged_files(lake: Lake, name: str) -> list[str]:
    """Files of a release in a lake, below its folder, that are gone or are not those that were released; sorted.

    Raises:
        ReleaseError: if its manifest cannot be read.
        S3Error: if S3 does not do what it is asked.
    """
    text = lake.store.read(f"{RELEASES}/{name}/{MANIFEST}")
    if text is None:
        raise ReleaseError(f"there is no release {name}: {_known(lake)}")

    def is_damaged(file: ReleaseFile) -> bool:
        data = lake.store.read(f"{RELEASES}/{name}/{file.path}")
        return data is None or hashlib.sha256(data).hexdigest() != file.sha256

    return sorted(file.path for file in _parsed(text, name).files if is_damaged(file))


@contextmanager
def database(memory_limit: str = MEMORY_LIMIT) -> Generator["duckdb.DuckDBPyConnection"]:
    """An empty DuckDB in memory, bounded; what outgrows it goes to a folder that is removed at the end.

    Raises:
        ReleaseError: if DuckDB cannot read or write what it needs; the message has its words.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="forge-release-") as spill:
        connection = duckdb.connect(config={"temp_directory": spill, "memory_limit": memory_limit})
        try:
            yield connection
        except duckdb.IOException as error:
            raise ReleaseError(f"{error}: make sure that the files are there and the disk has room") from error
        finally:
            connection.close()


def attach(connection: "duckdb.DuckDBPyConnection", release: Release, prefix: str = "") -> None:
    """Give DuckDB the views `<prefix>pairs` and `<prefix>images` of a release."""
    protocol = "s3"
    if release.filesystem is not None and not connection.filesystem_is_registered(protocol):
        connection.register_filesystem(release.filesystem)
    files = [str(release.root / file.path) for file in release.manifest.data_files]
    connection.execute(f"CREATE VIEW {prefix}pairs AS FROM read_parquet([{', '.join(map(literal, files))}])")
    images = literal(str(release.root / IMAGES))
    connection.execute(f"CREATE VIEW {prefix}images AS FROM read_parquet({images})")


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _parsed(text: bytes, place: str) -> ReleaseManifest:
    try:
        return ReleaseManifest.model_validate_json(text)
    except ValidationError as error:
        wrong = sorted({str(fault["loc"][0]) for fault in error.errors() if fault["loc"]})
        raise ReleaseError(
            f"{place} is no release: its manifest lacks {', '.join(wrong) or 'JSON'} or has it otherwise. "
            "Exports are not compared: they may hold several pairs a row; compare the releases of the same selections"
        ) from error


def _known(lake: Lake | None) -> str:
    if lake is None:
        return "name its folder, or a configuration whose lake holds it"
    return f"releases of the lake {lake.root}: {', '.join(release_names(lake)) or 'none'}"


def _require_files(release: Release) -> None:
    if not isinstance(release.root, Path):
        return
    for file in release.manifest.files:
        path = release.root / file.path
        if not path.is_file() or path.stat().st_size != file.bytes:
            raise ReleaseError(f"{path} is missing or has been changed since it was released: fetch the release again")
