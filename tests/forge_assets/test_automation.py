"""What of automation is on in a new instance: nothing, or all where the environment says so."""

import subprocess
import sys

import pytest

from forge_resources.instance import AUTOMATION_VARIABLE

STATUSES = """
from forge_assets.definitions import build_definitions
repository = build_definitions().get_repository_def()
by_us = [one for one in repository.sensor_defs if one.name in {"new_photos", "default_automation_condition_sensor"}]
print("statuses:", *(one.default_status.value for one in (*by_us, *repository.schedule_defs)))
"""


@pytest.mark.parametrize(("said", "status"), [(None, "STOPPED"), ("off", "STOPPED"), ("on", "RUNNING")])
def test_sensors_and_schedule_are_on_where_the_environment_says_so(
    said: str | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(AUTOMATION_VARIABLE, raising=False)
    if said is not None:
        monkeypatch.setenv(AUTOMATION_VARIABLE, said)
    done = subprocess.run([sys.executable, "-c", STATUSES], capture_output=True, text=True, check=True)
    assert done.stdout.split("statuses:")[-1].split() == [status] * 3
