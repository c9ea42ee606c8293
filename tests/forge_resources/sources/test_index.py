"""Labels of a whole source, laid down sorted and read by photo."""

import math
import random
import tempfile
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_resources.sources.base import Count, LabelProblem, Point, Relationship, SourceError
from forge_resources.sources.index import INDEX_SCHEMAS, IndexWriter, LabelIndex, open_index

UNITS = {"pixels": (1.0, 1.0), "percent": (100.0, 100.0), "share": (1.0, 1.0)}


def built(folder: Path, tables: dict[str, list[dict]], fingerprint: str = "1") -> LabelIndex:
    def build(writer: IndexWriter) -> None:
        for table, rows in tables.items():
            for row in rows:
                writer.add(
                    table, pl.DataFrame([row], schema_overrides={name: INDEX_SCHEMAS[table][name] for name in row})
                )

    return open_index(folder, "test", {"file": fingerprint}, build)


def photo(key="a", **more):
    return {"key": key, "is_labeled": True, **more}


def box(key="a", label_id="1", corners=(10, 20, 40, 60), position=0, **more):
    left, top, right, bottom = corners
    return {
        "key": key,
        "position": position,
        "label_id": label_id,
        "category": "cat",
        "unit": "pixels",
        "left": left,
        "top": top,
        "width": right - left,
        "height": bottom - top,
        "where": f"file: annotation {label_id}",
        **more,
    }


# --- units and turns


@st.composite
def painted_boxes(draw):
    width, height = draw(st.integers(2, 30)), draw(st.integers(2, 30))
    x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x2, y2 = draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))
    return (
        (width, height),
        (x1, y1, x2, y2),
        draw(st.sampled_from(sorted(UNITS))),
        draw(st.sampled_from([0, 90, 180, 270])),
    )


def in_unit(corners, unit, size):
    across, down = (1, 1) if unit == "pixels" else (UNITS[unit][0] / size[0], UNITS[unit][1] / size[1])
    return corners[0] * across, corners[1] * down, corners[2] * across, corners[3] * down


