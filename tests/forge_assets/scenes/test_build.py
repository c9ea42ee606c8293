"""One row an object with all that is known of it."""

import polars as pl
import pytest

from forge_assets.scenes.build import scenes
from forge_assets.scenes.depth_quantiles import SCHEMA
from forge_assets.tables import DETECTIONS, RAW_IMAGES, SCENES

DOG = ("dog", (100, 600, 300, 800), {})
NO_MAPS = pl.DataFrame(schema=dict(SCHEMA))


def readings(*rows):
    return pl.DataFrame(rows, schema=dict(SCHEMA), orient="row")


def backwards(table):
    return table.with_row_index().sort("index", descending=True).drop("index")


def test_every_detection_is_one_row_in_the_order_of_ids(make_photos, make_detections):
    detections = make_detections(
        *(("dog", (10 * i, 10, 10 * i + 200, 300), {"image_id": f"hand/{'ba'[i % 2]}.jpg"}) for i in range(40))
    )
    table = scenes(
        make_photos("hand/a.jpg", "hand/b.jpg"), detections.sample(fraction=1, shuffle=True, seed=1), NO_MAPS
    )
    assert table.schema == pl.Schema(SCENES)
    assert table["object_id"].to_list() == sorted(detections["object_id"])
    kept = [name for name in DETECTIONS if name in SCENES and name != "is_truncated"]
    assert table.select(kept).equals(detections.sort("object_id").select(kept))


def test_the_order_of_the_inputs_does_not_matter(make_photos, make_detections):
    detections = make_detections(DOG, ("cat", (250, 500, 600, 900), {}), ("person", (400, 100, 700, 700), {}))
    depths = readings(
        *(
            (f"hand/photo.jpg#d00{i}", "net", m, "metric", 1.0, 2.0, 3.0, "test:net")
            for i in range(3)
            for m in (True, False)
        )
    )
    tables = [
        scenes(make_photos(), d, r) for d, r in ((detections, depths), (backwards(detections), backwards(depths)))
    ]
    assert tables[0].equals(tables[1])


def test_a_row_says_what_photo_it_is_of(make_photos, make_detections):
    photo = make_photos(width=800, height=1000).with_columns(labels_dropped=pl.lit(2))
    row = scenes(photo, make_detections(DOG), NO_MAPS).row(0, named=True)
    assert (row["image_width"], row["image_height"], row["image_sha256"]) == (800, 1000, "ab" * 32)
    assert (row["split"], row["license"], row["is_labeled"], row["labels_dropped"]) == ("train", "CC-BY-4.0", False, 2)
    assert row["area_share"] == pytest.approx(40_000 / 800_000)


def test_an_object_alone_is_covered_by_nothing_and_in_no_doubt(make_photos, make_detections):
    row = scenes(make_photos(), make_detections(DOG), NO_MAPS).row(0, named=True)
    assert (row["overlap"], row["occlusion"], row["class_conflict"], row["depth"]) == (0, 0, 0, [])
    assert (row["facing"], row["mirror_facing"], row["facing_score"]) == (None, None, None)


@pytest.mark.parametrize(
    ("box", "is_truncated"),
    [
        ((11, 11, 989, 989), False),
        ((10, 11, 989, 989), True),
        ((11, 10, 989, 989), True),
        ((11, 11, 990, 989), True),
        ((11, 11, 989, 990), True),
    ],
)
def test_a_box_within_a_hundredth_of_an_edge_may_go_on_outside(make_photos, make_detections, box, is_truncated):
    assert scenes(make_photos(), make_detections(("dog", box, {})), NO_MAPS)["is_truncated"].item() is is_truncated


def test_readings_come_by_name_the_photo_before_its_mirror(make_photos, make_detections):
    depths = readings(
        ("hand/photo.jpg#d000", "wide", False, "relative", 1.0, 2.0, 3.0, "test:wide"),
        ("hand/photo.jpg#d000", "deep", True, "metric", 4.0, 5.0, 6.0, "test:deep"),
        ("hand/photo.jpg#d000", "deep", False, "metric", 7.0, 8.0, 9.0, "test:deep"),
        ("hand/photo.jpg#d777", "deep", False, "metric", 0.0, 0.0, 0.0, "test:deep"),
    )
    (row,) = scenes(make_photos(), make_detections(DOG), depths).rows(named=True)
    assert [tuple(reading.values()) for reading in row["depth"]] == [
        ("deep", False, "metric", 7.0, 8.0, 9.0, "test:deep"),
        ("deep", True, "metric", 4.0, 5.0, 6.0, "test:deep"),
        ("wide", False, "relative", 1.0, 2.0, 3.0, "test:wide"),
    ]


def test_a_persons_turn_is_read_in_the_photo_and_in_the_mirror(make_photos, make_detections, make_keypoints):
    poses = {
        "keypoints": make_keypoints(shoulders=60, score=0.8),
        "mirror_keypoints": make_keypoints(shoulders=120, score=0.6),
    }
    row = scenes(make_photos(), make_detections(("person", (400, 100, 600, 900), poses)), NO_MAPS).row(0, named=True)
    assert (row["facing"], row["mirror_facing"], row["facing_score"]) == (pytest.approx(0.5), pytest.approx(1.0), 0.6)


def test_no_detections_give_an_empty_table(make_photos, make_detections):
    table = scenes(make_photos(), make_detections(), NO_MAPS)
    assert (table.height, table.schema) == (0, pl.Schema(SCENES))


def test_people_count_by_number_or_by_pointing_at_each(make_photos, make_detections):
    points = [{"category": name, "x": 1.0, "y": 1.0} for name in ("cat", "dog", "cat")]
    photo = make_photos().with_columns(
        points=pl.Series([points], dtype=RAW_IMAGES["points"], strict=False),
        counts=pl.Series([[{"category": "dog", "count": 4}]], dtype=RAW_IMAGES["counts"], strict=False),
    )
    row = scenes(photo, make_detections(DOG), NO_MAPS).row(0, named=True)
    assert row["human_counts"] == [{"category": "cat", "count": 2}, {"category": "dog", "count": 4}]


def test_a_second_pose_network_that_cannot_tell_the_turn_says_nought(make_photos, make_detections):
    standing = [{"x": 0.0, "y": 0.0, "score": 0.1}] * 17
    read = {"keypoints": standing, "second_pose_model": "test:pose"}
    people = [("person", (100, 100, 300, 800), read), ("person", (500, 100, 700, 800), {"keypoints": standing})]
    assert scenes(make_photos(), make_detections(*people), NO_MAPS)["second_facing"].to_list() == [0.0, None]
