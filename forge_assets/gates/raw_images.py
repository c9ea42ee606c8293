"""What `raw_images` promises."""

from typing import TYPE_CHECKING

import polars as pl

from forge_assets.gates.gate import Facts, Gate
from forge_assets.gates.promises import absent, among, between, equal, holds, matches, present, unique
from forge_assets.gates.statements import EDGE_TOLERANCE, numbers_are_finite, of_partition
from forge_assets.in_memory import collected
from forge_assets.tables import SPLITS
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""As Pillow names them; MPO is what many phones call a JPEG with a preview in it."""

LABEL_RULES = "label_"
"""Rejections by rules of this prefix concern single labels, whose photo is kept."""

BLAMELESS_RULES = ("duplicate_image", "near_duplicate_image", "dead_link", "download_failed", "wrong_sha256")
"""Photos rejected by these are accounted for, but speak not against the source: links die, duplicates happen."""

EXAMPLES_NAMED = 3


def expectations(config: ForgeConfig, key: ShardKey) -> "list[Expectation]":
    """Of each photo."""
    source = config.source(key.source)
    return [
        *present(
            "image_id", "format", "mode", "orientation", "width", "height", "byte_size", "sha256", "license", "split"
        ),
        *present("is_labeled"),
        unique("image_id"),
        unique("sha256", severity="warning"),
        holds("is_of_partition"),
        holds("id_names_its_source"),
        among("format", FORMATS),
        among("split", SPLITS),
        between("orientation", 1, 8),
        between("shorter_side", source.min_side),
        between("pixels", 1, source.max_pixels),
        between("byte_size", 1, source.max_bytes),
        holds("bytes_are_there"),
        matches("sha256", r"^[0-9a-f]{64}$", "sha256_is_a_digest"),
        matches("license", r"\S", "license_is_named"),
        holds("labels_only_where_labeled"),
        holds("label_boxes_are_ordered"),
        holds("label_boxes_inside_photo"),
        holds("numbers_are_finite"),
    ]


def fact_expectations(config: ForgeConfig, _key: ShardKey) -> "list[Expectation]":
    """Of a shard: every photo that went in came out or was rejected with a reason, and few were."""
    return [
        *present("photos_in", "rejected"),
        equal("photos_in", "photos_out", "photos_accounted_for"),
        equal("rejected", "rejections_on_record", "rejections_recorded"),
        between("unusable_share", 0, config.gates.max_rejected_images),
        absent("unusable_photos", "unusable_photos_few"),
    ]


def frame(lake: Lake, key: ShardKey, _config: ForgeConfig) -> pl.DataFrame:
    """Photos without their bytes, with what can be said of bytes and labels."""

    def label(field: str) -> pl.Expr:
        return pl.element().struct.field(field)

    def of_labels(expression: pl.Expr) -> pl.Expr:
        return pl.col("labels").list.eval(expression)

    ordered = (label("x1") < label("x2")) & (label("y1") < label("y2"))
    inside = [
        of_labels(label("x1")).list.min() >= -EDGE_TOLERANCE,
        of_labels(label("y1")).list.min() >= -EDGE_TOLERANCE,
        of_labels(label("x2")).list.max() <= pl.col("width") + EDGE_TOLERANCE,
        of_labels(label("y2")).list.max() <= pl.col("height") + EDGE_TOLERANCE,
    ]
    return (
        lake.scan("raw_images", key)
        .select(
            pl.exclude("image", "labels"),
            is_of_partition=of_partition(key),
            id_names_its_source=pl.col("image_id").str.starts_with(f"{key.source}/"),
            shorter_side=pl.min_horizontal("width", "height"),
            pixels=pl.col("width").cast(pl.Int64) * pl.col("height"),
            bytes_are_there=(pl.col("image").struct.field("bytes").bin.size() == pl.col("byte_size")).fill_null(
                value=False
            ),
            labels_only_where_labeled=pl.col("is_labeled") | (pl.col("labels").list.len().fill_null(0) == 0),
            label_boxes_are_ordered=of_labels(ordered.fill_null(value=False)).list.all().fill_null(value=True),
            label_boxes_inside_photo=pl.all_horizontal(one.fill_null(value=True) for one in inside),
            numbers_are_finite=numbers_are_finite(),
        )
        .pipe(collected)
    )


def facts(lake: Lake, key: ShardKey, config: ForgeConfig) -> Facts:
    """Photos in and out, by the manifest's `photos_in` and `rejected` and by the rows of `rejected_images`."""
    manifest = lake.manifest("raw_images", key)
    photos_in, rejected = manifest.counts.get("photos_in"), manifest.counts.get("rejected")
    of_photos = (
        lake.scan("rejected_images", key)
        .with_columns(pl.col("rule").fill_null(""))
        .filter(~pl.col("rule").str.starts_with(LABEL_RULES))
        .select("path", "rule")
        .pipe(collected)
    )
    unusable = of_photos.filter(~pl.col("rule").is_in(BLAMELESS_RULES))
    share = unusable.height / photos_in if photos_in else 0.0
    return {
        "photos_in": photos_in,
        "rejected": rejected,
        "photos_out": manifest.rows + (rejected or 0),
        "rejections_on_record": of_photos.height,
        "unusable_share": share,
        "unusable_photos": _told(unusable) if share > config.gates.max_rejected_images else None,
    }


def _told(unusable: pl.DataFrame) -> str:
    """The rules, how many photos each rejected, and examples, the most frequent first."""
    rules = (
        unusable.group_by("rule")
        .agg(pl.len(), pl.col("path").sort().head(EXAMPLES_NAMED))
        .sort("len", "rule", descending=[True, False])
    )
    return "; ".join(f"{rule}: {count} ({', '.join(paths)})" for rule, count, paths in rules.iter_rows())


GATE = Gate("raw_images", "image_id", frame, expectations, facts, fact_expectations)