@settings(max_examples=15, deadline=None)
@given(st.lists(painted_boxes(), min_size=1, max_size=20))
def test_a_box_and_a_point_turn_as_a_picture_of_them_does(cases):
    tables = {"photos": [], "labels": [], "points": []}
    for number, (size, corners, unit, rotation) in enumerate(cases):
        given = in_unit(corners, unit, size)
        key = f"{number:03}"
        tables["photos"].append(photo(key, rotation=rotation, width=size[0], height=size[1]))
        tables["labels"].append(box(key, corners=given, unit=unit))
        centre = {"x": (given[0] + given[2]) / 2, "y": (given[1] + given[3]) / 2}
        tables["points"].append({"key": key, "position": 0, "label_id": "p", "category": "cat", "unit": unit, **centre})
    with tempfile.TemporaryDirectory() as folder:
        known = built(Path(folder), tables).shard([row["key"] for row in tables["photos"]])
    for row, (size, (x1, y1, x2, y2), _, rotation) in zip(tables["photos"], cases, strict=True):
        picture = np.zeros((size[1], size[0]), dtype=bool)
        picture[y1:y2, x1:x2] = True
        upright = np.rot90(picture, rotation // 90)
        rows, columns = np.nonzero(upright)
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        found = known.labels(row["key"], upright.shape[1], upright.shape[0])
        (label,), (point,) = found.labels, found.points
        assert (label.x1, label.y1, label.x2, label.y2) == pytest.approx(expected)
        assert (point.x, point.y) == pytest.approx(((expected[0] + expected[2]) / 2, (expected[1] + expected[3]) / 2))
        assert found.problems == ()


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(
    ("corners", "rule"),
    [
        ((50, 20, 40, 60), "label_inverted"),
        ((math.nan, 0, 5, 5), "label_not_finite"),
        ((5, 5, 5, 9), "label_zero_size"),
    ],
)
def test_no_turn_mends_a_bad_box(tmp_path, rotation, corners, rule):
    known = built(tmp_path, {"photos": [photo(rotation=rotation)], "labels": [box(corners=corners)]}).shard(["a"])
    (problem,) = known.labels("a", 100, 100).problems
    assert problem.rule == rule


# --- what is said of a photo


def test_all_that_is_said_of_a_photo_comes_together(tmp_path):
    tables = {
        "photos": [photo(license="CC BY 2.0", rotation=0, url="https://a.example/a.jpg", sha256="0" * 64), photo("b")],
        "labels": [
            box(position=1, label_id="second", is_crowd=True),
            box(position=0, label_id="first", corners=(0, 0, 5, 5), is_fake=False, is_group=True),
            box(position=2, label_id="gone", corners=(500, 0, 510, 9)),
            box("b"),
        ],
        "points": [
            {"key": "a", "position": 0, "label_id": "p", "category": "cat", "unit": "percent", "x": 50, "y": 25},
            {
                "key": "a",
                "position": 1,
                "label_id": "q",
                "category": "cat",
                "unit": "percent",
                "x": 101,
                "y": 25,
                "where": "row 7",
            },
        ],
        "counts": [{"key": "a", "position": 0, "category": "cat", "count": 3, "where": "row 8"}],
        "relationships": [
            {"key": "a", "position": 0, "subject_label_id": "first", "predicate": "on", "object_label_id": "second"},
            {"key": "a", "position": 1, "subject_label_id": "first", "predicate": "on", "object_label_id": "gone"},
            {"key": "a", "position": 2, "subject_label_id": "first", "predicate": "is", "attribute": "wooden"},
        ],
        "problems": [{"key": "a", "rule": "label_malformed", "detail": "row 9"}],
    }
    known = built(tmp_path, tables).shard(["a"])
    found = known.labels("a", 200, 100)
    assert found.is_labeled
    assert [(label.label_id, label.is_crowd, label.is_fake, label.is_group) for label in found.labels] == [
        ("first", False, False, True),
        ("second", True, None, None),
    ]
    assert found.points == (Point("p", "cat", 100, 25),)
    assert found.counts == (Count("cat", 3),)
    assert found.relationships == (
        Relationship("first", "on", "second"),
        Relationship("first", "is", None, "wooden"),
    )
    assert [problem.rule for problem in found.problems] == [
        "label_malformed",
        "label_outside",
        "label_point_outside",
        "label_unrelated",
    ]
    assert known.photo("a")["license"] == "CC BY 2.0"
    assert known.photo("b") is None


def test_a_photo_that_is_not_named_is_told_from_one_without_labels(tmp_path):
    known = built(tmp_path, {"photos": [photo(), photo("c", is_labeled=False)]}).shard(["a", "b", "c"])
    assert [problem.rule for problem in known.labels("b", 9, 9).problems] == ["label_absent"]
    assert known.labels("a", 9, 9).is_labeled
    assert not known.labels("c", 9, 9).is_labeled
    assert known.labels("c", 9, 9).problems == ()


@pytest.mark.parametrize(
    ("stated", "rotation", "upright", "fits"),
    [
        ((40, 30), None, (40, 30), True),
        ((40, 30), None, (30, 40), False),
        ((40, 30), 90, (30, 40), True),
        ((40, 30), 90, (40, 30), False),
        ((40, 30), 180, (40, 30), True),
        ((None, None), 270, (30, 40), True),
        ((40, None), None, (40, 77), True),
        ((0, 30), None, (40, 30), False),
    ],
)
def test_a_photo_of_another_size_than_stated_keeps_no_label(tmp_path, stated, rotation, upright, fits):
    row = photo(width=stated[0], height=stated[1], rotation=rotation)
    problem = {"key": "a", "rule": "label_malformed", "detail": "row 9"}
    tables = {"photos": [row], "labels": [box(corners=(1, 1, 9, 9)), box(label_id="2")], "problems": [problem]}
    found = built(tmp_path, tables).shard(["a"]).labels("a", *upright)
    assert found.is_labeled is fits
    assert bool(found.labels) is fits
    rules = [problem.rule for problem in found.problems]
    assert rules[0] == "label_malformed"
    if not fits:
        assert rules[1:] == ["label_size_mismatch"]
        assert found.problems[1].detail.endswith("; 2 labels not used")


# --- what the index is made of


KEYS = [f"photo {number}" for number in range(40)]


def many() -> dict[str, list[dict]]:
    return {
        "photos": [photo(key, license=f"licence of {key}") for key in KEYS],
        "labels": [box(key, f"{key}-{n}", (n, n, n + 9, n + 9), position=n) for key in KEYS for n in range(3)],
        "counts": [{"key": key, "position": 0, "category": "cat", "count": 3} for key in KEYS],
        "problems": [{"key": key, "rule": "label_malformed", "detail": detail} for key in KEYS[:9] for detail in "yx"],
    }


def versions_of(index: LabelIndex) -> dict[str, str]:
    return dict(index.photos().select("key", "version").collect().rows())


def test_rows_in_another_order_make_the_same_index(tmp_path):
    tables = many()
    shuffled = {table: random.Random(1).sample(rows, len(rows)) for table, rows in tables.items()}
    first, second = built(tmp_path, tables, "1"), built(tmp_path, shuffled, "2")
    for table in INDEX_SCHEMAS:
        assert first.scan(table).collect().equals(second.scan(table).collect())
    assert first.photos().collect()["key"].to_list() == sorted(KEYS)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("photos", "license", "another"),
        ("photos", "is_labeled", False),
        ("photos", "rotation", 90),
        ("labels", "left", 0.125),
        ("labels", "category", "dog"),
        ("labels", "is_crowd", False),
        ("labels", "unit", "percent"),
        ("counts", "count", 4),
        ("problems", "detail", "z"),
    ],
)
def test_a_version_changes_with_any_row_of_its_photo_and_no_other(tmp_path, table, column, value):
    tables = many()
    changed = many()
    changed[table][4][column] = value
    versions = [
        versions_of(built(tmp_path, rows, fingerprint)) for rows, fingerprint in ((tables, "1"), (changed, "2"))
    ]
    assert {key for key in KEYS if versions[0][key] != versions[1][key]} == {tables[table][4]["key"]}


