"""How much of each object other objects of its photo cover, and what else it might be."""

import polars as pl

from forge_assets.in_memory import collected

SAME_OBJECT_IOU = 0.8
"""Two boxes of one class this alike are two readings of one object, not neighbours."""
RIVAL_SCORE = 0.25
RIVAL_SHARE = 0.5
"""A box of another class that is weaker, or this much weaker than the box itself, puts no class into doubt."""


def _shared_and_iou() -> tuple[pl.Expr, pl.Expr]:
    """Area that a box shares with the other one, in square pixels, and their IoU."""
    width = pl.min_horizontal("x2", "x2_other") - pl.max_horizontal("x1", "x1_other")
    height = pl.min_horizontal("y2", "y2_other") - pl.max_horizontal("y1", "y1_other")
    shared = width.clip(0) * height.clip(0)
    area, other = (
        (pl.col(f"x2{end}") - pl.col(f"x1{end}")) * (pl.col(f"y2{end}") - pl.col(f"y1{end}")) for end in ("", "_other")
    )
    return shared, shared / (area + other - shared)


def overlaps(objects: pl.DataFrame) -> pl.DataFrame:
    """How each box stands to the others of its photo.

    Of two boxes, the one that reaches lower in the photo is taken to be in front. Boxes that only the mirrored photo or
    only the second detector shows cover nothing, but may put a class into doubt.

    Args:
        objects: object_id, image_id, origin, category, score, x1, y1, x2, y2 (pixels), one row an object.

    Returns:
        object_id and, 0-1 each, `overlap`: the largest share of the box that one other box covers; `occlusion`: that
        a box in front covers; `class_conflict`: the largest IoU with a box of another class that a human drew
        or a detector is about as sure of. One row an object that another one touches.
    """
    boxes = objects.lazy().select("object_id", "image_id", "origin", "category", "score", "x1", "y1", "x2", "y2")
    pairs = boxes.join(boxes, on="image_id", suffix="_other").filter(pl.col("object_id") != pl.col("object_id_other"))
    shared, iou = _shared_and_iou()
    area = (pl.col("x2") - pl.col("x1")) * (pl.col("y2") - pl.col("y1"))
    same_class = pl.col("category") == pl.col("category_other")
    as_sure = (pl.col("score_other") >= RIVAL_SCORE) & (
        pl.col("score_other") >= RIVAL_SHARE * pl.col("score").fill_null(1.0)
    )
    covers = pl.col("origin_other").is_in(["human", "detector"])
    rival = ~same_class & ((pl.col("origin_other") == "human") | as_sure)
    return (
        pairs.with_columns(
            overlap=pl.when(covers).then(shared / area).otherwise(0.0),
            in_front=pl.col("y2_other") > pl.col("y2"),
            rival_iou=pl.when(rival).then(iou),
        )
        .filter((shared > 0) & ~(same_class & (iou >= SAME_OBJECT_IOU)))
        .group_by("object_id")
        .agg(
            pl.max("overlap"),
            occlusion=pl.col("overlap").filter("in_front").max(),
            class_conflict=pl.max("rival_iou"),
        )
        .pipe(collected)
    )


def boxes_in_front(objects: pl.DataFrame) -> pl.DataFrame:
    """The boxes that may hide each object: those that overlap its box and reach lower in the photo.

    Args:
        objects: object_id, image_id, category, x1, y1, x2, y2 (pixels), image_width, image_height.

    Returns:
        object_id and `in_front`, a list of [x1, y1, x2, y2] as shares of the photo, 0-1; one row an object with any.
    """
    boxes = objects.lazy().select(
        "image_id", "object_id", "category", "x1", "y1", "x2", "y2", width="image_width", height="image_height"
    )
    shared, iou = _shared_and_iou()
    same_object = (pl.col("category") == pl.col("category_other")) & (iou >= SAME_OBJECT_IOU)
    return (
        boxes.join(boxes, on="image_id", suffix="_other")
        .filter((pl.col("object_id") != pl.col("object_id_other")) & (pl.col("y2_other") > pl.col("y2")))
        .filter((shared > 0) & ~same_object)
        .sort("object_id", "object_id_other")
        .group_by("object_id", maintain_order=True)
        .agg(
            in_front=pl.concat_list(
                pl.col("x1_other") / pl.col("width"),
                pl.col("y1_other") / pl.col("height"),
                pl.col("x2_other") / pl.col("width"),
                pl.col("y2_other") / pl.col("height"),
            )
        )
        .pipe(collected)
    )
