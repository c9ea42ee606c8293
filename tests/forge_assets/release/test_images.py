"""Photos of a release: fetched, linked, checked, upright, and those that cannot be had told."""

import hashlib
import io
import shutil
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import polars as pl
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from forge_assets.cli import app
from forge_assets.release.images import fetch_images
from forge_assets.release.named import make_release
from forge_assets.release.release_folder import Release, ReleaseError
from forge_assets.release.selection import Selection
from forge_resources.config import DownloadConfig, ForgeConfig, ImageFolderConfig, PixMoConfig
from forge_resources.lake import Lake
from forge_resources.s3 import S3Config, S3Uri, client

PATHS = {"demo/bus": "bus.jpg", "demo/people/zidane": "people/zidane.jpg"}


@pytest.fixture
def release(lake: Lake) -> Release:
    return make_release(ForgeConfig(lake=lake.root), "v1", Selection())


@pytest.fixture
def photos(tmp_path: Path, builders: ModuleType) -> Path:
    """The source's folder."""
    folder = tmp_path / "source"
    for image_id, path in PATHS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(builders.photo_file(image_id), folder / path)
    return folder


def same_as(folder: Path, output: Path) -> bool:
    return all((output / "demo" / path).read_bytes() == (folder / path).read_bytes() for path in PATHS.values())


def test_photos_come_from_a_folder_as_they_are(release: Release, photos: Path, tmp_path: Path) -> None:
    fetched = fetch_images(release, tmp_path / "out", None, {"demo": photos})
    assert (fetched.counts, fetched.missing) == ({"written": 2}, [])
    assert same_as(photos, tmp_path / "out")


def test_photos_come_from_the_lake_where_it_has_them(
    release: Release, lake: Lake, photos: Path, tmp_path: Path
) -> None:
    assert fetch_images(release, tmp_path / "out", ForgeConfig(lake=lake.root), {}).counts == {"written": 2}
    assert same_as(photos, tmp_path / "out")


def test_photos_come_from_the_configured_source_where_the_lake_has_none(
    release: Release, photos: Path, tmp_path: Path
) -> None:
    config = ForgeConfig(
        lake=tmp_path / "empty", sources={"demo": ImageFolderConfig(path=photos)}, cache=tmp_path / "c"
    )
    assert fetch_images(release, tmp_path / "out", config, {}).counts == {"written": 2}


