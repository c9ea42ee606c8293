"""The command `forge export`: pairs for a trainer."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forge_assets.command_line import ConfigFile, clear_errors, config_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forge_assets.release.selection import Selected
    from forge_resources.config import ForgeConfig

Where = Annotated[str | None, typer.Option(help="SQL condition over the columns of verified_qa.")]
Split = Annotated[str | None, typer.Option(help="train or val; default, both.")]
Quotas = Annotated[
    list[str] | None,
    typer.Option("--quota", help="`counting=1000`: pairs of a task; `counting=0.1`: its share of --total. Repeat it."),
]
Total = Annotated[int | None, typer.Option(min=1, help="How many pairs in all.")]
Balanced = Annotated[bool, typer.Option("--balanced", help="Keep what the balance plan keeps.")]
AllowShort = Annotated[bool, typer.Option("--allow-short", help="Take what there is where a quota cannot be met.")]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Go without partitions that are missing or failed their gate.")
]

app = typer.Typer()


class FormatName(StrEnum):
    """What trainers and libraries read."""

    qwen3_vl = "qwen3-vl"
    qwen2_5_vl = "qwen2.5-vl"
    internvl = "internvl"
    llava = "llava"
    hf = "hf"
    webdataset = "webdataset"


class ImagesChoice(StrEnum):
    """Where the photos are."""

    none = "none"
    link = "link"
    copy = "copy"
    include = "include"


class AnswersChoice(StrEnum):
    """What the answers say."""

    full = "full"
    short = "short"


@app.command(
    epilog="Examples: `forge export --format qwen3-vl --output train.jsonl`; "
    "`forge export --format llava --output near.jsonl --where \"task = 'near_far' AND score > 0.2\"`; "
    "`forge export --format hf --output dataset --balanced --total 1000000 --quota counting=0.1`"
)
def export(
    format: Annotated[FormatName, typer.Option(help="What the trainer reads.")],  # noqa: A002
    output: Annotated[Path, typer.Option(help="A file to write, named .jsonl or .json, or else a folder of files.")],
    config: ConfigFile = None,
    where: Where = None,
    split: Split = None,
    quota: Quotas = None,
    total: Total = None,
    balanced: Balanced = False,
    max_turns: Annotated[int, typer.Option(min=1, help="Questions about a photo in one conversation.")] = 1,
    images: Annotated[
        ImagesChoice | None,
        typer.Option(help="Photos: paths alone, linked, copied, or inside of the files (hf and webdataset)."),
    ] = None,
    answers: Annotated[AnswersChoice, typer.Option(help="Whole sentences, or the short answers in them.")] = (
        AnswersChoice.full
    ),
    shard_rows: Annotated[int | None, typer.Option(min=1, help="Lines, rows or samples in a file of a folder.")] = None,
    min_pixels: Annotated[int | None, typer.Option(min=1, help="qwen2.5-vl: smallest area of a resized photo.")] = None,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="qwen2.5-vl: largest area of a resized photo.")] = None,
    allow_short: AllowShort = False,
    allow_missing: AllowMissing = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export of that name.")] = False,
) -> None:
    """Write verified pairs for a trainer, and a manifest that says what they are and what made them."""
    with clear_errors():
        from forge_assets.release import qwen2_5_vl
        from forge_assets.release.export import ExportError, ExportOptions, write_export
        from forge_assets.release.export_staging import abandoned
        from forge_assets.release.selection import Selection, select_pairs
        from forge_assets.tables import SCHEMAS
        from forge_assets.terminal import photo_progress
        from forge_resources.config import load_config
        from forge_resources.lake import Lake
        from forge_resources.warehouse import Warehouse

        if str(output).startswith("s3:"):
            raise ExportError(f"{output} is not on a disk: export to a folder and copy it, or use `forge release`")
        settings = load_config(config_file(config))
        lake = Lake(settings.lake, settings.s3)
        for left in abandoned(output):
            typer.echo(f"{left} is removed: an export that was killed left it")
        selection = Selection(
            where, split, quotas_of(quota or []), balanced, total, allow_short=allow_short, allow_missing=allow_missing
        )
        options = ExportOptions(
            max_turns=max_turns,
            images=images.value if images else None,
            answers=answers.value,
            shard_rows=shard_rows,
            min_pixels=min_pixels or qwen2_5_vl.MIN_PIXELS,
            max_pixels=max_pixels or qwen2_5_vl.MAX_PIXELS,
            overwrite=overwrite,
            source_folders=source_folders(settings),
        )
        with Warehouse(lake, SCHEMAS) as warehouse:
            selected = select_pairs(warehouse, lake, selection)
            with photo_progress() as hear:
                manifest = write_export(
                    warehouse, lake, selected, format.value, output, options,
                    lambda done: hear("export: pairs", done, selected.pairs),
                )  # fmt: skip
        typer.echo(f"{manifest.pairs} pairs in {output}")
        say_selected(selected)


def quotas_of(texts: list[str]) -> "Mapping[str, int | float]":
    """Quotas as the command line gives them: `task=1000`, pairs, or `task=0.1`, a share.

    Raises:
        SelectionError: if a text is neither, or a task is named twice.
    """
    from forge_assets.release.selection import SelectionError

    quotas: dict[str, int | float] = {}
    for text in texts:
        task, _, number = text.partition("=")
        try:
            quota = int(number) if number.isdecimal() else float(number)
        except ValueError as error:
            raise SelectionError(f"the quota {text!r} is neither like counting=1000 nor like counting=0.1") from error
        if task in quotas:
            raise SelectionError(f"two quotas for {task}")
        quotas[task] = quota
    return quotas


def source_folders(settings: "ForgeConfig") -> "Mapping[str, Path]":
    """By source, the folder on this machine that the paths of its photos start from, where there is one."""
    from forge_resources.config import ImageFolderConfig

    return {
        name: source.path
        for name, source in settings.sources.items()
        if isinstance(source, ImageFolderConfig) and isinstance(source.path, Path)
    }


def say_selected(selected: "Selected") -> None:
    """What is left out, what each cut dropped, and the pairs of each task."""
    for reason in selected.left_out.values():
        typer.echo(f"left out: {reason}")
    for cut in selected.cuts:
        if cut.dropped:
            typer.echo(f"{cut.name}: {cut.dropped} pairs dropped, {cut.left} left")
    for task, pairs in selected.counts.group_by("task", maintain_order=True).agg(pairs="pairs").iter_rows():
        typer.echo(f"{task}: {sum(pairs)}")
