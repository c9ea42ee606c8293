"""How sure a share of right answers is: Wilson's interval, and a bootstrap over photos."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2_000
_UNKNOWN: Final = (None, None)

Interval = tuple[float, float] | tuple[None, None]
"""Lower and upper end, 0-1; None where nothing was counted."""


@lru_cache(maxsize=100_000)
def wilson(right: int, of: int) -> Interval:
    """Wilson's score interval of a share, which takes answers as independent.

    Args:
        right: right answers.
        of: answers in all.
    """
    from scipy.stats import binomtest

    if of == 0:
        return _UNKNOWN
    interval = binomtest(right, of).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def pairs_to_show(goal: float) -> int | None:
    """How many pairs, all right, put the lower end of Wilson's interval at a goal; None for a goal of 1.

    With all of n right the lower end is n / (n + z^2).
    """
    from scipy.stats import norm

    if goal >= 1:
        return None
    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    return int(np.ceil(z**2 * goal / (1 - goal)))


class PhotoBootstrap:
    """Intervals that know that answers about one photo go wrong together: photos are drawn anew, with replacement.

    Args:
        photos: hashes of the photos' content, which seed the draws; their order does not matter.
    """

    def __init__(self, photos: Sequence[str]) -> None:
        self.photos = sorted(photos)
        seed = int.from_bytes(hashlib.sha256("\n".join(self.photos).encode()).digest()[:8])
        generator = np.random.default_rng(seed)
        count = len(self.photos)
        shares = np.full(count, 1 / count) if count else np.zeros(0)
        self._drawn = generator.multinomial(count, shares, size=RESAMPLES) if count else np.zeros((RESAMPLES, 0))

    def intervals(self, right: ArrayLike, of: ArrayLike) -> list[Interval]:
        """Percentile intervals of shares.

        Args:
            right: right answers, shape (photos, N), photos in the order of `photos`.
            of: answers in all, the same shape.

        Returns:
            N intervals; with all answers right, or all wrong, an interval has no width, since no draw differs.
        """
        rights: NDArray[np.float64] = self._drawn @ np.asarray(right, dtype=np.float64)
        totals: NDArray[np.float64] = self._drawn @ np.asarray(of, dtype=np.float64)
        found: list[Interval] = []
        for drawn_right, drawn_total in zip(rights.T, totals.T, strict=True):
            drawn = drawn_right[drawn_total > 0] / drawn_total[drawn_total > 0]
            if drawn.size == 0:
                found.append(_UNKNOWN)
                continue
            low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
            found.append((float(low), float(high)))
        return found
