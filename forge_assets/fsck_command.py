"""The command `forge fsck`: name what in the lake is not as it was written, and make it again."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forge_assets.command_line import ConfigFile, clear_errors, config_file

if TYPE_CHECKING:
    from forge_assets.fsck import Place
    from forge_resources.lake import Lake

app = typer.Typer()


@app.command(epilog="Examples: `forge fsck`; `forge fsck --source photos --shard s00000`; `forge fsck --repair`")
def fsck(
    config: ConfigFile = None,
    source: Annotated[list[str] | None, typer.Option(help="Only these sources; may be given more than once.")] = None,
    shard: Annotated[list[str] | None, typer.Option(help="Only these shards, such as s00000.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make what is damaged again, and what was made of it.")
    ] = False,
) -> None:
    """Read all of the lake and name what is not as it was written; exit code 1 where anything is."""
    with clear_errors():
        from forge_assets.fsck import beyond_repair, places
        from forge_resources.config import load_config
        from forge_resources.lake import Lake
        from forge_resources.sources.shard_plan import ShardPlan

        path = config_file(config)
        settings = load_config(path)
        lake = Lake(settings.lake, settings.s3)
        looked_at = places(lake, source, shard)
        damaged = say_damaged(lake, looked_at)
        lost = [] if source or shard else list(beyond_repair(lake, ShardPlan(settings.lake, settings.s3)))
        for problem in lost:
            typer.echo(f"damaged: {problem}")
        typer.echo(f"{len(damaged) + len(lost)} damaged; {len(looked_at)} partitions and tables were read")
        if damaged and repair:
            make_again(path, lake, damaged)
            damaged = say_damaged(lake, damaged)
            typer.echo(f"{len(damaged) + len(lost)} damaged after the repair")
        if damaged or lost:
            raise typer.Exit(1)


def say_damaged(lake: "Lake", looked_at: "Sequence[Place]") -> "list[Place]":
    """Read these places, say what is wrong with each, and return those with which anything is."""
    from forge_assets.fsck import examine
    from forge_assets.terminal import photo_progress

    damaged: list[Place] = []
    with photo_progress() as hear:
        for done, finding in enumerate(examine(lake, looked_at), start=1):
            hear("fsck: partitions", done, len(looked_at))
            if finding.problem is not None:
                damaged.append(finding.place)
                typer.echo(f"damaged: {finding.place}: {finding.problem}")
    return damaged


def make_again(config: Path, lake: "Lake", damaged: "Sequence[Place]") -> None:
    """Make these places again, and say what was made."""
    from forge_assets.automation import add_partitions
    from forge_assets.fsck import repair
    from forge_resources.dagster_resources import ForgeResource
    from forge_resources.instance import open_instance

    with open_instance(config) as instance:
        add_partitions(instance, sorted({place.key for place in damaged if place.key is not None}))
        for made in repair(ForgeResource(config_path=str(config)), instance, lake, damaged):
            typer.echo(f"made again: {f'{made.key}: ' if made.key else ''}{', '.join(made.made)}")
            for problem in made.problems:
                typer.echo(f"  {problem}")
