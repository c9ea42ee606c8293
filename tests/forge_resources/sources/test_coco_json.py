"""COCO instances files on their way into an index, sound and otherwise."""

import itertools
import json
from functools import partial
from pathlib import Path

import pytest

from forge_resources.s3 import S3Config
from forge_resources.sources import SourceError
from forge_resources.sources.coco_json import CocoFile
from forge_resources.sources.index import LabelIndex, open_index
from forge_resources.sources.inputs import input_file

IMAGES = [
    {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80},
    {"id": 2, "file_name": "b.jpg", "width": 100, "height": 80},
    {"id": "three", "file_name": "empty.jpg", "width": 100, "height": 80},
]
CATEGORIES = [{"id": 1, "name": " Table Tennis "}, {"id": "p", "name": "Bakset"}]


def annotation(label_id, image_id=1, bbox=(1, 2, 30, 40), category_id=1, **more):
    return {"id": label_id, "image_id": image_id, "category_id": category_id, "bbox": list(bbox), **more}


def indexed(folder: Path, content: object, **options) -> LabelIndex:
    path = folder / "instances.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    file = input_file("mine", path, S3Config(), folder / "inputs")
    coco = CocoFile("mine", file, **{"key_of": str, **options})
    build = partial(coco.index, folder=folder / "indexes")
    return open_index(folder / "indexes", f"{options}", {file.name: file.fingerprint}, build)


def problems(index: LabelIndex) -> list[tuple[str, str]]:
    return index.scan("problems").select("key", "rule").collect().rows()


SECTIONS = {
    "images": IMAGES,
    "annotations": [annotation(5, iscrowd=1, isfake=0), annotation(4, 2, category_id="p"), annotation(3, "three")],
    "categories": CATEGORIES,
}


@pytest.mark.parametrize("order", list(itertools.permutations(SECTIONS)))
def test_the_sections_may_come_in_any_order(tmp_path, order):
    sections = {section: SECTIONS[section] for section in order}
    index = indexed(tmp_path, {"info": {"year": 2026}, **sections, "licenses": [1]})
    labels = index.scan("labels").select("key", "label_id", "category", "is_crowd", "is_fake", "is_reflected").collect()
    assert labels.rows() == [
        ("a.jpg", "5", "Table Tennis", True, False, None),
        ("b.jpg", "4", "Bakset", None, None, None),
        ("empty.jpg", "3", "Table Tennis", None, None, None),
    ]
    assert index.photos().select("key", "width", "height", "is_labeled").collect().rows() == [
        (key, 100, 80, True) for key in ("a.jpg", "b.jpg", "empty.jpg")
    ]
    assert problems(index) == []
    assert index.notes() == {}


def test_every_annotation_is_a_label_a_problem_or_counted_aloud(tmp_path, caplog):
    annotations = [
        annotation(1),
        annotation(1, 2),  # label_duplicate_id
        annotation(1, 2),  # label_duplicate_id
        annotation("1"),  # label_duplicate_id: the same text
        annotation(2, category_id=99),  # label_unknown_class
        annotation(3, bbox=(1, 2, 3)),  # label_malformed
        annotation(4, isreflected=2),  # label_malformed
        annotation(5, 404),  # of no image
        annotation(6, 404, bbox=()),  # of no image
        annotation(7, "1"),  # of no image: "1" is not 1
        annotation(8, 2),
    ]
    index = indexed(tmp_path, {"annotations": annotations, "images": IMAGES, "categories": CATEGORIES})
    assert index.scan("labels").select("key", "label_id").collect().rows() == [("a.jpg", "1"), ("b.jpg", "8")]
    assert problems(index) == [
        ("a.jpg", "label_duplicate_id"),
        ("a.jpg", "label_malformed"),
        ("a.jpg", "label_malformed"),
        ("a.jpg", "label_unknown_class"),
        ("b.jpg", "label_duplicate_id"),
        ("b.jpg", "label_duplicate_id"),
    ]
    note = index.notes()["annotations_of_unlisted_images"]
    assert note["count"] == 3
    assert "instances.json: annotation 5 is of image 404, which is not listed" in note["examples"]
    assert "annotations_of_unlisted_images: 3" in caplog.text
    assert len(annotations) == 2 + 6 + 3


def test_two_entries_of_one_name_are_one_photo_whose_labels_are_counted(tmp_path):
    entries = [*IMAGES, {"id": 9, "file_name": "./a.jpg"}]
    annotations = [annotation(1), annotation(2, 9), annotation(3, 9, bbox=()), annotation(4, 2)]
    index = indexed(tmp_path, {"annotations": annotations, "images": entries, "categories": CATEGORIES})
    assert index.scan("labels").select("key").collect().rows() == [("b.jpg",)]
    assert index.photos().filter(is_labeled=False).select("key", "width").collect().rows() == [("a.jpg", None)]
    assert index.scan("problems").collect().rows() == [
        (
            "a.jpg",
            "label_ambiguous_file_name",
            "instances.json: 2 entries have the file_name a.jpg; 3 labels not used",
        )
    ]


