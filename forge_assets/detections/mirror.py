"""From the mirrored photo back to the photo."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

KEYPOINT_EXCHANGE: Final = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""COCO's 17 keypoints, left and right ones exchanged: a network takes a mirrored left arm for a right one."""


def turn_back_keypoints(keypoints: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Keypoints read in the mirrored photo, as if read in the photo; its own inverse.

    Args:
        keypoints: shape (N, 17, 3): x and y in pixels, score.
        width: of the photo, in pixels.

    Returns:
        The same shape: x is `width - x`, and left and right joints are exchanged.
    """
    turned = keypoints[:, KEYPOINT_EXCHANGE].copy()
    turned[..., 0] = width - turned[..., 0]
    return turned
