"""Hand-made scenes: a photo of 1000 x 1000 pixels, so that pixels and thousandths read alike."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from forge_assets.tables import DETECTIONS, RAW_IMAGES, SCENES

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
        "labels_dropped": 0,
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
    unknown = set(evidence) - set(SCENES) - set(DETECTIONS)
    assert not unknown, unknown
    return row | evidence


@pytest.fixture(scope="session")
def make_scene() -> SceneBuilder:
    """Build a `scenes` table from (category, box, evidence) triples, boxes in pixels of a 1000 x 1000 photo."""

    def build(*objects: tuple[str, tuple[float, float, float, float], dict[str, Any]]) -> pl.DataFrame:
        rows = [_object(index, category, box, **evidence) for index, (category, box, evidence) in enumerate(objects)]
        return pl.DataFrame(rows, schema=dict(SCENES), strict=False)

    return build


def _photo(image_id: str, width: int, height: int) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "sha256": "ab" * 32,
        "width": width,
        "height": height,
        "split": "train",
        "license": "CC-BY-4.0",
        "is_labeled": False,
        "labels_dropped": 0,
        "points": [],
        "counts": [],
    }


@pytest.fixture(scope="session")
def make_photos() -> Callable[..., pl.DataFrame]:
    """Build what `scenes` reads of `raw_images`, one row an image id."""

    def build(*image_ids: str, width: int = 1000, height: int = 1000) -> pl.DataFrame:
        rows = [_photo(image_id, width, height) for image_id in image_ids or ("hand/photo.jpg",)]
        return pl.DataFrame(rows, schema={name: RAW_IMAGES[name] for name in rows[0]})

    return build


@pytest.fixture(scope="session")
def make_detections() -> SceneBuilder:
    """Build a `detections` table from (category, box, evidence) triples, found alike in photo and mirror."""

    def build(*objects: tuple[str, tuple[float, float, float, float], dict[str, Any]]) -> pl.DataFrame:
        rows = [_object(index, category, box, **evidence) for index, (category, box, evidence) in enumerate(objects)]
        rows = [{name: row.get(name) for name in DETECTIONS} for row in rows]
        return pl.DataFrame(rows, schema=dict(DETECTIONS), strict=False)

    return build


@pytest.fixture(scope="session")
def make_keypoints() -> Callable[..., list[dict[str, float]]]:
    """Build 17 keypoints of a person whose nose is at (x, y); the rest of the body is not seen.

    `shoulders` is the signed width from the person's right shoulder to the left one, `rise` the height of the nose
    above them, `eyes` the signed width from the right eye to the left one, all in pixels.
    """

    def build(
        x: float = 500.0, y: float = 300.0, *, shoulders: float = 120, rise: float = 100, eyes: float = 20,
        face: float = 0.9, score: float = 0.8,
    ) -> list[dict[str, float]]:  # fmt: skip
        points = [{"x": x, "y": y, "score": 0.0}] * 17
        points[0] = {"x": x, "y": y, "score": face}
        points[1], points[2] = ({"x": x + side * eyes / 2, "y": y - 10, "score": face} for side in (1, -1))
        points[5], points[6] = ({"x": x + side * shoulders / 2, "y": y + rise, "score": score} for side in (1, -1))
        return points

    return build
