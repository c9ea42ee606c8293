"""Objects365 as published: patches of real photos, and the JSON with its traps."""

import io
import json
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from forge_resources.config import Objects365Config
from forge_resources.images import UnusablePhoto
from forge_resources.s3 import S3Config
from forge_resources.sources import Label, Member, PhotoLabels, PhotoSource, SourceError, open_source
from forge_resources.sources.objects365 import patch_and_file, path_in_patch

BUS, ZIDANE = "patch16/objects365_v2_00900001.jpg", "patch45/objects365_v2_02060288.jpg"
CHINA, COFFEE = "patch45/objects365_v2_01118660.jpg", "patch45/objects365_v2_02060290.jpg"
MISSING, AWAITED = "patch16/objects365_v2_00908726.jpg", "patch50/objects365_v2_03000000.jpg"
CATEGORIES = [{"id": 1, "name": "Person"}, {"id": 2, "name": "Table Tennis "}, {"id": 365, "name": "Bakset"}]
IMAGES = [
    {"id": 7, "file_name": f"images/v2/{BUS}", "width": 810, "height": 1080},
    {"id": 8, "file_name": f"images/v2/{ZIDANE}", "width": 1280, "height": 720},
    {"id": 9, "file_name": f"images/v2/{CHINA}", "width": 427, "height": 640},  # stored rotated: it has 640x427
    {"id": 10, "file_name": f"images/v2/{MISSING}", "width": 600, "height": 400},
    {"id": 11, "file_name": f"images/v2/{AWAITED}", "width": 600, "height": 400},
]
FLAGS = {"iscrowd": 0, "isfake": 0, "isreflected": 0}


def packaged(package: str, path: str) -> bytes:
    return (Path(find_spec(package).submodule_search_locations[0]) / path).read_bytes()


def annotation(label_id, image_id, bbox, category_id=1, **flags):
    area = bbox[2] * bbox[3]
    return {
        "id": label_id,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": bbox,
        "area": area,
        **FLAGS,
        **flags,
    }


ANNOTATIONS = [
    annotation(1, 7, [48.25, 400.5, 197.0, 502.125]),
    annotation(2, 7, [700.0, 500.0, 200.0, 380.0], 365, isfake=1),  # out of the frame
    annotation(3, 7, [48.25, 400.5, 197.0, 502.125]),  # a duplicate
    annotation(4, 7, [22.0, 230.0, 786.0, 520.0], 2, iscrowd=1),
    annotation(5, 8, [740.0, 40.0, 400.0, 670.0], isreflected=1),
    annotation(5, 8, [120.0, 200.0, 1000.0, 510.0]),  # an id again
    annotation(6, 8, [120.0, 200.0, 100.0, 51.0], 366),  # no such class
    annotation(7, 9, [1.0, 2.0, 3.0, 4.0]),
    annotation(8, 10, [1.0, 2.0, 3.0, 4.0]),
    annotation(9, 11, [1.0, 2.0, 3.0, 4.0]),
    annotation(10, 404, [1.0, 2.0, 3.0, 4.0]),
]


