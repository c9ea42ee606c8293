"""Counting: how many objects of a class the photo shows, of a colour, in a half of it, nearer than another, or none."""

import polars as pl

from forge_assets.candidate_qa.depth_pairs import numbered_readings
from forge_assets.candidate_qa.evidence import models_of
from forge_assets.candidate_qa.identity import OFFSET_DIGIT, SIDE_DIGIT, blake3, draw, seeded
from forge_assets.candidate_qa.options import is_true, listed, rotated, yes_or_no
from forge_assets.candidate_qa.whole_class import colored_classes

TASK = "counting"
OPTIONS = 4
MAX_COMPARED = 6
"""Of a class, whose depths are compared with that of one object."""


def counting(
    classes: pl.LazyFrame, colors: pl.LazyFrame, named: pl.LazyFrame, depths: pl.LazyFrame, counting_max: int
) -> list[pl.LazyFrame]:
    """Drafts of all forms but `zero`, see `absent`.

    A number rests on the same objects and the same evidence as the grounding of the class. `answer_object_ids` are
    those counted, `object_ids` those looked at.

    Args:
        classes: as `whole_class.whole_classes` gives them.
        colors: as `phrases.color_facts` gives them.
        named: entities with clear names, as `naming.named` gives them.
        depths: as `depth_pairs.depth_pairs` gives them.
        counting_max: larger numbers are not asked.
    """
    few = classes.filter(pl.col("number") <= counting_max)
    of_class = few.with_columns(answer_object_ids="object_ids").pipe(_counted)
    return [
        of_class.with_columns(form=pl.lit("number")),
        _number_choice(of_class),
        _number_yes_no(of_class),
        colored_classes(few, colors).pipe(_counted).with_columns(form=pl.lit("colored")),
        _half(few),
        _nearer_than(few, named, depths),
    ]


def _counted(drafts: pl.LazyFrame) -> pl.LazyFrame:
    """The count, which is the answer, and the seed."""
    return drafts.with_columns(
        count=pl.col("answer_object_ids").list.len().cast(pl.Int32), answer_kind=pl.lit("integer")
    ).pipe(seeded, TASK)


def _number_choice(counted: pl.LazyFrame) -> pl.LazyFrame:
    """Neighbouring numbers, of which the right one is at a drawn place of the row."""
    first = pl.col("count").cast(pl.Int64) - pl.min_horizontal(draw("seed", OFFSET_DIGIT, OPTIONS), "count")
    return (
        counted.with_columns(
            form=pl.lit("number_choice"),
            answer_kind=pl.lit("choice"),
            answer=pl.col("count").cast(pl.String),
            all_options=pl.int_ranges(first, first + OPTIONS).cast(pl.List(pl.String)),
        )
        .with_columns(choices=rotated("all_options"))
        .with_columns(options=listed("choices", "or"))
    )


def _number_yes_no(counted: pl.LazyFrame) -> pl.LazyFrame:
    """No: it is one more, or one less where that leaves any."""
    more = (pl.col("count") == 1) | (draw("seed", OFFSET_DIGIT, 2) == 0)
    asked = pl.col("count") + pl.when(is_true()).then(0).when(more).then(1).otherwise(-1)
    return counted.with_columns(
        form=pl.lit("number_yes_no"),
        answer_kind=pl.lit("yes_no"),
        answer=yes_or_no(is_true()),
        number_asked=asked,
        noun_asked=pl.when(asked == 1).then("singular").otherwise("plural"),
    )


