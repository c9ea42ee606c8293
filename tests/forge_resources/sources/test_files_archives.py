"""Photos in archives: real ones, broken ones, hostile ones; on disk and on S3."""

import io
import os
import tarfile
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from forge_resources.images import UnusablePhoto
from forge_resources.s3 import S3Config, client
from forge_resources.sources.base import SourceError
from forge_resources.sources.files import open_files

KINDS = ["tar", "tar.gz", "tgz", "zip"]


def packaged(package: str, path: str) -> bytes:
    return (Path(find_spec(package).submodule_search_locations[0]) / path).read_bytes()


BUS = packaged("ultralytics", "assets/bus.jpg")
CAT = packaged("skimage", "data/chelsea.png")


def pack(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for number, (name, data) in enumerate(members.items()):
                archive.writestr(name, data, compress_type=zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, data in members.items():
            archive.addfile(sized(name, data), io.BytesIO(data))
    return path


def sized(name: str, data: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def opened(request, root, tmp_path):
    """Opens the files of `root`, in the folder itself or as uploaded to a bucket."""

    def in_folder():
        return open_files(root, S3Config(), tmp_path / "cache", source="mine")

    def on_s3():
        config, place = request.getfixturevalue("s3_config"), request.getfixturevalue("s3_bucket") / "set/one"
        s3 = client(config)
        for path in root.rglob("*"):
            if path.is_file():
                key = f"{place.key}/{path.relative_to(root)}"
                s3.put_object(Bucket=place.bucket, Key=key, Body=path.read_bytes())
        return open_files(place, config, tmp_path / "cache", source="mine")

    return in_folder if request.param == "folder" else on_s3


def contents(files) -> dict[str, bytes]:
    return {file.path: files.read(file.path) for file in files.list_files()}


def refused(files) -> dict[str, str]:
    rules = {}
    for file in files.list_files():
        try:
            files.read(file.path)
        except UnusablePhoto as error:
            rules[file.path] = error.rule
    return rules


@pytest.mark.parametrize("kind", KINDS)
def test_photos_are_read_from_any_archive_in_any_place(root, opened, kind):
    pack(root / f"patch0.{kind}", {"patch0/bus.jpg": BUS, "deep/er/cat.PNG": CAT, "./x.jpg": BUS[:9], "read.me": b"x"})
    with opened() as files:
        assert contents(files) == {"patch0/bus.jpg": BUS, "patch0/deep/er/cat.PNG": CAT, "patch0/x.jpg": BUS[:9]}
        assert {file.path: file.byte_size for file in files.list_files()}["patch0/bus.jpg"] == len(BUS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_reader_needs_no_listing_and_threads_share_it(root, opened, kind):
    photos = {f"{number:03}.jpg": BUS[number:] + bytes([number]) for number in range(60)}
    pack(root / f"patch0.{kind}", photos)
    with opened() as files, ThreadPoolExecutor(8) as pool:
        names = list(photos) * 2
        assert list(pool.map(files.read, [f"patch0/{name}" for name in names])) == [photos[name] for name in names]


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_members_are_left_out(root, opened, kind):
    pack(root / f"a.{kind}", {"__MACOSX/._x.jpg": b"x", ".cache/x.jpg": b"x", "x.jpg": BUS})
    with opened() as files:
        assert set(contents(files)) == {"a/x.jpg"}


def test_plain_files_and_archives_stand_side_by_side(root, opened, caplog):
    pack(root / "patch0.tar.gz", {"patch0/a.jpg": BUS})
    pack(root / "patch2.zip", {"c.png": CAT})
    pack(root / "patch1.zip", {"lost.jpg": BUS})
    (root / "patch1").mkdir()
    (root / "patch1/b.png").write_bytes(CAT)
    (root / "top.jpg").write_bytes(BUS)
    pack(root / "patch1/deeper.zip", {"d.jpg": BUS})
    with opened() as files:
        assert set(contents(files)) == {"patch0/a.jpg", "patch1/b.png", "patch2/c.png", "top.jpg"}
        assert files.groups() == {"patch0", "patch1", "patch2"}
    assert "the folder patch1 is taken, and patch1.zip is not opened" in caplog.text
    assert "patch1/deeper.zip lies in a folder and is not opened" in caplog.text
    with opened() as files, pytest.raises(FileNotFoundError):
        files.read("patch1/lost.jpg")


@pytest.mark.parametrize("path", ["patch0/none.jpg", "patch9/a.jpg", "none.jpg"])
def test_a_photo_that_is_not_there_is_not_found(root, opened, path):
    pack(root / "patch0.tar", {"patch0/a.jpg": BUS})
    with opened() as files, pytest.raises(FileNotFoundError):
        files.read(path)


def test_two_archives_of_one_name_are_an_error(root, opened):
    pack(root / "patch0.tar", {"a.jpg": BUS})
    pack(root / "patch0.zip", {"a.jpg": BUS})
    with opened() as files, pytest.raises(SourceError, match=r"patch0\.tar and patch0\.zip .*move all but one"):
        list(files.list_files())


@pytest.mark.parametrize("kind", KINDS)
def test_versions_follow_the_bytes_alone(root, opened, kind):
    pack(root / f"a.{kind}", {"x.jpg": BUS, "y.jpg": CAT})
    with opened() as files:
        before = {file.path: file.version for file in files.list_files()}
    pack(root / f"a.{kind}", {"y.jpg": CAT, "x.jpg": BUS[:-1] + b"!"})
    os.utime(root / f"a.{kind}", ns=(1, 1))
    with opened() as files:
        after = {file.path: file.version for file in files.list_files()}
        assert files.read("a/y.jpg") == CAT
    assert before["a/x.jpg"] != after["a/x.jpg"]
    assert before["a/y.jpg"] == after["a/y.jpg"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_indexed_once(root, opened, kind, caplog):
    caplog.set_level("INFO")
    pack(root / f"a.{kind}", {"x.jpg": BUS})
    for _ in range(3):
        with opened() as files:
            assert contents(files) == {"a/x.jpg": BUS}
    assert caplog.text.count("indexing") == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0, 0.5, 0.97])
def test_an_archive_that_was_cut_short_gives_no_photo(root, opened, kind, share):
    whole = pack(root / f"a.{kind}", {f"{number}.jpg": BUS[number:] for number in range(5)})
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * share)])
    with (
        opened() as files,
        pytest.raises(SourceError, match=rf"a\.{kind} is damaged, cut short .*fetch or pack it anew"),
    ):
        list(files.list_files())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_archive_says_so(root, opened, kind):
    (root / f"a.{kind}").write_bytes(b"<html>not found</html>" * 100)
    with opened() as files, pytest.raises(SourceError, match="damaged, cut short or no archive"):
        list(files.list_files())


