"""All kinds of sources in one configuration, on real photos, through real Dagster runs and gates."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import polars as pl
import pytest
from PIL import ExifTags, Image

from forge_assets.automation import not_made_as_planned
from forge_resources.images import decode_upright
from forge_resources.shards import ShardKey
from forge_resources.sources.shard_plan import ShardPlan

pytestmark = pytest.mark.slow

HOME, OBJECTS, OPEN, POINTS = (
    ShardKey(name, "s00000") for name in ("home", "objects365", "openimages", "pixmo_points")
)
MORE_POINTS = ShardKey("pixmo_points", "s00001")
ALL = [HOME, OBJECTS, OPEN, POINTS, MORE_POINTS]
BY_NC, BY_SA = "https://creativecommons.org/licenses/by-nc/2.0/", "https://creativecommons.org/licenses/by-sa/2.0/"
TURNED, STRAIGHT = "000002b66c9c498e", "000002b97e5471a0"
PERSON, COUCH, BUS, KITE = "/m/01g317", "/m/02crq1", "/m/01bjv", "/m/0unknown"
POINT_COLUMNS = {
    "image_url": pl.String(),
    "image_sha256": pl.String(),
    "points": pl.List(pl.Struct({"x": pl.Float64(), "y": pl.Float64()})),
    "count": pl.Int64(),
    "label": pl.String(),
    "collection_method": pl.String(),
}


class Made(NamedTuple):
    """What one run of all sources left behind."""

    project: Any
    outcomes: list[Any]
    site: Any
    pages: Mapping[str, str]
    """Name of each PixMo photo by its path."""


def as_jpeg(data: bytes, **options: object) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def add_home(project: Any, photo: Callable[[str], bytes]) -> Mapping[str, object]:
    names = ("bus.jpg", "zidane.jpg", "astronaut.png", "coffee.png")
    lines = ("1 0.5 0.5 0.9 0.4\n0 0.15 0.6 0.2 0.5", "0 0.7 0.5 0.3 0.9\n3 0.1 0.1 0.1 0.1", "0 0.5 0.5 0.5 0.9", "")
    for name, text in zip(names, lines, strict=True):
        project.add(f"../home/images/{name}", photo(name))
        project.add(f"../home/labels/{name.rpartition('.')[0]}.txt", text.encode())
    project.add("../home/names.txt", b"person\nbus\ncouch\nflux capacitor\n")
    return {"path": "home/images", "labels": "yolo", "class_names": "home/names.txt", "license": "CC-BY-4.0"}


def add_objects365(project: Any, photo: Callable[[str], bytes]) -> Mapping[str, object]:
    in_folder = {"objects365_v2_00000001.jpg": photo("china.jpg"), "objects365_v2_00000002.jpg": photo("flower.jpg")}
    in_archive = {"objects365_v2_00900001.jpg": photo("bus.jpg"), "objects365_v2_00900002.jpg": photo("rocket.jpg")}
    for name, data in in_folder.items():
        project.add(f"../o365/train/patch0/{name}", data)
    with tarfile.open(project.folder / "o365/train/patch16.tar.gz", "w:gz") as tar:
        for name, data in in_archive.items():
            info = tarfile.TarInfo(f"patch16/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    flags = {"iscrowd": 0, "isfake": 0, "isreflected": 0}
    files = {f"patch0/{name}": data for name, data in in_folder.items()}
    files |= {f"patch16/{name}": data for name, data in in_archive.items()}
    images = [{"id": 99, "file_name": "images/v2/patch50/objects365_v2_03000000.jpg", "width": 9, "height": 9}]
    for number, (path, data) in enumerate(files.items(), start=1):
        width, height = Image.open(io.BytesIO(data)).size
        images.append({"id": number, "file_name": f"images/v2/{path}", "width": width, "height": height})
    boxes = [(1, 1, "Couch"), (2, 1, "Person"), (3, 3, "Person"), (4, 3, "Bus"), (5, 4, "Moon Rover"), (6, 99, "Bus")]
    classes = ["Person", "Couch", "Bus ", "Moon Rover"]
    annotations = [
        {
            "id": label_id,
            "image_id": image,
            "category_id": [name.strip() for name in classes].index(category) + 1,
            "bbox": [10.0 * label_id, 20.0, 100.0, 50.0],
            "area": 5000.0,
            **flags,
            "isfake": int(label_id == 4),
        }
        for label_id, image, category in boxes
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    project.add("../o365/zhiyuan_objv2_train.json", json.dumps(document).encode())
    return {
        "kind": "objects365",
        "path": "o365/train",
        "annotations": "o365/zhiyuan_objv2_train.json",
        "license": "CC-BY-4.0",
    }


def add_openimages(project: Any, photo: Callable[[str], bytes]) -> Mapping[str, object]:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3  # wrong: the table's Rotation counts
    lying = Image.open(io.BytesIO(photo("bus.jpg"))).transpose(Image.Transpose.ROTATE_270)
    file = io.BytesIO()
    lying.save(file, "JPEG", exif=exif)
    project.add(f"../open/train/{TURNED}.jpg", file.getvalue())
    project.add(f"../open/train/{STRAIGHT}.jpg", photo("zidane.jpg"))
    tables = {
        "boxes": [
            "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
            "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside",
            f"{TURNED},xclick,{BUS},1,0.1,0.3,0.2,0.6,0,1,0,0,0",
            f"{STRAIGHT},xclick,{PERSON},1,0.5,0.9,0.1,1,1,1,0,0,0",
            f"{STRAIGHT},xclick,{COUCH},1,0.0,0.2,0.5,1,-1,-1,1,1,0",
            f"{STRAIGHT},xclick,{KITE},1,0.0,0.1,0.0,0.1,0,0,0,0,1",
        ],
        "images": [
            "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,"
            "OriginalMD5,Thumbnail300KURL,Rotation",
            f"{TURNED},train,https://a/b.jpg,https://a/b,{BY_NC},https://a,Ann,A title,99,x==,,90.0",
            f'{STRAIGHT},train,https://a/c.jpg,https://a/c,{BY_SA},https://a,Ann,"One, two",99,x==,,',
        ],
        "classes": [f"{PERSON},Person", f"{COUCH},Couch", f"{BUS},Bus", f"{KITE},Power kite"],
    }
    for name, lines in tables.items():
        project.add(f"../open/{name}.csv", "\n".join(lines).encode())
    return {
        "kind": "openimages",
        "path": "open/train",
        "boxes": "open/boxes.csv",
        "images": "open/images.csv",
        "class_descriptions": "open/classes.csv",
    }


def add_pixmo(
    project: Any, photo: Callable[[str], bytes], small: list[bytes], site: Any
) -> tuple[Mapping[str, object], dict[str, str]]:
    site.files |= {f"{number}.jpg": data for number, data in enumerate(small)}
    site.files |= {"astronaut.png": photo("astronaut.png"), "changed.jpg": photo("flower.jpg")}

    def row(name: str, label: str, *points: tuple[float, float], sha256: str | None = None) -> dict[str, object]:
        data = site.files.get(name)
        return {
            "image_url": f"{site.url}/{name}",
            "image_sha256": sha256 or (hashlib.sha256(data).hexdigest() if data else None),
            "points": [{"x": x, "y": y} for x, y in points],
            "count": len(points),
            "label": label,
            "collection_method": "pointing",
        }

    rows = [row(f"{number}.jpg", "zebra crossings", (50.0, 50.0)) for number in range(len(small))]
    rows += [
        row("astronaut.png", "couches", (25.0, 75.0), (50.0, 10.0)),
        row("astronaut.png", "person", (40.0, 40.0)),
        row("gone.jpg", "person", (1.0, 1.0)),
        row("changed.jpg", "person", (1.0, 1.0), sha256="0" * 64),
    ]
    (project.folder / "px").mkdir()
    pl.DataFrame(rows, schema=POINT_COLUMNS).write_parquet(project.folder / "px/train-00000-of-00001.parquet")
    names = [*site.files, "gone.jpg"]
    download = {"allow_private_addresses": True, "max_attempts": 1, "concurrency": 4}
    settings = {
        "kind": "pixmo",
        "path": "px",
        "table": "points",
        "shard_size": 5,
        "license": "ODC-BY-1.0",
        "download": download,
    }
    return settings, {hashlib.sha256(f"{site.url}/{name}".encode()).hexdigest()[:32]: name for name in names}


@pytest.fixture(scope="module")
def made(
    shared_project: Callable[[], Any],
    start_site: Callable[[], Any],
    photo: Callable[[str], bytes],
    small_photos: Callable[[int], list[bytes]],
) -> Made:
    """One configuration of all kinds, planned and made once."""
    project, site = shared_project(), start_site()
    pixmo, pages = add_pixmo(project, photo, small_photos(4), site)
    project.use(
        home=add_home(project, photo),
        objects365=add_objects365(project, photo),
        openimages=add_openimages(project, photo),
        pixmo_points=pixmo,
    )
    return Made(project, project.make(project.plan(), "raw_images"), site, pages)


def names(made: Made, *keys: ShardKey) -> pl.DataFrame:
    """All labels of some shards."""
    frames = [made.project.rows(key).select("image_id", "labels").explode("labels") for key in keys]
    return pl.concat(frames).drop_nulls("labels").unnest("labels")


def test_every_shard_of_every_kind_is_made_and_its_gate_passes(made: Made) -> None:
    assert [(outcome.key, outcome.succeeded, outcome.problems) for outcome in made.outcomes] == [
        (key, True, ()) for key in ALL
    ]
    assert {made.project.lake.verdict("raw_images", key).outcome for key in ALL} == {"passed"}


def test_every_photo_that_went_in_came_out_or_is_a_reject_row(made: Made) -> None:
    counts = {key: made.project.in_out_rejected(key) for key in ALL}
    assert {key: counts[key] for key in ALL[:3]} == {HOME: (4, 4, 0), OBJECTS: (4, 4, 0), OPEN: (2, 2, 0)}
    assert [sum(column) for column in zip(counts[POINTS], counts[MORE_POINTS], strict=True)] == [7, 5, 2]


def test_photos_of_a_patch_that_is_not_there_yet_are_awaited(made: Made) -> None:
    paths = made.project.rows(OBJECTS)["image"].struct.field("path").to_list()
    assert [path.split("/")[0] for path in paths] == ["patch0", "patch0", "patch16", "patch16"]


def test_photos_in_a_patch_archive_keep_their_bytes(made: Made, photo: Callable[[str], bytes]) -> None:
    packed = made.project.rows(OBJECTS).filter(pl.col("image_id").str.contains("/patch16/"))
    assert packed["image"].struct.field("bytes").to_list() == [photo("bus.jpg"), photo("rocket.jpg")]


def test_each_photo_bears_its_own_licence(made: Made) -> None:
    def licenses(key: ShardKey) -> set[str]:
        return set(made.project.rows(key)["license"])

    assert (licenses(HOME), licenses(OBJECTS), licenses(POINTS)) == ({"CC-BY-4.0"}, {"CC-BY-4.0"}, {"ODC-BY-1.0"})
    of_photo = dict(made.project.rows(OPEN).select("image_id", "license").iter_rows())
    assert of_photo == {f"openimages/{TURNED}.jpg": BY_NC, f"openimages/{STRAIGHT}.jpg": BY_SA}


def test_one_class_has_one_name_in_all_sources(made: Made) -> None:
    known = {"person", "bus", "couch"}
    for key in (HOME, OBJECTS, OPEN):
        assert "person" in set(names(made, key)["category"])
        assert "bus" in set(names(made, key)["category"])
    couches = names(made, OBJECTS, OPEN).filter(category="couch")["source_category"].to_list()
    assert couches == ["Couch", "Couch"]
    assert set(names(made, HOME, OBJECTS, OPEN)["category"]) - known == {"flux capacitor", "moon rover", "power kite"}


def test_a_class_that_the_vocabulary_lacks_is_counted(made: Made) -> None:
    counted = {key: made.project.lake.manifest("raw_images", key).counts["labels_of_unknown_classes"] for key in ALL}
    assert (counted[HOME], counted[OBJECTS], counted[OPEN]) == (1, 1, 1)
    assert counted[POINTS] + counted[MORE_POINTS] == 8  # a point and a count of each of four photos
    shown = {key: made.project.metadata(key)["unknown_classes"] for key in ALL[:3]}
    assert shown == {
        HOME: [{"category": "flux capacitor", "labels": 1}],
        OBJECTS: [{"category": "moon rover", "labels": 1}],
        OPEN: [{"category": "power kite", "labels": 1}],
    }
    assert made.project.metadata(HOME)["labels_of_unknown_classes"] == 1


def test_a_photo_that_openimages_calls_rotated_is_upright_with_its_boxes(
    made: Made, photo: Callable[[str], bytes]
) -> None:
    (row,) = made.project.rows(OPEN).filter(image_id=f"openimages/{TURNED}.jpg").to_dicts()
    assert (row["width"], row["height"], row["orientation"]) == (810, 1080, 8)
    upright = decode_upright(row["image"]["bytes"], row["orientation"]).astype(int)
    original = decode_upright(photo("bus.jpg")).astype(int)
    assert abs(upright - original).mean() < 10
    (label,) = row["labels"]
    # x 0.1-0.3 and y 0.2-0.6 of the lying photo, turned by 90 degrees counter-clockwise
    assert [label[side] for side in ("x1", "y1", "x2", "y2")] == pytest.approx([162, 756, 486, 972])


def test_flags_of_human_labels_travel_with_them(made: Made) -> None:
    labels = names(made, OPEN, OBJECTS, HOME)
    (couch,) = labels.filter(source_category="Couch", is_group=True).to_dicts()
    assert (couch["is_depiction"], couch["is_occluded"], couch["is_inside"]) == (True, None, False)
    (bus,) = labels.filter(is_fake=True).to_dicts()
    assert (bus["source_category"], bus["is_group"]) == ("Bus", None)
    assert labels.filter(source_category="flux capacitor")["is_fake"].to_list() == [None]


def test_an_empty_label_file_says_that_a_person_found_nothing(made: Made) -> None:
    labeled = dict(made.project.rows(HOME).select("image_id", pl.col("labels").list.len()).iter_rows())
    assert labeled == {"home/astronaut.png": 1, "home/bus.jpg": 2, "home/coffee.png": 0, "home/zidane.jpg": 2}
    assert made.project.rows(HOME)["is_labeled"].all()


def test_points_and_counts_stand_in_their_columns(made: Made) -> None:
    rows = pl.concat([made.project.rows(POINTS), made.project.rows(MORE_POINTS)])
    (row,) = (row for row in rows.to_dicts() if made.pages[row["image"]["path"]] == "astronaut.png")
    assert [(point["category"], point["x"], point["y"]) for point in row["points"]] == [
        ("couch", 128.0, 384.0),
        ("couch", 256.0, 51.2),
        ("person", 204.8, 204.8),
    ]
    assert [(count["category"], count["source_category"], count["count"]) for count in row["counts"]] == [
        ("couch", "couches", 2),
        ("person", "person", 1),
    ]
    assert not rows["is_labeled"].any()
    assert rows["labels"].list.len().sum() == 0


def test_dead_links_and_other_bytes_are_reject_rows_that_do_not_fail_the_gate(made: Made) -> None:
    rules = made.project.rules(POINTS) | made.project.rules(MORE_POINTS)
    assert {made.pages[path]: found for path, found in rules.items()} == {
        "gone.jpg": ["dead_link"],
        "changed.jpg": ["wrong_sha256"],
    }


def test_dagster_shows_rejections_by_rule_and_downloads_by_outcome(made: Made) -> None:
    shown = [made.project.metadata(key) for key in (POINTS, MORE_POINTS)]

    def total(name: str) -> int:
        return sum(metadata.get(name, 0) for metadata in shown)

    assert (total("photos_in"), total("dagster/partition_row_count"), total("rejected")) == (7, 5, 2)
    assert (total("rejected/dead_link"), total("rejected/wrong_sha256")) == (1, 1)
    assert total("source/downloads_asked") == 7
    assert total("source/download_refused_dead_link") == total("source/download_refused_wrong_sha256") == 1
    assert total("source/download_bytes") == sum(
        len(data) for name, data in made.site.files.items() if name != "gone.jpg"
    )


def test_what_was_made_is_not_made_or_fetched_again(made: Made) -> None:
    config = made.project.config
    asked = made.site.total
    assert made.project.plan() == ALL
    assert not_made_as_planned(made.project.lake, ShardPlan(config.lake, config.s3), ALL) == []
    assert made.site.total == asked == 7


def test_downloads_are_gone_once_their_shard_is_written(made: Made) -> None:
    kept = [path.name for path in (made.project.folder / ".forge/downloads").rglob("*.bin")]
    assert kept == []


def test_raw_images_load_with_hugging_face_datasets_and_decode(
    made: Made, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from datasets import load_dataset

    loaded = load_dataset(
        "parquet",
        data_files=f"{made.project.folder}/lake/raw_images/source=*/*/data.parquet",
        split="train",
        cache_dir=str(tmp_path_factory.mktemp("datasets")),
    )
    assert loaded.num_rows == 15
    stored = dict(pl.concat(made.project.rows(key) for key in ALL).select("image_id", "byte_size").iter_rows())
    for row in loaded:
        assert isinstance(row["image"], Image.Image)
        assert sorted(row["image"].size) == sorted((row["width"], row["height"]))
        assert stored[row["image_id"]] == row["byte_size"]
