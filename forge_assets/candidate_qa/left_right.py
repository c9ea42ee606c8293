"""Left-right: on which side of another object one lies, as the viewer sees it."""

import polars as pl

from forge_assets.candidate_qa.pairs import object_pairs

_CARRIED = (
    "category",
    "box",
    "by_name",
    "same_category",
    "sure_score",
    "sure_mirror_iou",
    "is_truncated",
    "occlusion",
    "class_conflict",
    "detector",
    "origin",
    "x1",
    "x2",
    "mirror_x1",
    "mirror_x2",
    "image_width",
)


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
            object_ids=pl.concat_list("object_id_a", "object_id_b"),
            answer_object_ids=pl.concat_list("object_id_a"),
            boxes=pl.concat_list("box_a", "box_b"),
            category=pl.lit(None, dtype=pl.String),
            e_scores=pl.concat_list("sure_score_a", "sure_score_b"),
            e_mirror_ious=pl.concat_list("sure_mirror_iou_a", "sure_mirror_iou_b"),
            e_truncated=pl.concat_list("is_truncated_a", "is_truncated_b"),
            e_occlusions=pl.concat_list("occlusion_a", "occlusion_b"),
            e_class_conflicts=pl.concat_list("class_conflict_a", "class_conflict_b"),
            e_same_category=pl.max_horizontal("same_category_a", "same_category_b"),
            e_mirror_gap=mirror_or_human(pl.col("mirror_gap"), pl.col("e_gap"), "origin_a", "origin_b"),
            e_center_gap=center_gap,
            e_models=pl.concat_list("detector_a", "detector_b").list.drop_nulls().list.unique().list.sort(),
        )
    )
