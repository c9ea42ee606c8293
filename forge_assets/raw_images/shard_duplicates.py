"""Photos of one shard that an earlier one of it repeats."""

from typing import Final, NamedTuple

import numpy as np

SAME_BYTES: Final = "duplicate_image"
SAME_PICTURE: Final = "near_duplicate_image"


class Earlier(NamedTuple):
    """The photo of a shard that a later one repeats."""

    rule: str
    """`duplicate_image` or `near_duplicate_image`."""
    image_id: str
    distance: int
    """Bits in which the hashes differ; 0 for the same bytes."""


class ShardDuplicates:
    """Photos of one shard, asked in the order of their ids, that an earlier one repeats.

    Rejected photos are remembered too: a third one may be near to a rejected one alone.

    Args:
        max_distance: Bits in which hashes of one picture may differ, 0-8; None: only the same bytes count.
    """

    def __init__(self, max_distance: int | None) -> None:
        self._max_distance = max_distance
        self._by_bytes: dict[str, str] = {}
        self._hashed: list[str] = []
        self._hashes = np.empty(64, dtype=np.uint64)

    def earlier(self, image_id: str, sha256: str, phash: str | None) -> Earlier | None:
        """The first photo asked about before that has the same bytes; else the first whose picture is the same.

        Args:
            image_id: Of this photo.
            sha256: Of its bytes.
            phash: 16 hexadecimal digits; None for a photo with too little detail.

        Returns:
            None for a photo unlike all before.
        """
        first = self._by_bytes.setdefault(sha256, image_id)
        if first != image_id:
            return Earlier(SAME_BYTES, first, 0)
        if phash is None or self._max_distance is None:
            return None
        value = np.uint64(int(phash, 16))
        near = self._first_near(value, self._max_distance)
        self._remember(image_id, value)
        return near

    def _first_near(self, value: np.uint64, max_distance: int) -> Earlier | None:
        distances = np.bitwise_count(self._hashes[: len(self._hashed)] ^ value)
        near = np.flatnonzero(distances <= max_distance)
        return Earlier(SAME_PICTURE, self._hashed[near[0]], int(distances[near[0]])) if len(near) else None

    def _remember(self, image_id: str, value: np.uint64) -> None:
        if len(self._hashed) == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[len(self._hashed)] = value
        self._hashed.append(image_id)
