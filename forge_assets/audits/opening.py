"""The lake, or a set of pairs from elsewhere, opened for audits and questions by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from forge_assets.audits.runner import quotas_table
from forge_assets.tables import SCHEMAS
from forge_resources.config import ForgeConfig
from forge_resources.errors import ForgeError
from forge_resources.lake import Lake
from forge_resources.warehouse import SqlTables, Warehouse, empty_catalogue

VIEWS: Final[Mapping[str, str]] = {
    "objects": "FROM scenes",
    "depth": "FROM depth_maps",
    "image_licences": "SELECT image_id, source, shard, split, license FROM raw_images",
}
"""SQL of the views beside those of the stages' own tables, by name."""


class EmptyLakeError(ForgeError, LookupError):
    """The lake holds nothing that could be asked about."""


def open_lake(config: ForgeConfig, *, allow_external: bool = False) -> Warehouse:
    """The lake of a configuration, with its quotas, as views.

    Args:
        config: says where the lake is, and how its S3 is reached.
        allow_external: see `SqlTables`.

    Raises:
        EmptyLakeError: the lake is not there, or holds no table.
        QueryError: a table was written with older columns.
        S3Error: the lake cannot be reached.
    """
    warehouse = Warehouse(Lake(config.lake, config.s3), SCHEMAS, views=VIEWS, allow_external=allow_external)
    if warehouse.query("FROM partitions LIMIT 1").is_empty():
        warehouse.close()
        raise EmptyLakeError(f"the lake {config.lake} holds nothing yet: `forge run` makes its tables")
    warehouse.add_table("quotas", quotas_table(config.quotas))
    return warehouse


def open_pairs(pairs: pl.DataFrame | Path, unreadable: pl.DataFrame, quotas: Mapping[str, float]) -> SqlTables:
    """Pairs that were made elsewhere, as the view `verified_qa`; the other tables are there and empty.

    Args:
        pairs: rows, or a Parquet file of rows, with the columns of `verified_qa`.
        unreadable: rows that could not be read; they become the table `unreadable`.
        quotas: wanted share by task.

    Raises:
        QueryError: the pairs lack a column.
    """
    frames = {**empty_catalogue(), "quotas": quotas_table(quotas), "unreadable": unreadable}
    files: dict[str, list[str]] = {}
    if isinstance(pairs, Path):
        files["verified_qa"] = [str(pairs.absolute())]
    else:
        frames["verified_qa"] = pairs
    return SqlTables(SCHEMAS, files=files, frames=frames, views=VIEWS)
