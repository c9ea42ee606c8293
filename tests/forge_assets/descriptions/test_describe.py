"""Phrases of one real photo, from a real server that answers as told."""

import io
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from forge_assets.candidate_qa.described import current_descriptions, described_phrases
from forge_assets.candidate_qa.phrase_kinds import stated
from forge_assets.descriptions import describe
from forge_assets.descriptions.describe import descriptions, found, marked
from forge_assets.tables import DESCRIPTIONS, RAW_IMAGES
from forge_resources.config import VisionLanguageConfig
from forge_resources.lake import Lake, PartitionRefused
from forge_resources.models.vision_language.server import OpenAIVisionLanguage
from forge_resources.shards import ShardKey

BUS = Path(find_spec("ultralytics").submodule_search_locations[0]) / "assets" / "bus.jpg"
"""810 x 1080: a bus and four people; found without importing ultralytics, which replaces functions of Pillow."""
OBJECTS = {"coat": [65, 365, 282, 832], "bag": [278, 377, 439, 798], "hat": [835, 338, 1000, 803]}


def photos(*image_ids: str) -> pl.DataFrame:
    row: dict[str, Any] = dict.fromkeys(RAW_IMAGES) | {
        "source": "photos",
        "shard": "s00000",
        "image": {"bytes": BUS.read_bytes(), "path": "bus.jpg"},
        "orientation": 1,
        "width": 810,
        "height": 1080,
    }
    return pl.DataFrame([row | {"image_id": name} for name in image_ids], schema=dict(RAW_IMAGES))


def people(image_id: str, *names: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "image_id": image_id,
            "object_id": [f"{image_id}#{name}" for name in names],
            "singular": "person",
            "region": [str(OBJECTS[name]) for name in names],
            "box": [OBJECTS[name] for name in names],
            "color": None,
        },
        schema_overrides={"box": pl.Array(pl.Int32, 4), "color": pl.String},
    )


def is_mirrored(photo: bytes) -> bool:
    def small(image: Image.Image) -> NDArray[np.float64]:
        return np.asarray(image.convert("L").resize((32, 32)), dtype=np.float64)

    shown, upright = small(Image.open(io.BytesIO(photo))), small(Image.open(BUS))
    return bool(np.abs(shown - upright[:, ::-1]).mean() < np.abs(shown - upright).mean())


def boxes_text(*boxes: list[int]) -> str:
    return str([{"bbox_2d": box} for box in boxes]).replace("'", '"')


def seeing(said: dict[str, str], others: dict[str, list[int]] | None = None) -> Callable[[bytes, str], str]:
    """Replies of a model that says those phrases of the objects and finds each of them, in photo and mirror."""

    def reply(photo: bytes, prompt: str) -> str:
        if "red box" in prompt:
            return next(said[name] for name, box in OBJECTS.items() if str(box) in prompt)
        named = re.search(r"fits: the (.*)\. Answer", prompt)
        assert named
        seen = [box for name, box in OBJECTS.items() if name in named[1]]
        seen += [box for name, box in (others or {}).items() if name in named[1]]
        mirrored = [[1000 - x2, y1, 1000 - x1, y2] for x1, y1, x2, y2 in seen]
        return boxes_text(*(mirrored if is_mirrored(photo) else seen))

    return reply


def described(server: Any, photos: pl.DataFrame, objects: pl.DataFrame) -> pl.DataFrame:
    settings = VisionLanguageConfig(backend="openai", base_url=server.url, model=server.model)
    model = OpenAIVisionLanguage(settings, sleep=lambda _: None)
    made = list(descriptions([photos], objects, model, max_side=320, batch_size=2))
    return pl.concat(made) if made else pl.DataFrame(schema=dict(DESCRIPTIONS))


def test_a_phrase_that_leads_back_to_its_object_is_kept_and_all_others_say_why(chat_server: Any) -> None:
    chat_server.reply = seeing(
        {"coat": "The person in a coat.", "bag": "the person on the left with a bag", "hat": "the person with a hat"},
        others={"hat": [1, 1, 50, 50]},
    )
    objects = people("photos/a", "bag", "coat", "hat")
    rows = described(chat_server, photos("photos/a", "photos/b"), objects)
    assert rows.schema == pl.Schema(DESCRIPTIONS)
    assert set(rows["model"]) == {"openai:org/model"}
    assert rows.select("object_id", "phrase", "is_clean", "matches", "mirror_matches", "drop_rule").rows() == [
        ("photos/a#bag", "person on the left with a bag", False, None, None, "names_side"),
        ("photos/a#coat", "person in a coat", True, 1, 1, None),
        ("photos/a#hat", "person with a hat", True, 2, 2, None),
    ]
    assert rows["iou"].to_list() == rows["mirror_iou"].to_list() == [None, 1.0, 1.0]
    assert len(chat_server.asked) == 3 + 2 * 2

    said = described_phrases(rows.lazy(), objects.lazy()).collect()
    assert said.select("object_id", "kind", "bare", "value", "matches").rows() == [
        ("photos/a#coat", "described", "person in a coat", 1.0, 1),
        ("photos/a#hat", "described", "person with a hat", 1.0, 2),
    ]
    assert described_phrases(rows.lazy(), objects.filter(object_id="none").lazy()).collect().is_empty()


