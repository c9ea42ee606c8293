"""The command `forge calibrate`: precision on photos with known truth."""

from pathlib import Path
from typing import Annotated

import typer

from forge_assets.command_line import ConfigFile, clear_errors, config_file

app = typer.Typer()


@app.command(
    epilog="Examples: `forge calibrate --boxes photos_with_labels`; "
    "`forge calibrate --rgbd photos_with_depth --boxes photos_with_labels --output calibration`"
)
def calibrate(
    config: ConfigFile = None,
    rgbd: Annotated[
        Path | None, typer.Option(help="Photos with `index.json` and NAME_gt.npz of measured depth.", file_okay=False)
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="Folder with images/ and labels/ (YOLO text files).", file_okay=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for all tables, all pairs and a picture a task.", file_okay=False)
    ] = None,
) -> None:
    """Measure how true verified pairs are on photos with known truth, beside simpler rules and other thresholds."""
    with clear_errors():
        from forge_assets import terminal
        from forge_assets.calibration.calibrate import calibrate as measure
        from forge_assets.calibration.report import printed_tables
        from forge_resources.config import ConfigError, load_config

        if rgbd is None and boxes is None:
            raise ConfigError("name photos with known truth: --rgbd DIR, --boxes DIR, or both")
        settings = load_config(config_file(config))
        with terminal.photo_progress() as hear:
            measured = measure(settings, rgbd, boxes, hear)
        for title, rows in printed_tables(measured):
            terminal.console.print(terminal.table_of(rows, title))
        typer.echo(f"{measured.photos} photos; models: {', '.join(measured.models)}")
        if output is not None:
            measured.write(output, settings)
            typer.echo(f"all tables, pairs and pictures: {output}")
