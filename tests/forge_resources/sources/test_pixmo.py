"""PixMo as published: tables in their very schemas, photos behind a server on this machine."""

import hashlib
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import boto3
import polars as pl
import pytest

from forge_resources.config import PixMoConfig
from forge_resources.images import UnusablePhoto
from forge_resources.s3 import S3Config, S3Uri
from forge_resources.sources.base import Count, LabelProblem, Member, Point, SourceError
from forge_resources.sources.pixmo import pixmo

NO_S3 = S3Config()
POINTS = {
    "image_url": pl.String(),
    "image_sha256": pl.String(),
    "points": pl.List(pl.Struct({"x": pl.Float64(), "y": pl.Float64()})),
    "count": pl.Int64(),
    "label": pl.String(),
    "collection_method": pl.String(),
}
COUNT = {
    "image_url": pl.String(),
    "image_sha256": pl.String(),
    "count": pl.Int64(),
    "points": pl.Struct({"x": pl.List(pl.Float64()), "y": pl.List(pl.Float64())}),
    "label": pl.String(),
}
CAP = {"image_url": pl.String(), "caption": pl.String(), "transcripts": pl.List(pl.String())}


def packaged(package, path) -> bytes:
    return (Path(find_spec(package).submodule_search_locations[0]) / path).read_bytes()


PHOTOS = {
    "bus.jpg": packaged("ultralytics", "assets/bus.jpg"),
    "zidane.jpg": packaged("ultralytics", "assets/zidane.jpg"),
    "rocket.jpg": packaged("skimage", "data/rocket.jpg"),
}


def sha(name):
    return hashlib.sha256(PHOTOS[name]).hexdigest()


def key(url):
    return hashlib.sha256(url.encode()).hexdigest()[:32]


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked[self.path] += 1
        data = PHOTOS.get(self.path[1:])
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def pixmo_site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.asked = Counter()
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def dots(*points):
    return [{"x": x, "y": y} for x, y in points]


def row(url, label="dog", points=((10.0, 20.0),), count="as many", sha256=None):
    """A row of pixmo-points."""
    number = len(points) if count == "as many" else count
    return {"image_url": url, "image_sha256": sha256, "points": dots(*points), "count": number, "label": label}


def counted(url, count, points=None, label="dog", sha256=None):
    """A row of pixmo-count."""
    axes = None if points is None else {"x": [x for x, _ in points], "y": [y for _, y in points]}
    return {"image_url": url, "image_sha256": sha256, "points": axes, "count": count, "label": label}


def source_of(folder, rows, table="points", schema=None, *, s3=NO_S3, download=None, **settings):
    """The source of a table of these rows, or of what `path` names where there are none."""
    if rows is not None:
        schema = schema or {"points": POINTS, "count": COUNT, "cap": CAP}[table]
        (folder / "table").mkdir(exist_ok=True)
        pl.DataFrame(rows, schema=schema).write_parquet(folder / "table" / "train-00000-of-00001.parquet")
    config = PixMoConfig(
        **{"path": folder / "table", **settings},
        table=table,
        download={"allow_private_addresses": True, "max_attempts": 1, **(download or {})},
    )
    return pixmo("px", config, s3, folder / "cache")


def labels_of(source, url, size=(200, 100)):
    with source.open_shard([member := Member(key(url), 0)]) as shard:
        return shard.labels(member, *size)


def labels(tmp_path, *rows, size=(200, 100), **settings):
    return labels_of(source_of(tmp_path, list(rows), **settings), rows[0]["image_url"], size)


# --- photos


def test_every_distinct_address_is_one_photo_or_one_refusal(tmp_path, pixmo_site):
    site = pixmo_site.address
    rows = [
        row(f"{site}/bus.jpg", sha256=sha("bus.jpg")),
        row(f"{site}/bus.jpg", "cat", sha256=sha("bus.jpg").upper()),
        row(f"{site}/zidane.jpg"),
        row(f"{site}/rocket.jpg", sha256=sha("bus.jpg")),
        row(f"{site}/gone.jpg"),
        row("ftp://example.com/a.jpg"),
        row("no address at all"),
        row(""),
        row(None),
    ]
    source = source_of(tmp_path, rows)
    members = source.list_photos()
    urls = {one["image_url"] or "" for one in rows}
    assert [member.path for member in members] == sorted(map(key, urls))
    assert all(member.byte_size == 0 and member.version for member in members)
    outcome = {}
    with source.open_shard(members) as shard:
        for member in members:
            try:
                photo = shard.read(member)
                assert (photo.rotation, photo.license) == (None, None)
                outcome[member.path] = photo.data
            except UnusablePhoto as problem:
                outcome[member.path] = problem.rule
    assert outcome == {
        key(f"{site}/bus.jpg"): PHOTOS["bus.jpg"],
        key(f"{site}/zidane.jpg"): PHOTOS["zidane.jpg"],
        key(f"{site}/rocket.jpg"): "wrong_sha256",
        key(f"{site}/gone.jpg"): "dead_link",
        key("ftp://example.com/a.jpg"): "url_refused",
        key("no address at all"): "url_refused",
        key(""): "url_refused",
    }
    figures = source.counts()
    assert (figures["downloads_asked"], figures["download_refused_url_refused"]) == (7, 3)
    assert (figures["download_refused_dead_link"], figures["download_refused_wrong_sha256"]) == (1, 1)


