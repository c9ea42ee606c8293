"""What `depth_maps` promises."""

from typing import TYPE_CHECKING

import polars as pl

from forge_assets.gates.gate import Facts, Gate
from forge_assets.gates.promises import among, between, greater, holds, present, unique
from forge_assets.gates.statements import numbers_are_finite, of_partition
from forge_assets.in_memory import collected
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

_PNG = b"\x89PNG\r\n\x1a\n"


def expectations(config: ForgeConfig, _key: ShardKey) -> "list[Expectation]":
    """Of each map."""
    return [
        *present("image_id", "reading", "mirrored", "kind", "width", "height", "near", "far", "depth_model"),
        unique("map_id"),
        holds("is_of_partition"),
        holds("image_is_known"),
        among("reading", sorted(_networks(config))),
        among("kind", ["metric", "relative"]),
        between("width", 1),
        between("height", 1),
        between("near", 0, above=True),
        greater("far", "near", "far_beyond_near"),
        holds("map_is_a_png"),
        holds("numbers_are_finite"),
    ]


def fact_expectations(config: ForgeConfig, _key: ShardKey) -> "list[Expectation]":
    """Of a shard: every configured network read every photo and its mirror."""
    wants_depth = [holds("depth_was_read", severity="warning")] if _networks(config) else []
    return [between("maps_missing", 0, 0, rule="every_photo_was_read"), *wants_depth]


def frame(lake: Lake, key: ShardKey, _config: ForgeConfig) -> pl.DataFrame:
    """Maps without their pixels; `map_id` is photo, reading and side."""
    photos = lake.scan("raw_images", key).select("image_id", image_is_known=True)
    side = pl.when("mirrored").then(pl.lit("mirrored")).otherwise(pl.lit("upright"))
    return (
        lake.scan("depth_maps", key)
        .with_columns(
            map_id=pl.concat_str("image_id", "reading", side, separator=" "),
            is_of_partition=of_partition(key),
            map_is_a_png=pl.col("png").bin.starts_with(_PNG).fill_null(value=False),
            numbers_are_finite=numbers_are_finite(),
        )
        .drop("png")
        .join(photos, on="image_id", how="left")
        .with_columns(pl.col("image_is_known").fill_null(value=False))
        .pipe(collected)
    )


def facts(lake: Lake, key: ShardKey, config: ForgeConfig) -> Facts:
    """Maps missing of those that should be there.

    A network that is left to `auto` may find no weights, and then reads nothing; if it reads at all, it
    must read every photo.
    """
    photos = lake.scan("raw_images", key).select("image_id").pipe(collected)
    found = lake.scan("depth_maps", key).select("image_id", "reading", "mirrored").pipe(collected)
    reads = set(found["reading"].to_list())
    due = [reading for reading, backend in _networks(config).items() if backend != "auto" or reading in reads]
    wanted = photos.join(pl.DataFrame({"reading": due}, schema={"reading": pl.String}), how="cross").join(
        pl.DataFrame({"mirrored": [False, True]}), how="cross"
    )
    missing = wanted.join(found, on=["image_id", "reading", "mirrored"], how="anti")
    return {"maps_missing": missing.height, "depth_was_read": not photos.height or bool(found.height)}


def _networks(config: ForgeConfig) -> dict[str, str]:
    """Backend of each network that reads depth, by the name of its reading."""
    return {network.name: network.backend for network in config.models.depth if network.backend != "none"}


GATE = Gate("depth_maps", "map_id", frame, expectations, facts, fact_expectations)
