"""Small projects on real photos with the embedded models: a folder of photos, a forge.yaml, an instance."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest
import yaml

from forge_assets.automation import add_partitions, plan_shards
from forge_assets.runs import STAGES, RunOutcome, make_partitions
from forge_resources.config import ForgeConfig, load_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

ULTRALYTICS_ASSETS = Path(find_spec("ultralytics").submodule_search_locations[0]) / "assets"
"""Found without importing ultralytics, which replaces functions of Pillow and OpenCV for the whole process."""


def packaged_photo(name: str) -> Path:
    """A photo that an installed package carries."""
    import skimage

    for folder in (ULTRALYTICS_ASSETS, Path(skimage.__file__).parent / "data"):
        if (folder / name).exists():
            return folder / name
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
        return Lake(self.config.lake)

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

    def plan(self) -> list[ShardKey]:
        keys = plan_shards(self.config)
        add_partitions(self.instance, keys)
        return keys

    def make(self, keys: list[ShardKey], *stages: str) -> list[RunOutcome]:
        return list(make_partitions(self.forge, self.instance, keys, stages or STAGES))


@pytest.fixture
def new_project(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Make a project; photos are given by the names under which packages carry them."""
    with dg.DagsterInstance.ephemeral() as instance:

        def build(*photos: str, shard_size: int = 2) -> Project:
            project = Project(tmp_path / "project", instance)
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

        yield build
