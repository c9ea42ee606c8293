"""Counting: how many objects of a class the photo shows, of a colour, in a half of it, nearer than another, or none."""

import polars as pl

from forge_assets.candidate_qa.choosing import Form
from forge_assets.candidate_qa.depth_pairs import numbered_readings, with_readings
from forge_assets.candidate_qa.identity import OFFSET_DIGIT, SIDE_DIGIT, blake3, draw, seeded
from forge_assets.candidate_qa.lists import joined, joined_list, list_of, texts_of
from forge_assets.candidate_qa.options import is_true, listed, rotated, yes_or_no
from forge_assets.candidate_qa.whole_class import CLASS_OF_PHOTO, Classes
from forge_assets.in_memory import computed

TASK = "counting"
OPTIONS = 4
MAX_COMPARED = 6
"""Of a class, whose depths are compared with that of one object."""


def counting(classes: Classes, named: pl.LazyFrame, depths: pl.LazyFrame, counting_max: int) -> list[Form]:
    """All forms but `zero`, see `absent`.

    A number rests on the same objects and the same evidence as the grounding of the class. `answer_object_ids` are
    those counted, `object_ids` those looked at.

    Args:
        classes: of the photos.
        named: entities with clear names, as `naming.named` gives them.
        depths: as `depth_pairs.depth_pairs` gives them.
        counting_max: larger numbers are not asked.
    """
    few = classes.whole.filter(pl.col("number") <= counting_max)
    of_class = few.pipe(seeded, TASK, texts_of("object_ids")).pipe(computed)
    of_color = classes.colored.filter(pl.col("number") <= counting_max)
    return [
        Form(TASK, "number", of_class, _number),
        Form(TASK, "number_choice", of_class, _number_choice),
        Form(TASK, "number_yes_no", of_class, _number_yes_no),
        Form(TASK, "colored", of_color.pipe(seeded, TASK, texts_of("object_ids"), variant="color"), _colored),
        Form(TASK, "half", _halves(few, classes.members), _half),
        _nearer_than(few, named, depths),
    ]


def _counted(drafts: pl.LazyFrame) -> pl.LazyFrame:
    """The count, which is the answer."""
    return drafts.with_columns(
        count=pl.col("answer_object_ids").list.len().cast(pl.Int32), answer_kind=pl.lit("integer")
    )


def _number(drafts: pl.LazyFrame) -> pl.LazyFrame:
    return drafts.with_columns(answer_object_ids="object_ids").pipe(_counted)


def _number_choice(drafts: pl.LazyFrame) -> pl.LazyFrame:
    """Neighbouring numbers, of which the right one is at a drawn place of the row."""
    first = pl.col("count").cast(pl.Int64) - pl.min_horizontal(draw("seed", OFFSET_DIGIT, OPTIONS), "count")
    return (
        _number(drafts)
        .with_columns(
            answer_kind=pl.lit("choice"),
            answer=pl.col("count").cast(pl.String),
            all_options=pl.int_ranges(first, first + OPTIONS).cast(pl.List(pl.String)),
        )
        .with_columns(choices=rotated("all_options"))
        .with_columns(options=listed("choices", "or"))
    )


def _number_yes_no(drafts: pl.LazyFrame) -> pl.LazyFrame:
    """No: it is one more, or one less where that leaves any."""
    more = (pl.col("count") == 1) | (draw("seed", OFFSET_DIGIT, 2) == 0)
    asked = pl.col("count") + pl.when(is_true()).then(0).when(more).then(1).otherwise(-1)
    return _number(drafts).with_columns(
        answer_kind=pl.lit("yes_no"),
        answer=yes_or_no(is_true()),
        number_asked=asked,
        noun_asked=pl.when(asked == 1).then("singular").otherwise("plural"),
    )


def _colored(drafts: pl.LazyFrame) -> pl.LazyFrame:
    return drafts.with_columns(phrase_numbers=list_of("phrase_number")).pipe(_counted)


