r"""Qwen2.5-VL, as the fine-tuning code of its makers reads it.

    {"id": …, "image": …, "conversations": [{"from": "human", "value": "<image>\n…"}, {"from": "gpt", "value": …}]}

Boxes and points are absolute pixels of the photo as the model sees it, after its processor's "smart resize": sides are
the nearest multiples of 28 (two vision patches of 14), and smaller or larger ones where the area would leave the range
from `min_pixels` to `max_pixels`; the formula is that of `smart_resize` in the model's processor. Train with the same
two limits as the export was written with.
"""

from typing import Final

from forge_assets.release.training_format import TrainingFormat, regions

MIN_PIXELS: Final = 56 * 56
MAX_PIXELS: Final = 14 * 14 * 4 * 1280
"""The processor's own limits, in pixels of the resized photo."""

_FACTOR: Final = 28
_LONGEST: Final = 200
"""The processor refuses photos with one side so many times the other."""

_POINT: Final = r"point (\[\d+, \d+\])"
_MARK: Final = "chr(1)"


def resized(min_pixels: int = MIN_PIXELS, max_pixels: int = MAX_PIXELS) -> dict[str, str]:
    """DuckDB expressions of the resized photo's `resized_width` and `resized_height`, and of what they rest on.

    They read `image_width` and `image_height`, in pixels, and are null where the processor refuses the photo.
    """
    shrunk = f"greatest({_FACTOR}, floor({{side}} / shrink / {_FACTOR}) * {_FACTOR})"
    grown = f"ceil({{side}} * grow / {_FACTOR}) * {_FACTOR}"
    side = f"""
CASE WHEN greatest(image_width, image_height) > {_LONGEST} * least(image_width, image_height) THEN NULL
     WHEN nearest_width * nearest_height > {max_pixels} THEN {shrunk}
     WHEN nearest_width * nearest_height < {min_pixels} THEN {grown}
     ELSE nearest_{{name}} END::INTEGER
"""
    area = "(image_width::BIGINT * image_height)"
    return {
        "nearest_width": f"round_even(image_width / {_FACTOR}, 0) * {_FACTOR}",
        "nearest_height": f"round_even(image_height / {_FACTOR}, 0) * {_FACTOR}",
        "shrink": f"sqrt({area} / {max_pixels})",
        "grow": f"sqrt({min_pixels} / {area})",
        "resized_width": side.format(side="image_width", name="width"),
        "resized_height": side.format(side="image_height", name="height"),
    }


def in_pixels(text: str) -> str:
    """SQL that puts the boxes of this row, and the points that a text names, into pixels of the resized photo.

    It is null where the processor refuses the photo. All are marked before the first is replaced: pixels of one may
    read as thousandths of another.
    """
    coordinates = f"list_distinct(list_concat({regions()}, regexp_extract_all({text}, '{_POINT}', 1)))"
    side = "CASE WHEN place % 2 = 1 THEN resized_width ELSE resized_height END"
    pixels = f"""
list_transform(
    regexp_extract_all(part, '\\d+'), lambda number, place: round(number::INTEGER * ({side}) / 1000)::INTEGER
)::VARCHAR
"""
    marked = f"{_MARK} || part[2:-2] || {_MARK}"
    return f"""
CASE WHEN resized_width IS NOT NULL THEN list_reduce(
    list_prepend(
        list_reduce(list_prepend({text}, {coordinates}), lambda written, part: replace(written, part, {marked})),
        {coordinates}
    ),
    lambda written, part: replace(written, {marked}, {pixels})
) END
"""


def training_format(min_pixels: int = MIN_PIXELS, max_pixels: int = MAX_PIXELS) -> TrainingFormat:
    """The format for a processor with these limits, in pixels of the resized photo."""
    return TrainingFormat(
        name="qwen2.5-vl",
        question=in_pixels("question"),
        answer=in_pixels("answer"),
        reserved=("<image>", "<video>", "<|im_start|>", "<|im_end|>", "\x01"),
        derived=resized(min_pixels, max_pixels),
    )


FORMAT = training_format()
