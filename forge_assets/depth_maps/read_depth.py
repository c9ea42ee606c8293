"""The networks' part of `depth_maps`: dense readings of each photo and of its mirror, stored small."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import polars as pl

from forge_assets.depth_maps.encoding import DepthMap, encode_depth
from forge_assets.tables import DEPTH_MAPS
from forge_resources.config import ModelsConfig
from forge_resources.models.batching import Photo, decoded, one_behind
from forge_resources.models.depth import DepthEstimator

PHOTOS_A_TABLE: Final = 64
STORING_THREADS: Final = 2

_Row = dict[str, Any]


def depth_maps(
    photos: Iterable[pl.DataFrame],
    estimators: Sequence[DepthEstimator],
    config: ModelsConfig,
    progress: Callable[[int], None] | None = None,
) -> Iterator[pl.DataFrame]:
    """Read depth in photos and in their mirrors; without networks there is nothing to yield, nor is a photo decoded.

    The next photos are decoded, and the last maps are made small, while a network runs.

    Args:
        photos: batches of `raw_images` rows, sorted by image_id over all batches.
        estimators: the networks, each with the name of one entry of `config.depth`.
        config: batch sizes and the size of stored maps.
        progress: is told how many photos are done in all, after each batch.

    Yields:
        Tables of the schema DEPTH_MAPS, sorted by image_id, reading and mirrored over all of them, with whole photos.

    Raises:
        InvalidDepthError: if a network gives values that are not finite.
        ValueError: if photos are out of order, or contradict their rows.
        UnusablePhoto: if a photo cannot be decoded.
    """
    if not estimators:
        return
    configured = {network.name: network for network in config.depth}
    ordered = sorted(estimators, key=lambda estimator: estimator.name)
    made: list[_Row] = []
    held = done = 0
    size = max(1, max(configured[one.name].batch_size for one in ordered) // 2)
    with ThreadPoolExecutor(STORING_THREADS, thread_name_prefix="store") as pool:

        def read(photos: list[Photo]) -> tuple[int, list[Future[_Row]]]:
            sides = ((estimator, configured[estimator.name].stored_side) for estimator in ordered)
            return len(photos), [row for network, side in sides for row in _read(photos, network, side, pool)]

        for count, stored in one_behind(map(read, decoded(photos, size))):
            rows = [row.result() for row in stored]
            made += sorted(rows, key=lambda row: (row["image_id"], row["reading"], row["mirrored"]))
            held, done = held + count, done + count
            if progress is not None:
                progress(done)
            if held >= PHOTOS_A_TABLE:
                yield pl.DataFrame(made, schema=dict(DEPTH_MAPS))
                made, held = [], 0
    if held:
        yield pl.DataFrame(made, schema=dict(DEPTH_MAPS))


def _read(
    photos: list[Photo], estimator: DepthEstimator, stored_side: int, pool: ThreadPoolExecutor
) -> Iterator[Future[_Row]]:
    maps = estimator.estimate([*(photo.image for photo in photos), *(photo.mirrored() for photo in photos)])
    for index, depth in enumerate(maps):
        photo, is_mirrored = photos[index % len(photos)], index >= len(photos)
        yield pool.submit(_row, photo, estimator, stored_side, depth, is_mirrored)


def _row(photo: Photo, estimator: DepthEstimator, stored_side: int, depth: DepthMap, is_mirrored: bool) -> _Row:
    height, width = photo.image.shape[:2]
    upright = np.ascontiguousarray(depth[:, ::-1]) if is_mirrored else depth
    encoded = encode_depth(resize_map(upright, width, height, stored_side))
    return {
        "image_id": photo.image_id,
        "source": photo.row["source"],
        "shard": photo.row["shard"],
        "reading": estimator.name,
        "mirrored": is_mirrored,
        "kind": estimator.kind,
        "width": encoded.width,
        "height": encoded.height,
        "near": encoded.near,
        "far": encoded.far,
        "png": encoded.png,
        "depth_model": estimator.identity,
    }


def resize_map(depth: DepthMap, width: int, height: int, longer_side: int) -> DepthMap:
    """A map in the photo's aspect ratio.

    Args:
        depth: covers the photo, of any resolution and aspect ratio.
        width: of the photo, in pixels.
        height: of the photo, in pixels.
        longer_side: of the result; photos that are smaller keep their size.

    Returns:
        Averages over areas where the map shrinks, linear interpolation where it grows.
    """
    import cv2

    ratio = min(1.0, longer_side / max(width, height))
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    shrinks = size[0] <= depth.shape[1] and size[1] <= depth.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(depth, size, interpolation=interpolation), dtype=np.float32)
