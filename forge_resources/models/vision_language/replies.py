"""Boxes in what a model says."""

import json
import math
from collections.abc import Sequence
from typing import Any, Final, cast

Box = tuple[float, float, float, float]

_KEY: Final = "bbox_2d"
_CORNERS: Final = 4
_SCALE: Final = 1000


def boxes_in(reply: str) -> list[Box] | None:
    """The boxes that a reply names, as Qwen3-VL writes them.

    Read are a list of objects with `bbox_2d`, one such object, a list of boxes, and one box, in a fenced block or
    between words; the first piece of JSON counts.

    Args:
        reply: text of a model.

    Returns:
        x1, y1, x2, y2 in thousandths of the photo's width and height, in the reply's order; none for an empty
        list, and None for a reply that holds no such JSON, or a box that is none.
    """
    start = min((place for place in (reply.find("["), reply.find("{")) if place >= 0), default=None)
    if start is None:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(reply, start)
    except (json.JSONDecodeError, RecursionError):
        return None
    if isinstance(found, dict) or _is_box(found):
        found = [found]
    boxes = [_box(item) for item in cast("list[Any]", found)]
    read = [box for box in boxes if box is not None]
    return read if len(read) == len(boxes) else None


def _box(item: Any) -> Box | None:  # noqa: ANN401 - whatever JSON holds
    corners: Any = cast("dict[str, Any]", item).get(_KEY) if isinstance(item, dict) else item
    if not _is_box(corners):
        return None
    x1, y1, x2, y2 = (float(corner) for corner in cast("list[float]", corners))
    return (x1, y1, x2, y2) if 0 <= x1 < x2 <= _SCALE and 0 <= y1 < y2 <= _SCALE else None


def _is_box(item: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(item, list):
        return False
    corners = cast("Sequence[Any]", item)
    return len(corners) == _CORNERS and all(
        isinstance(corner, int | float) and not isinstance(corner, bool) and math.isfinite(corner) for corner in corners
    )
