"""The plain colour of objects, for phrases such as "the red car".

A pixel is called by the nearest colour of the XKCD survey (https://xkcd.com/color/rgb) in CIELAB, as one of the
eleven basic colour terms (Berlin and Kay: Basic Color Terms, 1969). An object is called by a colour only where most of
the middle of its box has that one, in the photo and in copies of it with other exposure and white balance. A wrong
colour makes a wrong answer, so all else has none.
"""

import io
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from forge_assets.scenes.depth_quantiles import ERODED_SHARE
from forge_assets.scenes.overlap import RIVAL_SCORE, SAME_OBJECT_IOU
from forge_resources.images import upright
from forge_resources.models.batching import DECODING_THREADS

BASIC_COLORS: Final = (
    "black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown",
)  # fmt: skip
"""The basic colour terms of English."""
BLACK, WHITE, GREY, RED, BROWN = (BASIC_COLORS.index(name) for name in ("black", "white", "grey", "red", "brown"))
UNDECIDED: Final = len(BASIC_COLORS)
"""What a pixel is between two colours; it counts among the pixels looked at, and for no colour."""
DARK: Final = UNDECIDED + 1
"""What a dark pixel without hue is that need not be black, as in glass and shadow; it counts for no colour either."""
_WORD_STEMS: Final = {
    "red": ("redd",),
    "orange": ("orang",),
    "blue": ("blu",),
    "purple": ("purpl",),
}
"""How the survey's names begin a basic term, as in reddish, bluey, purply; a term not here begins as it is spelled."""
_BORDER_WORDS: Final = frozenset(
    {
        "aqua", "beige", "burgundy", "cream", "cyan", "fuchsia", "gold", "khaki", "magenta", "maroon", "mauve",
        "mustard", "olive", "peach", "rust", "salmon", "sand", "tan", "taupe", "teal", "turquoise",
    }
)  # fmt: skip
"""What people call colours that they would not agree to call by one basic term."""
_SHADES_OF_BROWN: Final = frozenset({BASIC_COLORS.index("orange"), BASIC_COLORS.index("yellow")})
"""Brown is dark orange and dark yellow: orangish brown and yellowish brown are brown."""

LEVELS: Final = 64
"""Steps of each of R, G, B in the table of names."""
GREY_CHROMA: Final = 10.0
BLACK_CHROMA: Final = 14.0
"""CIELAB chroma below which a pixel, and a dark one, has no hue that survives a photo's cast."""
HUE_CHROMA: Final = 20.0
"""Below this chroma a hue may be the light's, the sky's or the lawn's."""
BLACK_LIGHTNESS: Final = 12.0
HUELESS_LIGHTNESS: Final = 8.0
"""Below this CIELAB lightness every pixel is black."""
GREY_LIGHTNESS: Final = (38.0, 62.0)
WHITE_LIGHTNESS: Final = 82.0
"""Pixels without hue are named by CIELAB lightness, since the survey's black and white are those of a screen.
What is between is undecided: dark grey or black, silver or white, white in the shade."""
BROWN_LIGHTNESS: Final = 50.0
BROWN_CHROMA: Final = (14.0, 45.0)
"""Lighter or stronger, what the survey calls brown may be yellow or orange out of the sun."""

GAMMA: Final = 2.2
"""Stored values are linear light to the power of 1 / 2.2, nearly."""
EXPOSURES: Final = (1.0, 0.8, 1.25)
RED_OVER_BLUE: Final = (1.21, 1 / 1.21)
"""Copies in which an object must keep its colour: factors on linear light, and of red against blue."""

LOOKED_SIDE: Final = 512
"""Photos are looked at with a longer side of this many pixels, up to twice as many, or as large as they are."""
MIN_PIXELS: Final = 200
MIN_VISIBLE_SHARE: Final = 0.4
"""Pixels looked at, at least, and their share of the ellipse that other boxes leave."""
CONTAINED_SHARE: Final = 0.9
CONTAINER_AREA: Final = 2.0
"""A box that covers this much of a box and is so many times as large is what the object stands on or is worn by."""

