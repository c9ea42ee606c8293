"""What a process has imported once it has started: heavy libraries are for those that use them."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "ultralytics", "transformers", "great_expectations", "pandas", "cv2", "duckdb"}
OF_OTHERS = {"boto3", "huggingface_hub", "httpx", "scipy", "inflect", "matplotlib"}
"""Libraries that few runs need: those that fetch weights or photos, that ask models, that plan releases."""
HEAVIER_THAN_HELP = HEAVY | {"dagster", "polars", "numpy"}


def imported(program: str, libraries: set[str]) -> set[str]:
    script = f"{program}\nimport sys; print('imported:', *({libraries!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split("imported:")[-1].split())


def called(*words: str) -> str:
    return f"from forge_assets.cli import app\ntry: app({list(words)!r})\nexcept SystemExit: pass"


@pytest.mark.parametrize("words", [(), ("--help",), ("run", "--help"), ("audit", "--help"), ("release", "--help")])
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    assert imported(called(*words), HEAVIER_THAN_HELP) == set()


def test_tables_are_shown_without_dagster() -> None:
    shown = "import polars, forge_assets.terminal as t; t.console.print(t.table_of(polars.DataFrame({'a': [1]})))"
    assert imported(shown, HEAVY | {"dagster"}) == set()


def test_an_audit_in_the_terminal_imports_no_dagster() -> None:
    audits = "import forge_assets.terminal, forge_assets.audits.opening, forge_assets.audits.runner"
    assert imported(audits, HEAVY | {"dagster"}) == set()


@pytest.mark.slow
def test_what_runs_partitions_imports_no_network_and_no_gate_before_it_runs_them() -> None:
    assert imported("import forge_assets.runs", HEAVY | OF_OTHERS) == set()


@pytest.mark.slow
def test_gates_are_known_without_great_expectations() -> None:
    assert imported("from forge_assets.gates.factory import GATES", HEAVY) == set()
