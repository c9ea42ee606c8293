"""Thresholds that the measured curves speak for, and how much of their precision holds on photos not chosen by."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.calibration.intervals import wilson
from forge_assets.calibration.summary import GOALS, MIN_PAIRS, MIN_YIELD, in_order_of_tasks, too_few
from forge_assets.calibration.thresholds import Counts, Curve

FOLDS: Final = 5

SCHEMA: Final = pl.Schema(
    {
        "task": pl.String(),
        "field": pl.String(),
        "current": pl.Float64(),
        "proposed": pl.Float64(),
        "pairs": pl.Int64(),
        "precision": pl.Float64(),
        "low": pl.Float64(),
        "yield": pl.Float64(),
        "precision_out_of_fold": pl.Float64(),
        "drop": pl.Float64(),
        "says": pl.String(),
    }
)


def proposals(curves: Sequence[Curve]) -> pl.DataFrame:
    """One row a task and threshold.

    The loosest value whose lower Wilson bound reaches the task's goal, else the one of the highest lower bound; among
    values that keep `MIN_YIELD` of the right candidates, where there are any. Each threshold is moved alone, and moving
    several at once is not measured.

    Returns:
        Rows of `SCHEMA`: `proposed` is null where too few pairs were judged; `pairs`, `precision`, `low` and `yield`
        are those at the proposed value; `precision_out_of_fold` is measured on photos that did not take part in
        choosing, over `FOLDS` folds by photo, and `drop` is how much lower it is.
    """
    return in_order_of_tasks(pl.DataFrame([_proposal(curve) for curve in curves], schema=SCHEMA), "field")


def choose(
    verified: Counts, right: Counts, candidates_right: int, goal: float, current: int, *, least: float
) -> int | None:
    """The index of the value to propose; None where no value has enough pairs, or none is surer than the current one.

    Args:
        verified: judged pairs that each value keeps.
        right: right ones of them.
        candidates_right: right candidates.
        goal: precision wanted.
        current: index of the value in use, taken where another is not better.
        least: pairs that a value must keep to be considered.
    """
    enough = np.flatnonzero(verified >= max(least, 1))
    if enough.size == 0:
        return None
    kept = right / max(candidates_right, 1)
    wanted = enough[kept[enough] >= MIN_YIELD]
    considered = wanted if wanted.size else enough
    lows = {int(index): wilson(int(right[index]), int(verified[index]))[0] or 0.0 for index in considered}
    reaching = [index for index, low in lows.items() if low >= goal]
    best = max(lows.values())
    if best < (wilson(int(right[current]), int(verified[current]))[0] or 0.0):
        return None
    finalists = reaching or [index for index, low in lows.items() if low == best]
    return max(finalists, key=lambda index: (kept[index], -abs(index - current)))


def _proposal(curve: Curve) -> dict[str, object]:
    goal = GOALS[curve.task]
    verified, right, candidates_right = _totals(curve, np.ones(len(curve.verified), dtype=np.bool_))
    row: dict[str, object] = {"task": curve.task, "field": curve.field, "current": curve.values[curve.current]}
    if (verified == verified[curve.current]).all() and (right == right[curve.current]).all():
        return row | {"says": "changes nothing on these photos"}
    index = choose(verified, right, candidates_right, goal, curve.current, least=MIN_PAIRS)
    if index is None and verified.max() >= MIN_PAIRS:
        return row | {"says": f"{verified[curve.current]} pairs now; no value that keeps {MIN_PAIRS} is surer"}
    if index is None:
        return row | {"says": too_few(int(verified.max()))}
    precision = right[index] / verified[index]
    low, _ = wilson(int(right[index]), int(verified[index]))
    outside = out_of_fold(curve)
    reached = "shows the goal" if (low or 0.0) >= goal else "highest lower bound"
    return row | {
        "proposed": curve.values[index],
        "pairs": int(verified[index]),
        "precision": float(precision),
        "low": low,
        "yield": float(right[index] / max(candidates_right, 1)),
        "precision_out_of_fold": outside,
        "drop": None if outside is None else float(precision - outside),
        "says": f"{reached}; {_beside_now(curve, index, outside)}",
    }


def _beside_now(curve: Curve, index: int, outside: float | None) -> str:
    """How a proposed value stands to the current one on photos that took no part in choosing it."""
    if index == curve.current:
        return "as it is"
    pairs = curve.verified[:, curve.current].sum()
    now = curve.right[:, curve.current].sum() / pairs if pairs else 0.0
    return "better out of fold too" if outside is not None and outside > now else "no better out of fold"


def out_of_fold(curve: Curve) -> float | None:
    """Precision on photos that took no part in choosing: each fold is judged by the value that the others choose.

    Photos with pairs of the task are dealt to folds in the order of their hashes. Where the others have too few pairs
    to choose by, the current value stays.
    """
    photos = np.flatnonzero(curve.verified.any(axis=1) | (curve.candidates_right > 0))
    folds = min(FOLDS, photos.size)
    if folds < 2:  # noqa: PLR2004 -- nothing to choose by
        return None
    fold_of = np.full(len(curve.verified), -1)
    fold_of[photos] = np.arange(photos.size) % folds
    verified = right = 0
    for fold in range(folds):
        totals = _totals(curve, (fold_of >= 0) & (fold_of != fold))
        index = choose(*totals, GOALS[curve.task], curve.current, least=MIN_PAIRS * (folds - 1) / folds)
        chosen = curve.current if index is None else index
        verified += int(curve.verified[fold_of == fold, chosen].sum())
        right += int(curve.right[fold_of == fold, chosen].sum())
    return right / verified if verified else None


def _totals(curve: Curve, photos: NDArray[np.bool_]) -> tuple[Counts, Counts, int]:
    return (
        curve.verified[photos].sum(axis=0),
        curve.right[photos].sum(axis=0),
        int(curve.candidates_right[photos].sum()),
    )
