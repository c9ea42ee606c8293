"""OpenImages V7 as published: photos of one subset in a folder, under an S3 prefix or in the public bucket."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache as cached
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl

from forge_resources.config import OpenImagesConfig
from forge_resources.s3 import S3Config, S3Uri
from forge_resources.sources.base import Member, PhotoSource
from forge_resources.sources.files import S3Files, open_files
from forge_resources.sources.index import LabelIndex, open_index
from forge_resources.sources.indexed import IndexedFiles, IndexedShard
from forge_resources.sources.inputs import InputFile, input_file
from forge_resources.sources.openimages_tables import READER, OpenImagesTables

PUBLIC_BUCKET: Final = "open-images-dataset"
"""Its 1.7 million keys are not listed: the tables say which photos it has."""

_SUFFIX: Final = ".jpg"


def openimages(name: str, config: OpenImagesConfig, s3: S3Config, cache: Path) -> PhotoSource:
    """The source of that configuration; nothing is read before it is asked for.

    Args:
        name: As configured; used in messages.
        config: Its section of `forge.yaml`.
        s3: How S3 is reached.
        cache: Folder of indexes and fetched tables.
    """

    @cached
    def index() -> LabelIndex:
        return _index(name, config, s3, cache)

    if isinstance(config.path, S3Uri) and config.path.bucket == PUBLIC_BUCKET:
        return PublicPhotos(S3Files(config.path, s3, source=name), index, config.threads)

    @cached
    def labeled() -> frozenset[str]:
        return frozenset(_labeled(index())["key"])

    def path_of(key: str, folders: frozenset[str]) -> str | None:
        folder = min(folders, default="")
        return str(PurePosixPath(folder, key + _SUFFIX)) if key in labeled() else None

    return IndexedFiles(
        name,
        files=open_files(config.path, s3, cache, source=name),
        index=index,
        key_of=image_id,
        path_of=path_of,
        missing=config.missing_photos,
        threads=config.threads,
    )


class PublicPhotos:
    """Photos of the public bucket: those that the tables have boxes of; satisfies `PhotoSource`.

    Args:
        files: The subset's prefix of the bucket.
        index: Opens the index.
        threads: How many photos are best read at once.
    """

    def __init__(self, files: S3Files, index: Callable[[], LabelIndex], threads: int) -> None:
        self.threads = threads
        self._files = files
        self._index = index

    def list_photos(self) -> list[Member]:
        """All photos with boxes, sorted by path; whether the bucket has them tells when they are read.

        Raises:
            SourceError: if the tables cannot be used.
        """
        return [Member(key + _SUFFIX, 0, version) for key, version in _labeled(self._index()).iter_rows()]

    @contextmanager
    def open_shard(self, members: Sequence[Member]) -> Generator[IndexedShard]:
        """The reader of these photos and of their labels.

        Raises:
            SourceError: if the tables cannot be used.
        """
        yield IndexedShard(self._files, self._index().shard([image_id(member.path) for member in members]), image_id)

    def written(self, members: Sequence[Member]) -> None:
        """Nothing is kept for a shard."""

    def counts(self) -> Mapping[str, int]:
        """No figures."""
        return {}


def image_id(path: str) -> str:
    """The ImageID of a photo, which is its file's name without the suffix."""
    return PurePosixPath(path).stem


def _labeled(index: LabelIndex) -> pl.DataFrame:
    return index.photos().filter("is_labeled").select("key", "version").collect()


def _index(name: str, config: OpenImagesConfig, s3: S3Config, cache: Path) -> LabelIndex:
    def fetched(location: Path | S3Uri) -> InputFile:
        return input_file(name, location, s3, cache / "inputs")

    folder = cache / "indexes" / name
    tables = OpenImagesTables(
        source=name,
        boxes=fetched(config.boxes),
        images=fetched(config.images),
        class_descriptions=fetched(config.class_descriptions),
        relationships=fetched(config.relationships) if config.relationships else None,
        folder=folder,
    )
    return open_index(folder, READER, tables.fingerprints(), tables.build)
