"""JSON lines of real runs, as the instance of deployments configures them."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

SETTINGS = Path(__file__).parents[2] / "infra/postgres/dagster.yaml"
PARTITION = "photos/s00000"

_log = logging.getLogger("forge_resources.of_this_test")


@dg.asset(metadata={"of": "the definition"})
def stage(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    context.log.info("3 of 3 photos: näh")
    _log.warning("label %s is unknown", "unicorn")
    return dg.MaterializeResult(metadata={"photos": 3, "yield": 0.5, "picture": dg.MetadataValue.md("x" * 10_000)})


@dg.asset_check(asset=stage)
def stage_gate() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, metadata={"rules": 7})


@dg.asset(deps=[stage])
def broken() -> None:
    raise ValueError("no photo\nwas found") from KeyError("cause")


def run_all(folder: Path) -> None:
    """One run of these assets, in an instance that logs as that of deployments."""
    settings = yaml.safe_load(SETTINGS.read_text())["python_logs"]
    with dg.DagsterInstance.local_temp(str(folder), overrides={"python_logs": settings}) as instance:
        dg.materialize(
            [stage, stage_gate, broken],
            instance=instance,
            tags={"dagster/partition": PARTITION},
            raise_on_error=False,
        )


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a run writes to its standard output, taken apart.

    In a process of its own, as runs are: such an instance closes the log handlers of the process that opens it, and
    some of them (absl's, which comes with OpenVINO) close pytest's streams then.
    """
    folder = tmp_path_factory.mktemp("instance")
    done = subprocess.run([sys.executable, __file__, folder], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_event(lines: list[dict[str, Any]], event: str) -> dict[str, Any]:
    (line,) = [line for line in lines if line.get("event") == event]
    return line


def test_a_run_writes_json_lines_that_say_which_run_partition_and_asset(lines: list[dict[str, Any]]) -> None:
    assert len({line["run_id"] for line in lines}) == 1
    assert {line["partition"] for line in lines} == {PARTITION}
    assert all({"time", "level", "logger", "message", "job"} <= set(line) for line in lines)
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    (said,) = [line for line in lines if line["message"] == "3 of 3 photos: näh"]
    assert (said["level"], said["step"]) == ("INFO", "stage")

    made = of_event(lines, "ASSET_MATERIALIZATION")
    assert (made["asset"], made["figures"]) == ("stage", {"photos": 3, "yield": 0.5})
    judged = of_event(lines, "ASSET_CHECK_EVALUATION")
    assert (judged["asset"], judged["figures"]) == ("stage", {"rules": 7})

    (warned,) = [line for line in lines if line["logger"] == "forge_resources.of_this_test"]
    assert (warned["level"], warned["message"], warned["step"]) == ("WARNING", "label unicorn is unknown", "stage")

    failed = of_event(lines, "STEP_FAILURE")
    assert (failed["level"], failed["step"]) == ("ERROR", "broken")
    for part in ("ValueError: no photo\nwas found", "KeyError: 'cause'"):
        assert part in failed["error"]


if __name__ == "__main__":
    run_all(Path(sys.argv[1]))
