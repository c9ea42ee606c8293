"""What each gate promises: a good shard keeps it, and each way of spoiling a row breaks the rule made for it."""

import copy

import polars as pl
import pytest

from forge_assets.gates.detections import KEYPOINTS
from forge_assets.gates.factory import GATES
from forge_assets.gates.gate import schema_difference
from forge_assets.tables import EVIDENCE, SCHEMAS
from forge_resources.validation import suite_hash

pytestmark = pytest.mark.slow

TABLES = list(GATES)
LABEL = {"label_id": "l", "category": "dog", "x1": 0.0, "y1": 0.0, "x2": 9.0, "y2": 9.0, "is_crowd": False}
KEYPOINT = {"x": 1.0, "y": 1.0, "score": 0.5}
READING = {"reading": "r", "mirrored": False, "kind": "metric", "q10": 1.0, "q50": 2.0, "q90": 3.0, "depth_model": "m"}
BOX = [0, 0, 10, 10]
PHRASE = {"object_id": "x", "kind": "class", "text": "the cat", "value": None, "matches": 1, "count_spread": None}
EVIDENCE_OF = dict.fromkeys(field.name for field in EVIDENCE.fields) | {"scores": [0.9, 0.9]}

SPOILED = {
    "raw_images": {
        "format_known": {"format": "PSD"},
        "format_present": {"format": None},
        "orientation_in_range": {"orientation": 9},
        "shorter_side_in_range": {"height": 31},
        "pixels_in_range": {"width": 1_000_000, "height": 1_000},
        "bytes_are_there": {"image": {"bytes": b"", "path": "x"}},
        "sha256_is_a_digest": {"sha256": "abc"},
        "license_is_named": {"license": " "},
        "is_of_partition": {"shard": "s00009"},
        "labels_only_where_labeled": {"labels": [LABEL]},
        "label_boxes_are_ordered": {"is_labeled": True, "labels": [LABEL, LABEL | {"x1": 10.0}]},
        "label_boxes_inside_photo": {"is_labeled": True, "labels": [LABEL | {"x2": 642.0}]},
        "id_names_its_source": {"image_id": "zoo/x.jpg"},
    },
    "detections": {
        "category_present": {"category": None},
        "score_in_range": {"score": 1.5},
        "found_boxes_are_scored": {"score": None},
        "score_above_floor": {"score": 0.05},
        "detector_is_named": {"detector": None},
        "image_is_known": {"image_id": "holiday/gone.jpg", "object_id": "holiday/gone.jpg#d0"},
        "id_names_its_image": {"object_id": "elsewhere#d0"},
        "box_is_ordered": {"x1": 250.0},
        "box_inside_photo": {"y2": 482.0},
        "mirror_is_whole": {"mirror_iou": None},
        "keypoints_are_17": {"keypoints": [KEYPOINT] * (KEYPOINTS - 1), "pose_model": "p"},
        "keypoint_scores_in_range": {"keypoints": [KEYPOINT | {"score": 2.0}] * KEYPOINTS, "pose_model": "p"},
        "pose_model_is_named": {"keypoints": [KEYPOINT] * KEYPOINTS},
        "numbers_are_finite": {"mirror_x2": float("inf")},
    },
    "depth_maps": {
        "near_in_range": {"near": 0.0},
        "far_beyond_near": {"far": 1.0},
        "far_present": {"far": None},
        "width_in_range": {"width": 0},
        "map_is_a_png": {"png": b"JFIF"},
        "numbers_are_finite": {"far": float("inf")},
        "kind_present": {"kind": None},
    },
    "scenes": {
        "photo_is_as_known": {"image_width": 641},
        "object_is_known": {"object_id": "holiday/0001.jpg#d7"},
        "area_share_in_range": {"area_share": 1.5},
        "overlap_in_range": {"overlap": -0.1},
        "depths_are_positive": {"depth": [READING, READING | {"q10": 0.0}]},
        "depth_quantiles_are_ordered": {"depth": [READING | {"q50": 4.0}]},
        "ground_depth_in_range": {"ground_depth": 0.0},
        "facing_in_range": {"facing": -1.1},
        "color_known": {"color": "teal", "color_share": 0.9},
        "color_has_its_share": {"color": "red"},
        "numbers_are_finite": {"height_depth": float("nan")},
    },
    "candidate_qa": {
        "question_present": {"question": None},
        "question_length_in_range": {"question": "Which?"},
        "question_is_finished": {"question": "Which is nearer to the camera"},
        "no_template_slots_left": {"question": "Which is nearer, {a} or the chair?"},
        "no_missing_words": {"question": "Which is nearer, null or the chair?"},
        "no_double_blanks": {"question": "Which is  nearer, the dog or the chair?"},
        "answer_fits_kind": {"short_answer": "the cat"},
        "short_answer_is_said": {"answer": "The cat is nearer."},
        "choices_fit_kind": {"choices": ["the dog", "the dog"], "short_answer": "the dog"},
        "level_fits_task": {"level": "perception"},
        "photo_is_as_known": {"license": "other"},
        "answer_objects_are_named": {"answer_object_ids": ["holiday/0000.jpg#d0"]},
        "near_far_names_its_object": {"answer_object_ids": []},
        "form_is_of_task": {"form": "every"},
        "one_category_per_object": {"categories": ["dog"]},
        "objects_are_of_their_categories": {"categories": ["dog", "cat"]},
        "objects_named_unless_none_there": {"object_ids": [], "boxes": [], "categories": [], "answer_object_ids": []},
        "phrases_are_said": {"evidence": EVIDENCE_OF | {"phrases": [PHRASE]}},
        "one_box_per_object": {"boxes": [BOX]},
        "boxes_in_range": {"boxes": [BOX, [10, 10, 5, 1001]]},
        "objects_are_known": {"object_ids": ["#d0", "#d1", "#d8"], "boxes": [BOX] * 3, "categories": ["dog"] * 3},
        "object_count_present": {"object_ids": None},
    },
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("photos", [4, 0])
def test_a_good_shard_passes_even_when_it_is_empty(forge, key, make_rows, table, photos):
    forge.write(key, make_rows(key, photos))

    report = forge.judge(table, key)

    assert (report.outcome, report.failures, report.warnings, report.error) == ("passed", {}, {}, None)


@pytest.mark.parametrize("table", SPOILED)
def test_each_spoiled_row_breaks_the_rule_made_for_it_and_is_named(forge, key, make_rows, table):
    rows = make_rows(key, 24)
    per_photo = len(rows[table]) // 24
    spoiled = {}
    for place, (rule, values) in enumerate(SPOILED[table].items()):
        row = rows[table][place * per_photo]
        row |= values
        spoiled[rule] = f"{row['image_id']} {row['reading']} upright" if table == "depth_maps" else row[_id(table)]
    forge.write(key, rows)

    report = forge.judge(table, key)

    assert report.outcome == "failed", report.error
    found = {result.rule: result.failing_ids for result in report.results}
    assert {rule: found[rule] for rule in spoiled if spoiled[rule] not in found[rule]} == {}
    untouched = {row[_id(table)] for row in rows[table][len(spoiled) * per_photo :]} if table != "depth_maps" else set()
    assert not untouched & {one for ids in found.values() for one in ids}


def _id(table: str) -> str:
    return {"raw_images": "image_id", "detections": "object_id", "scenes": "object_id"}.get(table, "qa_id")


@pytest.mark.parametrize("table", [table for table in TABLES if table != "depth_maps"])
def test_ids_are_unique(forge, key, make_rows, table):
    rows = make_rows(key, 3)
    rows[table].append(copy.deepcopy(rows[table][0]))
    forge.write(key, rows)

    assert f"{_id(table)}_unique" in forge.judge(table, key).failures


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"short_answer": "one", "task": "counting", "answer_kind": "integer"}, "answer_fits_kind"),
        ({"short_answer": "2"}, "count_is_of_objects"),
        ({"short_answer": "maybe", "answer_kind": "yes_no"}, "answer_fits_kind"),
        ({"short_answer": '[{"bbox_2d": [0, 0, 10, 10]', "answer_kind": "bbox"}, "answer_fits_kind"),
        (
            {"short_answer": '[{"bbox_2d": [0, 0, 10, 10]}, {"bbox_2d": [0, 0, 10, 10]}]', "answer_kind": "bbox"},
            "answer_fits_kind",
        ),
        ({"short_answer": '[{"bbox_2d": [0, 0, 10, 10]}]', "answer_kind": "bbox"}, "answer_boxes_are_of_objects"),
        ({"choices": ["1", "2"]}, "choices_fit_kind"),
        ({"category": None}, "category_given_where_asked"),
    ],
)
def test_answers_must_fit_their_kind(forge, key, make_rows, values, rule):
    rows = make_rows(key, 1)
    counting = rows["candidate_qa"][2]
    counting |= values
    forge.write(key, rows)

    (result,) = [one for one in forge.judge("candidate_qa", key).results if one.rule == rule]

    assert result.failing_ids == (counting["qa_id"],)


