"""Folders of photos with COCO labels: which entry is whose, and what a photo gets of it."""

import json
from pathlib import Path

import pytest

from forge_resources.config import ImageFolderConfig
from forge_resources.images import UnusablePhoto
from forge_resources.s3 import S3Config
from forge_resources.sources import Label, Member, PhotoLabels, SourceError
from forge_resources.sources.coco_folder import CocoFolder, coco_folder
from forge_resources.sources.files import open_files

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 6, "name": "bus"}, {"id": 40, "name": "Table Tennis "}]
BUS_IMAGE = {"id": 10, "file_name": "bus.jpg", "width": 810, "height": 1080}
BUS = Member("bus.jpg", 1)
ZIDANE = Member("people/zidane.jpg", 1)


def annotation(bbox, label_id=1, category_id=1, image_id=10, **more):
    return {"id": label_id, "image_id": image_id, "category_id": category_id, "bbox": bbox, **more}


def write(folder: Path, images, annotations, categories=CATEGORIES) -> Path:
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def opened(photos: Path, labels: Path | None) -> CocoFolder:
    config = ImageFolderConfig(path=photos, labels="coco", labels_path=labels)
    cache = photos.parent / "cache"
    return coco_folder("mine", config, open_files(photos, S3Config(), cache, source="mine"), S3Config(), cache)


def labels_of(photos: Path, labels: Path, member: Member, width: int, height: int) -> PhotoLabels:
    source = opened(photos, labels)
    source.list_photos()
    with source.open_shard([member]) as shard:
        return shard.labels(member, width, height)


def bus_labels(photos, tmp_path, *annotations) -> PhotoLabels:
    return labels_of(photos, write(tmp_path, [BUS_IMAGE], list(annotations)), BUS, 810, 1080)


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
        (annotation([0, 0, 10**400, 5], 66), "label_not_finite"),
        (annotation([50, 50, -10, 5], 66), "label_inverted"),
        (annotation([50, 50, 0, 5], 66), "label_zero_size"),
        (annotation([810, 50, 20, 5], 66), "label_outside"),
        (annotation([-30, 50, 20, 5], 66), "label_outside"),
        (annotation([1, 2, 3], 66), "label_malformed"),
        (annotation(["1", 2, 3, 4], 66), "label_malformed"),
        (annotation([True, 2, 3, 4], 66), "label_malformed"),
        (annotation(None, 66), "label_malformed"),
        (annotation([1, 2, 3, 4], 66, iscrowd="yes"), "label_malformed"),
        (annotation([1, 2, 3, 4], 66, category_id=999), "label_unknown_class"),
        (annotation([1, 2, 3, 4], 66, category_id="1"), "label_unknown_class"),
        (annotation([1, 2, 3, 4], 66, category_id=None), "label_unknown_class"),
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


def test_ids_are_unique_in_the_file_and_missing_ones_are_made(photos, tmp_path):
    nameless = annotation([5, 5, 5, 5])
    del nameless["id"]
    zidane = {"id": 11, "file_name": "people/zidane.jpg"}
    annotations = [
        annotation([1, 1, 9, 9], 3),
        annotation([2, 2, 9, 9], 3),
        nameless,
        annotation([1, 1, 9, 9], 3, 1, 11),
    ]
    labels = write(tmp_path, [BUS_IMAGE, zidane], annotations)
    of_bus, of_zidane = labels_of(photos, labels, BUS, 810, 1080), labels_of(photos, labels, ZIDANE, 1280, 720)
    assert [label.label_id for label in of_bus.labels] == ["3", "n2"]
    assert [problem.rule for problem in of_bus.problems] == ["label_duplicate_id"]
    assert of_zidane.is_labeled
    assert of_zidane.labels == ()
    assert [problem.rule for problem in of_zidane.problems] == ["label_duplicate_id"]


def test_a_labelled_photo_without_objects_is_not_an_unlabelled_one(photos, tmp_path):
    labels = write(tmp_path, [BUS_IMAGE], [])
    assert labels_of(photos, labels, BUS, 810, 1080) == PhotoLabels(is_labeled=True)
    assert labels_of(photos, labels, ZIDANE, 1280, 720) == PhotoLabels(is_labeled=False)


@pytest.mark.parametrize(("width", "height"), [(1080, 810), (811, 1080), (None, 1080), ("810", 1080), (0, 1080)])
def test_another_size_than_the_photo_s_voids_its_labels(photos, tmp_path, width, height):
    image = BUS_IMAGE | {"width": width, "height": height}
    labels = write(tmp_path, [image], [annotation([1, 1, 5, 5], 1), annotation([2, 2, 5, 5], 2)])
    found = labels_of(photos, labels, BUS, 810, 1080)
    assert not found.is_labeled
    assert found.labels == ()
    (problem,) = found.problems
    assert problem.rule == "label_size_mismatch"
    assert "2 labels" in problem.detail


def test_an_entry_without_a_size_is_taken_at_its_word(photos, tmp_path):
    labels = write(tmp_path, [{"id": 10, "file_name": "bus.jpg"}], [annotation([1, 1, 5, 5])])
    assert len(labels_of(photos, labels, BUS, 810, 1080).labels) == 1


# --- which entry is whose


def image(file_name, image_id=10):
    return {"id": image_id, "file_name": file_name}