def test_a_tar_with_a_bad_header_inside_does_not_pass_for_a_shorter_one(root, opened):
    path = pack(root / "a.tar", {"x.jpg": b"x" * 512, "y.jpg": b"y" * 512, "z.jpg": b"z" * 512})
    data = bytearray(path.read_bytes())
    data[1024 + 148] ^= 1
    path.write_bytes(data)
    with opened() as files, pytest.raises(SourceError, match="bad checksum"):
        list(files.list_files())


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_bytes_that_rotted_since_are_not_taken(root, tmp_path, kind):
    path = pack(root / f"a.{kind}", {"x.jpg": BUS})
    with open_files(root, S3Config(), tmp_path / "cache", source="mine") as files:
        assert contents(files) == {"a/x.jpg": BUS}
        with path.open("r+b") as file:
            file.seek(5_000)
            file.write(b"rotten")
        with pytest.raises(OSError, match="checksum"):
            files.read("a/x.jpg")


def test_larger_photos_than_allowed_are_refused(root, opened):
    pack(root / "a.tar", {"x.jpg": BUS})
    (root / "y.jpg").write_bytes(BUS)
    with opened() as files:
        for path in ("a/x.jpg", "y.jpg"):
            assert files.read(path, max_bytes=len(BUS)) == BUS
            with pytest.raises(UnusablePhoto, match="too_many_bytes"):
                files.read(path, max_bytes=len(BUS) - 1)


