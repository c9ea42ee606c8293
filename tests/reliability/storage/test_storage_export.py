"""Exports and releases that S3, the disk or a kill breaks off: whole or absent, and the same when made again."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from forge_assets.release.export_staging import abandoned, publish, staging
from forge_assets.release.named import make_release
from forge_assets.release.release_folder import damaged_files, release_names
from forge_assets.release.selection import Selection
from forge_resources.config import load_config
from forge_resources.s3 import S3Error

QUOTED = "the-token-that-the-server-repeats"
PHOTOS_OF_THE_SECOND_SHARD = "^GET .*raw_images.*s00001.*data.parquet"
FORMATS = [("llava", "out.jsonl", "copy"), ("hf", "out", "include")]


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def export(project: Any, name: str, output: Path, images: str) -> Any:
    return project.forge("export", "--format", name, "--output", str(output), "--images", images)


# --- S3 in the middle


@pytest.mark.slow
@pytest.mark.parametrize(("name", "output", "images"), FORMATS, ids=[name for name, *_ in FORMATS])
def test_an_export_during_which_credentials_expire_leaves_nothing_and_is_the_same_made_again(  # noqa: PLR0917
    name: str, output: str, images: str, on_s3: Any, untouched: Any, faulty_s3: Any, s3_credentials: str, tmp_path: Path
) -> None:
    expected, target = tmp_path / "expected", tmp_path / "target"
    done = export(untouched, name, expected / output, images)
    assert done.exit_code == 0, done.output
    target.mkdir()

    faulty_s3.fail("status", PHOTOS_OF_THE_SECOND_SHARD, status=403, code="ExpiredToken")
    failed = export(on_s3, name, target / output, images)
    assert faulty_s3.struck
    assert failed.exit_code == 1
    assert "the credentials have expired (ExpiredToken): log in again or renew them" in failed.output
    assert len(failed.output.strip().splitlines()) == 1, "one line, without SQL or trace"
    for secret in (QUOTED, s3_credentials):
        assert secret not in failed.output
    assert list(target.iterdir()) == []

    faulty_s3.heal()
    faulty_s3.fail("status", "data.parquet", every=5, times=4)
    faulty_s3.fail("cut", "data.parquet", every=7, times=4)
    again = export(on_s3, name, target / output, images)
    assert again.exit_code == 0, again.output
    assert len(faulty_s3.struck) > 2
    assert contents(target) == contents(expected)


@pytest.mark.slow
def test_a_release_to_s3_that_breaks_off_is_absent_and_the_same_made_again(
    on_s3: Any, untouched: Any, faulty_s3: Any
) -> None:
    config, selection = load_config(on_s3.folder / "forge.yaml"), Selection()
    for let_through in (0, 2):
        faulty_s3.heal()
        faulty_s3.fail("status", "^PUT .*releases", after=let_through, status=500, code="InternalError")
        with pytest.raises(S3Error, match=r"s3://.*/releases/first/.* still answered InternalError at try 3"):
            make_release(config, "first", selection)
        assert release_names(on_s3.lake) == []
    faulty_s3.heal()
    made = make_release(config, "first", selection).manifest
    expected = make_release(load_config(untouched.folder / "forge.yaml"), "expected", selection).manifest
    assert made.content_hash == expected.content_hash
    assert {file.path: file.sha256 for file in made.data_files} == {
        file.path: file.sha256 for file in expected.data_files
    }
    assert damaged_files(on_s3.lake, "first") == []


def test_an_export_to_s3_is_refused_and_no_folder_of_that_name_is_made(untouched: Any) -> None:
    refused = export(untouched, "llava", "s3://bucket/train.jsonl", "none")
    assert refused.exit_code == 1
    assert "is not on a disk: export to a folder and copy it, or use `forge release`" in refused.output
    assert not (untouched.folder / "s3:").exists()


# --- damage and disks


@pytest.mark.slow
def test_an_export_of_a_damaged_lake_leaves_nothing_and_names_the_file(made_project: Any, tmp_path: Path) -> None:
    photos = made_project.folder / "lake/raw_images/source=photos/shard=s00001/data.parquet"
    photos.write_bytes(photos.read_bytes()[:1000])
    failed = export(made_project, "webdataset", tmp_path / "new/out", "include")
    assert failed.exit_code == 1
    assert "raw_images" in failed.output
    assert "s00001" in failed.output
    assert not list((tmp_path / "new").glob("*"))


@pytest.mark.slow
def test_an_export_to_a_full_or_read_only_disk_leaves_nothing(untouched: Any, small_disk: Any) -> None:
    small_disk.remount("size=100k")
    target = small_disk.folder / "out"
    failed = export(untouched, "webdataset", target, "include")
    assert (failed.exit_code, "cannot be written: no room is left there" in failed.output) == (1, True), failed.output
    assert list(small_disk.folder.iterdir()) == []
    small_disk.remount("ro,size=4m")
    failed = export(untouched, "webdataset", target, "include")
    assert (failed.exit_code, "mounted read-only" in failed.output) == (1, True), failed.output
    small_disk.remount("rw")
    done = export(untouched, "webdataset", target, "include")
    assert done.exit_code == 0, done.output


# --- killed

EXPORT_THAT_WAITS = """
import sys, time
from pathlib import Path
from forge_assets.release.export_staging import staging
with staging(Path(sys.argv[1])) as folder:
    (folder / "half.jsonl").write_text("half")
    print("here", flush=True)
    time.sleep(3600)
"""


@pytest.mark.slow
def test_what_a_killed_export_left_is_named_and_removed_by_the_next_and_one_at_work_is_left_alone(
    untouched: Any, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    command = [sys.executable, "-c", EXPORT_THAT_WAITS, str(target)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for process in running:
            assert process.stdout.readline() == b"here\n"
        assert abandoned(target) == []
        os.kill(running[0].pid, signal.SIGKILL)
        running[0].wait()
        (left,) = abandoned(target)
        done = export(untouched, "llava", target, "none")
        assert done.exit_code == 0, done.output
        assert f"{left} is removed: an export that was killed left it" in " ".join(done.output.split())
        (at_work,) = tmp_path.glob(".out.*")
        assert at_work != left
        assert (at_work / "files/half.jsonl").read_text() == "half"
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert not list(target.rglob("half*"))


def test_names_that_only_look_like_what_was_left_are_not_touched(tmp_path: Path) -> None:
    for name in (".out", ".out.cache", f".out.jsonl.{'0' * 32}", f"out.{'0' * 32}"):
        (tmp_path / name).mkdir()
    (tmp_path / f".out.{'1' * 32}").touch()
    assert abandoned(tmp_path / "out") == []
    assert abandoned(tmp_path / "none" / "out") == []


def test_the_file_that_counts_goes_first_and_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = [tmp_path / "out.jsonl", tmp_path / "out.export.json", tmp_path / "out.images"]
    for target in targets[:2]:
        target.write_text("old")
    rename, there = Path.rename, []

    def watched(self: Path, target: Path) -> Path:
        there.append([path.read_text() for path in targets[:2] if path.exists()])
        return rename(self, target)

    with staging(targets[0]) as folder:
        for target in targets[:2]:
            (folder / target.name).write_text("new")
        monkeypatch.setattr(Path, "rename", watched)
        publish(folder, targets)
    assert there == [["old", "old"], ["old"], [], ["new"]]
    assert [path.read_text() for path in targets[:2]] == ["new", "new"]
    assert not list(tmp_path.glob(".*"))


def test_a_staged_folder_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staging(tmp_path / "out") as folder:
        (folder / "none").read_bytes()
    assert list(tmp_path.iterdir()) == []
