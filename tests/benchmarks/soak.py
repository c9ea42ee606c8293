"""Many small partitions in a row in one process, as `forge run` makes them: do memory and open files stay flat?

    python tests/benchmarks/soak.py [--partitions 300] [--photos 1] [--stages raw_images ...]

Photos are of noise; all stages make them, with the embedded networks. Figures are taken after every fifth partition.
The first fifth of them is left out: it loads networks and fills caches. Growth is the slope of a straight line through
the rest.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import yaml
from PIL import Image

from forge_assets.automation import add_partitions, plan_shards
from forge_assets.runs import STAGES, make_partitions
from forge_resources.config import load_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.instance import open_instance

EVERY = 5
"""Partitions from one figure to the next."""
WARM_UP = 0.2
"""Share of the figures that are left out."""
MOST_KB_A_PARTITION = 64


@dataclass(frozen=True)
class Soak:
    """What a process held after each so many partitions."""

    memory_mb: Sequence[float]
    open_files: Sequence[int]
    seconds: float

    @property
    def warm(self) -> int:
        """From which figure on all is loaded."""
        return round(WARM_UP * len(self.memory_mb))

    @property
    def growth_kb(self) -> float:
        """Memory that each partition adds once all is warm, in kB."""
        held = self.memory_mb[self.warm :]
        return 1e3 * float(np.polyfit(EVERY * np.arange(len(held)), held, 1)[0])

    @property
    def files_added(self) -> int:
        """Files that are open in the end and were not when all was warm."""
        return self.open_files[-1] - self.open_files[self.warm]


def make_project(folder: Path, partitions: int, photos: int) -> Path:
    """Write photos of noise and a configuration; its path."""
    (folder / "photos").mkdir()
    for number in range(partitions * photos):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
        photo = Image.fromarray(pixels).resize((96, 72), Image.Resampling.NEAREST)
        photo.save(folder / "photos" / f"{number:06d}.png")
    embedded = {"backend": "embedded"}
    settings = {
        "lake": "lake",
        "sources": {"photos": {"path": "photos", "shard_size": photos, "license": "CC0"}},
        "models": {"detector": embedded, "pose": embedded, "depth": []},
    }
    path = folder / "forge.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def soak(folder: Path, partitions: int, photos: int, stages: Sequence[str]) -> Soak:
    """Make so many partitions in this process and measure it meanwhile.

    Raises:
        RuntimeError: if a partition fails.
    """
    config = make_project(folder, partitions, photos)
    process, memory, files = psutil.Process(), [], []
    started = time.perf_counter()
    with open_instance(config) as instance:
        keys = plan_shards(load_config(config))
        add_partitions(instance, keys)
        forge = ForgeResource(config_path=str(config))
        for number, outcome in enumerate(make_partitions(forge, instance, keys, stages), start=1):
            if not outcome.succeeded:
                raise RuntimeError(f"{outcome.key}: {'; '.join(outcome.problems)}")
            if number % EVERY == 0:
                gc.collect()
                memory.append(process.memory_info().rss / 1e6)
                files.append(process.num_fds())
    return Soak(memory, files, time.perf_counter() - started)


def main() -> None:
    """Soak, and say what was held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=300)
    parser.add_argument("--photos", type=int, default=1, help="of each partition")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        held = soak(Path(folder), arguments.partitions, arguments.photos, arguments.stages)
    sys.stdout.write(
        f"{arguments.partitions} partitions, {held.seconds / arguments.partitions:.2f} s each\n"
        f"memory: {held.memory_mb[held.warm]:.0f} MB when warm, {held.memory_mb[-1]:.0f} MB in the end, "
        f"{held.growth_kb:+.0f} kB a partition (at most {MOST_KB_A_PARTITION})\n"
        f"open files: {held.open_files[held.warm]} when warm, {held.open_files[-1]} in the end\n"
    )
    sys.exit(held.growth_kb > MOST_KB_A_PARTITION or held.files_added > 0)


if __name__ == "__main__":
    main()
