"""Each rule at its threshold, and just on either side of it."""

import pytest

from forge_assets.tables import TASKS

COUNTS = ("count_strict", "count_loose", "count_mirror")


@pytest.mark.parametrize("task", TASKS)
def test_a_pair_whose_evidence_is_good_is_verified(judge, task):
    assert judge(task) is None


def area(thousandths):
    """Two boxes, the smaller one of so many millionths of the photo."""
    return {"boxes": [[0, 0, 500, 500], [600, 600, 600 + thousandths, 700]]}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("at", "beyond", "broken"),
    [
        ({"scores": [0.5, 0.9]}, {"scores": [0.9, 0.499]}, ("object_score", 0.499, 0.5)),
        ({"mirror_ious": [0.6, 0.9]}, {"mirror_ious": [0.9, 0.599]}, ("mirror_redetection", 0.599, 0.6)),
        (area(20), area(19), ("object_size", 0.0019, 0.002)),  # 20 x 100 thousandths are 0.2 % of the photo
        ({"class_conflicts": [0.5, 0]}, {"class_conflicts": [0, 0.501]}, ("class_conflict", 0.501, 0.5)),
    ],
)
def test_objects_of_every_task_must_be_sure_seen_again_large_and_in_no_doubt(judge, task, at, beyond, broken):
    assert judge(task, **at) is None
    assert judge(task, **beyond) == pytest.approx(broken)


@pytest.mark.parametrize("task", ["grounding", "counting"])
@pytest.mark.parametrize(
    "changes",
    [
        {"count_strict": 1},
        {"count_loose": 3},
        {"count_mirror": 1},
        {"object_ids": ["#0"]},
    ],
)
def test_all_counts_must_be_one_number(judge, task, changes):
    assert judge(task, **changes) == ("count_stable", 1.0, 0.0)


def phrase(kind="class", value=None, matches=1, count_spread=None):
    return {
        "object_id": "#0", "kind": kind, "text": "the dog", "value": value,
        "matches": matches, "count_spread": count_spread,
    }  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_every_phrase_must_fit_one_object(judge, task):
    assert judge(task, phrases=[phrase(matches=2)]) == ("unique_referent", 2.0, 1.0)
    assert judge(task, phrases=[phrase(), phrase("color", 0.9, matches=3)]) == ("unique_referent", 3.0, 1.0)
    assert judge(task, phrases=[phrase(matches=None)]) == ("unique_referent", None, 1.0)


def test_objects_named_by_their_regions_need_no_unique_class(judge):
    assert judge("near_far", same_category=5, phrases=[]) is None


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("kind", "needed", "below"),
    [
        ("color", 0.6, 0.57),
        ("ordinal", 0.03, 0.0285),
        ("size", 1.5, 1.425),
        ("side_of", 0.02, 0.019),
        *((kind, 1.0, 0.95) for kind in ("depth_rank", "color_ordinal", "color_size", "color_depth_rank")),
    ],
)
def test_every_phrase_must_tell_its_object_clearly_from_the_next(judge, task, kind, needed, below):
    assert judge(task, phrases=[phrase(), phrase(kind, needed)]) is None
    assert judge(task, phrases=[phrase(), phrase(kind, below)]) == ("phrase_margin", pytest.approx(0.95), 1.0)
    assert judge(task, phrases=[phrase(kind)]) == ("phrase_margin", 0.0, 1.0)


@pytest.mark.parametrize("task", TASKS)
def test_a_phrase_that_counts_off_its_class_needs_a_complete_one(judge, task):
    assert judge(task, phrases=[phrase("ordinal", 0.5, count_spread=0)]) is None
    assert judge(task, phrases=[phrase("ordinal", 0.5, count_spread=1)]) == ("count_stable", 1.0, 0.0)


# --- forms with rules of their own


def test_an_honest_zero_names_no_object_and_is_counted_none_everywhere(judge):
    nothing = {
        "form": "zero", "object_ids": [], "boxes": [], "categories": [], "phrases": [],
        "scores": [], "mirror_ious": [], "occlusions": [], "class_conflicts": [],
        **dict.fromkeys(("count_strict", "count_loose", "count_mirror"), 0),
    }  # fmt: skip
    assert judge("counting", **nothing) is None
    assert judge("counting", **nothing | {"count_loose": 1}) == ("count_stable", 1.0, 0.0)


