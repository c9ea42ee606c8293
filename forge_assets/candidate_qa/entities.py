"""What can be asked about: the distinct objects of each photo, their rivals and the words for them."""

from functools import cache
from importlib import resources

import polars as pl

from forge_assets.candidate_qa.choosing import placed
from forge_assets.candidate_qa.lists import joined
from forge_assets.candidate_qa.names import category_names
from forge_assets.in_memory import collected
from forge_assets.tables import UNASKABLE_FLAGS
from forge_resources.config import ForgeConfig

MATCH_IOU = 0.5
"""A detector's box that overlaps a human one this much is the same object."""


def to_thousandths(pixels: str, side: str) -> pl.Expr:
    """A pixel coordinate as Qwen3-VL writes it: `clamp(round(x / side * 1000), 0, 1000)`, Int32."""
    return (pl.col(pixels) / pl.col(side) * 1000).round().clip(0, 1000).cast(pl.Int32)


def unaskable() -> pl.Expr:
    """The label says that the object is no single, real one seen from outside."""
    return pl.any_horizontal(pl.col(flag).fill_null(value=False) for flag in UNASKABLE_FLAGS)


@cache
def wide_classes() -> pl.DataFrame:
    """Classes that hold others, such as `animal` and `vehicle`: category.

    A name of these fits the objects of other classes too, so nothing is called by it, nor counted. Read from
    `wide_classes.csv` beside this module, which a person may edit.
    """
    text = resources.files("forge_assets.candidate_qa").joinpath("wide_classes.csv").read_text()
    return pl.read_csv(text.encode(), schema={"category": pl.String})


def _best_score() -> pl.Expr:
    """The higher of the scores that a detector's object has in photo and mirror."""
    return pl.max_horizontal("score", "mirror_score")


def _may_be(least: float, config: ForgeConfig) -> pl.Expr:
    """A box that may show an object of which no label tells.

    That is one of the detector, in photo or mirror, of at least that score, or one that the second detector is as sure
    of as verification is of a named object; in a labelled photo only where no human box of its class matches it.
    """
    by_detector = pl.col("origin").is_in(["detector", "mirror"]) & (_best_score() >= least)
    by_second = (pl.col("origin") == "second") & (pl.col("score") >= config.verification.min_score)
    untold = ~pl.col("is_labeled") | (pl.col("match_iou").fill_null(0) < MATCH_IOU)
    return untold & (by_detector | by_second)


def _human_counts(scenes: pl.LazyFrame) -> pl.LazyFrame:
    """image_id, category, count_human: how many of a class people counted or pointed at in the whole photo."""
    counted = scenes.select("image_id", "human_counts").filter(pl.col("human_counts").list.len() > 0)
    return (
        counted.unique("image_id")
        .explode("human_counts")
        .select(
            "image_id",
            category=pl.col("human_counts").struct.field("category"),
            count_human=pl.col("human_counts").struct.field("count"),
        )
    )


def _counts(scenes: pl.LazyFrame, config: ForgeConfig) -> pl.LazyFrame:
    """Objects per photo and category, counted strictly, loosely, in the mirror, by people, and as possible rivals.

    In a labelled photo the human boxes count, and a detector's box only where it contradicts them: it is
    sure, and no human box of its class matches it. A crowd counts as several, and so does what may or may not
    be meant, such as a statue; a human label that could not be used may have been of any class, so it counts as
    one more that there may be.
    """
    rules = config.verification
    human, labeled = pl.col("origin") == "human", pl.col("is_labeled")
    person_counted = human & ~unaskable()
    found = ~labeled & (pl.col("origin") == "detector")

    def number(of: pl.Expr) -> pl.Expr:
        return of.sum().cast(pl.Int32)

    certain = number(person_counted)
    unsure = 2 * number(human & unaskable()) + pl.col("labels_dropped").first().fill_null(0)
    counted_loosely = (
        pl.when(labeled).then(_may_be(rules.min_score, config)).otherwise(_may_be(rules.count_loose_score, config))
    )
    return (
        scenes.group_by("image_id", "category")
        .agg(
            count_strict=certain + number(found & (pl.col("score") >= rules.count_strict_score)),
            count_loose=certain + unsure + number(counted_loosely),
            count_mirror=certain
            + number(
                found & (pl.col("score") >= rules.count_strict_score) & (pl.col("mirror_score") >= rules.min_score)
            ),
            same_category=certain + unsure + number(_may_be(rules.unique_loose_score, config)),
        )
        .join(_human_counts(scenes), on=["image_id", "category"], how="left")
        .with_columns(same_category=pl.max_horizontal("same_category", "count_human"))
    )


def possible_objects(scenes: pl.LazyFrame, config: ForgeConfig) -> pl.LazyFrame:
    """Every object that may be in a photo, as `same_category` counts them.

    Args:
        scenes: rows of `SCENES`.
        config: the whole configuration.

    Returns:
        Rows of `SCENES`, with `unsure`: how many more of the class there may be of which no box tells, and `of_class`:
        how many of the class there may be in all.
    """
    of_class = ("image_id", "category")
    is_human = pl.col("origin") == "human"
    several = (is_human & unaskable()).cast(pl.Int32)
    told = several.sum().over(of_class) + pl.col("labels_dropped").fill_null(0)
    boxes = pl.len().over(of_class).cast(pl.Int32)
    return (
        scenes.filter(is_human | _may_be(config.verification.unique_loose_score, config))
        .join(_human_counts(scenes), on=list(of_class), how="left")
        .with_columns(unsure=pl.max_horizontal(told, pl.col("count_human").fill_null(0) - boxes))
        .with_columns(of_class=boxes + pl.col("unsure"))
        .drop("count_human")
    )


