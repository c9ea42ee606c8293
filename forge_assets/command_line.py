"""What the commands of `forge` share: their options, and errors as one clear line."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration; by default FORGE_CONFIG, else `forge.yaml`.")
]


@contextmanager
def clear_errors() -> Generator[None]:
    """Turn errors that a user can mend into one line and exit code 1."""
    from forge_resources.errors import ForgeError

    try:
        yield
    except ForgeError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


def config_file(config: Path | None) -> Path:
    """The configuration that a command was given, or the one that is read when none is named; absolute."""
    from forge_resources.config import config_path

    return (config or config_path()).absolute()
