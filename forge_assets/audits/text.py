"""Rows as text for other programs."""

import json
from collections.abc import Mapping

import polars as pl
from polars.datatypes import DataTypeClass

from forge_assets.markdown import markdown_table


def as_text(rows: pl.DataFrame, format: str) -> str:  # noqa: A002 -- as the option is called
    """Rows as `json`, `csv` or `markdown`, without a trailing line break.

    Bytes are text in base64; lists and structs in CSV and Markdown are JSON.

    Raises:
        KeyError: for another format.
    """
    writers = {"json": pl.DataFrame.write_json, "csv": _csv, "markdown": _markdown}
    return writers[format](without_bytes(rows)).rstrip("\n")


def all_as_text(tables: Mapping[str, pl.DataFrame], format: str) -> str:  # noqa: A002 -- as the option is called
    """Several tables as one `json` object by name, or as `markdown` with a heading each.

    Raises:
        KeyError: for another format: CSV holds one table.
    """
    writers = {"json": _json_object, "markdown": _sections}
    return writers[format](tables)


def _json_object(tables: Mapping[str, pl.DataFrame]) -> str:
    members = (f"{json.dumps(name)}: {as_text(rows, 'json')}" for name, rows in tables.items())
    return "{" + ",\n ".join(members) + "}"


def _sections(tables: Mapping[str, pl.DataFrame]) -> str:
    return "\n\n".join(f"## {name}\n\n{as_text(rows, 'markdown')}" for name, rows in tables.items())


def without_bytes(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows with bytes as text in base64, in lists and structs too."""
    return rows.with_columns(_in_base64(pl.col(name), dtype) for name, dtype in rows.schema.items())


def _in_base64(value: pl.Expr, dtype: pl.DataType | DataTypeClass) -> pl.Expr:
    if isinstance(dtype, pl.Struct):
        return value.struct.with_fields(_in_base64(pl.field(name), field) for name, field in dtype.to_schema().items())
    if isinstance(dtype, pl.List):
        return value.list.eval(_in_base64(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Array):
        return value.arr.eval(_in_base64(pl.element(), dtype.inner))
    return value.bin.encode("base64") if dtype == pl.Binary else value


def flat(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows with lists and structs as text in JSON, as a CSV can hold them."""
    nested = [name for name, dtype in rows.schema.items() if dtype.is_nested()]
    return rows.with_columns(
        pl.Series(name, [None if value is None else json.dumps(value, default=str) for value in rows[name].to_list()])
        for name in nested
    )


def _csv(rows: pl.DataFrame) -> str:
    return flat(rows).write_csv()


def _markdown(rows: pl.DataFrame) -> str:
    return markdown_table(flat(rows).to_dicts(), rows.columns)