def test_json_in_a_question_is_no_template_slot(forge, key, make_rows):
    rows = make_rows(key, 1)
    rows["candidate_qa"][1]["question"] = 'Locate the dog. Answer as [{"bbox_2d": [x1, y1, x2, y2], "label": "dog"}].'
    forge.write(key, rows)

    assert forge.judge("candidate_qa", key).outcome == "passed"


@pytest.mark.parametrize(
    ("counts", "rule"),
    [({"photos_in": 9}, "photos_accounted_for"), ({"rejected": 2}, "rejections_recorded")],
)
def test_no_photo_goes_missing(forge, key, make_rows, counts, rule):
    forge.write(key, make_rows(key, 4), counts=counts)

    assert rule in forge.judge("raw_images", key).failures


def test_photos_that_were_never_counted_fail(forge, key, make_rows):
    forge.write(key, make_rows(key, 1))
    rows = pl.DataFrame(make_rows(key, 1)["raw_images"], schema=dict(SCHEMAS["raw_images"]), strict=False)
    forge.lake.write("raw_images", key, rows, SCHEMAS["raw_images"])

    assert {"photos_in_present", "photos_accounted_for"} <= set(forge.judge("raw_images", key).failures)


def test_unusable_photos_fail_a_shard_only_beyond_the_share_and_duplicates_never(forge, key, make_rows):
    rows = make_rows(key, 7)
    duplicate = rows["rejected_images"][0]
    rows["rejected_images"] += [duplicate | {"rule": rule} for rule in ("unreadable", "too_small")]
    forge.write(key, rows, counts={"photos_in": 10, "rejected": 3})

    forge.configure(gates={"max_rejected_images": 0.2})
    allowed = forge.judge("raw_images", key)
    forge.configure(gates={"max_rejected_images": 0.19})
    refused = forge.judge("raw_images", key)

    assert allowed.failures == {}
    assert refused.failures == {"unusable_share_in_range": 1, "unusable_photos_few": 1}
    assert allowed.suite_hash != refused.suite_hash


