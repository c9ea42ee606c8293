"""What a pair rests on, in words and figures for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_READINGS: Final = {"ground_contact": "where it meets the ground", "class_height": "usual height of its class"}
_PHRASES: Final[Mapping[str, tuple[str, Callable[[float], str]]]] = {
    "color": ("colour", lambda value: f"{value:.0%} of its pixels plain"),
    "ordinal": ("place in a row", lambda value: f"{value:.1%} of the photo's width from the next"),
    "size": ("size", lambda value: f"{value:.2f} times the next in size"),
    "side_of": ("side of a landmark", lambda value: f"{value:.1%} of the photo's width between them"),
    "class": ("class", str),
}


def evidence_lines(evidence: Mapping[str, Any] | None, labels: Sequence[str]) -> list[tuple[str, str]]:
    """The evidence of a pair as names and values; what is null or empty is left out.

    Args:
        evidence: the struct `evidence` of a row; its `models` are part of a pair's origin and left out.
        labels: short names of the pair's objects, for values that have one figure an object.
    """
    lines: list[tuple[str, str]] = []
    for field, value in (evidence or {}).items():
        if field == "models" or value is None or value == [] or value == [None] * len(_listed(value)):
            continue
        if field == "readings":
            several = len({reading.get("pair") for reading in value}) > 1
            lines += [(f"Depth by {_reading(reading, several=several)}", _ratios(reading)) for reading in value]
        elif field == "phrases":
            lines += [(f"Phrase \u201c{phrase['text']}\u201d", _phrase(phrase)) for phrase in value]
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


def _reading(reading: Mapping[str, Any], *, several: bool) -> str:
    name = str(reading["reading"])
    words = _READINGS.get(name, f"network {name!r}")
    return f"{words}, pair {reading['pair'] + 1}" if several and reading.get("pair") is not None else words


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
    return ", ".join(parts) or "says nothing"


def _phrase(phrase: Mapping[str, Any]) -> str:
    matches, value = phrase["matches"], phrase["value"]
    fits = "what it fits is unknown" if matches is None else f"may fit {matches} object{'' if matches == 1 else 's'}"
    name, show = _PHRASES.get(phrase["kind"], (str(phrase["kind"]), _plain))
    return f"{fits}, told by {name}" + ("" if value is None else f": {show(value)}")


_KNOWN: Final[Mapping[str, tuple[str, Callable[[Any], str]]]] = {
    "scores": ("Detector's score", _plain),
    "mirror_ious": ("Found again in the mirror, IoU", _plain),
    "second_scores": ("Second detector's score", _plain),
    "truncated": ("Cut by the photo's edge", _yes_no),
    "occlusions": ("Covered by one box in front", _percent),
    "class_conflicts": ("IoU with a box of another class", _plain),
    "same_category": ("Objects that may be of its class", str),
    "count_strict": ("Count, strict threshold", str),
    "count_loose": ("Count, loose threshold", str),
    "count_mirror": ("Count in the mirror", str),
    "count_human": ("Count by people", str),
    "gap": ("Space between the boxes", _of_width),
    "mirror_gap": ("Space in the mirror", _of_width),
    "center_gap": ("Between the boxes' centres", _of_width),
    "facing": ("Facing", _turn),
    "mirror_facing": ("Facing in the mirror", _turn),
    "second_facing": ("Facing by the second pose network", _turn),
    "facing_score": ("Weakest keypoint", _plain),
}
