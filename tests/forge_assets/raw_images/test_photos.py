"""A shard streamed from a real folder: every photo that goes in comes out, as a row or as a reason."""

import hashlib
import io
import os
import threading
import zlib
from collections import Counter
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from forge_assets.raw_images import photos as stage
from forge_assets.raw_images.naming import LabelNaming
from forge_assets.raw_images.photos import RejectedPhotos, raw_images, split_of
from forge_assets.tables import LABEL_FLAGS, RAW_IMAGES, REJECTED_IMAGES, SCHEMAS
from forge_resources.config import ImageFolderConfig, SourceConfig
from forge_resources.lake import Lake
from forge_resources.perceptual_hash import perceptual_hash
from forge_resources.shards import ShardKey
from forge_resources.sources import Member, SourceError, open_source
from forge_resources.sources.base import NO_LABELS, SourcePhoto
from forge_resources.vocabulary import Vocabulary

KEY = ShardKey("mine", "s00003")


def packaged(package: str, path: str) -> bytes:
    return (Path(find_spec(package).submodule_search_locations[0]) / path).read_bytes()


BUS, ZIDANE = packaged("ultralytics", "assets/bus.jpg"), packaged("ultralytics", "assets/zidane.jpg")


def png(shade: int, side: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Memory:
    """A source that keeps its files in a dictionary; an exception in place of bytes is raised."""

    threads = 4

    def __init__(self, files):
        self.files = files

    def list_photos(self):
        return sorted(Member(path, len(data) if isinstance(data, bytes) else 1) for path, data in self.files.items())

    def read(self, member):
        if isinstance(self.files[member.path], bytes):
            return SourcePhoto(self.files[member.path])
        raise self.files[member.path]

    @contextmanager
    def open_shard(self, _members):
        yield self

    def labels(self, _member, _width, _height):
        return NO_LABELS


def naming():
    return LabelNaming(Vocabulary.packaged(), "coco")


def stream(source, members=None, **settings):
    rejects = RejectedPhotos(KEY)
    config = SourceConfig(**{"path": Path("unused"), "license": "CC0-1.0"} | settings)
    members = source.list_photos() if members is None else members
    batches = list(raw_images(KEY, members, source, config, naming=naming(), val_share=0.5, rejects=rejects))
    rows = pl.concat([pl.DataFrame(schema=dict(RAW_IMAGES)), *batches])
    assert rows.height + rejects.photos == len(members)
    return rows, rejects, batches


def test_a_row_holds_the_photo_and_what_it_is():
    rows, rejects, _ = stream(Memory({"people/zidane.jpg": ZIDANE}))
    assert rows.schema == pl.Schema(SCHEMAS["raw_images"])
    (row,) = rows.to_dicts()
    digest = hashlib.sha256(ZIDANE).hexdigest()
    assert row == {
        "image_id": "mine/people/zidane.jpg",
        "source": "mine",
        "shard": "s00003",
        "image": {"bytes": ZIDANE, "path": "people/zidane.jpg"},
        "format": "JPEG",
        "mode": "RGB",
        "orientation": 1,
        "width": 1280,
        "height": 720,
        "byte_size": len(ZIDANE),
        "sha256": digest,
        "phash": perceptual_hash(Image.open(io.BytesIO(ZIDANE))),
        "license": "CC0-1.0",
        "split": "val" if int(digest[:8], 16) / 2**32 < 0.5 else "train",
        "is_labeled": False,
        "labels": [],
        "labels_dropped": 0,
        "points": [],
        "counts": [],
        "relationships": [],
    }
    assert rejects.frame().schema == pl.Schema(REJECTED_IMAGES)
    assert rejects.frame().is_empty()


def test_every_unusable_photo_has_its_rule():
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x4e\x20\0\0\x4e\x20\x01\0\0\0\0"
    bomb = header + zlib.crc32(header[12:]).to_bytes(4, "big") + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"
    files = {
        "bomb.png": bomb,
        "bus.jpg": BUS,
        "cut.jpg": BUS[:50_000],
        "denied.jpg": PermissionError(13, "Permission denied"),
        "empty.jpg": b"",
        "gone.jpg": FileNotFoundError(2, "No such file or directory"),
        "large.jpg": ZIDANE + b"\0" * 400_000,
        "page.jpg": b"<html>429 Too Many Requests</html>",
        "tiny.png": png(7, side=1),
        "twin.jpg": BUS,
        "z.png": png(9),
    }
    rows, rejects, _ = stream(Memory(files), max_bytes=400_000)
    assert rows["image_id"].to_list() == ["mine/bus.jpg", "mine/z.png"]
    assert rejects.counts() == {
        "duplicate_image": 1,
        "empty_file": 1,
        "missing_photo": 1,
        "not_an_image": 1,
        "too_many_bytes": 1,
        "too_many_pixels": 1,
        "too_small": 1,
        "truncated_image": 1,
        "unreadable_file": 1,
    }
    table = rejects.frame()
    assert table.schema == pl.Schema(REJECTED_IMAGES)
    assert table["path"].is_sorted()
    assert table.filter(rule="duplicate_image").row(0, named=True) == {
        "image_id": "mine/twin.jpg",
        "source": "mine",
        "shard": "s00003",
        "path": "twin.jpg",
        "rule": "duplicate_image",
        "detail": "the same bytes as bus.jpg",
        "sha256": hashlib.sha256(BUS).hexdigest(),
        "phash": perceptual_hash(Image.open(io.BytesIO(BUS))),
    }


def test_a_file_that_grew_past_the_limit_is_refused():
    rows, rejects, _ = stream(Memory({"bus.jpg": BUS}), [Member("bus.jpg", 10)], max_bytes=1_000)
    assert rows.is_empty()
    assert rejects.counts() == {"too_many_bytes": 1}


def test_a_file_too_large_is_not_even_read():
    _, rejects, _ = stream(Memory({"a.jpg": AssertionError("read")}), [Member("a.jpg", 2_000)], max_bytes=1_000)
    assert rejects.counts() == {"too_many_bytes": 1}


def test_faults_of_the_pipeline_are_no_fault_of_the_photo():
    with pytest.raises(ZeroDivisionError):
        stream(Memory({"a.png": ZeroDivisionError()}))


def test_broken_twins_are_each_rejected_for_what_they_are():
    _, rejects, _ = stream(Memory({"a.jpg": BUS[:9_999], "b.jpg": BUS[:9_999]}))
    assert rejects.counts() == {"truncated_image": 2}


# --- streaming


def test_rows_come_in_order_whatever_order_the_photos_are_ready_in(monkeypatch):
    files = {f"{number:03d}.png": png(number) for number in range(150)}
    source = Memory(files)
    gate = threading.Event()
    read = source.read

    def slow_first(member):
        if member.path == "000.png":
            gate.wait(5)
        elif member.path == "003.png":
            gate.set()
        return read(member)

    monkeypatch.setattr(source, "read", slow_first)
    rows, _, batches = stream(source, list(reversed(source.list_photos())))
    assert rows["image_id"].to_list() == [f"mine/{path}" for path in files]
    assert [batch.height for batch in batches] == [128, 22]


def test_batches_close_by_bytes_too(monkeypatch):
    monkeypatch.setattr(stage, "BATCH_BYTES", 300_000)
    files = {"a.jpg": BUS, "b.jpg": ZIDANE, "c.jpg": BUS + b"\0" * 300_000, "d.png": png(1)}
    rows, _, batches = stream(Memory(files), max_near_duplicate_distance=None)
    assert [batch["byte_size"].sum() for batch in batches] == [len(BUS) + len(ZIDANE), len(BUS) + 300_000, len(png(1))]
    assert rows.height == 4


@pytest.mark.parametrize(("limit", "value", "most"), [("_HANDFUL", 1, 5), ("_AHEAD_BYTES", 2_500, 3)])
def test_no_more_is_read_ahead_than_bounded(monkeypatch, limit, value, most):
    monkeypatch.setattr(stage, limit, value)
    body = b"\0" * (1_000 - len(png(0)))
    source = Memory({f"{number:03d}.png": png(number) + body for number in range(100)})
    taken = []
    read = source.read
    monkeypatch.setattr(source, "read", lambda member: taken.append(member) or read(member))
    monkeypatch.setattr(stage, "BATCH_PHOTOS", 1)
    config = SourceConfig(path=Path("unused"))
    batches = raw_images(
        KEY, source.list_photos(), source, config, naming=naming(), val_share=0, rejects=RejectedPhotos(KEY)
    )
    for done, _ in enumerate(batches, start=1):
        assert len(taken) <= done + 1 + most
        if done == 20:
            batches.close()
    assert len(taken) < 30


def test_nothing_usable_is_an_empty_shard_and_the_lake_takes_it(tmp_path):
    source = Memory({"a.jpg": b"", "b.jpg": b"<html>"})
    rejects = RejectedPhotos(KEY)
    rows = raw_images(
        KEY,
        source.list_photos(),
        source,
        SourceConfig(path=tmp_path),
        naming=naming(),
        val_share=0,
        rejects=rejects,
    )
    assert Lake(tmp_path).write("raw_images", KEY, rows, RAW_IMAGES).rows == 0
    assert Lake(tmp_path).write("rejected_images", KEY, rejects.frame(), REJECTED_IMAGES).rows == 2


def test_progress_ends_at_the_whole():
    source = Memory({f"{number:03d}.png": png(number) for number in range(130)} | {"z.jpg": b""})
    seen = []
    config = SourceConfig(path=Path("unused"))
    list(
        raw_images(
            KEY,
            source.list_photos(),
            source,
            config,
            naming=naming(),
            val_share=0,
            rejects=RejectedPhotos(KEY),
            progress=lambda done, total: seen.append((done, total)),
        )
    )
    assert seen == [(128, 131), (131, 131)]


def test_the_same_shard_has_the_same_content_hash(tmp_path):
    source = Memory({f"{number:03d}.png": png(number) for number in range(80)} | {"bus.jpg": BUS})
    hashes = {Lake(tmp_path).write("raw_images", KEY, stream(source)[2], RAW_IMAGES).content_hash for _ in range(3)}
    assert len(hashes) == 1


# --- split


@given(st.binary(min_size=32, max_size=32).map(bytes.hex), st.floats(0, 1))
def test_the_split_follows_the_hash(sha256, val_share):
    assert split_of(sha256, 0) == "train"
    assert split_of(sha256, 1) == "val"
    assert split_of(sha256, val_share) == ("val" if int(sha256[:8], 16) / 2**32 < val_share else "train")


def test_the_split_has_the_wanted_share():
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000)]
    assert Counter(split_of(digest, 0.02) for digest in digests)["val"] / 20_000 == pytest.approx(0.02, abs=0.005)


