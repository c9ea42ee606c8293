"""What later stages read of `descriptions`, where a partition is there."""

import polars as pl

from forge_assets.candidate_qa.phrase_kinds import DESCRIBED
from forge_resources.config import VisionLanguageConfig
from forge_resources.lake import Lake, Manifest, PartitionMissing, PartitionRefused
from forge_resources.shards import ShardKey


def current_descriptions(lake: Lake, key: ShardKey, describer: VisionLanguageConfig) -> Manifest | None:
    """The manifest of a partition of `descriptions`; None where it was never made, or no describer is configured.

    Raises:
        PartitionRefused: if its scenes have changed since.
    """
    if describer.backend == "none":
        return None
    try:
        manifest = lake.manifest("descriptions", key)
    except PartitionMissing:
        return None
    if manifest.inputs.get("scenes") != lake.manifest("scenes", key).content_hash:
        raise PartitionRefused(
            f"descriptions [{key}] was made of an older scenes: materialize descriptions for {key} again"
        )
    return manifest


def described_phrases(descriptions: pl.LazyFrame, entities: pl.LazyFrame) -> pl.LazyFrame:
    """The phrases that broke no rule, as candidates read phrases.

    Args:
        descriptions: rows of `DESCRIPTIONS`.
        entities: image_id and object_id of the objects that questions may name; phrases of others are left out.

    Returns:
        image_id, object_id, kind (`described`), bare (the phrase without "the"), value (the smaller IoU, of photo and
        mirror, of what the model finds for the phrase with the object), matches (the larger number of boxes that it
        finds), count_spread and landmark_id (null).
    """
    return (
        descriptions.filter(pl.col("drop_rule").is_null())
        .join(entities.select("image_id", "object_id"), on=["image_id", "object_id"], how="semi")
        .select(
            "image_id",
            "object_id",
            pl.lit(DESCRIBED).alias("kind"),
            pl.col("phrase").alias("bare"),
            pl.min_horizontal("iou", "mirror_iou").alias("value"),
            pl.max_horizontal("matches", "mirror_matches").cast(pl.Int32).alias("matches"),
            pl.lit(None, dtype=pl.Int32).alias("count_spread"),
            pl.lit(None, dtype=pl.String).alias("landmark_id"),
        )
    )
