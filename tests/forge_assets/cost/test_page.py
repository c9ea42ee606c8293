"""The arithmetic that docs/cost.md shows is that of the command."""

from pathlib import Path

from forge_assets.cost.measured import CANDIDATES_PER_PHOTO, PAIRS_PER_PHOTO, PHOTOS, RATES, SHARD_SIZE
from forge_assets.cost.model import Estimate, Line, Prices, Workload, estimate

PAGE = Path(__file__).parents[3] / "docs" / "cost.md"
TOTALS = {"CPU": "hours", "storage": "GB"}


def headline() -> Estimate:
    work = Workload(PHOTOS, CANDIDATES_PER_PHOTO, PAIRS_PER_PHOTO, SHARD_SIZE)
    return estimate(work, RATES, Prices())


def row(line: Line) -> str:
    amount = f"{line.amount:,.0f}" if line.section in ("work", "requests") else f"{line.amount:,.1f}"
    link = line.origin.partition(":")[0]
    measured = f"[{link.partition('#')[2]}]({link})" if link else ""
    return f"| {line.section} | {line.name} | {amount} {line.unit} | {line.formula} | {measured} |"


def test_the_table_of_the_headline_run_is_what_the_command_says() -> None:
    made = headline()
    rows = [row(line) for line in made.lines]
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith(("| work", "| CPU", "| sto", "| req"))]
    assert shown == rows, "the table should be:\n" + "\n".join(rows)


def test_the_totals_in_the_text_are_those_of_the_table() -> None:
    made, text = headline(), PAGE.read_text()
    for section, unit in TOTALS.items():
        assert f"**{made.total(section):,.0f} {unit}**" in text
    for kind in ("writes", "reads"):
        asked = sum(line.amount for line in made.lines if line.section == "requests" and line.unit == kind)
        assert f"**{asked / 1000:,.0f} thousand {kind}**" in text
