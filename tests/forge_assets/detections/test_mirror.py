import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forge_assets.detections.mirror import KEYPOINT_EXCHANGE, turn_back_keypoints

NAMES = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
"""COCO's order, as its keypoint annotations give it."""


def test_each_left_joint_changes_places_with_its_right_one() -> None:
    swap = {"left": "right", "right": "left"}
    for index, name in enumerate(NAMES):
        side, _, joint = name.partition("_")
        expected = f"{swap[side]}_{joint}" if joint else name
        assert NAMES[KEYPOINT_EXCHANGE[index]] == expected


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 4), st.just(17), st.just(3)), elements=st.floats(0, 500, width=32)),
    st.integers(1, 5000),
)
def test_turning_back_twice_gives_the_keypoints_back(keypoints: np.ndarray, width: int) -> None:
    turned = turn_back_keypoints(keypoints, width)
    np.testing.assert_allclose(turn_back_keypoints(turned, width), keypoints, atol=1e-9)
    np.testing.assert_array_equal(turned[..., 1:], keypoints[:, KEYPOINT_EXCHANGE, 1:])
    np.testing.assert_array_equal(turned[:, 0, 0], width - keypoints[:, 0, 0])
