"""Photos from bytes to pixels, the one way that all stages share."""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")
_SIXTEEN_BIT: Final = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_EIGHT_BIT: Final = frozenset(
    {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
)  # LAB and 32-bit greyscale have no agreed way to RGB
_DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on bytes that are not what their header promised."""

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_SIDEWAYS: Final = 5
_UNTURNED: Final = 1
_ORIENTATION_OF_ROTATION: Final = {0: 1, 90: 8, 180: 3, 270: 6}
_WHITE: Final = (255, 255, 255, 255)


class UnusablePhoto(ValueError):
    """A photo that the pipeline cannot take.

    Attributes:
        rule: Name of the rule that it breaks, as REJECTED_IMAGES has it.
        detail: What was found, for people.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(rule, detail)
        self.rule = rule
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


@dataclass(frozen=True, slots=True)
class PhotoInfo:
    """What a decoded photo is."""

    format: str
    """Pillow's name: JPEG, PNG, WEBP, BMP, TIFF or GIF."""
    mode: str
    """Pillow's, as stored: RGB, L, P, CMYK, I;16, ..."""
    orientation: int
    """How the pixels are stored, 1-8 as EXIF has it: as the source says, else as EXIF says, else 1."""
    width: int
    """Pixels of the upright photo."""
    height: int


def decode_upright(data: bytes, orientation: int | None = None) -> NDArray[np.uint8]:
    """Decode a photo to RGB, turned upright; of an animation, the first frame.

    Sixteen-bit greyscale is scaled to eight bits, transparency is laid on white. No size is refused
    but what Pillow itself takes for a bomb: `inspect` has had the say on that.

    Args:
        data: The file's bytes.
        orientation: How the pixels are stored, 1-8 as EXIF has it; None: as the file's own EXIF says.

    Returns:
        Array of shape (height, width, 3), dtype uint8.

    Raises:
        UnusablePhoto: if the bytes are no image that can be decoded in full.
    """
    image = _opened(data)
    _load(image)
    if orientation is None or image.format == "TIFF":  # Pillow has turned a TIFF while loading it
        orientation = _orientation(image)
    return np.asarray(_turned(_rgb(image), orientation))


def inspect(
    data: bytes, *, max_pixels: int, min_side: int, rotation: int | None = None, enough_side: int | None = None
) -> tuple[PhotoInfo, Image.Image]:
    """Check that a photo can be used, decoding all of its bytes, once.

    A JPEG's decoder can leave out fine detail: it then reads all bytes, and refuses the same files, but computes
    1/4, 1/16 or 1/64 of the pixels.

    Args:
        data: The file's bytes.
        max_pixels: Width times height above which a photo is refused by its header, before it is decoded.
        min_side: Pixels below which the shorter side is refused.
        rotation: Degrees counter-clockwise, 0, 90, 180 or 270, that bring the stored pixels upright, whatever
            EXIF says; None: as EXIF says.
        enough_side: Pixels of the shorter side that the caller needs: a JPEG comes out at 1/2, 1/4 or 1/8 of its
            width and height if that leaves so many; None: at its own size.

    Returns:
        What the photo is, its own size told, and its pixels as they are stored (a TIFF's upright).

    Raises:
        UnusablePhoto: by rule `empty_file`, `not_an_image`, `truncated_image`, `too_many_pixels`, `too_small`
            or `unsupported_mode`.
    """
    image = _opened(data)
    width, height = image.size
    if width * height > max_pixels:
        raise UnusablePhoto("too_many_pixels", f"{width}x{height} pixels, more than {max_pixels} in all")
    if min(width, height) < min_side:
        raise UnusablePhoto("too_small", f"{width}x{height} pixels, shorter side under {min_side}")
    stored_mode = image.mode
    if stored_mode not in _EIGHT_BIT | _SIXTEEN_BIT:
        raise UnusablePhoto("unsupported_mode", f"pixels of mode {stored_mode} have no agreed way to RGB")
    stored_format = image.format or "unknown"
    turned_by_pillow = _orientation(image) if stored_format == "TIFF" else _UNTURNED
    if rotation is not None and stored_format == "TIFF":
        raise UnusablePhoto("unsupported_mode", "a TIFF whose source states a rotation: Pillow turns TIFFs itself")
    drafted = None if enough_side is None else image.draft(None, (enough_side, enough_side))
    _load(image)
    orientation = _orientation(image) if rotation is None else _ORIENTATION_OF_ROTATION[rotation]
    if drafted is None:
        width, height = image.size
    else:
        image = _within(image, drafted[1])
    if orientation >= _FIRST_SIDEWAYS:
        width, height = height, width
    info = PhotoInfo(
        format="JPEG" if stored_format == "MPO" else stored_format,  # several JPEGs in one file: the first is read
        mode=stored_mode,
        orientation=max(orientation, turned_by_pillow),
        width=width,
        height=height,
    )
    return info, image


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """A decoded photo in RGB, turned upright.

    Args:
        image: As `inspect` gives it.
        orientation: As `inspect` gives it.
    """
    rgb = _rgb(image)
    return rgb if image.format == "TIFF" else _turned(rgb, orientation)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    transposition = _UPRIGHT.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def _opened(data: bytes) -> Image.Image:
    """The image by its header alone, no pixel decoded yet."""
    if not data:
        raise UnusablePhoto("empty_file", "0 bytes")
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusablePhoto("too_many_pixels", f"more than Pillow itself takes: {error}") from error
    except UnidentifiedImageError as error:
        if data.startswith(_SIGNATURES):
            raise UnusablePhoto("truncated_image", "it begins as an image, but its header cannot be read") from error
        raise UnusablePhoto("not_an_image", f"begins with {data[:16]!r}") from error
    except _DECODER_ERRORS as error:
        raise UnusablePhoto("truncated_image", f"its header cannot be read: {error}") from error


def _load(image: Image.Image) -> None:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set: broken photos would pass for whole ones")
    try:
        image.load()
    except Image.DecompressionBombError as error:
        raise UnusablePhoto("too_many_pixels", str(error)) from error
    except _DECODER_ERRORS as error:
        raise UnusablePhoto("truncated_image", str(error) or type(error).__name__) from error


def _within(image: Image.Image, box: tuple[int, int, float, float]) -> Image.Image:
    """The part of a reduced JPEG that shows the photo: its last row and column may show less than a pixel of it."""
    _, _, width, height = box
    if (width, height) == image.size:
        return image
    return image.resize((round(width), round(height)), Image.Resampling.BILINEAR, box)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODER_ERRORS:
        return 1  # a broken EXIF block says nothing of the pixels
    return value if isinstance(value, int) and (value == 1 or value in _UPRIGHT) else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey * 255 + 32_767) // 65_535).astype(np.uint8)).convert("RGB")
    if image.mode not in _EIGHT_BIT:
        raise UnusablePhoto("unsupported_mode", f"pixels of mode {image.mode} have no agreed way to RGB")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, _WHITE), seen).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