@pytest.mark.parametrize("table", ["labels", "counts", "problems"])
def test_a_version_changes_with_a_row_that_comes_or_goes(tmp_path, table):
    tables, fewer = many(), many()
    gone = fewer[table].pop(4)
    versions = [versions_of(built(tmp_path, rows, fingerprint)) for rows, fingerprint in ((tables, "1"), (fewer, "2"))]
    assert {key for key in KEYS if versions[0][key] != versions[1][key]} == {gone["key"]}


def test_where_a_label_stood_is_not_part_of_its_photo_s_version(tmp_path):
    tables, moved = many(), many()
    for row in moved["labels"]:
        row["position"] += 1_000
        row["where"] = "elsewhere"
    assert versions_of(built(tmp_path, tables, "1")) == versions_of(built(tmp_path, moved, "2"))


def test_a_folder_of_any_name_keeps_an_index(tmp_path):
    folder = tmp_path / "it's [new] * ?"
    assert built(folder, many()).shard([KEYS[3]]).labels(KEYS[3], 99, 99).is_labeled


def test_notes_are_counted_and_said_aloud(tmp_path, caplog):
    def build(writer: IndexWriter) -> None:
        for number in range(30):
            writer.note("strays", f"row {number}")

    index = open_index(tmp_path, "test", {"file": "1"}, build)
    assert index.notes() == {"strays": {"count": 30, "examples": [f"row {number}" for number in range(10)]}}
    assert "strays: 30, such as row 0; row 1; row 2" in caplog.text


def test_an_index_is_made_once_for_the_same_files_and_settings(tmp_path):
    made = []
    for reader, fingerprint in (("r", "1"), ("r", "1"), ("r", "2"), ("s", "1"), ("r", "1")):
        open_index(tmp_path, reader, {"file": fingerprint}, lambda _, what=(reader, fingerprint): made.append(what))
    assert made == [("r", "1"), ("r", "2"), ("s", "1")]


def test_a_reader_that_fails_leaves_nothing_and_may_try_again(tmp_path):
    def fail(writer: IndexWriter) -> None:
        writer.add("photos", pl.DataFrame([photo()]))
        raise SourceError("broken")

    with pytest.raises(SourceError, match="broken"):
        open_index(tmp_path, "test", {"file": "1"}, fail)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert built(tmp_path, many()).photos().collect().height == len(KEYS)


def test_two_that_ask_at_once_make_one_index(tmp_path):
    made, found, together = [], [], Barrier(2)

    def ask() -> None:
        together.wait()
        index = open_index(
            tmp_path,
            "test",
            {"file": "1"},
            lambda writer: (made.append(1), writer.add("photos", pl.DataFrame([photo()]))),
        )
        found.append(index.photos().collect().height)

    threads = [Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    assert found == [1, 1]


def test_problems_beyond_one_batch_are_all_kept(tmp_path):
    def build(writer: IndexWriter) -> None:
        writer.add("photos", pl.DataFrame([photo()]))
        for number in range(45_000):
            writer.problem("a", "label_malformed", f"row {number}")

    index = open_index(tmp_path, "test", {"file": "1"}, build)
    found = index.shard(["a"]).labels("a", 9, 9).problems
    assert len(set(found)) == len(found) == 45_000
    assert found[0] == LabelProblem("label_malformed", "row 0")
