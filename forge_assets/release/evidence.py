"""What a pair rests on, in words and figures for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_READINGS = {"ground_contact": "where it meets the ground", "class_height": "usual height of its class"}


def evidence_lines(evidence: Mapping[str, Any] | None, labels: Sequence[str]) -> list[tuple[str, str]]:
    """The evidence of a pair as names and values; what is null or empty is left out.

    Args:
        evidence: the struct `evidence` of a row.
        labels: short names of the pair's objects, for values that have one figure an object.
    """
    lines: list[tuple[str, str]] = []
    for field, value in (evidence or {}).items():
        if value is None or value == [] or value == [None] * len(_listed(value)):
            continue
        if field == "readings":
            lines += [(f"Depth by {_reading(reading)}", _ratios(reading)) for reading in value]
        elif field in _KNOWN:
            name, show = _KNOWN[field]
            lines.append((name, _shown(value, show, labels)))
        else:
            lines.append((field.replace("_", " ").capitalize(), _shown(value, _plain, labels)))
    return lines


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _shown(value: object, show: Callable[[Any], str], labels: Sequence[str]) -> str:
    if not isinstance(value, list):
        return show(value)
    values = ["unknown" if item is None else show(item) for item in _listed(value)]
    if len(values) == len(labels) > 1:
        return ", ".join(f"{label} {text}" for label, text in zip(labels, values, strict=True))
    return ", ".join(values)


def _plain(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _of_width(value: float) -> str:
    return f"{value:.1%} of the photo's width"


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _turn(value: float) -> str:
    return f"{value:+.2f}, {'to the camera' if value > 0 else 'away from the camera'}"


def _reading(reading: Mapping[str, Any]) -> str:
    name = str(reading["reading"])
    return _READINGS.get(name, f"network {name!r}")


def _ratios(reading: Mapping[str, Any]) -> str:
    parts = [
        f"{text} {value:.2f}"
        for text, value in (
            ("farther / nearer", reading["ratio"]),
            ("in the mirror", reading["mirror_ratio"]),
            ("separation", reading["separation"]),
        )
        if value is not None
    ]
    return ", ".join(parts)


_KNOWN: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "scores": ("Detector's score", _plain),
    "mirror_ious": ("Found again in the mirror, IoU", _plain),
    "truncated": ("Cut by the photo's edge", _yes_no),
    "overlaps": ("Covered by another box", _percent),
    "same_category": ("Objects that may be of its class", str),
    "count_strict": ("Count, strict threshold", str),
    "count_loose": ("Count, loose threshold", str),
    "count_mirror": ("Count in the mirror", str),
    "gap": ("Space between the boxes", _of_width),
    "mirror_gap": ("Space in the mirror", _of_width),
    "center_gap": ("Between the boxes' centres", _of_width),
    "facing": ("Facing", _turn),
    "mirror_facing": ("Facing in the mirror", _turn),
    "facing_score": ("Weakest keypoint", _plain),
    "models": ("Models", str),
}
