"""An estimate as a table in the terminal, and as JSON."""

import json
from dataclasses import asdict

from rich.table import Table

from forge_assets import terminal
from forge_assets.cost.model import Estimate, Section

_TOTALS: dict[Section, str] = {
    "GPU": "GPU hours",
    "CPU": "core hours",
    "storage": "GB",
    "requests": "requests",
    "money": "money",
}
"""Sections whose lines add up, with what the sum is called."""

_WHOLE_FROM = 100
"""Amounts from here on are shown without digits after the point."""


def as_json(made: Estimate) -> str:
    """Lines and the totals of their sections; amounts as they are, not rounded."""
    totals = {name: made.total(section) for section, name in _TOTALS.items() if _has(made, section)}
    return json.dumps({"lines": [asdict(line) for line in made.lines], "totals": totals}, indent=2)


def show(made: Estimate) -> None:
    """Print a table: what, how much, by which formula, and where its rate was measured."""
    table = Table(header_style="bold", title="forge cost", title_justify="left")
    for head in ("", "what"):
        table.add_column(head, no_wrap=True)
    table.add_column("amount", justify="right", no_wrap=True)
    table.add_column("formula", overflow="fold")
    table.add_column("measured", overflow="fold", style="dim")
    for section in ("work", *_TOTALS):
        lines = [line for line in made.lines if line.section == section]
        for number, line in enumerate(lines):
            amount = f"{_rounded(line.amount)} {line.unit}".strip()
            table.add_row(section if number == 0 else "", line.name, amount, line.formula, line.origin)
        if len(lines) > 1 and section in _TOTALS:
            table.add_row("", "total", _rounded(made.total(section)), "", "", style="bold")
        table.add_section()
    terminal.console.print(table)
    if not _has(made, "money"):
        terminal.console.print("no prices are given: see the options --gpu-hour, --cpu-hour, --gb-month and others")


def _has(made: Estimate, section: Section) -> bool:
    return any(line.section == section for line in made.lines)


def _rounded(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= _WHOLE_FROM or amount == int(amount) else f"{amount:,.2f}"
