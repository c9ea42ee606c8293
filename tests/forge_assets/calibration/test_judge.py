"""What known truth says of hand-made pairs, form by form: right, wrong, or why it says nothing."""

import numpy as np
import pytest

from forge_assets.calibration.judge import NotJudged, judge, judge_pair
from forge_assets.calibration.truth import PhotoTruth

DOG, OTHER_DOG, THIRD_DOG = (0.1, 0.6, 0.3, 0.8), (0.6, 0.6, 0.75, 0.8), (0.8, 0.6, 1.0, 0.9)
CAT = (0.5, 0.1, 0.58, 0.3)
TRUTH = PhotoTruth(boxes={"dog": [OTHER_DOG, DOG], "cat": [CAT], "bus": [DOG]})
BUS, A_CAT = ("bus", DOG), ("cat", CAT)


@pytest.fixture
def by_boxes(make_pair):
    return lambda *arguments, **more: judge_pair(make_pair(*arguments, **more), TRUTH)


# --- numbers


@pytest.mark.parametrize("form", ["number", "number_choice"])
def test_a_count_is_right_where_people_drew_as_many(by_boxes, form):
    assert by_boxes("counting", form, "2", ("dog", DOG)) is True
    assert by_boxes("counting", form, "1", ("dog", DOG)) is False
    assert by_boxes("counting", form, "1", ("zebra", DOG)) is False


def test_none_is_right_where_people_drew_none(by_boxes):
    assert by_boxes("counting", "zero", "0", category="zebra") is True
    assert by_boxes("counting", "zero", "0", category="dog") is False


def test_a_claim_on_a_number_is_judged_by_the_number_in_its_question(by_boxes):
    assert by_boxes("counting", "number_yes_no", "yes", ("dog", DOG), question="Are there 2 dogs?") is True
    assert by_boxes("counting", "number_yes_no", "yes", ("dog", DOG), question="Are there 3 dogs?") is False
    assert by_boxes("counting", "number_yes_no", "no", ("dog", DOG), question="Are there 3 dogs?") is True
    assert by_boxes("counting", "number_yes_no", "no", ("dog", DOG), question="Are there 2 dogs?") is False
    assert by_boxes("counting", "number_yes_no", "no", ("dog", DOG), question="Are there some?") is NotJudged.NUMBER


def test_the_half_asked_about_is_that_of_the_answers_objects(by_boxes):
    dogs = ("dog", DOG), ("dog", OTHER_DOG)
    assert by_boxes("counting", "half", "1", *dogs, answered=(0,)) is True
    assert by_boxes("counting", "half", "2", *dogs, answered=(0,)) is False
    assert by_boxes("counting", "half", "0", A_CAT, ("cat", OTHER_DOG), answered=()) is True
    assert by_boxes("counting", "half", "1", A_CAT, answered=(0,)) is True
    assert by_boxes("counting", "half", "0", ("dog", OTHER_DOG), answered=()) is False


# --- boxes


def test_every_box_of_a_class_is_found_and_none_is_left(by_boxes):
    assert by_boxes("grounding", "every", "", ("dog", DOG), ("dog", OTHER_DOG)) is True
    assert by_boxes("grounding", "every", "", ("dog", DOG)) is False
    assert by_boxes("grounding", "every", "", ("dog", DOG), ("dog", CAT)) is False


@pytest.mark.parametrize(
    "asked",
    [("grounding", "one"), ("grounding", "which_box"), ("referring", "region"), ("referring", "which_phrase")],
)
@pytest.mark.parametrize(
    ("named", "phrase", "right"),
    [
        (BUS, ("class", "the bus"), True),
        (("dog", DOG), ("class", "the dog"), False),  # there are two
        (("bus", OTHER_DOG), ("class", "the bus"), False),  # it is elsewhere
        (("zebra", DOG), ("class", "the zebra"), False),
        (("dog", DOG), ("ordinal", "the leftmost dog"), True),
        (("dog", DOG), ("ordinal", "the rightmost dog"), False),
        (("dog", OTHER_DOG), ("ordinal", "the second dog from the left"), True),
        (("dog", DOG), ("ordinal", "the second dog from the right"), True),
        (("dog", DOG), ("ordinal", "the third dog from the left"), False),
        (("dog", DOG), ("ordinal", "the dog in the back"), NotJudged.PHRASE),
        (("dog", DOG), ("size", "the largest dog"), True),
        (("dog", DOG), ("size", "the smallest dog"), False),
        (("dog", DOG), ("size", "the widest dog"), NotJudged.PHRASE),
        (("dog", DOG), ("side_of", "the dog to the left of the cat"), True),
        (("dog", OTHER_DOG), ("side_of", "the dog to the left of the cat"), False),
        (("dog", OTHER_DOG), ("side_of", "the dog to the right of the cat"), True),
        (("dog", DOG), ("side_of", "the dog to the left of the zebra"), False),
        (("dog", DOG), ("side_of", "the dog by the cat"), NotJudged.PHRASE),
        (("dog", DOG), ("color", "the brown dog"), NotJudged.COLOR),
        (("dog", DOG), ("mood", "the happy dog"), NotJudged.PHRASE),
    ],
)
def test_a_phrase_must_fit_the_human_box_of_its_object_and_no_other(by_boxes, asked, named, phrase, right):
    assert by_boxes(*asked, "", named, phrases=[(0, *phrase)]) is right


