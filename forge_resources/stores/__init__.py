"""Where the lake keeps its files: one module a kind of store, behind the protocol `Store`."""

from pathlib import Path

from forge_resources.s3 import S3Config, S3Uri
from forge_resources.stores.base import Store
from forge_resources.stores.local import LocalStore

__all__ = ["Store", "open_store"]


def open_store(root: Path | S3Uri, s3: S3Config | None = None) -> Store:
    """The store at `root`; nothing is read or made before it is asked for.

    Args:
        root: A folder, or an S3 prefix.
        s3: How S3 is reached; default, as boto3 does. A folder needs none.
    """
    if isinstance(root, Path):
        return LocalStore(root)
    from forge_resources.stores.s3 import S3Store

    return S3Store(root, s3 or S3Config())
