"""What must change and what must not when a photo is mirrored, enlarged, or its objects are named the other way round.

From detections to verdicts, with real geometry: a photo is a list of objects with boxes, poses and depth.
"""

import re
from itertools import count
from math import prod

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_assets.candidate_qa.generate import candidates
from forge_assets.scenes.build import scenes
from forge_assets.scenes.depth_quantiles import SCHEMA
from forge_assets.verified_qa.verify import verify
from forge_resources.config import ForgeConfig

SIDE = 1000
CONFIG = ForgeConfig(tasks={"max_pairs_per_task": 1000})  # all, so that the same are asked
EXCHANGED = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
CLASSES = ("person", "dog", "bus", "chair", "person")

sides = st.tuples(st.integers(0, SIDE - 60), st.integers(60, 500)).map(lambda span: (span[0], min(SIDE, sum(span))))
scores = st.sampled_from([0.4, 0.55, 0.9])
thing = st.fixed_dictionaries(
    {
        "category": st.sampled_from(CLASSES),
        "x": sides,
        "y": sides,
        "score": scores,
        "mirror_shift": st.sampled_from([0, 0, 5, 25]),
        "shoulders": st.sampled_from([-120, -60, -10, 10, 60, 120]),
        "depth": st.integers(1, 12),
    }
)
photos = st.lists(st.lists(thing, min_size=2, max_size=5), min_size=4, max_size=8)


def mirrored_box(box):
    return (SIDE - box[2], box[1], SIDE - box[0], box[3])


def mirrored_pose(points):
    return [points[index] | {"x": SIDE - points[index]["x"]} for index in EXCHANGED]


@pytest.fixture(scope="module")
def answers(make_photos, make_detections, make_keypoints):
    """Candidates with their verdicts, of drawn photos that were mirrored or enlarged."""

    def of(drawn, *, mirror=False, scale=1):
        objects, depths, place = [], [], count()
        for number, things in enumerate(drawn):
            image_id = f"hand/{number}.jpg"
            for one in things:
                (x1, x2), (y1, y2) = one["x"], one["y"]
                box, seen_again = (x1, y1, x2, y2), (x1 + one["mirror_shift"], y1, x2 + one["mirror_shift"], y2)
                shoulders = one["shoulders"]
                pose = make_keypoints(float(x1), float(y1), shoulders=shoulders, face=0.9 if shoulders > 0 else 0.1)
                if mirror:
                    box, seen_again, pose = mirrored_box(box), mirrored_box(seen_again), mirrored_pose(pose)
                box, seen_again = ([scale * value for value in sides] for sides in (box, seen_again))
                pose = [point | {"x": scale * point["x"], "y": scale * point["y"]} for point in pose]
                evidence = dict(zip(("mirror_x1", "mirror_y1", "mirror_x2", "mirror_y2"), seen_again, strict=True))
                evidence |= {"image_id": image_id, "score": one["score"], "mirror_score": one["score"]}
                if one["category"] == "person":
                    evidence |= {"keypoints": pose, "mirror_keypoints": pose}
                objects.append((one["category"], box, evidence))
                q50 = float(one["depth"])
                object_id = f"{image_id}#d{next(place):03d}"
                depths.append((object_id, "net", False, "metric", 0.9 * q50, q50, 1.1 * q50, "test:net"))
        depths += [(*row[:2], True, *row[3:]) for row in depths]
        table = scenes(
            make_photos(
                *(f"hand/{number}.jpg" for number in range(len(drawn))), width=scale * SIDE, height=scale * SIDE
            ),
            make_detections(*objects),
            pl.DataFrame(depths, schema=dict(SCHEMA), orient="row"),
        )
        found = candidates(table, CONFIG)
        verified, _ = verify(found, CONFIG.verification)
        return found.with_columns(is_verified=pl.col("qa_id").is_in(verified["qa_id"].implode()))

    return of


SWAPPED = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
TOLD_BY_PHRASE = {("grounding", "one"), ("referring", "region")}


def swapped(text):
    return re.sub(r"\b(left|right)(most)?\b", lambda found: SWAPPED[found[0]], text)


def number_in(text):
    return int(re.search(r"\b\d+\b", text)[0])


def side_in(text):
    """The side that a text names last: phrases, which may hold others, come before it."""
    return re.findall(r"\b(?:left|right)\b", text)[-1]


def by_objects(table, exchange=str):
    """Rows by task, form and objects, whatever their order in the question; by their phrase too where that is asked."""
    return {
        (
            row["task"], row["form"], *sorted(row["object_ids"]),
            exchange(row["evidence"]["phrases"][0]["text"]) if (row["task"], row["form"]) in TOLD_BY_PHRASE else "",
            row["evidence"]["phrases"][0]["text"] if row["form"] == "colored" else "",
        ): row
        for row in table.rows(named=True)
    }  # fmt: skip


def mirrored_boxes(boxes):
    return sorted([1000 - x2, y1, 1000 - x1, y2] for x1, y1, x2, y2 in boxes)


@settings(max_examples=8, deadline=None)
@given(photos)
def test_a_mirrored_photo_swaps_left_and_right_and_nothing_else(answers, drawn):
    plain, mirrored = by_objects(answers(drawn)), by_objects(answers(drawn, mirror=True), swapped)

    def key_of(key):
        task, form, *rest = key
        return (task, SWAPPED_FORMS.get(form, form), *rest)

    assert {key_of(key) for key in plain} ^ mirrored.keys() == set()
    for key, row in plain.items():
        compare(row, mirrored[key_of(key)])