MIN_SHARE: Final = 0.5
MIN_SHARE_UNSURE: Final = 0.7
UNSURE_COLORS: Final = frozenset({"black", "white", "grey", "brown"})
"""Colours that shadow, glare and background make of others need a higher share of the pixels."""
MIN_LEAD: Final = 2.5
"""Times the runner-up's share, in every copy."""
MIN_STEADY: Final = 0.5
"""Share of the pixels of its colour that an object must keep in every copy."""
DIM_VALUE: Final = 90
"""Median of the brightest channel, 0-255, below which a photo is dim."""
DIM_REDUCTION: Final = 8
"""Pixels to a side that are averaged before, to save time."""
MIN_LIT_SHARE: Final = 0.3
"""Share of the pixels that must be neither black nor dark, for those that are to pass for dark parts."""

SCHEMA: Final = pl.Schema(
    {
        "object_id": pl.String(),
        "color": pl.String(),
        "color_share": pl.Float64(),
        "second_color": pl.String(),
        "second_share": pl.Float64(),
    }
)

Pixels = NDArray[np.uint8]


class PlainColor(NamedTuple):
    """A colour and its runner-up, shares 0-1 of the pixels looked at."""

    color: str
    color_share: float
    second_color: str | None
    """Null where no pixel has another."""
    second_share: float


def colors_of_shard(photos: Iterable[pl.DataFrame], objects: pl.DataFrame) -> pl.DataFrame:
    """The plain colour of each object, photo by photo, so that memory follows the batch and not the shard.

    Args:
        photos: batches of `raw_images` rows: image_id, image, orientation, width, height.
        objects: object_id, image_id, category, x1, y1, x2, y2 (pixels of the upright photo), score (null for a
            human box that no detector found).

    Returns:
        One row an object, sorted by object_id: color, one of `BASIC_COLORS`; color_share, the share of the pixels
        looked at that have it, 0-1, dark parts of vehicles left out; second_color and second_share of the runner-up.
        All null where no colour is plain; second_color alone where no pixel has another.

    Raises:
        ValueError: if the photo of an object whose colour is asked for does not come, or is not of the size that its
            row says.
        OSError: if a photo cannot be decoded.
    """
    asked = objects.filter(pl.col("category").is_in(list(colored_classes())))["image_id"].unique()
    of_photo = {
        str(group["image_id"][0]): group
        for group in objects.filter(pl.col("image_id").is_in(asked.to_list())).partition_by("image_id")
    }
    names_of_rgb()  # once, and not in each thread
    found: list[tuple[str, str, float, str | None, float]] = []
    seen: set[str] = set()
    with ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="colors") as pool:
        for batch in photos:
            wanted = batch.filter(pl.col("image_id").is_in(list(of_photo)))
            image_ids = wanted["image_id"].to_list()
            seen.update(image_ids)
            groups = [of_photo[image_id] for image_id in image_ids]
            for colors in pool.map(_colors_of_photo, wanted.iter_rows(named=True), groups):
                found += [
                    (object_id, plain.color, plain.color_share, plain.second_color, plain.second_share)
                    for object_id, plain in colors
                ]
    if seen != set(of_photo):
        raise ValueError(f"no row for the photo {min(set(of_photo) - seen)!r}, whose objects have colours to tell")
    named = pl.DataFrame(found, schema=SCHEMA, orient="row")
    return objects.select("object_id").join(named, on="object_id", how="left", validate="1:1").sort("object_id")


class ColoredClass(NamedTuple):
    """What is known of the colours of a class."""

    colors: frozenset[str]
    """Those that its objects may be called by."""
    has_dark_parts: bool
    """Windows, tyres and grilles do not count, as in a red car."""


