"""Hand-made pairs about a photo whose truth is known."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest

from forge_assets.tables import CANDIDATE_QA

PHOTO = "hand/photo.jpg"
Box = tuple[float, float, float, float]
PairBuilder = Callable[..., dict[str, Any]]


def evidence(
    objects: int, phrases: Sequence[tuple[int, str, str]], names: Sequence[str], **more: Any
) -> dict[str, Any]:
    """Of sure objects that nothing covers; phrases are (place of the object, kind, text)."""
    return {
        "scores": [0.9] * objects,
        "mirror_ious": [0.95] * objects,
        "truncated": [False] * objects,
        "occlusions": [0.0] * objects,
        "class_conflicts": [0.0] * objects,
        "same_category": 1,
        "phrases": [
            {"object_id": names[place], "kind": kind, "text": text, "value": 1.0, "matches": 1, "count_spread": 0}
            for place, kind, text in phrases
        ],
    } | more


@pytest.fixture(scope="session")
def make_pair() -> PairBuilder:
    """Build a row of `candidate_qa` about (category, box) objects, boxes as shares of the photo.

    `answered` are the places of the answer's objects, `phrases` (place, kind, text) triples, `more` further evidence.
    """

    def build(
        task: str, form: str, answer: str, *objects: tuple[str, Box], answered: Sequence[int] = (0,),
        phrases: Sequence[tuple[int, str, str]] = (), image_id: str = PHOTO, qa_id: str = "a", question: str = "",
        category: str | None = None, **more: Any,
    ) -> dict[str, Any]:  # fmt: skip
        names = [f"{image_id}#d{index:03d}" for index in range(len(objects))]
        return dict.fromkeys(CANDIDATE_QA) | {
            "qa_id": qa_id, "image_id": image_id, "source": "hand", "shard": "s00000", "task": task, "form": form,
            "level": "relation", "question": question, "short_answer": answer, "answer_kind": "text",
            "object_ids": names,
            "answer_object_ids": [names[place] for place in answered if place < len(names)],
            "boxes": [[round(1000 * side) for side in box] for _, box in objects],
            "categories": [name for name, _ in objects],
            "category": category or (objects[0][0] if objects else None), "template_id": f"{task}.hand.v1",
            "evidence": evidence(len(objects), phrases, names, **more),
            "image_width": 1000, "image_height": 1000, "split": "train", "license": "CC-BY-4.0",
        }  # fmt: skip

    return build


@pytest.fixture(scope="session")
def make_pairs() -> Callable[[Sequence[dict[str, Any]]], pl.DataFrame]:
    """Rows of `make_pair` as a table of `candidate_qa`."""
    return lambda rows: pl.DataFrame(list(rows), schema=dict(CANDIDATE_QA))