SWAPPED_FORMS = {"leftmost_of": "rightmost_of", "rightmost_of": "leftmost_of"}


def compare(row, other):
    assert row["is_verified"] == other["is_verified"], row
    is_clear = (row["evidence"]["gap"] or 0) > 0  # boxes whose centres are in one line have no side to swap
    match (row["task"], row["form"]):
        case ("left_right", "side" | "half") | ("perspective", "own_side" | "turn"):
            assert not is_clear or other["answer"] == SWAPPED[row["answer"]]
        case ("left_right", "where") | ("perspective", "tell_side"):
            assert not is_clear or side_in(other["answer"]) == SWAPPED[side_in(row["answer"])]
        case (_, "side_yes_no" | "own_side_yes_no"):
            assert other["answer"] == row["answer"]
            assert not is_clear or other["question"] != row["question"]
        case (_, "leftmost_of" | "rightmost_of"):
            assert not is_clear or other["answer_object_ids"] == row["answer_object_ids"]
        case ("near_far", _) | (_, "front_or_behind" | "box_yes_no" | "phrase_yes_no" | "which_box" | "which_phrase"):
            assert other["answer_object_ids"] == row["answer_object_ids"]
            assert other["evidence"]["readings"] == row["evidence"]["readings"]
            assert row["answer_kind"] != "yes_no" or other["answer"] == row["answer"]
        case ("grounding", _):
            assert sorted(other["boxes"]) == mirrored_boxes(row["boxes"])
        case ("referring", "region"):
            assert swapped(row["evidence"]["phrases"][0]["text"])[4:] in other["answer"]
        case ("counting", "number_yes_no"):
            for one in (row, other):
                assert (number_in(one["question"]) == len(one["object_ids"])) == (one["answer"] == "Yes")
        case ("counting", "half"):
            same_half = side_in(row["question"]) == side_in(other["question"])
            total = len(row["object_ids"])
            assert int(other["answer"]) == (total - int(row["answer"]) if same_half else int(row["answer"]))
        case _:
            assert other["answer"] == row["answer"]


@settings(max_examples=8, deadline=None)
@given(photos)
def test_a_photo_of_twice_the_size_gives_the_same_answers_boxes_and_verdicts(answers, drawn):
    plain, doubled = answers(drawn), answers(drawn, scale=2)
    assert (doubled["image_width"] == 2000).all()
    assert doubled.drop("image_width", "image_height").equals(plain.drop("image_width", "image_height"))


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(thing, thing), min_size=4, max_size=8), st.permutations(sorted(set(CLASSES))))
def test_naming_the_other_object_first_keeps_the_truth(answers, pairs, classes):
    drawn = [[one | {"category": classes[0]}, other | {"category": classes[1]}] for one, other in pairs]
    plain, swapped_pairs = (
        by_objects(answers(photos).filter((pl.col("level") == "relation") & pl.col("form").is_in(TWO_OBJECTS)))
        for photos in (drawn, [[other, one] for one, other in drawn])
    )
    assert {key for key in plain if key[1] not in NEARER} == {key for key in swapped_pairs if key[1] not in NEARER}
    by_pair = {
        (key[0], "nearer or farther" if key[1] in NEARER else key[1], *key[2:]): row
        for key, row in swapped_pairs.items()
    }
    for key, row in plain.items():
        other = by_pair[(key[0], "nearer or farther" if key[1] in NEARER else key[1], *key[2:])]
        assert row["is_verified"] == other["is_verified"]
        is_clear = (row["evidence"]["gap"] or 0) > 0
        readings = row["evidence"]["readings"]
        is_apart = bool(readings) and prod(reading["ratio"] for reading in readings) > 1.001
        match (row["task"], row["form"]):
            case ("perspective", "own_side" | "turn"):  # the person comes first whatever the ids
                assert (row["answer"], row["boxes"]) == (other["answer"], other["boxes"])
            case ("left_right", "side"):
                assert row["boxes"] == other["boxes"][::-1]
                assert not is_clear or other["answer"] == SWAPPED[row["answer"]]
            case ("near_far", "nearer" | "farther"):
                assert row["choices"] == other["choices"][::-1]
                assert not is_apart or (row["answer"] == other["answer"]) == (row["form"] == other["form"])
            case ("near_far", "front_yes_no"):
                assert not is_apart or other["answer"] != row["answer"]


TWO_OBJECTS = ("nearer", "farther", "front_yes_no", "side", "own_side", "turn")
NEARER = ("nearer", "farther")


@settings(max_examples=8, deadline=None)
@given(photos, thing)
def test_one_more_that_may_be_there_never_makes_an_unclear_phrase_clear(answers, drawn, rival):
    plain = answers(drawn)
    more = answers([[*things, rival | {"score": 0.25}] for things in drawn])
    unclear = plain.filter(~pl.col("is_verified") & (pl.col("form") == "region"))
    after = {
        (row["image_id"], tuple(row["boxes"][0]), row["evidence"]["phrases"][0]["text"]): row["is_verified"]
        for row in more.filter(pl.col("form") == "region").rows(named=True)
    }
    for row in unclear.rows(named=True):
        assert not after.get((row["image_id"], tuple(row["boxes"][0]), row["evidence"]["phrases"][0]["text"]))
