"""The Dagster instance of a project: the folder `.dagster` beside its configuration, or DAGSTER_HOME."""

import os
from importlib import resources
from pathlib import Path

import dagster as dg

HOME_VARIABLE = "DAGSTER_HOME"
AUTOMATION_VARIABLE = "FORGE_AUTOMATION"
"""`on`: sensors, schedule and automation are on in an instance where nobody has switched them."""
INSTANCE_FILE = "dagster.yaml"


def dagster_home(config_file: Path) -> Path:
    """The instance's folder, made with a `dagster.yaml` of ours where it has none.

    Args:
        config_file: the project's `forge.yaml`; not read.
    """
    home = Path(os.environ.get(HOME_VARIABLE) or config_file.absolute().parent / ".dagster").absolute()
    home.mkdir(parents=True, exist_ok=True)
    settings = home / INSTANCE_FILE
    if not settings.exists():
        settings.write_text(resources.files("forge_resources").joinpath(INSTANCE_FILE).read_text())
    return home


def open_instance(config_file: Path) -> dg.DagsterInstance:
    """The project's persistent instance; what the CLI runs shows in the UI and the other way round."""
    return dg.DagsterInstance.from_config(str(dagster_home(config_file)))
