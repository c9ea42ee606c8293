"""Left-right: on which side of another object one lies, as the viewer sees it."""

import polars as pl

from forge_assets.candidate_qa.evidence import OBJECT_EVIDENCE, evidence_of, models_of
from forge_assets.candidate_qa.pairs import object_pairs

PLACE = ("origin", "x1", "x2", "mirror_x1", "mirror_x2")
_CARRIED = (*OBJECT_EVIDENCE, *PLACE, "category", "by_name", "same_category", "image_width", "detector")


def horizontal_gap(side: pl.Expr, prefix: str, *, left: str, right: str) -> pl.Expr:
    """The space between two boxes, as a share of the photo's width; negative where they overlap in x.

    Args:
        side: true where the object with the ending `left` is claimed to be the left one.
        prefix: of the columns x1 and x2, such as `mirror_`.
        left: ending of the columns of one object.
        right: ending of the columns of the other.
    """
    forward = pl.col(f"{prefix}x1{right}") - pl.col(f"{prefix}x2{left}")
    backward = pl.col(f"{prefix}x1{left}") - pl.col(f"{prefix}x2{right}")
    return pl.when(side).then(forward).otherwise(backward) / pl.col(f"image_width{left}")


def mirror_or_human(value: pl.Expr, otherwise: pl.Expr, *origins: str) -> pl.Expr:
    """A reading of mirrored boxes; of boxes that people drew, which need no mirror, the plain one."""
    human = pl.all_horizontal(*(pl.col(origin) == "human" for origin in origins))
    return pl.when(human).then(otherwise).otherwise(value)


def left_right(entities: pl.LazyFrame) -> pl.LazyFrame:
    """One question a pair of objects whose class names are both unique in the photo.

    Args:
        entities: as `entities.entities` gives them.
    """
    a_is_left = (pl.col("x1_a") + pl.col("x2_a")) < (pl.col("x1_b") + pl.col("x2_b"))
    center_gap = ((pl.col("x1_a") + pl.col("x2_a")) - (pl.col("x1_b") + pl.col("x2_b"))).abs() / (
        2 * pl.col("image_width_a")
    )
    return (
        object_pairs(entities, _CARRIED, "left_right")
        .filter(pl.col("category_a") != pl.col("category_b"))
        .with_columns(a_is_left=a_is_left)
        .with_columns(
            e_gap=horizontal_gap(pl.col("a_is_left"), "", left="_a", right="_b"),
            mirror_gap=horizontal_gap(pl.col("a_is_left"), "mirror_", left="_a", right="_b"),
        )
        .with_columns(
            form=pl.lit("side"),
            side=pl.when("a_is_left").then(pl.lit("left")).otherwise(pl.lit("right")),
            a="by_name_a",
            b="by_name_b",
            answer_kind=pl.lit("choice"),
            answer_object_ids=pl.concat_list("object_id_a"),
            category=pl.lit(None, dtype=pl.String),
            e_same_category=pl.max_horizontal("same_category_a", "same_category_b"),
            e_mirror_gap=mirror_or_human(pl.col("mirror_gap"), pl.col("e_gap"), "origin_a", "origin_b"),
            e_center_gap=center_gap,
            e_models=models_of("detector_a", "detector_b"),
            **evidence_of("_a", "_b"),
        )
    )
