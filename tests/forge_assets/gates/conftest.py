"""Shards written by hand: small, whole, and good until a test spoils them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from forge_assets.gates.factory import GATES
from forge_assets.gates.gate import judge, verdict
from forge_assets.partitions import SHARDS
from forge_assets.tables import EVIDENCE, SCHEMAS
from forge_resources.config import ForgeConfig, load_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.validation import GateReport

Rows = dict[str, list[dict[str, Any]]]

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
PHOTO_WIDTH, PHOTO_HEIGHT = 640, 480
DEPTH = {"name": "small_net", "backend": "onnx"}


def _row(table: str, key: ShardKey, **values: Any) -> dict[str, Any]:
    unknown = set(values) - set(SCHEMAS[table])
    assert not unknown, unknown
    return dict.fromkeys(SCHEMAS[table]) | {"source": key.source, "shard": key.shard} | values


def _photo(key: ShardKey, number: int) -> dict[str, Any]:
    return _row(
        "raw_images",
        key,
        image_id=f"{key.source}/{number:04d}.jpg",
        image={"bytes": bytes([number % 256]) * 10, "path": f"{number:04d}.jpg"},
        format="JPEG",
        mode="RGB",
        orientation=1,
        width=PHOTO_WIDTH,
        height=PHOTO_HEIGHT,
        byte_size=10,
        sha256=f"{number:064x}",
        license="CC0-1.0",
        split="train",
        is_labeled=False,
        labels=[],
    )


def _object(key: ShardKey, image_id: str, rank: int, box: tuple[float, ...]) -> dict[str, Any]:
    sides = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
    return _row(
        "detections",
        key,
        object_id=f"{image_id}#d{rank}",
        image_id=image_id,
        origin="detector",
        category=("dog", "chair")[rank % 2],
        is_crowd=False,
        score=0.9,
        mirror_score=0.9,
        mirror_iou=0.95,
        detector="hand:detector",
        **sides,
        **{f"mirror_{name}": value for name, value in sides.items()},
    )


def _scene(key: ShardKey, found: dict[str, Any], photo: dict[str, Any]) -> dict[str, Any]:
    shared = {name: value for name, value in found.items() if name in SCHEMAS["scenes"]}
    depth = {"reading": DEPTH["name"], "mirrored": False, "kind": "relative", "q10": 1.0, "q50": 2.0, "q90": 3.0}
    return _row("scenes", key) | shared | {
        "image_sha256": photo["sha256"],
        "image_width": photo["width"],
        "image_height": photo["height"],
        "split": photo["split"],
        "license": photo["license"],
        "is_labeled": False,
        "area_share": 0.1,
        "is_truncated": False,
        "overlap": 0.0,
        "occlusion": 0.0,
        "depth": [depth | {"depth_model": "hand:depth"}],
    }  # fmt: skip


def _pair(key: ShardKey, photo: dict[str, Any], objects: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
    ids = [one["object_id"] for one in objects]
    boxes = [
        [round(one[side] * 1000 / size) for side, size in zip(("x1", "y1", "x2", "y2"), (640, 480) * 2, strict=True)]
        for one in objects
    ]
    evidence = {one.name: None for one in EVIDENCE.fields} | {"scores": [0.9] * len(objects), "phrases": []}
    return _row(
        "candidate_qa",
        key,
        image_id=photo["image_id"],
        object_ids=ids,
        categories=[one["category"] for one in objects],
        boxes=boxes,
        evidence=evidence,
        image_width=photo["width"],
        image_height=photo["height"],
        split=photo["split"],
        license=photo["license"],
    ) | values | {"qa_id": f"{photo['image_id']}:{values['task']}"}  # fmt: skip


def _pairs(key: ShardKey, number: int, photo: dict[str, Any], objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    dog, chair = objects
    ids = [dog["object_id"], chair["object_id"]]
    near_far = _pair(
        key,
        photo,
        objects,
        task="near_far",
        level="relation",
        question="Which is nearer to the camera, the dog or the chair?",
        answer=("The dog is nearer.", "The chair is nearer.")[number % 2],
        short_answer=("the dog", "the chair")[number % 2],
        answer_kind="choice",
        choices=["the dog", "the chair"],
        answer_object_ids=[ids[number % 2]],
        template_id="near_far.nearer.v1",
        form="nearer",
    )
    grounding = _pair(
        key,
        photo,
        [dog],
        task="grounding",
        level="perception",
        question="Locate the dog in the image.",
        answer_kind="bbox",
        answer_object_ids=ids[:1],
        category="dog",
        template_id="grounding.locate.v1",
        form="one",
    )
    grounding["short_answer"] = f'[{{"bbox_2d": {grounding["boxes"][0]}, "label": "dog"}}]'
    grounding["answer"] = f"The dog is at: {grounding['short_answer']}"
    counting = _pair(
        key,
        photo,
        [chair],
        task="counting",
        level="perception",
        question="How many chairs are there in the image?",
        answer="1",
        short_answer="1",
        answer_kind="integer",
        answer_object_ids=ids[1:],
        category="chair",
        template_id="counting.how_many.v1",
        form="number",
    )
    return [near_far, grounding, counting]


def good_rows(key: ShardKey, photos: int) -> Rows:
    """Rows of all tables for photos of one dog and one chair each; the last photo's pairs are rejected."""
    rows: Rows = {table: [] for table in SCHEMAS}
    rows["rejected_images"] = [
        _row("rejected_images", key, image_id=f"{key.source}/copy.jpg", path="copy.jpg", rule="duplicate_image"),
        _row("rejected_images", key, image_id=f"{key.source}/0000.jpg", path="0000.jpg", rule="label_empty_box"),
    ]
    for number in range(photos):
        photo = _photo(key, number)
        objects = [
            _object(key, photo["image_id"], 0, (10.0, 10.0, 200.0, 300.0)),
            _object(key, photo["image_id"], 1, (300.0, 50.0, 640.0, 480.0)),
        ]
        pairs = _pairs(key, number, photo, objects)
        rows["raw_images"].append(photo)
        rows["detections"] += objects
        rows["scenes"] += [_scene(key, one, photo) for one in objects]
        rows["candidate_qa"] += pairs
        if number == photos - 1:
            rows["rejected_qa"] += [pair | {"rule": "object_score", "value": 0.1, "threshold": 0.5} for pair in pairs]
        else:
            rows["verified_qa"] += [pair | {"score": 0.2} for pair in pairs]
        rows["depth_maps"] += [
            _row(
                "depth_maps",
                key,
                image_id=photo["image_id"],
                reading=DEPTH["name"],
                mirrored=mirrored,
                kind="relative",
                width=64,
                height=48,
                near=1.0,
                far=9.0,
                png=PNG,
                depth_model="hand:depth",
            )
            for mirrored in (False, True)
        ]
    return rows