@cache
def colored_classes() -> Mapping[str, ColoredClass]:
    """The classes of which two people name the same colour at a glance.

    Read from `colored_classes.csv` beside this module, which a person may edit: a class stands there if its box is
    mostly filled by the object, nothing shows through it and its content is not taken for it. `colors` are joined by
    semicolons; empty: all.
    """
    text = resources.files("forge_assets.scenes").joinpath("colored_classes.csv").read_text()
    rows = pl.read_csv(
        text.encode(),
        schema={"category": pl.String, "colors": pl.String, "has_dark_parts": pl.Boolean, "why": pl.String},
    )
    return {
        category: ColoredClass(frozenset(colors.split(";") if colors else BASIC_COLORS), has_dark_parts)
        for category, colors, has_dark_parts, _ in rows.iter_rows()
    }


def _colors_of_photo(row: Mapping[str, Any], objects: pl.DataFrame) -> list[tuple[str, PlainColor]]:
    photo = decode_small(row["image"]["bytes"], row["orientation"], row["width"], row["height"])
    to_small = np.array([photo.shape[1] / row["width"], photo.shape[0] / row["height"]] * 2)
    boxes = np.stack([objects[side].to_numpy() for side in ("x1", "y1", "x2", "y2")], axis=1) * to_small
    hiding = hiding_boxes(objects)
    untold = UNSURE_COLORS if is_dim(photo) else frozenset[str]()
    colors: list[tuple[str, PlainColor]] = []
    for index, (object_id, category) in enumerate(zip(objects["object_id"], objects["category"], strict=True)):
        known = colored_classes().get(category)
        if known is None:
            continue
        pixels = looked_at(photo, boxes[index], boxes[hiding[index]])
        plain = plain_color(pixels, has_dark_parts=known.has_dark_parts)
        if plain is not None and plain.color in known.colors - untold:
            colors.append((object_id, plain))
    return colors