def test_bytes_are_kept_until_their_shard_is_written(tmp_path, pixmo_site):
    url = f"{pixmo_site.address}/bus.jpg"
    gone = f"{pixmo_site.address}/gone.jpg"
    source = source_of(tmp_path, [row(url), row(gone)])
    members = source.list_photos()

    def read():
        with source.open_shard(members) as shard:
            for member in members:
                try:
                    shard.read(member)
                except UnusablePhoto as problem:
                    assert problem.rule == "dead_link"  # noqa: PT017 - of one of two
        return pixmo_site.asked["/bus.jpg"], pixmo_site.asked["/gone.jpg"]

    assert read() == read() == (1, 1)
    source.written(members)
    assert read() == (2, 1)
    source = source_of(tmp_path, None, download={"keep": True})
    source.written(members)
    assert read() == (2, 1)
    assert source.counts()["downloads_from_cache"] == 2


def test_a_photo_that_the_tables_do_not_name_any_more_is_not_there(tmp_path):
    source = source_of(tmp_path, [row("http://a/b")])
    with source.open_shard([stray := Member("f" * 32, 0)]) as shard, pytest.raises(FileNotFoundError):
        shard.read(stray)


def test_captions_make_photos_without_labels(tmp_path):
    rows = [{"image_url": "http://a/b", "caption": "A dog.", "transcripts": ["a", "b"]}]
    source = source_of(tmp_path, rows, "cap")
    assert [member.path for member in source.list_photos()] == [key("http://a/b")]
    found = labels_of(source, "http://a/b")
    assert (found.is_labeled, found.points, found.counts, found.problems) == (False, (), (), ())


@pytest.mark.parametrize(
    ("hashes", "rule"),
    [(("a" * 64, "b" * 64), "label_sha256_conflict"), (("a" * 63, None), "label_sha256_malformed")],
)
def test_labels_of_bytes_that_cannot_be_proven_are_not_used(tmp_path, pixmo_site, hashes, rule):
    url = f"{pixmo_site.address}/bus.jpg"
    source = source_of(tmp_path, [row(url, f"l{n}", sha256=one) for n, one in enumerate(hashes)])
    found = labels_of(source, url)
    assert (found.points, found.counts) == ((), ())
    assert [problem.rule for problem in found.problems] == [rule]
    assert "row 1: SHA-256 aaa" in found.problems[0].detail
    with source.open_shard(members := source.list_photos()) as shard:
        assert shard.read(members[0]).data == PHOTOS["bus.jpg"]


# --- points and counts


def test_points_are_percent_and_those_of_pixmo_count_are_pixels(tmp_path):
    found = labels(tmp_path, row("u", " Dog ", ((10.0, 20.0), (50.0, 100.0))))
    assert found.points == (Point("0-0", "Dog", 20, 20), Point("0-1", "Dog", 100, 100))
    assert found.counts == (Count("Dog", 2),)
    assert not found.is_labeled
    found = labels(tmp_path, counted("u", 2, ((10.0, 20.0), (150.0, 100.0))), table="count")
    assert found.points == (Point("0-0", "dog", 10, 20), Point("0-1", "dog", 150, 100))
    assert found.counts == (Count("dog", 2),)


def test_the_unit_can_be_told(tmp_path):
    (point,) = labels(tmp_path, row("u"), point_unit="pixels").points
    assert (point.x, point.y) == (10, 20)
    (point,) = labels(tmp_path, counted("u", 1, ((10.0, 20.0),)), table="count", point_unit="percent").points
    assert (point.x, point.y) == (20, 20)


