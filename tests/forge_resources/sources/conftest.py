"""A small folder of real photos, made anew for each test."""

from importlib.util import find_spec
from pathlib import Path

import pytest


def packaged(package: str, path: str) -> Path:
    return Path(find_spec(package).submodule_search_locations[0]) / path


@pytest.fixture
def photos(tmp_path) -> Path:
    """`bus.jpg` (810x1080), `people/zidane.jpg` (1280x720) and `people/deep/astronaut.PNG` (512x512)."""
    root = tmp_path / "photos"
    (root / "people/deep").mkdir(parents=True)
    (root / "bus.jpg").write_bytes(packaged("ultralytics", "assets/bus.jpg").read_bytes())
    (root / "people/zidane.jpg").write_bytes(packaged("ultralytics", "assets/zidane.jpg").read_bytes())
    (root / "people/deep/astronaut.PNG").write_bytes(packaged("skimage", "data/astronaut.png").read_bytes())
    return root
