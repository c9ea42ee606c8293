"""Write the page of a gallery, with its pictures beside it."""

import base64
import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
import polars as pl
from markupsafe import Markup

from forge_assets.audits.runner import run_audit
from forge_assets.pictures import TASK_COLORS
from forge_assets.release.gallery.cards import card, read_keypoints
from forge_assets.release.gallery.errors import GalleryError
from forge_assets.release.gallery.images import PhotoFile, legend, write_images
from forge_assets.release.gallery.rule_results import judge, rule_words
from forge_assets.release.gallery.sample import TABLES, Kind, Sample, choose, read_pairs
from forge_assets.tables import TASKS
from forge_resources.config import VerificationConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.warehouse import Warehouse

PAGE: Final = "index.html"
IMAGES: Final = "images"

_FOLDER: Final = Path(__file__).parent
_TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "grounding": ("Grounding", "words to boxes"),
    "referring": ("Referring", "a box to words"),
    "counting": ("Counting", "how many of a class"),
    "near_far": ("Near, far", "which is nearer to the camera"),
    "left_right": ("Left, right", "which side, for the viewer"),
    "perspective": ("Perspective", "which side, for a person in the photo"),
}
_UNSAFE_IN_SCRIPT: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


@dataclass(frozen=True)
class _Balance:
    task: str
    pairs: int
    share: float
    quota: float
    kept: float | None


def write_gallery(
    warehouse: Warehouse,
    lake: Lake,
    target: Path,
    quotas: Mapping[str, float],
    *,
    wanted: Sample | None = None,
    thresholds: VerificationConfig | None = None,
) -> Path:
    """Write a page that shows some verified and some rejected pairs with all that they rest on.

    The same pairs are taken each time. The folder holds `index.html` and `images/`; the page needs no network
    and no server. Pictures of an earlier gallery in the folder are removed.

    Args:
        warehouse: an open look at the lake.
        lake: where rows and photos are; only the partitions of the pairs shown are read.
        target: the folder, made if it is not there.
        quotas: wanted share by task, for the table of task balance.
        wanted: which pairs; by default ten of each task and five rejected ones of each rule.
        thresholds: that pairs were verified with, to show their margins; by default those of a new project.

    Returns:
        The path of the page.

    Raises:
        GalleryError: no pairs, none that fit `wanted`, or a pair whose photo is not in `raw_images`.
        PartitionMissing: a partition was taken away meanwhile.
    """
    wanted, thresholds = wanted or Sample(), thresholds or VerificationConfig()
    chosen: dict[Kind, pl.DataFrame] = {kind: choose(warehouse, kind, wanted) for kind in TABLES}
    totals = _totals(warehouse)
    if not any(rows.height for rows in chosen.values()):
        raise GalleryError(
            f"no pair of the lake {lake.root} fits what was asked for: {totals['verified']} are verified and "
            f"{totals['rejected']} rejected"
            if totals["verified"] or totals["rejected"]
            else f"the lake {lake.root} holds no pairs yet: materialize verified_qa first"
        )
    rows: dict[Kind, pl.DataFrame] = {kind: read_pairs(lake, kind, pairs) for kind, pairs in chosen.items()}
    shown = pl.concat(chosen.values()).unique("image_id").sort("image_id").select("image_id", "source", "shard")
    target.mkdir(parents=True, exist_ok=True)
    staged = target / f".{IMAGES}.{uuid.uuid4().hex}"
    staged.mkdir()
    try:
        files = write_images(lake, staged, shown)
        page = _render(
            cards=_cards(lake, rows, thresholds),
            files=files,
            balance=_balance(warehouse, quotas),
            totals=totals,
        )
        shutil.rmtree(target / IMAGES, ignore_errors=True)
        staged.rename(target / IMAGES)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    written = target / f".{PAGE}.{uuid.uuid4().hex}"
    written.write_text(page, encoding="utf-8")
    return written.replace(target / PAGE)


def _cards(lake: Lake, rows: Mapping[Kind, pl.DataFrame], thresholds: VerificationConfig) -> list[dict[str, Any]]:
    cards: list[dict[str, Any]] = []
    for kind, pairs in rows.items():
        if pairs.is_empty():
            continue
        judged, keypoints = judge(pairs, thresholds), read_keypoints(lake, pairs)
        otherwise = _verified_otherwise(lake, TABLES[kind], pairs, thresholds)
        for row in pairs.iter_rows(named=True):
            is_other = ShardKey(row["source"], row["shard"]) in otherwise
            cards.append(card(row, kind, judged[row["qa_id"]], keypoints) | {"other_thresholds": is_other})
    return cards


def _verified_otherwise(lake: Lake, table: str, rows: pl.DataFrame, thresholds: VerificationConfig) -> set[ShardKey]:
    """The partitions of pairs that were verified with other thresholds than these."""
    keys = [ShardKey(source, shard) for source, shard in rows.select("source", "shard").unique().iter_rows()]
    return {
        key for key in keys if lake.manifest(table, key).versions.get("verification") not in (None, thresholds.digest)
    }


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


def _render(
    cards: Sequence[Mapping[str, Any]],
    files: Mapping[str, PhotoFile],
    balance: Sequence[_Balance],
    totals: Mapping[str, int],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["figure"] = lambda value: f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    titles = {**{row.task: (row.task, "") for row in balance}, **_TITLES}
    data = {
        "pairs": cards,
        "images": {image_id: asdict(file) for image_id, file in sorted(files.items())},
        "folder": IMAGES,
        "tasks": [task for task in TASKS if any(card["task"] == task for card in cards)],
        "titles": {task: title for task, (title, _) in _TITLES.items()},
        "rules": {card["rule"]: rule_words(card["rule"]) for card in cards if card["rule"]},
    }
    return environment.get_template("page.html").render(
        balance=balance,
        widest=max([0.01, *(max(row.share, row.quota) for row in balance)]),
        totals=totals,
        titles=titles,
        task_colors=TASK_COLORS,
        depth_colors=legend(),
        style=_trusted((_FOLDER / "page.css").read_text(encoding="utf-8")),
        script=_trusted(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=_trusted(script_json(data)),
    )


def _trusted(text: str) -> Markup:
    """A text of this package, or one that is escaped already."""
    return Markup(text)  # noqa: S704


def script_json(data: object) -> str:
    """JSON that may stand in a script element of a page: nothing in it can end the element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_UNSAFE_IN_SCRIPT)
