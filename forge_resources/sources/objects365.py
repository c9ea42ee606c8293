"""Objects365 v2 as published: patches of photos, and one COCO-style JSON."""

import posixpath
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from forge_resources.config import Objects365Config
from forge_resources.s3 import S3Config
from forge_resources.sources.coco_json import CocoFile
from forge_resources.sources.files import open_files
from forge_resources.sources.index import LabelIndex, open_index
from forge_resources.sources.indexed import IndexedFiles
from forge_resources.sources.inputs import input_file

_READER: Final = "objects365 1"


def objects365(name: str, config: Objects365Config, s3: S3Config, cache: Path) -> IndexedFiles:
    """The photos of Objects365 with their human boxes; nothing is read before it is asked for.

    A photo is known by its patch and its file: `images/v2/patch45/objects365_v2_02060288.jpg` in the JSON is
    `patch45/objects365_v2_02060288.jpg` on disk, however deep the patch lies. Photos of patches that are not
    there yet are awaited; photos that a patch lacks are `missing_photos` of the configuration.

    Args:
        name: Of the source, for messages.
        config: Its section of `forge.yaml`.
        s3: How S3 is reached.
        cache: Folder of indexes and downloads.
    """

    def index() -> LabelIndex:
        file = input_file(name, config.annotations, s3, cache / "inputs")
        other = "xyxy" if config.boxes == "xywh" else "xywh"
        coco = CocoFile(name, file, patch_and_file, config.boxes, f"set `boxes: {other}` in its configuration")
        folder, reader = cache / "indexes" / name, f"{_READER} boxes={config.boxes}"
        return open_index(folder, reader, {file.name: file.fingerprint}, partial(coco.index, folder=folder))

    return IndexedFiles(
        name,
        files=open_files(config.path, s3, cache, source=name),
        index=index,
        key_of=patch_and_file,
        path_of=path_in_patch,
        missing=config.missing_photos,
        threads=config.threads,
    )


def patch_and_file(path: str) -> str:
    """The last two parts of a path, by which the JSON and the disk know a photo."""
    return "/".join(path.split("/")[-2:])


def path_in_patch(key: str, folders: frozenset[str]) -> str | None:
    """Where a photo should lie, given the folders that hold photos; None if its patch is not among them."""
    patch, file = posixpath.split(key)
    folder = _folders_by_patch(folders).get(patch)
    return None if folder is None else posixpath.join(folder, file)


@lru_cache(maxsize=1)
def _folders_by_patch(folders: frozenset[str]) -> dict[str, str]:
    return {posixpath.basename(folder): folder for folder in sorted(folders, reverse=True)}