# --- with labels, from a folder


def test_labels_and_their_faults_go_with_the_photo(tmp_path):
    (tmp_path / "a.jpg").write_bytes(BUS)
    (tmp_path / "a.txt").write_text("5 0.5 0.5 0.5 0.5\n0 nan 0 0 0\n0 0.5 0.5 0 0.1\n")
    (tmp_path / "b.jpg").write_bytes(BUS)  # a twin, whose labels count for nothing
    (tmp_path / "b.txt").write_text("nonsense")
    (tmp_path / "c.jpg").write_bytes(ZIDANE)
    (tmp_path / "d.png").write_bytes(png(1))
    (tmp_path / "d.txt").write_text("")
    source = open_source("mine", ImageFolderConfig(path=tmp_path, labels="yolo"))
    rows, rejects, _ = stream(source)

    assert rows.select("image_id", "is_labeled", pl.col("labels").list.len()).rows() == [
        ("mine/a.jpg", True, 1),
        ("mine/c.jpg", False, 0),
        ("mine/d.png", True, 0),
    ]
    assert rows["labels"][0].to_list() == [
        {"label_id": "1", "category": "bus", "source_category": "bus"}
        | {"x1": 202.5, "y1": 270.0, "x2": 607.5, "y2": 810.0, "is_crowd": False}
        | dict.fromkeys(LABEL_FLAGS)
    ]
    assert rejects.frame().select("path", "rule", "detail").rows() == [
        ("a.jpg", "label_not_finite", "a.txt: line 2: box [nan, 0.0, nan, 0.0]"),
        ("a.jpg", "label_zero_size", "a.txt: line 3: width 0, height 108"),
        ("b.jpg", "duplicate_image", "the same bytes as a.jpg"),
        ("c.jpg", "label_absent", f"there is no {tmp_path / 'c.txt'}"),
    ]
    assert (rejects.photos, sum(rejects.counts().values())) == (1, 4)