def test_a_network_must_read_every_photo_and_its_mirror(forge, key, make_rows):
    rows = make_rows(key, 3)
    del rows["depth_maps"][-1]
    forge.write(key, rows)

    assert forge.judge("depth_maps", key).failures == {"every_photo_was_read": 1}


@pytest.mark.parametrize(
    ("backend", "outcome", "warned"),
    [("onnx", "failed", True), ("auto", "passed", True), ("none", "passed", False)],
)
def test_no_depth_maps_are_fine_where_no_network_had_to_read(*, forge, key, make_rows, backend, outcome, warned):
    forge.write(key, make_rows(key, 2) | {"depth_maps": []})
    forge.configure(models={"depth": [{"name": "small_net", "backend": backend}]})

    report = forge.judge("depth_maps", key)

    assert report.outcome == outcome
    assert ("depth_was_read" in report.warnings) == warned


def test_scenes_lose_no_detection(forge, key, make_rows):
    rows = make_rows(key, 2)
    del rows["scenes"][0]
    forge.write(key, rows)

    assert forge.judge("scenes", key).failures == {"one_row_per_detection": 1, "no_detection_lost": 1}


def test_every_candidate_is_verified_or_rejected(forge, key, make_rows):
    rows = make_rows(key, 3)
    lost, stranger = rows["verified_qa"][:2]
    rows["verified_qa"].remove(lost)
    rows["rejected_qa"][0]["rule"] = None
    forge.write(key, rows)
    assert set(forge.judge("verified_qa", key).failures) == {"every_candidate_judged", "rejections_name_their_rule"}

    rows["verified_qa"].append(lost)
    also_rejected = {name: value for name, value in lost.items() if name != "score"}
    rows["rejected_qa"][0] = also_rejected | {"rule": "object_score", "value": 0.1, "threshold": 0.5}
    stranger["qa_id"], lost["answer"] = "unasked", "the chair"
    forge.write(key, rows)
    report = forge.judge("verified_qa", key)
    found = {result.rule: result.failing_ids for result in report.results if not result.success}
    assert found["was_a_candidate"] == ("unasked",)
    assert lost["qa_id"] in found["is_as_asked"]
    assert found["was_not_rejected"] == (lost["qa_id"],)


