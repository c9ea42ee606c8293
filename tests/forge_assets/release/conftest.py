"""A small lake with real photos and hand-made pairs, one and more of each task."""

import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from forge_assets.release.export import ExportManifest, ExportOptions, write_export
from forge_assets.release.selection import Selection, select_pairs
from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake, Verdict
from forge_resources.shards import ShardKey
from forge_resources.warehouse import Warehouse

ULTRALYTICS_ASSETS = Path(find_spec("ultralytics").submodule_search_locations[0]) / "assets"
"""Found without importing ultralytics, which replaces functions of Pillow and OpenCV for the whole process."""

KEY = ShardKey("demo", "s00000")
BUS, ZIDANE = "demo/bus", "demo/people/zidane"
SIZES = {BUS: (810, 1080), ZIDANE: (1280, 720)}


def photo_file(image_id: str) -> Path:
    return ULTRALYTICS_ASSETS / f"{image_id.rpartition('/')[2]}.jpg"


def photo_row(image_id: str, file: Path | None = None) -> dict[str, Any]:
    data = (file or photo_file(image_id)).read_bytes()
    width, height = SIZES[image_id]
    return {
        "image_id": image_id,
        "source": KEY.source,
        "shard": KEY.shard,
        "image": {"bytes": data, "path": f"{image_id.removeprefix('demo/')}.jpg"},
        "format": "JPEG",
        "mode": "RGB",
        "orientation": 1,
        "width": width,
        "height": height,
        "byte_size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "license": "CC-BY-4.0",
        "split": "train",
        "is_labeled": False,
        "labels": [],
    }


def pair_row(  # noqa: PLR0917
    task: str,
    image_id: str,
    question: str,
    answer: str,
    boxes: list[list[int]],
    answer_kind: str = "choice",
    *,
    answers: tuple[int, ...] | None = None,
    **columns: Any,
) -> dict[str, Any]:
    """A row of `candidate_qa`, with the columns of `verified_qa` and `rejected_qa` where `columns` has them."""
    object_ids = [f"{image_id}#d{index:03d}" for index in range(len(boxes))]
    evidence = columns.pop("evidence", {}) | {"models": ["ultralytics:yolo11n.pt@0a1b"]}
    evidence = {"scores": [0.91] * len(boxes), "mirror_ious": [0.93] * len(boxes)} | evidence
    return {
        "qa_id": hashlib.blake2b(f"{task}{image_id}{question}".encode(), digest_size=16).hexdigest(),
        "image_id": image_id,
        "source": KEY.source,
        "shard": KEY.shard,
        "task": task,
        "level": "perception" if task in ("grounding", "referring", "counting") else "relation",
        "question": question,
        "answer": answer,
        "short_answer": answer,
        "answer_kind": answer_kind,
        "choices": None,
        "category": "person",
        "object_ids": object_ids,
        "answer_object_ids": object_ids if answers is None else [object_ids[index] for index in answers],
        "boxes": boxes,
        "evidence": evidence,
        "template_id": f"{task}/one@1",
        "image_width": SIZES[image_id][0],
        "image_height": SIZES[image_id][1],
        "split": "train" if image_id == BUS else "val",
        "license": "CC-BY-4.0",
        **columns,
    }


BUS_PEOPLE = [[59, 369, 302, 835], [273, 375, 425, 794], [827, 363, 1000, 812]]
BUS_BOX = [27, 214, 994, 700]
ZIDANE_PEOPLE = [[96, 274, 867, 988], [584, 57, 892, 988]]
TIE = [341, 607, 409, 985]


def grounding_answer(*items: tuple[str, list[int]]) -> str:
    return json.dumps([{"bbox_2d": box, "label": label} for label, box in items])


READINGS = [
    {"reading": "ground_contact", "ratio": 1.42, "mirror_ratio": 1.40, "separation": None},
    {"reading": "depth", "ratio": 1.61, "mirror_ratio": 1.57, "separation": 1.22},
]

