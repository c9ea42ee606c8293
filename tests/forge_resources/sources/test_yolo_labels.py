"""YOLO text files, sound and otherwise."""

import os
from pathlib import Path

import pytest

from forge_resources.config import ImageFolderConfig
from forge_resources.images import decode_upright
from forge_resources.s3 import S3Config, S3Uri, client
from forge_resources.sources.base import Label, Member, PhotoLabels, SourceError
from forge_resources.sources.image_folder import ImageFolder
from forge_resources.sources.yolo_labels import coco_class_names

BUS = Member("bus.jpg", 1)


def source_of(photos: Path | S3Uri, labels=None, names=None, s3: S3Config | None = None) -> ImageFolder:
    config = ImageFolderConfig(path=photos, labels="yolo", labels_path=labels, class_names=names)
    return ImageFolder("mine", config, s3 or S3Config(), Path("cache-of-no-archives"))


def reader(photos: Path, labels: Path | None = None, names: Path | None = None, members=None):
    source = source_of(photos, labels, names)
    with source.open_shard(source.list_photos() if members is None else members) as shard:
        return shard.labels


def bus_labels(photos: Path, text: str | bytes, names: Path | None = None) -> PhotoLabels:
    path = photos / "bus.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return reader(photos, names=names)(BUS, 810, 1080)


def test_there_are_eighty_names():
    names = coco_class_names()
    assert (len(names), names[0], names[5], names[79]) == (80, "person", "bus", "toothbrush")


def test_boxes_become_pixels(photos):
    found = bus_labels(photos, "5 0.5 0.5 0.5 0.25\n\n0 0.1 0.1 0.1 0.1\n")
    bus, person = found.labels
    assert found.is_labeled
    assert (bus.label_id, bus.category, bus.is_crowd) == ("1", "bus", False)
    assert (bus.x1, bus.y1, bus.x2, bus.y2) == (202.5, 405, 607.5, 675)
    assert (person.label_id, person.category) == ("3", "person")


def test_a_box_partly_outside_is_clipped(photos):
    (label,) = bus_labels(photos, "0 0.0 1.0 0.2 0.2").labels
    assert (label.x1, label.x2, label.y2) == (0, pytest.approx(81), 1080)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("0 nan 0.5 0.1 0.1", "label_not_finite"),
        ("0 0.5 0.5 inf 0.1", "label_not_finite"),
        ("0 0.5 0.5 -0.1 0.1", "label_inverted"),
        ("0 0.5 0.5 0.1 0", "label_zero_size"),
        ("0 1.5 0.5 0.1 0.1", "label_outside"),
        ("0 405 540 100 100", "label_outside"),  # pixels instead of shares
        ("0 0.5 0.5 0.1", "label_malformed"),
        ("0 0.5 0.5 0.1 0.1 0.9", "label_malformed"),  # a prediction with its score
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "label_malformed"),  # a polygon
        ("person 0.5 0.5 0.1 0.1", "label_malformed"),
        ("0,0.5,0.5,0.1,0.1", "label_malformed"),
        ("80 0.5 0.5 0.1 0.1", "label_unknown_class"),
        ("-1 0.5 0.5 0.1 0.1", "label_unknown_class"),
        ("0 0.5 0.5 0.5 0.5", "label_duplicate"),
    ],
)
def test_a_bad_line_is_named_and_the_others_stay(photos, line, rule):
    found = bus_labels(photos, f"0 0.5 0.5 0.5 0.5\n{line}\n2 0.5 0.5 0.5 0.5\n")
    assert found.is_labeled
    assert [label.label_id for label in found.labels] == ["1", "3"]
    (problem,) = found.problems
    assert problem.rule == rule
    assert "2" in problem.detail


def test_line_ends_and_marks_of_other_systems_are_read(photos):
    found = bus_labels(photos, b"\xef\xbb\xbf0 0.5 0.5 0.5 0.5\r\n2 0.5 0.5 0.5 0.5\r\n")
    assert [label.category for label in found.labels] == ["person", "car"]


def test_a_file_that_is_no_text_is_named(photos):
    found = bus_labels(photos, b"\xff\xfe\x00\x01")
    assert not found.is_labeled
    assert [problem.rule for problem in found.problems] == ["label_unreadable_file"]


def test_an_empty_file_says_no_object_and_no_file_is_named(photos):
    assert bus_labels(photos, "") == PhotoLabels(is_labeled=True)
    found = reader(photos)(Member("people/zidane.jpg", 1), 1280, 720)
    assert (found.is_labeled, found.labels) == (False, ())
    (problem,) = found.problems
    assert problem.rule == "label_absent"
    assert problem.detail == f"there is no {photos}/people/zidane.txt"


