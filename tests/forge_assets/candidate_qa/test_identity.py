"""Ids that last, choices that are drawn fairly, and rows that depend on nothing but their own photo."""

import polars as pl
import pytest

from forge_assets.candidate_qa.generate import candidates
from forge_assets.candidate_qa.templates import templates
from forge_resources.config import ForgeConfig

NEAR, FAR = {"ground_depth": 2.0, "mirror_ground_depth": 2.0}, {"ground_depth": 4.0, "mirror_ground_depth": 4.0}


def test_ids_of_a_fixed_photo_never_change(make_scene):
    scene = make_scene(
        ("person", (450, 200, 550, 800), NEAR | {"facing": 0.9, "mirror_facing": 0.9, "facing_score": 0.8}),
        ("dog", (100, 600, 300, 800), FAR),
    )
    found = candidates(scene, ForgeConfig())
    assert dict(found.select("qa_id", "template_id").rows()) == {
        "1448a6f7abdc181a9cf13e46": "counting.find.v1",
        "7d5093cc7bbe22c0dee9a044": "counting.find.v1",
        "bb29a0bcbc0e5a54efd2d50b": "grounding.find.v1",
        "497c969d398f3a0dc5e923e8": "grounding.which_region.v1",
        "1807cb2c97910d81254ed28a": "left_right.lies.v1",
        "65963c65a654f39395925fee": "near_far.looking_closer.v1",
        "f233ddc1ea052b896b78565d": "perspective.own_hand.v1",
        "ee09da05b59464412a6662c8": "referring.bounded.v1",
        "c3329b9bf852d09504caa853": "referring.what.v1",
    }


def test_ids_follow_content_task_and_objects_and_nothing_else(make_scene):
    def ids(**changes):
        scene = make_scene(("person", (450, 200, 550, 800), NEAR), ("dog", (100, 600, 300, 800), FAR))
        return set(candidates(scene.with_columns(**changes), ForgeConfig())["qa_id"])

    assert ids(score=pl.lit(0.7), license=pl.lit("other"), shard=pl.lit("s00009")) == ids()
    assert not ids(image_sha256=pl.lit("cd" * 32)) & ids()
    assert not ids(object_id="object_id" + pl.lit("x")) & ids()


def test_ids_are_unique_and_rows_sorted(street_pairs):
    assert street_pairs["qa_id"].is_unique().all()
    assert street_pairs["qa_id"].str.contains(r"^[0-9a-f]{24}$").all()
    assert street_pairs.sort("image_id", "qa_id").equals(street_pairs)


def test_every_photo_of_the_street_is_asked_the_same(street_pairs):
    numbers = street_pairs.group_by("image_id", "task").len().group_by("task").agg(pl.col("len").unique())
    assert dict(numbers.rows()) == {
        "grounding": [4], "referring": [5], "counting": [4], "near_far": [10], "left_right": [9], "perspective": [4],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("task", "happens"),
    [
        ("near_far", pl.col("answer") == pl.col("choices").list.first()),
        ("near_far", pl.col("template_id").str.contains("nearer|closer|smaller|less_far|nearest")),
        ("left_right", pl.col("answer") == "left"),
        ("left_right", pl.col("answer") == pl.col("choices").list.first()),
        ("left_right", pl.col("choices").list.first() == "left"),
        ("perspective", pl.col("choices").list.first() == "left"),
        ("perspective", pl.col("template_id").str.contains("own_|would_be|shoes")),
        ("perspective", pl.col("answer") == pl.col("choices").list.first()),
    ],
)
def test_what_is_drawn_is_drawn_evenly(street_pairs, task, happens):
    of_one_pair = street_pairs.filter(pl.col("task") == task).with_columns(
        pair=pl.col("object_ids").list.eval(pl.element().str.extract(r"#d(\d+)").cast(pl.Int32) % 5).list.sort()
    )
    shares = of_one_pair.group_by("pair").agg(share=happens.mean())["share"]
    assert shares.is_between(0.4, 0.6).all()


def test_templates_of_a_form_are_used_evenly(street_pairs):
    for task in ("referring", "counting"):
        written = templates().filter(task=task)
        shares = street_pairs.filter(pl.col("task") == task)["template_id"].value_counts(normalize=True)
        assert set(shares["template_id"]) == set(written["template_id"])
        assert (shares["proportion"] * written.height).is_between(0.8, 1.2).all()


def test_rows_do_not_depend_on_the_order_of_objects(street, street_pairs):
    few = street["image_id"].unique().sort()[:40].to_list()
    shuffled = street.filter(pl.col("image_id").is_in(few)).sample(fraction=1, shuffle=True, seed=3)
    assert candidates(shuffled, ForgeConfig()).equals(street_pairs.filter(pl.col("image_id").is_in(few)))


def test_rows_do_not_depend_on_which_photos_come_together(street, street_pairs):
    first = pl.col("image_id") < "hand/133.jpg"
    halves = [candidates(street.filter(part), ForgeConfig()) for part in (first, ~first)]
    assert pl.concat(halves).equals(street_pairs)