def _halves(classes: pl.LazyFrame, members: pl.LazyFrame) -> pl.LazyFrame:
    """Each object must lie clear of the middle, in photo and mirror; a box that a person drew needs no mirror."""
    width, is_human = pl.col("image_width"), pl.col("origin") == "human"
    sides = {
        "left": pl.col("x1"),
        "right": pl.col("x2"),
        "mirror_left": pl.when(is_human).then("x1").otherwise("mirror_x1"),
        "mirror_right": pl.when(is_human).then("x2").otherwise("mirror_x2"),
    }
    was_left = pl.col("left") + pl.col("right") < 0

    def clearance(prefix: str) -> pl.Expr:
        return pl.when(was_left).then(-pl.col(f"{prefix}right")).otherwise(f"{prefix}left")

    def nearest_to_middle(clear: str) -> pl.Expr:
        """Of all objects; null where one is unseen."""
        return pl.when(pl.col(clear).null_count() == 0).then(pl.col(clear).min())

    placed_members = (
        members.with_columns(**{name: (side - width / 2) / width for name, side in sides.items()})
        .with_columns(was_left=was_left, clear=clearance(""), mirror_clear=clearance("mirror_"))
        .group_by(CLASS_OF_PHOTO, maintain_order=True)
        .agg(
            e_gap=nearest_to_middle("clear"),
            e_mirror_gap=nearest_to_middle("mirror_clear"),
            on_left=pl.col("object_id").filter("was_left"),
            on_right=pl.col("object_id").filter(~pl.col("was_left")),
        )
    )
    return (
        classes.filter(pl.col("number") > 1)
        .join(placed_members.filter(pl.col("e_gap") > 0), on=CLASS_OF_PHOTO)
        .pipe(seeded, TASK, texts_of("object_ids"), variant=pl.lit("half"))
    )


def _half(drafts: pl.LazyFrame) -> pl.LazyFrame:
    """Which half is asked about is drawn."""
    in_left = draw("seed", SIDE_DIGIT, 2) == 0
    return drafts.with_columns(
        answer_object_ids=pl.when(in_left).then("on_left").otherwise("on_right"),
        half=pl.when(in_left).then(pl.lit("left")).otherwise(pl.lit("right")),
    ).pipe(_counted)


def _nearer_than(classes: pl.LazyFrame, named: pl.LazyFrame, depths: pl.LazyFrame) -> Form:
    """Of each class one drawn object of another class, against which the depth of every one is read."""
    several = classes.filter(pl.col("number").is_between(2, MAX_COMPARED)).with_row_index("class_number")
    landmarks = named.select("image_id", landmark_id="object_id", landmark_category="category")
    key = ("class_number", "landmark_id")
    one, landmark = pl.col("one"), pl.col("landmark_id")
    read = (
        several.select("class_number", "image_id", "category", "number", one="object_ids")
        .with_columns(pair=pl.int_ranges(pl.col("number")).cast(pl.List(pl.Int32)))
        .explode("one", "pair")
        .join(landmarks, on="image_id")
        .filter(pl.col("category") != pl.col("landmark_category"))
        .with_columns(
            low_id=pl.when(one < landmark).then(one).otherwise(landmark),
            high_id=pl.when(one < landmark).then(landmark).otherwise(one),
        )
        .join(depths.select("low_id", "high_id", "depth_pair", "near_id"), on=["low_id", "high_id"])
        .filter(pl.len().over(key) == pl.col("number"))
        .select(*key, "category", "one", "pair", "depth_pair", is_nearer=one == pl.col("near_id"))
        .pipe(computed)
    )
    drawn = (
        read.select(*key, "category")
        .unique(key)
        .with_columns(drawn=blake3("landmark_id", "category"))
        .sort("class_number", "drawn", "landmark_id")
        .unique("class_number", keep="first")
    )
    drafts = (
        several.join(drawn.select(key), on="class_number")
        .join(named.select(landmark_id="object_id", landmark_score="sure_score"), on="landmark_id")
        .pipe(seeded, TASK, texts_of("object_ids"), "landmark_id")
        .with_columns(least_score=pl.min_horizontal("least_score", "landmark_score"))
    )

    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        of_drafts = read.join(drafts.select(key), on=key, how="semi")
        compared = of_drafts.pipe(with_readings, depths).sort("class_number", "pair")
        counted = compared.group_by("class_number", maintain_order=True).agg(
            "depth_models", answer_object_ids=pl.col("one").filter("is_nearer")
        )
        readings = compared.pipe(numbered_readings).group_by("class_number", maintain_order=True).agg("e_readings")
        names = named.select(
            landmark_id="object_id", landmark="name", phrase_number="phrase_number", landmark_models="found_by"
        )
        return (
            drafts.join(counted, on="class_number")
            .join(readings, on="class_number")
            .join(names, on="landmark_id")
            .with_columns(
                object_ids=pl.concat_list("object_ids", "landmark_id"),
                phrase_numbers=list_of("phrase_number"),
                depth_models=joined_list(pl.col("depth_models")),
            )
            .with_columns(models=joined("models", "depth_models", "landmark_models"))
            .pipe(_counted)
        )

    return Form(TASK, "nearer_than", drafts, told)
