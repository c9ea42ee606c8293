"""Which of two objects the depth readings put nearer, and what each of them says."""

from collections.abc import Sequence

import polars as pl

from forge_assets.candidate_qa.lists import joined_list
from forge_assets.in_memory import computed
from forge_assets.scenes.geometry import CLASS_HEIGHT, GROUND_CONTACT
from forge_resources.config import VerificationConfig

_SILENT = float("-inf")
"""Stands for too few readings: less than any agreement."""


def depth_readings(entities: pl.LazyFrame) -> pl.LazyFrame:
    """All depth readings of each object in one long table, those of networks and those of geometry.

    Returns:
        object_id, reading, depth, mirror_depth, near (q10) and far (q90) quantiles (null for geometry),
        depth_model; depths in the reading's own unit, larger is farther.
    """
    networks = (
        entities.select("object_id", "depth")
        .explode("depth", empty_as_null=False)
        .unnest("depth")
        .group_by("object_id", "reading")
        .agg(
            depth=pl.col("q50").filter(~pl.col("mirrored")).first(),
            mirror_depth=pl.col("q50").filter("mirrored").first(),
            near=pl.col("q10").filter(~pl.col("mirrored")).first(),
            far=pl.col("q90").filter(~pl.col("mirrored")).first(),
            depth_model=pl.first("depth_model"),
        )
    )
    geometry = [
        entities.select(
            "object_id",
            pl.lit(reading).alias("reading"),
            pl.col(column).alias("depth"),
            pl.col(f"mirror_{column}").alias("mirror_depth"),
            pl.lit(None, dtype=pl.Float64).alias("near"),
            pl.lit(None, dtype=pl.Float64).alias("far"),
            pl.lit(None, dtype=pl.String).alias("depth_model"),
        )
        for reading, column in ((GROUND_CONTACT, "ground_depth"), (CLASS_HEIGHT, "height_depth"))
    ]
    return pl.concat([networks, *geometry]).filter(pl.col("depth").is_not_null())


def order_kept(readings: pl.Expr) -> pl.Expr:
    """The smallest ratio of any reading of the photo or its mirror: below 1 some reading says the opposite."""
    ratio, mirror = (pl.element().struct.field(field) for field in ("ratio", "mirror_ratio"))
    return readings.list.eval(pl.min_horizontal(ratio, mirror)).list.min()


def pair_agreement(readings: pl.Expr, thresholds: VerificationConfig, number: int = 0) -> pl.Expr:
    """How far enough depth readings agree on one pair, as a share of what is needed; null where too few say anything.

    Of each reading the smaller ratio of photo and mirror counts, and none where the mirror says nothing. As
    many readings as `min_readings` must set the pair apart by the full margin of their kind; or one network
    must, and the others needed confirm its order by `min_confirming_ratio`: geometry alone is held to the
    full margin, since its two readings share the boxes.

    Args:
        readings: column of lists of readings.
        thresholds: by which they agree.
        number: of the pair among those that the readings are of; they say theirs, null is 0.
    """
    reading, ratio, mirror, separation = (
        pl.element().struct.field(field) for field in ("reading", "ratio", "mirror_ratio", "separation")
    )
    is_of_pair = pl.element().struct.field("pair").fill_null(0) == number
    on_ground, by_height = reading == GROUND_CONTACT, reading == CLASS_HEIGHT
    is_geometry = on_ground | by_height
    needed = (
        pl.when(on_ground)
        .then(thresholds.min_ground_ratio)
        .when(by_height)
        .then(thresholds.min_height_ratio)
        .otherwise(thresholds.min_depth_ratio)
    )
    smaller = pl.when(is_of_pair & mirror.is_not_null()).then(pl.min_horizontal(ratio, mirror))
    full_margin = pl.when(is_geometry | (separation >= thresholds.min_depth_separation)).then(smaller / needed)

    def weakest_needed(strength: pl.Expr) -> pl.Expr:
        ranked = strength.sort(descending=True, nulls_last=True)
        return ranked.get(thresholds.min_readings - 1, null_on_oob=True).fill_null(_SILENT)

    network = pl.when(~is_geometry).then(full_margin).max().fill_null(_SILENT)
    confirmed = weakest_needed(smaller / thresholds.min_confirming_ratio)
    agreed = pl.max_horizontal(weakest_needed(full_margin), pl.min_horizontal(network, confirmed))
    return readings.list.agg(agreed).replace(_SILENT, None)