def _half(classes: pl.LazyFrame) -> pl.LazyFrame:
    """Each object must lie clear of the middle, in photo and mirror; which half is asked about is drawn."""

    def clearance(prefix: str) -> pl.Expr:
        """By how much the object that comes nearest to the middle keeps away from it; null where one is unseen."""
        left, right = pl.element().struct.field(f"{prefix}left"), pl.element().struct.field(f"{prefix}right")
        was_left = pl.element().struct.field("left") + pl.element().struct.field("right") < 0
        clear = pl.when(was_left).then(-right).otherwise(left)
        each = pl.col("places").list.eval(clear)
        return pl.when(~each.list.eval(pl.element().is_null()).list.any()).then(each.list.min())

    places = (
        classes.filter(pl.col("number") > 1)
        .select("image_id", "category", "object_ids", "left", "right", "mirror_left", "mirror_right")
        .explode("object_ids", "left", "right", "mirror_left", "mirror_right")
        .group_by("image_id", "category", maintain_order=True)
        .agg(
            places=pl.struct("left", "right", "mirror_left", "mirror_right"),
            on_left=pl.col("object_ids").filter(pl.col("left") + pl.col("right") < 0),
            on_right=pl.col("object_ids").filter(pl.col("left") + pl.col("right") >= 0),
        )
    )
    in_left = draw("seed", SIDE_DIGIT, 2) == 0
    return (
        classes.join(places, on=["image_id", "category"])
        .with_columns(
            form=pl.lit("half"), variant=pl.lit("half"), e_gap=clearance(""), e_mirror_gap=clearance("mirror_")
        )
        .filter(pl.col("e_gap") > 0)
        .pipe(seeded, TASK)
        .with_columns(
            answer_object_ids=pl.when(in_left).then("on_left").otherwise("on_right"),
            half=pl.when(in_left).then(pl.lit("left")).otherwise(pl.lit("right")),
        )
        .pipe(_counted)
    )


def _nearer_than(classes: pl.LazyFrame, named: pl.LazyFrame, depths: pl.LazyFrame) -> pl.LazyFrame:
    """Of each class one drawn object of another class, against which the depth of every one is read."""
    landmark = named.select(
        "image_id",
        "detector",
        landmark="name",
        landmark_category="category",
        landmark_id="object_id",
        landmark_score="sure_score",
        landmark_phrases="named_by",
    )
    either_way = pl.concat(
        [
            depths.select("near_id", "far_id", one=pl.col(one), other=pl.col(other), is_nearer=pl.lit(one == "near_id"))
            for one, other in (("near_id", "far_id"), ("far_id", "near_id"))
        ]
    )
    several = classes.filter(pl.col("number").is_between(2, MAX_COMPARED))
    key = ("image_id", "category", "landmark_id")
    read = (
        several.select("image_id", "category", "number", one="object_ids")
        .with_columns(pair=pl.int_ranges(pl.col("number")).cast(pl.List(pl.Int32)))
        .explode("one", "pair")
        .join(landmark.select("image_id", "landmark_id", "landmark_category"), on="image_id")
        .filter(pl.col("category") != pl.col("landmark_category"))
        .join(either_way, left_on=["one", "landmark_id"], right_on=["one", "other"])
        .filter(pl.len().over(key) == pl.col("number"))
        .collect()
        .lazy()
    )
    drawn = (
        read.select(key)
        .unique()
        .with_columns(drawn=blake3("landmark_id", "category"))
        .filter(pl.struct("drawn", "landmark_id").rank("ordinal").over("image_id", "category") == 1)
    )
    compared = (
        read.join(drawn, on=key, how="semi")
        .join(depths.select("near_id", "far_id", "readings", "models"), on=["near_id", "far_id"])
        .pipe(numbered_readings)
        .sort(*key, "pair", "reading")
        .group_by(*key, maintain_order=True)
        .agg(
            counted=pl.col("one").filter("is_nearer").unique(maintain_order=True),
            readings="readings",
            models=pl.col("models").explode(empty_as_null=False).unique().sort(),
        )
    )
    return (
        several.join(compared, on=["image_id", "category"])
        .join(landmark, on=["image_id", "landmark_id"])
        .with_columns(
            object_ids=pl.concat_list("object_ids", "landmark_id"),
            least_score=pl.min_horizontal("least_score", "landmark_score"),
            e_phrases="landmark_phrases",
            form=pl.lit("nearer_than"),
            answer_object_ids="counted",
            e_readings="readings",
            e_models=models_of("e_models", "models", "detector"),
        )
        .pipe(_counted)
    )