def test_photos_come_from_archives(release: Release, photos: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "archives"
    shelf.mkdir()
    shutil.copy(photos / "bus.jpg", shelf)
    with zipfile.ZipFile(shelf / "people.zip", "w") as archive:
        archive.write(photos / "people" / "zidane.jpg", "zidane.jpg")
    config = ForgeConfig(lake=tmp_path / "empty", cache=tmp_path / "cache")
    fetched = fetch_images(release, tmp_path / "out", config, {"demo": shelf})
    assert fetched.counts == {"written": 2}, fetched.missing


@pytest.mark.slow
def test_photos_come_from_s3(
    release: Release, photos: Path, tmp_path: Path, s3_bucket: S3Uri, s3_config: S3Config
) -> None:
    for path in PATHS.values():
        client(s3_config).upload_file(str(photos / path), s3_bucket.bucket, str((s3_bucket / f"p/{path}").key))
    config = ForgeConfig(lake=tmp_path / "empty", s3=s3_config, cache=tmp_path / "cache")
    assert fetch_images(release, tmp_path / "out", config, {"demo": s3_bucket / "p"}).counts == {"written": 2}


@pytest.fixture
def site(photos: Path) -> Iterator[str]:
    """A web server over the photos; its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(photos))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def path_of(url: str) -> str:
    """The path of a photo that a PixMo source names by its address."""
    return hashlib.sha256(url.encode()).hexdigest()[:32]


def of_pixmo(lake: Lake, builders: ModuleType, tmp_path: Path, urls: dict[str, str]) -> ForgeConfig:
    """The configuration of a lake whose photos come from these addresses, by image id."""
    rows = [builders.photo_row(image_id) for image_id in PATHS]
    for row in rows:
        row["image"]["path"] = path_of(urls[row["image_id"]])
    builders.write(lake, "raw_images", rows)
    tables = tmp_path / "tables"
    tables.mkdir()
    pl.DataFrame({"image_url": list(urls.values()), "caption": ["a", "b"]}).write_parquet(tables / "cap.parquet")
    source = PixMoConfig(
        path=tables, table="cap", download=DownloadConfig(allow_private_addresses=True, max_attempts=1)
    )
    return ForgeConfig(lake=lake.root, cache=tmp_path / "cache", sources={"demo": source})


@pytest.mark.parametrize(
    "key", ["X-Amz-Signature=s", "a=1&x-goog-signature=s", "sv=1&sig=s", "Signature=s", "token=s", "access_token=s"]
)
def test_addresses_that_carry_a_key_are_not_released(
    lake: Lake, builders: ModuleType, tmp_path: Path, key: str
) -> None:
    open_to_all = "https://host.example/bus.jpg?width=640&design=1"
    urls = {"demo/bus": open_to_all, "demo/people/zidane": f"https://host.example/zidane.jpg?{key}"}
    release = make_release(of_pixmo(lake, builders, tmp_path, urls), "pixmo", Selection())
    photos = pl.read_parquet(release.root / "images.parquet")
    assert dict(photos.select("image_id", "url").iter_rows()) == urls | {"demo/people/zidane": None}


def test_photos_of_pixmo_are_released_with_their_addresses_and_fetched_from_there(
    lake: Lake, builders: ModuleType, site: str, tmp_path: Path
) -> None:
    urls = {image_id: f"{site}/{path}" for image_id, path in PATHS.items()}
    config = of_pixmo(lake, builders, tmp_path, urls)
    release = make_release(config, "pixmo", Selection())
    photos = pl.read_parquet(release.root / "images.parquet")
    assert dict(photos.select("image_id", "url").iter_rows()) == urls
    elsewhere = config.model_copy(update={"lake": tmp_path / "empty"})
    fetched = fetch_images(release, tmp_path / "out", elsewhere, {})
    assert fetched.counts == {"written": 2}, fetched.missing
    for image_id, url in urls.items():
        assert (tmp_path / "out" / "demo" / path_of(url)).read_bytes() == builders.photo_file(image_id).read_bytes()


def test_links_lead_to_the_source(release: Release, photos: Path, tmp_path: Path) -> None:
    assert fetch_images(release, tmp_path / "out", None, {"demo": photos}, link=True).counts == {"linked": 2}
    assert (tmp_path / "out" / "demo" / "bus.jpg").readlink() == photos / "bus.jpg"


def test_a_second_run_goes_on_where_the_first_stopped(release: Release, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fetch_images(release, out, None, {"demo": photos})
    (out / "demo" / "bus.jpg").write_bytes(b"half")
    assert fetch_images(release, out, None, {"demo": photos}).counts == {"there already": 1, "written": 1}
    assert same_as(photos, out)


def test_what_cannot_be_had_is_a_row_with_the_reason(release: Release, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (photos / "bus.jpg").unlink()
    (photos / "people" / "zidane.jpg").write_bytes(b"another photo")
    fetched = fetch_images(release, out, None, {"demo": photos})
    assert fetched.counts == {"missing": 2}
    rows = pl.read_csv(out / "missing.csv")
    assert rows["image_id"].to_list() == ["demo/bus", "demo/people/zidane"]
    assert rows["reason"][0].startswith("missing_photo")
    assert rows["reason"][1].startswith("changed: its SHA-256 is")
    assert not (out / "demo").exists()


def test_turned_photos_are_written_upright(lake: Lake, builders: ModuleType, tmp_path: Path) -> None:
    turned = Image.open(builders.photo_file(builders.BUS)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, format="JPEG", exif=exif)
    data = buffer.getvalue()
    row = builders.photo_row(builders.BUS)
    row |= {"image": {"bytes": data, "path": "bus.jpg"}, "sha256": hashlib.sha256(data).hexdigest(), "orientation": 6}
    builders.write(lake, "raw_images", [row, builders.photo_row(builders.ZIDANE)])
    config = ForgeConfig(lake=lake.root)
    out = tmp_path / "out"
    fetch_images(make_release(config, "turned", Selection()), out, config, {})
    written = Image.open(out / "demo" / "bus.jpg")
    assert written.size == (810, 1080)
    assert 0x0112 not in written.getexif()
    again = fetch_images(make_release(config, "again", Selection()), out, config, {})
    assert again.counts == {"there already": 2}


def test_a_path_that_leads_out_is_refused(lake: Lake, builders: ModuleType, tmp_path: Path) -> None:
    row = builders.photo_row(builders.BUS)
    row["image"]["path"] = "../../out.jpg"
    builders.write(lake, "raw_images", [row, builders.photo_row(builders.ZIDANE)])
    config = ForgeConfig(lake=lake.root)
    with pytest.raises(ReleaseError, match="leads out of"):
        fetch_images(make_release(config, "v1", Selection()), tmp_path / "out", config, {})


def test_an_unknown_source_is_told(release: Release, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="--source demo=PATH"):
        fetch_images(release, tmp_path / "out", None, {})


def test_the_command_fails_while_photos_are_missing(
    release: Release, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORGE_CONFIG", raising=False)
    (tmp_path / "forge.yaml").write_text(yaml.safe_dump({"lake": str(tmp_path / "empty"), "cache": "cache"}))
    kept = (photos / "bus.jpg").read_bytes()
    (photos / "bus.jpg").unlink()
    command = ["images", str(release.root), "--output", str(tmp_path / "out"), "--source", f"demo={photos}"]
    failed = CliRunner().invoke(app, command)
    assert failed.exit_code == 1
    assert "missing: 1" in failed.output
    assert CliRunner().invoke(app, [*command, "--allow-missing"]).exit_code == 0
    (photos / "bus.jpg").write_bytes(kept)
    mended = CliRunner().invoke(app, command)
    assert mended.exit_code == 0, mended.output
    assert not (tmp_path / "out" / "missing.csv").exists()
    assert CliRunner().invoke(app, ["images", str(release.root), "--output", "o", "--source", "demo"]).exit_code == 1