def test_an_object_that_its_box_names_needs_a_human_box_of_its_class_there(by_boxes):
    assert by_boxes("left_right", "side", "left", ("dog", DOG), A_CAT) is True
    assert by_boxes("left_right", "side", "left", ("dog", THIRD_DOG), A_CAT) is False


@pytest.mark.parametrize(("task", "form"), [("grounding", "box_yes_no"), ("referring", "phrase_yes_no")])
def test_a_box_is_what_the_phrase_says_or_it_is_not(by_boxes, task, form):
    leftmost = "ordinal", "the leftmost dog"
    assert by_boxes(task, form, "yes", ("dog", DOG), phrases=[(0, *leftmost)]) is True
    assert by_boxes(task, form, "yes", ("dog", OTHER_DOG), phrases=[(0, *leftmost)]) is False
    shown, claimed = ("dog", OTHER_DOG), ("dog", DOG)
    assert by_boxes(task, form, "no", shown, claimed, phrases=[(1, *leftmost)]) is True
    assert by_boxes(task, form, "no", shown, claimed, phrases=[(1, "ordinal", "the rightmost dog")]) is False
    assert by_boxes(task, form, "no", shown, claimed, phrases=[(1, "color", "the brown dog")]) is NotJudged.COLOR


# --- sides


def test_left_and_right_are_those_of_the_human_boxes(by_boxes):
    both = [(0, "class", "the bus"), (1, "class", "the cat")]
    assert by_boxes("left_right", "side", "left", BUS, A_CAT, phrases=both) is True
    assert by_boxes("left_right", "side", "right", BUS, A_CAT, phrases=both) is False
    assert by_boxes("left_right", "side", "left", A_CAT, ("bus", OTHER_DOG), phrases=both) is False
    two_dogs = [(0, "class", "the dog"), (1, "class", "the cat")]
    assert by_boxes("left_right", "side", "left", ("dog", DOG), A_CAT, phrases=two_dogs) is False


def test_a_side_is_read_in_the_one_place_that_tells_it(by_boxes):
    both = [(0, "class", "the bus"), (1, "class", "the cat")]

    def asked(form, question, answer):
        return by_boxes("left_right", form, answer, BUS, A_CAT, phrases=both, question=question)

    assert asked("where", "Where is the bus?", "left") is True
    assert asked("where", "Where is the bus?", "right") is False
    assert asked("where", "Where is the bus?", "beside it") is NotJudged.SIDE
    assert asked("side_yes_no", "Is the bus to the left of the cat?", "yes") is True
    assert asked("side_yes_no", "Is the bus to the left of the cat?", "no") is False
    assert asked("side_yes_no", "Is the bus to the right of the cat?", "no") is True
    assert asked("side_yes_no", "Is the bus left or right of the cat?", "no") is NotJudged.SIDE
    assert by_boxes("left_right", "side_yes_no", "no", ("zebra", DOG), A_CAT, question="left") is False


def test_the_outermost_object_is_that_of_the_human_boxes(by_boxes):
    three = BUS, A_CAT, ("dog", OTHER_DOG)
    assert by_boxes("left_right", "leftmost_of", "", *three, answered=(0,)) is True
    assert by_boxes("left_right", "leftmost_of", "", *three, answered=(1,)) is False
    assert by_boxes("left_right", "rightmost_of", "", *three, answered=(2,)) is True
    assert by_boxes("left_right", "rightmost_of", "", *three, ("zebra", DOG), answered=(2,)) is False


def test_the_half_of_an_object_is_that_of_its_human_box(by_boxes):
    assert by_boxes("left_right", "half", "left", BUS) is True
    assert by_boxes("left_right", "half", "left", A_CAT) is False
    assert by_boxes("left_right", "half", "right", ("zebra", CAT)) is False


# --- measured depth


@pytest.fixture
def by_depth(make_pair):
    """Judge a pair about the parts, from left to right, of a photo of these depths."""

    def judged(form, *depths, answered=(0,), answer=""):
        measured = np.repeat(np.float32([depths]), 10, axis=0).repeat(10, axis=1)
        share = 1 / len(depths)
        parts = [("dog", (share * (i + 0.1), 0.0, share * (i + 0.9), 1.0)) for i in range(len(depths))]
        pair = make_pair("near_far", form, answer, *parts, answered=answered)
        return judge_pair(pair, PhotoTruth(depth=measured))

    return judged


