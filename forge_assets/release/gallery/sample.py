"""Which pairs a gallery shows: the same ones each time, by `qa_id`, which is a hash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import polars as pl

from forge_assets.release.gallery.errors import GalleryError
from forge_assets.tables import TASKS
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.warehouse import QueryError, Warehouse

Kind = Literal["verified", "rejected"]
TABLES: Final[Mapping[Kind, str]] = {"verified": "verified_qa", "rejected": "rejected_qa"}

_SPARE: Final = 8
"""Pairs looked at for each one shown, so that they can be of different photos."""
_ONLY_OF: Final[Mapping[Kind, str]] = {
    "verified": "NULL::VARCHAR AS rule, NULL::DOUBLE AS value, NULL::DOUBLE AS threshold",
    "rejected": "NULL::DOUBLE AS score",
}
"""Columns of the other table, so that one condition can be asked of both."""


@dataclass(frozen=True)
class Sample:
    """What is wanted of a gallery.

    Attributes:
        pairs_per_task: verified pairs of each task, at most.
        rejected_per_rule: rejected pairs of each rule, at most.
        all_rules: take rejected pairs of each rule of each task, not of each rule.
        where: SQL condition over the columns of `verified_qa` and `rejected_qa`; a column that one of
            them lacks is null there.
        tasks: the only tasks; none named: all.
        sources: the only sources; none named: all.
    """

    pairs_per_task: int = 10
    rejected_per_rule: int = 5
    all_rules: bool = False
    where: str | None = None
    tasks: Sequence[str] = field(default=())
    sources: Sequence[str] = field(default=())

    def groups(self, kind: Kind) -> list[str]:
        """The columns that pairs are sampled by."""
        if kind == "verified":
            return ["task"]
        return ["rule", "task"] if self.all_rules else ["rule"]

    def limit(self, kind: Kind) -> int:
        """Pairs of each group, at most."""
        return self.pairs_per_task if kind == "verified" else self.rejected_per_rule


def choose(warehouse: Warehouse, kind: Kind, wanted: Sample) -> pl.DataFrame:
    """Choose pairs of each group, of different photos while there are any.

    One pass over few columns: memory follows the number of groups, not of pairs.

    Args:
        warehouse: an open look at the lake.
        kind: which table.
        wanted: what to choose.

    Returns:
        qa_id, image_id, source and shard, in the order of the page.

    Raises:
        GalleryError: no such task, or broken SQL in `where`.
    """
    unknown = sorted(set(wanted.tasks) - set(TASKS))
    if unknown:
        raise GalleryError(f"unknown task {unknown[0]!r}: one of {', '.join(TASKS)}")
    groups, limit = wanted.groups(kind), wanted.limit(kind)
    conditions = [f"({wanted.where}\n)"] if wanted.where else []
    parameters: dict[str, object] = {}
    for column, names in (("task", wanted.tasks), ("source", wanted.sources)):
        if names:
            conditions.append(f"list_contains(${column}s, {column})")
            parameters[f"{column}s"] = list(names)
    sql = f"""
        SELECT {", ".join(groups)},
               arg_min(
                   {{'qa_id': qa_id, 'image_id': image_id, 'source': source, 'shard': shard}},
                   qa_id || image_id,
                   {max(limit, 1) * _SPARE}
               ) AS pairs
        FROM (SELECT *, {_ONLY_OF[kind]} FROM {TABLES[kind]})
        WHERE {" AND ".join(conditions) or "true"}
        GROUP BY ALL
    """  # noqa: S608 -- names of our own, and the user's own condition on their own lake
    try:
        found = warehouse.query(sql, parameters)
    except QueryError as error:
        if wanted.where is None:
            raise
        raise GalleryError(f"the pairs cannot be selected by {wanted.where!r}: {error}") from error
    return _spread(found, groups, limit)


def _spread(found: pl.DataFrame, groups: Sequence[str], limit: int) -> pl.DataFrame:
    """The first pairs of each group: of photos that it has not shown yet, and first those that no group has shown."""
    pairs = found.explode("pairs").unnest("pairs").sort("qa_id", "image_id")
    rank = pl.int_range(1, pl.len() + 1)
    return (
        pairs.with_columns(nth_in_group=rank.over([*groups, "image_id"]), nth_of_photo=rank.over("image_id"))
        .sort("nth_in_group", "nth_of_photo", "qa_id", "image_id")
        .with_columns(place=rank.over(groups))
        .filter(pl.col("place") <= limit)
        .sort("place", *groups, "qa_id", "image_id")
        .select("qa_id", "image_id", "source", "shard")
    )


def read_pairs(lake: Lake, kind: Kind, chosen: pl.DataFrame) -> pl.DataFrame:
    """The full rows of chosen pairs, in their order; only their partitions are read.

    Raises:
        GalleryError: a partition was made anew meanwhile, without these pairs.
        PartitionMissing: a partition was taken away meanwhile.
    """
    key = ["qa_id", "image_id", "source", "shard"]
    found = [
        lake.scan(TABLES[kind], ShardKey(source, shard))
        .filter(pl.col("qa_id").is_in(rows["qa_id"].implode()))
        .join(rows.lazy(), on=key, how="semi")
        .collect()
        for (source, shard), rows in _by_partition(chosen)
    ]
    rows = sum(part.height for part in found)
    if rows != chosen.height:
        raise GalleryError(f"{TABLES[kind]} was made anew while the gallery read it: write the gallery again")
    if not found:
        return pl.DataFrame()
    return chosen.join(pl.concat(found), on=key, how="left", maintain_order="left")


def _by_partition(chosen: pl.DataFrame) -> list[tuple[tuple[str, str], pl.DataFrame]]:
    parts = chosen.partition_by("source", "shard", as_dict=True)
    return [((str(source), str(shard)), rows) for (source, shard), rows in sorted(parts.items())]
