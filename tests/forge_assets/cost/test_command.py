"""`forge cost` as a person meets it."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from forge_assets.cli import app

Forge = Callable[..., Result]


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    def run(*arguments: str) -> Result:
        environment = {"FORGE_CONFIG": None, "DAGSTER_HOME": None, "COLUMNS": "200", "TERMINAL_WIDTH": "200"}
        with contextlib.chdir(tmp_path):
            return CliRunner().invoke(app, arguments, env=environment)

    return run


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def amounts(result: Result) -> dict[tuple[str, str], float]:
    return {(line["section"], line["name"]): line["amount"] for line in told(result)["lines"]}


def test_without_options_it_is_the_headline_run(forge: Forge) -> None:
    found = amounts(forge("cost", "--json"))
    assert found["work", "photos"] == 2_800_000
    assert found["work", "shards"] == 1_400
    assert found["work", "verified pairs"] == pytest.approx(10_200_000)


def test_the_terminal_shows_formulas_totals_and_that_prices_are_missing(forge: Forge) -> None:
    output = forge("cost").stdout
    assert "2,800,000 photos x 56,600 bytes / 10^9" in output
    assert "benchmarks.md#depth-storage" in output
    assert "no prices are given" in output


def test_a_rate_of_a_gpu_moves_a_stage_there(forge: Forge) -> None:
    found = amounts(forge("cost", "--photos", "720000", "--gpu", "detections=200", "--gpu-hour", "3", "--json"))
    assert found["GPU", "detections"] == pytest.approx(1)
    assert ("CPU", "detections") not in found
    assert found["money", "GPU"] == pytest.approx(3)


def test_pairs_that_are_given_count_in_place_of_the_yield(forge: Forge) -> None:
    found = amounts(forge("cost", "--photos", "1000", "--pairs", "5000", "--json"))
    assert found["work", "verified pairs"] == pytest.approx(5_000)


def test_totals_stand_beside_the_lines(forge: Forge) -> None:
    answer = told(forge("cost", "--gb-month", "0.5", "--months", "2", "--json"))
    assert answer["totals"]["money"] == pytest.approx(answer["totals"]["GB"])
    assert "GPU hours" not in answer["totals"]


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("scenes=3", "networks run in detections and depth_maps alone"),
        ("detections", "give photos a second"),
        ("detections=fast", "write photos a second"),
        ("detections=0", "write photos a second"),
    ],
)
def test_a_rate_that_means_nothing_is_refused(option: str, says: str, forge: Forge) -> None:
    result = forge("cost", "--gpu", option)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert says in result.stderr


def test_a_lake_that_is_not_there_is_named(forge: Forge, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert forge("init", "photos").exit_code == 0
    result = forge("cost", "--lake")
    assert result.exit_code == 1
    assert "has no verified pairs to measure" in result.stderr
