"""Candidates are parted: none is lost, each rejection says why, and each score says how clear the case is."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_assets.tables import CANDIDATE_QA, REJECTED_QA, TASKS, VERIFIED_QA
from forge_assets.verified_qa.verify import verify
from forge_resources.config import VerificationConfig

PHRASE = {"object_id": "#0", "kind": "class", "text": "the dog", "value": None, "matches": 1, "count_spread": None}
THRESHOLDS = VerificationConfig()
share = st.none() | st.floats(0, 1)
pair = st.tuples(
    st.sampled_from(TASKS),
    st.fixed_dictionaries(
        {},
        optional={
            "scores": st.lists(share, min_size=2, max_size=2),
            "mirror_ious": st.none() | st.lists(share, max_size=2),
            "count_loose": st.none() | st.integers(0, 4),
            "gap": st.none() | st.floats(-1, 1),
            "facing": st.none() | st.floats(-1, 1),
            "image_id": st.sampled_from(["hand/a.jpg", "hand/b.jpg"]),
        },
    ),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(pair, max_size=12), st.randoms(use_true_random=False))
def test_every_candidate_is_verified_or_rejected_and_none_is_changed(make_pairs, pairs, random):
    candidates = make_pairs(*pairs)
    order = random.sample(range(candidates.height), candidates.height)
    verified, rejected = verify(candidates[order], THRESHOLDS)
    assert verified.schema == pl.Schema(VERIFIED_QA)
    assert rejected.schema == pl.Schema(REJECTED_QA)
    columns = list(CANDIDATE_QA)
    together = pl.concat([verified.select(columns), rejected.select(columns)])
    assert together.sort("qa_id").equals(candidates.sort("qa_id"))
    assert (verified["score"] >= 0).all()
    assert verified["score"].null_count() == rejected["rule"].null_count() == rejected["threshold"].null_count() == 0
    for part in (verified, rejected):
        assert part.select("image_id", "qa_id").rows() == sorted(part.select("image_id", "qa_id").rows())


def test_a_pair_is_judged_the_same_alone_and_among_others(make_pairs):
    def reading(ratio, pair):
        return {"reading": f"net_{ratio}", "ratio": ratio, "mirror_ratio": ratio, "separation": 2.0, "pair": pair}

    def compared(*ratios):
        readings = [reading(ratio + more, pair) for pair, ratio in enumerate(ratios) for more in (0.0, 0.5)]
        objects = [f"#{number}" for number in range(len(ratios) + 1)]
        return "near_far", {"form": "order", "object_ids": objects, "readings": readings}

    together = make_pairs(
        compared(1.5, 1.3, 1.9), ("left_right", {"gap": 0.0}), compared(1.05), ("referring", {}), compared(1.4, 1.05),
        compared(1.3), ("counting", {"count_loose": 9}), compared(2.0, 1.6, 1.7, 1.8, 1.9, 1.25),
    )  # fmt: skip
    alone = [verify(pair, THRESHOLDS) for pair in together.iter_slices(1)]
    for part, parts in zip(verify(together, THRESHOLDS), zip(*alone, strict=True), strict=True):
        assert part.equals(pl.concat(parts))
        assert part.height == together.height / 2


def test_no_candidates_give_two_empty_tables(make_pairs):
    verified, rejected = verify(make_pairs(), THRESHOLDS)
    assert (verified.height, verified.schema) == (0, pl.Schema(VERIFIED_QA))
    assert (rejected.height, rejected.schema) == (0, pl.Schema(REJECTED_QA))


def test_the_first_broken_rule_is_reported(judge):
    assert judge("left_right", scores=[0.4, 0.9], gap=-1.0, phrases=[]) == ("object_score", 0.4, 0.5)
    assert judge("left_right", gap=-1.0, phrases=[PHRASE | {"matches": 3}]) == ("unique_referent", 3.0, 1.0)
    assert judge("left_right", gap=-1.0, mirror_gap=-1.0) == ("horizontal_gap", -1.0, 0.02)
    assert judge("near_far", scores=[None, 0.9], occlusions=[0.9, 0.9]) == ("object_score", None, 0.5)


def test_a_rule_concerns_its_own_tasks_alone(judge):
    hopeless = {"count_loose": 9, "gap": -1.0, "mirror_gap": -1.0, "facing": 0.0, "facing_score": 0.0, "readings": []}
    assert judge("referring", **hopeless) is None


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("referring", {"scores": [0.5, 0.9]}),
        ("referring", {"mirror_ious": [0.6, 0.9]}),
        ("counting", {"class_conflicts": [0.5, 0.0]}),
        ("near_far", {"occlusions": [0.4, 0.0]}),
        ("left_right", {"gap": 0.02}),
        ("perspective", {"facing": 0.4}),
    ],
)
def test_a_pair_just_at_a_threshold_scores_nothing(score, task, changes):
    assert score(task, **changes) == 0


def test_the_score_is_the_smallest_margin_in_shares_of_its_threshold(score):
    assert score("referring", scores=[0.6, 0.9]) == pytest.approx(0.2)  # 0.1 above 0.5
    assert score("referring", scores=[0.9, 0.9], mirror_ious=[0.66, 0.9]) == pytest.approx(0.1)  # 0.06 above 0.6
    assert score("referring", class_conflicts=[0.45, 0.0]) == pytest.approx(0.1)  # 0.05 below 0.5


@pytest.mark.parametrize(
    ("task", "name", "values"),
    [
        ("referring", "scores", [[0.5, 0.9], [0.6, 0.9], [0.7, 0.9]]),
        ("counting", "class_conflicts", [[0.5, 0], [0.4, 0], [0.3, 0]]),
        ("near_far", "occlusions", [[0.4, 0], [0.35, 0], [0.3, 0]]),
        ("left_right", "center_gap", [0.1, 0.12, 0.14]),
        ("perspective", "facing_score", [0.35, 0.4, 0.45]),
    ],
)
def test_the_score_grows_with_the_margin(score, task, name, values):
    found = [score(task, **{name: value}) for value in values]
    assert found[0] < found[1] < found[2]


def test_the_score_of_near_far_is_that_of_the_last_reading_needed(score):
    def reading(name, ratio):
        return {"reading": name, "ratio": ratio, "mirror_ratio": ratio + 1, "separation": 2.0}

    readings = [reading("ground_contact", 9.0), reading("net", 1.2 * 1.3), reading("class_height", 1.01)]
    assert score("near_far", readings=readings) == pytest.approx(0.3)
