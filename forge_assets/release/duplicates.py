"""Photos that are in the data set more than once: the same bytes, or the same picture.

Whether two photos are the same is decided by the two alone, and a group is all that hang together. So the groups
depend neither on the order of ingest nor on how photos fell into shards.
"""

import hashlib
import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.audits.asset import as_table
from forge_assets.raw_images.shard_duplicates import SAME_BYTES, SAME_PICTURE
from forge_assets.stage import OWNERS
from forge_assets.tables import DUPLICATES
from forge_resources.config import ForgeConfig, SourceConfig
from forge_resources.dagster_resources import ForgeResource
from forge_resources.errors import ForgeError
from forge_resources.lake import Lake
from forge_resources.perceptual_hash import HASH_BITS
from forge_resources.shards import ShardKey

if TYPE_CHECKING:
    import duckdb

VERSION: Final = "1"

PHOTO_COLUMNS: Final = ("image_id", "source", "shard", "sha256", "phash", "is_kept")
_LARGEST_GROUPS: Final = 20
_MAX_EDGES: Final = 4_000_000
_MEMORY: Final = "2GB"
_MAX_GROUPS_OF_BANDS: Final = 700

_NodePairs = NDArray[np.int32]
"""Shape (pairs, 2)."""


def find_duplicates(photos: pl.LazyFrame, max_distances: Mapping[str, int | None]) -> pl.DataFrame:
    """All photos of the set that are in a group of more than one.

    Two photos are one if their bytes are, or if their hashes differ in no more bits than the sources of both
    allow. Of a group, the photo of the smallest id is kept among those that their shards kept.

    Args:
        photos: `image_id, source, shard, sha256, phash, is_kept`: every photo that a shard kept, and with `is_kept`
            false those that it rejected as duplicates, which link others.
        max_distances: By source, bits in which hashes of one picture may differ, 0-8; None: only the same bytes.

    Returns:
        Columns of DUPLICATES, sorted by `group_id` and `image_id`.
    """
    import duckdb

    limits = pl.DataFrame(
        {"source": list(max_distances), "max_distance": list(max_distances.values())},
        schema={"source": pl.String, "max_distance": pl.UInt8},
    )
    known = photos.select(PHOTO_COLUMNS).sort("image_id").collect().with_row_index("node")
    with (
        tempfile.TemporaryDirectory(prefix="forge-duplicates-") as spill,
        duckdb.connect(config={"temp_directory": spill, "memory_limit": _MEMORY}) as connection,
    ):
        connection.register("photos", known.to_arrow())
        connection.register("limits", limits.to_arrow())
        connection.execute(_HASHES)
        groups = _connected(known.height, _edges(connection))
    return _rows(known, groups)


_HASHES: Final = """
CREATE TABLE hashes AS
SELECT min(node)::INTEGER AS node, ('0x' || phash)::UBIGINT AS hash, max_distance
FROM photos JOIN limits USING (source)
WHERE phash IS NOT NULL AND max_distance IS NOT NULL
GROUP BY phash, max_distance
"""
"""One node for all photos of one hash (and limit): however many share it, they cost no more than one."""

_SAME_BYTES: Final = """
SELECT first::INTEGER, node::INTEGER
FROM (SELECT node, min(node) OVER (PARTITION BY sha256) AS first FROM photos)
WHERE node <> first
"""

_SAME_HASH: Final = """
SELECT hashes.node, photos.node::INTEGER
FROM photos JOIN limits USING (source) JOIN hashes
  ON hashes.hash = ('0x' || photos.phash)::UBIGINT AND hashes.max_distance = limits.max_distance
WHERE photos.node <> hashes.node
"""

_NEAR_HASHES: Final = """
SELECT a.node, b.node
FROM hashes AS a JOIN hashes AS b ON a.hash & {mask}::UBIGINT = b.hash & {mask}::UBIGINT AND a.node < b.node
WHERE bit_count(xor(a.hash, b.hash)) <= least(a.max_distance, b.max_distance)
"""


def _edges(connection: "duckdb.DuckDBPyConnection") -> Iterator[_NodePairs]:
    yield from _pairs(connection, _SAME_BYTES)
    yield from _pairs(connection, _SAME_HASH)
    ((hashes, max_distance),) = connection.sql("SELECT count(*), max(max_distance) FROM hashes").fetchall()
    if hashes > 1:
        for mask in agreement_masks(hashes, max_distance):
            yield from _pairs(connection, _NEAR_HASHES.format(mask=mask))


