"""Precision and yield as each threshold of verification moves, the others fixed; no network runs again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.calibration.intervals import PhotoBootstrap
from forge_assets.calibration.summary import in_order_of_tasks, with_precision
from forge_assets.tables import TASKS
from forge_assets.verified_qa.rules import rules
from forge_assets.verified_qa.verify import verify
from forge_resources.config import VerificationConfig

_RATIOS: Final = (1.01, 1.02, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0)
_SHARES: Final = tuple(round(0.05 * step, 2) for step in range(21))
_FACTORS: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)
"""Of the current value, for thresholds that are small shares or have no natural scale."""
_SMALL: Final = 0.12
_COUNTS: Final = (1, 2, 3, 4)

Counts = NDArray[np.int64]
JudgedPairs = pl.DataFrame
"""Rows of `candidate_qa` with `photo` (hash of its content) and `right`, null where the truth says nothing."""


@dataclass(frozen=True, eq=False)
class Curve:
    """What one threshold does to one task: counts by photo, in the order of the bootstrap's photos, and by value."""

    task: str
    field: str
    values: tuple[float, ...]
    """Ascending; the current one is among them."""
    current: int
    """Index of the value in use."""
    verified: Counts
    """Shape (photos, values): verified pairs that the truth judges."""
    right: Counts
    """The same shape: those of them that are right."""
    candidates_right: Counts
    """Shape (photos,): candidates that are right, those of the value in use; yields are shares of these."""


def numeric_fields() -> list[str]:
    """The thresholds of verification, in their order in the configuration."""
    return [
        name
        for name, field in VerificationConfig.model_fields.items()
        if field.annotation is float or field.annotation is int
    ]


def grid(field: str, current: float) -> tuple[float, ...]:
    """Values to try for a threshold, ascending, its current one among them and all of them allowed.

    Args:
        field: of `VerificationConfig`.
        current: its value.
    """
    info = VerificationConfig.model_fields[field]
    bounds = {
        name: getattr(bound, name) for bound in info.metadata for name in ("gt", "ge", "le") if hasattr(bound, name)
    }
    above, least, is_share = bounds.get("gt"), bounds.get("ge", 0), bounds.get("le") == 1
    if info.annotation is int:
        values: Sequence[float] = [count for count in _COUNTS if count >= least]
    elif above == 1:
        values = _RATIOS
    elif is_share and current >= _SMALL:
        values = _SHARES
    else:
        values = [round(factor * current, 6) for factor in _FACTORS]
    allowed = {
        value for value in (*values, current) if (above is None or value > above) and (not is_share or value <= 1)
    }
    return tuple(sorted(allowed))


def changed(thresholds: VerificationConfig, field: str, value: float) -> VerificationConfig:
    """The thresholds with one of them moved."""
    return VerificationConfig.model_validate({**thresholds.model_dump(), field: value})


def tasks_of(thresholds: VerificationConfig, field: str) -> list[str]:
    """The tasks with a rule that looks at a threshold; none for one that sets what is counted in candidates."""
    current = getattr(thresholds, field)
    other = next(value for value in grid(field, current) if value != current)
    both = zip(rules(thresholds), rules(changed(thresholds, field, other)), strict=True)
    named = {
        task
        for before, after in both
        if before.threshold != after.threshold or not before.value.meta.eq(after.value)
        for task in before.tasks
    }
    return [task for task in TASKS if task in named]


