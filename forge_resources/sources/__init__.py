"""Where photos come from: one module a kind of source, behind the protocol `PhotoSource`."""

from pathlib import Path
from typing import Final

from forge_resources.config import (
    AnySourceConfig,
    ForgeConfig,
    ImageFolderConfig,
    Objects365Config,
    OpenImagesConfig,
    PixMoConfig,
)
from forge_resources.s3 import S3Config
from forge_resources.sources.base import (
    Count,
    Label,
    LabelProblem,
    Member,
    PhotoLabels,
    PhotoSource,
    Point,
    Relationship,
    ShardReader,
    SourceError,
    SourcePhoto,
)

__all__ = [
    "Count",
    "Label",
    "LabelProblem",
    "Member",
    "PhotoLabels",
    "PhotoSource",
    "Point",
    "Relationship",
    "ShardReader",
    "SourceError",
    "SourcePhoto",
    "open_source",
]

DEFAULT_S3: Final = S3Config()
DEFAULT_CACHE: Final = ForgeConfig().cache


def open_source(
    name: str, settings: AnySourceConfig, s3: S3Config = DEFAULT_S3, cache: Path = DEFAULT_CACHE
) -> PhotoSource:
    """The source of that configuration; nothing is read before it is asked for.

    Args:
        name: As configured; used in messages.
        settings: Its section of `forge.yaml`.
        s3: How S3 is reached unless the source says otherwise.
        cache: Folder of indexes and downloads.
    """
    s3 = settings.s3 or s3
    match settings:
        case ImageFolderConfig(labels="coco"):
            from forge_resources.sources.coco_folder import coco_folder
            from forge_resources.sources.files import open_files

            return coco_folder(name, settings, open_files(settings.path, s3, cache, source=name), s3, cache)
        case ImageFolderConfig():
            from forge_resources.sources.image_folder import ImageFolder

            return ImageFolder(name, settings, s3, cache)
        case Objects365Config():
            from forge_resources.sources.objects365 import objects365

            return objects365(name, settings, s3, cache)
        case OpenImagesConfig():
            from forge_resources.sources.openimages import openimages

            return openimages(name, settings, s3, cache)
        case PixMoConfig():
            from forge_resources.sources.pixmo import pixmo

            return pixmo(name, settings, s3, cache)
