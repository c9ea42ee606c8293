import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forge_resources.models.boxes import Boxes, coco_name, iou_matrix, match_one_to_one, mirror_boxes

raw_boxes = st.integers(0, 12).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float64, (n, 4), elements=st.floats(-50, 150, width=32)),
        hnp.arrays(np.float64, (n,), elements=st.floats(0, 1, width=32)),
        st.lists(st.sampled_from(["person", "Dog", "cat"]), min_size=n, max_size=n),
    )
)


@given(raw_boxes, st.floats(0, 1), st.floats(0, 1))
def test_boxes_lie_in_the_photo_surest_first(
    raw: tuple[np.ndarray, np.ndarray, list[str]], floor: float, iou: float
) -> None:
    boxes = Boxes.build(*raw, width=100, height=80, score_floor=floor, iou_threshold=iou)
    x1, y1, x2, y2 = boxes.xyxy.T
    assert ((x1 >= 0) & (x1 < x2) & (x2 <= 100) & (y1 >= 0) & (y1 < y2) & (y2 <= 80)).all()
    assert (np.diff(boxes.scores) <= 0).all()
    assert (boxes.scores >= floor).all()
    assert set(boxes.categories) <= {"person", "dog", "cat"}
    same = np.array(boxes.categories)[:, None] == np.array(boxes.categories)[None, :]
    overlaps = iou_matrix(boxes.xyxy, boxes.xyxy) * same * (1 - np.eye(len(boxes)))
    assert (overlaps <= iou).all()


@given(raw_boxes, st.randoms(use_true_random=False))
def test_the_order_in_which_a_network_gives_boxes_does_not_matter(
    raw: tuple[np.ndarray, np.ndarray, list[str]], random: object
) -> None:
    order = list(range(len(raw[2])))
    random.shuffle(order)
    shuffled = raw[0][order], raw[1][order], [raw[2][i] for i in order]
    one, other = (Boxes.build(*each, width=100, height=80, iou_threshold=0.5) for each in (raw, shuffled))
    np.testing.assert_array_equal(one.xyxy, other.xyxy)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert one.categories == other.categories


@given(raw_boxes)
def test_mirroring_twice_gives_the_boxes_back(raw: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    boxes = Boxes.build(*raw, width=100, height=80)
    turned = boxes.mirrored(100)
    assert (turned.xyxy[:, 0] <= turned.xyxy[:, 2]).all()
    np.testing.assert_allclose(turned.mirrored(100).xyxy, boxes.xyxy, atol=1e-12)


def test_a_box_at_the_left_edge_comes_to_the_right_edge() -> None:
    np.testing.assert_array_equal(mirror_boxes(np.array([[0.0, 10, 30, 20]]), 100), [[70, 10, 100, 20]])


def test_iou_of_known_boxes() -> None:
    box = np.array([[0.0, 0, 10, 10]])
    others = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]])
    np.testing.assert_allclose(iou_matrix(box, others), [[1, 1 / 3, 0, 0.04]])


def test_the_weaker_of_two_doubles_goes_unless_it_is_of_another_class() -> None:
    xyxy = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9]]
    boxes = Boxes.build(xyxy, [0.6, 0.9, 0.5], ["cat", "cat", "dog"], width=10, height=10, iou_threshold=0.6)
    assert boxes.categories == ["cat", "dog"]
    assert boxes.scores.tolist() == [0.9, 0.5]


def test_matching_takes_the_largest_overlap_first_and_each_box_once() -> None:
    iou = np.array([[0.6, 0.5, 0.0], [0.9, 0.4, 0.0], [0.0, 0.0, 0.2]])
    assert match_one_to_one(iou, 0.3).tolist() == [1, 0, -1]
    assert match_one_to_one(iou, 0.55).tolist() == [-1, 0, -1]
    assert match_one_to_one(np.zeros((2, 2)), 0.0).tolist() == [-1, -1]


def test_names_are_spelled_as_coco_spells_them() -> None:
    assert [coco_name(name) for name in ("Person", "tvmonitor", "sofa", "hot dog")] == [
        "person",
        "tv",
        "couch",
        "hot dog",
    ]