@pytest.mark.parametrize("form", ["one", "which_box", "box_yes_no"])
def test_one_object_of_a_class_needs_no_complete_class(judge, form):
    assert judge("grounding", form=form, count_strict=None, count_loose=7) is None


@pytest.mark.parametrize("name", ["gap", "mirror_gap"])
def test_objects_counted_in_a_half_must_lie_clear_of_the_middle(judge, name):
    clear = {"form": "half", "gap": 0.1, "mirror_gap": 0.1}
    assert judge("counting", **clear) is None
    rule = {"gap": "horizontal_gap", "mirror_gap": "mirror_gap"}[name]
    assert judge("counting", **clear | {name: 0.019}) == (rule, 0.019, 0.02)
    assert judge("counting", **clear | {name: None}) == (rule, None, 0.02)


def in_pair(number, *readings):
    return [one | {"pair": number} for one in readings]


def test_every_pair_that_an_answer_rests_on_needs_its_own_readings(judge):
    three = {
        "object_ids": ["#0", "#1", "#2"], "boxes": [[0, 0, 500, 500]] * 3,
        "scores": [0.9] * 3, "mirror_ious": [0.9] * 3, "occlusions": [0.0] * 3, "class_conflicts": [0.0] * 3,
    }  # fmt: skip
    for form in ("nearest_of", "farthest_of", "order"):
        both = in_pair(0, GROUND, HEIGHT) + in_pair(1, GROUND, HEIGHT)
        assert judge("near_far", form=form, readings=both, **three) is None
        weak = in_pair(0, GROUND, HEIGHT) + in_pair(1, GROUND, reading("class_height", 1.2))
        assert judge("near_far", form=form, readings=weak, **three) == (
            "depth_readings", pytest.approx(1.2 / 1.5), 1.0,
        )  # fmt: skip
        assert judge("near_far", form=form, readings=in_pair(0, GROUND, HEIGHT), **three) == (
            "depth_readings", None, 1.0,
        )  # fmt: skip


def test_objects_compared_by_number_are_counted_without_the_one_that_they_are_compared_with(judge):
    compared = {"form": "nearer_than", "readings": [GROUND, HEIGHT], **dict.fromkeys(COUNTS, 1)}
    assert judge("counting", **compared) is None
    assert judge("counting", **compared | {"count_mirror": 2}) == ("count_stable", 1.0, 0.0)
    assert judge("counting", **compared | {"readings": []}) == ("readings_contradict", None, 1.0)
    assert judge("counting", **compared | {"occlusions": [0.5, 0.0]}) == ("occlusion", 0.5, 0.4)


@pytest.mark.parametrize("form", ["front_or_behind", "facing_yes_no"])
def test_in_front_and_behind_rest_on_depth_on_a_frontal_turn_and_on_one_line(judge, form):
    ahead = {
        "form": form, "readings": [GROUND, HEIGHT], "gap": None, "mirror_gap": None,
        "center_gap": 0.15, "facing": -0.8, "mirror_facing": -0.9,
    }  # fmt: skip
    assert judge("perspective", **ahead) is None
    assert judge("perspective", **ahead | {"center_gap": 0.16}) == ("front_offset", 0.16, 0.15)
    assert judge("perspective", **ahead | {"facing": -0.79}) == ("frontal", 0.79, 0.8)
    assert judge("perspective", **ahead | {"readings": [GROUND]}) == ("depth_readings", None, 1.0)
    against = [GROUND, HEIGHT, reading("net", 0.9)]
    assert judge("perspective", **ahead | {"readings": against}) == ("readings_contradict", 0.9, 1.0)


def test_objects_of_near_far_may_not_hide_behind_another(judge):
    assert judge("near_far", occlusions=[0.4, 0]) is None
    assert judge("near_far", occlusions=[0, 0.41]) == ("occlusion", 0.41, 0.4)
    assert judge("left_right", occlusions=[0.9, 0.9]) is None


@pytest.mark.parametrize("task", ["left_right", "perspective"])
@pytest.mark.parametrize(("name", "rule"), [("gap", "horizontal_gap"), ("mirror_gap", "mirror_gap")])
def test_boxes_must_stand_apart_in_the_photo_and_in_the_mirror(judge, task, name, rule):
    assert judge(task, **{name: 0.02}) is None  # 20 pixels of 1000
    assert judge(task, **{name: 0.019}) == (rule, 0.019, 0.02)
    assert judge(task, **{name: -0.3}) == (rule, -0.3, 0.02)


