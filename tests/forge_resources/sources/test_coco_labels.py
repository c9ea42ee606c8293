"""COCO instances files, sound and otherwise."""

import json
from pathlib import Path

import pytest

from forge_resources.config import SourceConfig
from forge_resources.sources import Label, Member, PhotoLabels, SourceError, open_source

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 6, "name": "bus"}, {"id": 40, "name": "Table Tennis "}]
BUS_IMAGE = {"id": 10, "file_name": "bus.jpg", "width": 810, "height": 1080}


def annotation(bbox, label_id=1, category_id=1, image_id=10, **more):
    return {"id": label_id, "image_id": image_id, "category_id": category_id, "bbox": bbox, **more}


def write(folder: Path, images, annotations, categories=CATEGORIES) -> Path:
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def reader(photos: Path, labels: Path, members=None):
    source = open_source("mine", SourceConfig(path=photos, labels="coco", labels_path=labels))
    return source.labels(source.list_photos() if members is None else members)


def bus_labels(photos, tmp_path, *annotations) -> PhotoLabels:
    return reader(photos, write(tmp_path, [BUS_IMAGE], list(annotations)))(Member("bus.jpg", 1), 810, 1080)


def test_boxes_come_as_corners_in_pixels(photos, tmp_path):
    found = bus_labels(
        photos,
        tmp_path,
        annotation([10.5, 20, 100, 200.25], 7, iscrowd=0),
        annotation([0, 0, 810, 1080], 8, 6, iscrowd=1),
        annotation([1, 2, 3, 4], 9, 40),
    )
    assert found == PhotoLabels(
        is_labeled=True,
        labels=(
            Label("7", "person", 10.5, 20, 110.5, 220.25, is_crowd=False),
            Label("8", "bus", 0, 0, 810, 1080, is_crowd=True),
            Label("9", "Table Tennis", 1, 2, 4, 6, is_crowd=False),
        ),
    )


def test_a_box_partly_outside_is_clipped(photos, tmp_path):
    (label,) = bus_labels(photos, tmp_path, annotation([-20, 1000, 100, 500])).labels
    assert (label.x1, label.y1, label.x2, label.y2) == (0, 1000, 80, 1080)


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (annotation([float("nan"), 0, 5, 5], 66), "label_not_finite"),
        (annotation([0, 0, float("inf"), 5], 66), "label_not_finite"),
        (annotation([50, 50, -10, 5], 66), "label_inverted"),
        (annotation([50, 50, 0, 5], 66), "label_zero_size"),
        (annotation([810, 50, 20, 5], 66), "label_outside"),
        (annotation([-30, 50, 20, 5], 66), "label_outside"),
        (annotation([1, 2, 3], 66), "label_malformed"),
        (annotation(["1", 2, 3, 4], 66), "label_malformed"),
        (annotation(None, 66), "label_malformed"),
        (annotation([1, 2, 3, 4], 66, category_id=999), "label_unknown_class"),
        (annotation([1, 2, 3, 4], 66, category_id=[1]), "label_unknown_class"),
        (annotation([10, 20, 30, 40], 66), "label_duplicate"),
    ],
)
def test_a_bad_label_is_named_and_the_others_stay(photos, tmp_path, bad, rule):
    found = bus_labels(photos, tmp_path, annotation([10, 20, 30, 40]), bad, annotation([1, 1, 9, 9], 2))
    assert found.is_labeled
    assert [label.label_id for label in found.labels] == ["1", "2"]
    (problem,) = found.problems
    assert problem.rule == rule
    assert "66" in problem.detail


def test_ids_are_unique_in_a_photo_and_missing_ones_are_made(photos, tmp_path):
    nameless = annotation([5, 5, 5, 5])
    del nameless["id"]
    found = bus_labels(photos, tmp_path, annotation([1, 1, 9, 9], 3), annotation([2, 2, 9, 9], 3), nameless)
    assert [label.label_id for label in found.labels] == ["3", "n2"]
    assert [problem.rule for problem in found.problems] == ["label_duplicate_id"]


def test_a_labelled_photo_without_objects_is_not_an_unlabelled_one(photos, tmp_path):
    read = reader(photos, write(tmp_path, [BUS_IMAGE], []))
    assert read(Member("bus.jpg", 1), 810, 1080) == PhotoLabels(is_labeled=True)
    assert read(Member("people/zidane.jpg", 1), 1280, 720) == PhotoLabels(is_labeled=False)


@pytest.mark.parametrize(("width", "height"), [(1080, 810), (811, 1080), (None, 1080), ("810", 1080)])
def test_another_size_than_the_photo_s_voids_its_labels(photos, tmp_path, width, height):
    image = BUS_IMAGE | {"width": width, "height": height}
    labels = write(tmp_path, [image], [annotation([1, 1, 5, 5], 1), annotation([2, 2, 5, 5], 2)])
    found = reader(photos, labels)(Member("bus.jpg", 1), 810, 1080)
    assert not found.is_labeled
    assert found.labels == ()
    (problem,) = found.problems
    assert problem.rule == "label_size_mismatch"
    assert "2 labels" in problem.detail


def test_an_entry_without_a_size_is_taken_at_its_word(photos, tmp_path):
    labels = write(tmp_path, [{"id": 10, "file_name": "bus.jpg"}], [annotation([1, 1, 5, 5])])
    assert len(reader(photos, labels)(Member("bus.jpg", 1), 810, 1080).labels) == 1


