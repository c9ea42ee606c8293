"""However crowded a photo, it is asked so much and no more."""

import numpy as np
import polars as pl
import pytest

from forge_assets.candidate_qa.generate import candidates
from forge_assets.tables import CANDIDATE_QA, SCENES
from forge_resources.config import ForgeConfig


@pytest.fixture(scope="module")
def crowded(make_scene):
    """One photo of 300 objects of six classes, each with a score of its own."""
    rng = np.random.default_rng(7)
    classes = ("person", "dog", "cat", "chair", "bus", "cup")

    def one(number):
        x, y = rng.uniform(0, 900, 2)
        depth = rng.uniform(1, 20)
        return (
            classes[number % 6],
            (x, y, x + 80, y + 90),
            {
                "score": 0.35 + number / 500, "facing": 0.9, "mirror_facing": 0.9, "facing_score": 0.8,
                "ground_depth": depth, "mirror_ground_depth": depth,
                "height_depth": depth, "mirror_height_depth": depth,
            },
        )  # fmt: skip

    return make_scene(*(one(number) for number in range(300)))


def numbers(table):
    return dict(table.select(pl.col("task").cast(pl.String)).group_by("task").len().rows())


def test_a_crowded_photo_is_asked_at_most_so_many_of_each_task(crowded):
    found = numbers(candidates(crowded, ForgeConfig()))
    assert found == {"grounding": 6, "counting": 12, "near_far": 12}  # 50 of each class: none has a phrase of its own


def test_the_limit_is_configured(crowded):
    assert numbers(candidates(crowded, ForgeConfig(tasks={"max_pairs_per_task": 3}))) == {
        "grounding": 3, "counting": 3, "near_far": 3,
    }  # fmt: skip


def test_the_limit_is_shared_out_over_the_forms(street_pairs):
    forms = street_pairs.group_by("image_id", "task", "form").len()
    spread = forms.group_by("image_id", "task").agg(most=pl.max("len"), forms=pl.len())
    assert spread.filter(pl.col("task") == "near_far").select((pl.col("forms") >= 6).all()).item()
    assert spread.filter(pl.col("task").is_in(["near_far", "left_right", "counting"]))["most"].max() <= 4


def test_of_too_many_objects_the_surest_are_asked_about(crowded):
    found = candidates(crowded, ForgeConfig(tasks={"max_pairs_per_task": 300}))
    named = set(found["object_ids"].explode())
    assert named == set(crowded.sort("score", descending=True)["object_id"][:24])
    asked = found.filter(pl.col("form").is_in(["nearer", "farther"]))
    assert asked.height <= 24 * 23 // 2
    assert asked.height > 100


def test_of_too_many_pairs_those_of_the_surest_objects_stay(crowded):
    def of_two(most):
        found = candidates(crowded, ForgeConfig(tasks={"max_pairs_per_task": most}))
        return found.filter(pl.col("form").is_in(["nearer", "farther"]))

    kept, everything = of_two(24), of_two(300)
    weakest = pl.col("evidence").struct.field("scores").list.min()
    surest = everything.select(weakest.sort(descending=True).head(24).min()).item()
    assert kept.select(weakest.min()).item() >= surest
    assert set(kept["qa_id"]) <= set(everything["qa_id"])


def test_no_objects_give_an_empty_table(make_scene):
    for scene in (pl.DataFrame(schema=dict(SCENES)), make_scene(("dog", (1, 1, 9, 9), {"score": 0.1}))):
        found = candidates(scene, ForgeConfig())
        assert (found.height, found.schema) == (0, pl.Schema(CANDIDATE_QA))
