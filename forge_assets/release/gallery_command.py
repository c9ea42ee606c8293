"""The command `forge gallery`: a page of pairs to look at."""

from pathlib import Path
from typing import Annotated

import typer

from forge_assets.command_line import ConfigFile, clear_errors, config_file

app = typer.Typer()


@app.command(epilog="Example: `forge gallery --output gallery`")
def gallery(
    output: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("gallery"), config: ConfigFile = None
) -> None:
    """Write an HTML page of pairs with their boxes on the photos; it opens from disk."""
    with clear_errors():
        from forge_assets.release.gallery import write_gallery
        from forge_assets.tables import SCHEMAS
        from forge_resources.config import load_config
        from forge_resources.lake import Lake
        from forge_resources.warehouse import Warehouse

        settings = load_config(config_file(config))
        lake = Lake(settings.lake, settings.s3)
        with Warehouse(lake, SCHEMAS) as warehouse:
            typer.echo(write_gallery(warehouse, lake, output, quotas=settings.quotas))
