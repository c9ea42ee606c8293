"""Exports: each holds the same pairs, whole or not at all."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from forge_assets.release.export import ExportError, ExportManifest, ExportOptions, write_export
from forge_assets.release.formats import FORMATS
from forge_assets.release.photos import PhotoError
from forge_assets.release.selection import Selection, select_pairs
from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake
from forge_resources.warehouse import Warehouse

Export = Callable[..., ExportManifest]
LINES = sorted(name for name, training_format in FORMATS.items() if training_format.layout == "lines")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "lake")


# --- the same pairs, the same bytes


@pytest.mark.parametrize("name", LINES)
def test_a_file_and_its_manifest_say_what_was_written(name: str, export: Export, tmp_path: Path) -> None:
    seen: list[int] = []
    first = export(name, tmp_path / "a.jsonl", progress=seen.append)
    second = export(name, tmp_path / "b.jsonl")
    data = (tmp_path / "a.jsonl").read_bytes()
    assert data == (tmp_path / "b.jsonl").read_bytes()
    assert first.files[0].sha256 == second.files[0].sha256 == hashlib.sha256(data).hexdigest()
    assert (first.files[0].path, first.files[0].rows, first.files[0].size) == ("a.jsonl", 6, len(data))
    assert seen == [6]
    assert ExportManifest.model_validate_json((tmp_path / "a.export.json").read_text()) == first
    assert (first.format, first.pairs, first.rows, first.photos) == (name, 6, 6, 2)
    assert sum(row["pairs"] for row in first.counts) == 6
    assert list(first.inputs) == ["demo/s00000"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_has_the_same_bytes_each_time(name: str, export: Export, tmp_path: Path) -> None:
    manifest = export(name, tmp_path / "a", shard_rows=2)
    export(name, tmp_path / "b", shard_rows=2)
    written = contents(tmp_path / "a")
    assert written == contents(tmp_path / "b")
    assert sorted(written) == sorted(["manifest.json", *(file.path for file in manifest.files)])
    for file in manifest.files:
        assert file.sha256 == hashlib.sha256(written[file.path]).hexdigest()
    assert names(tmp_path) == ["a", "b"]


def test_files_of_a_folder_are_parted_by_split_and_rows(export: Export, tmp_path: Path) -> None:
    manifest = export("llava", tmp_path / "out", shard_rows=3)
    assert [(file.path, file.rows) for file in manifest.files] == [
        ("train-00000-of-00002.jsonl", 3),
        ("train-00001-of-00002.jsonl", 1),
        ("val-00000-of-00001.jsonl", 2),
    ]


def test_a_json_file_is_one_array(export: Export, tmp_path: Path) -> None:
    export("llava", tmp_path / "train.json")
    export("llava", tmp_path / "train.jsonl", overwrite=True)
    assert json.loads((tmp_path / "train.json").read_text()) == lines(tmp_path / "train.jsonl")


def test_many_partitions_come_in_their_order(lake: Lake, export: Export, tmp_path: Path, builders: Any) -> None:
    for shard in ("s00002", "s00001"):
        key = builders.ShardKey("demo", shard)
        photo = builders.photo_row(builders.BUS) | {"image_id": f"demo/{shard}", "shard": shard}
        rows = [
            builders.pair_row("counting", builders.BUS, f"How many {n}?", "1", [[1, 2, 3, 4]], "integer", score=0.1)
            | {"image_id": f"demo/{shard}", "shard": shard, "qa_id": f"{shard}-{n}"}
            for n in range(3)
        ]
        builders.write(lake, "raw_images", [photo], key)
        builders.write(lake, "verified_qa", rows, key)
    export("llava", tmp_path / "train.jsonl")
    ids = [line["id"][:6] for line in lines(tmp_path / "train.jsonl")]
    assert ids[6:] == ["s00001"] * 3 + ["s00002"] * 3


def test_versions_of_all_stages_are_told(lake: Lake, export: Export, tmp_path: Path, builders: Any) -> None:
    rows = lake.scan("verified_qa", builders.KEY).collect()
    manifest = lake.write("verified_qa", builders.KEY, rows, SCHEMAS["verified_qa"], versions={"code": "7"})
    verdict = builders.Verdict(
        gate="g", content_hash=manifest.content_hash, suite_hash="0", outcome="passed", rows=manifest.rows
    )
    lake.write_verdict("verified_qa", builders.KEY, verdict)
    assert export("llava", tmp_path / "train.jsonl").versions == {"verified_qa": {"code": ["7"]}}


# --- conversations


def test_pairs_of_a_photo_become_one_conversation(export: Export, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    export("qwen3-vl", tmp_path / "train.jsonl", max_turns=3)
    written = lines(tmp_path / "train.jsonl")
    assert [len(line["conversations"]) for line in written] == [6, 2, 4]
    assert [qa_id for line in written for qa_id in line["ids"]] == [pair["qa_id"] for pair in pairs]
    for line in written:
        assert line["id"] == line["ids"][0]
        assert [turn["from"] for turn in line["conversations"]] == ["human", "gpt"] * len(line["ids"])
        assert [turn["value"].count("<image>") for turn in line["conversations"]] == [1] + [0] * (
            2 * len(line["ids"]) - 1
        )
    told = [turn["value"].removeprefix("<image>\n") for line in written for turn in line["conversations"]]
    assert told == [text for pair in pairs for text in (pair["question"], pair["answer"])]


def test_short_answers_are_taken_where_they_are_asked_for(
    lake: Lake, export: Export, tmp_path: Path, builders: Any
) -> None:
    row = builders.pair_row("counting", builders.BUS, "How many?", "There are 3 people.", [], "integer", score=0.1)
    builders.write(lake, "verified_qa", [row | {"short_answer": "3"}])
    export("llava", tmp_path / "full.jsonl")
    export("llava", tmp_path / "short.jsonl", answers="short")
    assert lines(tmp_path / "full.jsonl")[0]["conversations"][1]["value"] == "There are 3 people."
    assert lines(tmp_path / "short.jsonl")[0]["conversations"][1]["value"] == "3"


@pytest.mark.parametrize("name", FORMATS)
def test_text_of_all_scripts_and_quotes_survives(
    name: str, lake: Lake, export: Export, tmp_path: Path, builders: Any
) -> None:
    answer = 'the "5\\" 机器人 \u2028 naïve\nline'
    row = builders.pair_row(
        "referring", builders.BUS, "What's at [1, 2, 3, 4]?", answer, [[1, 2, 3, 4]], "text", score=0.1
    )
    builders.write(lake, "verified_qa", [row])
    export(name, tmp_path / "out")
    for path in (tmp_path / "out").rglob("train-*.jsonl"):
        with path.open(encoding="utf-8", newline="\n") as file:
            assert [json.loads(line)["conversations"][1]["value"] for line in file] == [answer]


# --- photos


def test_photos_are_copied_where_the_export_names_them(export: Export, tmp_path: Path) -> None:
    manifest = export("llava", tmp_path / "train.jsonl", Selection(split="val"), images="copy")
    for line in lines(tmp_path / "train.jsonl"):
        with Image.open(tmp_path / "train.images" / line["image"]) as image:
            assert image.size == (1280, 720)
    sums = (tmp_path / "train.images" / "SHA256SUMS").read_text()
    digest = hashlib.sha256((tmp_path / "train.images/demo/people/zidane.jpg").read_bytes()).hexdigest()
    assert sums == f"{digest}  demo/people/zidane.jpg\n"
    assert manifest.files[1].path == "train.images/SHA256SUMS"


def test_photos_are_linked_to_their_source(export: Export, tmp_path: Path, builders: Any) -> None:
    folder = tmp_path / "photos"
    (folder / "people").mkdir(parents=True)
    (folder / "bus.jpg").write_bytes(builders.photo_file(builders.BUS).read_bytes())
    (folder / "people/zidane.jpg").write_bytes(builders.photo_file(builders.ZIDANE).read_bytes())
    export("qwen2.5-vl", tmp_path / "out", images="link", source_folders={"demo": folder})
    linked = tmp_path / "out/images/demo/people/zidane.jpg"
    assert linked.is_symlink()
    assert linked.resolve() == folder / "people/zidane.jpg"
    (folder / "bus.jpg").write_bytes(b"another")
    with pytest.raises(PhotoError, match="has changed since it was read"):
        export("llava", tmp_path / "again", images="link", source_folders={"demo": folder})
    (folder / "bus.jpg").unlink()
    with pytest.raises(PhotoError, match="not there to be linked to"):
        export("llava", tmp_path / "again", images="link", source_folders={"demo": folder})
    with pytest.raises(ExportError, match="photos of demo do not lie in a folder"):
        export("llava", tmp_path / "again", images="link")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("images", ["copy", "link"])
def test_photos_stored_turned_are_written_upright(
    images: str, lake: Lake, export: Export, tmp_path: Path, builders: Any
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (1080, 810), "red").save(buffer, format="JPEG", exif=exif)
    file = tmp_path / "turned.jpg"
    file.write_bytes(buffer.getvalue())
    builders.write(lake, "raw_images", [builders.photo_row(builders.BUS, file) | {"orientation": 6}])
    manifest = export("llava", tmp_path / "out", Selection(split="train"), images=images)
    assert manifest.pairs_of_turned_photos == manifest.pairs == 4
    with Image.open(tmp_path / "out/images/demo/bus.jpg") as image:
        assert image.size == (810, 1080)
        assert 0x0112 not in image.getexif()


@pytest.mark.parametrize("path", ["../../outside.jpg", "/tmp/outside.jpg"])
def test_photos_stay_in_their_folder(path: str, lake: Lake, export: Export, tmp_path: Path, builders: Any) -> None:
    row = builders.photo_row(builders.BUS)
    builders.write(lake, "raw_images", [row | {"image": row["image"] | {"path": path}}])
    with pytest.raises(PhotoError, match="leads out of"):
        export("llava", tmp_path / "out", Selection(split="train"), images="copy")
    assert names(tmp_path) == []


# --- what cannot be written


@pytest.mark.parametrize(
    ("name", "output", "options", "message"),
    [
        ("yolo", "x", {}, "unknown format 'yolo'; formats: qwen3-vl, qwen2.5-vl, internvl, llava, hf, webdataset"),
        ("hf", "x.jsonl", {}, "hf is a folder of files"),
        ("webdataset", "x.json", {}, "webdataset is a folder of files"),
        ("llava", "x", {"images": "include"}, "llava cannot include photos: use --images copy"),
        ("hf", "x", {"max_turns": 2}, "hf has pairs, not conversations"),
        ("llava", "x", {"max_turns": 0}, "conversations of 0 turns"),
        ("llava", "x", {"shard_rows": 0}, "files of 0 rows"),
        ("qwen2.5-vl", "x", {"min_pixels": 100, "max_pixels": 99}, "leave no size"),
    ],
)
def test_options_that_do_not_go_together_are_refused(  # noqa: PLR0917
    name: str, output: str, options: dict[str, Any], message: str, export: Export, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=re.escape(message)):
        export(name, tmp_path / output, **options)
    assert names(tmp_path) == []


@pytest.mark.parametrize("output", ["train", "train.jsonl"])
def test_what_is_there_is_replaced_only_when_asked(output: str, export: Export, tmp_path: Path) -> None:
    export("llava", tmp_path / output, images="copy")
    before = contents(tmp_path)
    with pytest.raises(ExportError, match="is there already: name another output, or replace it with --overwrite"):
        export("llava", tmp_path / output, Selection(split="val"))
    assert contents(tmp_path) == before
    manifest = export("llava", tmp_path / output, Selection(split="val"), images="copy", overwrite=True)
    assert manifest.pairs == 2
    assert not list(tmp_path.rglob("bus.jpg"))
    assert not [name for name in names(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("output", ["train", "train.jsonl"])
def test_an_export_that_breaks_halfway_leaves_the_earlier_one(output: str, export: Export, tmp_path: Path) -> None:
    export("llava", tmp_path / output)
    before = contents(tmp_path)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export("qwen3-vl", tmp_path / output, overwrite=True, progress=interrupt)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("name", "output"), [("llava", "x.jsonl"), ("hf", "x"), ("webdataset", "x")])
@pytest.mark.usefixtures("lake")
def test_a_full_disk_leaves_nothing(name: str, output: str, tmp_path: Path) -> None:
    script = f"""