def test_unusable_labels_stop_the_shard(tmp_path):
    (tmp_path / "a.jpg").write_bytes(BUS)
    with pytest.raises(SourceError, match="no photo has a YOLO label file"):
        stream(open_source("mine", ImageFolderConfig(path=tmp_path, labels="yolo")))


def test_a_link_out_of_the_folder_is_a_row(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(BUS)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/link.jpg").symlink_to(tmp_path / "secret.jpg")
    rows, rejects, _ = stream(open_source("mine", ImageFolderConfig(path=tmp_path / "photos")))
    assert rows.is_empty()
    assert rejects.counts() == {"outside_folder": 1}


@pytest.mark.shared
@pytest.mark.skipif("FORGE_SHARED" not in os.environ, reason="FORGE_SHARED names no folder of the maintainers' photos")
def test_real_photos_all_come_through():
    folder = Path(os.environ["FORGE_SHARED"]) / "data"
    config = ImageFolderConfig(path=folder / "coco128-part/images", labels="yolo")
    rows, rejects, _ = stream(open_source("coco", config))
    assert (rows.height, rejects.photos) == (43, 0)
    rows, rejects, _ = stream(open_source("rgbd", ImageFolderConfig(path=folder / "rgbd")))
    assert (rows.height, rejects.photos) == (8, 0)
