"""Ids that last, choices that are drawn fairly, and rows that depend on nothing but their own photo."""

import math

import polars as pl
import pytest

from forge_assets.candidate_qa.generate import candidates
from forge_assets.candidate_qa.templates import answer_templates, templates
from forge_resources.config import ForgeConfig

NEAR, FAR = {"ground_depth": 2.0, "mirror_ground_depth": 2.0}, {"ground_depth": 4.0, "mirror_ground_depth": 4.0}


def test_ids_of_a_fixed_photo_never_change(make_scene):
    scene = make_scene(
        ("person", (450, 200, 550, 800), NEAR | {"facing": 0.9, "mirror_facing": 0.9, "facing_score": 0.8}),
        ("dog", (100, 600, 300, 800), FAR),
    )
    found = dict(candidates(scene, ForgeConfig()).select("qa_id", "template_id").rows())
    expected = {
        "276f95fb3d76cb457388544d": "grounding.which_region.v2/here_is",
        "14d47b4dd8496688ccae5637": "grounding.match_box.v2/coordinates_alone",
        "735389d9726bda7c89024a63": "referring.describe.v2/object_is",
        "4f7f5b6abbf14c55589e98e5": "counting.find.v2/image_contains",
        "0c252a1954fa1203a60a9b1a": "counting.total_is.v2/shown",
        "0cd882e9d0e3277ca077a965": "near_far.who_is_closer.v2/nearer_alone",
        "09ee788ba7bcc5c0d518f9b0": "near_far.looking_closer.v2/one_of_two",
        "2afd7ffef8b8ad06cd2046a1": "left_right.half_see.v2/it_is_in_half",
        "d433ddd14dbde84a30b9bcb0": "left_right.lies.v2/to_the",
        "312bc917efe846fc7306a4b1": "perspective.own_hand.v2/one_word",
        "6e07ab8110caddfdc3c72c7c": "perspective.describe_own.v2/hand_side",
    }
    assert {qa_id: found.get(qa_id) for qa_id in expected} == expected


def test_ids_follow_content_task_and_objects_and_nothing_else(make_scene):
    def ids(**changes):
        scene = make_scene(("person", (450, 200, 550, 800), NEAR), ("dog", (100, 600, 300, 800), FAR))
        found = candidates(scene.with_columns(**changes), ForgeConfig())
        return set(found.filter(pl.col("form") != "zero")["qa_id"])

    assert ids(score=pl.lit(0.7), license=pl.lit("other"), shard=pl.lit("s00009")) == ids()
    assert not ids(image_sha256=pl.lit("cd" * 32)) & ids()
    assert not ids(object_id=pl.col("object_id") + "x") & ids()


def test_ids_are_unique_and_rows_sorted(street_pairs):
    assert street_pairs["qa_id"].is_unique().all()
    assert street_pairs["qa_id"].str.contains(r"^[0-9a-f]{24}$").all()
    assert street_pairs.sort("image_id", "qa_id").equals(street_pairs)


def test_every_photo_of_the_street_is_asked_as_much(street_pairs):
    numbers = street_pairs.group_by("image_id", "task").len().group_by("task").agg(pl.col("len").unique())
    assert dict(numbers.rows()) == {
        "grounding": [12], "referring": [12], "counting": [12], "near_far": [12], "left_right": [12],
        "perspective": [12],
    }  # fmt: skip


IS_FIRST = pl.col("short_answer") == pl.col("choices").list.first()
IS_YES = pl.col("short_answer") == "yes"


@pytest.mark.parametrize(
    ("task", "form", "happens", "share"),
    [
        ("near_far", "nearer", IS_FIRST, 1 / 2),
        ("near_far", "farther", IS_FIRST, 1 / 2),
        ("near_far", "nearest_of", IS_FIRST, None),
        ("near_far", "front_yes_no", IS_YES, 1 / 2),
        ("left_right", "side", pl.col("short_answer") == "left", 1 / 2),
        ("left_right", "side", IS_FIRST, 1 / 2),
        ("left_right", "side_yes_no", IS_YES, 1 / 2),
        ("left_right", "half", IS_FIRST, 1 / 2),
        ("left_right", "leftmost_of", IS_FIRST, None),
        ("perspective", "own_side", IS_FIRST, 1 / 2),
        ("perspective", "own_side_yes_no", IS_YES, 1 / 2),
        ("perspective", "turn", IS_FIRST, 1 / 2),
        ("perspective", "front_or_behind", IS_FIRST, 1 / 2),
        ("grounding", "box_yes_no", IS_YES, 1 / 2),
        ("grounding", "which_box", IS_FIRST, 1 / 4),
        ("referring", "phrase_yes_no", IS_YES, 1 / 2),
        ("referring", "which_phrase", IS_FIRST, 1 / 4),
        ("counting", "number_yes_no", IS_YES, 1 / 2),
        ("counting", "number_choice", IS_FIRST, 1 / 4),
    ],
)
def test_what_is_drawn_is_drawn_evenly(street_pairs, task, form, happens, share):
    asked = street_pairs.filter((pl.col("task") == task) & (pl.col("form") == form))
    wanted = asked.select((1 / pl.col("choices").list.len()).mean()).item() if share is None else share
    assert asked.height > 100
    assert asked.select(happens.mean()).item() == pytest.approx(wanted, abs=0.08)


@pytest.mark.parametrize(("task", "form"), [("referring", "region"), ("counting", "number"), ("near_far", "compare")])
def test_questions_and_answers_of_a_form_are_used_evenly_and_independently(street_pairs, task, form):
    asked = street_pairs.filter((pl.col("task") == task) & (pl.col("form") == form))
    used = asked["template_id"].str.split_exact("/", 1).struct.unnest()
    questions = templates().filter(task=task, form=form)["template_id"]
    answers = answer_templates().filter(task=task, form=form)["answer_id"]
    for found, written in zip(used, (questions, answers), strict=True):
        shares = found.value_counts(normalize=True)
        assert set(shares[found.name]) == set(written)
        assert (shares["proportion"] * len(written)).is_between(0.6, 1.4).all()
    together = len(questions) * len(answers)
    assert asked["template_id"].n_unique() > 0.9 * together * (1 - math.exp(-asked.height / together))


def test_rows_do_not_depend_on_the_order_of_objects(street, street_pairs):
    few = street["image_id"].unique().sort()[:40].to_list()
    shuffled = street.filter(pl.col("image_id").is_in(few)).sample(fraction=1, shuffle=True, seed=3)
    assert candidates(shuffled, ForgeConfig()).equals(street_pairs.filter(pl.col("image_id").is_in(few)))


def test_rows_do_not_depend_on_which_photos_come_together(street, street_pairs):
    first = pl.col("image_id") < "hand/133.jpg"
    halves = [candidates(street.filter(part), ForgeConfig()) for part in (first, ~first)]
    assert pl.concat(halves).equals(street_pairs)