@dataclass
class Forge:
    """A configuration file, a lake and an instance of Dagster of a test's own."""

    folder: Path
    instance: dg.DagsterInstance
    settings: dict[str, Any] = field(default_factory=dict)

    def configure(self, **sections: Any) -> None:
        """Write the configuration anew, with these sections of it replaced."""
        self.settings |= sections
        self.path.write_text(yaml.safe_dump(self.settings))

    @property
    def path(self) -> Path:
        return self.folder / "forge.yaml"

    @property
    def config(self) -> ForgeConfig:
        return load_config(self.path)

    @property
    def lake(self) -> Lake:
        return self.resource.lake

    @property
    def resource(self) -> ForgeResource:
        return ForgeResource(config_path=str(self.path))

    def add(self, key: ShardKey) -> None:
        self.instance.add_dynamic_partitions(SHARDS.name, [str(key)])

    def write(self, key: ShardKey, rows: Rows, counts: Mapping[str, int] | None = None) -> None:
        """Write all tables of a shard."""
        for table, schema in SCHEMAS.items():
            of_photos = {"photos_in": len(rows["raw_images"]) + 1, "rejected": 1} if table == "raw_images" else {}
            frame = pl.DataFrame(rows[table], schema=dict(schema), strict=False)
            self.lake.write(table, key, frame, schema, counts=of_photos | dict(counts or {}))

    def judge(self, table: str, key: ShardKey) -> GateReport:
        return judge(GATES[table], self.lake, key, self.config)

    def judge_and_record(self, table: str, key: ShardKey) -> GateReport:
        report = self.judge(table, key)
        self.lake.write_verdict(table, key, verdict(report, self.lake.manifest(table, key)))
        return report


@pytest.fixture
def key() -> ShardKey:
    return ShardKey("holiday", "s00000")


@pytest.fixture
def make_rows() -> Callable[[ShardKey, int], Rows]:
    return good_rows


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with dg.DagsterInstance.ephemeral() as instance:
        one = Forge(tmp_path, instance)
        one.configure(
            lake="lake",
            sources={name: {"path": "photos"} for name in ("holiday", "zoo")},
            models={"depth": [DEPTH]},
        )
        yield one
