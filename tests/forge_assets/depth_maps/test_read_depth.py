import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from forge_assets.depth_maps import read_depth as module
from forge_assets.depth_maps.encoding import decode_depth
from forge_assets.depth_maps.read_depth import depth_maps, resize_map
from forge_assets.tables import DEPTH_MAPS, RAW_IMAGES
from forge_resources.config import ForgeConfig, ModelsConfig


class Brightness:
    """Reads the red channel as depth, at its own resolution."""

    def __init__(self, name: str, kind: Literal["metric", "relative"], size: tuple[int, int]) -> None:
        self.name, self.kind, self.size = name, kind, size
        self.identity = f"scripted:{name}@0"
        self.calls: list[int] = []

    def estimate(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        import cv2

        self.calls.append(len(images))
        return [
            cv2.resize(image[..., 0].astype(np.float32) + 1, self.size, interpolation=cv2.INTER_AREA)
            for image in images
        ]


def ramp(width: int, height: int, image_id: str) -> dict[str, Any]:
    """A photo that grows brighter to the right."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[...] = np.linspace(10, 250, width).astype(np.uint8)[None, :, None]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    image = {"bytes": buffer.getvalue(), "path": None}
    named = {"image_id": image_id, "source": "s", "shard": "s00000", "image": image, "width": width, "height": height}
    return {**dict.fromkeys(RAW_IMAGES), **named}


PHOTOS = pl.DataFrame([ramp(400, 200, "s/a"), ramp(100, 150, "s/b"), ramp(640, 480, "s/c")], schema=dict(RAW_IMAGES))


def config(*names: str, **settings: Any) -> ModelsConfig:
    return ForgeConfig.model_validate({"models": {"depth": [{"name": name, **settings} for name in names]}}).models


def decoded(row: dict[str, Any]) -> NDArray[np.float32]:
    return decode_depth(row["png"], row["near"], row["far"])


def test_each_photo_has_a_map_a_network_and_mirror_in_its_own_shape() -> None:
    networks = [Brightness("outdoor", "relative", (64, 64)), Brightness("indoor", "metric", (300, 300))]
    done: list[int] = []
    made = pl.concat(depth_maps([PHOTOS], networks, config("indoor", "outdoor"), done.append))
    assert made.schema == pl.Schema(DEPTH_MAPS)
    assert made.select("image_id", "reading", "mirrored", "kind").rows() == [
        (photo, *reading)
        for photo in ("s/a", "s/b", "s/c")
        for reading in (
            ("indoor", False, "metric"),
            ("indoor", True, "metric"),
            ("outdoor", False, "relative"),
            ("outdoor", True, "relative"),
        )
    ]
    sizes = {row["image_id"]: (row["width"], row["height"]) for row in made.to_dicts()}
    assert sizes == {"s/a": (256, 128), "s/b": (100, 150), "s/c": (256, 192)}
    assert done[-1] == 3


def test_the_mirrors_map_is_turned_back() -> None:
    rows = pl.concat(depth_maps([PHOTOS], [Brightness("depth", "relative", (64, 64))], config("depth"))).to_dicts()
    for here, there in zip(rows[::2], rows[1::2], strict=True):
        assert (here["mirrored"], there["mirrored"]) == (False, True)
        assert (np.diff(decoded(here).mean(axis=0)) >= 0).all()
        np.testing.assert_allclose(decoded(here), decoded(there), rtol=0.02)


@pytest.mark.parametrize(("batch_size", "calls"), [(2, [2, 2, 2]), (4, [4, 2]), (16, [6])])
def test_the_batch_size_changes_no_content(batch_size: int, calls: list[int]) -> None:
    network = Brightness("depth", "relative", (64, 64))
    made = pl.concat(depth_maps([PHOTOS[:1], PHOTOS[1:]], [network], config("depth", batch_size=batch_size)))
    assert network.calls == calls
    whole = pl.concat(depth_maps([PHOTOS], [Brightness("depth", "relative", (64, 64))], config("depth")))
    assert made.equals(whole)


def test_tables_hold_whole_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PHOTOS_A_TABLE", 1)
    network = Brightness("depth", "relative", (64, 64))
    tables = list(depth_maps([PHOTOS], [network], config("depth", batch_size=2, stored_side=32)))
    assert [table["image_id"].to_list() for table in tables] == [["s/a"] * 2, ["s/b"] * 2, ["s/c"] * 2]
    assert tables[0]["width"].to_list() == [32, 32]


def test_without_networks_nothing_is_yielded_and_no_photo_touched() -> None:
    broken = PHOTOS.with_columns(image=pl.struct(bytes=pl.lit(b""), path=pl.lit(None, pl.String)))
    assert list(depth_maps([broken], [], config())) == []


def test_maps_are_averaged_when_they_shrink_and_never_made_larger_than_the_photo() -> None:
    checkered = (np.indices((512, 512)).sum(axis=0) % 2 + 1).astype(np.float32)
    np.testing.assert_allclose(resize_map(checkered, 1000, 1000, 256), 1.5)
    assert resize_map(checkered, 60, 30, 256).shape == (30, 60)
    assert resize_map(checkered, 10_000, 3, 256).shape == (1, 256)
