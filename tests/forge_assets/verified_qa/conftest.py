"""Candidates by hand: each passes all rules of its task with room to spare, until its evidence is changed."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from forge_assets.tables import CANDIDATE_QA, EVIDENCE
from forge_assets.verified_qa.verify import verify
from forge_resources.config import VerificationConfig

GOOD: dict[str, dict[str, Any]] = {
    "grounding": {"count_strict": 2, "count_loose": 2, "count_mirror": 2},
    "counting": {"count_strict": 2, "count_loose": 2, "count_mirror": 2},
    "referring": {},
    "near_far": {
        "readings": [
            {"reading": "ground_contact", "ratio": 3.0, "mirror_ratio": 3.0, "separation": None},
            {"reading": "class_height", "ratio": 3.0, "mirror_ratio": 3.0, "separation": None},
        ]
    },
    "left_right": {"gap": 0.3, "mirror_gap": 0.3, "center_gap": 0.5},
    "perspective": {
        "gap": 0.3, "mirror_gap": 0.3, "facing": 0.9, "mirror_facing": 0.8, "facing_score": 0.9,
    },
}  # fmt: skip

MAIN_FORM = {
    "grounding": "every", "referring": "region", "counting": "number",
    "near_far": "nearer", "left_right": "side", "perspective": "own_side",
}  # fmt: skip
CLEAR = {"object_id": "#0", "kind": "class", "text": "the dog", "value": None, "matches": 1, "count_spread": None}


@pytest.fixture(scope="session")
def make_pairs() -> Callable[..., pl.DataFrame]:
    """Build candidates of two objects from (task, changes) pairs; changes are of the row or of its evidence."""
    fields = {field.name for field in EVIDENCE.fields}

    def row(number: int, task: str, changes: dict[str, Any]) -> dict[str, Any]:
        evidence = dict.fromkeys(fields) | {
            "scores": [0.95, 0.95], "mirror_ious": [0.95, 0.95],
            "occlusions": [0.0, 0.0], "class_conflicts": [0.0, 0.0], "phrases": [CLEAR],
        }  # fmt: skip
        evidence |= GOOD[task] | {name: value for name, value in changes.items() if name in fields}
        made = dict.fromkeys(CANDIDATE_QA) | {
            "qa_id": f"{number:024x}", "image_id": "hand/photo.jpg", "task": task, "form": MAIN_FORM[task],
            "evidence": evidence, "object_ids": ["#0", "#1"], "boxes": [[0, 0, 500, 500], [500, 500, 1000, 1000]],
        }  # fmt: skip
        made |= {name: value for name, value in changes.items() if name not in fields}
        assert made.keys() == CANDIDATE_QA.keys()
        return made

    def build(*pairs: tuple[str, dict[str, Any]]) -> pl.DataFrame:
        rows = [row(number, task, changes) for number, (task, changes) in enumerate(pairs)]
        return pl.DataFrame(rows, schema=dict(CANDIDATE_QA), strict=False)

    return build


@pytest.fixture(scope="session")
def judge(make_pairs) -> Callable[..., tuple[str, float | None, float] | None]:
    """The rule that one pair breaks, with value and threshold, or None where it is verified."""

    def of(
        task: str, thresholds: dict[str, Any] | None = None, **changes: Any
    ) -> tuple[str, float | None, float] | None:
        verified, rejected = verify(make_pairs((task, changes)), VerificationConfig(**thresholds or {}))
        assert verified.height + rejected.height == 1
        return rejected.select("rule", "value", "threshold").row(0) if rejected.height else None

    return of


@pytest.fixture(scope="session")
def score(make_pairs) -> Callable[..., float]:
    """The score of one pair that is verified."""

    def of(task: str, **changes: Any) -> float:
        verified, _ = verify(make_pairs((task, changes)), VerificationConfig())
        return verified["score"].item()

    return of
