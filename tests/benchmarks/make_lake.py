"""A made-up lake as large as a real one: `python tests/benchmarks/make_lake.py FOLDER --pairs 10200000 --shards 1400`.

Tasks have the proportions of SpatialForge-10M, categories and rules are as uneven as in photos (Zipf's law), texts and
boxes differ from pair to pair, evidence is filled. Photos have no bytes.
The same arguments give the same rows.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.candidate_qa.templates import templates
from forge_assets.tables import CANDIDATE_QA, PERCEPTION, SCHEMAS, VERIFIED_QA
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake, Verdict
from forge_resources.shards import ShardKey

PHOTOS = 2_000
CATEGORIES = 365
SOURCES = {"objects365": 0.65, "openimages": 0.25, "pixmo": 0.1}
RULES = ("min_score", "mirror", "unique", "depth_readings", "min_area_share", "gap", "count_range", "occlusion")
YIELD = 0.75
LICENSES = ("CC-BY-4.0", "CC-BY-SA-4.0", "unknown")
VAL_SHARE = 0.02

Draws = np.random.Generator


def zipf(count: int, outcomes: int, draws: Draws) -> NDArray[np.int64]:
    """Numbers from 0 to below `outcomes`, each rarer than the one before."""
    weights = 1 / np.arange(1, outcomes + 1)
    return draws.choice(outcomes, size=count, p=weights / weights.sum())


def hexadecimal(count: int, digits: int, draws: Draws) -> pl.Series:
    """Random texts as long as a hash."""
    text = draws.bytes(count * digits // 2).hex()
    return pl.Series([text[start : start + digits] for start in range(0, count * digits, digits)])


def photos(key: ShardKey, draws: Draws) -> pl.DataFrame:
    """Rows of `raw_images` without bytes."""
    return pl.DataFrame(
        {
            "image_id": pl.Series(range(PHOTOS)).cast(pl.String).str.pad_start(8, "0"),
            "format": "JPEG",
            "mode": "RGB",
            "width": draws.choice([640, 1024, 1280], PHOTOS),
            "height": draws.choice([480, 683, 768], PHOTOS),
            "byte_size": draws.integers(50_000, 500_000, PHOTOS),
            "sha256": hexadecimal(PHOTOS, 64, draws),
            "phash": hexadecimal(PHOTOS, 16, draws),
            "license": np.array(LICENSES)[zipf(PHOTOS, len(LICENSES), draws)],
            "split": np.where(draws.random(PHOTOS) < VAL_SHARE, "val", "train"),
            "is_labeled": True,
            "labels_dropped": 0,
        }
    ).with_columns(image_id=pl.format("{}/{}_{}", pl.lit(key.source), pl.lit(key.shard), "image_id"))


def drawn(count: int, of: pl.DataFrame, draws: Draws) -> pl.DataFrame:
    """What is drawn for each pair: photo, task, template, two categories, two boxes, how it is answered."""
    quotas = ForgeConfig().quotas
    shares = np.array(list(quotas.values()))
    tasks = np.array(list(quotas))[draws.choice(len(quotas), count, p=shares / shares.sum())]
    known = templates().with_row_index("place").with_columns(place=pl.int_range(pl.len()).over("task"))
    sizes = dict(known.group_by("task").len().iter_rows())
    place = (draws.random(count) ** 2 * np.vectorize(sizes.get)(tasks)).astype(np.int64)
    corners = np.sort(draws.integers(0, 500, (count, 2, 2, 2)), axis=2) * 2
    corners[:, :, 1] += 1
    shown = of.select("image_id", "license", "split", image_width="width", image_height="height")
    return (
        shown[np.sort((draws.beta(1, 2, count) * PHOTOS).astype(np.int64))]
        .with_columns(
            qa_id=hexadecimal(count, 24, draws),
            task=pl.Series(tasks),
            place=pl.Series(place),
            first=pl.Series(zipf(count, CATEGORIES, draws)),
            second=pl.Series(zipf(count, CATEGORIES, draws)),
            number=pl.Series(draws.geometric(0.4, count) % 20),
            is_true=pl.Series(draws.random(count) < 0.5),
            score=pl.Series(draws.gamma(2, 0.2, count)),
            ratio=pl.Series(1.2 + draws.exponential(0.8, count)),
            sureness=pl.Series(draws.uniform(0.5, 1, count)),
            box=pl.Series(corners[:, 0].reshape(count, 4).astype(np.int32), dtype=pl.Array(pl.Int32, 4)),
            other_box=pl.Series(corners[:, 1].reshape(count, 4).astype(np.int32), dtype=pl.Array(pl.Int32, 4)),
        )
        .with_columns(pl.format("class {}", side).alias(side) for side in ("first", "second"))
        .join(
            known.select("task", "place", "template_id", "form"),
            on=["task", "place"],
            how="left",
            maintain_order="left",
        )
    )


def evidence(several: pl.Expr) -> pl.Expr:
    """What an answer rests on; fields that this does not name are null."""
    both = pl.when(several).then(pl.concat_list("sureness", "sureness")).otherwise(pl.concat_list("sureness"))
    reading = pl.struct(
        reading=pl.lit("depth"), ratio="ratio", mirror_ratio="ratio", separation="ratio", pair=pl.lit(0, pl.Int32)
    )
    ground = pl.struct(
        reading=pl.lit("ground_contact"),
        ratio="ratio",
        mirror_ratio="ratio",
        separation="ratio",
        pair=pl.lit(0, pl.Int32),
    )
    phrase = pl.struct(
        object_id=pl.format("{}#d000", "image_id"),
        kind=pl.lit("class"),
        text=pl.format("the {}", "first"),
        value=pl.lit(None, pl.Float64),
        matches=pl.lit(1, pl.Int32),
        count_spread=pl.lit(0, pl.Int32),
    )
    filled = {
        "scores": both,
        "mirror_ious": both,
        "occlusions": both,
        "same_category": pl.col("number").cast(pl.Int32),
        "readings": pl.when(task="near_far").then(pl.concat_list(reading, ground)),
        "gap": pl.when(task="left_right").then("sureness"),
        "models": pl.lit(["embedded:detector", "embedded:depth"]),
        "phrases": pl.concat_list(phrase),
    }
    dtype = VERIFIED_QA["evidence"]
    assert isinstance(dtype, pl.Struct)
    return pl.struct(filled.get(field.name, pl.lit(None)).cast(field.dtype).alias(field.name) for field in dtype.fields)


def pairs(key: ShardKey, count: int, of: pl.DataFrame, draws: Draws) -> pl.DataFrame:
    """Pairs with the columns of `verified_qa`."""
    relation = ~pl.col("task").is_in(list(PERCEPTION))
    region = pl.col("box").arr.to_list().cast(pl.List(pl.String)).list.join(", ")
    kind = (
        pl.when(task="grounding")
        .then(pl.lit("bbox"))
        .when(task="referring")
        .then(pl.lit("text"))
        .when(task="counting")
        .then(pl.lit("integer"))
        .when("is_true")
        .then(pl.lit("choice"))
        .otherwise(pl.lit("yes_no"))
    )
    options = pl.concat_list(pl.format("the {}", "first"), pl.format("the other {}", "second"))
    short = (
        pl.when(answer_kind="bbox")
        .then(pl.concat_str(pl.lit('[{"bbox_2d": ['), region, pl.lit('], "label": "'), "first", pl.lit('"}]')))
        .when(answer_kind="text")
        .then(pl.format("the {} on the {}", "first", "second"))
        .when(answer_kind="integer")
        .then(pl.col("number").cast(pl.String))
        .when(answer_kind="choice")
        .then(pl.col("choices").list.get(pl.col("number") % 2))
        .otherwise(pl.when(pl.col("number") > 1).then(pl.lit("Yes")).otherwise(pl.lit("No")))
    )
    objects = pl.concat_list(pl.format("{}#d000", "image_id"), pl.format("{}#d001", "image_id"))
    length = pl.when(relation).then(2).otherwise(1)
    return (
        drawn(count, of, draws)
        .with_columns(
            answer_kind=kind,
            source=pl.lit(key.source),
            shard=pl.lit(key.shard),
            level=pl.when(relation).then(pl.lit("relation")).otherwise(pl.lit("perception")),
            question=pl.format("Template {}: the {} at [{}], and the {}?", "template_id", "first", region, "second"),
            category=pl.col("first"),
            categories=pl.concat_list("first", "second").list.head(length),
            object_ids=objects.list.head(length),
            answer_object_ids=objects.list.head(1),
            boxes=pl.concat_list("box", "other_box").list.head(length),
            evidence=evidence(relation),
        )
        .with_columns(choices=pl.when(answer_kind="choice").then(options))
        .with_columns(short_answer=short)
        .with_columns(answer=pl.col("short_answer"))
        .sort("qa_id")
    )


def write(lake: Lake, table: str, key: ShardKey, rows: pl.DataFrame, inputs: Mapping[str, str] | None = None) -> str:
    """Write one partition and a passing verdict; columns that `rows` lacks are null."""
    schema = SCHEMAS[table]
    full = rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    )
    manifest = lake.write(table, key, full, schema, inputs=inputs, versions={"code": "bench"})
    digest = manifest.content_hash
    lake.write_verdict(
        table,
        key,
        Verdict(gate=f"{table}_gate", content_hash=digest, suite_hash="0", outcome="passed", rows=manifest.rows),
    )
    return digest


def write_shard(root: Path, place: tuple[int, ShardKey, int]) -> int:
    """Write one shard of all tables; how many verified pairs it has."""
    number, key, count = place
    draws, lake = np.random.default_rng(number), Lake(root)
    of = photos(key, draws).with_columns(source=pl.lit(key.source), shard=pl.lit(key.shard))
    write(lake, "raw_images", key, of)
    lost = round(count * (1 / YIELD - 1))
    asked = pairs(key, count + lost, of, draws)
    is_kept = pl.Series(np.argsort(draws.random(count + lost)) >= lost)
    rules = pl.Series(np.array(RULES)[zipf(lost, len(RULES), draws)])
    light = [name for name in CANDIDATE_QA if name not in ("evidence", "boxes", "object_ids", "answer_object_ids")]
    candidates = write(lake, "candidate_qa", key, asked.select(light))
    dropped = asked.filter(~is_kept).select(light).with_columns(rule=rules, value=pl.lit(0.4), threshold=pl.lit(0.5))
    write(lake, "rejected_qa", key, dropped, {"candidate_qa": candidates})
    write(lake, "verified_qa", key, asked.filter(is_kept), {"candidate_qa": candidates})
    return count


def plan(pairs_wanted: int, shards: int) -> list[tuple[int, ShardKey, int]]:
    """Number, key and pairs of each shard."""
    sizes = {source: max(1, round(shards * share)) for source, share in SOURCES.items()}
    keys = [ShardKey.numbered(source, number) for source, size in sizes.items() for number in range(size)][:shards]
    sizes_of = np.random.default_rng(0).normal(1, 0.03, len(keys)).clip(0.8, 1.2)
    counts = np.round(sizes_of / sizes_of.sum() * pairs_wanted).astype(np.int64)
    counts[-1] += pairs_wanted - counts.sum()
    return [(number, key, int(count)) for number, (key, count) in enumerate(zip(keys, counts, strict=True))]


def make_lake(root: Path, pairs_wanted: int, shards: int, processes: int) -> int:
    """Write the lake; how many verified pairs it has."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return sum(pool.map(partial(write_shard, root), plan(pairs_wanted, shards), chunksize=4))


def main() -> None:
    """Make the lake and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="default, a temporary one, which goes again")
    parser.add_argument("--pairs", type=int, default=10_200_000)
    parser.add_argument("--shards", type=int, default=1_400)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        made = make_lake(folder, arguments.pairs, arguments.shards, arguments.processes)
        size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    sys.stdout.write(f"{made:,} pairs, {size / 1e9:.2f} GB, {time.perf_counter() - started:.0f} s\n")


if __name__ == "__main__":
    main()
