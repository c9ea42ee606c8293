"""The command `forge gallery`: a page of pairs to look at."""

from pathlib import Path
from typing import Annotated

import typer

from forge_assets.command_line import ConfigFile, clear_errors, config_file

app = typer.Typer()


@app.command(epilog="Example: `forge gallery --task near_far --pairs-per-task 50 --output gallery`")
def gallery(
    output: Annotated[Path, typer.Option(help="Folder of the page; its earlier page and images are replaced.")] = Path(
        "gallery"
    ),
    pairs_per_task: Annotated[int, typer.Option(min=0, help="Verified pairs of each task.")] = 10,
    rejected_per_rule: Annotated[int, typer.Option(min=0, help="Rejected pairs of each rule.")] = 5,
    all_rules: Annotated[
        bool, typer.Option("--all-rules", help="Rejected pairs of each rule of each task, not of each rule.")
    ] = False,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be repeated.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be repeated.")] = None,
    where: Annotated[
        str | None, typer.Option(help="SQL condition over the columns of verified_qa and rejected_qa.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Write an HTML page of pairs with their boxes on the photos; it opens from disk."""
    with clear_errors():
        from forge_assets.release.gallery import Sample, write_gallery
        from forge_assets.tables import SCHEMAS
        from forge_resources.config import load_config
        from forge_resources.lake import Lake
        from forge_resources.warehouse import Warehouse

        settings = load_config(config_file(config))
        lake = Lake(settings.lake, settings.s3)
        wanted = Sample(
            pairs_per_task=pairs_per_task,
            rejected_per_rule=rejected_per_rule,
            all_rules=all_rules,
            where=where,
            tasks=tuple(task or ()),
            sources=tuple(source or ()),
        )
        with Warehouse(lake, SCHEMAS) as warehouse:
            page = write_gallery(
                warehouse, lake, output, settings.quotas, wanted=wanted, thresholds=settings.verification
            )
        typer.echo(page)
        typer.echo(f"open it in a browser: {page.absolute().as_uri()}")
