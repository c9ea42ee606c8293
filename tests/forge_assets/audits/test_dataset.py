"""Sets of others read into the columns of `verified_qa`, from small files as they are found."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from forge_assets.audits.dataset import open_dataset
from forge_assets.audits.dataset_files import DatasetError
from forge_assets.tables import VERIFIED_QA


def talk(*texts: str, **columns: Any) -> dict[str, Any]:
    turns = [{"from": "human" if i % 2 == 0 else "gpt", "value": text} for i, text in enumerate(texts)]
    return {"id": "7", "image": "a/b.jpg", "conversations": turns} | columns


def lines(file: Path, *rows: Any) -> Path:
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return file


def read(path: Path, as_: str = "llava") -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
    with open_dataset(path, as_) as dataset:
        pairs = dataset.pairs.collect()
        assert pairs.schema == pl.Schema(VERIFIED_QA)
        return pairs.to_dicts(), dataset.unreadable.select("row", "reason").rows()


def single(file: Path, row: dict[str, Any], as_: str = "llava") -> dict[str, Any]:
    (pair,), unreadable = read(lines(file, row), as_)
    assert unreadable == []
    return pair


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.jsonl"


def test_a_llava_conversation_of_several_turns_gives_a_pair_each(file: Path) -> None:
    row = talk("<image>\nHow many dogs are there?", "2", "Is one black?", "Yes, it is.", split="train", license="CC0")
    pairs, unreadable = read(lines(file, row))
    assert unreadable == []
    assert [(pair["question"], pair["answer"], pair["answer_kind"], pair["short_answer"]) for pair in pairs] == [
        ("How many dogs are there?", "2", "integer", "2"),
        ("Is one black?", "Yes, it is.", "yes_no", "Yes"),
    ]
    assert {pair["image_id"] for pair in pairs} == {"a/b.jpg"}
    assert (pairs[0]["task"], pairs[0]["level"], pairs[1]["task"]) == ("counting", "perception", None)
    assert (pairs[0]["split"], pairs[0]["license"]) == ("train", "CC0")
    assert (pairs[0]["source"], pairs[0]["shard"]) == ("some", "some")
    assert len({pair["qa_id"] for pair in pairs}) == 2


def test_the_same_pair_has_the_same_id_in_every_file(tmp_path: Path) -> None:
    ids = {single(tmp_path / f"{name}.jsonl", talk("Where?", "Here."))["qa_id"] for name in "ab"}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("form", "boxes"),
    [
        ("llava", [[100, 200, 300, 400]]),
        ("qwen3-vl", [[100, 200, 300, 400]]),
        ("spatialforge-10m", [[100, 200, 300, 400]]),
    ],
)
def test_boxes_come_from_the_text(file: Path, form: str, boxes: list[list[int]]) -> None:
    answer = '[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}]'
    pair = single(file, talk("<image>\nLocate every cat. Report bbox coordinates in JSON format.", answer), form)
    assert (pair["task"], pair["answer_kind"], pair["boxes"]) == ("grounding", "bbox", boxes)
    assert (pair["category"], pair["categories"], pair["answer"]) == ("cat", ["cat"], answer)
    assert pair["short_answer"] == answer


def test_boxes_of_llava_may_be_shares_of_the_photo(file: Path) -> None:
    pair = single(file, talk("Where is the cat?", "[0.1, 0.25, 0.5, 1.0]"))
    assert (pair["boxes"], pair["answer_kind"]) == ([[100, 250, 500, 1000]], "bbox")
    assert pair["short_answer"] == '[{"bbox_2d": [100, 250, 500, 1000]}]'


def test_boxes_of_a_question_are_read_too_and_each_once(file: Path) -> None:
    pair = single(file, talk("What is at [10, 20, 30, 40]?", "The cat at [10, 20, 30, 40]."), "qwen3-vl")
    assert (pair["boxes"], pair["answer_kind"], pair["task"]) == ([[10, 20, 30, 40]], "text", None)


def test_tags_of_internvl_become_phrases_and_boxes(file: Path) -> None:
    answer = "<ref>cat</ref><box>[[1, 2, 3, 4], [5, 6, 7, 8]]</box><ref>dog</ref><box>[[9, 10, 11, 12]]</box>"
    row = talk("<image>\nIs <ref>the bus</ref> near <box>[[1, 2, 3, 4]]</box>?", answer, width=640, height=480)
    pair = single(file, row, "internvl")
    assert pair["question"] == "Is the bus near [1, 2, 3, 4]?"
    assert json.loads(pair["answer"]) == [
        {"bbox_2d": [1, 2, 3, 4], "label": "cat"},
        {"bbox_2d": [5, 6, 7, 8], "label": "cat"},
        {"bbox_2d": [9, 10, 11, 12], "label": "dog"},
    ]
    assert (pair["boxes"], pair["categories"]) == ([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], ["cat", "cat", "dog"])
    assert (pair["image_width"], pair["image_height"], pair["answer_kind"]) == (640, 480, "bbox")


def test_boxes_of_qwen2_5_vl_are_pixels_of_the_resized_photo(file: Path) -> None:
    row = talk("Where is it?", '[{"bbox_2d": [64, 48, 322, 239], "label": "cat"}]', width=640, height=480)
    pair = single(file, row, "qwen2.5-vl")
    assert pair["boxes"] == [[99, 101, 500, 502]], "644 x 476 pixels: 23 x 17 patches"
    pairs, unreadable = read(lines(file, talk("Where is it?", "[64, 48, 322, 239]")), "qwen2.5-vl")
    assert pairs[0]["boxes"] == []
    assert unreadable == [
        (1, "turn 1: boxes are in pixels, and no width and height of the photo stand beside them"),
    ]


def test_messages_with_parts_are_read(file: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image", "image": "x.jpg"}, {"type": "text", "text": "Which colour?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Red."}]},
    ]
    pair = single(file, {"messages": messages, "images": ["x.jpg"]}, "qwen3-vl")
    assert (pair["question"], pair["answer"], pair["image_id"]) == ("Which colour?", "Red.", "x.jpg")


def test_options_are_read_where_they_are_shown(file: Path) -> None:
    lettered = single(file, talk("<image>\nWhich is nearer to the camera?\nA. the cat\nB. the dog", "B"))
    assert (lettered["choices"], lettered["short_answer"]) == (["the cat", "the dog"], "the dog")
    assert (lettered["answer_kind"], lettered["task"]) == ("choice", "near_far")
    listed = single(file, talk("What is the number of cats: 2, 3 or 4?", "3"))
    assert (listed["choices"], listed["short_answer"], listed["answer_kind"]) == (["2", "3", "4"], "3", "choice")
    free = single(file, talk("Which is it: a cat or a dog?", "A cow."))
    assert (free["choices"], free["answer_kind"]) == (None, "text")


def test_a_number_in_a_sentence_counts_where_a_number_was_asked(file: Path) -> None:
    counted = single(file, talk("How many cats are there?", "There are 12 cats."))
    assert (counted["answer_kind"], counted["short_answer"], counted["task"]) == ("integer", "12", "counting")
    told = single(file, talk("What do you see?", "12 cats."))
    assert told["answer_kind"] == "text"


def test_the_task_comes_from_the_row_then_from_the_file_name(tmp_path: Path) -> None:
    row = {"question": "Which is it?", "answer": "That one.", "image_id": "o/1"}
    named = tmp_path / "spatialforge_near-far_train.jsonl"
    pairs, unreadable = read(
        lines(named, row, row | {"task": "Left Right"}, row | {"task": "riddle"}), "spatialforge-10m"
    )
    assert unreadable == []
    assert [(pair["task"], pair["form"], pair["level"]) for pair in pairs] == [
        ("near_far", None, "relation"),
        ("left_right", "Left Right", "relation"),
        ("near_far", "riddle", "relation"),
    ]
    assert {pair["split"] for pair in pairs} == {"train"}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('{"id": 1, "conversations": [', "broken JSON"),
        ("[1, 2]", "not an object but array"),
        ({"id": 1}, "no conversations or messages, nor question and answer"),
        ({"conversations": "hello"}, "the conversation is not a list but varchar"),
        ({"conversations": None}, "the conversation is not a list but null"),
        ({"conversations": []}, "the conversation has no turn"),
        (talk("Who?"), "turn 1 has no answer"),
        (talk("Who?", ""), "turn 2 is empty"),
        ({"conversations": [{"from": "gpt", "value": "Me."}]}, "turn 1 answers no question"),
        ({"conversations": [{"value": "Me."}]}, "turn 1 does not say from whom it is"),
        ({"conversations": ["a"]}, "turn 1 is not an object but varchar"),
        (
            {"conversations": [{"from": "bird", "value": "?"}]},
            "turn 1 is from bird, not from human, gpt, user, assistant or system",
        ),
        ({"conversations": [{"from": "human", "value": 5}]}, "turn 1 has no text"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_with_its_reason_and_the_others_are_read(
    file: Path, broken: Any, reason: str
) -> None:
    pairs, unreadable = read(lines(file, talk("a?", "b"), broken, "", talk("c?", "d")))
    assert [pair["question"] for pair in pairs] == ["a?", "c?"]
    assert unreadable == [(2, reason)]


def test_whole_pairs_of_a_half_broken_conversation_are_read(file: Path) -> None:
    pairs, unreadable = read(lines(file, talk("a?", "b", "c?")))
    assert [pair["question"] for pair in pairs] == ["a?"]
    assert unreadable == [(1, "turn 3 has no answer")]


def test_boxes_that_cannot_be_are_named(file: Path) -> None:
    pairs, unreadable = read(
        lines(file, talk("Where?", "[10, 10, 20, 20] [30, 30, 30, 40] [1, 2, 1016, 4]")), "qwen3-vl"
    )
    assert pairs[0]["boxes"] == [[10, 10, 20, 20]]
    assert unreadable == [(1, "turn 1: boxes outside of the photo or without area: 2")]


def test_text_that_is_not_utf_8_is_named(file: Path) -> None:
    file.write_bytes(b'{"question": "\xff\xfe", "answer": "a"}\n' + json.dumps(talk("a?", "b")).encode())
    pairs, unreadable = read(file)
    assert len(pairs) == 1
    assert unreadable == [(1, "not UTF-8 text")]


def test_an_empty_file_is_named(file: Path) -> None:
    file.touch()
    assert read(file) == ([], [(None, "the file is empty")])


def test_a_json_array_is_read_and_a_broken_one_says_how_far(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    file.write_text(json.dumps([talk("a?", "b"), 5, talk("c?", "d")], indent=2))
    pairs, unreadable = read(file)
    assert [pair["question"] for pair in pairs] == ["a?", "c?"]
    assert unreadable == [(2, "not an object but ubigint")]
    file.write_text(json.dumps([talk("a?", "b")])[:-1] + ", {")
    _, ((row, reason),) = read(file)
    assert row is None
    assert reason.startswith("the file cannot be read after row")


def test_a_folder_of_mixed_files_is_read_in_order_of_names(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", talk("a?", "b"), "broken")
    (tmp_path / "b.json").write_text(json.dumps([talk("c?", "d")]))
    nested = tmp_path / "deep" / "c.parquet"
    nested.parent.mkdir()
    pl.DataFrame([talk("e?", "f") | {"picture": b"\x00\xff"}]).write_parquet(nested)
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no table")
    (tmp_path / "README.md").write_text("not data")
    with open_dataset(tmp_path, "llava") as dataset:
        assert dataset.pairs.select("question", "shard").collect().rows() == [("a?", "a"), ("c?", "b"), ("e?", "c")]
        faults = [(Path(file).name, row) for file, row, _ in dataset.unreadable.rows()]
        assert faults == [("a.jsonl", 2), ("d.parquet", None)]
        kept = dataset.path
    assert not kept.exists(), "close removes the temporary file"
    pairs, _ = read(tmp_path / "*.jsonl")
    assert [pair["question"] for pair in pairs] == ["a?"]


def test_a_parquet_set_with_question_and_answer_columns_is_read(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"question": ["How many?", None], "answer": ["3", "4"], "image_id": ["o/1", "o/2"], "width": [9, 9]}
    )
    table.write_parquet(tmp_path / "counting.parquet")
    (pair,), unreadable = read(tmp_path / "counting.parquet", "spatialforge-10m")
    assert (pair["task"], pair["short_answer"], pair["image_width"]) == ("counting", "3", 9)
    assert unreadable == [(2, "no conversations or messages, nor question and answer")]


def test_rows_beyond_one_batch_keep_their_numbers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forge_assets.audits.dataset_files.BATCH_ROWS", 10)
    pairs, unreadable = read(lines(file, *(talk(f"{i}?", "b") if i != 25 else "broken" for i in range(40))))
    assert [pair["question"] for pair in pairs] == [f"{i}?" for i in range(40) if i != 25]
    assert unreadable == [(26, "broken JSON")]


def test_an_unknown_form_and_a_path_without_data_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="unknown form 'lava' of a data set; forms: llava, sharegpt, qwen3-vl"):
        open_dataset(tmp_path, "lava")
    with pytest.raises(DatasetError, match=r"no .json, .jsonl, .ndjson, .parquet file at"):
        open_dataset(tmp_path, "llava")
    with pytest.raises(DatasetError, match="name a file, a folder or a pattern"):
        open_dataset(tmp_path / "none.jsonl", "llava")