def decode_small(data: bytes, orientation: int, width: int, height: int) -> Pixels:
    """Decode a photo at a reduced size, turned upright; a JPEG is never decoded at full size.

    Args:
        data: the file's bytes.
        orientation: how the pixels are stored, 1-8 as EXIF has it.
        width: pixels of the upright photo.
        height: pixels of the upright photo.

    Returns:
        Array of shape (small height, small width, 3), RGB, its longer side `LOOKED_SIDE` to twice as long.

    Raises:
        ValueError: if the photo is not of this size.
        OSError: if the bytes cannot be decoded.
    """
    with Image.open(io.BytesIO(data)) as image:
        stored = image.size
        factor = _reduction(stored)
        image.draft(None, (max(stored[0] // factor, 1), max(stored[1] // factor, 1)))
        drafted = round(max(stored) / max(image.size))
        image.load()
        photo = upright(image, orientation)
    if photo.size != (math.ceil(width / drafted), math.ceil(height / drafted)):
        raise ValueError(
            f"a photo of {width} x {height} pixels by its row decodes to {photo.width} x {photo.height}, "
            f"reduced {drafted} times"
        )
    return np.asarray(photo.reduce(_reduction(photo.size)))


def _reduction(size: tuple[int, int]) -> int:
    return max(max(size) // LOOKED_SIDE, 1)


def hiding_boxes(objects: pl.DataFrame) -> NDArray[np.bool_]:
    """Which boxes of a photo may hide an object of it.

    All that touch its box, but those of a detector that is not sure, a second reading of the object itself,
    and what the object stands on or is worn by: a box that holds the object's and is much larger.

    Args:
        objects: category, x1, y1, x2, y2 (pixels), score of all objects of one photo.

    Returns:
        Array of shape (objects, objects): whether the box of the column may hide the object of the row.
    """
    x1, y1, x2, y2 = (objects[name].to_numpy() for name in ("x1", "y1", "x2", "y2"))
    categories = objects["category"].to_numpy()
    width = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
    height = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    shared = width.clip(0) * height.clip(0)
    area = (x2 - x1) * (y2 - y1)
    same = categories[:, None] == categories
    itself = same & (shared >= SAME_OBJECT_IOU * (area[:, None] + area - shared))
    holds = (shared >= CONTAINED_SHARE * area[:, None]) & (area >= CONTAINER_AREA * area[:, None])
    sure = objects["score"].fill_null(1.0).to_numpy() >= RIVAL_SCORE
    np.fill_diagonal(itself, val=True)
    return (shared > 0) & ~itself & ~holds & sure


def looked_at(photo: Pixels, box: NDArray[np.float64], hiding: NDArray[np.float64]) -> Pixels:
    """The pixels that an object is judged by: of the ellipse in its eroded box, those that no other box covers.

    Args:
        photo: array of shape (height, width, 3).
        box: x1, y1, x2, y2 in pixels of that array.
        hiding: boxes of shape (others, 4).

    Returns:
        Array of shape (pixels, 3); empty where too few remain.
    """
    x1, y1, x2, y2 = (float(side) for side in box)
    wide, high = (0.5 - ERODED_SHARE) * (x2 - x1), (0.5 - ERODED_SHARE) * (y2 - y1)
    if math.pi * wide * high < MIN_PIXELS:
        return np.empty((0, 3), np.uint8)
    left, top, right, bottom = max(math.floor(x1), 0), max(math.floor(y1), 0), math.ceil(x2), math.ceil(y2)
    inside = photo[top:bottom, left:right]
    x = left + np.arange(inside.shape[1]) + 0.5
    y = (top + np.arange(inside.shape[0]) + 0.5)[:, None]
    ellipse = ((x - (x1 + x2) / 2) / wide) ** 2 + ((y - (y1 + y2) / 2) / high) ** 2 <= 1
    visible = ellipse.copy()
    for hx1, hy1, hx2, hy2 in hiding:
        visible &= ~((x >= hx1) & (x <= hx2) & (y >= hy1) & (y <= hy2))
    if visible.sum() < max(MIN_PIXELS, MIN_VISIBLE_SHARE * ellipse.sum()):
        return np.empty((0, 3), np.uint8)
    return inside[visible]


def is_dim(photo: Pixels) -> bool:
    """Whether a photo is so dark that white may look grey in it, and all else black or brown.

    Args:
        photo: array of shape (height, width, 3), RGB.
    """
    coarse = np.asarray(Image.fromarray(photo).reduce(DIM_REDUCTION))
    return float(np.median(coarse.max(axis=2))) < DIM_VALUE


def plain_color(pixels: Pixels, *, has_dark_parts: bool = False) -> PlainColor | None:
    """The colour that most pixels have in every copy of them, or None where no colour is plain.

    Args:
        pixels: array of shape (pixels, 3), RGB; empty: no colour.
        has_dark_parts: leave black and dark pixels out, unless most are so.
    """
    if not len(pixels):
        return None
    shares = color_shares(pixels)
    lit = 1 - shares[:, [BLACK, DARK]].sum(axis=1, keepdims=True)
    if has_dark_parts and (lit >= MIN_LIT_SHARE).all():
        shares[:, BLACK] = 0
        shares /= lit
    shares = shares[:, :UNDECIDED]
    second, first = (int(index) for index in np.argsort(shares[0], kind="stable")[-2:])
    name = BASIC_COLORS[first]
    share, second_share = float(shares[0, first]), float(shares[0, second])
    others = np.delete(shares, first, axis=1).max(axis=1)
    is_plain = share >= (MIN_SHARE_UNSURE if name in UNSURE_COLORS else MIN_SHARE)
    if not is_plain or (shares[:, first] < MIN_LEAD * others).any() or (shares[:, first] < MIN_STEADY * share).any():
        return None
    return PlainColor(name, share, BASIC_COLORS[second] if second_share > 0 else None, second_share)


def color_shares(pixels: Pixels) -> NDArray[np.float64]:
    """The share of the pixels that have each of `BASIC_COLORS`, or are `UNDECIDED` or `DARK`, in each copy.

    Args:
        pixels: array of shape (pixels, 3), RGB.

    Returns:
        Array of shape (copies, `DARK` + 1), the photo itself first; each row sums to 1.
    """
    cells = _cells_of_copies()
    red, green, blue = (cells[:, channel][:, pixels[:, channel]] for channel in range(3))
    named = names_of_rgb()[red, green, blue]
    counts = [np.bincount(copy, minlength=DARK + 1) for copy in named]
    return np.array(counts) / len(pixels)


@cache
def _cells_of_copies() -> NDArray[np.uint8]:
    """Cell of the table of names by copy, channel and the channel's stored value: shape (copies, 3, 256)."""
    light = [(exposure,) * 3 for exposure in EXPOSURES]
    light += [(math.sqrt(cast), 1.0, 1 / math.sqrt(cast)) for cast in RED_OVER_BLUE]
    factors = np.array(light) ** (1 / GAMMA)
    stored = (factors[:, :, None] * np.arange(256)).clip(max=255)
    return (stored * LEVELS / 256).astype(np.uint8)


@cache
def names_of_rgb() -> NDArray[np.uint8]:
    """The colour of each cell of RGB, as its position in `BASIC_COLORS`, `UNDECIDED` or `DARK`.

    The references are the survey's names that end in a basic term; where a name has two of them (greenish blue), it
    marks a border, and what is nearest to it is undecided. Cells without hue are named by lightness.

    Returns:
        Array of shape (`LEVELS`, `LEVELS`, `LEVELS`) by R, G, B.
    """
    from matplotlib.colors import XKCD_COLORS, to_rgb

    references = [
        (to_rgb(value), color)
        for name, value in XKCD_COLORS.items()
        if (color := color_of_name(name.removeprefix("xkcd:"))) is not None
    ]
    middle = (np.arange(LEVELS) + 0.5) / LEVELS
    cells = _lab(np.stack(np.meshgrid(middle, middle, middle, indexing="ij"), axis=-1).reshape(-1, 3))
    from scipy.spatial import KDTree

    _, nearest = KDTree(_lab(np.array([rgb for rgb, _ in references]))).query(cells)
    names = np.array([color for _, color in references], np.uint8)[nearest]
    lightness, chroma = cells[:, 0], np.hypot(cells[:, 1], cells[:, 2])
    is_hueless = chroma < GREY_CHROMA
    is_brown = (names == BROWN) & (lightness <= BROWN_LIGHTNESS) & _within(chroma, BROWN_CHROMA)
    names[~is_brown & ((names == BROWN) | (names < RED) | (chroma < HUE_CHROMA))] = UNDECIDED
    names[(names == UNDECIDED) & (lightness < GREY_LIGHTNESS[0]) & (chroma < HUE_CHROMA)] = DARK
    names[is_hueless & _within(lightness, GREY_LIGHTNESS)] = GREY
    names[is_hueless & (lightness >= WHITE_LIGHTNESS)] = WHITE
    names[(chroma < BLACK_CHROMA) & (lightness <= BLACK_LIGHTNESS)] = BLACK
    names[lightness <= HUELESS_LIGHTNESS] = BLACK
    names.flags.writeable = False
    return names.reshape(LEVELS, LEVELS, LEVELS)


def color_of_name(name: str) -> int | None:
    """What a name of the survey stands for, by its last word.

    Args:
        name: such as `dark red`, `greenish blue`, `light teal`, `rose`.

    Returns:
        Position in `BASIC_COLORS` of the basic term; `UNDECIDED` for a name of two terms, or of none that marks a
        border; None for other names, which are no reference.
    """
    words = name.replace("gray", "grey").split()
    if words[-1] in _BORDER_WORDS:
        return UNDECIDED
    if words[-1] not in BASIC_COLORS:
        return None
    terms = {term for term in map(_basic_term, words) if term is not None}
    if words[-1] == "brown":
        terms -= _SHADES_OF_BROWN
    return terms.pop() if len(terms) == 1 else UNDECIDED


def _within(values: NDArray[np.float32], limits: tuple[float, float]) -> NDArray[np.bool_]:
    return (limits[0] <= values) & (values <= limits[1])


def _basic_term(word: str) -> int | None:
    for index, color in enumerate(BASIC_COLORS):
        if word == color or word.startswith(_WORD_STEMS.get(color, (color,))):
            return index
    return None


def _lab(rgb: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """CIELAB (D65) of sRGB colours 0-1, both of shape (colours, 3)."""
    import cv2

    return cv2.cvtColor(rgb.astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]