# --- where the files lie


@pytest.mark.parametrize(
    ("folder", "photo", "labels", "file"),
    [
        ("set", "images/train/bus.jpg", None, "set/labels/train/bus.txt"),
        ("set/images", "train/bus.jpg", None, "set/labels/train/bus.txt"),
        ("set/images", "bus.jpg", None, "set/labels/bus.txt"),
        ("set", "train/images/bus.jpg", None, "set/train/labels/bus.txt"),
        ("images/set", "images/bus.jpg", None, "images/set/labels/bus.txt"),
        ("set", "train/bus.jpg", None, "set/train/bus.txt"),
        ("set", "train/bus.jpg", "elsewhere", "elsewhere/train/bus.txt"),
        ("set", "images/train/bus.jpg", "set/labels", "set/labels/train/bus.txt"),
        ("set", "images/train/bus.jpg", "set/labels", "set/labels/images/train/bus.txt"),
    ],
)
def test_the_label_file_is_found(tmp_path, folder, photo, labels, file):
    target = tmp_path / folder / photo
    target.parent.mkdir(parents=True)
    target.touch()
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("5 0.5 0.5 0.5 0.5")
    read = reader(tmp_path / folder, tmp_path / labels if labels else None)
    assert [label.category for label in read(Member(photo, 1), 100, 100).labels] == ["bus"]


def test_no_label_file_at_all_is_an_error(photos, tmp_path):
    with pytest.raises(SourceError, match=r"no photo has a YOLO label file \(looked for .*wrong/bus\.txt"):
        reader(photos, tmp_path / "wrong")


def test_a_shard_without_label_files_is_none(photos):
    (photos / "bus.txt").write_text("")
    members = [Member("people/zidane.jpg", 1)]
    assert reader(photos, members=members)(members[0], 1280, 720).is_labeled is False


def test_the_version_changes_with_the_label_file_and_the_class_names(photos, tmp_path):
    def versions() -> dict[str, str]:
        return {member.path: member.version for member in source_of(photos, names=tmp_path / "a.txt").list_photos()}

    def changed(since: dict[str, str]) -> set[str]:
        return {path for path, version in versions().items() if version != since[path]}

    (tmp_path / "a.txt").write_text("cup")
    before = versions()
    (photos / "bus.txt").write_text("0 0.5 0.5 0.5 0.5")
    assert changed(before) == {"bus.jpg"}
    labelled = versions()
    (photos / "bus.txt").write_text("")
    assert changed(labelled) == {"bus.jpg"}
    emptied = versions()
    (tmp_path / "a.txt").write_text("fork")
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    assert changed(emptied) == {"bus.jpg"}
    (photos / "bus.txt").unlink()
    assert not changed(before)


def test_class_names_that_are_absent_are_named_when_photos_are_listed(photos, tmp_path):
    with pytest.raises(SourceError, match=r"there are no class names .*none\.txt"):
        source_of(photos, names=tmp_path / "none.txt").list_photos()


def test_label_files_of_no_photo_are_counted_and_named(tmp_path, caplog):
    for folder in ("images/train", "labels/train", "labels/val"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "images/train/a.jpg").write_bytes(b"x")
    (tmp_path / "labels/train/a.txt").touch()
    (tmp_path / "readme.txt").touch()
    for number in range(12):
        (tmp_path / f"labels/val/{number:02}.txt").touch()
    source_of(tmp_path).list_photos()
    assert "12 label files belong to no photo" in caplog.text
    assert "labels/val/09.txt, ..." in caplog.text
    assert "labels/val/10.txt" not in caplog.text
    assert "readme" not in caplog.text


def test_a_folder_of_labels_that_is_a_link_is_followed(photos, tmp_path):
    (photos / "images").mkdir()
    (photos / "bus.jpg").rename(photos / "images/bus.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/bus.txt").write_text("5 0.5 0.5 0.5 0.5")
    before = source_of(photos).list_photos()
    (photos / "labels").symlink_to(tmp_path / "elsewhere")
    member = Member("images/bus.jpg", 1)
    assert [label.category for label in reader(photos)(member, 810, 1080).labels] == ["bus"]
    assert [m.path for m, n in zip(before, source_of(photos).list_photos(), strict=True) if m != n] == [member.path]


# --- on S3


@pytest.fixture
def put(s3_config, s3_bucket):
    def put(**objects: str) -> S3Uri:
        s3 = client(s3_config)
        for name, text in objects.items():
            key = "set/" + name.replace("__", ".").replace("_", "/")
            s3.put_object(Bucket=s3_bucket.bucket, Key=key, Body=text.encode())
        return s3_bucket / "set"

    return put


