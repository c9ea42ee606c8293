"""Candidate pairs a second, against hand-written Polars that makes pairs, filters them and writes two sentences.

Run: `python tests/benchmarks/candidates.py [--photos 100000]`. Both go shard by shard and write Parquet. The limit
makes pairs of one task, without evidence, ids or templates: a pair of it is a far smaller thing. Two more tables
show what the size of a shard and the number of objects of a photo cost.
"""

import argparse
import tempfile
from pathlib import Path

import polars as pl
from _bench import Cost, drawn_scenes, measured, pairs_by_hand, peak_mb, print_table

from forge_assets.candidate_qa.generate import candidates
from forge_assets.tables import CANDIDATE_QA, TASKS
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

SHARD = 2_000
OBJECTS = 8
CROWDS = (4, 8, 16, 24, 50, 100, 300)
PHOTOS_OF_CROWDS = 200


def shards(photos: int, config: ForgeConfig, folder: Path) -> None:
    """The whole, shard by shard."""
    lake = Lake(folder / "lake")
    most = config.tasks.max_pairs_per_task * len(TASKS)
    made, by_hand, ours, limit = 0, 0, Cost(0, 0), Cost(0, 0)
    for number in range(max(photos // SHARD, 1)):
        key = ShardKey.numbered("bench", number)
        scenes = drawn_scenes(min(photos, SHARD), OBJECTS, key, number)

        def write(key: ShardKey = key, scenes: pl.DataFrame = scenes) -> int:
            return lake.write("candidate_qa", key, candidates(scenes, config), CANDIDATE_QA).rows

        rows, cost = measured(write)
        made, ours = made + rows, ours.plus(cost)
        rows, cost = measured(lambda scenes=scenes: pairs_by_hand(scenes, folder / "hand.parquet", most))
        by_hand, limit = by_hand + rows, limit.plus(cost)
    rates = [made / ours.wall_s, by_hand / limit.wall_s]
    per_second = [made / ours.processor_s, by_hand / limit.processor_s]
    print_table(
        ["what", "pairs", "pairs/s", "pairs/s of processor", "of the limit", "by processor time"],
        [
            ["by hand", f"{by_hand:,}", f"{rates[1]:,.0f}", f"{per_second[1]:,.0f}", "1.00", "1.00"],
            [
                "candidate_qa", f"{made:,}", f"{rates[0]:,.0f}", f"{per_second[0]:,.0f}",
                f"{rates[0] / rates[1]:.2f}", f"{per_second[0] / per_second[1]:.2f}",
            ],
        ],
    )  # fmt: skip
    print(f"\npeak {peak_mb():,.0f} MB, both\n")  # noqa: T201


def curve(config: ForgeConfig, heads: list[str], sizes: list[tuple[int, int]]) -> None:
    """Pairs and processor time a photo, for shards of different photos or sizes."""
    rows: list[list[str]] = []
    for photos, objects in sizes:
        scenes = drawn_scenes(photos, objects, ShardKey.numbered("bench", 0))
        made, cost = measured(lambda scenes=scenes: candidates(scenes, config).height, repeats=2)
        each = f"{1e3 * cost.processor_s / photos:.2f}"
        rows.append([f"{photos:,}", str(objects), f"{made / photos:.1f}", each, f"{made / cost.processor_s:,.0f}"])
    print_table([*heads, "pairs a photo", "processor ms a photo", "pairs/s of processor"], rows)
    print()  # noqa: T201


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--curves", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    config = ForgeConfig()
    candidates(drawn_scenes(100, OBJECTS, ShardKey.numbered("bench", 0)), config)
    with tempfile.TemporaryDirectory() as folder:
        shards(arguments.photos, config, Path(folder))
    if arguments.curves:
        curve(config, ["photos of a shard", "objects"], [(250, OBJECTS), (2_000, OBJECTS), (20_000, OBJECTS)])
        curve(config, ["photos", "objects of each"], [(PHOTOS_OF_CROWDS, objects) for objects in CROWDS])


if __name__ == "__main__":
    main()
