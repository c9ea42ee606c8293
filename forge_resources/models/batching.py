"""Photos decoded ahead of the network, and images put together that a network can take together."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_resources.images import decode_upright

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

DECODING_THREADS: Final = 4
PREPARING_THREADS: Final = 4
PIXELS_TOGETHER: Final = 64_000_000
"""Photos decoded at once hold at most so many pixels, or one photo: 192 MB, and as much again ahead."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """One row of `raw_images` with its pixels."""

    row: Mapping[str, Any]
    image: NDArray[np.uint8]
    """Shape (height, width, 3), RGB, upright."""

    @property
    def image_id(self) -> str:
        """`<source>/<the source's own id>`."""
        return self.row["image_id"]

    def mirrored(self) -> NDArray[np.uint8]:
        """The photo with left and right exchanged, contiguous in memory."""
        import cv2

        return np.asarray(cv2.flip(self.image, 1), dtype=np.uint8)


def decoded(photos: Iterable[pl.DataFrame], size: int) -> Iterator[list[Photo]]:
    """Stream photos in lists of at most `size`, decoding the next ones in threads meanwhile.

    At most `2 * size` photos are decoded or being decoded at a time, fewer where they are large.

    Args:
        photos: batches of `raw_images` rows, sorted by image_id.
        size: photos in a list.

    Raises:
        ValueError: if rows are out of order, or a photo is not of the size that its row says.
        UnusablePhoto: if a photo cannot be decoded.
    """
    rows = _in_order(row for frame in photos for row in frame.iter_rows(named=True))
    waiting: deque[tuple[int, Future[Photo]]] = deque()
    with ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode") as pool:

        def look_ahead() -> None:
            while len(waiting) < size and (not waiting or sum(pixels for pixels, _ in waiting) < PIXELS_TOGETHER):
                row = next(rows, None)
                if row is None:
                    return
                waiting.append((row["width"] * row["height"], pool.submit(_decode, row)))

        try:
            look_ahead()
            while waiting:
                together, held = [waiting.popleft()[1].result()], 0
                held = together[0].image.shape[0] * together[0].image.shape[1]
                look_ahead()
                while len(together) < size and waiting and held + waiting[0][0] <= PIXELS_TOGETHER:
                    pixels, future = waiting.popleft()
                    held += pixels
                    together.append(future.result())
                    look_ahead()
                yield together
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    previous = ""
    for row in rows:
        if row["image_id"] <= previous:
            raise ValueError(f"photos must come sorted by image_id: {row['image_id']!r} came after {previous!r}")
        previous = row["image_id"]
        yield row


def _decode(row: Mapping[str, Any]) -> Photo:
    image = decode_upright(row["image"]["bytes"], row["orientation"])
    if image.shape[:2] != (row["height"], row["width"]):
        raise ValueError(
            f"{row['image_id']} decodes to {image.shape[1]} x {image.shape[0]} pixels, "
            f"but its row says {row['width']} x {row['height']}"
        )
    return Photo(row, image)


def alike(keys: Sequence[Hashable], size: int) -> Iterator[list[int]]:
    """Positions of equal keys, at most `size` together; a network's result then depends on no other photo's shape."""
    groups: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    for positions in groups.values():
        for start in range(0, len(positions), size):
            yield positions[start : start + size]


@contextmanager
def prepared(prepare: Callable[[_Given], _Made], given: Sequence[_Given]) -> Generator[list[Future[_Made]]]:
    """Work that goes on in threads while the network runs on what is ready.

    Args:
        prepare: work on one thing that lets other threads run meanwhile, as OpenCV does.
        given: what to work on.

    Yields:
        One future a thing, in their order; those that nobody has begun when the caller leaves are dropped.
    """
    pool = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="prepare")
    try:
        yield [pool.submit(prepare, one) for one in given]
    finally:
        pool.shutdown(cancel_futures=True)


def one_behind(items: Iterable[_Given]) -> Iterator[_Given]:
    """The same items, each once the next one has been made: what an item began goes on meanwhile."""
    behind: list[_Given] = []
    for item in items:
        yield from behind
        behind = [item]
    yield from behind


class FittingBatches:
    """Batches of images of equal shape, as large as configured and as the GPU's memory takes.

    A batch that does not fit is halved and run again; later ones are of the size that fitted.

    Attributes:
        size: images in a batch.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, keys: Sequence[Hashable], network: Callable[[list[int]], Iterable[_Made]]) -> list[_Made]:
        """Run a network on images that are told by their positions.

        Args:
            keys: of each image; those of equal keys may go together.
            network: gives one result for each of the positions that it is called with.

        Returns:
            One result an image, in their order.

        Raises:
            torch.cuda.OutOfMemoryError: if a single image does not fit.
        """
        results: dict[int, _Made] = {}
        for positions in alike(keys, self.size):
            waiting = [positions]
            while waiting:
                together = waiting.pop()
                if len(together) > self.size:
                    waiting += [together[self.size :], together[: self.size]]
                elif (made := self._tried(together, network)) is None:
                    waiting.append(together)
                else:
                    results.update(zip(together, made, strict=True))
        return [results[position] for position in range(len(keys))]

    def _tried(self, positions: list[int], network: Callable[[list[int]], Iterable[_Made]]) -> list[_Made] | None:
        """None where memory was too small; the error is gone by then, and what it held with it."""
        import torch

        try:
            return list(network(positions))
        except torch.cuda.OutOfMemoryError:
            if len(positions) == 1:
                raise
            self.size = min(self.size, len(positions) // 2)
            _log.warning("batches of %d do not fit into the GPU's memory: trying %d", len(positions), self.size)
        torch.cuda.empty_cache()
        return None
