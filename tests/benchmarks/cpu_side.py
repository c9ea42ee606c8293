"""Verified pairs a second, from ready scenes in the lake to verified and rejected pairs in the lake.

Run: `python tests/benchmarks/cpu_side.py [--shards 20] [--processes 2]`. Each process takes one shard after another.
Gates and Dagster are left out: they have benchmarks of their own.
"""

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from _bench import drawn_scenes, peak_mb

from forge_assets.candidate_qa.generate import candidates
from forge_assets.in_memory import collected
from forge_assets.tables import CANDIDATE_QA, REJECTED_QA, SCENES, VERIFIED_QA
from forge_assets.verified_qa.verify import verify
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

OBJECTS = 8


class Made(NamedTuple):
    """What one shard gave, and what its process has taken."""

    candidates: int
    verified: int
    processor_s: float
    peak_mb: float


def write_scenes(root: Path, photos: int, number: int) -> None:
    """One shard to begin with."""
    key = ShardKey.numbered("bench", number)
    Lake(root).write("scenes", key, drawn_scenes(photos, OBJECTS, key, number), SCENES)


def make_shard(root: Path, number: int) -> Made:
    """What the assets do with one shard."""
    started, lake, key, config = time.process_time(), Lake(root), ShardKey.numbered("bench", number), ForgeConfig()
    rows = candidates(collected(lake.scan("scenes", key)), config)
    lake.write("candidate_qa", key, rows, CANDIDATE_QA)
    del rows
    kept, dropped = verify(collected(lake.scan("candidate_qa", key)), config.verification)
    lake.write("rejected_qa", key, dropped, REJECTED_QA)
    lake.write("verified_qa", key, kept, VERIFIED_QA)
    return Made(kept.height + dropped.height, kept.height, time.process_time() - started, peak_mb())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--photos", type=int, default=2_000, help="of a shard")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = str(max((os.cpu_count() or 1) // arguments.processes, 1))
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool,
    ):
        root = Path(folder)
        list(pool.map(partial(write_scenes, root, arguments.photos), range(arguments.shards)))
        started = time.perf_counter()
        made = list(pool.map(partial(make_shard, root), range(arguments.shards)))
        wall_s = time.perf_counter() - started
    asked, kept = sum(shard.candidates for shard in made), sum(shard.verified for shard in made)
    processor_s, peak = sum(shard.processor_s for shard in made), max(shard.peak_mb for shard in made)
    sys.stdout.write(
        f"{arguments.shards} shards of {arguments.photos:,} photos, {arguments.processes} processes: {asked:,} "
        f"candidates, {kept:,} verified in {wall_s:.1f} s\n{asked / wall_s:,.0f} candidates/s, {kept / wall_s:,.0f} "
        f"verified pairs/s; {asked / processor_s:,.0f} and {kept / processor_s:,.0f} a second of processor time; "
        f"peak {peak:,.0f} MB a process\n"
    )


if __name__ == "__main__":
    main()
