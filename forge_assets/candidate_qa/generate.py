"""Candidates of all six tasks: drafts of each task, then words, ids and the public columns for all alike."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import polars as pl
import polars.selectors as cs

from forge_assets.candidate_qa.absent import zeros
from forge_assets.candidate_qa.choosing import Form, chosen
from forge_assets.candidate_qa.counting import counting
from forge_assets.candidate_qa.depth_pairs import depth_pairs
from forge_assets.candidate_qa.entities import entities, possible_objects
from forge_assets.candidate_qa.evidence import with_evidence
from forge_assets.candidate_qa.grounding import grounding
from forge_assets.candidate_qa.identity import QA_ID_DIGITS, blake3
from forge_assets.candidate_qa.left_right import left_right
from forge_assets.candidate_qa.naming import named
from forge_assets.candidate_qa.near_far import near_far
from forge_assets.candidate_qa.perspective import perspective
from forge_assets.candidate_qa.phrase_kinds import DEPTH_RANK, KINDS, ORDINAL, SIDE_OF, SIZE, telling_none_of
from forge_assets.candidate_qa.phrases import color_facts, phrases
from forge_assets.candidate_qa.referring import referring
from forge_assets.candidate_qa.whole_class import Classes, class_members, colored_classes, whole_classes
from forge_assets.candidate_qa.wording import worded
from forge_assets.in_memory import collected, computed
from forge_assets.tables import CANDIDATE_QA, EVIDENCE, PERCEPTION
from forge_resources.config import ForgeConfig

VERSION = "3"
PHOTOS_AT_ONCE = 2_000
"""So that memory follows these and not the shard; pairs of one photo depend on no other."""
_BATCHES_AT_ONCE = 2
"""Queries of one batch keep hardly more than one core busy."""

_IMAGE_COLUMNS = ("source", "shard", "image_width", "image_height", "split", "license")
_OF_OBJECT = (
    "object_id", "image_id", "image_sha256", "image_width", "category", "origin", "is_labeled", "color",
    "x1", "x2", "mirror_x1", "mirror_x2", "facing", "mirror_facing", "second_facing", "facing_score",
    "found_by", "posed_by", "sure_score", "box", "region", "by_region", "by_point", "singular", "plural",
    "same_category", "count_strict", "count_loose", "count_mirror", "count_human",
)  # fmt: skip
"""The columns of `entities` that forms read."""
_OF_DRAFT = {"image_id", "image_sha256", "asked", "object_ids", "answer_object_ids", "phrase_numbers", "models"}
_TELL_NO_PLACE = telling_none_of(ORDINAL, SIDE_OF)
_TELL_NO_DEPTH = telling_none_of(SIZE, DEPTH_RANK)
_TELL_NEITHER_PLACE_NOR_DEPTH = telling_none_of(ORDINAL, SIDE_OF, DEPTH_RANK)
_TELL_NEITHER_LANDMARK_NOR_DEPTH = telling_none_of(SIDE_OF, DEPTH_RANK)


def candidates(scenes: pl.DataFrame, config: ForgeConfig, descriptions: pl.DataFrame | None = None) -> pl.DataFrame:
    """All candidate pairs of one shard.

    Args:
        scenes: rows of `SCENES`.
        config: the whole configuration.
        descriptions: rows of `DESCRIPTIONS`, where a vision-language model was asked.

    Returns:
        Rows of `CANDIDATE_QA`, sorted by image_id and qa_id.
    """
    photos = scenes["image_id"].unique().sort()
    at_once = min(_BATCHES_AT_ONCE, pl.thread_pool_size())
    size = PHOTOS_AT_ONCE // at_once

    def of_batch(start: int) -> pl.DataFrame:
        is_in_batch = pl.col("image_id").is_in(photos[start : start + size].implode())
        return _of_batch(scenes.filter(is_in_batch), config, descriptions)

    with ThreadPoolExecutor(at_once) as threads:
        found = list(threads.map(of_batch, range(0, len(photos), size)))
    return pl.concat([pl.DataFrame(schema=dict(CANDIDATE_QA)), *found])


class _Scene(NamedTuple):
    """What the forms of several tasks read, computed once; the rows of a batch."""

    scenes: pl.LazyFrame
    objects: pl.LazyFrame
    """As `entities.entities` gives them."""
    read: pl.LazyFrame
    """Of these, what forms read."""
    phrases: pl.LazyFrame
    """With `phrase_number`."""
    classes: Classes
    """Their `phrase_number` counts on from those of `phrases`."""
    depths: pl.LazyFrame


def _of_batch(scenes: pl.DataFrame, config: ForgeConfig, descriptions: pl.DataFrame | None) -> pl.DataFrame:
    # Enums of sorted ids sort as the ids do, joins and sorts of them take half as long, and their numbers are rows.
    ids = {name: pl.Enum(scenes[name].unique().sort()) for name in ("image_id", "object_id")}
    if descriptions is not None:
        descriptions = descriptions.join(scenes, on=[*ids], how="semi").cast(pl.Schema(ids))
    scene = _scene(scenes.cast(pl.Schema(ids)), config, descriptions)
    forms = sorted(_forms(scene, config), key=lambda form: (form.task, form.name))
    drafts = chosen(forms, config.tasks.max_pairs_per_task)
    told = [_told(form, draft) for form, draft in zip(forms, drafts, strict=True)]
    pairs = pl.concat(told, how="diagonal", rechunk=True).with_columns(
        qa_id=blake3("image_sha256", "task", "template_id", "asked").str.slice(0, QA_ID_DIGITS)
    )
    if pairs.is_empty():
        return pl.DataFrame(schema=dict(CANDIDATE_QA))
    return _finished(pairs.sort(_order()), scene)


def _scene(scenes: pl.DataFrame, config: ForgeConfig, descriptions: pl.DataFrame | None) -> _Scene:
    described = None if descriptions is None else descriptions.lazy()
    objects = entities(scenes.lazy(), config).pipe(computed)
    possible = possible_objects(scenes.lazy(), config).pipe(computed)
    read = objects.select(_OF_OBJECT).pipe(computed)
    said = phrases(possible, objects, config, described).with_row_index("phrase_number").pipe(collected)
    members = class_members(read, config.tasks.min_candidate_score).pipe(computed)
    whole = whole_classes(members).pipe(computed)
    colored = colored_classes(members, whole, color_facts(possible))
    numbered = colored.with_row_index("phrase_number", said.height).pipe(computed)
    return _Scene(
        scenes=scenes.lazy(),
        objects=objects,
        read=read,
        phrases=said.lazy(),
        classes=Classes(members, whole, numbered),
        depths=depth_pairs(objects, config.verification).pipe(computed),
    )


def _forms(scene: _Scene, config: ForgeConfig) -> list[Form]:
    tasks, depths, most = config.tasks, scene.depths, config.tasks.max_pairs_per_task

    def names(task: str, kinds: Sequence[str], otherwise: Literal["place", "nothing"] = "nothing") -> pl.LazyFrame:
        return named(scene.read, scene.phrases, task, kinds, otherwise).pipe(computed)

    forms = [
        *grounding(scene.read, scene.phrases, names("grounding", KINDS), scene.classes),
        *referring(scene.read, scene.phrases, names("referring", KINDS)),
        *counting(scene.classes, names("counting", _TELL_NO_DEPTH), depths, tasks.counting_max),
        *near_far(names("near_far", _TELL_NO_DEPTH, "place"), depths, most),
        *left_right(names("left_right", _TELL_NO_PLACE), most),
        *perspective(
            names("perspective", _TELL_NEITHER_LANDMARK_NOR_DEPTH, "place"),
            names("perspective", _TELL_NEITHER_PLACE_NOR_DEPTH),
            depths,
            config.verification,
            most,
        ),
    ]
    if tasks.zero_counts:
        forms.append(zeros(scene.scenes, scene.read, config.verification.count_strict_score))
    return forms


def _told(form: Form, drafts: pl.DataFrame) -> pl.DataFrame:
    """Drafts of one form with their words, as far as pairs are made of them."""
    told = form.told(drafts.lazy()).with_columns(task=pl.lit(form.task), form=pl.lit(form.name))
    needed = {*CANDIDATE_QA, *_OF_DRAFT, *(f"e_{field.name}" for field in EVIDENCE.fields)} - {*_IMAGE_COLUMNS}
    if form.task not in PERCEPTION:
        needed.remove("category")
    return worded(told, form.task, form.name).select(cs.by_name(*needed, require_all=False)).pipe(collected)


def _order() -> pl.Expr:
    """image_id and qa_id as one number, which takes half as long to sort by."""
    number_of_pair = pl.col("qa_id").str.to_integer(base=16, dtype=pl.Int128)
    return pl.col("image_id").to_physical().cast(pl.Int128) * 16**QA_ID_DIGITS + number_of_pair


def _finished(pairs: pl.DataFrame, scene: _Scene) -> pl.DataFrame:
    """The contract's columns of pairs that have words and ids."""
    images = scene.scenes.select("image_id", *_IMAGE_COLUMNS).unique("image_id").sort("image_id").pipe(collected)
    image = pl.col("image_id").to_physical()
    texts = pl.concat(
        [scene.phrases.select("phrase_number", "phrase"), scene.classes.colored.select("phrase_number", "phrase")]
    )
    complete = (
        pairs.lazy()
        .with_columns(pl.col("object_ids", "answer_object_ids", "phrase_numbers").fill_null([]))
        .pipe(with_evidence, pairs["models"], scene.objects.pipe(collected), texts.pipe(collected))
        .with_columns(
            pl.when(pl.col("task").is_in(PERCEPTION))
            .then(pl.lit("perception"))
            .otherwise(pl.lit("relation"))
            .alias("level"),
            *(pl.lit(images[name]).gather(image).alias(name) for name in _IMAGE_COLUMNS),
            evidence=pl.struct(
                pl.col(f"e_{field.name}").cast(field.dtype).alias(field.name) for field in EVIDENCE.fields
            ),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in CANDIDATE_QA.items())
    )
    return complete.pipe(collected)