def test_labels_of_one_address_come_together_whatever_the_order_of_rows_and_files(tmp_path):
    rows = [
        row("u", "dog"),
        row("u", "cat", ((1.0, 1.0), (2.0, 2.0))),
        row("v"),
        row("u", "ant", (), 0),
        row("u", "dog"),
    ]
    first = source_of(tmp_path, rows)
    members, found = first.list_photos(), labels_of(first, "u")
    assert [(point.label_id, point.category) for point in found.points] == [
        ("1-0", "cat"),
        ("1-1", "cat"),
        ("2-0", "dog"),
    ]
    assert found.counts == (Count("ant", 0), Count("cat", 2), Count("dog", 1))
    assert found.problems == ()
    (tmp_path / "table" / "deep").mkdir()
    pl.DataFrame(rows[3:], schema=POINTS).write_parquet(tmp_path / "table/deep/b.parquet")
    again = source_of(tmp_path, rows[:3][::-1])
    assert again.list_photos() == members
    assert labels_of(again, "u") == found


def test_a_row_that_is_there_twice_is_noted(tmp_path, caplog):
    assert len(labels(tmp_path, row("u"), row("u")).points) == 1
    assert "row_repeated: 1, such as train-00000-of-00001.parquet: row 1" in caplog.text


def test_a_count_that_its_points_deny_is_dropped_and_told(tmp_path):
    found = labels(tmp_path, row("u", count=3), row("u", "cat", (), 2))
    assert [point.category for point in found.points] == ["dog"]
    assert found.counts == ()
    assert {problem.rule for problem in found.problems} == {"label_count_mismatch"}
    assert any("row 1: dog is counted as 3 and has 1 points" in problem.detail for problem in found.problems)


@pytest.mark.parametrize("points", [None, ()])
def test_counts_without_points_stand_alone_in_pixmo_count(tmp_path, points):
    found = labels(tmp_path, counted("u", 7, points), table="count")
    assert (found.counts, found.points, found.problems) == ((Count("dog", 7),), (), ())


def test_the_splits_of_pixmo_count_without_points_are_read(tmp_path):
    schema = {name: dtype for name, dtype in COUNT.items() if name != "points"}
    rows = [{"image_url": "u", "image_sha256": None, "count": 7, "label": "dog"}]
    assert labels_of(source_of(tmp_path, rows, "count", schema), "u").counts == (Count("dog", 7),)


def test_two_rows_that_differ_on_one_class_are_told(tmp_path):
    found = labels(tmp_path, row("u"), row("u", points=((1.0, 1.0), (2.0, 2.0))))
    assert (found.points, found.counts) == ((), ())
    assert [problem.rule for problem in found.problems] == ["label_count_mismatch"]
    assert "dog is counted as 1 and as 2: neither row is used" in found.problems[0].detail
    found = labels(tmp_path, row("u"), row("u", points=((5.0, 5.0),)))
    assert len(found.points) == 1
    assert [problem.rule for problem in found.problems] == ["label_duplicate"]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (row("u", None), "no label"),
        (row("u", "  "), "no label"),
        (row("u", count=-1), "a count below 0 or beyond all reason"),
        (row("u", count=2**40), "a count below 0 or beyond all reason"),
        (row("u", points=((None, 1.0),)), "a point without a finite x and y"),
        (row("u", points=((1.0, float("nan")),)), "a point without a finite x and y"),
        (row("u", points=((float("inf"), 1.0),)), "a point without a finite x and y"),
    ],
)
def test_a_row_that_makes_no_sense_is_told_and_the_others_stay(tmp_path, bad, told):
    found = labels(tmp_path, bad, row("u", "cat"))
    detail = f"train-00000-of-00001.parquet: row 1: {told}"
    assert found.problems == (LabelProblem("label_malformed", detail),)
    assert [point.category for point in found.points] == ["cat"]


def test_lists_of_two_lengths_are_told(tmp_path):
    bad = {**counted("u", 2), "points": {"x": [1.0, 2.0], "y": [1.0]}}
    found = labels(tmp_path, bad, table="count")
    assert [problem.detail.partition("row 1: ")[2] for problem in found.problems] == ["not as many x as y"]


def test_points_outside_the_photo_are_told(tmp_path):
    found = labels(tmp_path, row("u", points=((101.0, 5.0), (5.0, -1.0), (5.0, 5.0))))
    assert [point.label_id for point in found.points] == ["0-2"]
    assert [problem.rule for problem in found.problems] == ["label_point_outside"] * 2
    assert any("row 1: point 0-0 at (101, 5) percent" in problem.detail for problem in found.problems)
    found = labels(tmp_path, counted("u", 2, ((201.0, 5.0), (150.0, 5.0))), table="count")
    assert [point.label_id for point in found.points] == ["0-1"]
    assert [problem.rule for problem in found.problems] == ["label_point_outside"]


