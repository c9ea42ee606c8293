"""The dataset card of a release: Markdown with the Hub's YAML header, written from the release's own data.

Header: https://huggingface.co/docs/hub/datasets-cards.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from forge_assets.markdown import escaped, markdown_table
from forge_assets.release.release_folder import DATA, ReleaseError, ReleaseManifest
from forge_assets.tables import SPLITS, TASKS
from forge_resources.lake import Lake
from forge_resources.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb
    from jinja2 import Template

_TEMPLATE: Final = Path(__file__).with_name("card.md.jinja")
_SIZES: Final = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
    100_000_000: "10M<n<100M",
}
_LARGEST: Final = "100M<n<1B"
_HUB_LICENSES: Final = frozenset(
    {"apache-2.0", "mit", "cc0-1.0", "odbl", "pddl", "gpl-3.0"}
    | {f"cc-{kind}-4.0" for kind in ("by", "by-sa", "by-nc", "by-nd", "by-nc-nd", "by-nc-sa")}
    | {"cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-sa-3.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-sa-2.0"}
    | {"cc-by-nc-sa-3.0", "cc-by-nc-nd-3.0"}
)
_CREATIVE_COMMONS: Final = re.compile(r"https?://creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)/?.*")
_OTHER: Final = "other"
_NOTABLE_LIFT: Final = 5.0
_LOW_PRECISION: Final = 0.95
_CALIBRATION_COLUMNS: Final = ("task", "verified_judged", "precision", "low", "high", "yield")
_GUESSABILITY_COLUMNS: Final = ("task", "kind", "pairs", "accuracy", "chance", "lift", "lift_low", "lift_high")
_PERCENT: Final = 100


@dataclass(frozen=True, eq=False)
class CardTables:
    """What is known of a release's pairs besides the release itself; None where it was not measured."""

    calibration: pl.DataFrame | None = None
    """task, verified_judged, precision, low, high, yield, as `forge calibrate` measured them."""
    judgements: pl.DataFrame | None = None
    """model, task, asked, readable, agree, agreement (0-1 of the readable), of the selected pairs."""
    guessability: pl.DataFrame | None = None
    """The lake's table, some of its columns."""

    @classmethod
    def read(cls, lake: Lake, warehouse: Warehouse, calibration: pl.DataFrame | None) -> "CardTables":
        """Read what the lake has, given that `warehouse` has the table `selected_pairs`."""
        judged = warehouse.query(
            "SELECT model, task, count(*) AS asked, count(agrees) AS readable, "
            "count(*) FILTER (agrees) AS agree, agree / nullif(readable, 0) AS agreement "
            "FROM judgements WHERE qa_id IN (SELECT qa_id FROM selected_pairs) GROUP BY ALL ORDER BY model, task"
        )
        guessed = lake.scan_table("guessability").collect() if lake.has_table("guessability") else None
        return cls(
            calibration=calibration,
            judgements=judged if judged.height else None,
            guessability=guessed.select(_GUESSABILITY_COLUMNS) if guessed is not None and guessed.height else None,
        )


def read_calibration(folder: Path | None) -> pl.DataFrame | None:
    """The figures by task that `forge calibrate --output` wrote; None where no folder is named.

    Raises:
        ReleaseError: if the folder holds no such table.
    """
    if folder is None:
        return None
    try:
        return pl.read_csv(folder / "tasks.csv").select(_CALIBRATION_COLUMNS)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ReleaseError(
            f"{folder} holds no calibration ({error}): name a folder that `forge calibrate --output` wrote"
        ) from error


def dataset_card(manifest: ReleaseManifest, pairs: "duckdb.DuckDBPyConnection", tables: CardTables) -> str:
    """The text of `README.md`.

    Args:
        manifest: of the release; its text files may still be missing.
        pairs: has the views `pairs` and `images` of the release.
        tables: what else is known.
    """
    tasks = _tasks(manifest)
    return _template().render(
        header=card_header(manifest).rstrip(),
        name=manifest.name,
        pairs=manifest.pairs,
        photos=manifest.photos,
        content_hash=manifest.content_hash,
        tasks=tasks,
        counts=markdown_table([count.model_dump() for count in manifest.counts]),
        examples=_examples(pairs, tasks),
        licenses=_license_table(manifest),
        versions=manifest.versions,
        models=manifest.models,
        templates=f"{len(manifest.templates)} templates; the most used ones:\n\n{_most_used(manifest.templates)}",
        thresholds=_pairs_table("threshold", "value", manifest.thresholds or {}) if manifest.thresholds else "",
        calibration=_frame_table(tables.calibration),
        judgements=_frame_table(tables.judgements),
        guessability=_frame_table(tables.guessability),
        limits=known_limits(manifest, tables),
    )


