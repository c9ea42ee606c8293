"""OpenImages as published: tables in its very columns around real photos, in folders and on S3."""

import csv
import io
import random
from importlib.util import find_spec
from pathlib import Path

import boto3
import numpy as np
import pytest
from PIL import ExifTags, Image

from forge_resources.config import OpenImagesConfig
from forge_resources.s3 import S3Config, S3Uri
from forge_resources.sources.base import LabelProblem, Member, Relationship, SourceError
from forge_resources.sources.openimages import PUBLIC_BUCKET, openimages

BOX_HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
)
CLICKS = ",XClick1X,XClick2X,XClick3X,XClick4X,XClick1Y,XClick2Y,XClick3Y,XClick4Y"
IMAGE_HEADER = (
    "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,"
    "Thumbnail300KURL,Rotation"
)
PAIR_HEADER = "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel"
BUS, ZIDANE, ASTRONAUT, PLAIN = "000002b66c9c498e", "000002b97e5471a0", "000002c707c9895e", "000002d5ed1b1d6d"
NO_S3 = S3Config()
PERSON, VEHICLE, UNNAMED, WOODEN = "/m/01g317", "/m/01bjv", "/m/0zzzz", "/m/083vt"
CC_BY = "https://creativecommons.org/licenses/by/2.0/"


def packaged(package, path) -> bytes:
    return (Path(find_spec(package).submodule_search_locations[0]) / path).read_bytes()


PHOTOS = {
    BUS: packaged("ultralytics", "assets/bus.jpg"),
    ZIDANE: packaged("ultralytics", "assets/zidane.jpg"),
    ASTRONAUT: packaged("skimage", "data/rocket.jpg"),
}


def box(image=BUS, label=PERSON, corners=("0.1", "0.4", "0.2", "0.8"), flags="0,0,0,0,0", confidence=1):
    return f"{image},xclick,{label},{confidence},{','.join(corners)},{flags}"


def image(image_id, rotation="0.0", license_url=CC_BY, title="A title"):
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(
        [
            image_id,
            "train",
            "https://a/b.jpg",
            "https://a/b",
            license_url,
            "https://a",
            "Ann",
            title,
            "99",
            "x==",
            "",
            rotation,
        ]
    )
    return row.getvalue()


