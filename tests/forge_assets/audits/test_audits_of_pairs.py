"""Audits of what pairs say, look at and repeat, each on pairs that were made to break what it looks for."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from forge_assets.audits.runner import run_audit
from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake, Manifest
from forge_resources.warehouse import Warehouse

Write = Callable[..., Manifest]
QUOTAS = {"counting": 1.0}


@pytest.fixture
def audit(lake: Lake) -> Callable[[str], pl.DataFrame]:
    def audit(name: str) -> pl.DataFrame:
        with Warehouse(lake, SCHEMAS) as warehouse:
            return run_audit(warehouse, name, QUOTAS)

    return audit


Audit = Callable[[str], pl.DataFrame]


def yes_no(answer: str, **columns: Any) -> dict[str, Any]:
    return {"task": "counting", "answer_kind": "yes_no", "answer": answer, "short_answer": answer} | columns


def test_answers_that_come_up_too_often_show_with_their_chance(write: Write, audit: Audit) -> None:
    choice = {"task": "left_right", "answer_kind": "choice", "short_answer": "left"}
    boxes = {"task": "grounding", "answer_kind": "choice", "short_answer": "[1, 2, 3, 4]"}
    rows = [
        *[yes_no("Yes")] * 3, yes_no("No"),
        choice | {"choices": ["left", "right"]}, choice | {"choices": ["right", "left"]},
        choice | {"choices": ["right", "left"]},
        boxes | {"choices": ["[0, 0, 9, 9]", "[1, 2, 3, 4]"]},
    ]  # fmt: skip
    write("verified_qa", "a", rows, "passed")
    rows = audit("answer_bias").select("task", "aspect", "among", "value", "pairs", "share", "chance").rows()
    assert rows == [
        ("counting", "answer", None, "Yes", 3, 0.75, 0.5),
        ("counting", "answer", None, "No", 1, 0.25, 0.5),
        ("grounding", "position", 2, "2", 1, 1.0, 0.5),
        ("left_right", "answer", None, "left", 3, 1.0, 1.0),
        ("left_right", "position", 2, "2", 2, pytest.approx(2 / 3), 0.5),
        ("left_right", "position", 2, "1", 1, pytest.approx(1 / 3), 0.5),
        ("left_right", "side", None, "left", 3, 1.0, 1.0),
    ]


def test_sentences_tell_their_side(write: Write, audit: Audit) -> None:
    told = {"task": "left_right", "answer_kind": "text"}
    rows = [told | {"short_answer": text} for text in ("on the left side", "right of it", "left of the right one")]
    write("verified_qa", "a", rows, "passed")
    assert audit("answer_bias").select("aspect", "value", "pairs").rows() == [("side", "left", 1), ("side", "right", 1)]


def test_a_class_that_is_always_nearer_is_skewed(write: Write, audit: Audit) -> None:
    def pair(first: str, second: str, answer: int) -> dict[str, Any]:
        ids = ["o1", "o2"]
        return {
            "task": "near_far", "categories": [first, second], "object_ids": ids, "answer_object_ids": [ids[answer]]
        }  # fmt: skip

    rows = [pair("car", "person", 0), pair("person", "car", 1), pair("car", "person", 0), pair("car", "car", 0)]
    rows.append({"task": "near_far", "categories": ["car"], "object_ids": ["o1"], "answer_object_ids": ["o1"]})
    write("verified_qa", "a", rows, "passed")
    assert audit("category_pair_skew").rows() == [
        ("near_far", "car", "person", 3, 0.75, 1.0, 1.0),
        ("near_far", "car", "car", 1, 0.25, None, None),
    ]


def test_templates_worn_out_are_uneven(write: Write, audit: Audit) -> None:
    rows = [{"task": "counting", "form": "number", "template_id": f"t{i // 3}"} for i in range(4)]
    write("verified_qa", "a", rows, "passed")
    assert audit("template_use").rows() == [
        ("counting", "number", "t0", 3, 0.75, 0.75, 1.5),
        ("counting", "number", "t1", 1, 0.25, 0.25, 0.5),
    ]


def test_repeats_and_contradictions_of_one_photo_are_counted(write: Write, audit: Audit) -> None:
    def asked(image: str, question: str, answer: str) -> dict[str, Any]:
        return {"image_id": image, "question": question, "answer": answer}

    rows = [asked("a/1", "Is it?", "Yes")] * 3 + [asked("a/1", "Is it?", "No"), asked("a/2", "Is it?", "No")]
    write("verified_qa", "a", rows, "passed")
    assert audit("duplicates").rows() == [("contradiction", "a", 1, 1, "a/1"), ("pair", "a", 1, 2, "a/1")]


def test_photos_that_are_dropped_as_duplicates_are_counted(lake: Lake, audit: Audit) -> None:
    row = {"source": "a", "shard": "s", "sha256": "0", "phash": None, "group_id": "a/0", "distance": 0}
    rows = [row | {"image_id": f"a/{i}", "kind": "exact", "is_kept": i == 0} for i in range(3)]
    lake.write_table("duplicates", pl.DataFrame(rows, schema=dict(SCHEMAS["duplicates"])), SCHEMAS["duplicates"])
    assert audit("duplicates").rows() == [("exact photo", "a", 1, 2, "a/0")]


def test_each_kind_of_leak_between_splits_is_found(lake: Lake, write: Write, audit: Audit) -> None:
    def pair(image: str, split: str, question: str = "Is it?") -> dict[str, Any]:
        return {"image_id": image, "split": split, "question": question, "answer": "Yes"}

    photos = [("a/1", "x", "train"), ("a/2", "x", "val"), ("a/3", "y", "train"), ("a/4", "z", "val")]
    write("raw_images", "a", [{"image_id": i, "sha256": sha, "split": split} for i, sha, split in photos], "passed")
    rows = [pair("a/1", "train"), pair("a/2", "val"), pair("a/3", "train", "One?"), pair("a/3", "val", "Two?")]
    write("verified_qa", "a", rows, "passed")
    group = {"source": "a", "shard": "s", "sha256": "0", "group_id": "a/3", "kind": "near", "distance": 3}
    rows = [group | {"image_id": image, "phash": "0", "is_kept": image == "a/3"} for image in ("a/3", "a/4")]
    lake.write_table("duplicates", pl.DataFrame(rows, schema=dict(SCHEMAS["duplicates"])), SCHEMAS["duplicates"])
    assert audit("split_leakage").rows() == [
        ("group", 1, "a/3"), ("image", 1, "a/3"), ("pair", 1, "a/1"), ("photo", 1, "a/1"),
    ]  # fmt: skip


def test_without_leaks_there_is_no_row(write: Write, audit: Audit) -> None:
    write("raw_images", "a", [{"image_id": "a/1", "sha256": "x", "split": "train"}], "passed")
    write("verified_qa", "a", [{"image_id": "a/1", "split": "train", "question": "?", "answer": "!"}] * 2, "passed")
    assert audit("split_leakage").is_empty()


def test_margins_lie_in_their_bins_and_the_last_holds_what_is_beyond(write: Write, audit: Audit) -> None:
    evidence = dict.fromkeys(field.name for field in SCHEMAS["verified_qa"]["evidence"].fields)
    readings = [{"ratio": 1.5, "mirror_ratio": 1.25}, {"ratio": 2.0, "mirror_ratio": None}]
    full = [dict.fromkeys(("reading", "separation", "pair")) | reading for reading in readings]
    rows = [
        {"task": "near_far", "score": 0.25, "evidence": evidence | {"scores": [0.9, 0.62], "readings": full}},
        {"task": "near_far", "score": 7.0, "evidence": evidence},
    ]
    write("verified_qa", "a", rows, "passed")
    assert audit("margins").select("measure", "low", "high", "pairs", "share").rows() == [
        ("depth_ratio", 1.2, 1.3, 1, 1.0),
        ("object_score", 0.6, 0.65, 1, 1.0),
        ("score", 0.2, 0.3, 1, 0.5),
        ("score", 1.9, 2.0, 1, 0.5),
    ]


def test_boxes_are_binned_by_side_and_middle(write: Write, audit: Audit) -> None:
    write("verified_qa", "a", [{"task": "grounding", "boxes": [[0, 0, 100, 400], [500, 0, 1000, 1000]]}], "passed")
    rows = {(measure, low): boxes for measure, low, boxes in audit("boxes").select("measure", "low", "boxes").rows()}
    assert rows == {("side", 0.2): 1, ("side", 0.7): 1, ("x", 0.05): 1, ("x", 0.75): 1, ("y", 0.2): 1, ("y", 0.5): 1}
    assert audit("box_positions").rows() == [(0.0, 0.2, 1, 0.5), (0.7, 0.5, 1, 0.5)]


def test_licences_count_photos_and_pairs(write: Write, audit: Audit) -> None:
    write("raw_images", "a", [{"license": "CC0-1.0"}] * 2 + [{"license": "CC-BY-4.0"}], "passed")
    write("verified_qa", "a", [{"license": "CC0-1.0"}] * 4, "passed")
    assert audit("licenses").rows() == [("CC0-1.0", "a", 2, 4, 1.0), ("CC-BY-4.0", "a", 1, 0, 0.0)]


def test_photos_without_pairs_say_where_they_fell_out(write: Write, audit: Audit) -> None:
    images = [{"image_id": f"a/{i}"} for i in range(5)]
    write("raw_images", "a", images, "passed")
    write("scenes", "a", images[:4], "passed")
    write("candidate_qa", "a", images[:3], "passed")
    write("rejected_qa", "a", images[1:2])
    write("verified_qa", "a", images[:1], "passed")
    assert audit("images_without_pairs").rows() == [
        ("a", "no object", 1, 0.2, "a/4"),
        ("a", "no question", 1, 0.2, "a/3"),
        ("a", "rejected", 1, 0.2, "a/1"),
        ("a", "withheld", 1, 0.2, "a/2"),
    ]


def test_a_partition_made_of_what_has_changed_is_old_and_so_is_what_was_made_of_it(write: Write, audit: Audit) -> None:
    photos = write("raw_images", "a", [{}])
    found = write("detections", "a", [{}], inputs={"raw_images": photos.content_hash})
    write("scenes", "a", [{}], inputs={"detections": found.content_hash, "depth_maps": "gone"})
    write("detections", "b", [{}], inputs={"raw_images": write("raw_images", "b", [{}]).content_hash})
    assert audit("freshness").rows() == [("a", "s00000", "scenes", "missing", "depth_maps")]
    write("raw_images", "a", [{}, {}])
    assert audit("freshness").rows() == [
        ("a", "s00000", "detections", "changed", "raw_images"),
        ("a", "s00000", "scenes", "missing", "depth_maps"),
        ("a", "s00000", "scenes", "behind", "detections"),
    ]


def test_versions_that_are_mixed_are_marked(write: Write, audit: Audit) -> None:
    for shard, detector in (("s00000", "old"), ("s00001", "new"), ("s00002", "new")):
        write("detections", "a", [{}], shard=shard, versions={"code": "1", "detector": detector})
    assert audit("models_in_use").rows() == [
        ("detections", "code", "1", 3, 3, 1.0, False),
        ("detections", "detector", "new", 2, 2, pytest.approx(2 / 3), True),
        ("detections", "detector", "old", 1, 1, pytest.approx(1 / 3), True),
    ]


def test_stages_count_what_they_made_and_what_is_withheld(write: Write, audit: Audit) -> None:
    write("raw_images", "a", [{}] * 3, "passed")
    write("raw_images", "a", [{}] * 5, "failed", shard="s00001")
    write("rejected_images", "a", [{}] * 2)
    assert audit("stages").rows() == [("a", "raw_images", 2, 1, 8, 5, 2, 0.8)]
