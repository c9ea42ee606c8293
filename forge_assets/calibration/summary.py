"""Counts of right answers: by task, by form, against the goals, and what could not be judged."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from forge_assets.calibration.intervals import PhotoBootstrap, pairs_to_show, wilson
from forge_assets.tables import TASKS

GOALS: Final[Mapping[str, float]] = {
    "grounding": 0.95,
    "referring": 0.95,
    "counting": 0.95,
    "near_far": 0.99,
    "left_right": 1.0,
    "perspective": 0.95,
}
"""Precision that verified pairs should have, by task."""
MIN_YIELD: Final = 1 / 3
"""Share of the right candidates that verification should keep."""
MIN_PAIRS: Final = 20
"""With fewer verified pairs that the truth judges, nothing is said."""


def summary(judged: pl.DataFrame, bootstrap: PhotoBootstrap, by: Sequence[str] = ("task",)) -> pl.DataFrame:
    """Precision and yield.

    Args:
        judged: photo (hash of its content), task, form, verified, right (null where the truth says nothing).
        bootstrap: over the photos of `judged`.
        by: columns to count by, `task` the first.

    Returns:
        `by`; candidates, and of these `judged` by the truth and `right`; verified, and of these verified_judged and
        verified_right; precision (verified_right of verified_judged) with the ends of its Wilson interval, `low` and
        `high`, and of its bootstrap over photos, photo_low and photo_high (all 95 %); yield (verified_right of
        `right`). Tasks in the order of TASKS.
    """
    known = pl.col("right").is_not_null()
    rows = judged.group_by(*by).agg(
        candidates=pl.len(),
        judged=known.sum(),
        right=pl.col("right").sum(),
        verified=pl.col("verified").sum(),
        verified_judged=(pl.col("verified") & known).sum(),
        verified_right=(pl.col("verified") & pl.col("right").fill_null(value=False)).sum(),
    )
    rows = in_order_of_tasks(rows, *by[1:])
    groups = [
        judged.filter(pl.all_horizontal(pl.col(name) == value for name, value in key.items()))
        for key in rows.select(by).to_dicts()
    ]
    verified = [group.filter("verified", known) for group in groups]
    return with_precision(
        rows, [photo_interval(bootstrap, group) for group in verified], right="verified_right", of="verified_judged"
    ).with_columns(pl.when(pl.col("right") > 0).then(pl.col("verified_right") / pl.col("right")).alias("yield"))


def photo_interval(bootstrap: PhotoBootstrap, answers: pl.DataFrame) -> tuple[float | None, float | None]:
    """The interval over photos of the share of right answers.

    Args:
        bootstrap: over photos that the answers' are among.
        answers: photo and right, never null.
    """
    counts = answers.group_by("photo").agg(rights=pl.col("right").sum(), of=pl.len())
    placed = pl.DataFrame({"photo": bootstrap.photos}, schema={"photo": pl.String}).join(
        counts, on="photo", how="left", maintain_order="left"
    )
    right, of = (placed[name].fill_null(0).to_numpy().reshape(-1, 1) for name in ("rights", "of"))
    return bootstrap.intervals(right, of)[0]


def with_precision(
    rows: pl.DataFrame, photo: Sequence[tuple[float | None, float | None]], *, right: str, of: str
) -> pl.DataFrame:
    """Rows with precision, its Wilson interval, and an interval over photos of each.

    Args:
        rows: with counts.
        photo: an interval a row.
        right: column of right answers.
        of: column of all answers that were judged.
    """
    by_wilson = [wilson(int(a), int(b)) for a, b in rows.select(right, of).iter_rows()]
    ends = {
        "low": [low for low, _ in by_wilson],
        "high": [high for _, high in by_wilson],
        "photo_low": [low for low, _ in photo],
        "photo_high": [high for _, high in photo],
    }
    return rows.with_columns(
        precision=pl.when(pl.col(of) > 0).then(pl.col(right) / pl.col(of)),
        **{name: pl.Series(values, dtype=pl.Float64) for name, values in ends.items()},
    )


def not_judged(judged: pl.DataFrame) -> pl.DataFrame:
    """Candidates that the truth says nothing of, by task, form and reason: their number, and how many were verified."""
    rows = (
        judged.filter(pl.col("right").is_null())
        .group_by("task", "form", "not_judged")
        .agg(candidates=pl.len(), verified=pl.col("verified").sum())
    )
    return in_order_of_tasks(rows, "form", "not_judged")


def against_goals(by_task: pl.DataFrame) -> pl.DataFrame:
    """What can be said of each task's goal.

    Args:
        by_task: as `summary` gives it.

    Returns:
        task, goal, pairs (verified and judged), precision, low, yield, and `says`; every task, judged or not.
    """
    rows = {row["task"]: row for row in by_task.iter_rows(named=True)}
    none = dict.fromkeys(by_task.columns) | {"verified_judged": 0, "right": 0}
    said = [
        {
            "task": task,
            "goal": goal,
            "pairs": (row := rows.get(task, none))["verified_judged"],
            "precision": row["precision"],
            "low": row["low"],
            "yield": row["yield"],
            "says": says(row, goal),
        }
        for task, goal in GOALS.items()
    ]
    schema = {
        "task": pl.String, "goal": pl.Float64, "pairs": pl.Int64, "precision": pl.Float64, "low": pl.Float64,
        "yield": pl.Float64, "says": pl.String,
    }  # fmt: skip
    return pl.DataFrame(said, schema=schema)


def says(row: Mapping[str, float | int | None], goal: float) -> str:
    """One sentence on whether a goal is met, which a few pairs cannot tell.

    Args:
        row: verified_judged, precision, low, photo_low and yield of `summary`; a goal is shown where both lower ends
            reach it.
        goal: precision wanted.
    """
    pairs, precision, low, kept = (row[name] for name in ("verified_judged", "precision", "low", "yield"))
    if not pairs or precision is None or low is None:
        return "no verified pair could be judged"
    if pairs < MIN_PAIRS:
        return too_few(int(pairs))
    missed = [] if precision >= goal else [f"precision missed by {goal - precision:.3f}"]
    if kept is None or kept < MIN_YIELD:
        missed.append(f"yield missed by {MIN_YIELD - (kept or 0):.3f}")
    if missed:
        return ", ".join(missed)
    needed = pairs_to_show(goal)
    if needed is None:
        return "met here, which no number of pairs can prove"
    both = min(low, row["photo_low"] or 0.0)
    return (
        "met, and shown" if both >= goal else f"met here, not shown: that takes {needed} independent pairs, all right"
    )


def too_few(pairs: int) -> str:
    """What is said of so few pairs."""
    return f"{pairs} pair{'s' if pairs != 1 else ''}: nothing can be said"


def in_order_of_tasks(rows: pl.DataFrame, *then_by: str) -> pl.DataFrame:
    """Rows sorted by TASKS, then by other columns."""
    order = pl.DataFrame({"task": TASKS, "place": np.arange(len(TASKS))})
    return rows.join(order, on="task").sort("place", *then_by).drop("place")
