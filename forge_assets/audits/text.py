"""Rows as text for other programs."""

import json
from collections.abc import Mapping

import polars as pl


def as_text(rows: pl.DataFrame, format: str) -> str:  # noqa: A002 -- as the option is called
    """Rows as `json`, `csv` or `markdown`, without a trailing line break; lists and structs in CSV as JSON.

    Raises:
        KeyError: for another format.
    """
    writers = {"json": pl.DataFrame.write_json, "csv": _csv, "markdown": _markdown}
    return writers[format](rows).rstrip("\n")


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
    escaped = rows.with_columns(pl.col(pl.String).str.replace_all("|", r"\|", literal=True).str.replace_all("\n", " "))
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=-1,
        tbl_cols=-1,
        fmt_str_lengths=200,
        tbl_width_chars=-1,
        float_precision=4,
    ):
        return str(escaped)
