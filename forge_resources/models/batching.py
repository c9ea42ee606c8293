"""Photos decoded ahead of the network, and images put together that a network can take together."""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_resources.images import decode_upright

DECODING_THREADS: Final = 4
PIXELS_TOGETHER: Final = 64_000_000
"""Photos decoded at once hold at most so many pixels, or one photo: 192 MB, and as much again ahead."""


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
        return np.ascontiguousarray(self.image[:, ::-1])


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
