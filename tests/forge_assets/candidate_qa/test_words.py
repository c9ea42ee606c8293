"""Sentences, names and boxes as readers see them."""

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_assets.candidate_qa.entities import entities
from forge_assets.candidate_qa.names import category_names
from forge_assets.candidate_qa.templates import answer_templates, slots, templates
from forge_assets.candidate_qa.wording import filled
from forge_assets.tables import CANDIDATE_QA, TASKS
from forge_resources.config import ForgeConfig

SPELL_CATEGORIES = Path(__file__).parents[3] / "infra/spell_categories.py"


def test_every_template_has_an_id_of_its_own_that_names_task_and_version():
    ids = templates()["template_id"].to_list()
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(rf"({'|'.join(TASKS)})\.[a-z_]+\.v\d+", name) for name in ids)
    assert set(templates()["task"]) == set(TASKS)


@pytest.fixture(scope="module")
def all_pairs(street_pairs, parking):
    return pl.concat([street_pairs, parking])


def test_every_template_is_used(all_pairs):
    used = all_pairs.select("form", pl.col("task").cast(pl.String), mark=pl.col("template_id").str.split("/"))
    questions = used.select("task", "form", template_id=pl.col("mark").list.first())
    ways = used.select("task", "form", answer_id=pl.col("mark").list.last())
    assert templates().join(questions, on=questions.columns, how="anti").is_empty()
    assert answer_templates().join(ways, on=ways.columns, how="anti").is_empty()


def test_every_task_has_at_least_20_questions_and_every_form_5():
    assert templates()["task"].n_unique() == len(TASKS)
    assert (templates().group_by("task").agg(pl.col("question").n_unique())["question"] >= 20).all()
    assert (templates().group_by("task", "form").len()["len"] >= 5).all()


def test_every_task_has_at_least_10_ways_to_answer_of_which_the_bare_one_is_one():
    ways = answer_templates().group_by("task").agg(pl.struct("answer", "answer_if_no").n_unique())
    assert ways["task"].n_unique() == len(TASKS)
    assert (ways["answer"] >= 10).all()


def test_every_form_is_answered_in_short_and_in_sentences():
    forms = answer_templates().group_by("task", "form").agg(demanded=pl.col("demand").count(), ways=pl.len())
    assert forms.height == templates().select("task", "form").n_unique()
    assert (forms["demanded"] >= 2).all()
    assert (forms["ways"] - forms["demanded"] >= 3).all()


def test_no_sentence_begins_with_a_slot_in_lower_case_nor_asks_twice_in_the_same_words():
    of_forms = templates().filter(pl.col("form") != "zero")  # asked in the words of `number`, so that it tells nothing
    sentences = answer_templates().filter(pl.col("demand").is_null())
    answers = pl.concat([sentences["answer"], sentences["answer_if_no"].drop_nulls()])
    demands = answer_templates()["demand"].drop_nulls()
    assert of_forms["question"].str.contains(r"^[A-Z].*[.?]$").all()
    assert demands.str.contains(r"^[A-Z][^{}]*\.$").all()
    assert answers.str.contains(r"^\{?[A-Z]").all()
    assert answers.str.contains(r"(\.|\{answer\})$").all()
    assert of_forms.select("task", "question").is_unique().all()
    assert answer_templates().select("task", "form", "answer_id").is_unique().all()


def test_yes_is_said_to_yes_and_no_to_no():
    told = answer_templates().filter(pl.col("answer_if_no").is_not_null())
    assert told["form"].str.ends_with("yes_no").all()
    assert told["answer"].str.starts_with("Yes").all()
    assert told["answer_if_no"].str.starts_with("No").all()


def test_no_question_demands_an_answer_in_a_form_that_its_answer_may_not_have():
    assert not templates()["question"].str.contains(r"(?i)json|integer|yes or no|\bone word\b|answer with").any()


def test_every_sentence_is_filled(all_pairs):
    street_pairs = all_pairs
    assert street_pairs.schema == pl.Schema(CANDIDATE_QA)
    for text in ("question", "answer"):
        without_json = street_pairs[text].str.replace_all(r'\{"bbox_2d": [^{}]*\}', "")
        assert not without_json.str.contains(r"[{}]|  |\bNone\b|\bnull\b|^\s*$").any()
    assert street_pairs["question"].str.contains(r"[.?]$").all()
    assert not street_pairs["question"].str.contains(r"\bthe the\b|\ba [aeiou]|\bexactly 1 \w+s\b").any()


