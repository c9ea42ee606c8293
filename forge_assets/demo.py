"""`forge demo`: the whole pipeline on photos that installed packages carry."""

import logging
from pathlib import Path

from forge_assets import terminal
from forge_assets.audits.runner import run_audit
from forge_assets.automation import add_partitions, plan_shards
from forge_assets.release.export import ExportOptions, write_export
from forge_assets.release.formats import FORMATS
from forge_assets.release.gallery import write_gallery
from forge_assets.release.selection import Selection, select_pairs
from forge_assets.runs import make_balance, make_partitions
from forge_assets.tables import SCHEMAS
from forge_resources.config import ForgeConfig, ImageFolderConfig, load_config, write_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.instance import open_instance
from forge_resources.lake import Lake
from forge_resources.models import selection
from forge_resources.sources.package_photos import copy_photos
from forge_resources.warehouse import Warehouse

SOURCE = "packages"
SHARD_SIZE = 8


def run_demo(folder: Path) -> bool:
    """Make everything below `folder` and say where it is; what stands there already is made again.

    Returns:
        Whether all partitions passed their gates.
    """
    path = prepare(folder)
    config = load_config(path)
    say_models(config)
    keys = plan_shards(config)
    forge = ForgeResource(config_path=str(path))
    with open_instance(path) as instance:
        add_partitions(instance, keys)
        outcomes = terminal.follow(make_partitions(forge, instance, keys), len(keys))
        terminal.say_ended(outcomes)
        make_balance(forge, instance)
    show_results(folder, config)
    terminal.console.print(f"\nLook at it in Dagster: [bold]forge ui --config {path}[/]")
    return all(outcome.succeeded for outcome in outcomes)


def say_models(config: ForgeConfig) -> None:
    """Which networks this machine can have, and why those."""
    logging.getLogger(selection.__name__).setLevel(logging.ERROR)
    for status in selection.describe(config):
        terminal.console.print(f"[bold]{status.role}[/]: {status.would_use or 'none'}", highlight=False)
        terminal.console.print(f"  {status.why}", style="dim", highlight=False)


def prepare(folder: Path) -> Path:
    """Copy the photos and write the configuration of the demo, if it is not there yet."""
    path = folder / "forge.yaml"
    copy_photos(folder / "photos")
    if not path.exists():
        source = ImageFolderConfig(path=Path("photos"), shard_size=SHARD_SIZE, license="see docs/demo-photos.md")
        write_config(path, {SOURCE: source})
    return path


def show_results(folder: Path, config: ForgeConfig) -> None:
    """Exports, the page and the task balance of the demo's lake."""
    lake = Lake(config.lake, config.s3)
    with Warehouse(lake, SCHEMAS) as warehouse:
        selected = select_pairs(warehouse, lake, Selection(allow_missing=True))
        outputs = {
            name: folder / "export" / (f"{name}.jsonl" if wanted.layout == "lines" else name)
            for name, wanted in FORMATS.items()
        }
        for name, output in outputs.items():
            write_export(warehouse, lake, selected, name, output, ExportOptions(overwrite=True))
        page = write_gallery(warehouse, lake, folder / "gallery", quotas=config.quotas, thresholds=config.verification)
        balance = run_audit(warehouse, "task_balance", config.quotas)
    terminal.console.print(terminal.table_of(balance.select("task", "pairs", "share", "quota"), "task balance"))
    terminal.console.print(f"pairs:   {lake.root / 'verified_qa'}")
    for output in outputs.values():
        terminal.console.print(f"export:  {output} ({selected.pairs} pairs)")
    terminal.console.print(f"gallery: {page}")
