"""The demo's photos: all there, all usable, all credited."""

from importlib.util import find_spec

import pytest

from forge_resources.images import inspect
from forge_resources.sources import SourceError, package_photos
from forge_resources.sources.package_photos import PACKAGE_PHOTOS, copy_photos

absent = sorted({photo.distribution for photo in PACKAGE_PHOTOS if find_spec(photo.package) is None})
needs_packages = pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")


def test_there_are_enough_photos_and_each_says_whose_it_is():
    assert len(PACKAGE_PHOTOS) >= 16
    assert len({photo.name for photo in PACKAGE_PHOTOS}) == len(PACKAGE_PHOTOS)
    assert all(photo.license and photo.credit for photo in PACKAGE_PHOTOS)


@needs_packages
def test_all_are_written_and_can_be_used(tmp_path):
    written = copy_photos(tmp_path / "deep" / "photos")
    assert tuple(written) == PACKAGE_PHOTOS
    folder = tmp_path / "deep" / "photos"
    assert sorted(path.name for path in folder.iterdir()) == sorted(photo.name for photo in PACKAGE_PHOTOS)
    for path in folder.iterdir():
        info, _ = inspect(path.read_bytes(), max_pixels=10_000_000, min_side=200)
        assert info.format in ("JPEG", "PNG")


@needs_packages
def test_writing_them_again_gives_the_same_bytes(tmp_path):
    copy_photos(tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "bus.jpg").write_bytes(b"spoilt")
    copy_photos(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(package_photos, "find_spec", lambda _name: None)
    with pytest.raises(SourceError, match=r"ultralytics, which is not installed: install spatialforge\[demo\]"):
        copy_photos(tmp_path / "photos")
    assert not (tmp_path / "photos").exists()


def test_a_version_without_the_photo_is_named(tmp_path, monkeypatch):
    class Elsewhere:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(package_photos, "find_spec", lambda _name: Elsewhere)
    with pytest.raises(SourceError, match=r"installed ultralytics does not carry assets/bus\.jpg"):
        copy_photos(tmp_path / "photos")


def test_a_video_that_cannot_be_decoded_is_an_error(tmp_path):
    video = tmp_path / "x.mp4"
    video.write_bytes(b"no video")
    with pytest.raises(SourceError, match="cannot read frame 3"):
        package_photos._frame(video, 3)
