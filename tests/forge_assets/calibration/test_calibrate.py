"""The whole measurement: over hand-made scenes, and over a real photo with the embedded networks."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from forge_assets.calibration.calibrate import TABLES, calibrate, measure
from forge_assets.calibration.pipeline import Found, together
from forge_assets.calibration.report import printed_tables
from forge_assets.calibration.truth import CalibrationError, PhotoTruth
from forge_assets.tables import REJECTED_IMAGES
from forge_resources.config import DetectorConfig, ForgeConfig, ModelsConfig, PoseConfig

BUS, DOG, PLANT = (100, 100, 500, 600), (600, 500, 750, 700), (800, 200, 900, 400)


@pytest.fixture(scope="module")
def found(make_scene):
    """Eight photos of a bus, a dog and a plant; people drew bus and dog, and in the last one a second dog."""
    scenes, truths = [], {}
    for index in range(8):
        image_id = f"boxes/{index:02d}.jpg"
        objects = (("bus", BUS), ("dog", DOG), ("potted plant", PLANT))
        scenes.append(
            make_scene(*((name, box, {"image_id": image_id}) for name, box in objects)).with_columns(
                image_sha256=pl.lit(f"{index:064x}")
            )
        )
        shares = [tuple(side / 1000 for side in box) for _, box in objects]
        dogs = [shares[1]] if index < 7 else [shares[1], shares[2]]
        truths[image_id] = PhotoTruth(boxes={"bus": [shares[0]], "dog": dogs})
    return Found(
        photos=pl.DataFrame({"image_id": list(truths), "sha256": [f"{index:064x}" for index in range(8)]}),
        scenes=pl.concat(scenes), truths=truths, maps={},
        rejected=pl.DataFrame(schema=dict(REJECTED_IMAGES)), models=("none",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def measured(found):
    return measure(found, ForgeConfig())


@pytest.mark.slow
def test_counts_of_hand_made_scenes_are_known(measured):
    numbers = measured.forms.filter(task="counting", form="number").row(0, named=True)
    # of 24 classes asked about the eight buses are right, and seven dogs; no plant was drawn
    assert (numbers["candidates"], numbers["judged"], numbers["right"]) == (24, 24, 15)
    assert (numbers["verified"], numbers["verified_right"], numbers["precision"]) == (24, 15, 15 / 24)


@pytest.mark.slow
def test_the_same_scenes_give_the_same_tables_in_whatever_order_photos_come(found, measured):
    turned = Found(
        found.photos.reverse(), found.scenes, dict(reversed(found.truths.items())), {}, found.rejected, found.models
    )
    again = measure(turned, ForgeConfig())
    for name in TABLES:
        assert getattr(measured, name).equals(getattr(again, name)), name


@pytest.mark.slow
def test_everything_is_written_and_every_task_with_a_curve_has_a_picture(measured, tmp_path):
    written = measured.write(tmp_path / "new", ForgeConfig())
    tasks = measured.thresholds["task"].unique().to_list()
    pictures = {f"calibration-{task}.png" for task in tasks}
    assert {path.name for path in written} == {f"{name}.csv" for name in TABLES} | {
        "pairs.parquet",
        "used.json",
    } | pictures
    assert "counting" in tasks
    for name in pictures:
        with Image.open(tmp_path / "new" / name) as picture:
            assert picture.width > 1000
    assert pl.read_parquet(tmp_path / "new" / "pairs.parquet").height == measured.pairs.height
    assert json.loads((tmp_path / "new" / "used.json").read_text())["models"] == ["none"]


@pytest.mark.slow
def test_pictures_are_the_same_to_the_byte(measured, tmp_path):
    for folder in ("a", "b"):
        measured.write(tmp_path / folder, ForgeConfig())
    for path in (tmp_path / "a").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.slow
def test_what_is_printed_leaves_out_empty_tables(measured):
    titles = [title for title, _ in printed_tables(measured)]
    assert any(title.startswith("verified pairs") for title in titles)
    assert not any("could not be used" in title for title in titles)


def test_folders_are_measured_together(found):
    other = Found(
        found.photos, found.scenes, {}, {"x": np.ones((2, 2), np.float32)}, found.rejected, ("none", "another")
    )
    both = together([found, other])
    assert both.photos.height == 16
    assert (set(both.truths), set(both.maps), both.models) == (set(found.truths), {"x"}, ("none", "another"))


def test_a_folder_without_an_index_of_depth_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match=r"index\.json is missing"):
        calibrate(ForgeConfig(), tmp_path, None)


@pytest.mark.slow
def test_a_real_photo_is_measured_with_the_embedded_networks(tmp_path: Path):
    assets = Path(find_spec("ultralytics").submodule_search_locations[0]) / "assets"
    rgbd, boxes = tmp_path / "rgbd", tmp_path / "boxes"
    for folder in (rgbd, boxes / "images"):
        folder.mkdir(parents=True)
        shutil.copy(assets / "bus.jpg", folder / "bus.jpg")
    (boxes / "labels").mkdir()
    (boxes / "labels" / "bus.txt").write_text("5 0.5 0.458 0.97 0.47\n")  # the bus; nobody drew the people
    (rgbd / "index.json").write_text(json.dumps([{"name": "bus", "kind": "depth_m"}]))
    rows = np.linspace(20, 2, 1080, dtype=np.float32)  # made up: lower in the photo is nearer
    np.savez(rgbd / "bus_gt.npz", gt=np.repeat(rows[:, None], 810, axis=1))
    models = ModelsConfig(detector=DetectorConfig(backend="embedded"), pose=PoseConfig(backend="embedded"), depth=())
    heard: list[str] = []
    measured = calibrate(ForgeConfig(models=models), rgbd, boxes, lambda stage, *_: heard.append(stage))
    assert {"rgbd: detections", "boxes: detections", "thresholds"} <= set(heard)
    assert measured.photos == 2
    assert set(measured.pairs["image_id"]) == {"rgbd/bus.jpg", "boxes/bus.jpg"}
    buses = measured.pairs.filter(task="counting", form="number", category="bus", image_id="boxes/bus.jpg")
    assert buses["right"].to_list() == [True]
    people = measured.pairs.filter(task="counting", form="number", category="person", image_id="boxes/bus.jpg")
    assert people["right"].to_list() == [False]
    near_far = measured.pairs.filter(task="near_far")
    assert near_far.filter(pl.col("image_id") == "boxes/bus.jpg")["right"].is_null().all()
    assert measured.not_judged.filter(pl.col("not_judged") == "no human boxes on this photo").height > 0
