"""Tables as files: each there whole or not at all."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from forge_assets.audits.text import all_as_text, as_text
from forge_resources.errors import ForgeError


class OutputError(ForgeError, OSError):
    """A file cannot be written."""


def write_tables(tables: Mapping[str, pl.DataFrame], target: Path, format: str) -> list[Path]:  # noqa: A002 -- as the option is called
    """Write one table to a file; several to one file of `json` or `markdown`, or to a folder of `csv` or `parquet`.

    Args:
        tables: rows by name.
        target: the file or the folder; files of an earlier run in it are replaced.
        format: json, csv, markdown or parquet.

    Returns:
        Paths of the files.

    Raises:
        OutputError: a file cannot be written; none of them is changed then.
    """
    if len(tables) == 1:
        (rows,) = tables.values()
        return write_files(target.parent, {target.name: _content(rows, format)})
    if format in ("json", "markdown"):
        return write_files(target.parent, {target.name: f"{all_as_text(tables, format)}\n".encode()})
    return write_files(target, {f"{name}.{format}": _content(rows, format) for name, rows in tables.items()})


def write_files(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files of a folder, once all of them are on disk.

    Raises:
        OutputError: one cannot be written; none of them is changed then.
    """
    targets = [folder / name for name in contents]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target in targets:
            if target.is_dir():
                raise IsADirectoryError(f"{target} is a folder")
        staged = Path(tempfile.mkdtemp(prefix=".forge-", dir=folder))
        try:
            for name, content in contents.items():
                (staged / name).write_bytes(content)
            for target in targets:
                (staged / target.name).replace(target)
        finally:
            shutil.rmtree(staged)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}") from error
    return targets


def _content(rows: pl.DataFrame, format: str) -> bytes:  # noqa: A002 -- as the option is called
    if format != "parquet":
        return f"{as_text(rows, format)}\n".encode()
    from io import BytesIO

    buffer = BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()