PAIRS = [
    pair_row(
        "grounding",
        BUS,
        "Locate every person in the image. Report bbox coordinates in JSON format.",
        grounding_answer(*(("person", box) for box in BUS_PEOPLE)),
        BUS_PEOPLE,
        "bbox",
        evidence={"count_strict": 3, "count_loose": 3, "count_mirror": 3},
        score=0.31,
    ),
    pair_row(
        "grounding",
        ZIDANE,
        "Find the people and the tie and return their bounding boxes as a JSON list.",
        grounding_answer(("person", ZIDANE_PEOPLE[0]), ("tie", TIE), ("person", ZIDANE_PEOPLE[1])),
        [ZIDANE_PEOPLE[0], TIE, ZIDANE_PEOPLE[1]],
        "bbox",
        score=0.22,
    ),
    pair_row(
        "referring",
        BUS,
        "Give a short description that fits only the object at [27, 214, 994, 700].",
        "The bus.",
        [BUS_BOX],
        "text",
        score=0.44,
    ),
    pair_row(
        "counting",
        BUS,
        "How many people are there in the image?",
        "3",
        BUS_PEOPLE,
        "integer",
        score=0.18,
    ),
    pair_row(
        "near_far",
        BUS,
        "Which is nearer to the camera, the person at [59, 369, 302, 835] or the person at [273, 375, 425, 794]?",
        "the person at [59, 369, 302, 835]",
        BUS_PEOPLE[:2],
        answers=(0,),
        choices=["the person at [59, 369, 302, 835]", "the person at [273, 375, 425, 794]"],
        evidence={"readings": READINGS},
        score=0.12,
    ),
    pair_row(
        "left_right",
        ZIDANE,
        "From the viewer's perspective, is the tie to the left or to the right of the man in the back?",
        "left",
        [TIE, ZIDANE_PEOPLE[1]],
        answers=(),
        choices=["left", "right"],
        evidence={"gap": 0.17, "mirror_gap": 0.16, "center_gap": 0.36},
        score=0.9,
    ),
]

REJECTED = [
    pair_row(
        "near_far",
        ZIDANE,
        "Which is farther from the camera, the tie or the man in the back?",
        "the man in the back",
        [TIE, ZIDANE_PEOPLE[1]],
        answers=(1,),
        rule="depth_readings",
        value=0.93,
        threshold=1.0,
    ),
    pair_row(
        "perspective",
        BUS,
        "From the point of view of the person, is the bus on their left or on their right?",
        "left",
        [BUS_PEOPLE[0], BUS_BOX],
        answers=(),
        evidence={"facing": -0.2, "mirror_facing": -0.1, "facing_score": 0.71},
        rule="facing",
        value=0.1,
        threshold=0.4,
    ),
]


def write(lake: Lake, name: str, rows: list[dict[str, Any]], key: ShardKey = KEY, passed: bool = True) -> None:
    """Write one partition with its verdict."""
    full = [dict.fromkeys(SCHEMAS[name]) | {k: v for k, v in row.items() if k in SCHEMAS[name]} for row in rows]
    manifest = lake.write(name, key, pl.DataFrame(full, schema=dict(SCHEMAS[name]), strict=False), SCHEMAS[name])
    verdict = Verdict(
        gate=f"{name}_gate",
        content_hash=manifest.content_hash,
        suite_hash="0",
        outcome="passed" if passed else "failed",
        rows=manifest.rows,
        failures={} if passed else {"answer_in_choices": 1},
    )
    lake.write_verdict(name, key, verdict)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    write(lake, "raw_images", [photo_row(BUS), photo_row(ZIDANE)])
    write(lake, "candidate_qa", [*PAIRS, *REJECTED])
    write(lake, "verified_qa", PAIRS)
    write(lake, "rejected_qa", REJECTED)
    return lake


@pytest.fixture
def warehouse(lake: Lake) -> Iterator[Warehouse]:
    with Warehouse(lake, SCHEMAS) as warehouse:
        yield warehouse


