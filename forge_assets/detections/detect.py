"""The networks' part of `detections`: boxes and keypoints, on each photo and on its mirror."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.detections.mirror import turn_back_keypoints
from forge_assets.detections.objects import Objects, gather, rows
from forge_assets.tables import DETECTIONS
from forge_resources.config import ModelsConfig
from forge_resources.models.batching import Photo, decoded
from forge_resources.models.boxes import FloatArray, mirror_boxes
from forge_resources.models.detectors import Detector
from forge_resources.models.pose import PoseEstimator

PHOTOS_A_TABLE: Final = 256


def detections(
    photos: Iterable[pl.DataFrame],
    detector: Detector,
    pose: PoseEstimator | None,
    config: ModelsConfig,
    progress: Callable[[int], None] | None = None,
) -> Iterator[pl.DataFrame]:
    """Find objects and read poses in photos and in their mirrors.

    A batch of the detector is half photos, half their mirrors; the next photos are decoded meanwhile.

    Args:
        photos: batches of `raw_images` rows, sorted by image_id over all batches.
        detector: finds objects.
        pose: reads people's keypoints, where there is one.
        config: batch size and the score from which people are asked for their pose.
        progress: is told how many photos are done in all, after each batch.

    Yields:
        Tables of the schema DETECTIONS, sorted by image_id and object_id over all of them, with whole photos.

    Raises:
        ValueError: if photos are out of order, or contradict their rows.
        UnusablePhoto: if a photo cannot be decoded.
    """
    made: list[dict[str, Any]] = []
    held = done = 0
    for together in decoded(photos, max(1, config.detector.batch_size // 2)):
        made += _detect(together, detector, pose, config.pose.min_person_score)
        held, done = held + len(together), done + len(together)
        if progress is not None:
            progress(done)
        if held >= PHOTOS_A_TABLE:
            yield pl.DataFrame(made, schema=dict(DETECTIONS))
            made, held = [], 0
    if held:
        yield pl.DataFrame(made, schema=dict(DETECTIONS))


def _detect(
    photos: list[Photo], detector: Detector, pose: PoseEstimator | None, min_person_score: float
) -> list[dict[str, Any]]:
    images = [photo.image for photo in photos]
    mirrors = [photo.mirrored() for photo in photos]
    boxes = detector.detect([*images, *mirrors])
    found = [
        gather(photo.row, here, there.mirrored(photo.image.shape[1]), min_person_score)
        for photo, here, there in zip(photos, boxes[: len(photos)], boxes[len(photos) :], strict=True)
    ]
    poses: list[tuple[FloatArray | None, FloatArray | None]] = [(None, None)] * len(photos)
    if pose is not None:
        poses = _read_poses(images, mirrors, found, pose)
    return [
        row
        for photo, objects, (here, there) in zip(photos, found, poses, strict=True)
        for row in rows(
            photo.row,
            objects,
            here,
            there,
            detector=detector.identity,
            pose_model=pose.identity if pose is not None else None,
        )
    ]


def _read_poses(
    images: list[NDArray[np.uint8]], mirrors: list[NDArray[np.uint8]], found: list[Objects], pose: PoseEstimator
) -> list[tuple[FloatArray | None, FloatArray | None]]:
    """Poses of the people of photos that have any, in photo and mirror; the mirror's are turned back."""
    peopled = [index for index, objects in enumerate(found) if len(objects.people)]
    widths = [image.shape[1] for image in images]
    read = pose.estimate(
        [*(images[i] for i in peopled), *(mirrors[i] for i in peopled)],
        [*(found[i].people for i in peopled), *(mirror_boxes(found[i].people, widths[i]) for i in peopled)],
    )
    poses: list[tuple[FloatArray | None, FloatArray | None]] = [(None, None)] * len(images)
    for index, here, there in zip(peopled, read[: len(peopled)], read[len(peopled) :], strict=True):
        poses[index] = here, turn_back_keypoints(there, widths[index])
    return poses
