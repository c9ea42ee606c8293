"""Checks that every human box and point passes, whatever format it came in."""

import math
from collections.abc import Iterable
from dataclasses import replace

from forge_resources.sources.base import Label, LabelProblem, PhotoLabels, Point


def checked_label(label: Label, frame: tuple[int, int], where: str) -> Label | LabelProblem:
    """A label with its box clipped to its photo, or what is wrong with it.

    Args:
        label: Its corners in pixels of the upright photo; they may reach out of the frame.
        frame: Width and height of the upright photo in pixels.
        where: File and line or annotation id, for people.
    """
    box = (label.x1, label.y1, label.x2, label.y2)
    width, height = label.x2 - label.x1, label.y2 - label.y1
    if not all(math.isfinite(number) for number in box):
        return LabelProblem("label_not_finite", f"{where}: box {list(box)}")
    if width < 0 or height < 0:
        return LabelProblem("label_inverted", f"{where}: width {width:g}, height {height:g}")
    if width == 0 or height == 0:
        return LabelProblem("label_zero_size", f"{where}: width {width:g}, height {height:g}")
    x1, x2 = max(label.x1, 0.0), min(label.x2, float(frame[0]))
    y1, y2 = max(label.y1, 0.0), min(label.y2, float(frame[1]))
    if x1 >= x2 or y1 >= y2:
        return LabelProblem("label_outside", f"{where}: box {list(box)} of a photo of {frame[0]}x{frame[1]} pixels")
    return replace(label, x1=x1, y1=y1, x2=x2, y2=y2)


def label_or_problem(
    label_id: str,
    category: str,
    box: tuple[float, float, float, float],
    *,
    frame: tuple[int, int],
    is_crowd: bool,
    where: str,
) -> Label | LabelProblem:
    """`checked_label` for a box given as COCO has it.

    Args:
        label_id: Unique in the photo.
        category: Name of the class.
        box: Left, top, width, height in pixels of the upright photo; may reach out of the frame.
        frame: Width and height of the upright photo in pixels.
        is_crowd: The box holds many objects.
        where: File and line or annotation id, for people.
    """
    left, top, width, height = box
    return checked_label(
        Label(label_id, category, left, top, left + width, top + height, is_crowd=is_crowd), frame, where
    )


def checked_point(point: Point, frame: tuple[int, int], where: str) -> Point | LabelProblem:
    """A point of the photo, or what is wrong with it.

    Args:
        point: In pixels of the upright photo.
        frame: Width and height of the upright photo in pixels.
        where: File and row, for people.
    """
    if not (math.isfinite(point.x) and math.isfinite(point.y)):
        return LabelProblem("label_not_finite", f"{where}: point ({point.x}, {point.y})")
    if not (0 <= point.x <= frame[0] and 0 <= point.y <= frame[1]):
        return LabelProblem(
            "label_point_outside", f"{where}: ({point.x:g}, {point.y:g}) of a photo of {frame[0]}x{frame[1]} pixels"
        )
    return point


def collect(found: Iterable[Label | LabelProblem]) -> PhotoLabels:
    """The labels of one labelled photo; a second label of the same id, or of the same class and box, is a problem."""
    labels: list[Label] = []
    problems: list[LabelProblem] = []
    ids: dict[str, Label] = {}
    boxes: dict[tuple[object, ...], Label] = {}
    for item in found:
        if isinstance(item, LabelProblem):
            problems.append(item)
            continue
        box = (item.category, item.x1, item.y1, item.x2, item.y2)
        if box in boxes:
            detail = f"{item.label_id}: same class and box as {boxes[box].label_id}"
            problems.append(LabelProblem("label_duplicate", detail))
        elif item.label_id in ids:
            problems.append(LabelProblem("label_duplicate_id", f"{item.label_id}: id of another label of this photo"))
        else:
            ids[item.label_id] = boxes[box] = item
            labels.append(item)
    return PhotoLabels(is_labeled=True, labels=tuple(labels), problems=tuple(problems))


def turned(x: float, y: float, rotation: int, stored: tuple[int, int]) -> tuple[float, float]:
    """Where a point of the stored photo lies once the photo is turned upright.

    Args:
        x: Pixels from the left of the stored photo.
        y: Pixels from its top.
        rotation: Degrees counter-clockwise: 0, 90, 180 or 270.
        stored: Width and height of the stored photo in pixels.

    Raises:
        ValueError: for another rotation.
    """
    width, height = stored
    match rotation:
        case 0:
            return x, y
        case 90:
            return y, width - x
        case 180:
            return width - x, height - y
        case 270:
            return height - y, x
        case _:
            raise ValueError(f"rotation {rotation} is none of 0, 90, 180, 270")
