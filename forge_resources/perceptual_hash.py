"""What a photo looks like in 64 bits: copies that were scaled or compressed again differ in few of them."""

from typing import Final

import numpy as np
from imagehash import phash
from numpy.typing import NDArray
from PIL import Image

HASH_BITS: Final = 64
_HASH_SIDE: Final = 8
_SIDE: Final = 32
_REDUCING_GAP: Final = 3.0
_MIN_DETAIL: Final = 0.2

ENOUGH_SIDE: Final = 96
"""Pixels of the shorter side of a photo of which a hash still tells as much: its decoder may leave out the rest."""


def perceptual_hash(image: Image.Image | NDArray[np.uint8]) -> str | None:
    """The 64-bit perceptual hash of a photo: the signs of its 8x8 lowest spatial frequencies about their median.

    That is `imagehash.phash`, on the photo shrunk to 32x32 in two steps: photos hash to the same bits as in
    one step, or to two others. Half of the bits are set, so that two hashes mostly differ in an even number.
    A turned or mirrored copy has another hash.

    A photo without detail has frequencies of about zero, whose signs are chance: a plain wall, a cloudless
    sky, a starry night, a gradient. It has no hash. Detail is the median amplitude of those frequencies, and
    0.2 grey levels of 255 are asked for: photos of scenes have over 1, a page of text 0.4, pictures of noise
    or of one gradient under 0.03.

    Args:
        image: The upright photo, or its RGB pixels of shape (height, width, 3).

    Returns:
        16 lower-case hexadecimal digits; None for a photo with too little detail.
    """
    photo = image if isinstance(image, Image.Image) else Image.fromarray(image)
    small = photo.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    return str(phash(small)) if _detail(small) >= _MIN_DETAIL else None


def _detail(small: Image.Image) -> float:
    import scipy.fft

    frequencies = np.asarray(scipy.fft.dctn(np.asarray(small, dtype=np.float64))) / _SIDE**2
    amplitudes = np.abs(frequencies[:_HASH_SIDE, :_HASH_SIDE]).ravel()[1:]
    return float(np.sort(amplitudes)[amplitudes.size // 2])