def test_the_share_of_rejected_pairs_is_bounded(forge, key, make_rows):
    forge.write(key, make_rows(key, 4))
    forge.configure(gates={"max_rejected_pairs": 0.2})

    assert forge.judge("verified_qa", key).failures == {"rejected_share_in_range": 1}


@pytest.mark.parametrize(("photos", "warned"), [(60, True), (50, False)])
def test_an_answer_that_its_place_gives_away_is_warned_of_from_50_pairs_on(forge, key, make_rows, photos, warned):
    rows = make_rows(key, photos)
    for row in rows["candidate_qa"] + rows["verified_qa"]:
        if row["task"] == "near_far":
            row |= {"answer": "the dog", "short_answer": "the dog", "answer_object_ids": row["object_ids"][:1]}
    forge.write(key, rows)

    report = forge.judge("verified_qa", key)

    assert report.outcome == "passed"
    assert report.warnings == ({"answers_balanced_near_far": 1} if warned else {})


def test_a_table_of_an_older_contract_fails_by_that_rule_alone(forge, key, make_rows):
    forge.write(key, make_rows(key, 2))
    schema = {name: dtype for name, dtype in SCHEMAS["scenes"].items() if name != "facing"} | {"score": pl.Float32()}
    forge.lake.write("scenes", key, forge.lake.scan("scenes", key).collect(), schema)

    report = forge.judge("scenes", key)

    assert report.failures == {"columns_match_contract": 1}
    (result,) = [one for one in report.results if not one.success]
    assert result.unexpected_values == ("facing is missing; score is Float32, not Float64",)
    assert (report.rows, report.outcome) == (4, "failed")


def test_schema_differences_are_named():
    schema = {"a": pl.String(), "b": pl.Int32()}

    assert schema_difference(schema, schema) is None
    assert schema_difference(schema | {"c": pl.String()}, schema) == "c is not in the contract"
    assert schema_difference({"b": pl.Int32(), "a": pl.String()}, schema) == "the columns stand in another order"


def test_rows_that_the_manifest_does_not_count_fail(forge, key, make_rows):
    forge.write(key, make_rows(key, 2))
    pl.read_parquet(forge.lake.data_path("detections", key)).head(3).write_parquet(
        forge.lake.data_path("detections", key)
    )

    assert "rows_match_manifest" in forge.judge("detections", key).failures


def test_what_goes_wrong_while_judging_breaks_the_gate(forge, key, make_rows):
    forge.write(key, make_rows(key, 2))
    forge.lake.data_path("raw_images", key).write_bytes(b"no parquet")

    report = forge.judge("detections", key)

    assert (report.outcome, report.failures) == ("broken", {})
    assert report.error
    assert report.suite_hash


@pytest.mark.parametrize("table", TABLES)
def test_suites_hash_alike_until_a_threshold_changes(forge, key, table):
    def digest() -> str:
        gate, config = GATES[table], forge.config
        return suite_hash([*gate.fact_expectations(config, key), *gate.expectations(config, key)])

    before = digest()
    assert digest() == before

    forge.configure(
        sources={"holiday": {"path": "photos", "min_side": 33}},
        models={"depth": [{"name": "other", "backend": "onnx"}], "detector": {"score_floor": 0.2}},
        tasks={"counting_max": 5},
    )
    has_thresholds = table != "scenes"
    assert (digest() != before) == has_thresholds