def test_centres_of_left_and_right_must_be_apart(judge):
    assert judge("left_right", center_gap=0.1) is None
    assert judge("left_right", center_gap=0.099) == ("center_gap", 0.099, 0.1)
    assert judge("perspective", center_gap=0.0) is None


def test_keypoints_must_be_sure(judge):
    assert judge("perspective", facing_score=0.35) is None
    assert judge("perspective", facing_score=0.349) == ("keypoint_score", 0.349, 0.35)


@pytest.mark.parametrize("sign", [1, -1])
def test_people_must_be_turned_clear_of_profile_in_photo_and_mirror(judge, sign):
    assert judge("perspective", facing=sign * 0.4, mirror_facing=sign * 0.9) is None
    assert judge("perspective", facing=sign * 0.39, mirror_facing=sign * 0.9) == ("facing", 0.39, 0.4)
    assert judge("perspective", facing=sign * 0.9, mirror_facing=sign * 0.39) == ("facing", 0.39, 0.4)


@pytest.mark.parametrize(("facing", "mirror"), [(0.9, -0.9), (-0.9, 0.9), (0.9, 0.0), (0.9, None), (None, 0.9)])
def test_people_must_be_turned_alike_in_photo_and_mirror(judge, facing, mirror):
    assert judge("perspective", facing=facing, mirror_facing=mirror) == ("facing", None, 0.4)


def test_thresholds_are_configured(judge):
    assert judge("referring", {"min_score": 0.96}) == ("object_score", 0.95, 0.96)
    assert judge("referring", {"min_score": 0.3}, scores=[0.31]) is None


# --- the readings of depth


def reading(name, ratio, mirror="same", separation=None):
    return {
        "reading": name,
        "ratio": ratio,
        "mirror_ratio": ratio if mirror == "same" else mirror,
        "separation": separation,
    }


GROUND, HEIGHT, NET = reading("ground_contact", 3.0), reading("class_height", 3.0), reading("net", 3.0, separation=2.0)


@pytest.mark.parametrize(
    ("needed", "at", "below"),
    [
        (1.15, reading("ground_contact", 1.15), reading("ground_contact", 1.149)),
        (1.5, reading("class_height", 1.5), reading("class_height", 1.499)),
        (1.2, reading("net", 1.2, separation=1.0), reading("net", 1.199, separation=1.0)),
        (1.2, reading("net", 9.0, mirror=1.2, separation=1.0), reading("net", 9.0, mirror=1.199, separation=1.0)),
        (1.15, reading("ground_contact", 9.0, mirror=1.15), reading("ground_contact", 9.0, mirror=1.149)),
    ],
)
def test_every_kind_of_reading_needs_its_own_ratio_in_photo_and_mirror(judge, needed, at, below):
    other = HEIGHT if at["reading"] != "class_height" else GROUND
    assert judge("near_far", readings=[other, at]) is None
    assert judge("near_far", readings=[other, below]) == (
        "depth_readings", pytest.approx((needed - 0.001) / needed), 1.0,
    )  # fmt: skip


@pytest.mark.parametrize("readings", [[GROUND], [HEIGHT], [NET]])
def test_one_reading_is_not_enough(judge, readings):
    assert judge("near_far", readings=readings) == ("depth_readings", None, 1.0)
    assert judge("near_far", {"min_readings": 1}, readings=readings) is None


@pytest.mark.parametrize(
    "uncounted",
    [
        pytest.param(reading("net", 3.0, separation=0.999), id="the network's quantiles overlap"),
        pytest.param(reading("net", 3.0), id="the network's quantiles are unknown"),
        pytest.param(reading("net", 3.0, mirror=None, separation=2.0), id="the mirror says nothing to the network"),
        pytest.param(reading("class_height", 3.0, mirror=None), id="the mirror says nothing to geometry"),
    ],
)
def test_a_reading_that_is_no_evidence_does_not_count(judge, uncounted):
    assert judge("near_far", readings=[GROUND, uncounted]) == ("depth_readings", None, 1.0)
    assert judge("near_far", readings=[GROUND, uncounted, reading("class_height", 1.2)])[0] == "depth_readings"


