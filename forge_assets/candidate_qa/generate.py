"""Candidates of all six tasks: drafts of each task, then words, ids and the public columns for all alike."""

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from forge_assets.candidate_qa.absent import zeros
from forge_assets.candidate_qa.choosing import chosen, most_matches
from forge_assets.candidate_qa.counting import counting
from forge_assets.candidate_qa.depth_pairs import depth_pairs
from forge_assets.candidate_qa.entities import entities
from forge_assets.candidate_qa.evidence import LISTS, with_evidence
from forge_assets.candidate_qa.grounding import grounding
from forge_assets.candidate_qa.identity import QA_ID_DIGITS, blake3
from forge_assets.candidate_qa.left_right import left_right
from forge_assets.candidate_qa.naming import named
from forge_assets.candidate_qa.near_far import near_far
from forge_assets.candidate_qa.perspective import perspective
from forge_assets.candidate_qa.phrase_kinds import DEPTH_RANK, KINDS, ORDINAL, SIDE_OF, SIZE, telling_none_of
from forge_assets.candidate_qa.phrases import color_facts, phrases
from forge_assets.candidate_qa.referring import referring
from forge_assets.candidate_qa.whole_class import whole_classes
from forge_assets.candidate_qa.wording import columns_needed, worded
from forge_assets.tables import CANDIDATE_QA, EVIDENCE, PERCEPTION
from forge_resources.config import ForgeConfig

VERSION = "3"
PHOTOS_AT_ONCE = 1_000
"""So that memory follows the batch and not the shard; pairs of one photo depend on no other."""

_IMAGE_COLUMNS = ("image_id", "source", "shard", "image_width", "image_height", "split", "license")
_DRAFT_COLUMNS = ("image_sha256", "asked", "seed", "is_doubtful", "least_score")
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
    batches = [photos[start : start + PHOTOS_AT_ONCE] for start in range(0, max(len(photos), 1), PHOTOS_AT_ONCE)]
    found = [
        _of_batch(scenes.filter(pl.col("image_id").is_in(batch.implode())), config, descriptions) for batch in batches
    ]
    return pl.concat(found).sort("image_id", "qa_id")


def _of_batch(scenes: pl.DataFrame, config: ForgeConfig, descriptions: pl.DataFrame | None) -> pl.DataFrame:
    images = scenes.lazy().select(_IMAGE_COLUMNS).unique()
    most = config.tasks.max_pairs_per_task
    objects = entities(scenes.lazy(), config).collect().lazy()
    drafts = _drafts(scenes.lazy(), objects, config, None if descriptions is None else descriptions.lazy())
    picked = pl.collect_all(_chosen(_together(task, of_task), most) for task, of_task in drafts.items())
    kept = pl.collect_all(with_evidence(of_task.lazy(), objects) for of_task in picked)
    finished = [
        _finished(task, form, of_task.lazy().filter(pl.col("form") == form), images)
        for task, of_task in zip(drafts, kept, strict=True)
        for form in of_task["form"].unique().sort()
    ]
    return pl.concat([pl.DataFrame(schema=dict(CANDIDATE_QA)), *pl.collect_all(finished)])


def _drafts(
    scenes: pl.LazyFrame, objects: pl.LazyFrame, config: ForgeConfig, descriptions: pl.LazyFrame | None
) -> Mapping[str, Sequence[pl.LazyFrame]]:
    """By task, the drafts of its forms; what several tasks read is computed once."""
    tasks, min_score = config.tasks, config.tasks.min_candidate_score
    said = phrases(scenes, objects, config, descriptions).collect().lazy()
    colors = color_facts(scenes, config).collect().lazy()
    classes = whole_classes(objects, min_score).collect().lazy()
    depths = depth_pairs(objects, config.verification).collect().lazy()

    def names(task: str, kinds: Sequence[str], otherwise: Literal["place", "nothing"] = "nothing") -> pl.LazyFrame:
        return named(objects, said, task, kinds, otherwise).collect().lazy()

    by_any_phrase = names("grounding", KINDS)
    most = tasks.max_pairs_per_task
    number = counting(classes, colors, names("counting", _TELL_NO_DEPTH), depths, tasks.counting_max)
    if tasks.zero_counts:
        number.append(zeros(scenes, objects, config.verification.count_strict_score))
    return {
        "grounding": grounding(objects, said, by_any_phrase, classes, colors),
        "referring": referring(objects, said, names("referring", KINDS)),
        "counting": number,
        "near_far": near_far(names("near_far", _TELL_NO_DEPTH, "place"), depths, most),
        "left_right": left_right(names("left_right", _TELL_NO_PLACE), most),
        "perspective": perspective(
            names("perspective", _TELL_NEITHER_LANDMARK_NOR_DEPTH, "place"),
            names("perspective", _TELL_NEITHER_PLACE_NOR_DEPTH),
            depths,
            config.verification,
            most,
        ),
    }


def _together(task: str, drafts: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Drafts of all forms in one table, without the columns that no sentence and no pair needs."""
    needed = {
        *(set(CANDIDATE_QA) - {*_IMAGE_COLUMNS[1:], *LISTS}),
        *columns_needed(task),
        *_DRAFT_COLUMNS,
        *({f"e_{field.name}" for field in EVIDENCE.fields} - {*LISTS}),
    }
    if task not in PERCEPTION:
        needed.remove("category")
    return pl.concat(
        [draft.select(name for name in draft.collect_schema().names() if name in needed) for draft in drafts],
        how="diagonal",
    )


def _chosen(drafts: pl.LazyFrame, most: int) -> pl.LazyFrame:
    """The drafts of one task that are kept."""
    present = drafts.collect_schema().names()
    is_doubtful = pl.col("is_doubtful").fill_null(value=False) if "is_doubtful" in present else pl.lit(value=False)
    return drafts.with_columns(
        is_doubtful=is_doubtful,
        most_matches=most_matches("e_phrases"),
        least_score=pl.col("least_score").fill_null(1.0),
    ).pipe(chosen, most)


def _finished(task: str, form: str, drafts: pl.LazyFrame, images: pl.LazyFrame) -> pl.LazyFrame:
    """Words by template, ids, and the contract's columns."""
    said = drafts.with_columns(task=pl.lit(task)).pipe(worded, task, form)
    present = said.collect_schema().names()
    evidence = pl.struct(
        (pl.col(f"e_{field.name}") if f"e_{field.name}" in present else pl.lit(None))
        .cast(field.dtype)
        .alias(field.name)
        for field in EVIDENCE.fields
    )
    return (
        said.with_columns(
            choices=(pl.col("choices") if "choices" in present else pl.lit(None)).cast(CANDIDATE_QA["choices"]),
            evidence=evidence,
            level=pl.lit("perception" if task in PERCEPTION else "relation"),
            qa_id=blake3("image_sha256", "task", "template_id", "asked").str.slice(0, QA_ID_DIGITS),
        )
        .join(images, on="image_id")
        .select(
            (pl.col(name) if name != "category" or "category" in present else pl.lit(None).alias(name)).cast(dtype)
            for name, dtype in CANDIDATE_QA.items()
        )
    )
