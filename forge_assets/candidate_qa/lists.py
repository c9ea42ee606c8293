"""Lists of columns, and lists of what a table says of the items of a list."""

import polars as pl

MODELS_APART = "\x1f"
"""Stands between the identities of models in one text."""


def list_of(*columns: str | pl.Expr) -> pl.Expr:
    """A list of columns, none of them a list; `pl.concat_list`, which takes lists too, needs nine times as long."""
    return pl.concat_arr(*columns).arr.to_list()


def texts_of(ids: str) -> pl.Expr:
    """A list of ids as one text."""
    return pl.col(ids).cast(pl.List(pl.String)).list.join(",")


def looked_up(ids: str, table: pl.DataFrame, key: str, value: str) -> pl.Expr:
    """For a list of ids the list of values that they have in a table.

    Args:
        ids: column of lists.
        table: one row an id; if it has none, all lists must be empty.
        key: column of the table with the ids.
        value: column of the table to look up.
    """
    if table.is_empty():
        return pl.lit([], dtype=pl.List(table[value].dtype))
    return pl.col(ids).list.eval(pl.element().replace_strict(table[key], table[value]))


def joined(*columns: str) -> pl.Expr:
    """The identities of models as one text: of columns of texts, null where there is none, or of such texts."""
    return pl.concat_str(*columns, separator=MODELS_APART, ignore_nulls=True)


def joined_list(models: pl.Expr) -> pl.Expr:
    """As `joined`, of a list of texts."""
    return models.list.join(MODELS_APART, ignore_nulls=True)


def models_apart(texts: pl.Series) -> pl.DataFrame:
    """Of what `joined` gives, `text` and the models in it as the list `models`, each once and sorted.

    A shard's pairs rest on few different sets of models, so these are taken apart and sorted instead of every list.
    """
    return pl.DataFrame({"text": texts.unique().sort()}).with_columns(
        models=pl.col("text")
        .str.split(MODELS_APART)
        .list.eval(pl.element().filter(pl.element() != ""))
        .list.unique()
        .list.sort()
    )