def _marked_points(chosen: pl.LazyFrame, possible: pl.LazyFrame) -> pl.LazyFrame:
    """The centre of each box that lies in no other box, as text in thousandths: object_id, point."""
    x, y = (pl.col("x1") + pl.col("x2")) / 2, (pl.col("y1") + pl.col("y2")) / 2
    centers = chosen.select("image_id", "object_id", "image_width", "image_height", x=x, y=y)
    boxes = possible.select("image_id", "x1", "y1", "x2", "y2", other_id="object_id")
    inside = pl.col("x").is_between("x1", "x2") & pl.col("y").is_between("y1", "y2")
    return (
        centers.join(boxes, on="image_id")
        .filter(inside & (pl.col("object_id") != pl.col("other_id")))
        .select("object_id")
        .unique()
        .pipe(lambda taken: centers.join(taken, on="object_id", how="anti"))
        .select(
            "object_id",
            point=pl.format("[{}, {}]", to_thousandths("x", "image_width"), to_thousandths("y", "image_height")),
        )
    )


def entities(scenes: pl.LazyFrame, config: ForgeConfig) -> pl.LazyFrame:
    """The objects that questions may name, one row each, with the words and boxes to name them by.

    In a labelled photo these are the human boxes that no flag makes unaskable; else the detector's boxes from
    `min_candidate_score`, at most `max_objects` of a photo, the surest first; none of a wide class.

    Args:
        scenes: rows of `SCENES`.
        config: the whole configuration.

    Returns:
        The columns of `SCENES`, `found_by` and `posed_by` (the networks, as `lists.joined` gives them), the counts of
        the object's category in its photo (`count_strict`, `count_loose`, `count_mirror`, `count_human`,
        `same_category`), `count_spread` between all of these, `is_unique`, `entities_of_class` (such rows of its class
        and photo), `sure_score` and `sure_mirror_iou` (0-1: human boxes are sure and need no mirror),
        `sure_second_score` (null where the second detector does not know the class), `box` (Array of 4 Int32, 0-1000),
        `region` (its text), `point` (its centre as text, null where that lies in another box too), `singular`,
        `plural`, `indefinite`, `by_name` ("the bus"), `by_region` and `by_point` (null without a point).
    """
    human = pl.col("is_labeled") & (pl.col("origin") == "human") & ~unaskable()
    is_found = (pl.col("origin") == "detector") & (pl.col("score") >= config.tasks.min_candidate_score)
    is_human = pl.col("origin") == "human"
    names = category_names(scenes.select("category").unique().pipe(collected)["category"])
    left, right = to_thousandths("x1", "image_width").clip(0, 999), to_thousandths("x2", "image_width")
    top, bottom = to_thousandths("y1", "image_height").clip(0, 999), to_thousandths("y2", "image_height")
    counts = [pl.col(f"count_{name}") for name in ("strict", "loose", "mirror", "human")] + [pl.col("same_category")]
    same_box = pl.col("second_iou") >= MATCH_IOU
    chosen = (
        scenes.filter(human | (~pl.col("is_labeled") & is_found))
        .join(wide_classes().lazy(), on="category", how="anti")
        .with_columns(
            sure_score=pl.when(is_human)
            .then(1.0)
            .otherwise(pl.max_horizontal("score", pl.when(same_box).then("second_score"))),
            sure_mirror_iou=pl.when(is_human).then(1.0).otherwise(pl.col("mirror_iou").fill_null(0.0)),
            sure_second_score=pl.when(is_human)
            .then(1.0)
            .when(pl.col("second_score").is_not_null())
            .then(pl.when(same_box).then("second_score").otherwise(0.0)),
        )
        .pipe(placed, "image_id", (-pl.col("sure_score"), "object_id"))
        .filter(pl.col("place") < config.tasks.max_objects)
        .drop("place")
        .join(_counts(scenes, config), on=["image_id", "category"])
        .join(names.lazy(), on="category")
        .with_columns(
            is_unique=pl.col("same_category") == 1,
            count_spread=pl.max_horizontal(*counts) - pl.min_horizontal(*counts),
            found_by=joined("detector", "second_detector"),
            posed_by=joined("pose_model", "second_pose_model"),
            entities_of_class=pl.len().over("image_id", "category").cast(pl.Int32),
        )
        .with_columns(
            box=pl.concat_arr(left, top, pl.max_horizontal(right, left + 1), pl.max_horizontal(bottom, top + 1))
        )
        .with_columns(region=pl.format("[{}]", pl.col("box").cast(pl.List(pl.String)).list.join(", ")))
    )
    return chosen.join(
        _marked_points(chosen, possible_objects(scenes, config)), on="object_id", how="left"
    ).with_columns(
        by_name=pl.format("the {}", "singular"),
        by_region=pl.format("the {} at {}", "singular", "region"),
        by_point=pl.format("the {} at the point {}", "singular", "point"),
    )
