"""Sentences, names and boxes as readers see them."""

import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_assets.candidate_qa.entities import entities
from forge_assets.candidate_qa.names import category_names
from forge_assets.candidate_qa.templates import filled, slots, templates
from forge_assets.tables import CANDIDATE_QA, TASKS
from forge_resources.config import ForgeConfig


def test_every_template_has_an_id_of_its_own_that_names_task_and_version():
    ids = templates()["template_id"].to_list()
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(rf"({'|'.join(TASKS)})\.[a-z_]+\.v\d+", name) for name in ids)
    assert set(templates()["task"]) == set(TASKS)


@pytest.fixture(scope="module")
def all_pairs(street_pairs, parking):
    return pl.concat([street_pairs, parking])


def test_every_template_is_used(all_pairs):
    assert set(all_pairs["template_id"]) == set(templates()["template_id"])


def test_every_task_has_at_least_20_questions_and_every_form_5():
    assert (templates().group_by("task").len()["len"] >= 20).all()
    assert (templates().group_by("task", "form").len()["len"] >= 5).all()


def test_no_sentence_begins_with_a_slot_nor_asks_twice_in_the_same_words():
    of_forms = templates().filter(pl.col("form") != "zero")  # asked in the words of `number`, so that it tells nothing
    questions = of_forms["question"]
    answers = templates().filter(pl.col("answer") != "{count}")["answer"]
    assert questions.str.contains(r"^[A-Z]").all()
    assert answers.str.contains(r"^[A-Z]").all()
    assert answers.str.contains(r"\.$").all()
    assert of_forms.select("task", "question").is_unique().all()


def test_every_sentence_is_filled(all_pairs):
    street_pairs = all_pairs
    assert street_pairs.schema == pl.Schema(CANDIDATE_QA)
    for text in ("question", "answer"):
        without_json = street_pairs[text].str.replace_all(r'\{"bbox_2d": [^{}]*\}', "")
        assert not without_json.str.contains(r"[{}]|  |\bNone\b|\bnull\b|^\s*$").any()
    assert street_pairs["question"].str.contains(r"[.?]$").all()
    assert not street_pairs["question"].str.contains(r"\bthe the\b|\ba [aeiou]|\bexactly 1 \w+s\b").any()


def test_choices_hold_the_answer_and_free_answers_have_none(street_pairs):
    choice = street_pairs.filter(pl.col("answer_kind") == "choice")
    assert choice.select(pl.col("choices").list.contains(pl.col("answer")).all()).item()
    assert (choice["choices"].list.n_unique() == choice["choices"].list.len()).all()
    yes_no = street_pairs.filter(pl.col("answer_kind") == "yes_no")
    assert set(yes_no["answer"]) == {"Yes", "No"}
    assert street_pairs.filter(pl.col("answer_kind") != "choice")["choices"].null_count() == (
        street_pairs.height - choice.height
    )


def test_perception_and_relation_are_told_apart(street_pairs):
    levels = dict(street_pairs.select(pl.col("task").cast(pl.String), pl.col("level").cast(pl.String)).unique().rows())
    assert levels == {
        "grounding": "perception", "referring": "perception", "counting": "perception",
        "near_far": "relation", "left_right": "relation", "perspective": "relation",
    }  # fmt: skip


def test_slots_are_filled_as_they_are_even_where_they_look_like_patterns():
    row = pl.DataFrame({"text": ["is {a} left of {b}, {a}?"], "a": ["the $0 cup"], "b": [r"the \1 ${x} cup"]})
    assert row.select(filled("text", ["a", "b"])).item() == r"is the $0 cup left of the \1 ${x} cup, the $0 cup?"


def test_the_slots_of_all_templates_are_known():
    sentences = " ".join(templates()["question"]) + " ".join(templates()["answer"].drop_nulls())
    assert set(re.findall(r"\{(.*?)\}", sentences)) == {slot for task in TASKS for slot in slots(task)}


@pytest.mark.parametrize(
    ("category", "singular", "plural", "indefinite"),
    [
        ("person", "person", "people", "a person"),
        ("wine glass", "wine glass", "wine glasses", "a wine glass"),
        ("scissors", "pair of scissors", "pairs of scissors", "a pair of scissors"),
        ("mouse", "computer mouse", "computer mice", "a computer mouse"),
        ("tv", "TV or monitor", "TVs or monitors", "a TV or monitor"),
        ("pen/pencil", "pen or pencil", "pens or pencils", "a pen or pencil"),
        ("mouse (animal)", "mouse", "mice", "a mouse"),
        ("knife", "knife", "knives", "a knife"),
        ("bus", "bus", "buses", "a bus"),
        ("bench", "bench", "benches", "a bench"),
        ("sheep", "sheep", "sheep", "a sheep"),
        ("umbrella", "umbrella", "umbrellas", "an umbrella"),
        ("hot dog", "hot dog", "hot dogs", "a hot dog"),
    ],
)
def test_names_are_english(category, singular, plural, indefinite):
    assert category_names(pl.Series([category])).row(0) == (category, singular, plural, indefinite)


@pytest.mark.parametrize("category", ["boots", "glasses", "high heels", "tennis"])
def test_a_class_that_already_ends_in_s_gets_no_second_one(category):
    assert category_names(pl.Series([category]))["plural"].item() == category


def test_names_of_no_categories_are_an_empty_table():
    assert category_names(pl.Series([], dtype=pl.String)).height == 0


coordinate = st.floats(-20, 5020) | st.integers(0, 5000).map(float)
side = st.integers(1, 5000)
spans = st.tuples(coordinate, coordinate).filter(lambda span: span[0] < span[1])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(side, side, spans, spans), min_size=1, max_size=20))
def test_boxes_are_rounded_and_clamped_thousandths_and_never_empty(make_scene, photos):
    table = make_scene(
        *(
            (
                "dog",
                (x1, y1, x2, y2),
                {"image_id": f"hand/{index:02d}.jpg", "image_width": width, "image_height": height},
            )
            for index, (width, height, (x1, x2), (y1, y2)) in enumerate(photos)
        )
    )
    found = entities(table.lazy(), ForgeConfig()).collect().sort("image_id")

    def thousandths(value, of):
        return min(max(round(value / of * 1000), 0), 1000)

    for (width, height, (x1, x2), (y1, y2)), box, region in zip(photos, found["box"], found["region"], strict=True):
        left, top = min(thousandths(x1, width), 999), min(thousandths(y1, height), 999)
        right, bottom = max(thousandths(x2, width), left + 1), max(thousandths(y2, height), top + 1)
        assert box.to_list() == [left, top, right, bottom]
        assert region == f"[{left}, {top}, {right}, {bottom}]"
        assert 0 <= left < right <= 1000
        assert 0 <= top < bottom <= 1000