def test_the_answer_is_the_short_one_alone_where_that_is_demanded_and_a_sentence_elsewhere(all_pairs):
    ways = answer_templates().select("task", "form", "answer_id", "demand")
    pairs = all_pairs.with_columns(
        pl.col("task").cast(pl.String), answer_id=pl.col("template_id").str.split("/").list.last()
    ).join(ways, on=["task", "form", "answer_id"])
    assert pairs.height == all_pairs.height
    demanded = pl.col("demand").is_not_null()
    as_it_stands = pl.col("answer") == pl.col("short_answer")
    assert pairs.select((demanded == as_it_stands).all()).item()
    assert pairs.filter(demanded).select(pl.col("question").str.ends_with(pl.col("demand")).all()).item()
    assert pairs.filter(~demanded)["answer"].str.contains(r"^[A-Z0-9].*[.\]]$").all()
    assert 0.3 < pairs.select(demanded.mean()).item() < 0.5


def test_answer_and_short_answer_say_the_same(all_pairs):
    answer, short = pl.col("answer").str.to_lowercase(), pl.col("short_answer").str.to_lowercase()
    said = (
        pl.when(pl.col("answer_kind") == "yes_no")
        .then(answer.str.starts_with(short))
        .when((pl.col("short_answer") == "0") & (pl.col("answer") != "0"))
        .then(answer.str.contains(r"\bno\b"))
        .otherwise(answer.str.contains(short, literal=True))
    )
    assert all_pairs.filter(~said).is_empty()
    boxes = all_pairs.filter(pl.col("answer_kind") == "bbox")
    assert boxes.select(pl.col("answer").str.ends_with(pl.col("short_answer")).all()).item()
    assert boxes["short_answer"].str.contains(r'^\[\{"bbox_2d": .*\}\]$').all()


def test_numbers_go_with_their_nouns(ask):
    def said(*objects, form="number"):
        photos = [{"image_id": f"hand/{number:02d}.jpg", "image_sha256": f"{number:064x}"} for number in range(60)]
        rows = ask("counting", *((*one, photo) for photo in photos for one in objects), form=form)
        return {row["answer"].removesuffix(" in the image.").removesuffix(".") for row in rows}

    one, two = ("bus", (100, 100, 300, 300)), ("bus", (600, 100, 800, 300))
    assert {"1", "There is 1 bus", "1 bus can be seen", "I see 1 bus"} <= said(one)
    assert {"2", "There are 2 buses", "2 buses can be seen", "I see 2 buses"} <= said(one, two)
    nothing = said(("person", (100, 100, 300, 800)), form="zero")
    assert {"0"} < nothing
    assert all(re.search(r"\bno \w+", answer.lower()) for answer in nothing - {"0"})
    assert not any(answer.startswith("There is") for answer in nothing)


def test_choices_hold_the_answer_and_free_answers_have_none(street_pairs):
    choice = street_pairs.filter(pl.col("answer_kind") == "choice")
    assert choice.select(pl.col("choices").list.contains(pl.col("short_answer")).all()).item()
    assert (choice["choices"].list.n_unique() == choice["choices"].list.len()).all()
    yes_no = street_pairs.filter(pl.col("answer_kind") == "yes_no")
    assert set(yes_no["short_answer"]) == {"yes", "no"}
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
    filled_in = row.select(filled(pl.col("text"), ["a", "b"])).item()
    assert filled_in == r"is the $0 cup left of the \1 ${x} cup, the $0 cup?"


def test_a_slot_with_a_capital_begins_with_one():
    row = pl.DataFrame({"text": ["{A} is left of {a}."], "a": ["the TV"]})
    assert row.select(filled(pl.col("text"), ["A", "a"])).item() == "The TV is left of the TV."


@pytest.mark.parametrize("task", TASKS)
def test_the_slots_of_all_sentences_are_known(task):
    ways = answer_templates().filter(task=task)
    texts = [templates().filter(task=task)["question"], ways["answer"], ways["answer_if_no"].drop_nulls()]
    found = set(re.findall(r"\{(.*?)\}", " ".join(pl.concat(texts))))
    assert found <= set(slots(task))


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


def test_the_vocabulary_is_spelled_as_the_rules_of_english_have_it():
    """If this fails: `python infra/spell_categories.py > forge_assets/candidate_qa/spelled_categories.csv`."""
    done = subprocess.run([sys.executable, SPELL_CATEGORIES], capture_output=True, text=True, check=True)
    table = resources.files("forge_assets.candidate_qa").joinpath("spelled_categories.csv")
    assert table.read_text() == done.stdout


def test_a_category_of_the_vocabulary_is_spelled_without_working_it_out():
    asked = (
        "import sys; import polars as pl; from forge_assets.candidate_qa.names import category_names; "
        "print(category_names(pl.Series(['bus', 'tv']))['plural'].to_list(), 'inflect' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['buses', 'TVs or monitors'] False"


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
