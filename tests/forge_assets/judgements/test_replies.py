"""What a judge's reply says of an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_assets.judgements.replies import Opinion, opinion
from forge_assets.tables import ANSWER_KINDS

YES, NO = Opinion(agrees=True), Opinion(agrees=False)


def unread(reason: str) -> Opinion:
    return Opinion(None, reason)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("3", YES),
        ("There are 3.", YES),
        ("Three people", YES),
        ("three (3)", YES),
        ("4", NO),
        ("zero", NO),
        ("13", NO),
        ("between 2 and 3", unread("several_numbers")),
        ("many", unread("no_number")),
        ("3.5", unread("no_number")),
        ("", unread("no_number")),
    ],
)
def test_numbers(reply: str, expected: Opinion) -> None:
    assert opinion(reply, "integer", "3", None) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Yes", YES),
        ("yes, it is", YES),
        ("No.", NO),
        ("Not sure", unread("no_yes_or_no")),
        ("yes and no", unread("yes_and_no")),
    ],
)
def test_yes_and_no(reply: str, expected: Opinion) -> None:
    assert opinion(reply, "yes_no", "Yes", None) == expected


def test_a_text_is_right_where_the_judge_says_so() -> None:
    assert opinion("Yes", "text", "the dog", None) == YES
    assert opinion("No", "text", "the dog", None) == NO


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("the person at [1, 2, 3, 4]", YES),
        ("The person at [1, 2, 3, 4].", YES),
        ("It is the **person at [1, 2, 3, 4]**.", YES),
        ("the person", NO),
        ("the person at [5, 6, 7, 8]", NO),
        ("person at [1, 2, 3, 4] or person at [5, 6, 7, 8]", unread("several_options")),
        ("the bus", unread("no_option")),
    ],
)
def test_options_are_matched_whole_and_the_longest_first(reply: str, expected: Opinion) -> None:
    choices = ["the person at [1, 2, 3, 4]", "the person at [5, 6, 7, 8]", "the person"]
    assert opinion(reply, "choice", choices[0], choices) == expected


@pytest.mark.parametrize(("reply", "expected"), [("left", YES), ("To the left.", YES), ("right", NO)])
def test_options_of_one_word(reply: str, expected: Opinion) -> None:
    assert opinion(reply, "choice", "left", ["right", "left"]) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('[{"bbox_2d": [0, 0, 100, 100]}, {"bbox_2d": [500, 500, 600, 600]}]', YES),
        ('[{"bbox_2d": [500, 500, 600, 620]}, {"bbox_2d": [0, 0, 100, 90]}]', YES),
        ('[{"bbox_2d": [0, 0, 100, 100]}]', NO),
        ('[{"bbox_2d": [0, 0, 100, 100]}, {"bbox_2d": [0, 0, 100, 99]}]', NO),
        ('[{"bbox_2d": [0, 0, 100, 100]}, {"bbox_2d": [500, 500, 600, 549]}]', NO),
        ("[]", NO),
        ("on the left", unread("no_boxes")),
    ],
)
def test_boxes_are_matched_one_to_one(reply: str, expected: Opinion) -> None:
    answer = '[{"bbox_2d": [0, 0, 100, 100], "label": "cup"}, {"bbox_2d": [500, 500, 600, 600], "label": "cup"}]'
    assert opinion(reply, "bbox", answer, None) == expected


@given(st.text(max_size=60), st.sampled_from(ANSWER_KINDS))
def test_every_reply_agrees_or_not_or_has_a_reason(reply: str, answer_kind: str) -> None:
    answers = {"integer": "3", "yes_no": "No", "text": "the dog", "bbox": "[[1, 2, 3, 4]]", "choice": "left"}
    said = opinion(reply, answer_kind, answers[answer_kind], ["left", "right"])
    assert (said.agrees is None) == (said.reason is not None)