def test_the_nearer_one_is_right_where_nearer_is_asked(by_depth):
    assert by_depth("nearer", 2, 4) is True
    assert by_depth("nearer", 2, 4, answered=(1,)) is False
    assert by_depth("nearer", 4, 2, answered=(1,)) is True


def test_the_farther_one_is_right_where_farther_is_asked(by_depth):
    assert by_depth("farther", 2, 4, answered=(1,)) is True
    assert by_depth("farther", 2, 4) is False


@pytest.mark.parametrize(("form", "answered"), [("nearest_of", 1), ("farthest_of", 2)])
def test_of_several_the_extreme_one_is_right(by_depth, form, answered):
    for place in range(3):
        assert by_depth(form, 3, 2, 4, answered=(place,)) is (place == answered)
    assert by_depth(form, 3, 3.1, 3.05, answered=(1,)) is NotJudged.TIE


def test_an_order_goes_from_the_nearest_to_the_farthest(by_depth):
    assert by_depth("order", 3, 2, 4, answered=(1, 0, 2)) is True
    assert by_depth("order", 3, 2, 4, answered=(2, 0, 1)) is False
    assert by_depth("order", 3, 2, 3.1, answered=(1, 0, 2)) is NotJudged.TIE


def test_the_first_is_in_front_of_the_second_or_not(by_depth):
    assert by_depth("front_yes_no", 2, 4, answer="yes") is True
    assert by_depth("front_yes_no", 2, 4, answer="no", answered=(1,)) is False
    assert by_depth("front_yes_no", 4, 2, answer="no", answered=(1,)) is True
    assert by_depth("front_yes_no", 2, 2.05, answer="yes") is NotJudged.TIE


def test_the_one_said_to_be_nearer_must_be(by_depth):
    assert by_depth("compare", 2, 4) is True
    assert by_depth("compare", 4, 2) is False


def test_every_form_of_the_templates_is_judged_or_known_to_be_beyond_the_truth(make_pair):
    from forge_assets.candidate_qa.templates import templates

    nothing = PhotoTruth()
    for task, form in templates().select("task", "form").unique().sort("task", "form").rows():
        pair = make_pair(task, form, "", ("dog", DOG), A_CAT)
        assert judge_pair(pair, nothing) is not NotJudged.UNKNOWN_FORM, (task, form)


def test_a_tie_is_neither_right_nor_wrong(by_depth):
    assert by_depth("nearer", 2.0, 2.09) is NotJudged.TIE
    assert by_depth("nearer", 2.0, 2.11) is True
    assert by_depth("nearer", 2.11, 2.0) is False
    assert by_depth("farther", 2.09, 2.0) is NotJudged.TIE


def test_depth_that_was_not_measured_says_nothing(by_depth):
    assert by_depth("nearer", 2, np.nan) is NotJudged.DEPTH_GAPS


# --- what cannot be judged


def test_without_the_truth_that_a_task_takes_nothing_is_said(make_pair):
    nothing, depth = PhotoTruth(), PhotoTruth(depth=np.ones((10, 10), np.float32))
    dog = "dog", DOG
    assert judge_pair(make_pair("counting", "number", "1", dog), nothing) is NotJudged.NO_BOXES
    assert judge_pair(make_pair("counting", "number", "1", dog), depth) is NotJudged.NO_BOXES
    assert judge_pair(make_pair("near_far", "nearer", "", dog, A_CAT), TRUTH) is NotJudged.NO_DEPTH
    assert judge_pair(make_pair("perspective", "own_side", "left", dog, A_CAT), TRUTH) is NotJudged.NO_TRUTH
    assert judge_pair(make_pair("counting", "nearer_than", "1", dog, A_CAT), TRUTH) is NotJudged.BOTH
    assert judge_pair(make_pair("counting", "colored", "1", dog), TRUTH) is NotJudged.COLOR


def test_a_labelled_photo_without_objects_makes_every_pair_wrong(make_pair):
    assert judge_pair(make_pair("grounding", "every", "", ("dog", DOG)), PhotoTruth(boxes={})) is False


def test_a_form_that_is_not_known_is_not_judged_and_says_so(make_pair, make_pairs):
    rows = [make_pair("counting", form, "2", ("dog", DOG), qa_id=form) for form in ("number", "in_verse")]
    table = judge(make_pairs(rows), {"hand/photo.jpg": TRUTH})
    assert table.rows() == [(True, None), (None, NotJudged.UNKNOWN_FORM.value)]