def labels_of(source: ImageFolder, path: str) -> tuple[Label, ...]:
    members = source.list_photos()
    with source.open_shard(members) as shard:
        return shard.labels(next(member for member in members if member.path == path), 100, 100).labels


@pytest.mark.slow
@pytest.mark.parametrize("inside", ["", "images"])
def test_labels_on_s3_lie_where_they_lie_on_disk(put, s3_config, inside, caplog):
    place = put(images_a__jpg="x", images_b__jpg="y", labels_a__txt="5 0.5 0.5 0.5 0.5", labels_lost__txt="")
    source = source_of(place / inside, s3=s3_config)
    path = "a.jpg" if inside else "images/a.jpg"
    assert [label.category for label in labels_of(source, path)] == ["bus"]
    assert "1 label files belong to no photo: s3://" in caplog.text
    first, second = source.list_photos()
    assert ("/" in first.version, "/" in second.version) == (True, False)
    put(labels_a__txt="")
    again, same = source.list_photos()
    assert (again != first, same == second) == (True, True)
    assert labels_of(source, path) == ()


@pytest.mark.slow
def test_labels_and_names_of_one_place_serve_photos_of_another(put, s3_config, photos):
    place = put(truth_bus__txt="0 0.5 0.5 0.5 0.5", names__txt="cup")
    source = source_of(photos, str(place / "truth"), str(place / "names.txt"), s3_config)
    assert [label.category for label in labels_of(source, "bus.jpg")] == ["cup"]
    with pytest.raises(SourceError, match="there are no class names s3://"):
        labels_of(source_of(photos, str(place / "truth"), str(place / "none.yaml"), s3_config), "bus.jpg")
    with pytest.raises(SourceError, match=r"no photo has a YOLO label file \(looked for s3://.*/wrong/bus\.txt"):
        labels_of(source_of(photos, str(place / "wrong"), None, s3_config), "bus.jpg")


# --- class names


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.yaml", "names: [cup, fork]"),
        ("data.yml", "path: .\nnames:\n  0: cup\n  1: ' fork '\n"),
        ("classes.txt", "cup\nfork\n\n"),
        ("obj.names", "cup\r\nfork"),
    ],
)
def test_class_names_come_from_a_file(photos, tmp_path, file, text):
    (tmp_path / file).write_text(text)
    found = bus_labels(photos, "1 0.5 0.5 0.5 0.5\n2 0.5 0.5 0.5 0.5", tmp_path / file)
    assert [label.category for label in found.labels] == ["fork"]
    assert [problem.rule for problem in found.problems] == ["label_unknown_class"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.yaml", "names: {"),
        ("data.yaml", "nc: 80"),
        ("data.yaml", "[]"),
        ("data.yaml", "names: {cup: 0}"),
        ("data.yaml", "names: [cup, null]"),
        ("data.yaml", "names: []"),
        ("classes.txt", ""),
        ("classes.txt", "cup\n\nfork"),
        ("absent.txt", None),
    ],
)
def test_bad_class_names_are_an_error(photos, tmp_path, file, text):
    if text is not None:
        (tmp_path / file).write_text(text)
    with pytest.raises(SourceError, match=f"source mine: .*{file}"):
        bus_labels(photos, "", tmp_path / file)


def test_the_set_s_own_names_are_not_passed_over(photos):
    (photos / "data.yaml").write_text("names: [cup, fork]")
    with pytest.raises(SourceError, match="set `class_names`"):
        bus_labels(photos, "")
    assert bus_labels(photos, "", photos / "data.yaml").is_labeled


@pytest.mark.shared
@pytest.mark.skipif("FORGE_SHARED" not in os.environ, reason="FORGE_SHARED names no folder of the maintainers' photos")
def test_the_real_labels_of_coco_are_read_in_full():
    root = Path(os.environ["FORGE_SHARED"]) / "data/coco128-part"
    source = source_of(root / "images")
    members = source.list_photos()
    found = {}
    with source.open_shard(members) as shard:
        for member in members:
            height, width = decode_upright(shard.read(member).data).shape[:2]
            found[member.path] = shard.labels(member, width, height)
    assert len(found) == 43
    lines = sum(len(path.read_text().splitlines()) for path in (root / "labels").glob("*.txt"))
    assert sum(len(one.labels) + len(one.problems) for one in found.values() if one.is_labeled) == lines
    assert {problem.rule for one in found.values() for problem in one.problems} <= {"label_duplicate", "label_absent"}
    assert sum(one.is_labeled for one in found.values()) == len(list((root / "labels").glob("*.txt")))
