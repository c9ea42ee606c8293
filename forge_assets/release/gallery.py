"""A page of pairs for people: static, in one folder, opened from disk."""

import json
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from forge_assets.audits.runner import run_audit
from forge_assets.pictures import BOX_COLORS, TASK_COLORS, encode_jpeg, object_colors, object_labels, text_on
from forge_assets.release.evidence import evidence_lines
from forge_assets.release.photos import read_photos
from forge_assets.tables import TASKS
from forge_resources.errors import ForgeError
from forge_resources.images import decode_upright
from forge_resources.lake import Lake
from forge_resources.warehouse import Warehouse

PAGE = "index.html"
PHOTOS = "photos"

_TEMPLATE = "gallery.html"
_LONGEST_SIDE = 1100
_NAME_DIGITS = 16
_TITLES: Mapping[str, tuple[str, str]] = {
    "grounding": ("Grounding", "words to boxes"),
    "referring": ("Referring", "a box to words"),
    "counting": ("Counting", "how many of a class"),
    "near_far": ("Near, far", "which is nearer to the camera"),
    "left_right": ("Left, right", "which side, for the viewer"),
    "perspective": ("Perspective", "which side, for a person in the photo"),
}


class GalleryError(ForgeError, ValueError):
    """A gallery cannot be made of what the lake holds."""


@dataclass(frozen=True)
class _Span:
    """A piece of a text; one that names a box has the box's place in the pair."""

    text: str
    box: int | None = None


@dataclass(frozen=True)
class _Box:
    label: str
    color: str
    ink: str
    corners: tuple[int, int, int, int]  # 0-1000
    is_answer: bool  # and others of the pair are not
    title: str

    @property
    def width(self) -> int:
        return self.corners[2] - self.corners[0]

    @property
    def height(self) -> int:
        return self.corners[3] - self.corners[1]


@dataclass(frozen=True)
class _Card:
    row: Mapping[str, Any]
    kind: str  # verified or rejected
    photo: str
    question: Sequence[_Span]
    answer: Sequence[Sequence[_Span]]  # lines
    boxes: Sequence[_Box]
    evidence: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class _Balance:
    task: str
    pairs: int
    share: float
    quota: float
    asked: int
    kept: float | None


def write_gallery(
    warehouse: Warehouse,
    lake: Lake,
    target: Path,
    quotas: Mapping[str, float],
    *,
    per_task: int = 10,
    per_rule: int = 5,
) -> Path:
    """Write a page that shows some verified and some rejected pairs with all that they rest on.

    The same pairs are taken each time: by `qa_id`, which is a hash, a fair share of each task and rule,
    and of different photos while there are any. The folder holds `index.html` and `photos/`; the page
    needs no network and no server. Photos of an earlier gallery in the folder are removed.

    Args:
        warehouse: an open look at the lake.
        lake: where the photos are.
        target: the folder, made if it is not there.
        quotas: wanted share by task, for the table of task balance.
        per_task: verified pairs shown of each task, at most.
        per_rule: rejected pairs shown of each rule, at most.

    Returns:
        The path of the page.

    Raises:
        GalleryError: no pairs yet, or a pair whose photo is not in `raw_images`.
    """
    verified = _chosen(warehouse, "verified_qa", "task", per_task)
    rejected = _chosen(warehouse, "rejected_qa", "rule", per_rule)
    if verified.is_empty() and rejected.is_empty():
        raise GalleryError(f"the lake {lake.root} holds no pairs yet: materialize verified_qa first")
    image_ids = pl.concat([verified["image_id"], rejected["image_id"]]).unique().sort().to_list()
    target.mkdir(parents=True, exist_ok=True)
    names = _write_photos(warehouse, lake, target, image_ids)
    cards = [
        _card(row, kind, names[row["image_id"]])
        for kind, rows in (("verified", verified), ("rejected", rejected))
        for row in rows.iter_rows(named=True)
    ]
    page = _render(cards, _balance(warehouse, quotas), _totals(warehouse))
    staged = target / f".{PAGE}.{uuid.uuid4().hex}"
    staged.write_text(page, encoding="utf-8")
    return staged.replace(target / PAGE)


def _chosen(warehouse: Warehouse, table: str, group: str, limit: int) -> pl.DataFrame:
    return warehouse.query(
        f"""
        WITH spread AS (
            SELECT image_id, qa_id, {group},
                   row_number() OVER (PARTITION BY {group}, image_id ORDER BY qa_id) AS nth_of_photo
            FROM {table}
        ),
        placed AS (
            SELECT image_id, qa_id,
                   row_number() OVER (PARTITION BY {group} ORDER BY nth_of_photo, qa_id, image_id) AS place
            FROM spread
        )
        SELECT * FROM {table} JOIN placed USING (image_id, qa_id)
        WHERE place <= $limit
        ORDER BY place, list_position($tasks, task), {group}, qa_id, image_id
        """,  # noqa: S608 -- names of our own
        {"limit": limit, "tasks": list(TASKS)},
    )


