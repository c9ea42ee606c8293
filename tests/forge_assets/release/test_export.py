"""Exports: each format holds the same pairs, whole or not at all."""

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from forge_assets.candidate_qa.templates import templates
from forge_assets.release.export import ExportError, export
from forge_assets.release.formats import FORMATS
from forge_assets.release.photos import export_photos
from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake
from forge_resources.warehouse import Warehouse


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def turns(line: dict[str, Any]) -> tuple[str, str]:
    human, gpt = line["conversations"]
    assert (human["from"], gpt["from"]) == ("human", "gpt")
    assert human["value"].startswith("<image>\n")
    assert human["value"].count("<image>") == 1
    return human["value"].removeprefix("<image>\n"), gpt["value"]


@pytest.mark.parametrize("name", ["qwen3_vl", "llava"])
def test_text_formats_keep_question_and_answer(
    name: str, warehouse: Warehouse, pairs: list[dict[str, Any]], tmp_path: Path
) -> None:
    export(warehouse, name, tmp_path / "train.jsonl")
    written = lines(tmp_path / "train.jsonl")
    assert [line["id"] for line in written] == [pair["qa_id"] for pair in pairs]
    assert [turns(line) for line in written] == [(pair["question"], pair["answer"]) for pair in pairs]
    assert {line["image"] for line in written} == {"demo/bus.jpg", "demo/people/zidane.jpg"}
    assert set(written[0]) == {"id", "image", "conversations"}
    boxes = [
        [item["bbox_2d"] for item in json.loads(turns(line)[1])]
        for line, pair in zip(written, pairs, strict=True)
        if pair["answer_kind"] == "bbox"
    ]
    assert boxes == [pair["boxes"] for pair in pairs if pair["answer_kind"] == "bbox"]


