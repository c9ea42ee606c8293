"""Photos under an S3 prefix, as buckets are found."""

import pytest

from forge_resources.images import UnusablePhoto
from forge_resources.s3 import S3Config, S3Error, S3Uri, client
from forge_resources.sources.base import PhotoFile, SourceError
from forge_resources.sources.files import S3Files, open_files


@pytest.fixture
def put(s3_config, s3_bucket):
    """Puts objects under `photos` of an empty bucket."""

    def put(objects: dict[str, bytes], prefix: str = "photos/") -> S3Uri:
        s3 = client(s3_config)
        for key, data in objects.items():
            s3.put_object(Bucket=s3_bucket.bucket, Key=prefix + key, Body=data)
        return s3_bucket / prefix

    return put


@pytest.fixture
def listed(s3_config):
    def listed(place: S3Uri) -> dict[str, PhotoFile]:
        return {file.path: file for file in S3Files(place, s3_config, source="mine").list_files()}

    return listed


def test_photos_are_found_at_all_depths_with_size_and_etag(put, listed, s3_config):
    place = put({"a.jpg": b"abc", "b/c/d.PNG": b"d", "b/notes.txt": b"x", ".hidden/x.jpg": b"x", "b/": b""})
    files = listed(place)
    assert set(files) == {"a.jpg", "b/c/d.PNG"}
    assert files["a.jpg"] == PhotoFile("a.jpg", 3, "900150983cd24fb0d6963f7d28e17f72")
    assert S3Files(place, s3_config, source="mine").read("b/c/d.PNG") == b"d"


def test_a_prefix_is_a_folder_and_not_a_beginning(put, listed):
    put({"x.jpg": b"x"}, "photos2/")
    place = put({"a.jpg": b"a"})
    assert set(listed(place)) == {"a.jpg"}


def test_a_whole_bucket_is_a_place_too(put, listed, s3_bucket):
    put({"a.jpg": b"a", "b/c.jpg": b"c"}, "")
    assert set(listed(s3_bucket)) == {"a.jpg", "b/c.jpg"}


@pytest.mark.slow
def test_more_objects_than_fit_a_page_are_all_listed(put, listed):
    place = put({f"{number}.jpg": b"x" for number in range(1_010)})
    assert len(listed(place)) == 1_010


def test_an_empty_prefix_says_what_to_do(listed, s3_bucket):
    with pytest.raises(SourceError, match=r"source mine: nothing lies under s3://.*/none: correct `path`"):
        listed(s3_bucket / "none")


def test_an_absent_bucket_is_named(listed):
    with pytest.raises(SourceError, match=r"cannot list s3://nowhere-at-all/photos: .*no such bucket"):
        listed(S3Uri("nowhere-at-all", "photos"))


def test_a_photo_that_is_not_there_is_not_found(put, s3_config):
    files = S3Files(put({"a.jpg": b"a"}), s3_config, source="mine")
    for path in ("b.jpg", "b%5Cc.jpg"):
        with pytest.raises(FileNotFoundError):
            files.read(path)


@pytest.mark.usefixtures("s3_credentials")
def test_a_store_that_cannot_be_reached_is_no_bad_photo(tmp_path):
    config = S3Config(endpoint_url="http://127.0.0.1:9", path_style=True, max_attempts=1)
    with open_files(S3Uri("bucket"), config, tmp_path, source="mine") as files, pytest.raises(S3Error, match="reached"):
        files.read("a.jpg")


def test_keys_of_no_file_are_listed_under_safe_paths_and_refused(put, s3_config, listed):
    place = put({"a\\b.jpg": b"x", "a//b.jpg": b"x", "/top.jpg": b"x", "50%25.jpg": b"good", "c:x.jpg": b"x"})
    rules = {}
    files = S3Files(place, s3_config, source="mine")
    for path in listed(place):
        try:
            assert files.read(path) == b"good"
        except UnusablePhoto as error:
            rules[path] = error.rule
    assert rules == {
        "a%5Cb.jpg": "unreadable_file",
        "a/%2F/b.jpg": "unreadable_file",
        "%2F/top.jpg": "outside_folder",
        "c%3Ax.jpg": "outside_folder",
    }


def test_a_path_out_of_the_prefix_is_refused(put, s3_config):
    put({"secret.jpg": b"secret"}, "")
    files = S3Files(put({"a.jpg": b"a"}), s3_config, source="mine")
    for path in ("../secret.jpg", "a/../../secret.jpg", "/secret.jpg"):
        with pytest.raises(UnusablePhoto, match="outside_folder"):
            files.read(path)


def test_public_buckets_are_read_without_credentials(put, s3_config, monkeypatch):
    place = put({"a.jpg": b"a"})
    s3 = client(s3_config)
    s3.put_bucket_acl(Bucket=place.bucket, ACL="public-read")
    s3.put_object_acl(Bucket=place.bucket, Key="photos/a.jpg", ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(SourceError, match="no credentials"):
        list(S3Files(place, s3_config, source="mine").list_files())
    files = S3Files(place, s3_config.model_copy(update={"unsigned": True}), source="mine")
    assert [files.read(file.path) for file in files.list_files()] == [b"a"]


@pytest.mark.usefixtures("s3_credentials")
def test_an_answer_that_breaks_midway_is_asked_for_again(broken_once):
    config = S3Config(endpoint_url=broken_once, path_style=True, max_attempts=2)
    assert S3Files(S3Uri("bucket"), config, source="mine").read("a.jpg") == b"the whole photo"


def test_a_marked_empty_folder_does_not_hide_an_archive(put, s3_config, tmp_path):
    place = put({"patch0/": b"", "patch1/": b"", "patch1/a.jpg": b"x"})
    with open_files(place, s3_config, tmp_path, source="mine") as files:
        assert files.groups() == {"patch1"}
