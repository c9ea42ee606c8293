"""Which stages run on GPUs, as the command line says it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from forge_assets.cost.model import TimeRate
from forge_resources.errors import ForgeError

GPU_STAGES: Final = ("detections", "depth_maps")
"""The stages that run networks."""


class CostOptionError(ForgeError, ValueError):
    """An option of `forge cost` that does not say what is meant."""


def gpu_options(given: Iterable[str], *, of_lake: bool) -> tuple[Mapping[str, float], frozenset[str]]:
    """Photos a second by stage of what reads `stage=rate`, and the stages that are named alone.

    Args:
        given: what `--gpu` was given.
        of_lake: whether a lake tells the seconds of stages that are named alone.

    Raises:
        CostOptionError: for a stage without networks, a stage alone where no lake tells its seconds, or a rate
            that is no number above zero.
    """
    rates: dict[str, float] = {}
    bare: set[str] = set()
    for text in given:
        stage, separator, rate = text.partition("=")
        if stage not in GPU_STAGES:
            raise CostOptionError(f"--gpu {text}: networks run in {' and '.join(GPU_STAGES)} alone")
        if not separator and not of_lake:
            raise CostOptionError(f"--gpu {text}: give photos a second, as in {stage}=200, or --lake")
        if not separator:
            bare.add(stage)
            continue
        try:
            rates[stage] = float(rate)
        except ValueError:
            rates[stage] = 0.0
        if not 0 < rates[stage] < float("inf"):
            raise CostOptionError(f"--gpu {text}: write photos a second after the =, as in {stage}=200")
    return rates, frozenset(bare)


def on_gpus(times: Sequence[TimeRate], photos_per_second: Mapping[str, float]) -> Sequence[TimeRate]:
    """The same rates, those of some stages replaced by what one GPU does."""
    return [
        replace(rate, processor="GPU", seconds=1 / photos_per_second[rate.stage], unit="photo", origin="as given")
        if rate.stage in photos_per_second
        else rate
        for rate in times
    ]