@pytest.mark.parametrize(
    ("confirms", "falls_short"),
    [
        (reading("ground_contact", 1.1), reading("ground_contact", 1.099)),
        (reading("class_height", 9.0, mirror=1.1), reading("class_height", 9.0, mirror=1.099)),
        (reading("net2", 1.1, separation=0.1), reading("net2", 1.099, separation=0.1)),
    ],
)
def test_a_network_with_its_full_margin_needs_only_its_order_confirmed(judge, confirms, falls_short):
    assert judge("near_far", readings=[NET, confirms]) is None
    assert judge("near_far", readings=[NET, falls_short]) == ("depth_readings", pytest.approx(1.099 / 1.1), 1.0)


def test_a_reading_that_the_mirror_does_not_repeat_confirms_nothing(judge):
    for name in ("ground_contact", "net2"):
        silent = reading(name, 3.0, mirror=None, separation=2.0)
        assert judge("near_far", readings=[NET, silent]) == ("depth_readings", None, 1.0)


def test_a_network_below_its_margin_is_helped_by_no_confirmation(judge):
    weak = [reading("net", 1.19, separation=2.0), reading("ground_contact", 1.14), reading("class_height", 1.49)]
    assert judge("near_far", readings=weak) == ("depth_readings", pytest.approx(1.19 / 1.2), 1.0)


def test_geometry_alone_is_held_to_its_full_margins(judge):
    assert judge("near_far", readings=[GROUND, reading("class_height", 1.49)]) == (
        "depth_readings", pytest.approx(1.49 / 1.5), 1.0,
    )  # fmt: skip


def test_two_good_readings_stand_beside_a_weak_third_that_agrees(judge):
    assert judge("near_far", readings=[GROUND, NET, reading("class_height", 1.01)]) is None
    assert judge("near_far", {"min_readings": 3}, readings=[GROUND, NET, reading("class_height", 1.05)]) == (
        "depth_readings", pytest.approx(1.05 / 1.1), 1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "against",
    [
        pytest.param(reading("class_height", 0.999), id="in the photo"),
        pytest.param(reading("class_height", 3.0, mirror=0.999), id="in the mirror alone"),
        pytest.param(reading("class_height", 0.999, mirror=None), id="in the photo, the mirror silent"),
        pytest.param(reading("net2", 0.999, separation=0.1), id="by a network whose quantiles overlap"),
    ],
)
def test_one_reading_that_says_the_opposite_rejects_the_pair(judge, against):
    assert judge("near_far", readings=[GROUND, NET, against]) == ("readings_contradict", 0.999, 1.0)


def test_no_readings_are_no_evidence(judge):
    for readings in ([], None):
        assert judge("near_far", readings=readings) == ("readings_contradict", None, 1.0)


# --- evidence that is missing


@pytest.mark.parametrize(
    ("task", "name", "rule"),
    [
        *((task, "scores", "object_score") for task in TASKS),
        *((task, "mirror_ious", "mirror_redetection") for task in TASKS),
        *((task, "class_conflicts", "class_conflict") for task in TASKS),
        ("grounding", "count_strict", "count_stable"),
        ("counting", "count_loose", "count_stable"),
        ("counting", "count_mirror", "count_stable"),
        *((task, "phrases", "unique_referent") for task in TASKS),
        ("near_far", "occlusions", "occlusion"),
        ("left_right", "gap", "horizontal_gap"),
        ("perspective", "mirror_gap", "mirror_gap"),
        ("left_right", "center_gap", "center_gap"),
        ("perspective", "facing_score", "keypoint_score"),
        ("perspective", "facing", "facing"),
    ],
)
def test_missing_evidence_is_a_rejection_by_its_rule(judge, task, name, rule):
    found = judge(task, **{name: None})
    assert found is not None
    assert found[:2] == (rule, None)


@pytest.mark.parametrize("name", ["scores", "mirror_ious", "class_conflicts", "occlusions"])
def test_missing_evidence_on_one_of_two_objects_is_a_rejection_too(judge, name):
    for values in ([0.95 if name in ("scores", "mirror_ious") else 0.0, None], []):
        found = judge("near_far", **{name: values})
        assert found is not None
        assert found[1] is None