def curves(
    pairs: JudgedPairs,
    thresholds: VerificationConfig,
    bootstrap: PhotoBootstrap,
    made_again: Callable[[VerificationConfig], JudgedPairs],
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Curve]:
    """The curve of every threshold for every task whose rules look at it.

    A threshold that no rule looks at sets what is counted in candidates, which are made again for its values;
    it has a curve for the tasks that it changes, of every second value. One that rules look at is moved in these alone,
    even where candidates are worded by it too.

    Args:
        pairs: candidates as they are.
        thresholds: in use.
        bootstrap: over the photos of `pairs`.
        made_again: gives the candidates that other thresholds would make.
        progress: is told "thresholds", how many were moved, and how many there are.
    """
    found: list[Curve] = []
    judged = pairs.filter(pl.col("right").is_not_null())
    fields = numeric_fields()
    for done, field in enumerate(fields):
        if progress is not None:
            progress("thresholds", done, len(fields))
        current = getattr(thresholds, field)
        values, tasks = grid(field, current), tasks_of(thresholds, field)
        if tasks:
            concerned = judged.filter(pl.col("task").is_in(tasks))
            passes = [_passed(concerned, changed(thresholds, field, value)) for value in values]
        else:
            values = tuple(sorted({*values[::2], current}))
            settings = [changed(thresholds, field, value) for value in values]
            passes = [_passed(made_again(setting), setting) for setting in settings]
        place = values.index(current)
        for task in tasks or TASKS:
            verified, right, candidates_right = _counted(task, passes, bootstrap)
            curve = Curve(task, field, values, place, verified, right, candidates_right[:, place])
            if curve.candidates_right.any() and (tasks or _varies(curve)):
                found.append(curve)
    return found


def _passed(pairs: JudgedPairs, setting: VerificationConfig) -> tuple[JudgedPairs, NDArray[np.bool_]]:
    """Pairs, and which of them a setting verifies."""
    verified, _ = verify(pairs, setting)
    return pairs, pairs["qa_id"].is_in(verified["qa_id"].implode()).to_numpy()


def _counted(
    task: str, passes: Sequence[tuple[JudgedPairs, NDArray[np.bool_]]], bootstrap: PhotoBootstrap
) -> tuple[Counts, Counts, Counts]:
    """Verified pairs that the truth judges, right ones of them, and right candidates; shape (photos, values) each."""
    place = {photo: index for index, photo in enumerate(bootstrap.photos)}
    verified, right, candidates_right = (np.zeros((len(place), len(passes)), dtype=np.int64) for _ in range(3))
    for column, (pairs, passed) in enumerate(passes):
        known = ((pairs["task"] == task) & pairs["right"].is_not_null()).to_numpy()
        is_right = pairs["right"].fill_null(value=False).to_numpy()[known]
        photo = np.array([place[name] for name in pairs["photo"].to_numpy()[known]], dtype=np.intp)
        np.add.at(verified[:, column], photo, passed[known])
        np.add.at(right[:, column], photo, passed[known] & is_right)
        np.add.at(candidates_right[:, column], photo, is_right)
    return verified, right, candidates_right


def _varies(curve: Curve) -> bool:
    return bool((curve.verified != curve.verified[:, [curve.current]]).any())


def table_of_curves(found: Sequence[Curve], bootstrap: PhotoBootstrap) -> pl.DataFrame:
    """One row a task, threshold and value.

    Returns:
        task, field, value, is_current, verified (judged pairs), right, precision with both intervals as `summary` has
        them, and yield.
    """
    rows = [
        {
            "task": curve.task,
            "field": curve.field,
            "value": value,
            "is_current": index == curve.current,
            "verified": int(curve.verified[:, index].sum()),
            "right": int(curve.right[:, index].sum()),
            "candidates_right": int(curve.candidates_right.sum()),
        }
        for curve in found
        for index, value in enumerate(curve.values)
    ]
    schema: Mapping[str, type[pl.DataType]] = {
        "task": pl.String, "field": pl.String, "value": pl.Float64, "is_current": pl.Boolean, "verified": pl.Int64,
        "right": pl.Int64, "candidates_right": pl.Int64,
    }  # fmt: skip
    photo = [interval for curve in found for interval in bootstrap.intervals(curve.right, curve.verified)]
    table = with_precision(pl.DataFrame(rows, schema=schema), photo, right="right", of="verified")
    kept = pl.when(pl.col("candidates_right") > 0).then(pl.col("right") / pl.col("candidates_right"))
    return in_order_of_tasks(table.with_columns(kept.alias("yield")), "field", "value")
