"""Hand-made scenes: a photo of 1000 x 1000 pixels, so that pixels and thousandths read alike."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from forge_assets.tables import SCENES

SceneBuilder = Callable[..., pl.DataFrame]


def _object(index: int, category: str, box: tuple[float, float, float, float], **evidence: Any) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    image_id = evidence.pop("image_id", "hand/photo.jpg")
    row: dict[str, Any] = dict.fromkeys(SCENES)
    row |= {
        "object_id": f"{image_id}#d{index:03d}",
        "image_id": image_id,
        "source": "hand",
        "shard": "s00000",
        "origin": "detector",
        "category": category,
        "is_crowd": False,
        "score": 0.9,
        "mirror_score": 0.9,
        "mirror_iou": 0.95,
        "image_sha256": "ab" * 32,
        "image_width": 1000,
        "image_height": 1000,
        "split": "train",
        "license": "CC-BY-4.0",
        "is_labeled": False,
        "area_share": (x2 - x1) * (y2 - y1) / 1e6,
        "is_truncated": False,
        "overlap": 0.0,
        "occlusion": 0.0,
        "class_conflict": 0.0,
        "depth": [],
        "detector": "test:detector",
        "pose_model": "test:pose",
    }
    for prefix in ("", "mirror_"):
        row |= {f"{prefix}x1": x1, f"{prefix}y1": y1, f"{prefix}x2": x2, f"{prefix}y2": y2}
    unknown = set(evidence) - set(SCENES)
    assert not unknown, unknown
    return row | evidence


@pytest.fixture
def make_scene() -> SceneBuilder:
    """Build a `scenes` table from (category, box, evidence) triples, boxes in pixels of a 1000 x 1000 photo."""

    def build(*objects: tuple[str, tuple[float, float, float, float], dict[str, Any]]) -> pl.DataFrame:
        rows = [_object(index, category, box, **evidence) for index, (category, box, evidence) in enumerate(objects)]
        return pl.DataFrame(rows, schema=dict(SCENES), strict=False)

    return build
