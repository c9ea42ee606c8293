"""Questions of hand-made scenes."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from forge_assets.candidate_qa.generate import candidates
from forge_resources.config import ForgeConfig

MAIN_FORMS = {
    "grounding": ("one", "every"), "referring": ("region",), "counting": ("number",),
    "near_far": ("nearer", "farther"), "left_right": ("side",), "perspective": ("own_side",),
}  # fmt: skip


@pytest.fixture(scope="session")
def ask(make_scene) -> Callable[..., list[dict[str, Any]]]:
    """Candidates of one task and form about a scene of (category, box, evidence) triples, as rows.

    Without a form, those of the task's main one.
    """

    def of(
        task: str, *objects: tuple[str, tuple[float, ...], dict[str, Any]], form: str | None = None, **tasks: Any
    ) -> list[dict[str, Any]]:
        found = candidates(make_scene(*objects), ForgeConfig(tasks=tasks))
        forms = MAIN_FORMS[task] if form is None else (form,)
        return found.filter((pl.col("task") == task) & pl.col("form").is_in(forms)).rows(named=True)

    return of


@pytest.fixture(scope="session")
def street(make_scene) -> pl.DataFrame:
    """400 photos of one street with a person, a dog, a cat and two chairs; only their content differs."""

    def depth(metres: float) -> dict[str, float]:
        return {
            f"{mirror}{kind}_depth": metres for mirror in ("", "mirror_") for kind in ("ground", "height")
        }  # fmt: skip

    def of_photo(number: int, **evidence: Any) -> dict[str, Any]:
        return {"image_id": f"hand/{number:03d}.jpg", "image_sha256": f"{number:064x}", **evidence}

    turned = {"facing": 0.9, "mirror_facing": 0.9, "facing_score": 0.8}
    return make_scene(
        *(
            (category, box, of_photo(number, **evidence))
            for number in range(400)
            for category, box, evidence in (
                ("person", (450, 200, 550, 800), turned | depth(3)),
                ("dog", (100, 600, 300, 800), depth(6)),
                ("cat", (700, 600, 900, 800), depth(9)),
                ("chair", (320, 500, 420, 700), depth(12)),
                ("chair", (580, 500, 680, 700), depth(15)),
            )
        )
    )


@pytest.fixture(scope="session")
def street_pairs(street) -> pl.DataFrame:
    """All candidates about the street."""
    return candidates(street, ForgeConfig())


@pytest.fixture(scope="session")
def parking(make_scene) -> pl.DataFrame:
    """All candidates about 300 photos of two red cars and a blue one in the right half; only their content differs."""

    def car(number: int, x: int, y: int, color: str) -> tuple[str, tuple[int, ...], dict[str, Any]]:
        evidence = {
            "image_id": f"lot/{number:03d}.jpg", "image_sha256": f"{number + 1000:064x}",
            "color": color, "color_share": 0.9,
        }  # fmt: skip
        return "car", (x, y, x + 100, y + 100), evidence

    places = ((550, 100, "red"), (680, 300, "red"), (820, 600, "blue"))
    return candidates(make_scene(*(car(number, *place) for number in range(300) for place in places)), ForgeConfig())
