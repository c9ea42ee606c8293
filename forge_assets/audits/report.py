"""One page about the whole set for people: plots and tables, in a single file that needs no network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jinja2
import polars as pl

from forge_assets.audits.runner import audit_question, audit_sql
from forge_assets.pictures import TASK_COLORS
from forge_assets.tables import TASKS

_TEMPLATE: Final = "report.html"
_MOST_ROWS: Final = 60
_MOST_BARS: Final = 20
_NEUTRAL: Final = "#6b7a90"
_GREY: Final = "#b6bfca"
_AMBER: Final = "#e3a008"
_CHAPTERS: Final[Mapping[str, Sequence[str]]] = {
    "Balance": ("task_balance", "yield", "licenses"),
    "What falls out": ("stages", "drop_reasons", "rejected_photos", "images_without_pairs"),
    "Margins and boxes": ("margins", "boxes", "box_positions"),
    "What text gives away": ("answer_bias", "category_pair_skew", "template_use"),
    "Doubles and leaks": ("duplicates", "split_leakage"),
}
"""Audits by chapter; those named in none come last."""
_LAST_CHAPTER: Final = "Partitions and versions"
_GOOD_IF_EMPTY: Final[Mapping[str, str]] = {
    "duplicates": "Nothing is there twice.",
    "split_leakage": "Nothing stands in two splits.",
    "freshness": "All partitions are made of what is there now.",
    "images_without_pairs": "Each photo has a pair.",
}
_MEASURES: Final[Mapping[str, str]] = {
    "score": "score of the pair",
    "object_score": "lowest detector score",
    "mirror_iou": "lowest overlap with the mirrored photo's box",
    "depth_ratio": "lowest ratio of depths",
    "gap": "horizontal gap, share of the width",
    "facing": "facing, 0 to 1",
    "side": "side of the box, share of the photo's",
    "x": "middle, from left to right",
    "y": "middle, from top to bottom",
}


@dataclass(frozen=True)
class Part:
    """One piece of a bar."""

    label: str
    share: float
    """Of the bar's full width, 0-1."""
    color: str
    title: str


@dataclass(frozen=True)
class Bar:
    """A line of a bar chart."""

    label: str
    parts: Sequence[Part]
    figure: str
    mark: float | None = None
    """Where a line crosses the bar, such as a quota; a share of the full width."""


@dataclass(frozen=True)
class Histogram:
    """Columns of one measure of one task."""

    title: str
    color: str
    low: float
    high: float
    columns: Sequence[tuple[float, str]]
    """Height as a share of the highest, and what it says when pointed at; one a bin, empty ones too."""


@dataclass(frozen=True)
class Cell:
    """A cell of a grid over the photo."""

    x: float
    y: float
    strength: float
    """Of its colour, 0-1."""
    title: str


@dataclass
class Section:
    """One audit on the page."""

    name: str
    question: str
    notes: str
    columns: Sequence[str]
    rows: Sequence[Sequence[tuple[str, bool]]]
    """Text of each cell, and whether it is a number."""
    left_out: int
    if_empty: str
    bars: Sequence[Bar] = ()
    legend: Sequence[tuple[str, str]] = ()
    histograms: Sequence[tuple[str, Sequence[Histogram]]] = ()
    grid: Sequence[Cell] = ()


@dataclass(frozen=True)
class _Chapter:
    title: str
    sections: list[Section] = field(default_factory=list)


