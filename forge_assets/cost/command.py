"""The command `forge cost`: what so many photos take, by measured rates and the prices that are given."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forge_assets.command_line import ConfigFile, clear_errors, config_file

if TYPE_CHECKING:
    from forge_assets.cost.from_lake import Measured

app = typer.Typer()
_PRICE = "Price of"


@app.command(
    epilog="Examples: `forge cost`; `forge cost --photos 50000 --lake`; "
    "`forge cost --gpu detections=200 --gpu depth_maps=150 --gpu-hour 2 --cpu-hour 0.05`"
)
def cost(
    photos: Annotated[int | None, typer.Option(help="Photos; default, those of the headline run.", min=1)] = None,
    pairs: Annotated[int | None, typer.Option(help="Verified pairs of them; default, by the measured yield.")] = None,
    config: ConfigFile = None,
    lake: Annotated[
        bool, typer.Option("--lake", help="Take yield, bytes and seconds from the lake that the configuration names.")
    ] = False,
    cores: Annotated[
        int | None, typer.Option(help="Of the machine that made the lake; default, those of this one.", min=1)
    ] = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            help="STAGE=RATE: photos a second on one GPU. With --lake also STAGE alone: it ran on a GPU there. "
            "May be given more than once."
        ),
    ] = None,
    shard_size: Annotated[int | None, typer.Option(help="Photos of a shard; default 2,000.", min=1)] = None,
    gpu_hour: Annotated[float | None, typer.Option(help=f"{_PRICE} an hour of one GPU.", min=0)] = None,
    cpu_hour: Annotated[float | None, typer.Option(help=f"{_PRICE} an hour of one core.", min=0)] = None,
    gb_month: Annotated[float | None, typer.Option(help=f"{_PRICE} keeping 10^9 bytes for a month.", min=0)] = None,
    months: Annotated[float, typer.Option(help="How long all tables are kept.", min=0)] = 1.0,
    thousand_writes: Annotated[
        float | None, typer.Option(help=f"{_PRICE} 1,000 requests that write, list or delete.", min=0)
    ] = None,
    thousand_reads: Annotated[float | None, typer.Option(help=f"{_PRICE} 1,000 requests that read.", min=0)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate hours, bytes, requests and money; every line shows its formula and where its rate was measured."""
    with clear_errors():
        from forge_assets.cost import measured as defaults
        from forge_assets.cost.model import Prices, Workload, estimate
        from forge_assets.cost.options import gpu_options, on_gpus
        from forge_assets.cost.shown import as_json, show

        rates, bare = gpu_options(gpu or (), of_lake=lake)
        found = _of_lake(config_file(config), cores, bare) if lake else None
        count = photos or defaults.PHOTOS
        per_photo = found.pairs_per_photo if found else defaults.PAIRS_PER_PHOTO
        work = Workload(
            photos=count,
            candidates_per_photo=found.candidates_per_photo if found else defaults.CANDIDATES_PER_PHOTO,
            pairs_per_photo=pairs / count if pairs is not None else per_photo,
            shard_size=shard_size or defaults.SHARD_SIZE,
        )
        measured = found.rates if found else defaults.RATES
        prices = Prices(
            gpu_hour=gpu_hour,
            cpu_hour=cpu_hour,
            gb_month=gb_month,
            months=months,
            thousand_writes=thousand_writes,
            thousand_reads=thousand_reads,
        )
        made = estimate(work, replace(measured, times=on_gpus(measured.times, rates)), prices)
        if json:
            typer.echo(as_json(made))
        else:
            show(made)


def _of_lake(path: Path, cores: int | None, on_gpu: Iterable[str]) -> "Measured":
    from forge_assets.cost.from_lake import measured
    from forge_assets.cost.measured import RATES
    from forge_resources.config import load_config
    from forge_resources.instance import open_instance
    from forge_resources.lake import Lake

    settings = load_config(path)
    with open_instance(path) as instance:
        lake = Lake(settings.lake, settings.s3)
        return measured(lake, instance, RATES, cores=cores or os.cpu_count() or 1, on_gpu=set(on_gpu))
