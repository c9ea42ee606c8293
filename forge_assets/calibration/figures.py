"""Pictures of precision against yield as each threshold moves."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from forge_assets.calibration.peers import OURS, UNVERIFIED
from forge_assets.calibration.summary import GOALS, MIN_PAIRS, MIN_YIELD

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS: Final = 3
PANEL_INCHES: Final = (4.4, 3.4)
LABELED_POINTS: Final = 6
"""Values written beside a curve, at most."""
_CURVE, _CURRENT, _PEER, _INK = "#0072B2", "#D55E00", "#777777", "#222222"
"""Of the palette of Okabe and Ito, which the colour-blind can tell apart; peers are told by their shapes."""
_SHAPES: Final = ("s", "^", "v", "P", "X", "d")


def write_figures(curves: pl.DataFrame, peers: pl.DataFrame, right: dict[str, int], folder: Path) -> list[Path]:
    """One PNG a task: a panel for each threshold that changes anything.

    Args:
        curves: as `thresholds.table_of_curves` gives them.
        peers: as `peers.compare` gives them.
        right: candidates that are right, by task, to place the peers by their yield.
        folder: where `calibration-<task>.png` are written.
    """
    return [
        _write(task, curves.filter(pl.col("task") == task), peers.filter(pl.col("task") == task), right[task], folder)
        for task in curves["task"].unique(maintain_order=True)
    ]


def _write(task: str, curves: pl.DataFrame, peers: pl.DataFrame, right: int, folder: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    every = [group for _, group in curves.group_by("field", maintain_order=True)]
    fields = [field for field in every if field.n_unique(["verified", "right"]) > 1] or every[:1]
    left_out = len(every) - len(fields)
    rows = math.ceil(len(fields) / COLUMNS)
    figure = Figure(figsize=(COLUMNS * PANEL_INCHES[0], rows * PANEL_INCHES[1] + 0.9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[Axes] = list(figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel())
    for panel, field in zip(panels, fields, strict=False):
        _draw_curve(panel, field)
        _draw_goal(panel, GOALS[task])
        _draw_peers(panel, peers, right)
    panels[0].set_ylim(_lowest(curves, peers), 1.03)
    for panel in panels[len(fields) :]:
        panel.set_visible(False)
    for index, panel in enumerate(panels[: len(fields)]):
        panel.set_ylabel("precision" if index % COLUMNS == 0 else "")
        if index + COLUMNS >= len(fields):
            panel.set_xlabel("yield: share of the right candidates kept")
            panel.tick_params(labelbottom=True)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    unmoved = f" ({left_out} more change nothing on these photos)" if left_out else ""
    figure.suptitle(f"{task}: each threshold moved alone, the others as configured{unmoved}", color=_INK)
    path = folder / f"calibration-{task}.png"
    figure.savefig(path, metadata={"Software": None})
    return path


def _lowest(curves: pl.DataFrame, peers: pl.DataFrame) -> float:
    """Where the axis of precision begins: a round value below all that is drawn."""
    drawn = pl.concat([curves["low"], peers["precision"]]).drop_nulls()
    return 0.0 if drawn.is_empty() else max(0.0, math.floor(10 * float(drawn.to_numpy().min()) - 0.5) / 10)


def _draw_curve(panel: "Axes", field: pl.DataFrame) -> None:
    drawn = field.filter(pl.col("precision").is_not_null(), pl.col("yield").is_not_null())
    kept, precision, low, high = (drawn[name].to_numpy() for name in ("yield", "precision", "low", "high"))
    order = np.argsort(kept, kind="stable")
    panel.fill_between(kept[order], low[order], high[order], color=_CURVE, alpha=0.18, lw=0, label="95 % (Wilson)")
    panel.plot(kept, precision, color=_CURVE, lw=1.4)
    many = (drawn["verified"] >= MIN_PAIRS).to_numpy()
    panel.plot(kept[many], precision[many], "o", color=_CURVE, ms=5, label=f"{MIN_PAIRS} pairs or more")
    panel.plot(kept[~many], precision[~many], "o", color=_CURVE, mfc="white", ms=5, label="fewer: says nothing")
    current = drawn.filter("is_current")
    panel.plot(
        current["yield"], current["precision"], "D", color=_CURRENT, ms=8, mfc="none", mew=2, label="as configured"
    )
    _label_values(panel, drawn)
    panel.set_title(str(field["field"][0]), fontsize=10, family="monospace", color=_INK)
    panel.set_xlim(-0.03, 1.05)
    panel.grid(alpha=0.25)


def _label_values(panel: "Axes", drawn: pl.DataFrame) -> None:
    """Write values beside points that are apart, so that no two stand on each other."""
    apart = drawn.unique(["yield", "precision"], keep="first", maintain_order=True)
    step = max(1, math.ceil(apart.height / LABELED_POINTS))
    for index, row in enumerate(apart.gather_every(step).iter_rows(named=True)):
        offset = (0, -14 if index % 2 else -23)
        panel.annotate(
            f"{row['value']:g}", (row["yield"], row["precision"]), xytext=offset, textcoords="offset points",
            ha="center", fontsize=7, color=_INK,
        )  # fmt: skip


def _draw_goal(panel: "Axes", goal: float) -> None:
    panel.axhline(goal, color=_INK, lw=1, ls="--", label=f"goal {goal:g}")
    panel.axvline(MIN_YIELD, color=_INK, lw=1, ls=":", label="yield wanted")


def _draw_peers(panel: "Axes", peers: pl.DataFrame, right: int) -> None:
    shown = peers.filter(pl.col("policy") != OURS, pl.col("selection") == "all", pl.col("precision").is_not_null())
    for shape, row in zip(_SHAPES, shown.iter_rows(named=True), strict=False):
        name = row["policy"] if row["policy"] == UNVERIFIED else f"peer: {row['policy']}"
        panel.plot(
            min(row["right"] / max(right, 1), 1.0), row["precision"], shape, color=_PEER, ms=6, mfc="none", label=name
        )
