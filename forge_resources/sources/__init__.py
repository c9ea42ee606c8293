"""Where photos come from: one module a kind of source, behind the protocol `PhotoSource`."""

from forge_resources.config import SourceConfig
from forge_resources.sources.base import (
    Label,
    LabelProblem,
    LabelReader,
    Member,
    PhotoLabels,
    PhotoSource,
    SourceError,
)
from forge_resources.sources.image_folder import ImageFolder

__all__ = [
    "Label",
    "LabelProblem",
    "LabelReader",
    "Member",
    "PhotoLabels",
    "PhotoSource",
    "SourceError",
    "open_source",
]


def open_source(name: str, config: SourceConfig) -> PhotoSource:
    """The source of that configuration; nothing is read before it is asked for.

    Args:
        name: As configured; used in messages.
        config: Its section of `forge.yaml`.
    """
    return ImageFolder(name, config)
