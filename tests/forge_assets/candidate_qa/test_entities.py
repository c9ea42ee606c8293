"""What may be asked about, and how many of a class there may be, by every witness."""

import polars as pl
import pytest

from forge_assets.candidate_qa.entities import entities, wide_classes
from forge_assets.candidate_qa.lists import models_apart
from forge_resources.config import ForgeConfig
from forge_resources.vocabulary import Vocabulary

DOG = ("dog", (100, 100, 300, 300), {})
COUNTS = ("count_strict", "count_loose", "count_mirror", "count_human", "same_category")


@pytest.fixture
def look(make_scene):
    """The objects that may be named in a scene, by the place of their box."""

    def of(*objects):
        return entities(make_scene(*objects).lazy(), ForgeConfig()).collect().sort("x1")

    return of


def counts_of(rows):
    return dict(zip(COUNTS, rows.select(COUNTS).row(0), strict=True))


def test_a_dog_alone_is_counted_once_by_all(look):
    assert counts_of(look(DOG)) == {
        "count_strict": 1, "count_loose": 1, "count_mirror": 1, "count_human": None, "same_category": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("origin", "score", "is_rival"),
    [("mirror", 0.25, True), ("mirror", 0.15, False), ("second", 0.5, True), ("second", 0.45, False)],
)
def test_a_dog_that_one_witness_alone_saw_is_never_named_but_may_be_there(look, origin, score, is_rival):
    other = ("dog", (600, 100, 800, 300), {"origin": origin, "score": score, "mirror_score": None})
    (dog,) = look(DOG, other).rows(named=True)
    assert dog["same_category"] == 1 + is_rival
    assert dog["count_loose"] == 1 + (is_rival or origin == "mirror")
    assert dog["is_unique"] is not is_rival


def test_a_weak_box_counts_by_the_view_that_shows_it_best(look):
    weak = ("dog", (600, 100, 800, 300), {"score": 0.12, "mirror_score": 0.4})
    assert look(DOG, weak)["same_category"].to_list() == [2]


def test_people_who_counted_more_make_a_name_unclear_and_the_number_uncertain(look):
    (dog,) = look(("dog", DOG[1], {"human_counts": [{"category": "dog", "count": 3}]})).rows(named=True)
    assert (dog["count_human"], dog["same_category"], dog["count_spread"], dog["is_unique"]) == (3, 3, 2, False)


def test_people_who_counted_another_class_say_nothing_of_this_one(look):
    (dog,) = look(("dog", DOG[1], {"human_counts": [{"category": "cat", "count": 3}]})).rows(named=True)
    assert (dog["count_human"], dog["same_category"], dog["count_spread"]) == (None, 1, 0)


@pytest.mark.parametrize(
    ("evidence", "sure_score", "sure_second_score"),
    [
        ({"score": 0.6}, 0.6, None),
        ({"score": 0.4, "second_score": 0.8, "second_iou": 0.7}, 0.8, 0.8),
        ({"score": 0.6, "second_score": 0.8, "second_iou": 0.4}, 0.6, 0.0),
        ({"score": 0.6, "second_score": 0.0, "second_iou": 0.0}, 0.6, 0.0),
        ({"origin": "human", "is_labeled": True, "score": 0.3}, 1.0, 1.0),
    ],
)
def test_an_object_is_as_sure_as_the_surer_of_two_detectors_that_agree(look, evidence, sure_score, sure_second_score):
    (dog,) = look(("dog", DOG[1], evidence)).rows(named=True)
    assert (dog["sure_score"], dog["sure_second_score"]) == (sure_score, sure_second_score)


def test_both_detectors_are_named_as_models(look):
    (dog,) = look(("dog", DOG[1], {"detector": "a", "second_detector": "b", "pose_model": None})).rows(named=True)
    assert models_apart(pl.Series([dog["found_by"], dog["posed_by"]])).rows() == [
        ("", []),
        (dog["found_by"], ["a", "b"]),
    ]


def test_nothing_is_called_by_a_class_that_holds_others(look):
    assert look(DOG, ("animal", (600, 100, 800, 300), {}))["category"].to_list() == ["dog"]


def test_wide_classes_are_classes_of_the_vocabulary():
    known = pl.Series(sorted(Vocabulary.packaged().categories))
    assert wide_classes()["category"].is_in(known.implode()).all()
    assert wide_classes()["category"].is_sorted()
    assert wide_classes()["category"].is_unique().all()
