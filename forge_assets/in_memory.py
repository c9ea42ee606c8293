"""Queries over tables that are in memory already, as those of one shard are.

Polars' own choice is its streaming engine, made for tables that do not fit: many small queries over small tables take a
quarter less of the processor in the engine that it had before.
"""

from collections.abc import Iterable

import polars as pl


def collected(rows: pl.LazyFrame) -> pl.DataFrame:
    """The rows of a query."""
    return rows.collect(engine="in-memory")


def collected_all(queries: Iterable[pl.LazyFrame]) -> list[pl.DataFrame]:
    """The rows of queries that have parts in common."""
    return pl.collect_all(queries, engine="in-memory")


def computed(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of a query, computed once however many queries read them."""
    return collected(rows).lazy()