def depth_pairs(
    entities: pl.LazyFrame, thresholds: VerificationConfig, within: Sequence[str] = ("image_id",)
) -> pl.LazyFrame:
    """Every pair of objects of a photo that at least one reading sets apart, once.

    The one proposed as nearer is that which the readings' depth ratios favour on the whole (the mean of their
    logarithms); whether they agree is for verification to say.

    Args:
        entities: as `entities.entities` gives them.
        thresholds: by which readings agree.
        within: columns, image_id among them, in which the objects of a pair are alike.

    Returns:
        depth_pair (a number), image_id, low_id and high_id (the objects in the order of their ids), near_id and far_id,
        `readings` (as in the evidence, those of pair 0: farther over nearer), `agreement` (as `pair_agreement` gives
        it; null too where any reading says the opposite) and `models` (those of the readings, null for geometry).
    """
    readings = depth_readings(entities).sort("object_id", "reading").pipe(computed)

    def of(side: str) -> pl.LazyFrame:
        return readings.select(pl.all().exclude("reading").name.suffix(side), "reading")

    one, other = (entities.select(*within, pl.col("object_id").alias(f"{side}_id")) for side in ("low", "high"))
    pairs = one.join(other, on=list(within)).filter(pl.col("low_id") < pl.col("high_id")).with_row_index("depth_pair")
    nearer_is_low = (pl.col("depth_high") / pl.col("depth_low")).log().mean().over("depth_pair") > 0

    def farther_over_nearer(depth: str) -> pl.Expr:
        high_over_low = pl.col(f"{depth}_high") / pl.col(f"{depth}_low")
        return pl.when("nearer_is_low").then(high_over_low).otherwise(1 / high_over_low)

    separation = (
        pl.when("nearer_is_low")
        .then(pl.col("near_high") / pl.col("far_low"))
        .otherwise(pl.col("near_low") / pl.col("far_high"))
    )
    reading = pl.struct(
        "reading",
        ratio=farther_over_nearer("depth"),
        mirror_ratio=farther_over_nearer("mirror_depth"),
        separation=separation,
        pair=pl.lit(0, dtype=pl.Int32),
    )
    read = (
        pairs.select("depth_pair", "image_id", "low_id", "high_id")
        .join(of("_low"), left_on="low_id", right_on="object_id_low", maintain_order="left_right")
        .join(
            of("_high"), left_on=["high_id", "reading"], right_on=["object_id_high", "reading"], maintain_order="left"
        )
        .with_columns(nearer_is_low=nearer_is_low)
        .with_columns(readings=reading)
        .group_by("depth_pair", maintain_order=True)
        .agg(pl.first("image_id", "low_id", "high_id", "nearer_is_low"), pl.col("readings"), models="depth_model_low")
        .pipe(computed)
    )
    agreeing = read.filter(order_kept(pl.col("readings")) >= 1).select(
        "depth_pair", agreement=pair_agreement(pl.col("readings"), thresholds)
    )
    return read.join(agreeing, on="depth_pair", how="left", maintain_order="left").select(
        "depth_pair",
        "image_id",
        "low_id",
        "high_id",
        "readings",
        "models",
        "agreement",
        near_id=pl.when("nearer_is_low").then("low_id").otherwise("high_id"),
        far_id=pl.when("nearer_is_low").then("high_id").otherwise("low_id"),
    )


def agree() -> pl.Expr:
    """Whether the readings of a pair agree with their full margins and none says the opposite; never null."""
    return (pl.col("agreement") >= 1).fill_null(value=False)


def with_readings(rows: pl.LazyFrame, depths: pl.LazyFrame) -> pl.LazyFrame:
    """Add `e_readings`, the readings of a pair, and `depth_models`, what made them, as `lists.joined` gives it.

    Args:
        rows: with `depth_pair`.
        depths: as `depth_pairs` gives them.
    """
    read = depths.select("depth_pair", e_readings="readings", depth_models="models")
    return rows.join(read, on="depth_pair").with_columns(depth_models=joined_list(pl.col("depth_models")))


def numbered_readings(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """One row a reading, which says of which pair it is.

    Args:
        pairs: with `e_readings` of one pair and `pair`, its number within the question.
    """
    return pairs.explode("e_readings").with_columns(
        pl.col("e_readings").struct.with_fields(pl.col("pair").cast(pl.Int32))
    )