class OpenImages:
    """A small subset, written to disk, and its source."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.photos = folder / "train"
        self.boxes, self.box_header = [box(), box(ZIDANE), box(ASTRONAUT)], BOX_HEADER
        self.images, self.image_header = [image(BUS), image(ZIDANE), image(ASTRONAUT)], IMAGE_HEADER
        self.names = [f"{PERSON},Person", f"{VEHICLE},Bus", f'{WOODEN},"Wooden, made of wood"']
        self.pairs = None
        self.settings = {}
        for image_id, data in PHOTOS.items():
            path = self.photos / image_id[:1] / f"{image_id}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def write(self):
        tables = {
            "boxes": [self.box_header, *self.boxes],
            "images": [self.image_header, *self.images],
            "class_descriptions": self.names,
        }
        if self.pairs is not None:
            tables["relationships"] = [PAIR_HEADER, *self.pairs]
        for name, lines in tables.items():
            (self.folder / f"{name}.csv").write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
        return {name: self.folder / f"{name}.csv" for name in tables}

    def source(self, s3=NO_S3):
        config = OpenImagesConfig(**{"path": self.photos, **self.write(), **self.settings})
        return openimages("train", config, s3, self.folder / "cache")

    def labels(self, image_id=BUS, size=(810, 1080)):
        source = self.source()
        (member,) = [member for member in source.list_photos() if image_id in member.path]
        with source.open_shard([member]) as shard:
            return shard.labels(member, *size)


@pytest.fixture
def published(tmp_path):
    return OpenImages(tmp_path)


def refused(published) -> str:
    with pytest.raises(SourceError) as caught:
        published.source().list_photos()
    assert str(caught.value).startswith("source train: ")
    return str(caught.value)


# --- boxes


def test_a_box_comes_in_pixels_with_its_class_s_name(published):
    (label,) = published.labels().labels
    assert label.category == "Person"
    assert (label.x1, label.x2, label.y1, label.y2) == pytest.approx((81, 324, 216, 864))
    assert published.labels().is_labeled


def test_each_flag_is_read_and_minus_one_is_not_said(published):
    published.boxes += [
        box(corners=("0", "0.1", "0", "0.1"), flags="1,0,0,0,0"),
        box(corners=("0", "0.2", "0", "0.1"), flags="0,1,0,0,0"),
        box(corners=("0", "0.3", "0", "0.1"), flags="0,0,1,0,0"),
        box(corners=("0", "0.4", "0", "0.1"), flags="0,0,0,1,0"),
        box(corners=("0", "0.5", "0", "0.1"), flags="0,0,0,0,1"),
        box(corners=("0", "0.6", "0", "0.1"), flags="-1,-1,-1,-1,-1"),
    ]
    told = {
        round(label.x2 / 81): (
            label.is_occluded,
            label.is_truncated,
            label.is_group,
            label.is_depiction,
            label.is_inside,
        )
        for label in published.labels().labels
        if label.y1 == 0
    }
    assert told == {n: tuple(place == n - 1 for place in range(5)) for n in range(1, 6)} | {6: (None,) * 5}


def test_the_train_table_with_clicks_and_columns_in_another_order_are_read_by_name(published):
    plain = published.labels().labels
    published.box_header += CLICKS
    published.boxes = [line + ",0.1,0.2,0.3,0.4,0.1,0.2,0.3,0.4" for line in published.boxes]
    assert published.labels().labels == plain
    published.box_header, *published.boxes = (
        ",".join(line.split(",")[::-1]) for line in [published.box_header, *published.boxes]
    )
    assert published.labels().labels == plain


def test_ids_do_not_depend_on_the_order_of_lines(published):
    published.boxes += [box(corners=("0", f"0.{n}", "0", "0.5"), label=VEHICLE) for n in range(1, 9)]
    first = published.labels()
    versions = published.source().list_photos()
    random.Random(3).shuffle(published.boxes)
    assert published.labels().labels == first.labels
    assert published.source().list_photos() == versions
    assert len({label.label_id for label in first.labels}) == 9
    published.boxes.append(box(corners=("0", "0.95", "0", "0.5")))
    assert {label.label_id for label in first.labels} < {label.label_id for label in published.labels().labels}
    changed = {new.path for old, new in zip(versions, published.source().list_photos(), strict=True) if old != new}
    assert changed == {f"0/{BUS}.jpg"}


def test_a_class_without_description_keeps_its_mid(published, caplog):
    published.boxes.append(box(label=UNNAMED))
    assert {label.category for label in published.labels().labels} == {"Person", UNNAMED}
    assert f"class_not_described: 1, such as {UNNAMED} is kept under its MID" in caplog.text


def test_a_row_that_denies_the_class_is_no_box(published, caplog):
    published.boxes.append(box(label=VEHICLE, confidence=0))
    assert [label.category for label in published.labels().labels] == ["Person"]
    assert "boxes.csv: line 5: says that the class is not there" in caplog.text


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (box(corners=("0.1", "x", "0.2", "0.8")), "XMax 'x' is no number from 0 to 1"),
        (box(corners=("0.1", "1.5", "0.2", "0.8")), "XMax '1.5' is no number from 0 to 1"),
        (box(corners=("-0.1", "0.5", "0.2", "0.8")), "XMin '-0.1' is no number from 0 to 1"),
        (box(corners=("0.1", "0.5", "nan", "0.8")), "YMin 'nan' is no number from 0 to 1"),
        (box(corners=("0.1", "0.5", "0.2", "")), "YMax '' is no number from 0 to 1"),
        (box(confidence="sure"), "Confidence 'sure' is no number from 0 to 1"),
        (box(flags="0,0,2,0,0"), "IsGroupOf '2' is none of 1, 0 and -1"),
        (box(flags="0,0,,0,0"), "IsGroupOf '' is none of 1, 0 and -1"),
        (box(label=""), "LabelName '' is empty"),
        (box(label="/m/\udcff"), "LabelName '/m/\ufffd' is not UTF-8"),
        (box() + ",7", "14 fields where the header has 13"),
        (box()[:-8], "9 fields where the header has 13"),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_the_others_stay(published, bad, told):
    published.boxes = [bad, *(box(corners=("0.1", f"0.{n}", "0.2", "0.8")) for n in range(2, 9))]
    found = published.labels()
    assert found.problems == (LabelProblem("label_malformed", f"boxes.csv: line 2: {told}"),)
    assert len(found.labels) == 7
    assert found.is_labeled


def test_a_cut_last_line_is_a_bad_row(published):
    published.boxes += [box(corners=("0.1", "0.5", "0.2", "0.8")), box(corners=("0.1", "0.6", "0.2", "0.8"))[:40]]
    found = published.labels()
    assert len(found.labels) == 2
    assert [problem.rule for problem in found.problems] == ["label_malformed"]
    assert "line 6: 6 fields" in found.problems[0].detail


@pytest.mark.parametrize(
    ("closing", "told"), [('xclick",', "runs over several lines, by a quote"), ('xclick"', "up to line 7, by a quote")]
)
def test_rows_that_stray_quotes_swallow_are_told(published, closing, told):
    first, last = box(corners=("0.1", "0.5", "0.2", "0.8")), box(corners=("0.1", "0.6", "0.2", "0.8"))
    swallowing = [
        first.replace("xclick", '"xclick'),
        box(ZIDANE),
        last.replace("xclick,", closing).replace('"/m', '",7,/m'),
    ]
    published.boxes += [*swallowing, *[box(ASTRONAUT)] * 9]
    found = published.labels()
    assert len(found.labels) == 1
    assert "line 5: " in found.problems[0].detail
    assert told in found.problems[0].detail


def test_a_row_of_no_photo_is_noted(published, caplog):
    published.boxes += ["", "a/b" + box()[16:], "ffff,xclick", box().replace("xclick", '"x"click')]
    assert len(published.labels().labels) == 1
    assert "row_of_no_photo: 3" in caplog.text
    assert "boxes.csv: line 8: no CSV" in caplog.text


def test_inverted_and_empty_boxes_are_told_when_the_photo_is_read(published):
    published.boxes += [box(corners=("0.4", "0.1", "0.2", "0.8")), box(corners=("0.4", "0.4", "0.2", "0.8"))]
    assert sorted(problem.rule for problem in published.labels().problems) == ["label_inverted", "label_zero_size"]


# --- tables that are not what they say


def test_a_table_without_header_is_refused(published):
    published.box_header = box()
    message = refused(published)
    assert "boxes.csv: line 1: the header must name ImageID, Source, LabelName" in message
    assert BUS in message


@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_delimiter_is_refused(published, separator):
    published.box_header = BOX_HEADER.replace(",", separator)
    published.boxes = [line.replace(",", separator) for line in published.boxes]
    assert "fields separated by commas" in refused(published)


def test_a_missing_or_repeated_column_is_named(published):
    published.box_header = BOX_HEADER.replace("XMax", "X2")
    assert "must name XMax, each once" in refused(published)
    published.box_header = BOX_HEADER.replace("XMax", "XMin")
    assert "must name XMin, XMax, each once" in refused(published)


def test_columns_moved_under_an_unmoved_header_are_refused(published):
    shaken = random.Random(1)
    for n in range(200):
        x, y = shaken.uniform(0, 0.6), shaken.uniform(0, 0.6)
        published.boxes.append(box(corners=(f"{x}", f"{y}", f"{x + 0.1}", f"{y + n / 900}")))
    message = refused(published)
    assert "its columns are moved" in message
    assert "boxes.csv: line " in message


def test_pixels_in_place_of_shares_are_refused(published):
    published.boxes = [box(corners=("10", f"{n}", "20", "80")) for n in range(30, 60)]
    assert "boxes.csv: line 2: XMin '10' is no number from 0 to 1" in refused(published)


def test_an_empty_file_and_a_table_without_rows_are_refused(published):
    published.boxes = []
    assert "boxes.csv has no rows" in refused(published)
    published.box_header = ""
    assert "the file is empty" in refused(published)


def test_a_quote_that_is_never_closed_is_refused_with_its_line(published):
    published.boxes[1:1] = ['"' + box(), *[box()] * 5_000]
    assert "boxes.csv: line 3: a quote that opens in this row is never closed" in refused(published)


def test_a_table_in_utf_16_is_refused(published):
    source = published.source()
    path = published.folder / "boxes.csv"
    path.write_bytes(path.read_text().encode("utf-16"))
    with pytest.raises(SourceError, match="the header must name"):
        source.list_photos()


def test_tables_of_two_subsets_are_refused(published):
    published.images = [image("00000000000000ff")]
    assert "images.csv lists no image of boxes.csv" in refused(published)


def test_descriptions_of_other_classes_are_refused(published):
    published.names = ["/m/0aaaa,Nothing"]
    assert "class_descriptions.csv describes no class of boxes.csv" in refused(published)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Person,/m/01g317", "line 2: ['Person', '/m/01g317'] is not a MID"),
        ("/m/01g317", "line 2: ['/m/01g317'] is not a MID"),
        ("/m/01bjv,Coach", "line 2: /m/01bjv was 'Bus' before and is 'Coach' here"),
    ],
)
def test_bad_descriptions_are_refused_with_their_line(published, line, told):
    published.names = [f"{VEHICLE},Bus", line]
    assert told in refused(published)


def test_descriptions_may_have_a_header(published):
    plain = published.labels()
    published.names.insert(0, "LabelName,DisplayName")
    assert published.labels().labels == plain.labels


def test_an_absent_table_is_named(published):
    published.settings["images"] = published.folder / "nowhere.csv"
    assert "nowhere.csv" in refused(published)


# --- images


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_painted_box_is_found_again_once_the_photo_is_turned(published, rotation):
    pixels = np.array(Image.open(io.BytesIO(PHOTOS[ZIDANE])).convert("RGB"))
    height, width = pixels.shape[:2]
    pixels[100:220, 320:960] = (255, 0, 255)
    out, exif = io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels).save(out, "JPEG", quality=95, exif=exif)
    (published.photos / f"0/{ZIDANE}.jpg").write_bytes(out.getvalue())
    published.images[1] = image(ZIDANE, f"{rotation}.0")
    published.boxes[1] = box(ZIDANE, corners=(f"{320 / width}", f"{960 / width}", f"{100 / height}", f"{220 / height}"))
    source = published.source()
    (member,) = [member for member in source.list_photos() if ZIDANE in member.path]
    with source.open_shard([member]) as shard:
        photo = shard.read(member)
        assert photo.rotation == rotation
        upright = np.rot90(np.array(Image.open(io.BytesIO(photo.data))), rotation // 90)
        (label,) = shard.labels(member, upright.shape[1], upright.shape[0]).labels
    painted = (upright[..., 0] > 200) & (upright[..., 1] < 60) & (upright[..., 2] > 200)
    rows, columns = np.nonzero(painted)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert (label.x1, label.y1, label.x2, label.y2) == pytest.approx(found, abs=1)


def test_rotation_that_nobody_knows_is_none_at_all(published):
    published.images = [image(BUS, ""), image(ZIDANE, "nan"), image(ASTRONAUT, "90")]
    source = published.source()
    with source.open_shard(members := source.list_photos()) as shard:
        assert [shard.read(member).rotation for member in members] == [0, 0, 90]


def test_each_photo_has_its_licence(published):
    published.images = [
        image(BUS, license_url="https://l/1", title='Buses, "red"\nand two lines'),
        image(ZIDANE, license_url=""),
        image(ASTRONAUT, license_url="https://l/2", title="caf\udce9"),
    ]
    source = published.source()
    with source.open_shard(members := source.list_photos()) as shard:
        assert [shard.read(member).license for member in members] == ["https://l/1", None, "https://l/2"]
        assert [shard.read(member).data for member in members] == list(PHOTOS.values())


def test_an_image_row_that_is_bad_or_twice_is_told(published):
    published.images = [image(BUS, "45"), image(ZIDANE), image(ZIDANE, "90.0"), image(ASTRONAUT), image(ASTRONAUT)]
    bad = "images.csv: line 2: Rotation '45' is none of 0, 90, 180 and 270"
    published.images += [image(f"{n:016x}") for n in range(9)]
    assert published.labels(BUS).problems == (LabelProblem("label_malformed", bad),)
    twice = "images.csv: lines 3 and 4 differ in Rotation or License"
    assert published.labels(ZIDANE).problems == (LabelProblem("label_conflict", twice),)
    assert published.labels(ASTRONAUT).problems == ()


def test_a_photo_with_boxes_that_the_images_table_lacks_is_noted(published, caplog):
    del published.images[0]
    assert len(published.labels().labels) == 1
    assert f"image_not_listed: 1, such as {BUS} has boxes" in caplog.text


# --- which photos are members


def test_missing_photos_with_boxes_are_members_and_photos_without_boxes_are_not_awaited(published):
    published.images += [image(PLAIN), image("00000000000000ff")]
    published.boxes.append(box("00000000000000aa"))
    (published.photos / "0" / f"{PLAIN}.png").write_bytes(packaged("skimage", "data/astronaut.png"))
    source = published.source()
    members = source.list_photos()
    assert [member.path for member in members] == [
        "0/00000000000000aa.jpg",
        *(f"0/{image_id}.jpg" for image_id in PHOTOS),
        f"0/{PLAIN}.png",
    ]
    with source.open_shard(members) as shard:
        with pytest.raises(FileNotFoundError):
            shard.read(members[0])
        assert shard.read(members[-1]).license == CC_BY
        assert not shard.labels(members[-1], 512, 512).is_labeled
    published.settings["missing_photos"] = "skip"
    assert len(published.source().list_photos()) == 4


# --- relationships


def pair(first=PERSON, second=VEHICLE, a=("0.1", "0.4", "0.2", "0.8"), b=("0", "0.9", "0", "0.9"), how="at"):
    return f"{BUS},{first},{second},{','.join(a)},{','.join(b)},{how}"


def test_relationships_join_their_boxes_and_attributes_stand_alone(published, caplog):
    same = ("0.100000", "0.4000004", "0.2", "0.8")
    published.boxes.append(box(label=VEHICLE, corners=("0", "0.9", "0", "0.9")))
    published.pairs = [
        pair(),
        pair(a=same, how="inside_of"),
        pair(a=same, how="inside_of"),
        pair(second=WOODEN, b=("0.1", "0.4", "0.2", "0.8"), how="is"),
        pair(first=VEHICLE, how="at"),
        pair(b=("0", "0.8", "0", "0.9")),
    ]
    found = published.labels()
    ids = {label.category: label.label_id for label in found.labels}
    assert set(found.relationships) == {
        Relationship(ids["Person"], "at", ids["Bus"]),
        Relationship(ids["Person"], "inside_of", ids["Bus"]),
        Relationship(ids["Person"], "is", None, "Wooden, made of wood"),
    }
    assert len(found.relationships) == 3
    assert "relationship_unmatched: 2, such as relationships.csv: line 6: no such box in boxes.csv" in caplog.text


def test_a_bad_relationship_is_told(published):
    published.boxes.append(box(label=VEHICLE, corners=("0", "0.9", "0", "0.9")))
    published.pairs = [pair(how=""), *(pair(how=f"p{n}") for n in range(8))]
    found = published.labels()
    assert len(found.relationships) == 8
    bad = "relationships.csv: line 2: RelationshipLabel '' is empty"
    assert found.problems == (LabelProblem("label_malformed", bad),)


# --- S3


@pytest.fixture(scope="module")
def openimages_s3(s3_server):
    return S3Config(endpoint_url=s3_server, region="us-east-1", path_style=True)


@pytest.fixture
def openimages_bucket(openimages_s3, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return boto3.client("s3", endpoint_url=openimages_s3.endpoint_url, region_name="us-east-1")


def test_the_public_bucket_is_not_listed_and_an_absent_key_tells_when_read(published, openimages_s3, openimages_bucket):
    openimages_bucket.create_bucket(Bucket=PUBLIC_BUCKET, ACL="public-read")
    openimages_bucket.put_object(Bucket=PUBLIC_BUCKET, Key=f"train/{BUS}.jpg", Body=PHOTOS[BUS], ACL="public-read")
    openimages_bucket.put_object(Bucket=PUBLIC_BUCKET, Key="train/unnamed.jpg", Body=b"", ACL="public-read")
    published.settings["path"] = S3Uri(PUBLIC_BUCKET, "train")
    published.images.append(image(PLAIN))
    source = published.source(openimages_s3.model_copy(update={"unsigned": True}))
    members = source.list_photos()
    assert [(member.path, member.byte_size) for member in members] == [(f"{image_id}.jpg", 0) for image_id in PHOTOS]
    assert all(member.version for member in members)
    with source.open_shard(members) as shard:
        assert shard.read(members[0]).data == PHOTOS[BUS]
        assert shard.read(members[0]).license == CC_BY
        assert len(shard.labels(members[0], 810, 1080).labels) == 1
        with pytest.raises(FileNotFoundError):
            shard.read(members[1])
    source.written(members)
    assert source.counts() == {}


def test_a_prefix_of_one_s_own_with_tables_on_s3(published, openimages_s3, openimages_bucket):
    openimages_bucket.create_bucket(Bucket="mirror")
    for image_id, data in PHOTOS.items():
        openimages_bucket.put_object(Bucket="mirror", Key=f"oi/train/{image_id}.jpg", Body=data)
    for name, path in published.write().items():
        openimages_bucket.upload_file(str(path), "mirror", f"oi/{path.name}")
        published.settings[name] = S3Uri("mirror", f"oi/{path.name}")
    published.settings["path"] = S3Uri("mirror", "oi/train")
    source = published.source(openimages_s3)
    members = source.list_photos()
    assert [member.path for member in members] == [f"{image_id}.jpg" for image_id in PHOTOS]
    assert all(member.byte_size for member in members)
    with source.open_shard(members[:1]) as shard:
        assert shard.read(Member(members[0].path, 0)).data == PHOTOS[BUS]
        assert len(shard.labels(members[0], 810, 1080).labels) == 1
