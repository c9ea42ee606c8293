"""What every question-answer pair promises, be it candidate or verified."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from forge_assets.candidate_qa.templates import templates
from forge_assets.gates.promises import among, between, holds, present, unique
from forge_assets.gates.statements import numbers_are_finite, of_partition
from forge_assets.in_memory import collected
from forge_assets.tables import ANSWER_KINDS, PERCEPTION, SPLITS, TASKS
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

QUESTION_LENGTH = (8, 600)
ANSWER_LENGTH = (1, 8_000)
THOUSAND = 1_000
MIN_OPTIONS = 2
ABSENT = "zero"
"""The form that names no object, since there is none."""
IN_ORDER = "order"
"""The form whose answer names all objects."""
OF_A_COLOR = ("colored", "every_colored")
"""Forms whose phrase stands for a class, in words of their own."""

_BOX = r"\[\s*\d+\s*,\s*\d+\s*,\s*\d+\s*,\s*\d+\s*\]"
_JSON_OBJECT = r'\{\s*"[^{}]*\}'
_BRACE = r"[{}]"
_SENTENCE_END = r"[.?!:)\]]$"
_UNFILLED = r"\b(None|null|NaN|nan|undefined)\b"


def pair_expectations(config: ForgeConfig) -> "list[Expectation]":
    """Of each pair."""
    return [
        *present(
            "qa_id", "image_id", "task", "level", "question", "answer", "answer_kind", "template_id", "evidence_given"
        ),
        *present("short_answer", "form", "category_count"),
        *present("object_count", "answer_object_count", "image_width", "image_height", "split", "license"),
        unique("qa_id"),
        holds("is_of_partition"),
        among("task", TASKS),
        among("answer_kind", ANSWER_KINDS),
        among("split", SPLITS),
        holds("level_fits_task"),
        holds("form_is_of_task"),
        # the photo and the objects
        holds("image_is_known"),
        holds("photo_is_as_known"),
        holds("objects_named_unless_none_there"),
        holds("objects_are_known"),
        holds("answer_objects_are_named"),
        holds("one_box_per_object"),
        holds("boxes_in_range"),
        holds("one_score_per_object"),
        holds("one_category_per_object"),
        holds("objects_are_of_their_categories"),
        holds("phrases_are_said"),
        holds("category_given_where_asked"),
        between("pairs_of_photo_and_task", 1, config.tasks.max_pairs_per_task),
        # the words
        between("question_length", *QUESTION_LENGTH),
        between("answer_length", *ANSWER_LENGTH),
        holds("question_is_finished"),
        holds("no_template_slots_left"),
        holds("no_missing_words"),
        holds("no_double_blanks"),
        # the answer
        holds("answer_fits_kind"),
        holds("short_answer_is_said"),
        holds("choices_fit_kind"),
        holds("answer_boxes_are_of_objects"),
        holds("count_is_of_objects"),
        between("count", 0, config.tasks.counting_max),
        holds("near_far_names_its_object"),
        holds("numbers_are_finite"),
    ]


def pair_frame(lake: Lake, table: str, key: ShardKey) -> pl.DataFrame:
    """Pairs without their nested columns, with what can be said of objects, boxes, words and answers."""
    photos = lake.scan("raw_images", key).select(
        "image_id", "width", "height", known_split="split", known_license="license", image_is_known=True
    )
    pairs = (
        lake.scan(table, key)
        .with_row_index("row")
        .with_columns(
            scores=pl.col("evidence").struct.field("scores"), phrases=pl.col("evidence").struct.field("phrases")
        )
    )
    objects = lake.scan("detections", key).select("image_id", "object_id", "category")
    as_known = (
        (pl.col("image_width") == pl.col("width"))
        & (pl.col("image_height") == pl.col("height"))
        & (pl.col("split") == pl.col("known_split"))
        & (pl.col("license") == pl.col("known_license"))
    )
    return (
        pairs.join(photos, on="image_id", how="left")
        .join(_known_objects(pairs, objects), on="row", how="left")
        .join(_answer_boxes(pairs), on="row", how="left")
        .with_columns(
            pl.col("image_is_known").fill_null(value=False),
            is_of_partition=of_partition(key),
            photo_is_as_known=as_known.fill_null(value=False),
            level_fits_task=_level_fits_task(),
            form_is_of_task=_form_is_of_task(),
            category_count=pl.col("categories").list.len(),
            evidence_given=pl.when(pl.col("evidence").is_not_null()).then(pl.lit(True)),
            object_count=pl.col("object_ids").list.len(),
            answer_object_count=pl.col("answer_object_ids").list.len(),
            objects_named_unless_none_there=(
                (pl.col("object_ids").list.len() == 0) == (pl.col("form") == ABSENT).fill_null(value=False)
            ).fill_null(value=False),
            one_category_per_object=(pl.col("categories").list.len() == pl.col("object_ids").list.len()).fill_null(
                value=False
            ),
            objects_are_of_their_categories=pl.col("objects_of_category").fill_null(0)
            == pl.col("object_ids").list.len(),
            phrases_are_said=_phrases_are_said(),
            objects_are_known=pl.col("known_objects").fill_null(0) == pl.col("object_ids").list.len(),
            answer_objects_are_named=(
                pl.col("answer_object_ids").list.set_difference(pl.col("object_ids")).list.len() == 0
            ).fill_null(value=False),
            one_box_per_object=(pl.col("boxes").list.len() == pl.col("object_ids").list.len()).fill_null(value=False),
            boxes_in_range=_boxes_in_range(),
            one_score_per_object=(pl.col("scores").list.len() == pl.col("object_ids").list.len()).fill_null(value=True),
            category_given_where_asked=~_is_task("counting", "grounding") | pl.col("category").is_not_null(),
            pairs_of_photo_and_task=pl.len().over("image_id", "task"),
            question_length=pl.col("question").str.len_chars(),
            answer_length=pl.col("answer").str.len_chars(),
            question_is_finished=pl.col("question").str.contains(_SENTENCE_END).fill_null(value=False),
            no_template_slots_left=_of_texts(lambda text: ~text.str.replace_all(_JSON_OBJECT, "").str.contains(_BRACE)),
            no_missing_words=_of_texts(lambda text: ~text.str.contains(_UNFILLED)),
            no_double_blanks=_of_texts(
                lambda text: ~text.str.contains("  ", literal=True) & (text == text.str.strip_chars())
            ),
            answer_fits_kind=_answer_fits_kind(),
            choices_fit_kind=_choices_fit_kind(),
            short_answer_is_said=_short_answer_is_said(),
            answer_boxes_are_of_objects=(
                ~_is_kind("bbox") | (_boxes_in("short_answer") == pl.col("answer_boxes"))
            ).fill_null(value=False),
            count=pl.when(_states_number()).then(pl.col("short_answer").str.to_integer(strict=False)),
            near_far_names_its_object=~_is_task("near_far")
            | (
                pl.col("answer_object_ids").list.len()
                == pl.when(pl.col("form") == IN_ORDER).then(pl.col("object_ids").list.len()).otherwise(1)
            ).fill_null(value=False),
            numbers_are_finite=numbers_are_finite(),
        )
        .with_columns(
            count_is_of_objects=~_states_number()
            | (pl.col("count") == pl.col("answer_object_ids").list.len()).fill_null(value=False)
        )
        .drop(
            "row", "evidence", "scores", "phrases", "choices", "categories", "object_ids", "answer_object_ids", "boxes"
        )
        .drop("answer_boxes", "width", "height", "known_split", "known_license", "known_objects", "objects_of_category")
        .pipe(collected)
    )


def _is_task(*tasks: str) -> pl.Expr:
    return pl.col("task").cast(pl.String).is_in(list(tasks)).fill_null(value=False)


def _is_kind(*kinds: str) -> pl.Expr:
    return pl.col("answer_kind").cast(pl.String).is_in(list(kinds)).fill_null(value=False)


def _of_texts(statement: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """The statement is true of question and answer, as far as they are there: `present` asks whether they are."""
    return pl.all_horizontal(statement(pl.col(text)).fill_null(value=True) for text in ("question", "answer"))


def _level_fits_task() -> pl.Expr:
    wanted = pl.when(_is_task(*PERCEPTION)).then(pl.lit("perception")).otherwise(pl.lit("relation"))
    return (pl.col("level").cast(pl.String) == wanted).fill_null(value=False)


def _states_number() -> pl.Expr:
    """The answer is a number of objects, free or among options."""
    return _is_task("counting") & _is_kind("integer", "choice")


def _form_is_of_task() -> pl.Expr:
    known = templates().select(pl.format("{}.{}", "task", "form")).to_series().unique().sort()
    return pl.format("{}.{}", pl.col("task").cast(pl.String), "form").is_in(known.implode()).fill_null(value=False)


def _phrases_are_said() -> pl.Expr:
    """Question, answer or options hold each phrase that stands in the evidence; one about a class is in its plural."""
    said = pl.concat_str("question", "answer", pl.col("choices").list.join(" "), ignore_nulls=True, separator=" ")
    bare = pl.element().struct.field("text").str.strip_prefix("the ")
    texts = pl.col("phrases").list.eval(bare)
    whole_class = pl.col("form").is_in(list(OF_A_COLOR))
    return (
        whole_class.fill_null(value=False)
        | pl.col("phrases").is_null()
        | (said.str.extract_many(texts, overlapping=True).list.n_unique() >= texts.list.n_unique())
    ).fill_null(value=False)


def _boxes_in_range() -> pl.Expr:
    x1, y1, x2, y2 = (pl.element().arr.get(index) for index in range(4))
    ordered = (x1 >= 0) & (y1 >= 0) & (x1 < x2) & (y1 < y2) & (x2 <= THOUSAND) & (y2 <= THOUSAND)
    return pl.col("boxes").list.eval(ordered.fill_null(value=False)).list.all().fill_null(value=False)


def _boxes_in(text: str) -> pl.Expr:
    """All boxes that a text names, without blanks, one after the other."""
    return pl.col(text).str.extract_all(_BOX).list.join("").str.replace_all(r"\s", "")


def _answer_fits_kind() -> pl.Expr:
    """Short answers: digits, one of the options, or JSON of boxes with one for each object of the answer."""
    answer = pl.col("short_answer")
    named_boxes = answer.str.count_matches(_BOX)
    fits = (
        pl.when(_is_kind("integer"))
        .then(answer.str.contains(r"^\d+$"))
        .when(_is_kind("choice"))
        .then(pl.col("choices").list.contains(answer))
        .when(_is_kind("yes_no"))
        .then(answer.is_in(["yes", "no"]))
        .when(_is_kind("bbox"))
        .then(answer.str.json_path_match("$").is_not_null() & (named_boxes == pl.col("answer_object_ids").list.len()))
        .otherwise(answer.str.contains(r"\S"))
    )
    return fits.fill_null(value=False)


def _short_answer_is_said() -> pl.Expr:
    """The answer holds the short one: of yes and no as its first word, of numbers as a number or, for none, as "no"."""
    answer, short = pl.col("answer").str.to_lowercase(), pl.col("short_answer").str.to_lowercase()
    none = (short == "0") & answer.str.contains(r"\bno\b")
    said = (
        pl.when(_is_kind("yes_no"))
        .then(answer.str.extract(r"^(\w+)", 1) == short)
        .when(_is_kind("integer"))
        .then(answer.str.extract_all(r"\d+").list.contains(short) | none)
        .otherwise(answer.str.contains(short, literal=True))
    )
    return said.fill_null(value=False)


def _choices_fit_kind() -> pl.Expr:
    """A choice has at least two options, all different; free answers have none."""
    options = pl.col("choices").list
    distinct = (options.len() >= MIN_OPTIONS) & (options.n_unique() == options.len())
    return (
        pl.when(_is_kind("choice"))
        .then(distinct.fill_null(value=False))
        .when(_is_kind("yes_no"))
        .then(pl.lit(True))
        .otherwise(pl.col("choices").is_null())
    )


def _known_objects(pairs: pl.LazyFrame, objects: pl.LazyFrame) -> pl.LazyFrame:
    """By row, how many of the objects that a pair names were detected in its very photo, and as what the pair says."""
    named = pairs.select("row", "image_id", "categories", object_id="object_ids")
    whole = pl.col("categories").list.len() == pl.col("object_id").list.len()
    return (
        named.with_columns(categories=pl.when(whole).then("categories").otherwise(pl.col("object_id")))
        .explode("object_id", "categories")
        .join(objects, on=["image_id", "object_id"])
        .group_by("row")
        .agg(known_objects=pl.len(), objects_of_category=(pl.col("categories") == pl.col("category")).sum())
    )


def _answer_boxes(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """By row, the boxes of the objects of a `bbox` answer in the answer's order, as `_boxes_in` writes them."""
    whole = (pl.col("boxes").list.len() == pl.col("object_ids").list.len()).fill_null(value=False)
    asked = pairs.filter(_is_kind("bbox") & whole)
    coordinates = (pl.col("box").arr.get(index) for index in range(4))
    boxes = (
        asked.select("row", object_id="object_ids", box="boxes")
        .explode("object_id", "box")
        .select("row", "object_id", box=pl.format("[{},{},{},{}]", *coordinates))
    )
    return (
        asked.select("row", object_id="answer_object_ids", place=pl.int_ranges(pl.col("answer_object_ids").list.len()))
        .explode("object_id", "place")
        .join(boxes, on=["row", "object_id"], how="left")
        .group_by("row")
        .agg(answer_boxes=pl.col("box").sort_by("place").str.join(""))
    )