def _pairs(connection: "duckdb.DuckDBPyConnection", sql: str) -> Iterator[_NodePairs]:
    for batch in connection.sql(sql).to_arrow_reader(_MAX_EDGES):
        yield np.column_stack([column.to_numpy() for column in batch.columns])


def agreement_masks(hashes: int, max_distance: int) -> Sequence[int]:
    """Bit masks such that any two hashes within `max_distance` agree in all bits of at least one of them.

    The bits are dealt to `max_distance + n` bands. So many differing bits leave `n` bands untouched, so each choice
    of `n` bands is a mask. Larger `n` means more joins of fewer pairs each: the cheapest for this many hashes is
    taken.

    Args:
        hashes: How many different ones there are.
        max_distance: 0-8.
    """

    def cost(chosen: int) -> float:
        bands = max_distance + chosen
        pairs = hashes**2 / 2 / 2 ** (HASH_BITS * chosen / bands)
        return math.comb(bands, chosen) * (hashes + pairs)

    counts = [n for n in range(1, 9) if math.comb(max_distance + n, n) <= _MAX_GROUPS_OF_BANDS]
    chosen = min(counts, key=cost)
    bands = [
        sum(1 << bit for bit in range(band, HASH_BITS, max_distance + chosen)) for band in range(max_distance + chosen)
    ]
    return [sum(group) for group in combinations(bands, chosen)]


def _connected(nodes: int, edges: Iterable[_NodePairs]) -> NDArray[np.int32]:
    """The component of each node. Edges are reduced to one a node whenever many have gathered."""
    groups, gathered, count = np.arange(nodes, dtype=np.int32), list[_NodePairs](), 0
    for pairs in edges:
        gathered.append(pairs)
        count += len(pairs)
        if count > _MAX_EDGES:
            groups, gathered, count = _merged(groups, gathered), [], 0
    return _merged(groups, gathered) if gathered else groups


def _merged(groups: NDArray[np.int32], edges: Sequence[_NodePairs]) -> NDArray[np.int32]:
    first, second = groups[np.concatenate(edges)].T
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first), dtype=np.bool_), (first, second)), shape=(len(groups), len(groups)))
    return connected_components(graph, directed=False)[1][groups].astype(np.int32)


def _rows(photos: pl.DataFrame, groups: NDArray[np.int32]) -> pl.DataFrame:
    grouped = photos.with_columns(group=pl.Series(groups)).filter(pl.len().over("group") > 1)
    kept = grouped.sort(pl.col("is_kept").not_(), "image_id").group_by("group", maintain_order=True).first()
    kept = kept.select("group", group_id="image_id", kept_sha256="sha256", kept_phash="phash")
    same_bytes = pl.col("sha256") == pl.col("kept_sha256")
    rows = grouped.join(kept, on="group").with_columns(
        kind=pl.when(same_bytes).then(pl.lit("exact")).otherwise(pl.lit("near")),
        distance=_bits("phash").xor(_bits("kept_phash")).bitwise_count_ones(),
        is_kept=pl.col("image_id") == pl.col("group_id"),
    )
    return rows.select(pl.col(name).cast(dtype) for name, dtype in DUPLICATES.items()).sort("group_id", "image_id")


def _bits(column: str) -> pl.Expr:
    return pl.col(column).str.to_integer(base=16, dtype=pl.UInt64)


# --- the asset


class NoHashesError(ForgeError, RuntimeError):
    """The lake holds photos that were written without their hashes."""


def photos_of(lake: Lake) -> pl.LazyFrame:
    """All photos of the lake that a duplicate may be of: those kept, and those rejected as duplicates in a shard.

    Returns:
        Columns of PHOTO_COLUMNS, in no order.
    """
    kept = [
        lake.scan("raw_images", key).select(*PHOTO_COLUMNS[:-1], is_kept=pl.lit(value=True))
        for key in lake.keys("raw_images")
    ]
    rejected = [
        lake.scan("rejected_images", key)
        .filter(pl.col("rule").is_in([SAME_BYTES, SAME_PICTURE]))
        .select(*PHOTO_COLUMNS[:-1], is_kept=pl.lit(value=False))
        for key in lake.keys("rejected_images")
    ]
    none = pl.LazyFrame(schema=dict.fromkeys(PHOTO_COLUMNS[:-1], pl.String) | {"is_kept": pl.Boolean})
    return pl.concat([none, *kept, *rejected])


