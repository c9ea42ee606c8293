"""A folder or S3 prefix of photos, plain or in archives, with labels as YOLO keeps them or with none."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forge_resources.config import ImageFolderConfig
from forge_resources.s3 import S3Config
from forge_resources.sources.base import (
    NO_LABELS,
    LabelReader,
    Member,
    PhotoFile,
    PhotoLabels,
    ShardReader,
    SourcePhoto,
)
from forge_resources.sources.files import PatchFiles, open_files
from forge_resources.sources.yolo_labels import YoloLabels


class ImageFolder:
    """All photos of one folder or S3 prefix, at all depths, and of the archives in it; satisfies `PhotoSource`.

    Photos are told by their suffix, whatever its case. Hidden files and folders are left out. What can be
    listed but must not be read, such as a link out of the folder, is refused with a row of its own.

    Args:
        name: As configured; used in messages.
        config: Its section of `forge.yaml`.
        s3: How S3 is reached, unless the section says otherwise.
        cache: Local folder for the indexes of archives.
    """

    def __init__(self, name: str, config: ImageFolderConfig, s3: S3Config, cache: Path) -> None:
        self.name = name
        self.threads = config.threads
        self._config = config
        self._s3 = config.s3 or s3
        self._cache = cache
        self._place = config.path.resolve() if isinstance(config.path, Path) else config.path

    def list_photos(self) -> list[Member]:
        """All photos that are there now, sorted by path; their versions are those of photo and labels.

        Raises:
            SourceError: if the folder, or one in it, is absent or cannot be read, or an archive is damaged.
            S3Error: if S3 does not do what it is asked.
        """
        with self._open_files() as files:
            found = sorted(files.list_files())
        versions = self._label_versions(found)
        return [
            Member(file.path, file.byte_size, f"{file.version}/{version}" if version else file.version)
            for file, version in zip(found, versions, strict=True)
        ]

    @contextmanager
    def open_shard(self, members: Sequence[Member]) -> Generator[ShardReader]:
        """The reader of these photos and of their labels.

        Raises:
            SourceError: if the labels are absent, unreadable, or belong to other photos than those of this folder.
            S3Error: if S3 does not do what it is asked.
        """
        read_labels = self._label_reader(members)
        with self._open_files() as files:
            yield _FolderShard(files, read_labels, self._config.max_bytes)

    def written(self, members: Sequence[Member]) -> None:
        """Nothing is kept for a shard."""

    def counts(self) -> Mapping[str, int]:
        """No figures."""
        return {}

    def _open_files(self) -> PatchFiles:
        return open_files(self._place, self._s3, self._cache, source=self.name)

    def _label_versions(self, files: Sequence[PhotoFile]) -> list[str]:
        return self._yolo().versions(files) if self._config.labels == "yolo" else [""] * len(files)

    def _label_reader(self, members: Sequence[Member]) -> LabelReader:
        return self._yolo().reader(members, self.list_photos) if self._config.labels == "yolo" else _unlabeled

    def _yolo(self) -> YoloLabels:
        return YoloLabels(
            self.name,
            photos=self._place,
            labels=self._config.labels_path,
            class_names=self._config.class_names,
            s3=self._s3,
        )


@dataclass(frozen=True, slots=True)
class _FolderShard:
    """The reader of one shard; satisfies `ShardReader`."""

    files: PatchFiles
    read_labels: LabelReader
    max_bytes: int

    def read(self, member: Member) -> SourcePhoto:
        """One photo, as `ShardReader` has it."""
        return SourcePhoto(self.files.read(member.path, max_bytes=self.max_bytes))

    def labels(self, member: Member, width: int, height: int) -> PhotoLabels:
        """The human labels of a photo, as `ShardReader` has it."""
        return self.read_labels(member, width, height)


def _unlabeled(_member: Member, _width: int, _height: int) -> PhotoLabels:
    return NO_LABELS
