"""What must change and what must not when a photo is mirrored, enlarged, or its objects are named the other way round.

From detections to verdicts, with real geometry: a photo is a list of objects with boxes, poses and depth.
"""

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
CONFIG = ForgeConfig()
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


def by_objects(table):
    """Rows by task and objects, whatever their order in the question."""
    return {(row["task"], *sorted(row["object_ids"])): row for row in table.rows(named=True)}


def is_nearer(row):
    return "nearer" in row["question"] or "closer" in row["question"]


OPPOSITE = {"left": "right", "right": "left"}


@settings(max_examples=8, deadline=None)
@given(photos)
def test_a_mirrored_photo_swaps_left_and_right_and_nothing_else(answers, drawn):
    plain, mirrored = by_objects(answers(drawn)), by_objects(answers(drawn, mirror=True))
    assert plain.keys() == mirrored.keys()
    for key, row in plain.items():
        other = mirrored[key]
        assert row["is_verified"] == other["is_verified"]
        match row["task"]:
            case "left_right" | "perspective":
                assert row["object_ids"] == other["object_ids"]
                if row["evidence"]["gap"] > 0:  # boxes whose centres are in one line have no side to swap
                    assert other["answer"] == OPPOSITE[row["answer"]]
                    assert other["evidence"]["gap"] == pytest.approx(row["evidence"]["gap"])
            case "near_far":
                assert other["answer_object_ids"] == row["answer_object_ids"]
                assert other["choices"].index(other["answer"]) == row["choices"].index(row["answer"])
                assert other["evidence"]["readings"] == row["evidence"]["readings"]
            case "grounding":
                assert sorted(other["boxes"]) == sorted(
                    [1000 - x2, y1, 1000 - x1, y2] for x1, y1, x2, y2 in row["boxes"]
                )
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
    plain, swapped = (
        by_objects(answers(photos).filter(pl.col("level") == "relation"))
        for photos in (drawn, [[other, one] for one, other in drawn])
    )
    assert plain.keys() == swapped.keys()
    for key, row in plain.items():
        other = swapped[key]
        assert row["is_verified"] == other["is_verified"]
        match row["task"]:
            case "perspective":  # the person comes first whatever the ids
                assert (row["answer"], row["boxes"]) == (other["answer"], other["boxes"])
            case "left_right":
                assert row["boxes"] == other["boxes"][::-1]
                if row["evidence"]["gap"] > 0:
                    assert other["answer"] == OPPOSITE[row["answer"]]
            case "near_far":
                assert row["choices"] == other["choices"][::-1]
                if prod(reading["ratio"] for reading in row["evidence"]["readings"]) > 1.001:
                    same_form = is_nearer(row) == is_nearer(other)
                    assert (row["answer"] == other["answer"]) == same_form
