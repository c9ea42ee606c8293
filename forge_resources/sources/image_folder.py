"""A folder of photos on disk, with labels as COCO or YOLO keep them."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from forge_resources.config import SourceConfig
from forge_resources.images import UnusablePhoto
from forge_resources.sources.base import NO_LABELS, LabelReader, Member, PhotoLabels, SourceError
from forge_resources.sources.coco_labels import coco_reader
from forge_resources.sources.yolo_labels import yolo_reader

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})

_log = logging.getLogger(__name__)


class ImageFolder:
    """All photos under one folder, at all depths; satisfies `PhotoSource`.

    Photos are told by their suffix, whatever its case. Hidden files and folders are left out. Links to
    folders are not followed, and a link to a file outside the folder is listed but not read: it is
    refused with a row of its own.
    """

    def __init__(self, name: str, config: SourceConfig) -> None:
        self.name = name
        self._config = config
        self._root = config.path.resolve()

    def list_photos(self) -> list[Member]:
        """All photos that are there now, sorted by path.

        Raises:
            SourceError: if the folder, or one in it, is absent or cannot be read.
        """
        return sorted(self._walk())

    def _walk(self) -> Iterator[Member]:
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(self._root / folder) as entries:
                    for entry in entries:
                        path = folder + entry.name
                        if entry.name.startswith("."):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(f"{path}/")
                        elif entry.is_symlink() and Path(entry.path).is_dir():
                            _log.warning(
                                "source %s: %s is a link to a folder and is not followed: "
                                "configure what it points to as a source of its own",
                                self.name,
                                path,
                            )
                        elif Path(entry.name).suffix.lower() in SUFFIXES and self._can_be_listed(entry, path):
                            yield Member(path, _byte_size(entry))
            except OSError as error:
                raise SourceError(
                    f"source {self.name}: cannot list {self._root / folder} ({error.strerror}): "
                    "correct `path` in its configuration, or make the folder readable"
                ) from error

    def _can_be_listed(self, entry: os.DirEntry[str], path: str) -> bool:
        if not entry.is_symlink() and not entry.is_file():
            _log.warning("source %s: %s is not a regular file and is left out", self.name, path)
            return False
        try:
            path.encode()
        except UnicodeEncodeError:
            _log.warning("source %s: the name of %r is not UTF-8 and is left out: rename it", self.name, path)
            return False
        return True

    def read(self, member: Member) -> bytes:
        """The bytes of one photo.

        Raises:
            OSError: if the file is not there or cannot be read.
            UnusablePhoto: by rule `outside_folder` if the path or a link leads out of the folder,
                `unreadable_file` if it is no regular file.
        """
        path = Path(os.path.realpath(self._root / member.path, strict=True))
        if not path.is_relative_to(self._root):
            raise UnusablePhoto("outside_folder", f"leads to {path}, outside {self._root}")
        if not path.is_file():
            raise UnusablePhoto("unreadable_file", "not a regular file")
        return path.read_bytes()

    def labels(self, members: Sequence[Member]) -> LabelReader:
        """The reader of these photos' human labels, as `labels` of the configuration says where they are.

        Raises:
            SourceError: if the labels are absent, unreadable, or belong to other photos than those of this folder.
        """
        match self._config.labels:
            case "none":
                return _unlabeled
            case "coco":
                return coco_reader(self.name, self._config.labels_path, members, self.list_photos)
            case "yolo":
                return yolo_reader(
                    self.name,
                    photos_root=self._root,
                    labels_root=self._config.labels_path,
                    class_names=self._config.class_names,
                    members=members,
                    list_photos=self.list_photos,
                )


def _unlabeled(_member: Member, _width: int, _height: int) -> PhotoLabels:
    return NO_LABELS


def _byte_size(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink() and not Path(entry.path).exists():
        return 0  # a dangling link: reading it tells
    return entry.stat().st_size
