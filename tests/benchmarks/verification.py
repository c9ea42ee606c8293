"""Candidates a second that are verified, against one scan, one filter and one file of the same rows.

Run: `python tests/benchmarks/verification.py [--candidates 1000000]`. Both read and write Parquet, shard by shard.
"""

import argparse
import tempfile
from pathlib import Path

from _bench import Cost, drawn_scenes, filter_by_hand, measured, peak_mb, print_table

from forge_assets.candidate_qa.generate import candidates
from forge_assets.in_memory import collected
from forge_assets.tables import CANDIDATE_QA, REJECTED_QA, VERIFIED_QA
from forge_assets.verified_qa.verify import verify
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

SHARD = 2_000
OBJECTS = 8


def verified(lake: Lake, key: ShardKey, config: ForgeConfig) -> None:
    """What the asset does with one shard."""
    kept, dropped = verify(collected(lake.scan("candidate_qa", key)), config.verification)
    lake.write("rejected_qa", key, dropped, REJECTED_QA)
    lake.write("verified_qa", key, kept, VERIFIED_QA)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    arguments = parser.parse_args()
    config, number, total, ours, limit = ForgeConfig(), 0, 0, Cost(0, 0), Cost(0, 0)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake")
        while total < arguments.candidates:
            key = ShardKey.numbered("bench", number)
            made = candidates(drawn_scenes(SHARD, OBJECTS, key, number), config).head(arguments.candidates - total)
            lake.write("candidate_qa", key, made, CANDIDATE_QA)
            total, number = total + made.height, number + 1
            del made
            ours = ours.plus(measured(lambda key=key: verified(lake, key, config))[1])
            path = lake.root / "candidate_qa" / f"source={key.source}" / f"shard={key.shard}" / "data.parquet"
            assert isinstance(path, Path)
            limit = limit.plus(measured(lambda path=path: filter_by_hand(path, Path(folder) / "hand.parquet"))[1])
    print_table(
        ["what", "candidates", "a second", "a second of processor", "of the limit", "by processor time"],
        [
            [
                name, f"{total:,}", f"{total / cost.wall_s:,.0f}", f"{total / cost.processor_s:,.0f}",
                f"{limit.wall_s / cost.wall_s:.2f}", f"{limit.processor_s / cost.processor_s:.2f}",
            ]
            for name, cost in (("scan, filter, write", limit), ("verified_qa, rejected_qa", ours))
        ],
    )  # fmt: skip
    print(f"\npeak {peak_mb():,.0f} MB, with the making of the candidates")  # noqa: T201


if __name__ == "__main__":
    main()
