import io
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from forge_assets.tables import RAW_IMAGES
from forge_resources.images import UnusablePhoto
from forge_resources.models import batching
from forge_resources.models.batching import alike, decoded


def photo_rows(*sizes: tuple[int, int]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for index, (width, height) in enumerate(sizes):
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (index, 0, 0)).save(buffer, "PNG")
        image = {"bytes": buffer.getvalue(), "path": None}
        rows.append({"image_id": f"s/{index:03d}", "image": image, "width": width, "height": height, "orientation": 1})
    columns = ("image_id", "image", "width", "height", "orientation")
    return pl.DataFrame(rows, schema={name: RAW_IMAGES[name] for name in columns})


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_photos_come_in_order_and_whole_across_tables(size: int) -> None:
    table = photo_rows(*[(20 + i, 30) for i in range(10)])
    lists = list(decoded([table[:3], table[3:]], size))
    assert all(len(photos) == size for photos in lists[:-1])
    assert [photo.image_id for photos in lists for photo in photos] == table["image_id"].to_list()
    for index, photo in enumerate(photo for photos in lists for photo in photos):
        assert photo.image.shape == (30, 20 + index, 3)
        assert photo.image[0, 0, 0] == index


def test_large_photos_come_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PIXELS_TOGETHER", 2_500)
    lists = list(decoded([photo_rows((10, 100), (10, 100), (10, 100), (100, 100), (10, 10))], 4))
    assert [len(photos) for photos in lists] == [2, 1, 1, 1]


def test_photos_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="sorted by image_id"):
        list(decoded([photo_rows((10, 10), (10, 10)).reverse()], 2))


def test_a_row_that_contradicts_its_photo_is_refused() -> None:
    with pytest.raises(ValueError, match="its row says 11 x 10"):
        list(decoded([photo_rows((10, 10)).with_columns(width=pl.lit(11, pl.Int32))], 2))


def test_a_broken_photo_is_no_silence() -> None:
    broken = photo_rows((10, 10)).with_columns(image=pl.struct(bytes=pl.lit(b"no image"), path=pl.lit(None, pl.String)))
    with pytest.raises(UnusablePhoto, match="not_an_image"):
        list(decoded([broken], 2))


def test_nothing_in_nothing_out() -> None:
    assert list(decoded([], 4)) == []


def test_a_mirrored_photo_has_its_columns_reversed() -> None:
    photo = next(decoded([photo_rows((3, 2))], 1))[0]
    np.testing.assert_array_equal(photo.mirrored(), photo.image[:, ::-1])
    assert photo.mirrored().flags.c_contiguous


def test_equal_keys_go_together() -> None:
    assert list(alike(["a", "b", "a", "a", "b"], 2)) == [[0, 2], [3], [1, 4]]
