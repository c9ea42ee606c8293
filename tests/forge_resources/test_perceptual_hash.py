"""The perceptual hash, on drawn scenes and on pictures of next to nothing."""

import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageDraw

from forge_resources.images import inspect
from forge_resources.perceptual_hash import ENOUGH_SIDE, HASH_BITS, perceptual_hash

NEAR = 3


def scene(seed: int, width: int = 1024, height: int = 768) -> Image.Image:
    """Sky, ground and thirty shapes."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), "skyblue")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height * 0.6, width, height), fill="darkgreen")
    for _ in range(30):
        x, y, w, h = rng.random(4) * (width, height, width / 3, height / 3)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        draw.ellipse((x, y, x + w, y + h), fill=colour) if rng.random() < 0.5 else draw.rectangle(
            (x, y, x + w, y + h), fill=colour
        )
    return image


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def bits(first: str | None, second: str | None) -> int:
    assert first is not None
    assert second is not None
    return (int(first, 16) ^ int(second, 16)).bit_count()


@pytest.mark.parametrize("seed", range(12))
def test_a_photo_hashes_as_imagehash_hashes_it_but_for_two_bits(seed: int):
    photo = scene(seed)
    assert bits(perceptual_hash(photo), str(imagehash.phash(photo))) <= 2


@pytest.mark.parametrize("seed", range(12))
def test_copies_that_were_scaled_or_compressed_again_are_near(seed: int):
    photo = scene(seed)
    of_photo = perceptual_hash(photo)
    assert bits(of_photo, perceptual_hash(as_jpeg(photo, 60))) <= NEAR
    assert bits(of_photo, perceptual_hash(as_jpeg(photo.resize((512, 384)), 85))) <= NEAR


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("width", "height"), [(1024, 768), (701, 525), (200, 300)])
def test_a_jpeg_without_its_fine_detail_hashes_as_the_whole_one_but_for_two_bits(seed: int, width: int, height: int):
    data = io.BytesIO()
    scene(seed, width, height).save(data, "JPEG", quality=90)
    _, coarse = inspect(data.getvalue(), max_pixels=10**6, min_side=1, enough_side=ENOUGH_SIDE)
    assert bits(perceptual_hash(coarse), perceptual_hash(Image.open(data))) <= 2


def test_other_scenes_are_far():
    hashes = [perceptual_hash(scene(seed)) for seed in range(12)]
    assert min(bits(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > 8


def test_a_mirrored_copy_is_far():
    photo = scene(3)
    assert bits(perceptual_hash(photo), perceptual_hash(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))) > 8


def test_a_hash_is_sixteen_digits_of_which_half_the_bits_are_set():
    value = perceptual_hash(scene(1))
    assert value is not None
    assert len(value) == HASH_BITS // 4
    assert int(value, 16).bit_count() == HASH_BITS // 2


def test_pixels_and_image_give_the_same():
    photo = scene(2, 301, 203)
    assert perceptual_hash(np.asarray(photo)) == perceptual_hash(photo)


Y, X = np.mgrid[0:300, 0:400]
NOISE = np.random.default_rng(0)


@pytest.mark.parametrize(
    "grey",
    [
        pytest.param(np.full((300, 400), 255.0), id="white"),
        pytest.param(np.zeros((300, 400)), id="black"),
        pytest.param(X / 2, id="gradient"),
        pytest.param(120 + Y / 5 + NOISE.normal(0, 4, X.shape), id="sky with noise"),
        pytest.param(128 + NOISE.normal(0, 3, X.shape), id="wall with noise"),
        pytest.param(np.where(NOISE.random(X.shape) > 0.9995, 255.0, 4.0), id="stars"),
    ],
)
def test_a_picture_without_detail_has_no_hash(grey: np.ndarray):
    image = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    assert perceptual_hash(image) is None
    assert perceptual_hash(as_jpeg(image, 75)) is None


@pytest.mark.parametrize("size", [(32, 32), (33, 4000), (5000, 40)])
def test_any_shape_is_hashed(size: tuple[int, int]):
    assert perceptual_hash(scene(4, *size)) is not None
