import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from forge_assets.depth_maps.encoding import (
    MAX_STEP_ERROR,
    UnreadableDepthError,
    decode_depth,
    encode_depth,
    relative_error,
)

maps = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(2.0**-16, 65504, width=32)
)


@given(maps)
def test_what_is_read_is_what_was_stored(depth: np.ndarray) -> None:
    stored = encode_depth(depth)
    read = decode_depth(stored.png, stored.near, stored.far)
    assert (stored.height, stored.width) == read.shape == depth.shape
    assert read.dtype == np.float32
    assert (stored.near, stored.far) == (depth.min(), depth.max())
    np.testing.assert_allclose(read, depth, rtol=relative_error(stored.near, stored.far))


@given(maps)
def test_storing_keeps_the_order(depth: np.ndarray) -> None:
    stored = encode_depth(depth)
    read = decode_depth(stored.png, stored.near, stored.far).ravel()
    assert (np.diff(read[np.argsort(depth, axis=None)]) >= 0).all()


@given(maps)
def test_storing_what_was_read_changes_nothing(depth: np.ndarray) -> None:
    stored = encode_depth(depth)
    read = decode_depth(stored.png, stored.near, stored.far)
    again = encode_depth(read)
    np.testing.assert_allclose(
        decode_depth(again.png, again.near, again.far), read, rtol=2 * relative_error(again.near, again.far)
    )


def test_the_stated_error() -> None:
    assert relative_error(1, 100) == pytest.approx(5.6e-4, rel=0.02)
    assert relative_error(5, 5) == pytest.approx(0, abs=1e-6)


@given(st.floats(2.0**-16, 65504), st.floats(1, 1e9))
def test_no_map_is_stored_less_exactly_than_promised(near: float, ratio: float) -> None:
    assert relative_error(near, near * ratio) <= MAX_STEP_ERROR + 2e-7


@given(maps)
def test_nearest_and_farthest_are_kept_exactly(depth: np.ndarray) -> None:
    stored = encode_depth(depth)
    read = decode_depth(stored.png, stored.near, stored.far)
    assert (read.min(), read.max()) == (depth.min(), depth.max())


def test_a_smooth_map_of_256_pixels_takes_less_than_half_of_what_sixteen_bits_take() -> None:
    rows, columns = np.indices((192, 256))
    waves = np.exp(0.5 + 0.4 * np.sin(columns / 40) + rows / 192 + np.sin(rows * columns) / 500)
    noisy = encode_depth(waves.astype(np.float32)).png
    assert len(noisy) < 192 * 256 * 2 / 2


def test_any_reader_of_png_sees_sixteen_bits_from_near_to_far() -> None:
    stored = encode_depth(np.array([[1.0, 10.0, 100.0]], dtype=np.float32))
    grey = np.asarray(Image.open(io.BytesIO(stored.png)))
    assert grey.tolist() == [[0, 32768, 65535]]


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_what_is_no_depth_is_refused(value: float) -> None:
    with pytest.raises(UnreadableDepthError, match="positive and finite"):
        encode_depth(np.array([[1.0, value]], dtype=np.float32))


def test_what_is_no_map_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    for data in (b"", b"no image", buffer.getvalue()):
        with pytest.raises(UnreadableDepthError, match="16-bit greyscale PNG"):
            decode_depth(data, 1.0, 2.0)
