"""Photos, labels, tables, archives and addresses that are not as they should be: which rule, and the rest goes on."""

import io
import json
import logging
import os
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from PIL import ExifTags, Image

from forge_resources.images import decode_upright
from forge_resources.shards import ShardKey
from forge_resources.sources.base import SourceError

pytestmark = pytest.mark.slow

NewProject = Callable[..., Any]
FIRST = ShardKey("photos", "s00000")
PLACES = ("folder", "tar", "tar.gz", "zip")
BOMB_SIDE = 20_000
MIB = 1 << 20
UPRIGHT = (160, 96)
CORNER = (250, 40, 30)
INVERSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright photo is turned to be stored under each orientation."""


def bomb() -> bytes:
    """A PNG of 20,000x20,000 black pixels in some 50 KB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + BOMB_SIDE // 8) * BOMB_SIDE), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def painted(picture: Image.Image) -> Image.Image:
    """A part of a photo whose upper left corner is red."""
    part = picture.resize(UPRIGHT)
    part.paste(CORNER, (0, 0, 32, 32))
    return part


def odd_photos(picture: Image.Image) -> dict[str, tuple[bytes, tuple[str, str]]]:
    """Photos that are to be taken: bytes, and Pillow's names of format and mode."""
    small = picture.resize(UPRIGHT)
    grey = np.asarray(small.convert("L"))
    pages = [small, small.transpose(Image.Transpose.ROTATE_180)]
    see_through = small.copy()
    see_through.putalpha(Image.fromarray(grey))
    return {
        "cmyk.jpg": (saved(small.convert("CMYK"), "JPEG"), ("JPEG", "CMYK")),
        "sixteen_bit.png": (saved(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"), ("PNG", "I;16")),
        "palette.png": (saved(small.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), ("PNG", "P")),
        "palette_seen_through.png": (saved(small.quantize(), "PNG", transparency=0), ("PNG", "P")),
        "seen_through.png": (saved(see_through, "PNG"), ("PNG", "RGBA")),
        "black_and_white.png": (saved(small.convert("1"), "PNG"), ("PNG", "1")),
        "moving.gif": (saved(small, "GIF", save_all=True, append_images=pages[1:], duration=100), ("GIF", "P")),
        "moving.webp": (saved(small, "WEBP", save_all=True, append_images=pages[1:], duration=100), ("WEBP", "RGB")),
        "pages.tif": (saved(small, "TIFF", save_all=True, append_images=pages[1:]), ("TIFF", "RGB")),
        "phone.jpg": (saved(small, "MPO", save_all=True, append_images=pages[1:]), ("JPEG", "RGB")),
    }


def oriented_photos(picture: Image.Image) -> dict[str, bytes]:
    upright, photos = painted(picture), {}
    for orientation in range(1, 9):
        turn = INVERSE.get(orientation)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        stored = upright if turn is None else upright.transpose(turn)
        photos[f"exif_{orientation}.jpg"] = saved(stored, "JPEG", quality=95, exif=exif)
    return photos


def bad_photos(whole: bytes, picture: Image.Image) -> dict[str, tuple[bytes, str]]:
    """Photos that are to be refused: bytes and rule."""
    return {
        "half.jpg": (whole[: len(whole) // 2], "truncated_image"),
        "head_alone.jpg": (whole[:20], "truncated_image"),
        "empty.jpg": (b"", "empty_file"),
        "page.jpg": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20, "not_an_image"),
        "dot.png": (saved(Image.new("RGB", (1, 1)), "PNG"), "too_small"),
        "bomb.png": (bomb(), "too_many_pixels"),
        "lab.tif": (saved(picture.resize(UPRIGHT).convert("LAB"), "TIFF"), "unsupported_mode"),
    }


def packed(place: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files of a source's folder: photos in its folder `box`, or in an archive of that name."""
    if place == "folder":
        return {f"box/{name}": data for name, data in files.items()}
    archive = io.BytesIO()
    if place == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in files.items():
                file.writestr(f"box/{name}", data)
    else:
        with tarfile.open(fileobj=archive, mode="w:gz" if place == "tar.gz" else "w") as file:
            for name, data in files.items():
                add_to_tar(file, f"box/{name}", data)
    return {f"box.{place}": archive.getvalue()}


def blurred(pixels: np.ndarray) -> np.ndarray:
    """Grey levels of the 10x6 squares of 16 pixels."""
    return pixels.mean(axis=2).reshape(6, 16, 10, 16).mean(axis=(1, 3))


def add_to_tar(file: tarfile.TarFile, name: str, data: bytes = b"", **fields: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    file.addfile(info, io.BytesIO(data))


class Judged(NamedTuple):
    """A shard with all photos of a kind, as it was made."""

    project: Any
    outcome: Any
    odd: Mapping[str, tuple[bytes, tuple[str, str]]]
    bad: Mapping[str, tuple[bytes, str]]

    def row(self, name: str) -> dict[str, Any]:
        (row,) = self.project.rows(FIRST).filter(image_id=f"photos/box/{name}").to_dicts()
        return row


@pytest.fixture(scope="module", params=PLACES)
def judged(request: pytest.FixtureRequest, shared_project: Callable[..., Any], photo: Callable[[str], bytes]) -> Judged:
    """One shard of good, odd and bad photos, in a folder and in each kind of archive."""
    whole = photo("china.jpg")
    picture = Image.open(io.BytesIO(whole)).convert("RGB")
    odd, bad = odd_photos(picture), bad_photos(whole, picture)
    files = {name: data for name, (data, _) in {**odd, **bad}.items()} | oriented_photos(picture)
    project = shared_project()
    for name, data in packed(request.param, {**files, "good.jpg": whole}).items():
        project.add(name, data)
    project.use(photos={"path": "photos", "max_near_duplicate_distance": None})
    (outcome,) = project.make(project.plan(), "raw_images")
    return Judged(project, outcome, odd, bad)


# --- photos


def test_each_bad_photo_is_one_reject_row_by_its_rule_and_the_rest_goes_on(judged: Judged) -> None:
    assert judged.project.in_out_rejected(FIRST) == (26, 19, 7)
    assert judged.project.rules(FIRST) == {f"box/{name}": [rule] for name, (_, rule) in sorted(judged.bad.items())}


def test_odd_photos_are_taken_as_they_are_and_decode_to_what_they_show(judged: Judged) -> None:
    shown = decode_upright(judged.odd["seen_through.png"][0]).shape
    good = np.asarray(Image.open(io.BytesIO(judged.row("good.jpg")["image"]["bytes"])).resize(UPRIGHT)).astype(int)
    for name, (data, (kind, mode)) in judged.odd.items():
        row = judged.row(name)
        assert (row["format"], row["mode"], row["orientation"]) == (kind, mode, 1), name
        assert (row["width"], row["height"]) == UPRIGHT, name
        assert row["image"]["bytes"] == data, name
        pixels = decode_upright(row["image"]["bytes"], row["orientation"]).astype(int)
        assert pixels.shape == shown, name
        if "seen_through" not in name:  # what is seen through lies on white
            assert abs(blurred(pixels) - blurred(good)).mean() < 15, name


def test_of_a_photo_with_several_pictures_the_first_counts(judged: Judged) -> None:
    good = np.asarray(Image.open(io.BytesIO(judged.row("good.jpg")["image"]["bytes"])).resize(UPRIGHT)).astype(int)
    for name in ("moving.gif", "moving.webp", "pages.tif", "phone.jpg"):
        pixels = decode_upright(judged.row(name)["image"]["bytes"]).astype(int)
        assert abs(pixels - good).mean() < 20, name
        assert abs(pixels[::-1, ::-1] - good).mean() > 40, name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation_ends_upright(judged: Judged, orientation: int) -> None:
    row = judged.row(f"exif_{orientation}.jpg")
    assert (row["orientation"], row["width"], row["height"]) == (orientation, *UPRIGHT)
    pixels = decode_upright(row["image"]["bytes"], row["orientation"])
    assert pixels.shape == (UPRIGHT[1], UPRIGHT[0], 3)
    assert abs(pixels[4:28, 4:28].astype(int) - np.array(CORNER)).max() < 40
    for corner in (pixels[4:28, -28:-4], pixels[-28:-4, 4:28], pixels[-28:-4, -28:-4]):
        assert abs(corner.mean(axis=(0, 1)) - np.array(CORNER)).max() > 40


def test_the_gate_of_a_shard_with_many_bad_photos_fails_and_says_how_many(judged: Judged) -> None:
    assert not judged.outcome.succeeded
    (problem,) = judged.outcome.problems
    assert "rule unusable_share_in_range on 1 row (found 0.269" in problem
    failures = judged.project.lake.verdict("raw_images", FIRST).failures
    assert failures == {"unusable_share_in_range": 1, "unusable_photos_few": 1}


def test_the_gate_of_a_shard_with_many_bad_photos_says_which_rules_and_photos(judged: Judged) -> None:
    (problem,) = judged.outcome.problems
    assert "truncated_image: 2 (box/half.jpg, box/head_alone.jpg)" in problem
    for name, (_, rule) in judged.bad.items():
        if rule != "truncated_image":
            assert f"{rule}: 1 (box/{name})" in problem


def test_dagster_shows_the_counts_of_each_rule(judged: Judged) -> None:
    shown = judged.project.metadata(FIRST)
    assert (shown["photos_in"], shown["rejected"], shown["dagster/partition_row_count"]) == (26, 7, 19)
    rejected = {name: count for name, count in shown.items() if name.startswith("rejected/")}
    assert rejected == {
        "rejected/empty_file": 1,
        "rejected/not_an_image": 1,
        "rejected/too_many_pixels": 1,
        "rejected/too_small": 1,
        "rejected/truncated_image": 2,
        "rejected/unsupported_mode": 1,
    }


PEAK_OF_TWO_SHARDS = """
import json, resource, sys
import dagster as dg
from pathlib import Path
from forge_assets.automation import add_partitions, plan_shards
from forge_assets.runs import make_partitions
from forge_resources.config import load_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake

path = Path(sys.argv[1])
keys = plan_shards(load_config(path))
with dg.DagsterInstance.ephemeral() as instance:
    add_partitions(instance, keys)
    peaks = []
    for key in keys:
        list(make_partitions(ForgeResource(config_path=str(path)), instance, [key], ["raw_images"]))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
rules = Lake(load_config(path).lake).scan("rejected_images", keys[1]).collect()["rule"].to_list()
print(json.dumps({"peaks_kib": peaks, "rules": rules}))
"""


def test_a_bomb_is_refused_by_its_header_before_its_pixels_are_in_memory(
    new_project: NewProject, photo: Callable[[str], bytes]
) -> None:
    project = new_project("china.jpg", "flower.jpg")
    project.add("y_good.png", photo("astronaut.png"))
    project.add("z_bomb.png", bomb())
    assert (project.folder / "photos/z_bomb.png").stat().st_size < 100_000

    child = subprocess.run(
        [sys.executable, "-c", PEAK_OF_TWO_SHARDS, str(project.config_file)],
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(child.stdout.splitlines()[-1])
    assert found["rules"] == ["too_many_pixels"]
    before, after = (peak / 1024 for peak in found["peaks_kib"])
    assert after - before < BOMB_SIDE**2 / MIB / 8  # at a byte a pixel it would be eight times that


# --- files, archives and names


def test_a_file_name_that_is_no_utf8_is_named_in_a_warning_and_the_rest_goes_on(
    new_project: NewProject, photo: Callable[[str], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    project = new_project("china.jpg")
    bad = os.fsencode(project.folder / "photos") + b"/caf\xe9.jpg"
    Path(os.fsdecode(bad)).write_bytes(photo("flower.jpg"))
    with caplog.at_level(logging.WARNING):
        (outcome,) = project.make(project.plan(), "raw_images")
    assert outcome.succeeded
    assert project.in_out_rejected(FIRST) == (1, 1, 0)
    assert "is not UTF-8 and is left out" in caplog.text


def test_members_of_a_tar_that_climb_or_link_are_refused_by_rule(
    new_project: NewProject, photo: Callable[[str], bytes]
) -> None:
    project = new_project(shard_size=100)
    secret = project.folder / "secret.jpg"
    secret.write_bytes(photo("flower.jpg"))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as file:
        add_to_tar(file, "good.jpg", photo("china.jpg"))
        add_to_tar(file, "../climbs.jpg", photo("flower.jpg"))
        add_to_tar(file, f"{project.folder}/absolute.jpg", photo("flower.jpg"))
        add_to_tar(file, "soft.jpg", type=tarfile.SYMTYPE, linkname=str(secret))
        add_to_tar(file, "hard.jpg", type=tarfile.LNKTYPE, linkname="good.jpg")
        add_to_tar(file, "pipe.jpg", type=tarfile.FIFOTYPE)
        add_to_tar(file, "caf\udce9.jpg", photo("flower.jpg"))
    project.add("box.tar", archive.getvalue())
    before = sorted(project.folder.rglob("*.jpg"))

    project.make(project.plan(), "raw_images")

    assert project.in_out_rejected(FIRST) == (7, 1, 6)
    assert sorted(rule for (rule,) in project.rules(FIRST).values()) == [
        "link_in_archive",
        "link_in_archive",
        "outside_folder",
        "outside_folder",
        "unreadable_file",
        "unreadable_file",
    ]
    assert sorted(project.folder.rglob("*.jpg")) == before


def test_members_of_a_zip_that_climb_or_link_are_refused_by_rule(
    new_project: NewProject, photo: Callable[[str], bytes]
) -> None:
    project = new_project(shard_size=100)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("good.jpg", photo("china.jpg"))
        file.writestr("a/../../climbs.jpg", photo("flower.jpg"))
        file.writestr("/absolute.jpg", photo("flower.jpg"))
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    project.add("box.zip", archive.getvalue())
    project.make(project.plan(), "raw_images")
    assert project.in_out_rejected(FIRST) == (4, 1, 3)
    assert sorted(rule for (rule,) in project.rules(FIRST).values()) == [
        "link_in_archive",
        "outside_folder",
        "outside_folder",
    ]


def test_links_out_of_a_folder_and_to_nowhere_are_refused_by_rule(
    new_project: NewProject, photo: Callable[[str], bytes]
) -> None:
    project = new_project("china.jpg", shard_size=100)
    (project.folder / "secret.jpg").write_bytes(photo("flower.jpg"))
    (project.folder / "photos/out.jpg").symlink_to(project.folder / "secret.jpg")
    (project.folder / "photos/nowhere.jpg").symlink_to("absent.jpg")
    project.make(project.plan(), "raw_images")
    assert project.in_out_rejected(FIRST) == (3, 1, 2)
    assert project.rules(FIRST) == {"nowhere.jpg": ["missing_photo"], "out.jpg": ["outside_folder"]}


@pytest.mark.parametrize("place", ["tar", "tar.gz", "zip"])
def test_an_archive_that_is_cut_short_stops_the_plan_and_is_named(
    new_project: NewProject, photo: Callable[[str], bytes], place: str
) -> None:
    project = new_project("china.jpg")
    ((name, data),) = packed(place, {"flower.jpg": photo("flower.jpg"), "bus.jpg": photo("bus.jpg")}).items()
    project.add(name, data[: len(data) * 2 // 3])
    with pytest.raises(SourceError, match=rf"source photos: .*box\.{place} is damaged, cut short or no archive"):
        project.plan()


# --- labels


def boxes_of(project: Any, key: ShardKey, name: str) -> list[list[float]]:
    (row,) = project.rows(key).filter(pl.col("image_id").str.ends_with(name)).to_dicts()
    return [[label[side] for side in ("x1", "y1", "x2", "y2")] for label in row["labels"]]


def add_photos(project: Any, photo: Callable[[str], bytes], folder: str, *names: str) -> None:
    for name in names:
        project.add(f"../{folder}/{name}", photo(name))


def test_each_bad_yolo_label_is_a_reject_row_and_its_photo_is_kept(
    new_project: NewProject, photo: Callable[[str], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    project = new_project()
    add_photos(project, photo, "set/images", "bus.jpg", "china.jpg", "flower.jpg")
    lines = [
        "5 0.5 0.5 0.2 0.2",
        "0 0.5 0.5 0.2 0.2",
        "0 0.05 0.5 0.2 0.2",  # reaches out: clipped
        "0 1.5 0.5 0.2 0.2",
        "0 0.5 0.5 -0.2 0.2",
        "0 0.5 0.5 0 0.2",
        "0 nan 0.5 0.2 0.2",
        "0 0.5 0.5 inf 0.2",
        "0 0.5 0.5 0.2",
        "person 0.5 0.5 0.2 0.2",
        "80 0.5 0.5 0.2 0.2",
        "5 0.5 0.5 0.2 0.2",
    ]
    project.add("../set/labels/bus.txt", "\n".join(lines).encode())
    project.add("../set/labels/china.txt", b"0 0.5 0.5 0.2 0.2 # caf\xe9\n")
    project.add("../set/labels/of_no_photo.txt", b"0 0.5 0.5 0.2 0.2\n")
    project.use(photos={"path": "set/images", "labels": "yolo"})

    with caplog.at_level(logging.WARNING):
        (outcome,) = project.make(project.plan(), "raw_images")

    assert outcome.succeeded, outcome.problems
    assert project.in_out_rejected(FIRST) == (3, 3, 0)
    rules = {path: sorted(found) for path, found in project.rules(FIRST).items()}
    assert rules == {
        "bus.jpg": [
            "label_duplicate",
            "label_inverted",
            "label_malformed",
            "label_malformed",
            "label_not_finite",
            "label_not_finite",
            "label_outside",
            "label_unknown_class",
            "label_zero_size",
        ],
        "china.jpg": ["label_unreadable_file"],
        "flower.jpg": ["label_absent"],
    }
    assert boxes_of(project, FIRST, "bus.jpg") == [
        pytest.approx([324, 432, 486, 648]),
        pytest.approx([324, 432, 486, 648]),
        pytest.approx([0, 432, 121.5, 648]),
    ]
    kept = project.rows(FIRST).select("image_id", "is_labeled", "labels_dropped").rows()
    assert kept == [
        ("photos/bus.jpg", True, 8),
        ("photos/china.jpg", False, 1),
        ("photos/flower.jpg", False, 0),
    ]
    assert "1 label files belong to no photo" in caplog.text
    assert "of_no_photo.txt" in caplog.text
    details = project.rows(FIRST, "rejected_images").filter(rule="label_outside")["detail"].to_list()
    assert details[0].startswith("bus.txt: line 4: ")


def coco(*annotations: Mapping[str, object], images: list[dict[str, object]]) -> bytes:
    categories = [{"id": 1, "name": "person"}, {"id": 6, "name": "bus"}]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories}).encode()


def annotation(label_id: int, bbox: list[float], image: int = 1, category: int = 1) -> dict[str, object]:
    return {"id": label_id, "image_id": image, "category_id": category, "bbox": bbox}


def test_each_bad_coco_label_is_a_reject_row_and_its_photo_is_kept(
    new_project: NewProject, photo: Callable[[str], bytes]
) -> None:
    project = new_project()
    add_photos(project, photo, "set", "bus.jpg", "china.jpg", "flower.jpg")
    (project.folder / "secret.jpg").write_bytes(photo("rocket.jpg"))
    document = coco(
        annotation(1, [10, 20, 100, 200]),
        annotation(2, [700, 1000, 500, 500]),  # reaches out: clipped
        annotation(3, [900, 20, 100, 200]),
        annotation(4, [10, 20, -100, 200]),
        annotation(5, [10, 20, 0, 200]),
        annotation(6, [float("nan"), 20, 100, 200]),
        annotation(1, [10, 20, 100, 300]),
        annotation(7, [10, 20, 100]),
        annotation(8, [10, 20, 100, 200], category=99),
        annotation(9, [10, 20, 100, 200], image=2),
        annotation(10, [10, 20, 100, 200], image=3),
        annotation(11, [10, 20, 100, 200], image=4),
        images=[
            {"id": 1, "file_name": "bus.jpg", "width": 810, "height": 1080},
            {"id": 2, "file_name": "china.jpg", "width": 427, "height": 640},
            {"id": 3, "file_name": "absent.jpg", "width": 600, "height": 400},
            {"id": 4, "file_name": "../secret.jpg", "width": 600, "height": 400},
        ],
    )
    project.add("../instances.json", document)
    project.use(photos={"path": "set", "labels": "coco", "labels_path": "instances.json"})

    project.make(project.plan(), "raw_images")

    assert project.in_out_rejected(FIRST) == (5, 3, 2)
    rules = {path: sorted(found) for path, found in project.rules(FIRST).items()}
    assert rules == {
        "../secret.jpg": ["outside_folder"],
        "absent.jpg": ["missing_photo"],
        "bus.jpg": [
            "label_duplicate_id",
            "label_inverted",
            "label_malformed",
            "label_not_finite",
            "label_outside",
            "label_unknown_class",
            "label_zero_size",
        ],
        "china.jpg": ["label_size_mismatch"],
    }
    assert boxes_of(project, FIRST, "bus.jpg") == [[10, 20, 110, 220], [700, 1000, 810, 1080]]
    assert dict(project.rows(FIRST).select("image_id", "is_labeled").iter_rows()) == {
        "photos/bus.jpg": True,
        "photos/china.jpg": False,
        "photos/flower.jpg": False,
    }


def test_a_photo_that_objects365_names_and_a_patch_lacks_is_a_reject_row(
    new_project: NewProject, photo: Callable[[str], bytes]
) -> None:
    project = new_project()
    project.add("../o365/patch0/a.jpg", photo("china.jpg"))
    names = ("patch0/a.jpg", "patch0/b.jpg", "patch9/c.jpg", "../../patch0/../../etc/d.jpg")
    images = [
        {"id": number, "file_name": f"images/v2/{name}", "width": 640, "height": 427}
        for number, name in enumerate(names, start=1)
    ]
    boxes = [annotation(number, [10, 20, 100, 200], image=number) for number in range(1, 5)]
    project.add("../o365.json", coco(*boxes, images=images))
    project.use(photos={"kind": "objects365", "path": "o365", "annotations": "o365.json"})
    project.make(project.plan(), "raw_images")
    photos_in, out, rejected = project.in_out_rejected(FIRST)
    assert (out, photos_in - out) == (1, rejected)
    assert project.rules(FIRST)["patch0/b.jpg"] == ["missing_photo"]
    assert not any("patch9" in path for path in project.rules(FIRST))


# --- tables

BOXES = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
IMAGES = "ImageID,License,Rotation"
CLASSES = b"/m/01g317,Person\n/m/01bjv,Bus\n"


def open_images(project: Any, photo: Callable[[str], bytes], boxes: bytes, images: bytes) -> None:
    for number, name in enumerate(("bus.jpg", "zidane.jpg", "china.jpg")):
        project.add(f"../open/{number:016x}.jpg", photo(name))
    project.add("../boxes.csv", boxes)
    project.add("../images.csv", images)
    project.add("../classes.csv", CLASSES)
    tables = {"boxes": "boxes.csv", "images": "images.csv", "class_descriptions": "classes.csv"}
    project.use(photos={"kind": "openimages", "path": "open", **tables})


def box(number: int, *corners: object, name: str = "/m/01g317") -> str:
    return f"{number:016x},xclick,{name},1,{','.join(map(str, corners))},0,0,0,0,0"


def image(number: int, rotation: str = "0.0") -> str:
    return f"{number:016x},https://creativecommons.org/licenses/by/2.0/,{rotation}"


def lines(*rows: str) -> bytes:
    return "\n".join(rows).encode("utf-8", "surrogateescape")


def test_bad_rows_of_openimages_tables_are_reject_rows_that_name_file_line_and_column(
    new_project: NewProject, photo: Callable[[str], bytes]
) -> None:
    project = new_project()
    many = [box(2, 0.01 * number, 0.5, 0.1, 0.9) for number in range(40)]
    boxes = lines(
        BOXES,
        box(0, 0.1, 0.5, 0.1, 0.9),
        box(0, 0.5, 0.1, 0.1, 0.9),  # inverted
        box(0, 0.3, 0.3, 0.1, 0.9),  # of zero size
        box(0, "nan", 0.5, 0.1, 0.9),
        box(0, 0.1, 1.5, 0.1, 0.9),
        box(1, 0.1, 0.5, 0.1, 0.9, name="caf\udce9"),
        f"{1:016x},xclick,/m/01g317,1",
        *many,
    )
    open_images(project, photo, boxes, lines(IMAGES, *map(image, range(3))))
    (outcome,) = project.make(project.plan(), "raw_images")
    assert outcome.succeeded, outcome.problems
    assert project.in_out_rejected(FIRST) == (3, 3, 0)
    rejects = project.rows(FIRST, "rejected_images").select("path", "rule", "detail").rows()
    found = [(path.removesuffix(".jpg")[-1], rule) for path, rule, _ in rejects]
    assert found == [
        ("0", "label_inverted"),
        ("0", "label_malformed"),
        ("0", "label_malformed"),
        ("0", "label_zero_size"),
        ("1", "label_malformed"),
        ("1", "label_malformed"),
    ]
    details = " | ".join(detail for _, _, detail in rejects)
    for told in (
        "boxes.csv: line 5: XMin 'nan' is no number",
        "boxes.csv: line 6: XMax '1.5' is no number from 0 to 1",
        "boxes.csv: line 7: LabelName",
        "is not UTF-8",
        "boxes.csv: line 8: 4 fields where the header has 13",
    ):
        assert told in details
    assert [len(boxes) for boxes in project.rows(FIRST)["labels"]] == [1, 0, 40]


def test_a_csv_that_lacks_a_column_stops_the_plan_and_names_file_line_and_column(
    new_project: NewProject, photo: Callable[[str], bytes]
) -> None:
    project = new_project()
    header = BOXES.replace("XMin,", "")
    open_images(project, photo, lines(header, box(0, 0.5, 0.1, 0.9)), lines(IMAGES, *map(image, range(3))))
    with pytest.raises(SourceError, match=r"source photos: boxes\.csv: line 1: the header must name XMin"):
        project.plan()


def test_a_bad_rotation_names_file_line_and_column(new_project: NewProject, photo: Callable[[str], bytes]) -> None:
    project = new_project()
    boxes = lines(BOXES, *(box(number, 0.1, 0.5, 0.1, 0.9) for number in range(3)))
    open_images(project, photo, boxes, lines(IMAGES, image(0), image(1, "45.0"), image(2)))
    project.make(project.plan(), "raw_images")
    assert project.in_out_rejected(FIRST) == (3, 3, 0)
    details = project.rows(FIRST, "rejected_images").filter(rule="label_malformed")["detail"].to_list()
    assert details == ["images.csv: line 3: Rotation '45.0' is none of 0, 90, 180 and 270"]


# --- addresses


def pixmo(project: Any, *urls: str, allow_private: bool = True, shard_size: int = 100) -> None:
    rows = {"image_url": urls, "caption": ["a photo"] * len(urls), "transcripts": [[]] * len(urls)}
    (project.folder / "px").mkdir(exist_ok=True)
    schema = {"image_url": pl.String, "caption": pl.String, "transcripts": pl.List(pl.String)}
    pl.DataFrame(rows, schema=schema).write_parquet(project.folder / "px/train.parquet")
    download = {"allow_private_addresses": allow_private, "max_attempts": 1, "concurrency": 4}
    source = {"kind": "pixmo", "path": "px", "table": "cap", "shard_size": shard_size, "download": download}
    project.use(photos=source)


def test_addresses_that_are_not_http_are_refused_and_the_rest_goes_on(
    new_project: NewProject, start_site: Callable[[], Any], photo: Callable[[str], bytes]
) -> None:
    project, site = new_project(), start_site()
    site.files["good.jpg"] = photo("china.jpg")
    site.redirects["away"] = f"file://{project.folder}/secret.jpg"
    (project.folder / "secret.jpg").write_bytes(photo("flower.jpg"))
    bad = [
        f"file://{project.folder}/secret.jpg",
        "ftp://127.0.0.1/x.jpg",
        "data:image/png;base64,iVBORw0KGgo=",
        "javascript:alert(1)",
        "/etc/passwd",
        "",
        "http://user:password@127.0.0.1/x.jpg",
        f"{site.url}/away",
    ]
    pixmo(project, f"{site.url}/good.jpg", *bad)
    project.make(project.plan(), "raw_images")
    assert project.in_out_rejected(FIRST) == (9, 1, 8)
    assert list(project.rules(FIRST).values()) == [["url_refused"]] * 8
    assert site.asked == {"good.jpg": 1, "away": 1}


def test_private_addresses_are_not_asked_unless_they_are_allowed(
    new_project: NewProject, start_site: Callable[[], Any], photo: Callable[[str], bytes]
) -> None:
    project, site = new_project(), start_site()
    site.files["good.jpg"] = photo("china.jpg")
    pixmo(project, f"{site.url}/good.jpg", allow_private=False)
    project.make(project.plan(), "raw_images")
    assert project.in_out_rejected(FIRST) == (1, 0, 1)
    assert list(project.rules(FIRST).values()) == [["url_refused"]]
    assert site.total == 0


# --- the gate


def test_one_bad_photo_of_twenty_passes_the_gate_and_two_fail_it(
    new_project: NewProject, small_photos: Callable[[int], list[bytes]]
) -> None:
    project = new_project(shard_size=20)
    for number, data in enumerate(small_photos(37)):
        project.add(f"{number:02}.jpg", data)
    for name in ("10_bad.jpg", "30_bad.jpg", "31_bad.jpg"):
        project.add(name, b"<html>")
    project.use(photos={"path": "photos", "shard_size": 20, "max_near_duplicate_distance": None})

    one_bad, two_bad = project.make(project.plan(), "raw_images")

    assert one_bad.succeeded, one_bad.problems
    assert project.in_out_rejected(FIRST) == (20, 19, 1)
    assert not two_bad.succeeded
    assert project.in_out_rejected(ShardKey("photos", "s00001")) == (20, 18, 2)
    assert "rule unusable_share_in_range on 1 row (found 0.1; expected 0 to 0.05)" in " ".join(two_bad.problems)


def test_dead_links_do_not_fail_the_gate_however_many(
    new_project: NewProject, start_site: Callable[[], Any], small_photos: Callable[[int], list[bytes]]
) -> None:
    project, site = new_project(), start_site()
    site.files |= {f"{number}.jpg": data for number, data in enumerate(small_photos(4))}
    pixmo(project, *(f"{site.url}/{number}.jpg" for number in range(16)))
    (outcome,) = project.make(project.plan(), "raw_images")
    assert outcome.succeeded, outcome.problems
    assert project.in_out_rejected(FIRST) == (16, 4, 12)
    assert project.metadata(FIRST)["rejected/dead_link"] == 12


def test_duplicates_do_not_fail_the_gate_and_name_the_photo_that_is_kept(
    new_project: NewProject, photo: Callable[[str], bytes]
) -> None:
    project = new_project("china.jpg", shard_size=100)
    picture = Image.open(io.BytesIO(photo("china.jpg")))
    project.add("china_again.jpg", photo("china.jpg"))
    project.add("china_small.jpg", saved(picture.resize((320, 214)), "JPEG"))
    project.add("mirrored.jpg", saved(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "JPEG"))
    (outcome,) = project.make(project.plan(), "raw_images")
    assert outcome.succeeded, outcome.problems
    assert project.in_out_rejected(FIRST) == (4, 2, 2)
    assert project.rules(FIRST) == {
        "china_again.jpg": ["duplicate_image"],
        "china_small.jpg": ["near_duplicate_image"],
    }
    assert project.rows(FIRST, "rejected_images")["detail"].str.contains("china.jpg").all()