def render_report(audits: Mapping[str, pl.DataFrame], title: str) -> str:
    """Render rows of audits as one HTML page.

    Args:
        audits: rows by name of the audit.
        title: where the rows are from, such as the lake's place.

    Returns:
        The page; all text is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("forge_assets.audits", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(_TEMPLATE).render(title=title, chapters=_chapters(audits), figures=_figures(audits))


def _chapters(audits: Mapping[str, pl.DataFrame]) -> list[_Chapter]:
    placed = {name for names in _CHAPTERS.values() for name in names}
    order = {**_CHAPTERS, _LAST_CHAPTER: [name for name in audits if name not in placed]}
    chapters = [
        _Chapter(title, [_section(name, audits[name]) for name in names if name in audits])
        for title, names in order.items()
    ]
    return [chapter for chapter in chapters if chapter.sections]


def _figures(audits: Mapping[str, pl.DataFrame]) -> list[tuple[str, str]]:
    """The few numbers at the top of the page."""
    figures: list[tuple[str, str]] = []
    if (balance := audits.get("task_balance")) is not None:
        figures.append(("verified pairs", f"{balance['pairs'].sum():,}"))
        figures.append(("sources", f"{balance.filter(pl.col('pairs') > 0)['source'].n_unique():,}"))
    if (kept := audits.get("yield")) is not None:
        figures.append(("yield", _percent(int(kept["verified"].sum()) / max(int(kept["candidates"].sum()), 1))))
    if (licenses := audits.get("licenses")) is not None:
        figures.append(("photos", f"{licenses['photos'].sum():,}"))
    for name, label in (("split_leakage", "kinds of leaks"), ("freshness", "stale inputs")):
        if (rows := audits.get(name)) is not None:
            figures.append((label, f"{rows.height:,}"))
    return figures


def _section(name: str, rows: pl.DataFrame) -> Section:
    shown = rows.head(_MOST_ROWS)
    is_number = [dtype.is_numeric() for dtype in rows.dtypes]
    section = Section(
        name=name,
        question=audit_question(name),
        notes=_notes(name),
        columns=rows.columns,
        rows=[[(_text(value), number) for value, number in zip(row, is_number, strict=True)] for row in shown.rows()],
        left_out=rows.height - shown.height,
        if_empty=_GOOD_IF_EMPTY.get(name, "No rows."),
    )
    match name:
        case "task_balance":
            section.bars, section.legend = _balance_bars(rows)
        case "yield":
            section.bars, section.legend = _yield_bars(rows)
        case "drop_reasons":
            section.bars = _drop_bars(rows)
        case "answer_bias":
            section.bars = _bias_bars(rows)
        case "licenses":
            section.bars = _license_bars(rows)
        case "margins" | "boxes":
            section.histograms = _histograms(rows)
        case "box_positions":
            section.grid = _cells(rows)
        case _:
            pass
    return section


def _notes(name: str) -> str:
    """The comment of an audit's SQL after its question, as it stands there."""
    lines = audit_sql(name).splitlines()[1:]
    comment = lines[: next(i for i, line in enumerate(lines) if not line.startswith("--"))]
    return "\n".join(line.removeprefix("--").removeprefix(" ") for line in comment).strip()


def _balance_bars(rows: pl.DataFrame) -> tuple[list[Bar], list[tuple[str, str]]]:
    tasks = rows.unique("task", maintain_order=True)
    full = _full(max([*tasks["share"].to_list(), *tasks["quota"].to_list()], default=0))
    splits = rows.group_by("task").agg(pl.sum("pairs", "train", "val"))
    by_task = {task: (pairs, train, val) for task, pairs, train, val in splits.iter_rows()}
    bars: list[Bar] = []
    for task, share, quota in tasks.select("task", "share", "quota").iter_rows():
        pairs, train, val = by_task[task]
        parts = [
            Part(label, share * count / max(pairs, 1) / full, color, f"{label}: {count:,} pairs")
            for label, count, color in (
                ("train", train, _color(task)),
                ("val", val, f"{_color(task)}88"),
                ("no split", pairs - train - val, _GREY),
            )
        ]
        bars.append(Bar(str(task), parts, f"{pairs:,} · {_percent(share)} of {_percent(quota)}", quota / full))
    return bars, [("train", _NEUTRAL), ("val", f"{_NEUTRAL}88")]


def _yield_bars(rows: pl.DataFrame) -> tuple[list[Bar], list[tuple[str, str]]]:
    kinds = (("verified", ""), ("rejected", _GREY), ("withheld", _AMBER))
    totals = rows.group_by("task", maintain_order=True).agg(pl.sum("candidates", "verified", "rejected", "withheld"))
    bars: list[Bar] = []
    for row in totals.to_dicts():
        asked = max(row["candidates"], row["verified"] + row["rejected"], 1)
        parts = [
            Part(kind, max(row[kind], 0) / asked, color or _color(row["task"]), f"{kind}: {row[kind]:,}")
            for kind, color in kinds
        ]
        bars.append(Bar(str(row["task"]), parts, f"{_percent(row['verified'] / asked)} of {row['candidates']:,}"))
    return bars, [("verified", _NEUTRAL), ("rejected", _GREY), ("withheld", _AMBER)]