# --- hostile archives


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_hostile_tar_is_refused_member_by_member(root, tmp_path, opened, kind):
    with tarfile.open(root / f"bad.{kind}", "w" if kind == "tar" else "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name in (
            "../../climb.jpg",
            "/etc/absolute.jpg",
            "C:/drive.jpg",
            "a\\b.jpg",
            "bad/../../up.jpg",
            "good.jpg",
        ):
            archive.addfile(sized(name, BUS), io.BytesIO(BUS))
        for data in (BUS, CAT):
            archive.addfile(sized("twice.jpg", data), io.BytesIO(data))
            archive.addfile(sized("same.jpg", BUS), io.BytesIO(BUS))
        for kind_of_member, name in (
            (tarfile.SYMTYPE, "symlink.jpg"),
            (tarfile.LNKTYPE, "hardlink.jpg"),
            (tarfile.CHRTYPE, "device.jpg"),
            (tarfile.FIFOTYPE, "pipe.jpg"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind_of_member, "/etc/passwd"
            archive.addfile(info)
    with opened() as files:
        assert refused(files) == {
            "bad/%2E%2E/%2E%2E/climb.jpg": "outside_folder",
            "bad/%2F/etc/absolute.jpg": "outside_folder",
            "bad/C%3A/drive.jpg": "outside_folder",
            "bad/a%5Cb.jpg": "unreadable_file",
            "bad/%2E%2E/%2E%2E/up.jpg": "outside_folder",
            "bad/twice.jpg": "unreadable_file",
            "bad/symlink.jpg": "link_in_archive",
            "bad/hardlink.jpg": "link_in_archive",
            "bad/device.jpg": "unreadable_file",
            "bad/pipe.jpg": "unreadable_file",
        }
        assert files.read("bad/good.jpg") == files.read("bad/same.jpg") == BUS
        with pytest.raises((UnusablePhoto, FileNotFoundError)):
            files.read("bad/../../climb.jpg")
    assert not list(tmp_path.rglob("*climb*"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_zip_is_refused_member_by_member(root, opened):
    link = zipfile.ZipInfo("link.jpg")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(root / "bad.zip", "w") as archive:
        for name in ("../climb.jpg", "/absolute.jpg", "..\\climb.jpg", "good.jpg"):
            archive.writestr(name, BUS)
        archive.writestr(link, "/etc/passwd")
        archive.writestr("twice.jpg", BUS)
        archive.writestr("twice.jpg", CAT)
        archive.writestr("secret.jpg", BUS)
        archive.writestr("packed.jpg", BUS, compress_type=zipfile.ZIP_LZMA)
        archive.writestr("nulQ.jpg", BUS)
    data = (root / "bad.zip").read_bytes().replace(b"nulQ.jpg", b"nul\0.jpg")
    entry = data.rindex(b"secret.jpg") - 46
    encrypted = data[: entry + 8] + b"\x01\x00" + data[entry + 10 :]
    (root / "bad.zip").write_bytes(encrypted)
    with opened() as files:
        assert refused(files) == {
            "bad/%2E%2E/climb.jpg": "outside_folder",
            "bad/%2F/absolute.jpg": "outside_folder",
            "bad/..%5Cclimb.jpg": "outside_folder",
            "bad/link.jpg": "link_in_archive",
            "bad/twice.jpg": "unreadable_file",
            "bad/secret.jpg": "unreadable_file",
            "bad/packed.jpg": "unreadable_file",
            "bad/nul%00.jpg": "unreadable_file",
        }
        assert files.read("bad/good.jpg") == BUS


def test_a_bomb_unpacks_to_no_more_than_it_declares(root, opened):
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.jpg", bytes(50_000_000))
    data = (root / "a.zip").read_bytes()
    directory = data.rindex(b"PK\1\2")
    declared = (1_000_000).to_bytes(4, "little")
    (root / "a.zip").write_bytes(data[: directory + 24] + declared + data[directory + 28 :])
    with opened() as files:
        (photo,) = files.list_files()
        assert photo.byte_size == 1_000_000
        with pytest.raises(OSError, match="checksum"):
            files.read(photo.path)


def test_a_member_that_claims_its_neighbours_bytes_is_not_taken(root, opened):
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        archive.writestr("x.jpg", b"x" * 100)
        archive.writestr("y.jpg", b"y" * 100)
    data = bytearray((root / "a.zip").read_bytes())
    first = data.index(b"PK\1\2")
    stolen = data[30 + 5 : 30 + 5 + 160]
    data[first + 16 : first + 28] = (
        zlib.crc32(stolen).to_bytes(4, "little") + (160).to_bytes(4, "little") + (160).to_bytes(4, "little")
    )
    (root / "a.zip").write_bytes(data)
    with opened() as files:
        with pytest.raises(OSError, match="checksum"):
            files.read("a/x.jpg")
        assert files.read("a/y.jpg") == b"y" * 100


# --- links to archives, on disk alone


def test_a_link_to_an_archive_outside_says_what_to_do(root, tmp_path):
    pack(tmp_path / "elsewhere/a.tar", {"x.jpg": BUS})
    (root / "a.tar").symlink_to(tmp_path / "elsewhere/a.tar")
    with (
        open_files(root, S3Config(), tmp_path / "cache", source="mine") as files,
        pytest.raises(SourceError, match=r"outside .*configure the folder that it points to"),
    ):
        list(files.list_files())


def test_no_handle_stays_open(root, tmp_path):
    for kind in KINDS:
        pack(root / f"{kind.replace('.', '_')}.{kind}", {"x.jpg": BUS})

    def open_here() -> list[str]:
        links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
        return [target for link in links if link.is_symlink() and str(root) in (target := str(link.readlink()))]

    with open_files(root, S3Config(), tmp_path / "cache", source="mine") as files, ThreadPoolExecutor(4) as pool:
        paths = [file.path for file in files.list_files()] * 8
        assert all(data == BUS for data in pool.map(files.read, paths))
        assert open_here()
    assert not open_here()