@pytest.fixture
def export(lake: Lake) -> Callable[..., ExportManifest]:
    """Select pairs of the lake as it is now, and write them."""

    def run(
        format_name: str, target: Path, selection: Selection | None = None, *, progress: Any = None, **options: Any
    ) -> ExportManifest:
        with Warehouse(lake, SCHEMAS) as warehouse:
            selected = select_pairs(warehouse, lake, selection or Selection())
            return write_export(warehouse, lake, selected, format_name, target, ExportOptions(**options), progress)

    return run


@pytest.fixture
def pairs() -> list[dict[str, Any]]:
    """Rows of `verified_qa` in the order of an export."""

    def order(row: dict[str, Any]) -> tuple[str, str, int]:
        draw = hashlib.md5(f"turn {row['qa_id']}".encode()).digest()
        return row["shard"], row["image_id"], int.from_bytes(draw, "little")

    return sorted(PAIRS, key=order)


@pytest.fixture
def builders() -> ModuleType:
    """This module: its builders and rows."""
    return sys.modules[__name__]


# --- many pairs, made up by rule, for balance and for the text-only baseline

CATEGORIES = ("bus", "person", "tie", "dog", "cup", "chair")


def closed_pair(index: int, draw: random.Random, **bias: Any) -> dict[str, Any]:
    """One made-up pair of near_far, or of yes and no where `yes` says how often the answer is yes.

    `bus_farther`, `first`, `template` and `lower` are the probabilities that a bus is the farther object, the first
    option is right, the first template is used, and the lower box is the nearer one; by default, chance.
    """
    photo = {"qa_id": f"{index:024d}", "image_sha256": f"{index // 4:064d}"}
    a, b = draw.sample(bias.get("categories", CATEGORIES), 2)
    if "yes" in bias:
        answer = "yes" if draw.random() < bias["yes"] else "no"
        text = {"question": f"Is there {index} times more of the {a} than of the {b}?", "short_answer": answer}
        fixed = {"task": "counting", "answer_kind": "yes_no", "choices": None, "form": "more"}
        fixed |= {"template_id": "counting.more.v1/word"}
        return photo | text | fixed | {"categories": [a, b]}
    ids = [f"near_far.{name}.v1" for name in ("nearer", "closer", "between_nearer", "smaller_depth", "nearest_two")]
    template = ids[0] if draw.random() < bias.get("template", 1 / len(ids)) else draw.choice(ids[1:])
    tops = [draw.randrange(900) for _ in range(2)]
    first_is_nearer = draw.random() < bias.get("first", 0.5)
    if "bus" in (a, b) and "bus_farther" in bias:
        first_is_nearer = (b == "bus") == (draw.random() < bias["bus_farther"])
    boxed = "lower" in bias
    if boxed:
        first_is_nearer = (tops[0] > tops[1]) == (draw.random() < bias["lower"])
    options = [
        f"the {name} at [{left}, {top}, {left + 60}, {top + 60}]" if boxed else f"the {name}"
        for name, top, left in ((a, tops[0], draw.randrange(900)), (b, tops[1], draw.randrange(900)))
    ]
    return photo | {
        "task": "near_far",
        "answer_kind": "choice",
        "question": f"Which is nearer to the camera in photo {index}, {options[0]} or {options[1]}?",
        "short_answer": options[0] if first_is_nearer else options[1],
        "choices": options,
        "categories": [a, b],
        "template_id": template,
        "form": "nearer",
    }


@pytest.fixture(scope="session")
def make_pairs() -> Callable[..., pl.DataFrame]:
    """Build made-up pairs, as many as are asked for, with the biases that `closed_pair` describes."""

    def build(count: int, seed: int = 0, **bias: Any) -> pl.DataFrame:
        draw = random.Random(seed)
        rows = [closed_pair(index, draw, **bias) for index in range(count)]
        return pl.DataFrame(rows, schema_overrides={"choices": pl.List(pl.String)})

    return build