def test_a_phrase_that_leads_nowhere_or_elsewhere_is_told_apart(chat_server: Any) -> None:
    chat_server.reply = seeing(
        {"coat": "person at the kerb", "bag": "person with a hat", "hat": "person with a broken thing"}
    )
    see = chat_server.reply
    chat_server.reply = lambda photo, prompt: "I see it" if "broken thing." in prompt else see(photo, prompt)
    rows = described(chat_server, photos("photos/a"), people("photos/a", "coat", "bag", "hat"))
    by_object = {row["object_id"].split("#")[1]: row for row in rows.to_dicts()}
    assert (by_object["coat"]["drop_rule"], by_object["coat"]["matches"]) == ("not_found", 0)
    assert (by_object["hat"]["drop_rule"], by_object["hat"]["matches"]) == ("unreadable_boxes", None)
    elsewhere = by_object["bag"]
    assert (elsewhere["drop_rule"], elsewhere["matches"], elsewhere["iou"]) == (None, 1, 0.0)


def test_photos_that_are_asked_about_together_keep_their_own_phrases(
    chat_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_server.reply = seeing({"coat": "person in a coat", "bag": "person with a bag", "hat": "person with a hat"})
    objects = pl.concat(
        [people("photos/a", "coat", "bag"), people("photos/b", "hat"), people("photos/c", "bag", "hat")]
    )
    rows = described(chat_server, photos("photos/a", "photos/b", "photos/c"), objects)
    assert rows.select("object_id", "phrase").rows() == [
        ("photos/a#bag", "person with a bag"),
        ("photos/a#coat", "person in a coat"),
        ("photos/b#hat", "person with a hat"),
        ("photos/c#bag", "person with a bag"),
        ("photos/c#hat", "person with a hat"),
    ]
    assert rows.select(pl.min_horizontal("iou", "mirror_iou").min()).item() == 1.0
    monkeypatch.setattr(describe, "_OBJECTS_TOGETHER", 1)
    assert described(chat_server, photos("photos/a", "photos/b", "photos/c"), objects).equals(rows)


def test_phrases_stand_in_the_columns_that_candidates_read() -> None:
    rows = pl.LazyFrame(schema={"image_id": pl.String, "object_id": pl.String, "matches": pl.Int32, "text": pl.String})
    read = stated(rows, pl.lit("class"), pl.col("text")).collect_schema()
    entities = pl.LazyFrame(schema={"image_id": pl.String, "object_id": pl.String})
    assert described_phrases(pl.LazyFrame(schema=dict(DESCRIPTIONS)), entities).collect_schema() == read


def test_photos_without_objects_are_not_asked_about(chat_server: Any) -> None:
    assert described(chat_server, photos("photos/a"), people("photos/a")).is_empty()
    assert chat_server.asked == []


def test_the_model_is_shown_a_red_box_and_the_photo_is_left_alone() -> None:
    photo = np.zeros((100, 200, 3), dtype=np.uint8)
    shown = marked(photo, [250, 250, 500, 500])
    assert not photo.any()
    red = (shown == (255, 0, 0)).all(axis=2)
    ys, xs = np.nonzero(red)
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (48, 23, 102, 52)
    assert not red[30:45, 55:95].any()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("[[0, 0, 100, 100]]", (1, 1.0)),
        ("[[0, 0, 100, 50], [0, 0, 100, 100]]", (2, 1.0)),
        ("[[0, 0, 100, 50]]", (1, 0.5)),
        ("[]", (0, 0.0)),
        ("nothing", (None, None)),
    ],
)
def test_what_is_found_is_counted_and_the_best_overlap_taken(reply: str, expected: tuple[object, object]) -> None:
    assert found(reply, np.array([0.0, 0.0, 100.0, 100.0])) == expected


def test_phrases_of_older_scenes_are_refused(tmp_path: Path) -> None:
    lake, key = Lake(tmp_path), ShardKey("photos", "s00000")
    asked = VisionLanguageConfig(backend="openai")
    assert current_descriptions(lake, key, asked) is None
    numbers = {"number": pl.Int64()}
    scenes = lake.write("scenes", key, pl.DataFrame({"number": [1]}), numbers)
    made = lake.write("descriptions", key, [], DESCRIPTIONS, inputs={"scenes": scenes.content_hash})
    assert current_descriptions(lake, key, asked) == made
    assert current_descriptions(lake, key, VisionLanguageConfig()) is None, "nobody is asked any more"
    lake.write("scenes", key, pl.DataFrame({"number": [2]}), numbers)
    with pytest.raises(PartitionRefused, match="older scenes: materialize descriptions for photos/s00000 again"):
        current_descriptions(lake, key, asked)
