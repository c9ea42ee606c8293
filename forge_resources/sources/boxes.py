"""Checks that every human box passes, whatever format it came in."""

import math
from collections.abc import Iterable

from forge_resources.sources.base import Label, LabelProblem, PhotoLabels


def label_or_problem(
    label_id: str,
    category: str,
    box: tuple[float, float, float, float],
    *,
    frame: tuple[int, int],
    is_crowd: bool,
    where: str,
) -> Label | LabelProblem:
    """A box clipped to its photo, or what is wrong with it.

    Args:
        label_id: Unique in the photo.
        category: Name of the class.
        box: Left, top, width, height in pixels of the upright photo; may reach out of the frame.
        frame: Width and height of the upright photo in pixels.
        is_crowd: The box holds many objects.
        where: File and line or annotation id, for people.
    """
    left, top, width, height = box
    if not all(math.isfinite(number) for number in box):
        return LabelProblem("label_not_finite", f"{where}: box {list(box)}")
    if width < 0 or height < 0:
        return LabelProblem("label_inverted", f"{where}: width {width:g}, height {height:g}")
    if width == 0 or height == 0:
        return LabelProblem("label_zero_size", f"{where}: width {width:g}, height {height:g}")
    x1, x2 = max(left, 0.0), min(left + width, float(frame[0]))
    y1, y2 = max(top, 0.0), min(top + height, float(frame[1]))
    if x1 >= x2 or y1 >= y2:
        return LabelProblem("label_outside", f"{where}: box {list(box)} of a photo of {frame[0]}x{frame[1]} pixels")
    return Label(label_id, category, x1, y1, x2, y2, is_crowd)


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
