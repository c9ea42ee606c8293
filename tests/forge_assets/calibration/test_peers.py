"""Simpler rules on scenes where it is known what fools them."""

import numpy as np
import polars as pl
import pytest

from forge_assets.calibration.intervals import PhotoBootstrap
from forge_assets.calibration.peers import DEPTH_RULES, box_depths, compare, peer_answers
from forge_assets.calibration.pipeline import Found
from forge_assets.calibration.truth import PhotoTruth

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
SIDE = 20
"""Pixels of the hand-made maps, which are square."""


def plain(left, right):
    depth = np.empty((SIDE, SIDE), np.float32)
    depth[:, : SIDE // 2], depth[:, SIDE // 2 :] = left, right
    return depth


def behind_a_post(post=1.0):
    """The left object is 4 away, farther than the right one at 2; a post stands before its rim."""
    depth = plain(4, 2)
    depth[:, 0] = post
    return depth


def with_a_hole():
    """The left object is 1 away, nearer than the right one at 2; through its middle one sees something at 9."""
    depth = plain(1, 2)
    middle = slice(SIDE // 2 - 1, SIDE // 2 + 2)
    depth[middle, SIDE // 4 - 1 : SIDE // 4 + 2] = 9
    return depth


def before_a_far_background():
    """The left object is 1 away, nearer than the right one at 2; a third of its box shows a wall at 9."""
    depth = plain(1, 2)
    depth[: SIDE // 3, : SIDE // 2] = 9
    return depth


@pytest.fixture
def answered(make_pair, make_pairs, make_scene):
    """The rules' answers about the left and the right half of photos with these depths, measured and read alike."""

    def build(**depths):
        pairs = make_pairs(
            make_pair("near_far", "nearer", "", ("dog", LEFT), ("cat", RIGHT), image_id=f"hand/{name}", qa_id=name)
            for name in depths
        )
        found = Found(
            photos=pl.DataFrame({"image_id": [f"hand/{name}" for name in depths], "sha256": list(depths)}),
            scenes=make_scene(),
            truths={f"hand/{name}": PhotoTruth(depth=depth) for name, depth in depths.items()},
            maps={f"hand/{name}": depth for name, depth in depths.items()},
            rejected=pl.DataFrame(),
            models=(),
        )
        return peer_answers(found, pairs)

    return build


def right_of(answers, policy):
    return dict(answers.filter(pl.col("policy") == policy).select("qa_id", "right").iter_rows())


def test_all_rules_are_right_where_objects_fill_their_boxes(answered):
    answers = answered(near=plain(1, 2), far=plain(2, 1))
    assert answers.height == 2 * len(DEPTH_RULES)
    assert answers["right"].all()


@pytest.mark.parametrize(
    ("policy", "fooled_by"),
    [
        ("nearest pixel", {"post"}),
        ("shallowest decile", {"post"}),
        ("box centre", {"hole"}),
        ("mean depth", {"background"}),
    ],
)
def test_each_rule_is_fooled_by_what_it_does_not_look_at(answered, policy, fooled_by):
    scenes = {"post": behind_a_post(), "hole": with_a_hole(), "background": before_a_far_background()}
    right = right_of(answered(**scenes), policy)
    assert {name for name, is_right in right.items() if not is_right} == fooled_by


def test_the_precision_of_a_rule_is_the_share_of_scenes_that_do_not_fool_it(answered):
    """One scene of four has a post: three quarters of the nearest pixels are right, and the surest of them is wrong."""
    answers = answered(a=behind_a_post(0.2), b=plain(1, 2), c=plain(3, 1), d=plain(1, 4))
    judged = pl.DataFrame(
        {
            "task": "near_far", "qa_id": list("abcd"), "photo": list("abcd"), "verified": [False, True, True, False],
            "right": [True, True, True, True],
        }
    )  # fmt: skip
    table = compare(judged, answers, PhotoBootstrap(list("abcd")))
    nearest = table.filter(pl.col("policy") == "nearest pixel")
    assert nearest.select("selection", "pairs", "right").rows() == [("all", 4, 3), ("as many as verified", 2, 1)]
    ours = table.filter(pl.col("policy") == "verified")
    assert ours.select("selection", "pairs", "right").rows() == [("all", 2, 2)]


def test_at_equal_yield_a_rule_gives_its_answers_of_the_largest_margin(answered):
    """The post makes a ratio of 2, as b does; c has 3 and d has 4."""
    answers = answered(a=behind_a_post(), b=plain(1, 2), c=plain(3, 1), d=plain(1, 4))
    margins = answers.filter(pl.col("policy") == "nearest pixel").sort("margin", descending=True)
    np.testing.assert_allclose(np.exp(margins["margin"]), [4, 3, 2, 2], rtol=1e-6)


def test_without_a_network_no_depth_rule_answers(make_pair, make_pairs, make_scene):
    found = Found(
        photos=pl.DataFrame({"image_id": ["hand/photo.jpg"], "sha256": ["a"]}), scenes=make_scene(),
        truths={"hand/photo.jpg": PhotoTruth(depth=plain(1, 2))}, maps={}, rejected=pl.DataFrame(), models=(),
    )  # fmt: skip
    pairs = make_pairs([make_pair("near_far", "nearer", "", ("dog", LEFT), ("cat", RIGHT))])
    assert peer_answers(found, pairs).is_empty()


def test_a_box_holds_one_pixel_at_least():
    assert box_depths(plain(1, 2), (0.51, 0.51, 0.511, 0.511)).tolist() == [[2.0]]
    assert box_depths(plain(1, 2), (1.0, 1.0, 1.0, 1.0)).tolist() == [[2.0]]


@pytest.fixture
def detected(make_pair, make_pairs, make_scene):
    """Answers about three dogs, one of them a weak detection, of which people drew some."""
    dogs = [(0, 0, 200, 200), (300, 0, 500, 200), (600, 0, 800, 200)]
    scores = [0.9, 0.8, 0.3]

    def build(drawn):
        shares = [tuple(side / 1000 for side in box) for box in dogs]
        found = Found(
            photos=pl.DataFrame({"image_id": ["hand/photo.jpg"], "sha256": ["a"]}),
            scenes=make_scene(*(("dog", box, {"score": score}) for box, score in zip(dogs, scores, strict=True))),
            truths={"hand/photo.jpg": PhotoTruth(boxes={"dog": shares[:drawn]})},
            maps={}, rejected=pl.DataFrame(), models=(),
        )  # fmt: skip
        objects = [("dog", box) for box in shares]
        rows = [
            make_pair("counting", "number", "3", *objects, qa_id="count"),
            make_pair("grounding", "every", "", *objects, qa_id="boxes"),
        ]
        return peer_answers(found, make_pairs(rows)).select("task", "policy", "margin", "right").rows()

    return build


def test_what_a_detector_finds_from_one_score_on_is_counted_and_boxed(detected):
    assert detected(3) == [
        ("counting", "detector from 0.25", 0.3, True), ("counting", "detector from 0.5", 0.8, False),
        ("grounding", "detector from 0.25", 0.3, True), ("grounding", "detector from 0.5", 0.8, False),
    ]  # fmt: skip
    assert [right for *_, right in detected(2)] == [False, True, False, True]


def test_sides_by_the_centres_are_right_even_where_boxes_overlap(make_pair, make_pairs, make_scene):
    dog, cat = (0.1, 0.1, 0.6, 0.6), (0.3, 0.1, 0.8, 0.6)
    found = Found(
        photos=pl.DataFrame({"image_id": ["hand/photo.jpg"], "sha256": ["a"]}), scenes=make_scene(),
        truths={"hand/photo.jpg": PhotoTruth(boxes={"dog": [dog], "cat": [cat]})}, maps={}, rejected=pl.DataFrame(),
        models=(),
    )  # fmt: skip
    row = make_pair("left_right", "side", "right", ("dog", dog), ("cat", cat))
    assert peer_answers(found, make_pairs([row])).select("policy", "right").rows() == [("centre order", True)]
