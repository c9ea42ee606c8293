"""Depth without a network: single-view metrology from the boxes alone.

Two readings that fail for different reasons. Both take a pinhole camera held level, its focal length
`FOCAL_SHARE` of the photo's longer side; ratios of two objects of one photo do not depend on that value.

- Ground contact: a point of the ground plane seen `y` pixels below the horizon is `focal / y` camera
  heights away (Hoiem, Efros, Hebert: Putting Objects in Perspective, 2008).
- Class height: an object of real height `H` that is `h` pixels tall is `focal * H / h` away.
"""

from functools import cache
from importlib import resources

import polars as pl

from forge_resources.config import GEOMETRY_READINGS

FOCAL_SHARE = 0.9
HORIZON_SHARE = 0.5
MIN_BELOW_HORIZON = 0.05
"""Share of the photo's height: nearer to the horizon a pixel's error outweighs the reading."""
EDGE_SHARE = 0.01
"""A box this near to the photo's edge, as a share of its side, may go on outside."""

MAX_OCCLUSION = 0.3
"""Share of a box that a box in front may cover before its lower edge or its height cannot be trusted."""

GROUND_CONTACT, CLASS_HEIGHT = GEOMETRY_READINGS


@cache
def class_sizes() -> pl.DataFrame:
    """Usual sizes: category, height_m (metres, null where a class has no usual height), stands_on_ground.

    Read from `class_sizes.csv` beside this module, which a person may edit.
    """
    text = resources.files("forge_assets.scenes").joinpath("class_sizes.csv").read_text()
    return pl.read_csv(
        text.encode(), schema={"category": pl.String, "height_m": pl.Float64, "stands_on_ground": pl.Boolean}
    )


def _focal() -> pl.Expr:
    return FOCAL_SHARE * pl.max_horizontal("image_width", "image_height")


def touches(side: str, prefix: str = "") -> pl.Expr:
    """Whether a box reaches the photo's `left`, `top`, `right` or `bottom` edge."""
    x1, y1, x2, y2 = (pl.col(f"{prefix}{name}") for name in ("x1", "y1", "x2", "y2"))
    width, height = pl.col("image_width"), pl.col("image_height")
    return {
        "left": x1 <= EDGE_SHARE * width,
        "top": y1 <= EDGE_SHARE * height,
        "right": x2 >= (1 - EDGE_SHARE) * width,
        "bottom": y2 >= (1 - EDGE_SHARE) * height,
    }[side]


def ground_depth(prefix: str = "") -> pl.Expr:
    """Distance in camera heights from the lower edge of boxes `{prefix}x1 ... {prefix}y2` (pixels).

    Null for classes that need not stand on the ground, boxes cut by the photo's lower edge or hidden by a box
    in front, and lower edges at or above the horizon. Needs the columns of `class_sizes` joined by category.
    """
    below = pl.col(f"{prefix}y2") - HORIZON_SHARE * pl.col("image_height")
    usable = (
        pl.col("stands_on_ground")
        & ~touches("bottom", prefix)
        & (pl.col("occlusion") <= MAX_OCCLUSION)
        & (below > MIN_BELOW_HORIZON * pl.col("image_height"))
    )
    return pl.when(usable).then(_focal() / below)


def height_depth(prefix: str = "") -> pl.Expr:
    """Distance in metres from the pixel height of boxes against the usual height of their class.

    Null for classes without a usual height and for boxes cut by the photo's upper or lower edge or hidden by
    a box in front.
    """
    usable = (
        pl.col("height_m").is_not_null()
        & ~touches("top", prefix)
        & ~touches("bottom", prefix)
        & (pl.col("occlusion") <= MAX_OCCLUSION)
    )
    return pl.when(usable).then(_focal() * pl.col("height_m") / (pl.col(f"{prefix}y2") - pl.col(f"{prefix}y1")))