import resource, sys
from pathlib import Path
from forge_assets.release.export import ExportError, ExportOptions, write_export
from forge_assets.release.selection import Selection, select_pairs
from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake
from forge_resources.warehouse import Warehouse
lake = Lake(Path({str(tmp_path / "lake")!r}))
with Warehouse(lake, SCHEMAS) as warehouse:
    selected = select_pairs(warehouse, lake, Selection())
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    try:
        write_export(warehouse, lake, selected, {name!r}, Path({str(tmp_path / output)!r}))
    except ExportError as error:
        sys.exit(f"said: {{error}}")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in done.stderr
    assert "said:" in done.stderr
    assert names(tmp_path) == []


def test_a_killed_export_leaves_no_final_name(lake: Lake, tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from forge_assets.release.export import write_export
from forge_assets.release.selection import Selection, select_pairs
from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake
from forge_resources.warehouse import Warehouse
lake = Lake(Path({str(lake.root)!r}))
with Warehouse(lake, SCHEMAS) as warehouse:
    selected = select_pairs(warehouse, lake, Selection())
    def wait(done):
        print("here", flush=True)
        time.sleep(600)
    write_export(warehouse, lake, selected, "llava", Path({str(tmp_path / "out")!r}), progress=wait)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "out").exists()


def test_a_file_that_vanishes_meanwhile_leaves_nothing(lake: Lake, tmp_path: Path, builders: Any) -> None:
    with Warehouse(lake, SCHEMAS) as warehouse:
        selected = select_pairs(warehouse, lake, Selection())
        Path(str(lake.data_path("raw_images", builders.KEY))).unlink()
        with pytest.raises(ExportError, match="cannot be"):
            write_export(warehouse, lake, selected, "hf", tmp_path / "out", ExportOptions())
    assert names(tmp_path) == []


def test_text_that_a_format_reserves_is_refused(lake: Lake, export: Export, tmp_path: Path, builders: Any) -> None:
    row = builders.pair_row("referring", builders.BUS, "What is it?", "The <image>.", [[1, 2, 3, 4]], "text")
    builders.write(lake, "verified_qa", [row])
    with pytest.raises(ExportError, match=row["qa_id"]):
        export("qwen3-vl", tmp_path / "train.jsonl")


def test_a_pair_without_its_photo_is_refused(lake: Lake, export: Export, tmp_path: Path, builders: Any) -> None:
    builders.write(lake, "raw_images", [])
    with pytest.raises(ExportError, match="6 pairs have no photo in raw_images"):
        export("llava", tmp_path / "train.jsonl")
