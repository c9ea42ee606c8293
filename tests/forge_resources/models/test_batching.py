import io
from collections.abc import Iterator
from threading import Event
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from forge_assets.tables import RAW_IMAGES
from forge_resources.images import UnusablePhoto
from forge_resources.models import batching
from forge_resources.models.batching import FittingBatches, alike, decoded, one_behind, prepared


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


# --- work beside the network


def test_prepared_work_comes_in_order_and_what_nobody_waits_for_is_dropped() -> None:
    begun: list[int] = []
    first = Event()

    def prepare(number: int) -> int:
        first.wait()
        begun.append(number)
        return number * 2

    with prepared(prepare, range(100)) as futures:
        first.set()
        assert [future.result() for future in futures[:3]] == [0, 2, 4]
    assert len(begun) == sum(not future.cancelled() for future in futures)
    assert all(future.done() for future in futures)


def test_what_fails_while_it_is_prepared_fails_where_it_is_taken() -> None:
    with prepared(lambda number: 1 // number, [1, 0]) as futures:
        assert futures[0].result() == 1
        with pytest.raises(ZeroDivisionError):
            futures[1].result()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_one_behind_gives_all_in_order_each_after_the_next_was_made(count: int) -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for number in range(count):
            made.append(number)
            yield number

    seen = [(item, len(made)) for item in one_behind(make())]
    assert seen == [(number, min(number + 2, count)) for number in range(count)]


class SmallGpu:
    """Stands for a network on a GPU that takes so many images at once: none is at hand where tests run."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.calls: list[int] = []

    def __call__(self, positions: list[int]) -> list[int]:
        import torch

        self.calls.append(len(positions))
        if len(positions) > self.takes:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return [10 * position for position in positions]


@pytest.mark.parametrize(
    ("takes", "calls", "size"), [(16, [8, 2, 3], 8), (4, [8, 4, 4, 2, 3], 4), (1, [8, 4, 2] + [1] * 13, 1)]
)
def test_a_batch_that_does_not_fit_is_halved_and_the_size_is_kept(takes: int, calls: list[int], size: int) -> None:
    batches, network = FittingBatches(8), SmallGpu(takes)
    keys = ["a"] * 10 + ["b"] * 3
    assert batches.run(keys, network) == [10 * position for position in range(13)]
    assert batches.size == size
    assert network.calls == calls


def test_one_image_that_does_not_fit_is_an_error() -> None:
    import torch

    with pytest.raises(torch.cuda.OutOfMemoryError):
        FittingBatches(8).run(["a", "a"], SmallGpu(0))