def _write_photos(warehouse: Warehouse, lake: Lake, target: Path, image_ids: Sequence[str]) -> dict[str, str]:
    staged = target / f".{PHOTOS}.{uuid.uuid4().hex}"
    staged.mkdir()
    try:
        names: dict[str, str] = {}
        for photo in read_photos(warehouse, lake, image_ids):
            name = f"{photo.sha256[:_NAME_DIGITS]}.jpg"
            (staged / name).write_bytes(encode_jpeg(decode_upright(photo.data, photo.orientation), _LONGEST_SIDE))
            names[photo.image_id] = f"{PHOTOS}/{name}"
        missing = sorted(set(image_ids) - set(names))
        if missing:
            raise GalleryError(f"{len(missing)} photos are not in raw_images, for one {missing[0]}")
        shutil.rmtree(target / PHOTOS, ignore_errors=True)
        staged.rename(target / PHOTOS)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return names


def _card(row: Mapping[str, Any], kind: str, photo: str) -> _Card:
    task, corners = row["task"], [tuple(box) for box in row["boxes"]]
    labels, colors = object_labels(task, len(corners)), object_colors(task, len(corners))
    answers = set(row["answer_object_ids"])
    singled_out = answers if answers != set(row["object_ids"]) else set[str]()
    boxes = [
        _Box(
            label=label,
            color=color,
            ink=text_on(color),
            corners=box,
            is_answer=object_id in singled_out,
            title=f"{label}: {object_id} at {list(box)}",
        )
        for label, color, box, object_id in zip(labels, colors, corners, row["object_ids"], strict=True)
    ]
    places = {str(list(box)): i for i, box in reversed(list(enumerate(corners)))}
    return _Card(
        row=row,
        kind=kind,
        photo=photo,
        question=_spans(row["question"], places),
        answer=_answer_lines(row["answer"], row["answer_kind"], places),
        boxes=boxes,
        evidence=evidence_lines(row["evidence"], labels),
    )


def _spans(text: str, places: Mapping[str, int]) -> list[_Span]:
    if not places:
        return [_Span(text)]
    pieces = re.split(f"({'|'.join(map(re.escape, places))})", text)
    return [_Span(piece, places.get(piece)) for piece in pieces if piece]


def _answer_lines(answer: str, kind: str, places: Mapping[str, int]) -> list[list[_Span]]:
    if kind != "bbox":
        return [_spans(answer, places)]
    return [[_Span(f"{item['label']} "), *_spans(str(item["bbox_2d"]), places)] for item in json.loads(answer)]


def _balance(warehouse: Warehouse, quotas: Mapping[str, float]) -> list[_Balance]:
    asked = run_audit(warehouse, "yield", quotas).group_by("task").agg(pl.sum("candidates", "verified")).sort("task")
    tasks = (
        run_audit(warehouse, "task_balance", quotas)
        .unique("task", keep="first", maintain_order=True)
        .join(asked, on="task", how="left", maintain_order="left")
    )
    return [
        _Balance(
            task=row["task"],
            pairs=row["task_pairs"],
            share=row["share"],
            quota=row["quota"],
            asked=row["candidates"] or 0,
            kept=row["verified"] / row["candidates"] if row["candidates"] else None,
        )
        for row in tasks.iter_rows(named=True)
    ]


def _totals(warehouse: Warehouse) -> dict[str, int]:
    return warehouse.query(
        """
        SELECT
            (SELECT count(*) FROM verified_qa) AS verified,
            (SELECT count(*) FROM rejected_qa) AS rejected,
            (SELECT count(DISTINCT image_id) FROM verified_qa) AS photos,
            (SELECT count(DISTINCT source) FROM verified_qa) AS sources
        """
    ).row(0, named=True)


def _render(cards: Sequence[_Card], balance: Sequence[_Balance], totals: Mapping[str, int]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["figure"] = lambda value: f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    shown = [task for task in TASKS if any(card.row["task"] == task for card in cards)]
    return environment.get_template(_TEMPLATE).render(
        cards=cards,
        balance=balance,
        widest=max([0.01, *(max(row.share, row.quota) for row in balance)]),
        totals=totals,
        titles={**{row.task: (row.task, "") for row in balance}, **_TITLES},
        task_colors=TASK_COLORS,
        box_colors=BOX_COLORS,
        tasks=shown,
        sources=sorted({card.row["source"] for card in cards}),
        counts={kind: sum(card.kind == kind for card in cards) for kind in ("verified", "rejected")},
    )
