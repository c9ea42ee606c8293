"""An audit's rows as text for other programs."""

import polars as pl


def as_text(rows: pl.DataFrame, layout: str) -> str:
    """Rows as `json`, `csv` or `markdown`, without a trailing line break.

    Raises:
        KeyError: for another layout.
    """
    writers = {"json": pl.DataFrame.write_json, "csv": pl.DataFrame.write_csv, "markdown": _markdown}
    return writers[layout](rows).rstrip("\n")


def _markdown(rows: pl.DataFrame) -> str:
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
        return str(rows)