def card_header(manifest: ReleaseManifest) -> str:
    """The YAML header, without the lines that fence it."""
    from huggingface_hub import DatasetCardData

    licenses = sorted({hub_license(name) for name in manifest.licenses})
    header: dict[str, Any] = {
        "pretty_name": manifest.name,
        "language": ["en"],
        "license": licenses[0] if len(licenses) == 1 else licenses,
        "task_categories": ["visual-question-answering", "image-text-to-text", "object-detection"],
        "size_categories": [size_category(manifest.pairs)],
        "tags": ["spatial-reasoning", "vqa", "visual-grounding", "croissant"],
        "annotations_creators": ["machine-generated"],
        "configs": [_config_of(manifest, task) for task in _tasks(manifest)],
    }
    if _OTHER in licenses:
        header["license_details"] = ", ".join(name for name in sorted(manifest.licenses) if hub_license(name) == _OTHER)
    return DatasetCardData(ignore_metadata_errors=False, **header).to_yaml()


def hub_license(name: str) -> str:
    """The Hub's identifier of a licence that a source states by name or Creative Commons address, else `other`."""
    address = _CREATIVE_COMMONS.fullmatch(name)
    identifier = f"cc-{address[1]}-{address[2]}" if address else name.strip().lower().replace(" ", "-")
    return identifier if identifier in _HUB_LICENSES else _OTHER


def size_category(pairs: int) -> str:
    """The Hub's class of size."""
    return next((name for limit, name in _SIZES.items() if pairs < limit), _LARGEST)


def known_limits(manifest: ReleaseManifest, tables: CardTables) -> list[str]:
    """What a user must know, each a line of Markdown, from the figures of this release."""
    limits = [
        "Most evidence comes from networks: what all of them see alike and wrongly is not caught.",
        "Boxes are rounded to thousandths of the photo's side.",
    ]
    absent = [task for task in TASKS if task not in _tasks(manifest)]
    if absent:
        limits.append(f"There is no pair of {', '.join(map(escaped, absent))}.")
    splits = {count.split for count in manifest.counts}
    limits += [f"There is no pair of the split {split}." for split in SPLITS if split not in splits]
    unknown = sum(photos for name, photos in manifest.licenses.items() if hub_license(name) == _OTHER)
    if unknown:
        limits.append(
            f"{unknown} of {manifest.photos} photos have a licence that is unknown or none of the common ones: "
            "ask their source."
        )
    if manifest.left_out:
        limits.append(
            f"{len(manifest.left_out)} partitions are left out, see `manifest.json`; the first: "
            f"{escaped(manifest.left_out[0].partition)} ({escaped(manifest.left_out[0].reason)})."
        )
    if manifest.balance_plan is None:
        limits.append("No balance plan was applied: answers may be guessed from the text better than by chance.")
    limits += _weak_tasks(tables.calibration) + _guessable(tables.guessability)
    return limits


def _weak_tasks(calibration: pl.DataFrame | None) -> list[str]:
    if calibration is None:
        return ["How often an answer is wrong was not measured for this release."]
    weak = calibration.filter(pl.col("precision") < _LOW_PRECISION)
    return [
        f"{escaped(str(task))}: {precision:.1%} of the calibrated pairs were right."
        for task, precision in weak.select("task", "precision").iter_rows()
    ]


def _guessable(guessability: pl.DataFrame | None) -> list[str]:
    if guessability is None:
        return []
    lifted = guessability.filter(pl.col("lift") > _NOTABLE_LIFT)
    return [
        f"{escaped(str(task))}, {escaped(str(kind))}: the text alone gave away {lift:.1f} points above chance "
        "before balance."
        for task, kind, lift in lifted.select("task", "kind", "lift").iter_rows()
    ]


def _frame_table(frame: pl.DataFrame | None) -> str:
    return "" if frame is None else markdown_table(frame.to_dicts())


def _pairs_table(left: str, right: str, values: Mapping[str, object]) -> str:
    return markdown_table([{left: name, right: value} for name, value in values.items()])


def _most_used(templates: Mapping[str, int], limit: int = 20) -> str:
    ranked = sorted(templates.items(), key=lambda item: (-item[1], item[0]))
    return _pairs_table("template", "pairs", dict(ranked[:limit]))


def _license_table(manifest: ReleaseManifest) -> str:
    rows = [
        {"licence": name, "photos": photos, "share in %": _PERCENT * photos / manifest.photos}
        for name, photos in manifest.licenses.items()
    ]
    return markdown_table(rows)


def _examples(pairs: "duckdb.DuckDBPyConnection", tasks: Sequence[str]) -> str:
    first = pairs.sql(
        "SELECT task, question, answer, image_id FROM pairs "
        "QUALIFY row_number() OVER (PARTITION BY task ORDER BY qa_id) = 1"
    ).pl()
    return markdown_table([row for task in tasks for row in first.filter(task=task).to_dicts()])


def _tasks(manifest: ReleaseManifest) -> list[str]:
    found = {count.task for count in manifest.counts}
    return [task for task in TASKS if task in found]


def _config_of(manifest: ReleaseManifest, task: str) -> dict[str, Any]:
    paths = [file.path for file in manifest.data_files]
    splits = [split for split in SPLITS if any(path.startswith(f"{DATA}/{task}/{split}-") for path in paths)]
    return {
        "config_name": task,
        "data_files": [{"split": split, "path": f"{DATA}/{task}/{split}-*.parquet"} for split in splits],
    }


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    environment.filters["text"] = escaped
    environment.filters["number"] = "{:,}".format
    return environment.from_string(_TEMPLATE.read_text())