def test_pixels_in_a_table_of_percent_are_refused(tmp_path):
    rows = [row(f"u{n}", points=((640.0, 20.0),)) for n in range(5)]
    with pytest.raises(
        SourceError, match=r"source px: 5 of 5 photos have points that are no percent, up to 640: set `poi"
    ):
        source_of(tmp_path, rows).list_photos()
    assert len(source_of(tmp_path, rows, point_unit="pixels").list_photos()) == 5


def test_percent_in_a_table_of_pixels_is_noted(tmp_path, caplog):
    rows = [counted(f"u{n}", 1, ((float(n), 99.0),)) for n in range(30)]
    assert len(source_of(tmp_path, rows, "count").list_photos()) == 30
    assert "no point of 30 photos is over 100: check `point_unit`" in caplog.text


# --- tables that are not what they say


@pytest.mark.parametrize(
    ("table", "schema", "told"),
    [
        (
            "points",
            CAP,
            r"has no column image_sha256, it has image_url, caption, transcripts: this is not pixmo-points",
        ),
        ("points", COUNT, r"column points has Struct\(.* where lists of \{x, y\} belong"),
        ("count", POINTS, r"column points has List\(.* where \{x, y\} of lists belong"),
        ("points", POINTS | {"count": pl.Float64()}, "column count has Float64 where whole numbers belong"),
        ("points", POINTS | {"label": pl.Int64()}, "column label has Int64 where text belong"),
        ("points", POINTS | {"points": pl.List(pl.Float64())}, "column points has List"),
        ("cap", POINTS, "has no column caption"),
    ],
)
def test_a_table_of_other_columns_is_refused(tmp_path, table, schema, told):
    with pytest.raises(SourceError, match=rf"source px: .*train-00000-of-00001.parquet.*{told}"):
        source_of(tmp_path, [], table, schema).list_photos()


def test_a_file_that_is_cut_or_no_parquet_is_refused(tmp_path):
    source = source_of(tmp_path, [row("u")])
    path = tmp_path / "table" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"train-00000-of-00001.parquet is no Parquet file that can be read in full"):
        source.list_photos()


def test_a_folder_without_tables_is_refused(tmp_path):
    (tmp_path / "table").mkdir()
    with pytest.raises(SourceError, match=r"there is no \*\.parquet in .*: correct `path`"):
        source_of(tmp_path, None).list_photos()
    with pytest.raises(SourceError, match="nowhere"):
        source_of(tmp_path, None, path=tmp_path / "nowhere").list_photos()


def test_another_setting_makes_another_index(tmp_path):
    rows = [row("u")]
    percent = labels(tmp_path, *rows).points
    assert labels(tmp_path, *rows, point_unit="pixels").points != percent
    assert labels(tmp_path, *rows).points == percent


# --- S3


@pytest.fixture(scope="module")
def pixmo_s3(s3_server):
    return S3Config(endpoint_url=s3_server, region="us-east-1", path_style=True)


@pytest.fixture
def pixmo_bucket(pixmo_s3, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    bucket = boto3.resource("s3", endpoint_url=pixmo_s3.endpoint_url, region_name="us-east-1").Bucket("tables")
    bucket.create()
    return bucket


def test_tables_on_s3_are_those_on_disk(tmp_path, pixmo_s3, pixmo_bucket):
    rows = [row("u"), row("u", "cat"), row("v")]
    on_disk = source_of(tmp_path, rows)
    for n, part in enumerate((rows[:1], rows[1:])):
        pl.DataFrame(part, schema=POINTS).write_parquet(tmp_path / f"{n}.parquet")
        pixmo_bucket.upload_file(str(tmp_path / f"{n}.parquet"), f"px/data/{n}.parquet")
    pixmo_bucket.put_object(Key="px/README.md", Body=b"")
    on_s3 = source_of(tmp_path, None, s3=pixmo_s3, path=S3Uri("tables", "px"))
    assert on_s3.list_photos() == on_disk.list_photos()
    assert labels_of(on_s3, "u") == labels_of(on_disk, "u")
    one = source_of(tmp_path, None, s3=pixmo_s3, path=S3Uri("tables", "px/data/0.parquet"))
    assert [member.path for member in one.list_photos()] == [key("u")]
    with pytest.raises(SourceError, match=r"there is no \*\.parquet in s3://tables/other"):
        source_of(tmp_path, None, s3=pixmo_s3, path=S3Uri("tables", "other")).list_photos()
