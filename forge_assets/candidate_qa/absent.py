"""Honest zeros: classes that one would expect beside those of a photo, and that are not there."""

from functools import cache
from importlib import resources

import polars as pl

from forge_assets.candidate_qa.choosing import Form, placed
from forge_assets.candidate_qa.identity import blake3, seeded
from forge_assets.candidate_qa.lists import joined_list
from forge_assets.candidate_qa.names import category_names

TASK = "counting"
MAX_ZEROS = 2
"""Of one photo."""
_NOT_ASKED = (
    "person", "chair", "sink", "traffic light", "umbrella", "frisbee", "kite", "potted plant", "bench",
    "car", "boat", "laptop",
)  # fmt: skip
"""Too small or too vague in outline, or too often far away, for a detector to miss none of them."""


@cache
def plausible_classes() -> pl.DataFrame:
    """Classes of COCO by the setting in which they are common: category, setting, lookalikes.

    A detector may take one of the `lookalikes` for the other. Read from `plausible_classes.csv` beside this module,
    which a person may edit.
    """
    text = resources.files("forge_assets.candidate_qa").joinpath("plausible_classes.csv").read_text()
    return pl.read_csv(text.encode(), schema=dict.fromkeys(("category", "setting", "lookalikes"), pl.String))


def zeros(scenes: pl.LazyFrame, entities: pl.LazyFrame, min_score: float) -> Form:
    """The form that asks for a class of which a photo shows none, at most `MAX_ZEROS` a photo.

    The class shares a setting with one that is surely there. Neither it nor one of its lookalikes was found, in photo
    or mirror, by either detector, not even at their floors, and nobody counted it. Photos that people labelled are
    left out: that a class has no label need not mean that the labellers looked for it.

    Args:
        scenes: rows of `SCENES`.
        entities: as `entities.entities` gives them.
        min_score: from which a class is surely there.
    """
    known = plausible_classes().lazy()
    groups = known.select("category", "lookalikes").unique()
    seen = scenes.select("image_id", "category").unique().join(groups, on="category").select("image_id", "lookalikes")
    asked = known.filter(~pl.col("category").is_in(_NOT_ASKED))
    counted = (
        scenes.select("image_id", "human_counts")
        .unique("image_id")
        .explode("human_counts", empty_as_null=False)
        .select("image_id", pl.col("human_counts").struct.field("category"))
        .drop_nulls()
    )
    sure = entities.filter(~pl.col("is_labeled") & (pl.col("sure_score") >= min_score))
    in_setting = sure.select("image_id", "image_sha256", "category", "found_by").join(known, on="category")
    drafts = (
        in_setting.select("image_id", "image_sha256", "setting")
        .unique()
        .join(asked, on="setting")
        .drop("setting")
        .join(seen, on=["image_id", "lookalikes"], how="anti")
        .join(counted, on=["image_id", "category"], how="anti")
        .select("image_id", "image_sha256", "category")
        .unique()
        .with_columns(drawn=blake3("image_sha256", pl.lit("zero"), "category"))
        .pipe(placed, "image_id", ("drawn", "category"))
        .filter(pl.col("place") < MAX_ZEROS)
        .drop("drawn", "place")
        .pipe(seeded, TASK, pl.lit(""), variant="category")
        .with_columns(least_score=pl.lit(None, dtype=pl.Float64))
    )

    def told(drafts: pl.LazyFrame) -> pl.LazyFrame:
        found_by = (
            drafts.select("image_id", "category")
            .join(asked.select("category", "setting"), on="category")
            .join(in_setting.select("image_id", "setting", "found_by").unique(), on=["image_id", "setting"])
            .group_by("image_id", "category")
            .agg(models="found_by")
            .with_columns(models=joined_list(pl.col("models")))
        )
        return (
            drafts.join(found_by, on=["image_id", "category"])
            .join(category_names(plausible_classes()["category"]).lazy(), on="category")
            .with_columns(
                count=pl.lit(0, dtype=pl.Int32),
                answer_kind=pl.lit("integer"),
                **{f"e_count_{count}": pl.lit(0, dtype=pl.Int32) for count in ("strict", "loose", "mirror")},
            )
        )

    return Form(TASK, "zero", drafts, told)
