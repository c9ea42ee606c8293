"""Small projects on real photos with the embedded models (a folder of photos, a forge.yaml, an instance); servers."""

import io
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml
from PIL import Image

from forge_assets.automation import add_partitions, plan_shards
from forge_assets.runs import STAGES, RunOutcome, make_partitions
from forge_resources.config import ForgeConfig, load_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

PHOTO_FOLDERS = {"ultralytics": "assets", "skimage": "data", "sklearn": "datasets/images"}
"""Found without importing ultralytics, which replaces functions of Pillow and OpenCV for the whole process."""


def packaged_photo(name: str) -> Path:
    """A photo that an installed package carries."""
    for package, folder in PHOTO_FOLDERS.items():
        path = Path(find_spec(package).submodule_search_locations[0]) / folder / name
        if path.exists():
            return path
    raise FileNotFoundError(name)


@dataclass
class Project:
    """One project on disk and its ephemeral Dagster instance."""

    folder: Path
    instance: dg.DagsterInstance

    @property
    def config_file(self) -> Path:
        return self.folder / "forge.yaml"

    @property
    def config(self) -> ForgeConfig:
        return load_config(self.config_file)

    @property
    def lake(self) -> Lake:
        return Lake(self.config.lake, self.config.s3)

    @property
    def forge(self) -> ForgeResource:
        return ForgeResource(config_path=str(self.config_file))

    def add(self, name: str, source: Path | bytes) -> None:
        target = self.folder / "photos" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            target.write_bytes(source)
        else:
            shutil.copy(source, target)

    def configure(self, **sections: object) -> None:
        settings = yaml.safe_load(self.config_file.read_text()) | sections
        self.config_file.write_text(yaml.safe_dump(settings))

    def use(self, **sources: Mapping[str, object]) -> None:
        """Take these sources in place of all others."""
        self.configure(sources=sources)

    def plan(self) -> list[ShardKey]:
        keys = plan_shards(self.config)
        add_partitions(self.instance, keys)
        return keys

    def make(self, keys: list[ShardKey], *stages: str) -> list[RunOutcome]:
        return list(make_partitions(self.forge, self.instance, keys, stages or STAGES))

    def rows(self, key: ShardKey, table: str = "raw_images") -> pl.DataFrame:
        return self.lake.scan(table, key).collect()

    def rules(self, key: ShardKey) -> dict[str, list[str]]:
        """Rules of the reject rows of a shard by the path of the photo."""
        rejects = self.rows(key, "rejected_images")
        return dict(rejects.group_by("path", maintain_order=True).agg("rule").iter_rows())

    def in_out_rejected(self, key: ShardKey) -> tuple[int, int, int]:
        """Photos that went into a shard, came out, and are reject rows: by the manifest, checked against the rows."""
        manifest = self.lake.manifest("raw_images", key)
        rejected = sum(not rules[0].startswith("label_") for rules in self.rules(key).values())
        assert manifest.counts["rejected"] == rejected
        assert manifest.rows == self.rows(key)["image_id"].n_unique()
        return manifest.counts["photos_in"], manifest.rows, rejected

    def metadata(self, key: ShardKey) -> Mapping[str, Any]:
        """What Dagster shows of the last time a shard of `raw_images` was made."""
        records = dg.AssetRecordsFilter(asset_key=dg.AssetKey("raw_images"), asset_partitions=[str(key)])
        (record,) = self.instance.fetch_materializations(records, limit=1).records
        return {
            name: [row.data for row in value.records] if isinstance(value, dg.TableMetadataValue) else value.value
            for name, value in record.asset_materialization.metadata.items()
        }


def new_project_at(folder: Path, instance: dg.DagsterInstance, *photos: str, shard_size: int = 2) -> Project:
    """Make a project in an empty folder."""
    project = Project(folder, instance)
    (project.folder / "photos").mkdir(parents=True)
    settings = {
        "lake": "lake",
        "sources": {"photos": {"path": "photos", "shard_size": shard_size, "license": "CC0"}},
        "models": {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": []},
    }
    project.config_file.write_text(yaml.safe_dump(settings))
    for name in photos:
        project.add(name, packaged_photo(name))
    return project


@pytest.fixture
def new_project(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Make a project; photos are given by the names under which packages carry them."""
    with dg.DagsterInstance.ephemeral() as instance:

        def build(*photos: str, shard_size: int = 2) -> Project:
            return new_project_at(tmp_path / "project", instance, *photos, shard_size=shard_size)

        yield build


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Project]]:
    """As `new_project`, for projects that the tests of a module read and leave as they are."""
    with dg.DagsterInstance.ephemeral() as instance:

        def build(*photos: str, shard_size: int = 2) -> Project:
            folder = tmp_path_factory.mktemp("shared") / "project"
            return new_project_at(folder, instance, *photos, shard_size=shard_size)

        yield build


@pytest.fixture(scope="session")
def photo() -> Callable[[str], bytes]:
    """The bytes of a photo that an installed package carries, by its name there."""
    return lambda name: packaged_photo(name).read_bytes()


@pytest.fixture(scope="session")
def small_photos() -> Callable[[int], list[bytes]]:
    """So many different small JPEGs, cut from real photos."""
    names = ("coffee.png", "rocket.jpg", "china.jpg", "flower.jpg")

    def cut(count: int) -> list[bytes]:
        pictures = [Image.open(packaged_photo(name)).convert("RGB") for name in names]
        photos = []
        for number in range(count):
            picture = pictures[number % len(pictures)]
            left, top = 17 * number % (picture.width - 96), 29 * number % (picture.height - 72)
            file = io.BytesIO()
            picture.crop((left, top, left + 96, top + 72)).save(file, "JPEG", quality=80)
            photos.append(file.getvalue())
        assert len(set(photos)) == count
        return photos

    return cut


@dataclass
class Site:
    """A web server on this machine."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """By path, without the first slash; all else is not found."""
    redirects: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    """That each answer takes."""
    asked: Counter[str] = field(default_factory=Counter)
    """How often each path was asked for."""
    lock: Lock = field(default_factory=Lock)

    @property
    def total(self) -> int:
        """How often anything was asked for."""
        with self.lock:
            return self.asked.total()


@pytest.fixture(scope="session")
def start_site() -> Iterator[Callable[[], Site]]:
    """Start a web server without any files."""
    running = []

    def start() -> Site:
        site = Site()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path[1:]
                with site.lock:
                    site.asked[path] += 1
                time.sleep(site.seconds)
                body = site.files.get(path, b"")
                self.send_response(302 if path in site.redirects else 200 if path in site.files else 404)
                if path in site.redirects:
                    self.send_header("Location", site.redirects[path])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    return  # who asked was killed

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        site.url = f"http://127.0.0.1:{server.server_port}"
        return site

    yield start
    for server in running:
        server.shutdown()
        server.server_close()