@pytest.fixture
def published(tmp_path) -> Path:
    """Patches 16 and 45; photos that the JSON names and that are not there; a photo that it does not name."""
    root = tmp_path / "Objects365"
    for path, data in {
        BUS: packaged("ultralytics", "assets/bus.jpg"),
        ZIDANE: packaged("ultralytics", "assets/zidane.jpg"),
        CHINA: packaged("sklearn", "datasets/images/china.jpg"),
        COFFEE: packaged("skimage", "data/coffee.png"),
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    write(root)
    return root


def write(root: Path, order=("images", "annotations", "categories"), **changed) -> None:
    sections = {"images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES, **changed}
    (root / "zhiyuan_objv2_train.json").write_text(json.dumps({section: sections[section] for section in order}))


def opened(root: Path, **settings) -> PhotoSource:
    config = Objects365Config(path=root, annotations=root / "zhiyuan_objv2_train.json", **settings)
    return open_source("objects365", config, S3Config(), root.parent / "cache")


def labels_of(source: PhotoSource, path: str, width: int, height: int) -> PhotoLabels:
    with source.open_shard([Member(path, 1)]) as shard:
        return shard.labels(Member(path, 1), width, height)


@pytest.mark.parametrize("order", [("images", "annotations", "categories"), ("annotations", "categories", "images")])
def test_labels_come_with_their_flags_and_stripped_names(published, order):
    write(published, order)
    source = opened(published)
    flags = {"is_fake": False, "is_reflected": False}
    of_bus = labels_of(source, BUS, 810, 1080)
    assert of_bus.labels == (
        Label("1", "Person", 48.25, 400.5, 245.25, 902.625, **flags),
        Label("2", "Bakset", 700, 500, 810, 880, **{**flags, "is_fake": True}),
        Label("4", "Table Tennis", 22, 230, 808, 750, is_crowd=True, **flags),
    )
    assert [problem.rule for problem in of_bus.problems] == ["label_duplicate"]
    of_zidane = labels_of(source, ZIDANE, 1280, 720)
    assert of_zidane.labels == (Label("5", "Person", 740, 40, 1140, 710, is_fake=False, is_reflected=True),)
    assert [problem.rule for problem in of_zidane.problems] == ["label_duplicate_id", "label_unknown_class"]


def test_a_photo_that_is_stored_rotated_keeps_no_label(published):
    (problem,) = labels_of(opened(published), CHINA, 640, 427).problems
    assert problem.rule == "label_size_mismatch"
    assert problem.detail == "stated 427x640, the photo has 640x427 pixels; 1 labels not used"


def test_a_photo_that_the_json_does_not_name_has_no_labels(published):
    found = labels_of(opened(published), COFFEE, 600, 400)
    assert not found.is_labeled
    assert [problem.rule for problem in found.problems] == ["label_absent"]


def test_photos_named_are_members_but_for_those_of_patches_that_are_awaited(published, caplog):
    source = opened(published)
    members = source.list_photos()
    assert [member.path for member in members] == sorted([BUS, ZIDANE, CHINA, COFFEE, MISSING])
    assert "1 photos that the labels name are not there and are rejected as missing_photo" in caplog.text
    with source.open_shard(members) as shard:
        assert shard.read(members[0]).data == (published / members[0].path).read_bytes()
        with pytest.raises(FileNotFoundError):
            shard.read(next(member for member in members if member.path == MISSING))


def test_missing_photos_can_be_skipped(published):
    members = opened(published, missing_photos="skip").list_photos()
    assert [member.path for member in members] == sorted([BUS, ZIDANE, CHINA, COFFEE])


def test_a_patch_may_be_an_archive_and_lie_in_folders(published):
    with tarfile.open(published / "patch50.tar", "w") as archive:
        member = tarfile.TarInfo(AWAITED)
        member.size = (published / COFFEE).stat().st_size
        archive.addfile(member, io.BytesIO((published / COFFEE).read_bytes()))
    (published / "images/v2").mkdir(parents=True)
    (published / "patch16").rename(published / "images/v2/patch16")
    source = opened(published)
    members = {patch_and_file(member.path): member for member in source.list_photos()}
    assert members[BUS].path == f"images/v2/{BUS}"
    assert members[MISSING].path == f"images/v2/{MISSING}"
    with source.open_shard(list(members.values())) as shard:
        assert shard.read(members[AWAITED]).data == (published / COFFEE).read_bytes()
        assert [label.label_id for label in shard.labels(members[AWAITED], 600, 400).labels] == ["9"]
        assert len(shard.labels(members[BUS], 810, 1080).labels) == 3


def test_every_annotation_is_accounted_for(published):
    source = opened(published)
    sizes = {BUS: (810, 1080), ZIDANE: (1280, 720), CHINA: (640, 427), MISSING: (600, 400), AWAITED: (600, 400)}
    found = [labels_of(source, path, *size) for path, size in sizes.items()]
    labels, problems = sum(len(one.labels) for one in found), sum(len(one.problems) for one in found)
    assert (labels, problems) == (6, 4)
    assert labels + problems + 1 == len(ANNOTATIONS)  # one is of an image that is not listed


def test_the_mirror_s_corners_are_read_when_it_is_said_and_found_out_when_not(published):
    boxes = [[40.0 * n, 20.0 * n, 40.0 * n + 300, 20.0 * n + 200] for n in range(24)]
    write(published, annotations=[annotation(n, 8, box) for n, box in enumerate(boxes)])
    found = labels_of(opened(published, boxes="xyxy"), ZIDANE, 1280, 720)
    assert [(label.x1, label.y1, label.x2, label.y2) for label in found.labels] == [tuple(box) for box in boxes]
    with pytest.raises(SourceError, match=r"source objects365: .* look like xyxy: .*: set `boxes: xyxy` in its conf"):
        opened(published).list_photos()


@pytest.mark.parametrize("name", ["../secret.jpg", "/secret.jpg", "images/../../../secret.jpg", "..\\secret.jpg"])
def test_a_name_that_leads_out_is_a_photo_that_is_refused(published, name):
    (published.parent / "secret.jpg").write_bytes((published / BUS).read_bytes())
    write(published, images=[*IMAGES, {"id": 12, "file_name": name}])
    source = opened(published, missing_photos="skip")
    (outside,) = [member for member in source.list_photos() if member.path.endswith("secret.jpg")]
    with source.open_shard([outside]) as shard, pytest.raises(UnusablePhoto, match="outside_folder"):
        shard.read(outside)


def test_two_files_of_one_name_are_not_guessed_between(published):
    (published / "copy/patch16").mkdir(parents=True)
    (published / "copy" / BUS).write_bytes((published / BUS).read_bytes())
    with pytest.raises(SourceError, match="are both photo patch16/"):
        opened(published).list_photos()


def test_a_photo_s_version_changes_with_its_own_labels(published):
    before = {member.path: member.version for member in opened(published).list_photos()}
    write(published, annotations=[*ANNOTATIONS[:4], *ANNOTATIONS[5:]])
    after = {member.path: member.version for member in opened(published).list_photos()}
    assert {path for path in before if before[path] != after[path]} == {ZIDANE}


def test_where_a_photo_should_lie():
    folders = frozenset({"images/v2/patch1", "patch2", "z/patch2", ""})
    assert path_in_patch("patch1/a.jpg", folders) == "images/v2/patch1/a.jpg"
    assert path_in_patch("patch2/a.jpg", folders) == "patch2/a.jpg"
    assert path_in_patch("patch3/a.jpg", folders) is None
    assert path_in_patch("a.jpg", folders) == "a.jpg"
