"""Ask for a phrase that fits one object, then ask where in the photo, and in its mirror, that phrase leads."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from forge_assets.descriptions.words import broken_rule, tidied
from forge_assets.tables import DESCRIPTIONS
from forge_resources.models.batching import Photo
from forge_resources.models.boxes import iou_matrix, mirror_boxes
from forge_resources.models.vision_language.base import Request, VisionLanguageModel, shrunk
from forge_resources.models.vision_language.photos import PhotoWithRows, photos_with_rows
from forge_resources.models.vision_language.replies import boxes_in

UNREADABLE, NOT_FOUND = "unreadable_boxes", "not_found"
_GROUNDED: Final = ("matches", "iou", "mirror_matches", "mirror_iou")
_SCALE: Final = 1000
_OBJECTS_TOGETHER: Final = 64
_MARK: Final = (255, 0, 0)
_LINE_SHARE: Final = 0.006
"""Of the photo's longer side, width of the box's line."""

_DESCRIBE: Final = (
    "The red box in this photo marks one {singular}, at {region}: x1, y1, x2, y2 in thousandths of the photo's width "
    "and height. Give one short English noun phrase, of 3 to 10 words, that fits this {singular} and no other thing in "
    "the photo: what it looks like, wears, holds, does or is made of. Use the word {singular}. Name no side such as "
    "left, right, front or behind, no number, and not the red box. Answer with the phrase alone."
)
_GROUND: Final = (
    "Find everything in this photo that the phrase fits: the {phrase}. Answer with JSON alone: a list of "
    '{{"bbox_2d": [x1, y1, x2, y2]}}, in thousandths of the photo\'s width and height, or [] if it fits nothing.'
)


def descriptions(
    photos: Iterable[pl.DataFrame],
    objects: pl.DataFrame,
    model: VisionLanguageModel,
    *,
    max_side: int,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> Iterator[pl.DataFrame]:
    """Describe objects of photos, and ground each phrase whose words break no rule.

    Args:
        photos: batches of `raw_images` rows, sorted by image_id over all batches.
        objects: image_id, object_id, singular, region, box and color, as `entities.entities` gives them.
        model: is asked three times an object: for the phrase, in the photo, in its mirror.
        max_side: photos with a longer side, in pixels, are shrunk to it.
        batch_size: photos decoded at a time.
        progress: is told how many photos are done in all, after each table.

    Yields:
        Tables of the schema DESCRIPTIONS, of whole photos, sorted by image_id and object_id over all.

    Raises:
        VisionLanguageError: if the model cannot be asked.
        ValueError: if photos are out of order, or contradict their rows.
        UnusablePhoto: if a photo cannot be decoded.
    """
    done = 0
    for together in photos_with_rows(photos, objects.sort("image_id", "object_id"), batch_size):
        for group in _groups(together):
            yield _described([photo for photo, _ in group], pl.concat(rows for _, rows in group), model, max_side)
            done += len(group)
            if progress is not None:
                progress(done)


def marked(image: NDArray[np.uint8], box: Sequence[int]) -> NDArray[np.uint8]:
    """A copy of a photo with a red box drawn around an object.

    Args:
        image: shape (height, width, 3), RGB.
        box: x1, y1, x2, y2 in thousandths of width and height.
    """
    height, width = image.shape[:2]
    line = max(2, round(_LINE_SHARE * max(height, width)))
    x1, y1, x2, y2 = (corner * side / _SCALE for corner, side in zip(box, (width, height) * 2, strict=True))
    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).rectangle((x1 - line, y1 - line, x2 + line, y2 + line), outline=_MARK, width=line)
    return np.asarray(picture)


def _groups(photos: Iterable[PhotoWithRows]) -> Iterator[list[PhotoWithRows]]:
    """Photos that are asked about together: enough to keep a server busy, few enough for the marked copies to fit."""
    group: list[PhotoWithRows] = []
    for photo in photos:
        group.append(photo)
        if sum(rows.height for _, rows in group) >= _OBJECTS_TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _described(
    photos: Sequence[Photo], objects: pl.DataFrame, model: VisionLanguageModel, max_side: int
) -> pl.DataFrame:
    images = {photo.image_id: shrunk(photo.image, max_side) for photo in photos}
    replies = model.ask(
        [
            Request(marked(images[row["image_id"]], row["box"]), _describing(row))
            for row in objects.iter_rows(named=True)
        ]
    )
    phrased = (
        objects.with_columns(pl.Series("phrase", replies, dtype=pl.String))
        .with_columns(phrase=tidied(pl.col("phrase")))
        .with_columns(broken=broken_rule())
    )
    grounded = _grounded(phrased.filter(pl.col("broken").is_null()), images, model)
    is_unread = pl.col("matches").is_null() | pl.col("mirror_matches").is_null()
    is_unfound = (pl.col("matches") == 0) | (pl.col("mirror_matches") == 0)
    return (
        phrased.join(grounded, on="object_id", how="left")
        .with_columns(
            source=pl.lit(photos[0].row["source"]),
            shard=pl.lit(photos[0].row["shard"]),
            is_clean=pl.col("broken").is_null(),
            drop_rule=pl.coalesce(
                "broken",
                pl.when(is_unread).then(pl.lit(UNREADABLE)),
                pl.when(is_unfound).then(pl.lit(NOT_FOUND)),
            ),
            model=pl.lit(model.identity),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in DESCRIPTIONS.items())
    )


def _describing(row: Mapping[str, Any]) -> str:
    return _DESCRIBE.format(singular=row["singular"], region=row["region"])


def _grounded(
    phrased: pl.DataFrame, images: Mapping[str, NDArray[np.uint8]], model: VisionLanguageModel
) -> pl.DataFrame:
    """Where the phrases lead: object_id, matches, iou, mirror_matches, mirror_iou; null where a reply is unreadable."""
    mirrors = {image_id: np.ascontiguousarray(image[:, ::-1]) for image_id, image in images.items()}
    rows_asked = phrased.select("image_id", "phrase").rows()
    replies = model.ask(
        [
            Request(shown[image_id], _GROUND.format(phrase=phrase))
            for shown in (images, mirrors)
            for image_id, phrase in rows_asked
        ]
    )
    boxes = np.array(phrased["box"].to_list(), dtype=np.float64).reshape(-1, 4)
    here = [found(reply, box) for reply, box in zip(replies[: len(boxes)], boxes, strict=True)]
    mirrored = mirror_boxes(boxes, _SCALE)
    there = [found(reply, box) for reply, box in zip(replies[len(boxes) :], mirrored, strict=True)]
    rows: list[dict[str, Any]] = [
        {"object_id": object_id, "matches": matches, "iou": iou, "mirror_matches": others, "mirror_iou": mirror_iou}
        for object_id, (matches, iou), (others, mirror_iou) in zip(phrased["object_id"], here, there, strict=True)
    ]
    return pl.DataFrame(rows, schema={name: DESCRIPTIONS[name] for name in ("object_id", *_GROUNDED)})


def found(reply: str, box: NDArray[np.float64]) -> tuple[int, float] | tuple[None, None]:
    """How many boxes a reply names, and the largest IoU of one of them with an object's.

    Args:
        reply: of a model that was asked for boxes.
        box: the object's, shape (4,), in thousandths.

    Returns:
        Boxes and IoU, which is 0 without any; None for a reply that cannot be read.
    """
    boxes = boxes_in(reply)
    if boxes is None:
        return None, None
    overlaps = iou_matrix(np.array(boxes, dtype=np.float64).reshape(-1, 4), box[None, :])
    return len(boxes), float(overlaps.max(initial=0.0))
