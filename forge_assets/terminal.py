"""What `forge` shows in a terminal: tables, progress bars and how runs ended."""

import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from forge_assets.progress import Listener, heard_by

if TYPE_CHECKING:
    from forge_assets.runs import RunOutcome

WIDTH_WITHOUT_TERMINAL = 140

console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
_COLUMNS = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())


def table_of(rows: pl.DataFrame, title: str | None = None) -> Table:
    """Rows as a table: numbers to the right, shares with three digits, nulls as a dash."""
    table = Table(title=title, title_justify="left", header_style="bold", row_styles=["", "dim"])
    for name, dtype in rows.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in rows.iter_rows():
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.3f}"
        case int() if not isinstance(value, bool):
            return f"{value:,}"
        case _:
            return str(value)


@contextmanager
def photo_progress() -> Generator[Listener]:
    """A bar over the photos of the stage at work."""
    with Progress(*_COLUMNS, console=console, transient=True) as progress:
        photos = progress.add_task("photos", total=None)
        yield lambda stage, done, in_all: progress.update(photos, description=stage, completed=done, total=in_all)


@contextmanager
def shard_progress(total: int) -> Generator[Progress]:
    """A bar over shards, and one over the photos of the stage at work."""
    with Progress(*_COLUMNS, console=console) as progress:
        progress.add_task("shards", total=total)
        photos = progress.add_task("photos", total=None, visible=False)

        def hear(stage: str, done: int, in_all: int) -> None:
            progress.update(photos, description=f"{stage}: photos", completed=done, total=in_all, visible=True)

        with heard_by(hear):
            yield progress


def follow(outcomes: "Iterable[RunOutcome]", total: int) -> "list[RunOutcome]":
    """Show runs as they end; what failed is said at once, with its cause."""
    ended: list[RunOutcome] = []
    with shard_progress(total) as progress:
        shards = progress.task_ids[0]
        for outcome in outcomes:
            ended.append(outcome)
            progress.advance(shards)
            if not outcome.succeeded:
                console.print(f"[red]failed[/] {outcome.key} (run {outcome.run_id})")
                for problem in outcome.problems:
                    console.print(f"  {problem}", markup=False)
    return ended


def say_ended(outcomes: "Sequence[RunOutcome]", done: str = "made") -> None:
    """One line on how many partitions ended well."""
    well = sum(outcome.succeeded for outcome in outcomes)
    console.print(f"{well} of {len(outcomes)} partitions {done}")
