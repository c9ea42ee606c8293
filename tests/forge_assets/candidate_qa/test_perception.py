"""Grounding, counting and referring, in photos with and without human labels."""

import json

import pytest

DOG, RIGHT_DOG, CAT = (100, 600, 300, 800), (700, 500, 900, 800), (450, 600, 550, 800)
HUMAN = {"origin": "human", "is_labeled": True, "score": None, "mirror_iou": None}
IN_LABELED = {"is_labeled": True}


def counts(row):
    evidence = row["evidence"]
    return tuple(evidence[name] for name in ("count_strict", "count_loose", "count_mirror"))


def phrase_of(row):
    (phrase,) = row["evidence"]["phrases"]
    return phrase


def by_class(rows):
    """The phrase of the one row that names its object by class alone."""
    (phrase,) = [phrase_of(row) for row in rows if phrase_of(row)["kind"] == "class"]
    return phrase


# --- what is said


def test_the_only_object_of_a_class_is_located(ask):
    (row,) = ask("grounding", ("dog", DOG, {}))
    assert json.loads(row["short_answer"]) == [{"bbox_2d": [100, 600, 300, 800], "label": "dog"}]
    assert "the dog" in row["question"]
    assert (row["category"], row["answer_kind"], row["choices"]) == ("dog", "bbox", None)


def test_all_objects_of_a_class_are_located_from_left_to_right(ask):
    (row,) = ask("grounding", ("dog", RIGHT_DOG, {}), ("cat", CAT, {}), ("dog", DOG, {}), form="every")
    assert [item["bbox_2d"] for item in json.loads(row["short_answer"])] == row["boxes"] == [list(DOG), list(RIGHT_DOG)]
    assert row["object_ids"] == row["answer_object_ids"] == ["hand/photo.jpg#d002", "hand/photo.jpg#d000"]
    assert any(word in row["question"] for word in ("every dog", "each dog", "dogs", "category dog"))


def test_a_class_name_with_quotes_stays_json(ask):
    (row,) = ask("grounding", ('19" rack', DOG, {}))
    assert json.loads(row["short_answer"])[0]["bbox_2d"] == list(DOG)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_counting_counts(ask, number):
    (row,) = ask("counting", *(("person", (100 * i, 100, 100 * i + 90, 400), {}) for i in range(number)))
    assert row["short_answer"] == str(number)
    assert " people " in row["question"]
    assert len(row["object_ids"]) == number
    assert (row["category"], row["answer_kind"]) == ("person", "integer")
    assert counts(row) == (number,) * 3


def test_large_numbers_are_located_but_not_asked(ask):
    dogs = [("dog", (100 * i, 100, 100 * i + 90, 400), {}) for i in range(3)]
    assert len(ask("counting", *dogs, counting_max=3)) == 1
    assert ask("counting", *dogs, counting_max=2) == []
    assert len(ask("grounding", *dogs, counting_max=2, form="every")) == 1


def test_a_region_is_answered_by_its_class(ask):
    (row,) = ask("referring", ("wine glass", DOG, {}))
    assert "[100, 600, 300, 800]" in row["question"]
    assert row["short_answer"] == "the wine glass"
    assert "the wine glass" in row["answer"].lower()
    assert row["evidence"]["same_category"] == 1


def test_an_object_of_a_class_that_is_there_twice_is_referred_to_by_more_than_its_class(ask):
    rows = ask("referring", ("dog", DOG, {}), ("dog", RIGHT_DOG, {}))
    assert {phrase_of(row)["text"] for row in rows} == {
        "the leftmost dog", "the rightmost dog", "the smallest dog", "the largest dog",
    }  # fmt: skip
    assert [row["evidence"]["same_category"] for row in rows] == [2] * 4


# --- photos that nobody labelled


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.6, (2, 2, 2)),
        (0.59, (1, 2, 1)),
        (0.15, (1, 2, 1)),
        (0.14, (1, 1, 1)),
    ],
)
def test_a_doubtful_second_object_makes_the_counts_differ(ask, score, expected):
    doubtful = {"score": score, "mirror_score": min(score, 0.5)}
    (row,) = ask("counting", ("dog", DOG, {}), ("dog", RIGHT_DOG, doubtful))
    assert counts(row) == expected


