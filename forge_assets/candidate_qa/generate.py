"""Candidates of all six tasks: drafts of each task, then words, ids and the public columns for all alike."""

import polars as pl

from forge_assets.candidate_qa.counting import counting
from forge_assets.candidate_qa.entities import entities
from forge_assets.candidate_qa.grounding import grounding
from forge_assets.candidate_qa.identity import QA_ID_DIGITS, blake3, draw
from forge_assets.candidate_qa.left_right import left_right
from forge_assets.candidate_qa.near_far import near_far
from forge_assets.candidate_qa.perspective import perspective
from forge_assets.candidate_qa.referring import referring
from forge_assets.candidate_qa.templates import filled, slots, templates
from forge_assets.tables import CANDIDATE_QA, EVIDENCE, PERCEPTION
from forge_resources.config import ForgeConfig

VERSION = "1"

_TEMPLATE_DIGIT, _SIDE_DIGIT = 0, 8
_IMAGE_COLUMNS = ("image_id", "source", "shard", "image_width", "image_height", "split", "license")


def candidates(scenes: pl.DataFrame, config: ForgeConfig) -> pl.DataFrame:
    """All candidate pairs of one shard.

    Args:
        scenes: rows of `SCENES`.
        config: the whole configuration.

    Returns:
        Rows of `CANDIDATE_QA`, sorted by image_id and qa_id.
    """
    objects = entities(scenes.lazy(), config).collect().lazy()
    min_score = config.tasks.min_candidate_score
    drafts = {
        "grounding": grounding(objects, min_score),
        "referring": referring(objects),
        "counting": counting(objects, min_score, config.tasks.counting_max),
        "near_far": near_far(objects),
        "left_right": left_right(objects),
        "perspective": perspective(objects),
    }
    images = scenes.lazy().select(_IMAGE_COLUMNS).unique()
    finished = [
        _finished(task, _chosen(task, draft, config.tasks.max_pairs_per_task), images) for task, draft in drafts.items()
    ]
    return pl.concat(pl.collect_all(finished)).sort("image_id", "qa_id")


def _chosen(task: str, draft: pl.LazyFrame, most: int) -> pl.LazyFrame:
    """Of one photo at most `most` drafts: of unique classes, then of the surest objects, then by their seeds."""
    named_by_class = "e_same_category" in draft.collect_schema().names()
    is_ambiguous = pl.col("e_same_category") > 1 if named_by_class else pl.lit(value=False)
    sureness = -pl.col("e_scores").list.min()
    return draft.with_columns(
        seed=blake3("image_sha256", pl.lit(task), pl.col("object_ids").list.join(",")), task=pl.lit(task)
    ).filter(pl.struct(is_ambiguous.alias("is_ambiguous"), sureness, "seed").rank("ordinal").over("image_id") <= most)


def _finished(task: str, draft: pl.LazyFrame, images: pl.LazyFrame) -> pl.LazyFrame:
    """Words by template, ids, and the contract's columns."""
    forms = templates().lazy().filter(pl.col("task") == task).drop("task")
    counts = forms.select("form", "template_count").unique()
    left_first = draw("seed", _SIDE_DIGIT, 2) == 0
    first, second = (
        pl.when(left_first).then(pl.lit(one)).otherwise(pl.lit(other))
        for one, other in (("left", "right"), ("right", "left"))
    )
    worded = (
        draft.join(counts, on="form")
        .with_columns(
            template_index=draw("seed", _TEMPLATE_DIGIT, pl.col("template_count")).cast(pl.UInt32),
            first=first,
            second=second,
        )
        .join(forms.drop("template_count").rename({"answer": "answer_template"}), on=["form", "template_index"])
    )
    present = worded.collect_schema().names()
    available = [slot for slot in slots() if slot in present]
    answer = filled("answer_template", available)
    choices = (
        pl.col("choices")
        if "choices" in present
        else pl.when(pl.col("answer_kind") == "choice").then(pl.concat_list("first", "second"))
    )
    evidence = pl.struct(
        (pl.col(f"e_{field.name}") if f"e_{field.name}" in present else pl.lit(None))
        .cast(field.dtype)
        .alias(field.name)
        for field in EVIDENCE.fields
    )
    return (
        worded.with_columns(
            question=filled("question", available),
            answer=pl.coalesce("answer", answer) if "answer" in present else answer,
            choices=choices,
            evidence=evidence,
            level=pl.lit("perception" if task in PERCEPTION else "relation"),
        )
        .with_columns(
            qa_id=blake3("image_sha256", "task", "template_id", pl.col("object_ids").list.join(",")).str.slice(
                0, QA_ID_DIGITS
            )
        )
        .join(images, on="image_id", suffix="_of_image")
        .select(pl.col(name).cast(dtype) for name, dtype in CANDIDATE_QA.items())
    )