# --- which entry is whose


def image(file_name, image_id=10):
    return {"id": image_id, "file_name": file_name}


def labelled(photos, labels, members=None) -> dict[str, list[str]]:
    read = reader(photos, labels, members)
    paths = ["bus.jpg", "people/deep/astronaut.PNG", "people/zidane.jpg", "other/bus.jpg"]
    found = {path: read(Member(path, 1), 100, 100) for path in paths}
    return {
        path: [problem.rule for problem in one.problems] or [label.label_id for label in one.labels]
        for path, one in found.items()
        if one.is_labeled or one.problems
    }


@pytest.mark.parametrize("file_name", ["bus.jpg", "./bus.jpg", "images/v2/patch45/bus.jpg", "train\\bus.jpg"])
def test_a_photo_is_matched_by_path_or_by_base_name(photos, tmp_path, file_name):
    labels = write(tmp_path, [image(file_name)], [annotation([1, 1, 5, 5], 3)])
    assert labelled(photos, labels) == {"bus.jpg": ["3"]}


def test_the_path_goes_before_the_base_name(photos, tmp_path):
    (photos / "other").mkdir()
    (photos / "other/bus.jpg").write_bytes(b"x")
    labels = write(
        tmp_path,
        [image("other/bus.jpg", 1), image("bus.jpg", 2)],
        [annotation([1, 1, 5, 5], 31, image_id=1), annotation([1, 1, 5, 5], 32, image_id=2)],
    )
    assert labelled(photos, labels) == {"other/bus.jpg": ["31"], "bus.jpg": ["32"]}


def test_an_entry_that_has_its_photo_is_not_given_to_another_of_the_same_base_name(photos, tmp_path):
    (photos / "other").mkdir()
    (photos / "other/bus.jpg").write_bytes(b"x")
    labels = write(tmp_path, [image("other/bus.jpg")], [annotation([1, 1, 5, 5], 3)])
    assert labelled(photos, labels) == {"other/bus.jpg": ["3"]}


@pytest.mark.parametrize("alone_in_its_shard", [False, True])
def test_two_photos_of_one_base_name_get_no_labels_by_it(photos, tmp_path, alone_in_its_shard):
    (photos / "other").mkdir()
    (photos / "other/bus.jpg").write_bytes(b"x")
    labels = write(tmp_path, [image("train/bus.jpg")], [annotation([1, 1, 5, 5])])
    members = [Member("bus.jpg", 1)] if alone_in_its_shard else None
    expected = {"bus.jpg": ["label_ambiguous_file_name"]}
    if not alone_in_its_shard:
        expected["other/bus.jpg"] = ["label_ambiguous_file_name"]
    assert labelled(photos, labels, members) == expected


def test_two_entries_of_one_name_give_no_labels(photos, tmp_path):
    labels = write(tmp_path, [image("bus.jpg", 1), image("bus.jpg", 2)], [])
    assert labelled(photos, labels) == {"bus.jpg": ["label_ambiguous_file_name"]}
    labels = write(tmp_path, [image("a/bus.jpg", 1), image("b/bus.jpg", 2)], [])
    assert labelled(photos, labels) == {"bus.jpg": ["label_ambiguous_file_name"]}


def test_labels_of_other_photos_altogether_are_an_error(photos, tmp_path):
    labels = write(tmp_path, [image("000000000009.jpg")], [])
    with pytest.raises(SourceError, match=r"none of the 1 file names in .*instances\.json.*correct `labels_path`"):
        reader(photos, labels)


def test_a_shard_without_labels_is_none(photos, tmp_path):
    labels = write(tmp_path, [image("bus.jpg")], [])
    assert labelled(photos, labels, [Member("people/zidane.jpg", 1)]) == {}


def test_annotations_of_unlisted_images_are_counted_aloud(photos, tmp_path, caplog):
    labels = write(tmp_path, [BUS_IMAGE], [annotation([1, 1, 5, 5], image_id=404)] * 2)
    reader(photos, labels)
    assert "2 annotations are of images that the file does not list" in caplog.text


# --- files that are no instances file


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "[]",
        '{"images": [], "annotations": []}',
        '{"images": {}, "annotations": [], "categories": []}',
        '{"images": [{"id": 1}], "annotations": [], "categories": []}',
        '{"images": [{"id": [], "file_name": "x"}], "annotations": [], "categories": []}',
        '{"images": [], "annotations": [7], "categories": []}',
        '{"images": [], "annotations": [], "categories": [{"id": 1}]}',
        '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
        '{"images": [{"id": 1, "file_name": "x"}, {"id": 1, "file_name": "y"}], "annotations": [], "categories": []}',
    ],
)
def test_what_is_no_instances_file_is_refused_by_name(photos, tmp_path, text):
    path = tmp_path / "instances.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"source mine: .*instances\.json"):
        reader(photos, path)


def test_an_absent_file_and_an_unnamed_one(photos, tmp_path):
    with pytest.raises(SourceError, match="No such file"):
        reader(photos, tmp_path / "nowhere.json")
    with pytest.raises(SourceError, match="need `labels_path`"):
        open_source("mine", SourceConfig(path=photos, labels="coco")).labels([])