@pytest.mark.parametrize(("mirror_score", "expected"), [(0.5, (2, 2, 2)), (0.49, (2, 2, 1)), (None, (2, 2, 1))])
def test_an_object_that_the_mirror_lacks_makes_the_counts_differ(ask, mirror_score, expected):
    (row,) = ask("counting", ("dog", DOG, {}), ("dog", RIGHT_DOG, {"mirror_score": mirror_score}))
    assert counts(row) == expected


def test_objects_below_the_candidates_score_are_not_asked_about(ask):
    for task in ("grounding", "counting", "referring"):
        assert ask(task, ("dog", DOG, {"score": 0.29})) == []
        assert len(ask(task, ("dog", DOG, {"score": 0.3}))) == 1


def test_an_object_that_was_not_found_in_the_mirror_has_no_overlap_there(ask):
    (row,) = ask("referring", ("dog", DOG, {"mirror_iou": None}))
    assert row["evidence"]["mirror_ious"] == [0.0]


# --- photos that people labelled


def test_human_boxes_are_named_and_detected_ones_are_not(ask):
    found = IN_LABELED | {"match_iou": 0.9}
    (row,) = ask("grounding", ("dog", DOG, HUMAN), ("dog", DOG, found))
    assert row["object_ids"] == ["hand/photo.jpg#d000"]
    assert (row["evidence"]["scores"], row["evidence"]["mirror_ious"]) == ([1.0], [1.0])
    assert ask("grounding", ("cat", CAT, found | {"match_iou": None})) == []


def test_a_crowd_counts_as_several_and_is_never_named(ask):
    (row,) = ask("counting", ("dog", DOG, HUMAN), ("dog", RIGHT_DOG, HUMAN | {"is_crowd": True}))
    assert counts(row) == (1, 3, 1)
    assert row["object_ids"] == ["hand/photo.jpg#d000"]
    rows = ask("referring", ("dog", DOG, HUMAN), ("dog", RIGHT_DOG, HUMAN | {"is_crowd": True}))
    assert by_class(rows)["matches"] == 3
    assert ask("counting", ("dog", RIGHT_DOG, HUMAN | {"is_crowd": True})) == []


@pytest.mark.parametrize(
    ("detected", "count_loose", "same_category"),
    [
        pytest.param({"score": 0.5, "match_iou": 0.49}, 2, 2, id="sure and unmatched: contradicts"),
        pytest.param({"score": 0.5, "match_iou": None}, 2, 2, id="sure and no label near"),
        pytest.param({"score": 0.9, "match_iou": 0.5}, 1, 1, id="matched: the labelled one"),
        pytest.param({"score": 0.49, "match_iou": 0.1}, 1, 2, id="less sure: a possible rival"),
        pytest.param({"score": 0.19, "match_iou": 0.1}, 1, 1, id="unsure: nothing"),
    ],
)
def test_a_sure_detection_that_no_label_matches_contradicts_the_labels(ask, detected, count_loose, same_category):
    objects = ("dog", DOG, HUMAN), ("dog", RIGHT_DOG, IN_LABELED | {"mirror_score": None} | detected)
    (row,) = ask("counting", *objects)
    assert counts(row) == (1, count_loose, 1)
    assert by_class(ask("referring", *objects))["matches"] == same_category


def test_a_contradiction_concerns_its_own_class_alone(ask):
    rows = ask("counting", ("dog", DOG, HUMAN), ("cat", CAT, HUMAN), ("cat", RIGHT_DOG, IN_LABELED | {"score": 0.9}))
    assert {row["category"]: counts(row) for row in rows} == {"dog": (1, 1, 1), "cat": (1, 2, 1)}


def test_a_dropped_label_may_have_been_one_more_of_any_class(ask):
    dropped = HUMAN | {"labels_dropped": 1}
    rows = ask("counting", ("dog", DOG, dropped), ("cat", CAT, dropped))
    assert {row["category"]: counts(row) for row in rows} == {"dog": (1, 2, 1), "cat": (1, 2, 1)}
    rows = ask("referring", ("dog", DOG, dropped), ("cat", CAT, dropped))
    assert [phrase_of(row)["matches"] for row in rows] == [2, 2]
