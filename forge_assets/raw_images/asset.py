"""The asset `raw_images`: the photos of one shard, checked, their bytes as they came."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from forge_assets.observed import Stopwatch, materialized
from forge_assets.raw_images.naming import LabelNaming
from forge_assets.raw_images.photos import RejectedPhotos
from forge_assets.raw_images.photos import raw_images as read_photos
from forge_assets.stage import progress_of, shard_of, stage_asset
from forge_assets.stage_pictures import picture_of_photos
from forge_assets.tables import RAW_IMAGES, REJECTED_IMAGES
from forge_resources.dagster_resources import ForgeResource
from forge_resources.sources import open_source
from forge_resources.sources.shard_plan import ShardPlan
from forge_resources.vocabulary import Vocabulary

VERSION = "2"
MEMBERS_VERSION = "members"
"""The manifest's version that says which members, in which of their versions, the partition was made of."""
UNKNOWN_CLASSES_SHOWN = 20
VOCABULARY_OF = {"image_folder": "coco", "objects365": "objects365", "openimages": "openimages", "pixmo": "pixmo"}
"""Whose names the labels of each kind of source bear."""


@stage_asset(
    group="ingest",
    kinds={"pillow", "parquet"},
    code_version=VERSION,
    automated=False,
)
def raw_images(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """One row a photo: decoded once to be checked, hashed, with its human labels; the unusable become reject rows."""
    watch, lake, key = Stopwatch(), forge.lake, shard_of(context)
    config = forge.config
    settings = config.source(key.source)
    with watch.phase("plan"):
        plan = ShardPlan(config.lake, config.s3)
        members = plan.members(key)
        source = open_source(key.source, settings, config.s3, config.cache)
    vocabulary = Vocabulary.load(config.vocabulary) if config.vocabulary else Vocabulary.packaged()
    naming = LabelNaming(vocabulary, VOCABULARY_OF[settings.kind])
    report = progress_of(context, "raw_images", len(members))
    rejects = RejectedPhotos(key)
    counts = {"photos_in": len(members)}
    versions = {
        "code": VERSION,
        "source": settings.digest,
        MEMBERS_VERSION: plan.digest(key),
        "vocabulary": vocabulary.digest,
    }
    batches = read_photos(
        key,
        members,
        source,
        settings,
        naming=naming,
        val_share=config.tasks.val_share,
        rejects=rejects,
        progress=lambda done, _total: report(done),
    )

    def rows() -> Iterator[pl.DataFrame]:
        """The photos; their rejects are in the lake before they are, so that a run killed in between is due again."""
        yield from watch.each("read", batches)
        counts["rejected"] = rejects.photos
        counts["labels_of_unknown_classes"] = sum(naming.unknown.values())
        lake.write("rejected_images", key, rejects.frame(), REJECTED_IMAGES, versions=versions)

    with watch.phase("write"):
        manifest = lake.write("raw_images", key, rows(), RAW_IMAGES, versions=versions, counts=counts)
        source.written(members)
    return materialized(
        lake,
        manifest,
        watch,
        {
            "photos": manifest.rows,
            **{f"rejected/{rule}": count for rule, count in rejects.counts().items()},
            **{f"source/{name}": count for name, count in source.counts().items()},
            "unknown_classes": _unknown_classes(naming),
        },
        picture_of_photos,
    )


def _unknown_classes(naming: LabelNaming) -> dg.TableMetadataValue:
    shown = list(naming.unknown.items())[:UNKNOWN_CLASSES_SHOWN]
    return dg.MetadataValue.table(
        [dg.TableRecord({"category": category, "labels": count}) for category, count in shown],
        schema=dg.TableSchema([dg.TableColumn("category"), dg.TableColumn("labels", "int")]),
    )
