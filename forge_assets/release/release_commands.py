"""The commands around named releases: `forge release`, `forge images`, `forge diff`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forge_assets.command_line import ConfigFile, clear_errors, config_file

if TYPE_CHECKING:
    from forge_resources.config import ForgeConfig
    from forge_resources.s3 import S3Uri

app = typer.Typer()


class DiffLayout(StrEnum):
    """How a difference is printed."""

    table = "table"
    json = "json"
    markdown = "markdown"


@app.command(
    epilog="Examples: `forge release v1`; `forge release v1-small --total 1000 --quota counting=0.2 --allow-short`; "
    "`forge release near --all --where \"task = 'near_far'\"`"
)
def release(
    name: Annotated[str, typer.Argument(help="Of the release; one that exists is refused.")],
    config: ConfigFile = None,
    where: Annotated[str | None, typer.Option(help="SQL condition over the columns of verified_qa.")] = None,
    split: Annotated[str | None, typer.Option(help="train or val; default, both.")] = None,
    quota: Annotated[
        list[str] | None, typer.Option(help="TASK=PAIRS, or TASK=SHARE of --total (0.25); may be given more than once.")
    ] = None,
    total: Annotated[int | None, typer.Option(help="Pairs in all.", min=1)] = None,
    balanced: Annotated[
        bool, typer.Option("--balanced/--all", help="Keep what the balance plan keeps, or all.")
    ] = True,
    allow_short: Annotated[
        bool, typer.Option("--allow-short", help="Take what there is where a quota is not met.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go without partitions that are missing or refused by their gate.")
    ] = False,
    calibration: Annotated[
        Path | None, typer.Option(help="Folder that `forge calibrate --output` wrote, for the card.", file_okay=False)
    ] = None,
) -> None:
    """Make a named, immutable release of annotations: Parquet by task, dataset card, Croissant, manifest."""
    with clear_errors():
        from forge_assets.release.named import make_release, require_name
        from forge_assets.release.release_asset import pairs_by_task
        from forge_assets.release.selection import Selection
        from forge_resources.config import load_config

        require_name(name)
        selection = Selection(
            where=where,
            split=split,
            quotas=_quotas(quota),
            balanced=balanced,
            total=total,
            allow_short=allow_short,
            allow_missing=allow_missing,
        )
        made = make_release(load_config(config_file(config)), name, selection, calibration=calibration)
        manifest = made.manifest
        for left in manifest.left_out:
            typer.echo(f"left out: {left.partition}: {left.reason}")
        for task, pairs in pairs_by_task(manifest).items():
            typer.echo(f"{task}: {pairs}")
        typer.echo(f"{manifest.pairs} pairs of {manifest.photos} photos in {made.root}")


@app.command(
    epilog="Examples: `forge images lake/releases/v1 --output photos`; "
    "`forge images v1 --output photos --source coco=/data/coco --link`"
)
def images(
    release: Annotated[str, typer.Argument(help="Folder of a release, or its name in the lake.")],
    output: Annotated[Path, typer.Option(help="Folder for the photos.", file_okay=False)],
    config: ConfigFile = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=PATH or NAME=s3://bucket/prefix: where a source's photos lie; may be given more than once."
        ),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Link photos that lie upright in a folder; copy the others.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Exit code 0 even if photos are missing.")
    ] = False,
) -> None:
    """Fetch or link the photos of a release, upright and checked; missing.csv lists those that cannot be had."""
    with clear_errors():
        from forge_assets.release.images import MISSING, fetch_images
        from forge_assets.release.release_folder import open_release
        from forge_resources.lake import Lake

        settings = _config_if_any(config)
        lake = Lake(settings.lake, settings.s3) if settings else None
        fetched = fetch_images(open_release(release, lake), output, settings, _places(source), link=link)
        for what, count in fetched.counts.items():
            typer.echo(f"{what}: {count}")
        if fetched.missing:
            typer.echo(f"why photos are missing: {output / MISSING}")
            if not allow_missing:
                raise typer.Exit(1)


@app.command(epilog="Examples: `forge diff v1 v2`; `forge diff v1 lake/releases/v2 --format markdown`")
def diff(
    old: Annotated[str, typer.Argument(help="The earlier release: folder, manifest, or name in the lake.")],
    new: Annotated[str, typer.Argument(help="The later release.")],
    config: ConfigFile = None,
    format: Annotated[DiffLayout, typer.Option(help="How to print.")] = DiffLayout.table,  # noqa: A002
    rows: Annotated[Path | None, typer.Option(help="Parquet file for each pair that differs, with its cause.")] = None,
) -> None:
    """Tell pairs added, removed and changed between two releases, by task and cause; the lake knows why pairs went."""
    with clear_errors():
        from forge_assets.release.diff import as_json, as_markdown, diff_releases, tables
        from forge_assets.release.release_folder import open_release
        from forge_resources.lake import Lake

        settings = _config_if_any(config)
        lake = Lake(settings.lake, settings.s3) if settings else None
        found = diff_releases(open_release(old, lake), open_release(new, lake), lake, rows)
        if format is DiffLayout.json:
            typer.echo(as_json(found))
        elif format is DiffLayout.markdown:
            typer.echo(as_markdown(found), nl=False)
        else:
            from forge_assets import terminal

            typer.echo(f"{found.old.name}: {found.old.pairs} pairs; {found.new.name}: {found.new.pairs} pairs")
            if found.is_empty:
                typer.echo("they have the same pairs")
            for title, table in tables(found):
                if table.height:
                    terminal.console.print(terminal.table_of(table, title))


def _config_if_any(config: Path | None) -> "ForgeConfig | None":
    """The configuration, where one is named or lies where it is looked for; a release can be used without one."""
    from forge_resources.config import load_config

    path = config_file(config)
    return load_config(path) if config is not None or path.exists() else None


def _quotas(texts: list[str] | None) -> dict[str, int | float] | None:
    from forge_assets.release.release_folder import ReleaseError

    quotas: dict[str, int | float] = {}
    for text in texts or []:
        task, _, number = text.partition("=")
        try:
            quotas[task] = int(number) if number.isdigit() else float(number)
        except ValueError as error:
            raise ReleaseError(
                f"--quota {text}: write TASK=PAIRS or TASK=SHARE, as counting=500 or counting=0.25"
            ) from error
    return quotas or None


def _places(texts: list[str] | None) -> "dict[str, Path | S3Uri]":
    from forge_assets.release.release_folder import ReleaseError
    from forge_resources.s3 import SCHEME, S3Uri

    places: dict[str, Path | S3Uri] = {}
    for text in texts or []:
        name, _, place = text.partition("=")
        if not name or not place:
            raise ReleaseError(f"--source {text}: write NAME=PATH or NAME=s3://bucket/prefix")
        places[name] = S3Uri.parse(place) if place.startswith(SCHEME) else Path(place).expanduser().absolute()
    return places
