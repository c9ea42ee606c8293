"""How long commands take to start, and what their processes import.

    python tests/benchmarks/start_up.py

Each line is a process of its own, started a few times; the fastest counts. Bytecode is compiled first, as images do.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

REPEATS = 3
HEAVY = (
    "torch",
    "ultralytics",
    "transformers",
    "great_expectations",
    "pandas",
    "duckdb",
    "dagster",
    "polars",
    "inflect",
)
HELP = """
import sys
from forge_assets.cli import app
sys.argv = ["forge", {words}]
try:
    app()
except SystemExit:
    pass
"""
AUDIT = "import forge_assets.terminal, forge_assets.audits.opening, forge_assets.audits.runner"
PROGRAMS: Mapping[str, tuple[str, float | None]] = {
    "python": ("", None),
    "forge --help": (HELP.format(words="'--help'"), 0.5),
    "forge audit --help": (HELP.format(words="'audit', '--help'"), 0.5),
    "forge audit, imports": (AUDIT, None),
    "dagster": ("import dagster", None),
    "definitions": ("import forge_assets.definitions", 5.0),
    "great_expectations": ("import great_expectations.expectations", None),
}
"""Programs by what they are, with the most seconds that they may take."""

TELL = "\nimport sys; print({heavy} & set(sys.modules), file=sys.stderr)"


@dataclass(frozen=True)
class Figures:
    """The fastest start of a program."""

    seconds: float
    processor_seconds: float
    peak_mb: float
    imported: Sequence[str]


def started(program: str, environment: Mapping[str, str]) -> Figures:
    """Start a program once."""
    with tempfile.TemporaryFile("w+") as said:
        begun = time.perf_counter()
        command = [sys.executable, "-c", program + TELL.format(heavy=set(HEAVY))]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        said.seek(0)
        lines = said.read().splitlines()
    if status:
        raise RuntimeError("\n".join(lines))
    imported = sorted(name for name in HEAVY if f"'{name}'" in lines[-1])
    return Figures(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, imported)


def main() -> None:
    table = Table("what", "seconds", "limit", "ratio", "processor s", "peak MB", "imports, of the heavy ones")
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPYCACHEPREFIX": bytecode, "COLUMNS": "120"}
        for what, (program, limit) in PROGRAMS.items():
            started(program, environment)
            best = min((started(program, environment) for _ in range(REPEATS)), key=lambda one: one.seconds)
            table.add_row(
                what,
                f"{best.seconds:.2f}",
                "" if limit is None else f"{limit:g}",
                "" if limit is None else f"{best.seconds / limit:.2f}",
                f"{best.processor_seconds:.2f}",
                f"{best.peak_mb:.0f}",
                ", ".join(best.imported),
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