def max_distances_of(config: ForgeConfig, sources: Iterable[str]) -> dict[str, int | None]:
    """By source, bits in which hashes of one picture may differ; the default for one that is no longer configured."""
    default = SourceConfig.model_fields["max_near_duplicate_distance"].default
    return {
        source: config.sources[source].max_near_duplicate_distance if source in config.sources else default
        for source in sorted(set(sources))
    }


def by_source_pair(duplicates: pl.DataFrame) -> pl.DataFrame:
    """How many photos of a source are dropped for those of another, or of its own.

    Returns:
        source, kept_source, kind, photos; sorted.
    """
    kept = duplicates.filter("is_kept").select("group_id", kept_source="source")
    dropped = duplicates.filter(~pl.col("is_kept")).join(kept, on="group_id")
    pair = ("source", "kept_source", "kind")
    counted = dropped.with_columns(pl.col("kind").cast(pl.String)).group_by(pair).agg(photos=pl.len().cast(pl.Int64))
    return counted.sort(pair)


def largest_groups(duplicates: pl.DataFrame, count: int = _LARGEST_GROUPS) -> pl.DataFrame:
    """Groups of the most photos: group_id, photos, near (how many have other bytes), sources."""
    groups = duplicates.group_by("group_id").agg(
        photos=pl.len().cast(pl.Int64),
        near=(pl.col("kind") == "near").sum().cast(pl.Int64),
        sources=pl.col("source").unique().sort().str.join(", "),
    )
    return groups.sort("photos", "group_id", descending=[True, False]).head(count)


@dg.asset(
    deps=["raw_images"],
    group_name="release",
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    code_version=VERSION,
    automation_condition=(dg.AutomationCondition.any_deps_updated() & ~dg.AutomationCondition.in_progress()).with_label(
        "photos_changed"
    ),
)
def duplicates(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """Photos of all shards and sources that are there more than once, with the one of each group that is kept."""
    started, lake = time.monotonic(), forge.lake
    keys = {table: lake.keys(table) for table in ("raw_images", "rejected_images")}
    max_distances = max_distances_of(forge.config, (key.source for key in keys["raw_images"]))
    inputs = {table: _digest(lake, table, found) for table, found in keys.items()}
    try:
        rows = find_duplicates(photos_of(lake), max_distances)
    except pl.exceptions.ColumnNotFoundError as error:
        raise NoHashesError(
            f"some partitions of raw_images were made by a version that kept no perceptual hashes ({error}): "
            "make raw_images again with `forge run --again`"
        ) from error
    dropped = rows.filter(~pl.col("is_kept"))
    counts = {
        "groups": rows["group_id"].n_unique(),
        "dropped": dropped.height,
        "dropped/exact": dropped.filter(kind="exact").height,
        "dropped/near": dropped.filter(kind="near").height,
    }
    versions = {"code": VERSION, **{f"max_distance/{name}": str(value) for name, value in max_distances.items()}}
    manifest = lake.write_table("duplicates", rows, DUPLICATES, inputs=inputs, versions=versions, counts=counts)
    context.log.info(f"{counts['groups']} groups; {counts['dropped']} photos repeat another")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.content_hash),
        metadata={
            "dagster/row_count": manifest.rows,
            **counts,
            "seconds": round(time.monotonic() - started, 3),
            "by_source_pair": as_table(by_source_pair(rows)),
            "largest_groups": as_table(largest_groups(rows)),
            "path": dg.MetadataValue.path(str(lake.table_path("duplicates"))),
            **{f"version/{name}": version for name, version in versions.items()},
        },
    )


def _digest(lake: Lake, table: str, keys: Sequence[ShardKey]) -> str:
    """One hash for the content of all partitions of a table."""
    contents = "\n".join(f"{key} {lake.manifest(table, key).content_hash}" for key in keys)
    return hashlib.blake2b(contents.encode(), digest_size=16).hexdigest()
