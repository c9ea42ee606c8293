"""Listing and reading a folder as people leave them."""

import dataclasses
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from forge_resources.config import ImageFolderConfig
from forge_resources.images import UnusablePhoto
from forge_resources.s3 import S3Config, S3Uri, client
from forge_resources.sources.base import NO_LABELS, Member, SourceError
from forge_resources.sources.image_folder import ImageFolder


def source_of(folder: Path | S3Uri, s3: S3Config | None = None, **settings) -> ImageFolder:
    cache = Path(tempfile.gettempdir()) / "cache-of-no-archives"
    return ImageFolder("mine", ImageFolderConfig(path=folder, **settings), s3 or S3Config(), cache)


def read(source: ImageFolder, member: Member) -> bytes:
    with source.open_shard([member]) as shard:
        return shard.read(member).data


def paths_of(folder: Path) -> list[str]:
    return [member.path for member in source_of(folder).list_photos()]


@contextmanager
def not_root():
    """Permissions mean nothing to root, so such tests step down to `nobody`."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for inner in folder.rglob("*"):
        inner.chmod(0o755)
    shutil.rmtree(folder)


def test_photos_are_found_at_all_depths_and_sorted_by_path(photos):
    source = source_of(photos)
    members = source.list_photos()
    assert [member.path for member in members] == ["bus.jpg", "people/deep/astronaut.PNG", "people/zidane.jpg"]
    for member in members:
        assert len(read(source, member)) == member.byte_size > 0


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "Png", "webp", "BMP", "tif", "TIFF", "gif"])
def test_suffixes_count_whatever_their_case(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_bytes(b"x")
    assert paths_of(tmp_path) == [f"a.{suffix}"]


def test_other_and_hidden_files_are_left_out(tmp_path):
    for name in ("notes.txt", "jpg", "x.jpg.part", "x.heic", ".hidden.jpg", "._x.jpg", ".cache/x.jpg", "a/.b/x.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert paths_of(tmp_path) == []


def test_names_sort_as_text_whatever_the_folders(tmp_path):
    for name in ("b/1.jpg", "b.jpg", "B.jpg", "ä.jpg", "b/a/2.jpg", "a b.jpg", "图.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert paths_of(tmp_path) == sorted(["b/1.jpg", "b.jpg", "B.jpg", "ä.jpg", "b/a/2.jpg", "a b.jpg", "图.jpg"])


def test_an_absent_folder_says_what_to_do(tmp_path):
    with pytest.raises(SourceError, match=r"source mine: cannot list .*nowhere.*No such file.*correct `path`"):
        paths_of(tmp_path / "nowhere")


def test_a_file_is_no_folder(photos):
    with pytest.raises(SourceError, match=r"bus\.jpg.*Not a directory"):
        paths_of(photos / "bus.jpg")


@pytest.mark.parametrize("locked", ["", "inner"])
def test_a_folder_that_cannot_be_read_is_an_error_at_any_depth(open_folder, locked):
    root = open_folder / "photos"
    (root / "inner").mkdir(parents=True)
    (root / "inner/x.jpg").write_bytes(b"x")
    with not_root():
        assert paths_of(root) == ["inner/x.jpg"]
    (root / locked).chmod(0)
    with not_root(), pytest.raises(SourceError, match=r"Permission denied.*readable"):
        paths_of(root)


def test_a_file_that_cannot_be_read_is_listed_and_fails_on_reading(open_folder):
    (open_folder / "x.jpg").write_bytes(b"x")
    (open_folder / "x.jpg").chmod(0)
    with not_root():
        (member,) = source_of(open_folder).list_photos()
        with pytest.raises(PermissionError):
            read(source_of(open_folder), member)


def test_a_link_within_the_folder_is_read(photos):
    (photos / "again.jpg").symlink_to(photos / "bus.jpg")
    source = source_of(photos)
    again = source.list_photos()[0]
    assert again == dataclasses.replace(source.list_photos()[1], path="again.jpg")
    assert read(source, again) == (photos / "bus.jpg").read_bytes()


def test_a_link_out_of_the_folder_is_listed_and_refused_by_name(photos, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (photos / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    assert "link.jpg" in paths_of(photos)
    with pytest.raises(UnusablePhoto) as caught:
        read(source_of(photos), Member("link.jpg", 6))
    assert caught.value.rule == "outside_folder"


@pytest.mark.parametrize("path", ["../secret.jpg", "people/../../secret.jpg", "{tmp}/secret.jpg"])
def test_a_path_out_of_the_folder_is_refused(photos, tmp_path, path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with pytest.raises(UnusablePhoto, match="outside_folder"):
        read(source_of(photos), Member(path.format(tmp=tmp_path), 6))


def test_links_to_folders_are_named_and_not_followed(photos, tmp_path, caplog):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.jpg").write_bytes(b"x")
    (photos / "loop").symlink_to(photos)
    (photos / "other").symlink_to(tmp_path / "other")
    assert len(paths_of(photos)) == 3
    assert "loop is a link to a folder" in caplog.text
    assert "other is a link to a folder" in caplog.text


def test_dangling_and_circular_links_fail_on_reading(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")
    source = source_of(tmp_path)
    members = source.list_photos()
    assert members == [Member("gone.jpg", 0), Member("round.jpg", 0)]
    for member in members:
        with pytest.raises(OSError, match=r"No such file|Too many levels"):
            read(source, member)


def test_a_pipe_is_not_waited_for(tmp_path, caplog):
    os.mkfifo(tmp_path / "x.jpg")
    assert paths_of(tmp_path) == []
    assert "not a regular file" in caplog.text
    with pytest.raises(UnusablePhoto, match="unreadable_file"):
        read(source_of(tmp_path), Member("x.jpg", 0))


def test_a_name_that_is_no_text_is_left_out_and_named(tmp_path, caplog):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).write_bytes(b"x")
    assert paths_of(tmp_path) == []
    assert "not UTF-8" in caplog.text


def test_a_folder_reached_by_a_link_is_one_like_any_other(photos, tmp_path):
    (tmp_path / "alias").symlink_to(photos)
    source = source_of(tmp_path / "alias")
    assert read(source, source.list_photos()[0]) == (photos / "bus.jpg").read_bytes()


def test_without_labels_no_photo_is_labelled(photos):
    source = source_of(photos)
    members = source.list_photos()
    with source.open_shard(members) as shard:
        assert shard.labels(members[0], 810, 1080) == NO_LABELS


def test_versions_change_with_the_photo_alone(photos):
    before = {member.path: member.version for member in source_of(photos).list_photos()}
    os.utime(photos / "bus.jpg", ns=(1, 1))
    after = {member.path: member.version for member in source_of(photos).list_photos()}
    assert {path for path in before if before[path] != after[path]} == {"bus.jpg"}


def test_photos_on_s3_are_those_of_the_folder(photos, s3_config, s3_bucket):
    s3 = client(s3_config)
    for path in photos.rglob("*.*"):
        key = f"set/{path.relative_to(photos)}"
        s3.put_object(Bucket=s3_bucket.bucket, Key=key, Body=path.read_bytes())
    source = source_of(s3_bucket / "set", s3_config)
    members = source.list_photos()
    assert [(m.path, m.byte_size) for m in members] == [(m.path, m.byte_size) for m in source_of(photos).list_photos()]
    assert all(member.version for member in members)
    with source.open_shard(members) as shard:
        for member in members:
            assert shard.read(member).data == (photos / member.path).read_bytes()


def test_the_source_s_own_s3_is_taken_before_that_of_the_lake(s3_config, s3_bucket, tmp_path):
    client(s3_config).put_object(Bucket=s3_bucket.bucket, Key="a.jpg", Body=b"x")
    elsewhere = S3Config(endpoint_url="http://127.0.0.1:9", max_attempts=1)
    config = ImageFolderConfig(path=s3_bucket, s3=s3_config)
    source = ImageFolder("mine", config, elsewhere, tmp_path)
    assert [member.path for member in source.list_photos()] == ["a.jpg"]


def test_photos_of_an_archive_in_the_folder_are_photos_of_the_folder(photos, tmp_path):
    shutil.make_archive(str(photos / "more"), "gztar", photos / "people")
    source = ImageFolder("mine", ImageFolderConfig(path=photos, threads=3), S3Config(), tmp_path / "cache")
    assert source.threads == 3
    members = source.list_photos()
    assert [member.path for member in members][1:3] == ["more/deep/astronaut.PNG", "more/zidane.jpg"]
    with source.open_shard(members) as shard:
        assert shard.read(members[2]).data == (photos / "people/zidane.jpg").read_bytes()


def test_a_photo_that_grew_past_the_limit_is_refused(photos):
    source = source_of(photos, max_bytes=200_000)
    with pytest.raises(UnusablePhoto, match="too_many_bytes"):
        read(source, Member("people/deep/astronaut.PNG", 1))
