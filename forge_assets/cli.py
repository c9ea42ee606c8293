"""The command `forge`: thin words around the stages, the audits and the exports.

Heavy modules are imported by the commands that need them, so `forge --help` answers at once.
"""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from forge_assets import fsck_command
from forge_assets.audits import commands as audits
from forge_assets.calibration import command as calibration
from forge_assets.command_line import ConfigFile, clear_errors, config_file
from forge_assets.cost import command as cost
from forge_assets.release import export_commands, gallery_command, release_commands

app = typer.Typer(
    help="Turn photos into spatial question-answer pairs that can be trusted.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)


class Stage(StrEnum):
    """The partitioned assets."""

    raw_images = "raw_images"
    detections = "detections"
    depth_maps = "depth_maps"
    scenes = "scenes"
    candidate_qa = "candidate_qa"
    verified_qa = "verified_qa"


@app.command(epilog="Example: `forge demo --folder /tmp/forge-demo`")
def demo(
    folder: Annotated[Path, typer.Option(help="Where photos, lake, exports and pages are written.")] = Path(
        "forge-demo"
    ),
) -> None:
    """Run all stages with real models on photos that installed packages carry; ends with exports and a page."""
    with clear_errors():
        from forge_assets.demo import run_demo

        if not run_demo(folder.absolute()):
            raise typer.Exit(1)


@app.command(epilog="Examples: `forge init ~/photos --license CC-BY-4.0`; `forge init s3://bucket/photos`")
def init(
    photos: Annotated[str, typer.Argument(help="Folder of photos, or s3://bucket/prefix.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="File to write.")] = Path("forge.yaml"),
    source: Annotated[
        str, typer.Option(help="Name of the source, in lower-case letters, digits and underscores.")
    ] = "photos",
    license: Annotated[str, typer.Option(help="Licence of the photos; it travels with every pair.")] = "unknown",  # noqa: A002
    shard_size: Annotated[int, typer.Option(help="Photos in a shard.", min=1)] = 2_000,
) -> None:
    """Write a configuration for a folder of photos; docs/sources.md has those of Objects365, OpenImages and PixMo."""
    with clear_errors():
        from forge_resources.config import ConfigError, ImageFolderConfig, write_config
        from forge_resources.s3 import SCHEME
        from forge_resources.shards import ShardKey

        ShardKey.numbered(source, 0)
        place = photos if photos.startswith(SCHEME) else Path(photos).expanduser().absolute()
        if isinstance(place, Path) and not place.is_dir():
            raise ConfigError(f"{place} is no folder: name the folder that holds the photos")
        settings = ImageFolderConfig.model_validate({"path": place, "license": license, "shard_size": shard_size})
        path = write_config(config, {source: settings})
        typer.echo(f"wrote {path}; next: forge run --config {path}")


@app.command(
    epilog="Examples: `forge run`; `forge run --source photos --shard s00000`; "
    "`forge run --stage candidate_qa --stage verified_qa`"
)
def run(
    config: ConfigFile = None,
    source: Annotated[list[str] | None, typer.Option(help="Only these sources; may be given more than once.")] = None,
    shard: Annotated[list[str] | None, typer.Option(help="Only these shards, such as s00000.")] = None,
    stage: Annotated[list[Stage] | None, typer.Option(help="Only these stages; default, all.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also shards whose verified pairs are there already.")] = False,
) -> None:
    """Plan shards of new photos, then make what is not there yet or has changed, one run a partition, as the UI would.

    A shard or a stage that is named is made whether or not it is there.
    """
    with clear_errors():
        from forge_assets import terminal
        from forge_assets.automation import add_partitions, plan_shards
        from forge_assets.runs import STAGES, chosen_shards, make_balance, make_partitions, unfinished
        from forge_resources.config import load_config
        from forge_resources.dagster_resources import ForgeResource
        from forge_resources.instance import open_instance
        from forge_resources.lake import Lake
        from forge_resources.sources import SourceError
        from forge_resources.sources.shard_plan import ShardPlan

        path = config_file(config)
        settings = load_config(path)
        planned = chosen_shards(plan_shards(settings, source), shard)
        if not planned:
            raise SourceError(f"no photos: {path} names no source that holds any")
        lake, plan = Lake(settings.lake, settings.s3), ShardPlan(settings.lake, settings.s3)
        keys = planned if again or shard or stage else unfinished(lake, plan, planned)
        if len(keys) < len(planned):
            typer.echo(f"{len(planned) - len(keys)} partitions are there already: --again makes them again")
        with open_instance(path) as instance:
            add_partitions(instance, keys)
            forge = ForgeResource(config_path=str(path))
            stages = [one.value for one in stage] if stage else STAGES
            outcomes = terminal.follow(make_partitions(forge, instance, keys, stages), len(keys))
            terminal.say_ended(outcomes)
            if Stage.verified_qa in stages and keys:
                make_balance(forge, instance)
        if not all(outcome.succeeded for outcome in outcomes):
            raise typer.Exit(1)


@app.command(epilog="Example: `forge gate raw_images --source photos --shard s00000`")
def gate(
    table: Annotated[Stage, typer.Argument(help="Whose gate.")],
    config: ConfigFile = None,
    source: Annotated[list[str] | None, typer.Option(help="Only these sources.")] = None,
    shard: Annotated[list[str] | None, typer.Option(help="Only these shards.")] = None,
) -> None:
    """Judge partitions again, without making them again: after a threshold in the configuration has changed."""
    with clear_errors():
        from forge_assets import terminal
        from forge_assets.runs import chosen_shards, judge_partitions
        from forge_resources.config import load_config
        from forge_resources.dagster_resources import ForgeResource
        from forge_resources.instance import open_instance
        from forge_resources.lake import Lake

        path = config_file(config)
        settings = load_config(path)
        sources = {name for name in source or settings.sources if settings.source(name)}
        made = [key for key in Lake(settings.lake, settings.s3).keys(table.value) if key.source in sources]
        keys = chosen_shards(made, shard)
        with open_instance(path) as instance:
            forge = ForgeResource(config_path=str(path))
            outcomes = terminal.follow(judge_partitions(forge, instance, table.value, keys), len(keys))
        terminal.say_ended(outcomes, "judged and passed")
        if not all(outcome.succeeded for outcome in outcomes):
            raise typer.Exit(1)


for group in (audits, export_commands, release_commands, gallery_command, calibration, cost, fsck_command):
    app.add_typer(group.app)


@app.command(epilog="Examples: `forge ui --port 3001`; `forge ui --automation`")
def ui(
    config: ConfigFile = None,
    port: Annotated[int, typer.Option(help="Of the web server, on this machine alone.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    automation: Annotated[
        bool,
        typer.Option("--automation", help="With sensor, schedule and automation on, except those you switched off."),
    ] = False,
) -> None:
    """Open the Dagster UI with its daemon: materialise, backfill, sensors and schedules; Ctrl-C stops all of it."""
    with clear_errors():
        from forge_resources.config import ENVIRONMENT_VARIABLE, load_config
        from forge_resources.instance import AUTOMATION_VARIABLE, HOME_VARIABLE, dagster_home

        path = config_file(config)
        load_config(path)
        environment = os.environ | {ENVIRONMENT_VARIABLE: str(path), HOME_VARIABLE: str(dagster_home(path))}
        if automation:
            environment[AUTOMATION_VARIABLE] = "on"
        arguments = ["-m", "dagster", "dev", "-m", "forge_assets.definitions", "--host", host, "--port", str(port)]
        os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606


@app.command(epilog="Example: `forge doctor`")
def doctor(config: ConfigFile = None) -> None:
    """Say what is installed, which weights are reachable, and what would be used."""
    with clear_errors():
        from forge_assets.doctor import examine

        if not examine(config_file(config)):
            raise typer.Exit(1)


@app.command(epilog="Example: `forge reconcile`")
def reconcile(config: ConfigFile = None) -> None:
    """Rebuild the Dagster instance's partition keys from the lake, and clear what killed runs left in it."""
    with clear_errors():
        from forge_assets.automation import reconcile as rebuild_keys
        from forge_resources.config import load_config
        from forge_resources.instance import open_instance
        from forge_resources.lake import Lake

        path = config_file(config)
        with open_instance(path) as instance:
            settings = load_config(path)
            added = rebuild_keys(instance, settings)
        typer.echo(f"{len(added)} partition keys added")
        cleared = Lake(settings.lake, settings.s3).clear_staging()
        typer.echo(f"{cleared} folders of killed runs removed")


@app.command(epilog="Examples: `forge links`; `forge links --forget --source pixmo_points`")
def links(
    config: ConfigFile = None,
    source: Annotated[list[str] | None, typer.Option(help="Only these sources.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Forget dead links, so that they are asked again.")] = False,
) -> None:
    """Count the web addresses that are remembered, by outcome, so that no run asks for them again."""
    with clear_errors():
        from forge_resources.config import PixMoConfig, load_config
        from forge_resources.sources.pixmo import remembered_links

        settings = load_config(config_file(config))
        for name in source or sorted(settings.sources):
            of_source = settings.source(name)
            if not isinstance(of_source, PixMoConfig):
                continue
            with remembered_links(name, of_source, settings.cache) as downloader:
                for outcome, count in sorted(downloader.remembered().items()):
                    typer.echo(f"{name}: {outcome}: {count}")
                if forget:
                    typer.echo(f"{name}: {downloader.forget_dead()} forgotten; forge run --again asks for them")


if __name__ == "__main__":
    app()
