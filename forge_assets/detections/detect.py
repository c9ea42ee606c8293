"""The networks' part of `detections`: boxes and keypoints, on each photo and on its mirror."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.detections.mirror import turn_back_keypoints
from forge_assets.detections.objects import Objects, SecondOpinion, gather, rows
from forge_assets.tables import DETECTIONS
from forge_resources.config import ForgeConfig, ModelsConfig
from forge_resources.models.batching import Photo, decoded, one_behind
from forge_resources.models.boxes import FloatArray, mirror_boxes
from forge_resources.models.detectors import Detector
from forge_resources.models.pose import PoseEstimator
from forge_resources.models.selection import load_detector, load_pose, load_second_detector, load_second_pose

PHOTOS_A_TABLE: Final = 256

_Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Networks:
    """The networks of the stage; those that may be None are optional."""

    detector: Detector
    pose: PoseEstimator | None = None
    second_detector: Detector | None = None
    second_pose: PoseEstimator | None = None

    @classmethod
    def load(cls, config: ForgeConfig) -> Self:
        """The configured networks; raises as `selection.load_detector`."""
        return cls(load_detector(config), load_pose(config), load_second_detector(config), load_second_pose(config))

    @property
    def identities(self) -> dict[str, str | None]:
        """By the column of `detections` that names it; None where there is no such network."""
        networks = {
            "detector": self.detector,
            "second_detector": self.second_detector,
            "pose_model": self.pose,
            "second_pose_model": self.second_pose,
        }
        return {column: network.identity if network else None for column, network in networks.items()}

    @property
    def names(self) -> dict[str, str]:
        """The identities of those that are there."""
        return {column: identity for column, identity in self.identities.items() if identity is not None}


def detections(
    photos: Iterable[pl.DataFrame],
    networks: Networks,
    config: ModelsConfig,
    progress: Callable[[int], None] | None = None,
) -> Iterator[pl.DataFrame]:
    """Find objects and read poses in photos and in their mirrors.

    A batch of the detector is half photos, half their mirrors. While poses are read in one batch, objects are found in
    the next, and the photos after that are decoded. The second networks see the photos alone.

    Args:
        photos: batches of `raw_images` rows, sorted by image_id over all batches.
        networks: find objects and read people's keypoints.
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
    together = decoded(photos, max(1, config.detector.batch_size // 2))
    with (
        ThreadPoolExecutor(1, thread_name_prefix="second-detector") as beside,
        ThreadPoolExecutor(1, thread_name_prefix="detector") as ahead,
    ):
        begun = (ahead.submit(_found, batch, networks, config.pose.min_person_score, beside) for batch in together)
        for found in (future.result() for future in one_behind(begun)):
            made += _rows(found, networks)
            held, done = held + len(found.photos), done + len(found.photos)
            if progress is not None:
                progress(done)
            if held >= PHOTOS_A_TABLE:
                yield pl.DataFrame(made, schema=dict(DETECTIONS))
                made, held = [], 0
    if held:
        yield pl.DataFrame(made, schema=dict(DETECTIONS))


@dataclass(frozen=True, eq=False)
class _Found:
    """A batch of photos, and of each its mirror and its objects."""

    photos: Sequence[Photo]
    mirrors: Sequence[_Image]
    objects: Sequence[Objects]


def _found(photos: Sequence[Photo], networks: Networks, min_person_score: float, beside: Executor) -> _Found:
    images = [photo.image for photo in photos]
    second_opinions = beside.submit(_second_opinions, images, networks)
    mirrors = [photo.mirrored() for photo in photos]
    boxes = networks.detector.detect([*images, *mirrors])
    objects = [
        gather(photo.row, here, there.mirrored(photo.image.shape[1]), min_person_score, second)
        for photo, here, there, second in zip(
            photos, boxes[: len(photos)], boxes[len(photos) :], second_opinions.result(), strict=True
        )
    ]
    return _Found(photos, mirrors, objects)


def _rows(found: _Found, networks: Networks) -> list[dict[str, Any]]:
    poses = _read_poses(found, networks)
    return [
        row
        for photo, objects, (here, there, second) in zip(found.photos, found.objects, poses, strict=True)
        for row in rows(photo.row, objects, here, there, second, models=networks.identities)
    ]


def _second_opinions(images: list[_Image], networks: Networks) -> Sequence[SecondOpinion | None]:
    if networks.second_detector is None:
        return [None] * len(images)
    knows = networks.second_detector.categories
    return [SecondOpinion(boxes, knows) for boxes in networks.second_detector.detect(images)]


_Poses = tuple[FloatArray | None, FloatArray | None, FloatArray | None]


def _read_poses(found: _Found, networks: Networks) -> Sequence[_Poses]:
    """Poses of the people of photos that have any, in photo, in mirror, turned back, and by the second network."""
    images, mirrors, objects = [photo.image for photo in found.photos], found.mirrors, found.objects
    poses: list[_Poses] = [(None, None, None)] * len(images)
    if networks.pose is None:
        return poses
    peopled = [index for index, one in enumerate(objects) if len(one.people)]
    widths = [image.shape[1] for image in images]
    seen, people = [images[i] for i in peopled], [objects[i].people for i in peopled]
    turned = [mirror_boxes(boxes, widths[i]) for i, boxes in zip(peopled, people, strict=True)]
    read = networks.pose.estimate([*seen, *(mirrors[i] for i in peopled)], [*people, *turned])
    again = networks.second_pose.estimate(seen, people) if networks.second_pose else [None] * len(peopled)
    for index, here, there, second in zip(peopled, read[: len(peopled)], read[len(peopled) :], again, strict=True):
        poses[index] = here, turn_back_keypoints(there, widths[index]), second
    return poses