def test_a_number_that_is_none_stays_for_the_check_of_its_photo(tmp_path):
    content = json.dumps({**SECTIONS, "annotations": [annotation(1, bbox=(float("nan"), 2, 3, 4)), annotation(2)]})
    photo = indexed(tmp_path, content.encode()).shard(["a.jpg"]).labels("a.jpg", 100, 80)
    assert [label.label_id for label in photo.labels] == ["2"]
    assert [(problem.rule, problem.detail) for problem in photo.problems] == [
        ("label_not_finite", "instances.json: annotation 1: box [nan, 2.0, nan, 6.0]")
    ]


NO_INSTANCES_FILES = [
    (b"", "at byte 0"),
    (b"<html>", "at byte 0"),
    (b"[]", "at byte 0"),
    (b'{"images": [], "annotations": []}', "no list `categories`"),
    (b'{"images": {}, "annotations": [], "categories": []}', "no list `images`"),
    (b'{"images": [{"id": 1}], "annotations": [], "categories": []}', r"images\[0\] has no proper id and file_name"),
    (b'{"images": [{"id": [], "file_name": "x"}]}', r"images\[0\] has no proper id and file_name"),
    (b'{"images": [{"id": true, "file_name": "x"}]}', r"images\[0\] has no proper id and file_name"),
    (b'{"images": [{"id": 1, "file_name": ""}]}', r"images\[0\] has no proper id and file_name"),
    (b'{"images": [{"id": 1, "file_name": "a\\u0000.jpg"}]}', r"images\[0\] has no proper id and file_name"),
    (b'{"images": [{"id": 1, "file_name": "\\ud800.jpg"}]}', r"images\[0\] has no proper id and file_name"),
    (b'{"images": [], "annotations": [7], "categories": []}', r"annotations\[0\] is no object"),
    (b'{"annotations": [{"image_id": 1}, {"image_id": 1.5}]}', r"annotations\[1\] has no proper image_id"),
    (b'{"categories": [{"id": 1}]}', r"categories\[0\] has no proper id and name"),
    (b'{"categories": [{"id": 1, "name": " "}]}', r"categories\[0\] has no proper id and name"),
    (
        b'{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
        "categories repeat the id 1",
    ),
    (
        b'{"images": [{"id": 1, "file_name": "x"}, {"id": 1, "file_name": "y"}], "annotations": [], "categories": []}',
        "images repeat the id 1",
    ),
    (json.dumps(SECTIONS).encode()[:300], "at byte (29|30)"),
    (json.dumps(SECTIONS).encode().replace(b"Bakset", b"Baks\xe9t"), r"at byte \d+: it is not UTF-8"),
]


@pytest.mark.parametrize(("content", "message"), NO_INSTANCES_FILES)
def test_what_is_no_instances_file_is_refused_by_name_and_leaves_nothing_behind(tmp_path, content, message):
    with pytest.raises(SourceError, match=rf"source mine: .*instances\.json is no COCO instances file: .*{message}"):
        indexed(tmp_path, content)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"instances.json", ".lock"}


# --- the form of the boxes


def boxes(form: str) -> dict[str, object]:
    corners = [(x, y, x + 30, y + 20) for x in range(0, 70, 10) for y in range(0, 60, 10)]
    given = corners if form == "xyxy" else [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in corners]
    return {**SECTIONS, "annotations": [annotation(number, bbox=box) for number, box in enumerate(given)]}


def test_corners_make_the_same_labels(tmp_path):
    found = [
        indexed(tmp_path, boxes(form), boxes=form).shard(["a.jpg"]).labels("a.jpg", 100, 80)
        for form in ("xywh", "xyxy")
    ]
    assert found[0] == found[1]
    assert len(found[0].labels) == 42


@pytest.mark.parametrize(("form", "taken_for"), [("xywh", "xyxy"), ("xyxy", "xywh")])
def test_boxes_of_the_other_form_are_refused_before_there_is_an_index(tmp_path, form, taken_for):
    with pytest.raises(SourceError, match=rf"look like {form}: read as {taken_for}, \d+% of 42 .*: do this"):
        indexed(tmp_path, boxes(form), boxes=taken_for, other_form="do this")
    assert list((tmp_path / "indexes").iterdir()) == [tmp_path / "indexes/.lock"]


def test_boxes_that_are_bad_in_either_form_are_left_to_the_checks(tmp_path):
    wild = [annotation(number, bbox=(90, 70, 500 + number, 5_000)) for number in range(50)]
    index = indexed(tmp_path, {**SECTIONS, "annotations": wild})
    assert len(index.shard(["a.jpg"]).labels("a.jpg", 100, 80).labels) == 1
