"""Photos from bytes to pixels, the one way that all stages share."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def decode_upright(data: bytes) -> NDArray[np.uint8]:
    """Decode a photo to RGB, turned upright as its EXIF orientation says; of an animation, the first frame.

    Returns:
        Array of shape (height, width, 3), dtype uint8.

    Raises:
        OSError: if the bytes are no image that Pillow can decode in full.
    """
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