def test_internvl_boxes_come_back(warehouse: Warehouse, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    export(warehouse, "internvl", tmp_path / "train.jsonl")
    written = {line["id"]: line for line in lines(tmp_path / "train.jsonl")}
    for pair in pairs:
        line = written[pair["qa_id"]]
        assert (line["width"], line["height"]) == (pair["image_width"], pair["image_height"])
        question, answer = turns(line)
        if pair["answer_kind"] == "bbox":
            found = [
                (label, box)
                for label, boxes in re.findall(r"<ref>(.*?)</ref><box>(\[\[.*?\]\])</box>", answer)
                for box in json.loads(boxes)
            ]
            assert sorted(found) == sorted((i["label"], i["bbox_2d"]) for i in json.loads(pair["answer"]))
            assert answer == "".join(re.findall(r"<ref>.*?</ref><box>.*?</box>", answer))
        else:
            back = [text.replace("<box>[[", "[").replace("]]</box>", "]") for text in (question, answer)]
            assert back == [pair["question"], pair["answer"]]
            marked = [json.loads(boxes)[0] for boxes in re.findall(r"<box>(.*?)</box>", question)]
            assert marked == [box for box in pair["boxes"] if str(box) in pair["question"]]


def test_internvl_groups_boxes_by_label_in_order(warehouse: Warehouse, tmp_path: Path) -> None:
    export(warehouse, "internvl", tmp_path / "train.jsonl", where="task = 'grounding' AND split = 'val'")
    (line,) = lines(tmp_path / "train.jsonl")
    assert turns(line) == (
        "Find the people and the tie.",
        "<ref>person</ref><box>[[96, 274, 867, 988], [584, 57, 892, 988]]</box>"
        "<ref>tie</ref><box>[[341, 607, 409, 985]]</box>",
    )


def test_internvl_asks_none_of_our_templates_for_json(warehouse: Warehouse) -> None:
    slots = {"phrase": "the traffic light", "singular": "traffic light", "plural": "traffic lights", "color": "red"}
    asked = templates().filter(task="grounding").filter(pl.col("form").is_in(["one", "every", "every_colored"]))
    sentences = [question.format(**slots) for question in asked["question"]]
    warehouse.add_table("asked", pl.DataFrame({"question": sentences}).with_columns(answer_kind=pl.lit("bbox")))
    warehouse.add_table("pairs", warehouse.query("FROM asked").with_columns(boxes=pl.lit([[1, 2, 3, 4]])))
    for text in warehouse.query(f"SELECT {FORMATS['internvl'].question} AS text FROM pairs")["text"]:
        assert "json" not in text.lower()
        assert "traffic light" in text
        assert re.search(r"[\w\"][.?]$", text), text
        assert not re.search(r"\b(and|as|in|with|a)[.?]$", text), text


def test_only_regions_of_the_row_are_marked(lake: Lake, tmp_path: Path, builders: Any) -> None:
    question = "Is [1, 2, 3, 4] like [5, 6, 7, 8] and [5, 6, 7, 8]?"
    row = builders.pair_row("referring", builders.BUS, question, "no", [[5, 6, 7, 8]], "yes_no", score=0.1)
    builders.write(lake, "verified_qa", [row])
    with Warehouse(lake, SCHEMAS) as warehouse:
        export(warehouse, "internvl", tmp_path / "train.jsonl")
    marked = "<box>[[5, 6, 7, 8]]</box>"
    assert turns(lines(tmp_path / "train.jsonl")[0])[0] == f"Is [1, 2, 3, 4] like {marked} and {marked}?"


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_same_pairs_give_the_same_bytes(name: str, warehouse: Warehouse, tmp_path: Path) -> None:
    seen: list[int] = []
    first = export(warehouse, name, tmp_path / "a.jsonl", progress=seen.append)
    second = export(warehouse, name, tmp_path / "b.jsonl")
    assert first.sha256 == second.sha256 == hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest()
    assert seen == [6]
    manifest = json.loads((tmp_path / "a.export.json").read_text())
    assert manifest == {
        "format": name,
        "where": None,
        "split": None,
        "rows": 6,
        "rows_of_turned_photos": 0,
        "sha256": first.sha256,
    }


def test_selection_by_sql_and_split(warehouse: Warehouse, tmp_path: Path) -> None:
    where = "score > 0.15 -- a comment ends nothing but itself"
    assert export(warehouse, "llava", tmp_path / "a.jsonl", where=where).rows == 5
    assert export(warehouse, "llava", tmp_path / "a.jsonl", split="val").rows == 2


@pytest.mark.parametrize(
    ("name", "where", "split", "message"),
    [
        ("yolo", None, None, "unknown format 'yolo'; formats: internvl, llava, qwen3_vl"),
        ("llava", "score > 99", None, "no verified pair is selected"),
        ("llava", "scoer > 0", None, "scoer"),
        ("llava", "score >", None, "syntax error"),
        ("llava", "true); DROP TABLE partitions; --", None, "syntax error"),
        ("llava", None, "test", "unknown split 'test'"),
    ],
)
def test_what_cannot_be_exported_leaves_no_file(  # noqa: PLR0917
    name: str, where: str | None, split: str | None, message: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    target = tmp_path / "out" / "train.jsonl"
    with pytest.raises(ExportError, match=re.escape(message)):
        export(warehouse, name, target, where=where, split=split)
    assert not target.parent.exists() or list(target.parent.iterdir()) == []


def test_an_export_that_breaks_halfway_leaves_the_earlier_file(warehouse: Warehouse, tmp_path: Path) -> None:
    target = tmp_path / "train.jsonl"
    whole = export(warehouse, "llava", target)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(warehouse, "qwen3_vl", target, where="score > 0.2", progress=interrupt)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == whole.sha256
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["train.export.json", "train.jsonl"]


def test_text_that_a_format_reserves_is_refused(lake: Lake, tmp_path: Path, builders: Any) -> None:
    row = builders.pair_row("referring", builders.BUS, "What is it?", "The <image>.", [[1, 2, 3, 4]], "text")
    builders.write(lake, "verified_qa", [row])
    with Warehouse(lake, SCHEMAS) as warehouse, pytest.raises(ExportError, match=row["qa_id"]):
        export(warehouse, "qwen3_vl", tmp_path / "train.jsonl")


def test_a_pair_without_its_photo_is_refused(lake: Lake, tmp_path: Path, builders: Any) -> None:
    builders.write(lake, "raw_images", [])
    with Warehouse(lake, SCHEMAS) as warehouse, pytest.raises(ExportError, match="6 pairs have no photo in raw_images"):
        export(warehouse, "llava", tmp_path / "train.jsonl")


def test_partitions_whose_gate_failed_do_not_count(lake: Lake, tmp_path: Path, builders: Any) -> None:
    builders.write(lake, "verified_qa", builders.PAIRS, passed=False)
    with Warehouse(lake, SCHEMAS) as warehouse, pytest.raises(ExportError, match="no verified pair"):
        export(warehouse, "llava", tmp_path / "train.jsonl")


def test_text_of_all_scripts_and_quotes_survives(lake: Lake, tmp_path: Path, builders: Any) -> None:
    answer = 'the "5\\" 机器人 \u2028 naïve\nline'
    row = builders.pair_row("referring", builders.BUS, "What's at [1, 2, 3, 4]?", answer, [[1, 2, 3, 4]], "text")
    builders.write(lake, "verified_qa", [row])
    for name in FORMATS:
        with Warehouse(lake, SCHEMAS) as warehouse:
            export(warehouse, name, tmp_path / "train.jsonl")
        with (tmp_path / "train.jsonl").open(encoding="utf-8", newline="\n") as file:
            assert [turns(json.loads(line))[1] for line in file] == [answer]


def test_photos_are_written_where_the_export_names_them(lake: Lake, warehouse: Warehouse, tmp_path: Path) -> None:
    export(warehouse, "llava", tmp_path / "train.jsonl", split="val")
    assert export_photos(warehouse, lake, tmp_path / "images", split="val") == 1
    for line in lines(tmp_path / "train.jsonl"):
        with Image.open(tmp_path / "images" / line["image"]) as image:
            assert image.size == (1280, 720)


def test_photos_stored_turned_are_written_upright(lake: Lake, tmp_path: Path, builders: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (1080, 810), "red").save(buffer, format="JPEG", exif=exif)
    file = tmp_path / "turned.jpg"
    file.write_bytes(buffer.getvalue())
    builders.write(lake, "raw_images", [builders.photo_row(builders.BUS, file) | {"orientation": 6}])
    with Warehouse(lake, SCHEMAS) as warehouse:
        result = export(warehouse, "llava", tmp_path / "train.jsonl", split="train")
        export_photos(warehouse, lake, tmp_path / "images", split="train")
    assert result.rows_of_turned_photos == result.rows == 4
    with Image.open(tmp_path / "images/demo/bus.jpg") as image:
        assert image.size == (810, 1080)
        assert 0x0112 not in image.getexif()


@pytest.mark.parametrize("path", ["../../outside.jpg", "/tmp/outside.jpg"])
def test_photos_stay_in_their_folder(path: str, lake: Lake, tmp_path: Path, builders: Any) -> None:
    row = builders.photo_row(builders.BUS)
    builders.write(lake, "raw_images", [row | {"image": row["image"] | {"path": path}}])
    with Warehouse(lake, SCHEMAS) as warehouse, pytest.raises(ExportError, match="leads out of"):
        export_photos(warehouse, lake, tmp_path / "images", split="train")