def _drop_bars(rows: pl.DataFrame) -> list[Bar]:
    dropped = rows.filter(pl.col("rejected") > 0).sort("rejected", "task", "rule", descending=[True, False, False])
    full = max(dropped["rejected"].to_list(), default=1)
    return [
        Bar(
            f"{row['task']} · {row['rule']}",
            [Part(str(row["rule"]), row["rejected"] / full, _color(row["task"]), f"{row['rejected']:,} pairs")],
            f"{row['rejected']:,} · {_percent(row['share_of_candidates'])} of the task's candidates",
        )
        for row in dropped.head(_MOST_BARS).to_dicts()
    ]


def _bias_bars(rows: pl.DataFrame) -> list[Bar]:
    """The values furthest above chance; the mark on a bar is chance."""
    most = rows.filter(pl.col("excess") > 0).sort("excess", "task", "value", descending=[True, False, False])
    return [
        Bar(
            f"{row['task']} · {row['aspect']} · {row['value']}",
            [Part(str(row["value"]), row["share"], _color(row["task"]), f"{row['pairs']:,} pairs")],
            f"{_percent(row['share'])}, by chance {_percent(row['chance'])}",
            row["chance"],
        )
        for row in most.head(_MOST_BARS).to_dicts()
    ]


def _license_bars(rows: pl.DataFrame) -> list[Bar]:
    totals = (
        rows.group_by("license")
        .agg(pl.sum("photos", "pairs", "share"))
        .sort("pairs", "license", descending=[True, False])
    )
    return [
        Bar(
            str(row["license"]),
            [Part(str(row["license"]), row["share"], _NEUTRAL, f"{row['pairs']:,} pairs")],
            f"{_percent(row['share'])} · {row['pairs']:,} pairs of {row['photos']:,} photos",
        )
        for row in totals.to_dicts()
    ]


def _histograms(rows: pl.DataFrame) -> list[tuple[str, list[Histogram]]]:
    """Of each measure, the histograms of all tasks that have it, over the same bins."""
    count = "pairs" if "pairs" in rows.columns else "boxes"
    groups: list[tuple[str, list[Histogram]]] = []
    for measure in [name for name in _MEASURES if name in set(rows["measure"])]:
        of_measure = rows.filter(measure=measure)
        low, width = min(of_measure["low"]), of_measure["high"][0] - of_measure["low"][0]
        bins = round((max(of_measure["high"]) - low) / width)
        histograms: list[Histogram] = []
        for task in _ordered(of_measure["task"].unique()):
            of_task = of_measure.filter(pl.col("task").eq_missing(task))
            heights = {round((row["low"] - low) / width): row for row in of_task.to_dicts()}
            highest = max(of_task[count])
            columns = [
                (heights[i][count] / highest, f"{_text(heights[i]['low'])} to {_text(heights[i]['high'])}: "
                 f"{heights[i][count]:,} ({_percent(heights[i]['share'])})") if i in heights else (0.0, "")
                for i in range(bins)
            ]  # fmt: skip
            histograms.append(Histogram(str(task), _color(task), low, low + bins * width, columns))
        groups.append((_MEASURES[measure], histograms))
    return groups


def _cells(rows: pl.DataFrame) -> list[Cell]:
    most = max(rows["share"].to_list(), default=1.0)
    return [
        Cell(row["x"], row["y"], row["share"] / most, f"{row['boxes']:,} boxes ({_percent(row['share'])})")
        for row in rows.to_dicts()
    ]


def _ordered(tasks: Iterable[Any]) -> list[Any]:
    places = {task: place for place, task in enumerate(TASKS)}
    return sorted(tasks, key=lambda task: (places.get(task, len(places)), str(task)))


def _color(task: Any) -> str:  # noqa: ANN401 -- a task, or None
    return TASK_COLORS.get(task, _NEUTRAL)


def _full(share: float) -> float:
    """The share that a whole bar stands for: some room beyond the largest."""
    return min(1.0, share * 1.1) or 1.0


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004
        case int() if not isinstance(value, bool):
            return f"{value:,}"
        case _:
            return str(value)
