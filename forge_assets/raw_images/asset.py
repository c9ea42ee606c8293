"""The asset `raw_images`: the photos of one shard, checked, their bytes as they came."""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from forge_assets.raw_images.photos import RejectedPhotos
from forge_assets.raw_images.photos import raw_images as read_photos
from forge_assets.stage import materialized, progress_of, shard_of, stage_asset
from forge_assets.stage_pictures import picture_of_photos
from forge_assets.tables import RAW_IMAGES, REJECTED_IMAGES
from forge_resources.dagster_resources import ForgeResource
from forge_resources.sources import open_source
from forge_resources.sources.shard_plan import ShardPlan

VERSION = "1"


@stage_asset(
    group="ingest",
    kinds={"pillow", "parquet"},
    code_version=VERSION,
    automated=False,
)
def raw_images(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """One row a photo: decoded once to be checked, hashed, with its human labels; the unusable become reject rows."""
    started, lake, key = time.monotonic(), forge.lake, shard_of(context)
    config = forge.config
    source = config.source(key.source)
    members = ShardPlan(config.lake).members(key)
    report = progress_of(context, "raw_images", len(members))
    rejects = RejectedPhotos(key)
    counts = {"photos_in": len(members)}
    versions = {"code": VERSION, "source": source.digest}
    batches = read_photos(
        key,
        members,
        open_source(key.source, source),
        source,
        val_share=config.tasks.val_share,
        rejects=rejects,
        progress=lambda done, _total: report(done),
    )
    manifest = lake.write(
        "raw_images", key, _then_count(batches, rejects, counts), RAW_IMAGES, versions=versions, counts=counts
    )
    lake.write("rejected_images", key, rejects.frame(), REJECTED_IMAGES, versions=versions)
    return materialized(
        lake,
        manifest,
        started,
        {f"rejected/{rule}": count for rule, count in rejects.counts().items()},
        picture_of_photos(lake, key),
    )


def _then_count(
    batches: Iterator[pl.DataFrame], rejects: RejectedPhotos, counts: dict[str, int]
) -> Iterator[pl.DataFrame]:
    yield from batches
    counts["rejected"] = rejects.photos
