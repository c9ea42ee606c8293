from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from forge_resources.config import PoseConfig
from forge_resources.models.pose import EmbeddedPose, UltralyticsPose, crop_square
from forge_resources.models.weights import resolve

PEOPLE = np.array([[50.0, 400, 245, 903], [670, 385, 810, 876], [222, 405, 345, 862]])
"""Three whole people of bus.jpg."""
YOLO_POSE = "4f10c7a15a77b74475ed60befe1ac3b95ef265d5d8bef00fed230078602c42ac"

boxes = st.tuples(*[st.floats(0, 90, width=32)] * 2, *[st.floats(0.5, 60, width=32)] * 2).map(
    lambda box: np.array([box[0], box[1], min(box[0] + box[2], 100), box[1] + box[3]])
)


@given(boxes)
def test_the_crop_holds_the_person_and_mirrors_with_it(box: NDArray[np.float64]) -> None:
    left, top, side = crop_square(box)
    assert left <= box[0]
    assert box[2] <= left + side
    assert top <= box[1]
    assert box[3] <= top + side
    turned = np.array([100 - box[2], box[1], 100 - box[0], box[3]])
    assert crop_square(turned) == (100 - left - side, top, side)


def assert_plausible(poses: NDArray[np.float64], people: NDArray[np.float64]) -> None:
    """Heads above hips above ankles, joints within the box, and surely seen."""
    assert poses.shape == (len(people), 17, 3)
    for pose, (x1, y1, x2, y2) in zip(poses, people, strict=True):
        assert pose[:5, 1].mean() < pose[11:13, 1].mean() < pose[15:, 1].mean()
        margin = 0.1 * (y2 - y1)
        assert ((pose[:, 0] > x1 - margin) & (pose[:, 0] < x2 + margin)).all()
        assert ((pose[:, 1] > y1 - margin) & (pose[:, 1] < y2 + margin)).all()
        assert np.median(pose[:, 2]) > 0.3
        assert ((pose[:, 2] >= 0) & (pose[:, 2] <= 1)).all()


@pytest.mark.usefixtures("embedded")
def test_movenet_reads_the_people_of_the_bus(bus: NDArray[np.uint8], zidane: NDArray[np.uint8]) -> None:
    pose = EmbeddedPose(PoseConfig.model_validate({"backend": "embedded"}))
    assert pose.identity == "embedded:movenet_lightning@sha256:0fac2226112d"
    first, nobody, again = pose.estimate([bus, zidane, bus], [PEOPLE, np.empty((0, 4)), PEOPLE[::-1]])
    assert_plausible(first, PEOPLE)
    assert nobody.shape == (0, 17, 3)
    np.testing.assert_array_equal(first, again[::-1])


@pytest.mark.shared
def test_yolo_pose_reads_the_people_of_the_bus(
    shared_models: Path, bus: NDArray[np.uint8], zidane: NDArray[np.uint8]
) -> None:
    config = PoseConfig.model_validate(
        {"backend": "ultralytics", "weights": str(shared_models / "yolov8n-pose-rebuilt.pt"), "sha256": YOLO_POSE}
    )
    pose = UltralyticsPose(resolve(config, backend="ultralytics"), config)
    nobody_there = np.array([[5.0, 5, 60, 60]])
    first, second = pose.estimate([bus, zidane], [np.concatenate([PEOPLE, nobody_there]), np.empty((0, 4))])
    assert_plausible(first[:3], PEOPLE)
    assert np.isnan(first[3]).all()
    assert second.shape == (0, 17, 3)
    doubled = pose.estimate([bus], [PEOPLE[[0, 0]]])[0]
    assert np.isnan(doubled[1]).all()
    assert not np.isnan(doubled[0]).any()
