"""Round trips: what the real consumers read back is what the lake holds, boxes within rounding."""

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import duckdb
import polars as pl
import pytest
import webdataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forge_assets.candidate_qa.templates import templates
from forge_assets.release import qwen2_5_vl
from forge_assets.release.export import ExportError, ExportManifest
from forge_assets.release.formats import FORMATS
from forge_assets.release.selection import Selection
from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake
from forge_resources.warehouse import Warehouse

Export = Callable[..., ExportManifest]


@pytest.fixture
def read(export: Export, tmp_path: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """Export to one file and read it as trainers do: lines by pair, with `question` and `answer`."""

    def run(name: str, selection: Selection | None = None, **options: Any) -> dict[str, dict[str, Any]]:
        export(name, tmp_path / f"{name}.jsonl", selection, overwrite=True, **options)
        found: dict[str, dict[str, Any]] = {}
        for text in (tmp_path / f"{name}.jsonl").read_text().splitlines():
            line = json.loads(text)
            human, gpt = line["conversations"]
            assert (human["from"], gpt["from"]) == ("human", "gpt")
            assert human["value"].startswith("<image>\n")
            assert human["value"].count("<image>") == 1
            found[line["id"]] = line | {"question": human["value"].removeprefix("<image>\n"), "answer": gpt["value"]}
        return found

    return run


def boxes_in(text: str) -> list[list[int]]:
    return [json.loads(found) for found in re.findall(r"\[\d+, \d+, \d+, \d+\]", text)]


# --- text formats


@pytest.mark.parametrize("name", ["qwen3-vl", "llava"])
def test_text_formats_keep_question_answer_and_boxes(name: str, read: Any, pairs: list[dict[str, Any]]) -> None:
    written = read(name)
    assert list(written) == [pair["qa_id"] for pair in pairs]
    told = [(line["question"], line["answer"]) for line in written.values()]
    assert told == [(pair["question"], pair["answer"]) for pair in pairs]
    assert {line["image"] for line in written.values()} == {"demo/bus.jpg", "demo/people/zidane.jpg"}
    for pair in pairs:
        if pair["answer_kind"] == "bbox":
            assert [item["bbox_2d"] for item in json.loads(written[pair["qa_id"]]["answer"])] == pair["boxes"]


def test_internvl_boxes_come_back(read: Any, pairs: list[dict[str, Any]]) -> None:
    written = read("internvl")
    for pair in pairs:
        line = written[pair["qa_id"]]
        assert (line["width"], line["height"]) == (pair["image_width"], pair["image_height"])
        question, answer = line["question"], line["answer"]
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


def test_internvl_groups_boxes_by_label_in_order(read: Any) -> None:
    (line,) = read("internvl", Selection("task = 'grounding'", "val")).values()
    assert line["question"] == "Find the people and the tie."
    assert line["answer"] == (
        "<ref>person</ref><box>[[96, 274, 867, 988], [584, 57, 892, 988]]</box>"
        "<ref>tie</ref><box>[[341, 607, 409, 985]]</box>"
    )


def test_internvl_keeps_the_sentence_around_boxes(read: Any, lake: Lake, builders: Any) -> None:
    short = builders.grounding_answer(("bus", builders.BUS_BOX))
    row = builders.pair_row(
        "grounding", builders.BUS, "Find the bus.", f"Here it is: {short}", [builders.BUS_BOX], "bbox"
    )
    builders.write(lake, "verified_qa", [row | {"short_answer": short}])
    (line,) = read("internvl").values()
    assert line["answer"] == "Here it is: <ref>bus</ref><box>[[27, 214, 994, 700]]</box>"
    (line,) = read("internvl", answers="short").values()
    assert line["answer"] == "<ref>bus</ref><box>[[27, 214, 994, 700]]</box>"
    builders.write(lake, "verified_qa", [row | {"short_answer": "[]"}])
    with pytest.raises(ExportError, match="1 pairs have no question or answer in internvl"):
        read("internvl")


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


def test_only_regions_of_the_row_are_marked(read: Any, lake: Lake, builders: Any) -> None:
    question = "Is [1, 2, 3, 4] like [5, 6, 7, 8] and [5, 6, 7, 8]?"
    row = builders.pair_row("referring", builders.BUS, question, "no", [[5, 6, 7, 8]], "yes_no", score=0.1)
    builders.write(lake, "verified_qa", [row])
    marked = "<box>[[5, 6, 7, 8]]</box>"
    assert read("internvl")[row["qa_id"]]["question"] == f"Is [1, 2, 3, 4] like {marked} and {marked}?"


# --- Qwen2.5-VL


def test_qwen2_5_boxes_are_pixels_of_the_resized_photo(read: Any, pairs: list[dict[str, Any]]) -> None:
    written = read("qwen2.5-vl")
    resized = {(810, 1080): (812, 1092), (1280, 720): (1288, 728)}
    for pair in pairs:
        line = written[pair["qa_id"]]
        width, height = resized[pair["image_width"], pair["image_height"]]
        for side in ("question", "answer"):
            assert re.sub(r"\d+", "n", line[side]) == re.sub(r"\d+", "n", pair[side])
            for found, box in zip(boxes_in(line[side]), boxes_in(pair[side]), strict=True):
                back = [round(v * 1000 / s) for v, s in zip(found, (width, height) * 2, strict=True)]
                assert all(abs(a - b) <= 1 for a, b in zip(back, box, strict=True))
                assert found != box
        if pair["task"] == "counting":
            assert line["answer"] == pair["answer"]


def test_qwen2_5_points_are_pixels_and_no_box_is_turned_twice(read: Any, lake: Lake, builders: Any) -> None:
    """The photo is resized to 812 x 1092, so 100 becomes 81 and 109, and the second box reads as the first one did."""
    boxes = [[100, 100, 200, 200], [81, 109, 162, 218]]
    question = "Is the dog at [100, 100, 200, 200], the cat at [81, 109, 162, 218] or the cup at the point [500, 250]?"
    row = builders.pair_row("near_far", builders.BUS, question, "the cup at the point [500, 250]", boxes)
    builders.write(lake, "verified_qa", [row])
    (line,) = read("qwen2.5-vl").values()
    assert line["question"] == (
        "Is the dog at [81, 109, 162, 218], the cat at [66, 119, 132, 238] or the cup at the point [406, 273]?"
    )
    assert line["answer"] == "the cup at the point [406, 273]"


def test_qwen2_5_limits_can_be_set(read: Any) -> None:
    (line,) = read("qwen2.5-vl", Selection("task = 'referring'"), min_pixels=1, max_pixels=28 * 28 * 4).values()
    assert "[1, 12, 28, 39]" in line["question"]


def test_qwen2_5_refuses_what_its_processor_refuses(read: Any, lake: Lake, builders: Any) -> None:
    row = builders.pair_row("counting", builders.BUS, "How many?", "1", [[1, 2, 3, 4]], "integer")
    builders.write(lake, "verified_qa", [row | {"image_width": 2010, "image_height": 10}])
    with pytest.raises(ExportError, match=r"1 pairs have no question or answer in qwen2\.5-vl"):
        read("qwen2.5-vl")


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


SIDE = st.integers(1, 20_000)


@settings(deadline=None)
@given(width=SIDE, height=SIDE, limits=st.sampled_from([(3136, 1_003_520), (784, 50_176), (200_704, 12_845_056)]))
def test_sizes_are_those_of_the_processor(
    width: int, height: int, limits: tuple[int, int], connection: duckdb.DuckDBPyConnection
) -> None:
    processor = importlib.import_module("transformers.models.qwen2_vl.image_processing_qwen2_vl")
    derived = ", ".join(f"{sql} AS {name}" for name, sql in qwen2_5_vl.resized(*limits).items())
    found = connection.execute(
        f"SELECT resized_height, resized_width FROM (SELECT *, {derived} FROM "
        f"(SELECT {width}::INTEGER AS image_width, {height}::INTEGER AS image_height))"
    ).fetchone()
    if max(width, height) > 200 * min(width, height):
        assert found == (None, None)
    else:
        assert found == processor.smart_resize(height, width, 28, *limits)


@st.composite
def some_boxes(draw: st.DrawFn) -> list[list[int]]:
    edges = st.lists(st.integers(0, 1000), min_size=2, max_size=2, unique=True).map(sorted)
    count = draw(st.integers(1, 4))
    return [[x1, y1, x2, y2] for (x1, x2), (y1, y2) in ((draw(edges), draw(edges)) for _ in range(count))]


@settings(deadline=None)
@given(boxes=some_boxes(), width=st.integers(28, 4000), height=st.integers(28, 4000))
def test_boxes_in_pixels_come_back(
    boxes: list[list[int]], width: int, height: int, connection: duckdb.DuckDBPyConnection
) -> None:
    assume(max(width, height) <= 200 * min(width, height))
    text = "Which of " + " and ".join(map(str, boxes)) + "?"
    derived = ", ".join(f"{sql} AS {name}" for name, sql in qwen2_5_vl.resized().items())
    connection.execute(
        f"CREATE OR REPLACE TABLE pairs AS SELECT *, {derived} FROM (SELECT {width}::INTEGER AS image_width, "
        f"{height}::INTEGER AS image_height, {boxes}::INTEGER[4][] AS boxes, '{text}' AS question)"
    )
    written, to_x, to_y = connection.execute(
        f"SELECT {qwen2_5_vl.FORMAT.question}, resized_width, resized_height FROM pairs"
    ).fetchone() or ("", 0, 0)
    found = boxes_in(written)
    assert len(found) == len(boxes)
    for pixels, box in zip(found, boxes, strict=True):
        for value, thousandths, side in zip(pixels, box, (to_x, to_y, to_x, to_y), strict=True):
            assert 0 <= value <= side
            assert abs(value * 1000 / side - thousandths) <= 500 / side + 1e-9
        assert pixels[0] <= pixels[2]
        assert pixels[1] <= pixels[3]


# --- Hugging Face datasets


def as_lists(boxes: Any) -> list[list[int]]:
    return [list(box) for box in boxes]


@pytest.mark.parametrize("images", [None, "none", "copy"])
def test_datasets_reads_all_pairs_and_photos(
    images: str | None, export: Export, pairs: list[dict[str, Any]], tmp_path: Path
) -> None:
    export("hf", tmp_path / "out", shard_rows=2, images=images)
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {str(split): part.num_rows for split, part in loaded.items()} == {"train": 4, "val": 2}
    rows = {row["qa_id"]: row for part in loaded.values() for row in part}
    for pair in pairs:
        row = rows[pair["qa_id"]]
        for name in ("task", "question", "answer", "answer_kind", "choices", "image_id", "split", "license", "score"):
            assert row[name] == pair[name]
        assert as_lists(row["boxes"]) == pair["boxes"]
        if images is None:
            assert row["image"].size == (pair["image_width"], pair["image_height"])
        else:
            assert row["image"] == pair["image_id"] + ".jpg"
    if images is None:
        assert isinstance(loaded["train"].features["image"], datasets.Image)


def test_datasets_reads_one_task(export: Export, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    export("hf", tmp_path / "out")
    path = str(tmp_path / "out")
    assert sorted(datasets.get_dataset_config_names(path)) == sorted({"all", *(pair["task"] for pair in pairs)})
    loaded = datasets.load_dataset(path, "grounding", split="val", cache_dir=str(tmp_path / "cache"))
    assert [row["task"] for row in loaded] == ["grounding"]


# --- webdataset


@pytest.mark.parametrize("images", [None, "none"])
def test_webdataset_reads_a_sample_a_photo(
    images: str | None, export: Export, pairs: list[dict[str, Any]], tmp_path: Path
) -> None:
    manifest = export("webdataset", tmp_path / "out", images=images)
    urls = [str(tmp_path / "out" / file.path) for file in manifest.files]
    assert manifest.rows == len(urls) == 2
    decoded = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode("pil")
    samples = {sample["json"]["image_id"]: sample for sample in decoded}
    assert set(samples) == {"demo/bus", "demo/people/zidane"}
    read = [pair | {"image_id": name} for name, sample in samples.items() for pair in sample["json"]["pairs"]]
    for pair, found in zip(pairs, read, strict=True):
        for name in ("image_id", "qa_id", "task", "question", "answer", "choices", "boxes", "score"):
            assert found[name] == pair[name]
    for sample in samples.values():
        about = sample["json"]
        if images is None:
            assert sample["jpg"].size == (about["width"], about["height"])
        else:
            assert "jpg" not in sample


def test_photos_of_all_sizes_keep_their_pairs(lake: Lake, export: Export, tmp_path: Path, builders: Any) -> None:
    """More photos than are held at once."""
    photo, row = builders.photo_row(builders.BUS), builders.PAIRS[0]
    ids = [f"demo/{number:03d}" for number in range(100)]
    builders.write(lake, "raw_images", [photo | {"image_id": image_id} for image_id in ids])
    builders.write(lake, "verified_qa", [row | {"image_id": image_id, "qa_id": image_id} for image_id in ids])
    manifest = export("webdataset", tmp_path / "tar", shard_rows=40)
    assert [file.rows for file in manifest.files] == [40, 40, 20]
    export("hf", tmp_path / "hf", shard_rows=40)
    found = pl.read_parquet(tmp_path / "hf/grounding/*.parquet", columns=["qa_id"])
    assert sorted(found["qa_id"]) == ids


def test_the_tables_of_the_contract_have_what_exports_read() -> None:
    assert {"short_answer", "boxes", "image_width", "image_height"} <= set(SCHEMAS["verified_qa"])
