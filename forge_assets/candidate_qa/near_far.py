"""Near-far: which of two objects is nearer to the camera."""

import polars as pl

from forge_assets.candidate_qa.evidence import OBJECT_EVIDENCE, evidence_of, models_of
from forge_assets.candidate_qa.identity import blake3, draw
from forge_assets.candidate_qa.pairs import object_pairs
from forge_assets.scenes.geometry import CLASS_HEIGHT, GROUND_CONTACT

_FORM_DIGIT = 32
_CARRIED = (*OBJECT_EVIDENCE, "by_name", "by_region", "is_unique", "detector")


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


def near_far(entities: pl.LazyFrame) -> pl.LazyFrame:
    """One question a pair of objects that at least one reading sets apart; each reading's word is kept.

    The answer proposed is the one that the readings' depth ratios favour on the whole (the mean of their
    logarithms); whether they agree is for verification to say. An object whose class is not unique in the
    photo is named by its region; two of one class whose regions read alike are not asked about.

    Args:
        entities: as `entities.entities` gives them.
    """
    pairs = object_pairs(entities, _CARRIED, "near_far")
    readings = depth_readings(entities)

    def of(side: str) -> pl.LazyFrame:
        return readings.select(pl.all().name.suffix(side)).rename({f"reading{side}": "reading"})

    read = pairs.join(of("_a"), on="object_id_a").join(of("_b"), on=["object_id_b", "reading"])
    pair = ("object_id_a", "object_id_b")
    nearer_is_a = (pl.col("depth_b") / pl.col("depth_a")).log().mean().over(*pair) > 0

    def farther_over_nearer(depth: str) -> pl.Expr:
        b_over_a = pl.col(f"{depth}_b") / pl.col(f"{depth}_a")
        return pl.when("nearer_is_a").then(b_over_a).otherwise(1 / b_over_a)

    separation = (
        pl.when("nearer_is_a").then(pl.col("near_b") / pl.col("far_a")).otherwise(pl.col("near_a") / pl.col("far_b"))
    )
    reading = pl.struct(
        "reading",
        ratio=farther_over_nearer("depth"),
        mirror_ratio=farther_over_nearer("mirror_depth"),
        separation=separation,
    )
    phrase_a = pl.when("is_unique_a").then("by_name_a").otherwise("by_region_a")
    phrase_b = pl.when("is_unique_b").then("by_name_b").otherwise("by_region_b")
    is_a = pl.col("nearer_is_a") == (pl.col("form") == "nearer")
    return (
        read.with_columns(nearer_is_a=nearer_is_a)
        .with_columns(one_reading=reading)
        .group_by("image_id", *pair)
        .agg(
            pl.first("image_sha256", "nearer_is_a", *(f"{name}{side}" for name in _CARRIED for side in ("_a", "_b"))),
            e_readings=pl.col("one_reading").sort_by("reading"),
            e_models=pl.col("depth_model_a").drop_nulls().unique().sort(),
        )
        .with_columns(seed=blake3("image_sha256", pl.lit("near_far"), *pair))
        .with_columns(
            form=pl.when(draw("seed", _FORM_DIGIT, 2) == 0).then(pl.lit("nearer")).otherwise(pl.lit("farther")),
            a=phrase_a,
            b=phrase_b,
        )
        .filter(pl.col("a") != pl.col("b"))
        .with_columns(
            nearer=pl.when("nearer_is_a").then("a").otherwise("b"),
            farther=pl.when("nearer_is_a").then("b").otherwise("a"),
            answer_kind=pl.lit("choice"),
            choices=pl.concat_list("a", "b"),
            answer_object_ids=pl.concat_list(pl.when(is_a).then("object_id_a").otherwise("object_id_b")),
            e_models=models_of("e_models", "detector_a", "detector_b"),
            **evidence_of("_a", "_b"),
            category=pl.lit(None, dtype=pl.String),
        )
    )
