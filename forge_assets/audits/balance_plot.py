"""A plot of what each task holds beside what was wanted of it."""

import io
from collections.abc import Mapping
from typing import Final

import polars as pl

_INK, _QUOTA = "#222222", "#D55E00"
_INCHES: Final = (7.2, 3.2)


def balance_plot(tasks: pl.DataFrame, colors: Mapping[str, str], max_gap: float) -> bytes:
    """A PNG: a bar a task for its share of all pairs, a mark for its quota, and the tolerance around it.

    Args:
        tasks: task, task_pairs, share and quota, one row a task, the first on top.
        colors: of the tasks, as #rrggbb; grey for one that is not named.
        max_gap: how far a share may lie from its quota.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    rows = tasks.to_dicts()
    places = range(len(rows))
    bars = panel.barh(
        places, [row["share"] for row in rows], color=[colors.get(row["task"], "#777777") for row in rows]
    )
    panel.bar_label(bars, [f" {row['task_pairs']:,}" for row in rows], color=_INK, fontsize=8)
    panel.errorbar(
        [row["quota"] for row in rows],
        list(places),
        xerr=[[min(max_gap, row["quota"]) for row in rows], [min(max_gap, 1 - row["quota"]) for row in rows]],
        fmt="D",
        color=_QUOTA,
        markersize=5,
        capsize=3,
        label="quota and tolerance",
    )
    panel.set_yticks(list(places), [str(row["task"]).replace("_", " ") for row in rows])
    panel.invert_yaxis()
    panel.set_xlim(0, None)
    panel.margins(x=0.15)
    panel.set_xlabel("share of all verified pairs")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
