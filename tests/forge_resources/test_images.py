"""Photos of every kind that Pillow is trusted with, whole and broken, made from real ones."""

import io
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from forge_resources.images import PhotoInfo, UnusablePhoto, decode_upright, inspect


def packaged(package: str, path: str) -> Path:
    return Path(find_spec(package).submodule_search_locations[0]) / path


BUS = packaged("ultralytics", "assets/bus.jpg").read_bytes()
with Image.open(packaged("skimage", "data/astronaut.png")) as _astronaut:
    ASTRONAUT = np.asarray(_astronaut.convert("RGB"))[:300, 100:340]  # taller than wide, no symmetry


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def look(data: bytes, max_pixels: int = 100_000_000, min_side: int = 1) -> PhotoInfo:
    return inspect(data, max_pixels=max_pixels, min_side=min_side)[0]


def rule_of(data: bytes, **limits: int) -> str:
    with pytest.raises(UnusablePhoto) as caught:
        look(data, **limits)
    assert caught.value.detail
    assert str(caught.value).startswith(caught.value.rule)
    return caught.value.rule


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header_only(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


# --- orientation

TO_STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


def with_orientation(value: object, kind: str, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    stored = TO_STORED.get(value, TO_STORED[1]) if isinstance(value, int) else TO_STORED[1]
    return encoded(np.ascontiguousarray(stored(ASTRONAUT)), kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_every_orientation_gives_the_upright_original(orientation, kind):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}.get(kind, {})
    data = with_orientation(orientation, kind, **options)

    pixels = decode_upright(data)
    assert pixels.dtype == np.uint8
    assert pixels.shape == ASTRONAUT.shape
    if kind == "JPEG":
        assert np.abs(pixels.astype(int) - ASTRONAUT).mean() < 2
    else:
        assert np.array_equal(pixels, ASTRONAUT)
    assert look(data) == PhotoInfo(kind, "RGB", orientation, width=240, height=300)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_means_nothing_is_upright(orientation):
    data = with_orientation(orientation, "JPEG")
    assert look(data).orientation == 1
    assert decode_upright(data).shape == ASTRONAUT.shape


@pytest.mark.parametrize(
    "block",
    [
        b"\xff" * 60,
        b"II*\0\xff\xff\xff\x7f",  # its directory lies far beyond the end
        b"MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 30,  # 65,535 entries announced
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x09\0\0\0\xff\xff\0\0",  # orientation as a text out of bounds
        b"",
    ],
)
@pytest.mark.filterwarnings("ignore:.*EXIF.*", "ignore:Truncated File Read")
def test_a_corrupt_exif_block_does_not_lose_the_photo(block):
    plain = encoded(ASTRONAUT, "JPEG")
    body = b"Exif\0\0" + block
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]

    assert look(data).orientation == 1
    assert np.array_equal(decode_upright(data), decode_upright(plain))


# --- pixels


def test_a_real_jpeg():
    assert look(BUS) == PhotoInfo("JPEG", "RGB", 1, width=810, height=1080)
    with Image.open(io.BytesIO(BUS)) as image:
        assert np.array_equal(decode_upright(BUS), np.asarray(image))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_keeps_its_colours(kind):
    data = encoded(Image.fromarray(ASTRONAUT).convert("CMYK"), kind)
    assert look(data).mode == "CMYK"
    assert np.abs(decode_upright(data).astype(int) - ASTRONAUT).mean() < 3


@pytest.mark.parametrize(("kind", "byte_order"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2")])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind, byte_order):
    grey = np.linspace(0, 65_535, 64 * 64).round().astype(byte_order).reshape(64, 64)
    data = encoded(Image.fromarray(grey), kind)
    assert look(data).mode.startswith("I;16")
    pixels = decode_upright(data)
    assert np.array_equal(pixels[..., 0], np.rint(grey / 257).astype(np.uint8))
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_a_palette_is_looked_up():
    image = Image.fromarray(ASTRONAUT).quantize(64)
    data = encoded(image, "PNG")
    assert look(data).mode == "P"
    assert np.array_equal(decode_upright(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode):
    image = Image.fromarray(ASTRONAUT).convert(mode)
    alpha = np.zeros(ASTRONAUT.shape[:2], np.uint8)
    alpha[:100], alpha[100:200] = 255, 128
    image.putalpha(Image.fromarray(alpha))
    pixels = decode_upright(encoded(image, "PNG")).astype(int)
    opaque = np.asarray(Image.fromarray(ASTRONAUT).convert(mode[:-1]).convert("RGB")).astype(int)
    assert np.array_equal(pixels[:100], opaque[:100])
    assert np.abs(pixels[100:200] - (opaque[100:200] + 255) / 2).max() <= 2
    assert (pixels[200:] == 255).all()


def test_a_transparent_palette_entry_is_white():
    image = Image.fromarray(np.zeros((40, 40), np.uint8), "P")
    image.putpalette([200, 0, 0] * 256)
    assert (decode_upright(encoded(image, "PNG", transparency=0)) == 255).all()
    assert (decode_upright(encoded(image, "GIF", transparency=0)) == 255).all()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_greyscale(mode):
    image = Image.fromarray(ASTRONAUT).convert(mode)
    assert np.array_equal(decode_upright(encoded(image, "PNG")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 3
    assert look(data).format == kind
    assert np.abs(decode_upright(data).astype(int) - (255, 0, 0)).max() <= 2


def test_a_jpeg_with_a_second_picture_behind_it_is_a_jpeg():
    first, second = Image.fromarray(ASTRONAUT), Image.new("RGB", (60, 40))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert look(data) == PhotoInfo("JPEG", "RGB", 1, width=240, height=300)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_an_agreed_scale_are_refused(mode):
    data = encoded(Image.new(mode, (40, 40), 7), "TIFF")
    assert rule_of(data) == "unsupported_mode"
    with pytest.raises(UnusablePhoto, match="unsupported_mode"):
        decode_upright(data)


# --- files that are no photos


def test_zero_bytes():
    assert rule_of(b"") == "empty_file"


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><html><title>404</title></html>",
        b"\x00" * 5_000,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",  # never handed to an interpreter
    ],
)
def test_what_is_no_photo(data):
    assert rule_of(data) == "not_an_image"


@pytest.mark.parametrize("kept", [3, 10, 100, 700, len(BUS) // 2, len(BUS) - 2_000, len(BUS) - 1])
def test_a_jpeg_cut_short(kept):
    assert rule_of(BUS[:kept]) == "truncated_image"
    with pytest.raises(UnusablePhoto):
        decode_upright(BUS[:kept])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_other_kinds_cut_short(kind):
    data = encoded(ASTRONAUT, kind)
    assert rule_of(data[: len(data) // 2]) in ("truncated_image", "not_an_image")
    with pytest.raises(UnusablePhoto):
        decode_upright(data[: len(data) // 2])


def test_a_flag_of_pillow_that_lets_broken_photos_pass_is_not_borne(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES"):
        look(BUS[: len(BUS) // 2])


# --- limits


@pytest.mark.parametrize("side", [10_001, 13_000, 20_000])
def test_a_bomb_is_refused_by_its_header(side):
    bomb = png_header_only(side)
    assert len(bomb) < 100
    assert rule_of(bomb) == "too_many_pixels"  # had it been decoded, it were truncated


def test_pixels_are_allowed_up_to_the_limit():
    assert look(BUS, max_pixels=810 * 1080).width == 810
    assert rule_of(BUS, max_pixels=810 * 1080 - 1) == "too_many_pixels"


def test_one_pixel_is_too_small():
    assert rule_of(encoded(ASTRONAUT[:1, :1], "PNG"), min_side=32) == "too_small"
    assert look(encoded(ASTRONAUT[:32, :32], "PNG"), min_side=32).width == 32
    assert rule_of(encoded(ASTRONAUT[:31, :200], "PNG"), min_side=32) == "too_small"


def test_a_photo_is_decoded_once(monkeypatch):
    decoded = []
    load_end = ImageFile.ImageFile.load_end
    monkeypatch.setattr(ImageFile.ImageFile, "load_end", lambda self: decoded.append(self) or load_end(self))
    look(BUS)
    assert len(decoded) == 1


# --- no more pixels than are needed


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize(("width", "height"), [(1024, 768), (701, 525), (300, 200), (95, 120)])
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_is_enough(width, height, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = Image.fromarray(ASTRONAUT).resize((width, height))
    data = encoded(photo, "JPEG", exif=exif, quality=95)

    info, image = inspect(data, max_pixels=10**6, min_side=1, enough_side=96)
    assert info == look(data)
    scale = max(scale for scale in (1, 2, 4, 8) if scale == 1 or min(width, height) // scale >= 96)
    assert image.size == (round(width / scale), round(height / scale))
    exact = np.asarray(photo.resize(image.size, Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(image).astype(int) - exact).mean() < 5


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_other_kinds_keep_their_size(kind):
    info, image = inspect(encoded(ASTRONAUT, kind), max_pixels=10**6, min_side=1, enough_side=96)
    assert (info.width, info.height) == image.size == (240, 300)


@pytest.mark.parametrize("kept", [700, len(BUS) // 2, len(BUS) - 2_000, len(BUS) - 1])
def test_a_jpeg_cut_short_is_refused_at_any_scale(kept):
    with pytest.raises(UnusablePhoto, match="truncated_image"):
        inspect(BUS[:kept], max_pixels=10**6, min_side=1, enough_side=96)


# --- whatever comes

_TINY = Image.fromarray(ASTRONAUT[:48, :40])
_FILES = [
    *(encoded(_TINY, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")),
    with_orientation(6, "JPEG")[:20_000],
    encoded(_TINY.convert("CMYK"), "JPEG"),
    encoded(_TINY, "TIFF", compression="tiff_lzw"),
    encoded(_TINY, "WEBP", save_all=True, append_images=[_TINY.rotate(90)]),
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(_FILES),
    st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 255)), max_size=8),
    st.integers(0, 4_000),
)
@pytest.mark.filterwarnings("ignore")
def test_damage_is_refused_by_name_or_decodes_to_the_size_it_says(data, pokes, cut):
    damaged = bytearray(data)
    for position, value in pokes:
        damaged[position % len(damaged)] = value
    damaged = bytes(damaged[: len(damaged) - cut % len(damaged)] if cut % 3 == 0 else damaged)
    try:
        info = look(damaged, max_pixels=1_000_000)
    except UnusablePhoto as error:
        with pytest.raises(UnusablePhoto, match=error.rule):
            inspect(damaged, max_pixels=1_000_000, min_side=1, enough_side=16)
        return
    assert inspect(damaged, max_pixels=1_000_000, min_side=1, enough_side=16)[0] == info
    assert decode_upright(damaged).shape == (info.height, info.width, 3)
