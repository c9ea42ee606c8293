"""The command `forge export`: pairs for a trainer."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from forge_assets.command_line import ConfigFile, clear_errors, config_file

Where = Annotated[str | None, typer.Option(help="SQL condition over the columns of verified_qa.")]

app = typer.Typer()


class TrainingFormatName(StrEnum):
    """What trainers read."""

    qwen3_vl = "qwen3_vl"
    internvl = "internvl"
    llava = "llava"


@app.command(
    epilog="Examples: `forge export --format qwen3_vl --output train.jsonl`; "
    "`forge export --format llava --output near.jsonl --where \"task = 'near_far' AND score > 0.2\"`"
)
def export(
    format: Annotated[TrainingFormatName, typer.Option(help="What the trainer reads.")],  # noqa: A002
    output: Annotated[Path, typer.Option(help="JSONL file to write.")],
    config: ConfigFile = None,
    where: Where = None,
    split: Annotated[str | None, typer.Option(help="train or val; default, both.")] = None,
    images: Annotated[Path | None, typer.Option(help="Also write the photos, upright, below this folder.")] = None,
) -> None:
    """Write verified pairs as JSONL for a trainer."""
    with clear_errors():
        from forge_assets.release.export import export as export_pairs
        from forge_assets.release.photos import export_photos
        from forge_assets.tables import SCHEMAS
        from forge_resources.config import load_config
        from forge_resources.lake import Lake
        from forge_resources.warehouse import Warehouse

        settings = load_config(config_file(config))
        lake = Lake(settings.lake, settings.s3)
        with Warehouse(lake, SCHEMAS) as warehouse:
            result = export_pairs(warehouse, format.value, output, where=where, split=split)
            typer.echo(f"{result.rows} pairs in {result.path}")
            if images is not None:
                typer.echo(f"{export_photos(warehouse, lake, images, where=where, split=split)} photos in {images}")