def labelled(source: CocoFolder, members=None) -> dict[str, list[str]]:
    members = source.list_photos() if members is None else members
    with source.open_shard(members) as shard:
        found = {member.path: shard.labels(member, 100, 100) for member in members}
    return {
        path: [problem.rule for problem in one.problems] or [label.label_id for label in one.labels]
        for path, one in found.items()
        if one.is_labeled or one.problems
    }


NAMES = ["bus.jpg", "./bus.jpg", "images/v2/patch45/bus.jpg", "train\\bus.jpg", "../images/bus.jpg", "/data/bus.jpg"]


@pytest.mark.parametrize("file_name", NAMES)
def test_a_photo_is_matched_by_path_or_by_base_name(photos, tmp_path, file_name):
    source = opened(photos, write(tmp_path, [image(file_name)], [annotation([1, 1, 5, 5], 3)]))
    assert labelled(source) == {"bus.jpg": ["3"]}
    assert len(source.list_photos()) == 3


def test_the_path_goes_before_the_base_name(photos, tmp_path):
    (photos / "other").mkdir()
    (photos / "other/bus.jpg").write_bytes(b"x")
    labels = write(
        tmp_path,
        [image("other/bus.jpg", 1), image("bus.jpg", 2)],
        [annotation([1, 1, 5, 5], 31, image_id=1), annotation([1, 1, 5, 5], 32, image_id=2)],
    )
    assert labelled(opened(photos, labels)) == {"other/bus.jpg": ["31"], "bus.jpg": ["32"]}


def test_an_entry_that_has_its_photo_is_not_given_to_another_of_the_same_base_name(photos, tmp_path):
    (photos / "other").mkdir()
    (photos / "other/bus.jpg").write_bytes(b"x")
    labels = write(tmp_path, [image("other/bus.jpg")], [annotation([1, 1, 5, 5], 3)])
    assert labelled(opened(photos, labels)) == {"other/bus.jpg": ["3"]}


@pytest.mark.parametrize("alone_in_its_shard", [False, True])
def test_two_photos_of_one_base_name_get_no_labels_by_it(photos, tmp_path, alone_in_its_shard):
    (photos / "other").mkdir()
    (photos / "other/bus.jpg").write_bytes(b"x")
    source = opened(photos, write(tmp_path, [image("train/bus.jpg")], [annotation([1, 1, 5, 5])]))
    expected = {"bus.jpg": ["label_ambiguous_file_name"]}
    if not alone_in_its_shard:
        expected["other/bus.jpg"] = ["label_ambiguous_file_name"]
    assert labelled(source, [BUS] if alone_in_its_shard else None) == expected


def test_two_entries_of_one_name_give_no_labels(photos, tmp_path):
    labels = write(tmp_path, [image("bus.jpg", 1), image("bus.jpg", 2)], [annotation([1, 1, 5, 5], image_id=2)])
    found = labels_of(photos, labels, BUS, 810, 1080)
    assert not found.is_labeled
    assert [(p.rule, p.detail) for p in found.problems] == [
        ("label_ambiguous_file_name", "instances.json: 2 entries have the file_name bus.jpg; 1 labels not used")
    ]
    labels = write(tmp_path, [image("a/bus.jpg", 1), image("b/bus.jpg", 2)], [])
    assert labelled(opened(photos, labels)) == {"bus.jpg": ["label_ambiguous_file_name"]}


def test_labels_of_other_photos_altogether_are_an_error(photos, tmp_path):
    labels = write(tmp_path, [image("000000000009.jpg")], [])
    with pytest.raises(SourceError, match=r"none of the 1 file names in the labels .*correct `labels_path`"):
        opened(photos, labels).list_photos()


def test_a_shard_without_labels_is_none(photos, tmp_path):
    labels = write(tmp_path, [image("bus.jpg")], [])
    assert labelled(opened(photos, labels), [ZIDANE]) == {}


def test_a_photo_s_version_changes_with_its_own_labels_alone(photos, tmp_path):
    def versions(*boxes) -> dict[str, str]:
        annotations = [annotation([1, 1, side, side], side) for side in boxes]
        source = opened(photos, write(tmp_path, [image("train/bus.jpg")], annotations))
        return {member.path: member.version for member in source.list_photos()}

    first, same, other = versions(5, 6), versions(6, 5), versions(5, 7)
    assert first == same
    assert {path for path in first if first[path] != other[path]} == {"bus.jpg"}


@pytest.mark.parametrize("file_name", ["../../etc/secret.jpg", "/etc/secret.jpg", "a\\..\\..\\secret.jpg"])
def test_an_entry_that_leads_out_of_the_folder_is_a_photo_that_is_refused(photos, tmp_path, file_name):
    (tmp_path / "secret.jpg").write_bytes((photos / "bus.jpg").read_bytes())
    source = opened(photos, write(tmp_path, [BUS_IMAGE, image(file_name, 11)], []))
    members = source.list_photos()
    (outside,) = {member.path for member in members} - {"bus.jpg", ZIDANE.path, "people/deep/astronaut.PNG"}
    assert outside.endswith("secret.jpg")
    with source.open_shard(members) as shard:
        with pytest.raises(UnusablePhoto, match="outside_folder"):
            shard.read(next(member for member in members if member.path == outside))
        assert shard.read(BUS).data == (photos / "bus.jpg").read_bytes()


def test_an_absent_file_and_an_unnamed_one(photos, tmp_path):
    with pytest.raises(SourceError, match="No such file"):
        opened(photos, tmp_path / "nowhere.json").list_photos()
    with pytest.raises(SourceError, match="need `labels_path`"):
        opened(photos, None).list_photos()
