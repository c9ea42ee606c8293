"""Candidate pairs a second, against hand-written Polars that makes pairs, filters them and writes two sentences.

Run: `python tests/benchmarks/candidates.py [--photos 100000]`. All go shard by shard and write Parquet. The limit
makes pairs of one task, without evidence, ids or templates: a pair of it is a far smaller thing. A second limit fills
all columns of the contract, for one form of one task, and writes them as the lake does: it shows what the columns
alone cost. Two more tables show what the size of a shard and the number of objects of a photo cost.
"""

import forge_assets  # noqa: F401 - before Polars, as in all that users start

# isort: split
import argparse
import tempfile
from pathlib import Path

import polars as pl
import polars_hash as plh
from _bench import Cost, drawn_scenes, measured, pairs_by_hand, peak_mb, print_table

from forge_assets.candidate_qa.generate import candidates
from forge_assets.tables import CANDIDATE_QA, EVIDENCE, TASKS
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

SHARD = 2_000
OBJECTS = 8
CROWDS = (4, 8, 16, 24, 50, 100, 300)
PHOTOS_OF_CROWDS = 200


def contract_by_hand(scenes: pl.DataFrame, most: int) -> pl.DataFrame:
    """The pairs of `pairs_by_hand` with all columns of `CANDIDATE_QA`: ids, boxes, and evidence as for left and right.

    Args:
        scenes: rows of `SCENES`.
        most: pairs of a photo.
    """
    sides = {"x1": "image_width", "y1": "image_height", "x2": "image_width", "y2": "image_height"}
    box = pl.concat_arr((pl.col(side) / pl.col(of) * 1000).round().cast(pl.Int32) for side, of in sides.items())
    of_object = ("object_id", "category", "score", "mirror_iou", "second_score", "is_truncated", "occlusion")
    of_object += ("class_conflict", "x1", "x2", "mirror_x1", "mirror_x2", "box")
    of_photo = ("image_id", "image_sha256", "source", "shard", "image_width", "image_height", "split", "license")
    objects = scenes.lazy().with_columns(box=box).select(*of_photo, *of_object, "detector")

    def both(name: str) -> pl.Expr:
        return pl.concat_arr(name, f"{name}_b").arr.to_list()

    def gap(prefix: str) -> pl.Expr:
        return (pl.col(f"{prefix}x1_b") - pl.col(f"{prefix}x2")) / pl.col("image_width")

    known = {
        "scores": both("score"), "mirror_ious": both("mirror_iou"), "second_scores": both("second_score"),
        "truncated": both("is_truncated"), "occlusions": both("occlusion"), "class_conflicts": both("class_conflict"),
        "gap": pl.col("e_gap"), "mirror_gap": gap("mirror_"), "models": pl.concat_arr("detector").arr.to_list(),
    }  # fmt: skip
    evidence = pl.struct(
        known.get(field.name, pl.lit(None)).cast(field.dtype).alias(field.name) for field in EVIDENCE.fields
    )
    asked = pl.concat_str("image_sha256", pl.lit("left_right"), "object_id", "object_id_b", separator="\x1f")
    return (
        objects.join(objects.select("image_id", pl.col(of_object).name.suffix("_b")), on="image_id")
        .with_columns(e_gap=gap(""))
        .filter((pl.col("object_id") != pl.col("object_id_b")) & (pl.col("e_gap") > 0))
        .with_columns(place=pl.col("score").rank("ordinal", descending=True).over("image_id"))
        .filter(pl.col("place") <= most)
        .with_columns(
            qa_id=plh.CryptographicHashingNameSpace(asked).blake3().str.slice(0, 24),
            task=pl.lit("left_right"),
            level=pl.lit("relation"),
            question=pl.format("Is the {} to the left of the {}?", "category", "category_b"),
            answer=pl.format("Yes, the {} is to the left of the {}.", "category", "category_b"),
            short_answer=pl.lit("yes"),
            answer_kind=pl.lit("yes_no"),
            choices=pl.lit(None),
            object_ids=both("object_id"),
            answer_object_ids=pl.concat_arr("object_id").arr.to_list(),
            boxes=pl.concat_arr("box", "box_b").reshape((-1, 2, 4)).arr.to_list(),
            evidence=evidence,
            template_id=pl.lit("left_right.by_hand.v1"),
            form=pl.lit("by_hand"),
            categories=both("category"),
            category=pl.lit(None),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in CANDIDATE_QA.items())
        .sort("image_id", "qa_id")
        .collect()
    )


def shards(photos: int, config: ForgeConfig, folder: Path) -> None:
    """The whole, shard by shard."""
    lake = Lake(folder / "lake")
    most = config.tasks.max_pairs_per_task * len(TASKS)
    heads = ("by hand, two sentences", "by hand, all columns", "`candidate_qa`")
    made, costs = dict.fromkeys(heads, 0), dict.fromkeys(heads, Cost(0, 0))
    for number in range(max(photos // SHARD, 1)):
        key = ShardKey.numbered("bench", number)
        scenes = drawn_scenes(min(photos, SHARD), OBJECTS, key, number)

        def short(scenes: pl.DataFrame = scenes) -> int:
            return pairs_by_hand(scenes, folder / "hand.parquet", most)

        def complete(key: ShardKey = key, scenes: pl.DataFrame = scenes) -> int:
            return lake.write("by_hand", key, contract_by_hand(scenes, most), CANDIDATE_QA).rows

        def ours(key: ShardKey = key, scenes: pl.DataFrame = scenes) -> int:
            return lake.write("candidate_qa", key, candidates(scenes, config), CANDIDATE_QA).rows

        for head, work in zip(heads, (short, complete, ours), strict=True):
            rows, cost = measured(work)
            made[head], costs[head] = made[head] + rows, costs[head].plus(cost)
    rates = {head: made[head] / costs[head].wall_s for head in heads}
    per_second = {head: made[head] / costs[head].processor_s for head in heads}
    limits = heads[:2]
    print_table(
        ["what", "pairs", "pairs/s", "pairs/s of processor", *(f"of {limit}, processor time" for limit in limits)],
        [
            [
                head, f"{made[head]:,}", f"{rates[head]:,.0f}", f"{per_second[head]:,.0f}",
                *(f"{per_second[head] / per_second[limit]:.2f}" for limit in limits),
            ]
            for head in heads
        ],
    )  # fmt: skip
    print(f"\npeak {peak_mb():,.0f} MB, all\n")  # noqa: T201


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
