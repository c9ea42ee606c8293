"""Time and memory of a balance plan over made-up pairs: `python tests/benchmarks/balance_plan.py --pairs 10000000`.

The tasks have the proportions of SpatialForge-10M, categories are as uneven as in photos (Zipf's law), and each pair of
categories has a favourite of its own, so that nearly every bound is broken.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from forge_assets.candidate_qa.templates import templates
from forge_assets.release.balance_plan import BalanceConfig, balance, dropped, selected
from forge_assets.release.guessability import guessability
from forge_resources.config import ForgeConfig

CATEGORIES = 365
LOWER_WINS = 0.4
CHUNK = 500_000
PAIRS_PER_PHOTO = 5


def choice_chunk(task: str, count: int, start: int, random: np.random.Generator) -> pl.DataFrame:
    """Pairs of two objects; of near_far every third has boxes in the text, of which the lower one wins too often."""
    weights = 1 / np.arange(1, CATEGORIES + 1)
    first, second = random.choice(CATEGORIES, size=(2, count), p=weights / weights.sum())
    boxes = np.sort(random.integers(0, 1000, size=(2, 4, count)), axis=1)
    lower_wins = boxes[0, 3] > boxes[1, 3]
    lean = np.sin(12.9898 * (first + 1) - 12.9898 * (second + 1)) * 0.4
    first_wins = random.random(count) < 0.5 + lean
    boxed = (random.random(count) < 1 / 3) & (task == "near_far")
    second = np.where((first == second) & ~boxed, (first + 1) % CATEGORIES, second)
    first_wins = np.where(boxed & (random.random(count) < LOWER_WINS), lower_wins, first_wins)
    known = templates().filter(task=task)
    template = random.integers(0, known.height, size=count)
    frame = pl.DataFrame({"first": first, "second": second, "wins": first_wins, "boxed": boxed})
    for index in range(2):
        frame = frame.with_columns(
            pl.Series(f"{name}{index}", boxes[index, corner])
            for name, corner in (("x", 0), ("y", 1), ("r", 2), ("b", 3))
        )
    frame = frame.with_columns(
        pl.format("class {}", side).alias(f"name_{side}") for side in ("first", "second")
    ).with_columns(
        pl.when("boxed")
        .then(pl.format("the {} at [{}, {}, {}, {}]", f"name_{side}", *(f"{letter}{index}" for letter in "xyrb")))
        .otherwise(pl.format("the {}", f"name_{side}"))
        .alias(f"option_{side}")
        for index, side in enumerate(("first", "second"))
    )
    if task == "near_far":
        choices = pl.concat_list("option_first", "option_second")
        answer = pl.when("wins").then("option_first").otherwise("option_second")
    else:
        choices = pl.concat_list(pl.lit("left"), pl.lit("right"))
        answer = pl.when("wins").then(pl.lit("left")).otherwise(pl.lit("right"))
    return frame.select(
        *ids(count, start),
        task=pl.lit(task),
        question=pl.format("Which is nearer to the camera, {} or {}?", "option_first", "option_second"),
        short_answer=answer,
        answer_kind=pl.lit("choice"),
        choices=choices,
        categories=pl.concat_list("name_first", "name_second"),
        template_id=pl.Series(known["template_id"].to_numpy()[template], dtype=pl.String),
        form=pl.Series(known["form"].to_numpy()[template], dtype=pl.String),
    )


def open_chunk(task: str, count: int, start: int, random: np.random.Generator) -> pl.DataFrame:
    """Pairs whose answer is a box, a text or a number."""
    category = random.integers(0, CATEGORIES, size=count)
    known = templates().filter(task=task)
    template = random.integers(0, known.height, size=count)
    return pl.DataFrame({"category": category}).select(
        *ids(count, start),
        task=pl.lit(task),
        question=pl.format("Where is the class {}? Report its bbox coordinates in JSON format.", "category"),
        short_answer=pl.format("the answer about class {} of this photo", "category"),
        answer_kind=pl.lit("text"),
        choices=pl.lit(None, dtype=pl.List(pl.String)),
        categories=pl.concat_list(pl.format("class {}", "category")),
        template_id=pl.Series(known["template_id"].to_numpy()[template], dtype=pl.String),
        form=pl.Series(known["form"].to_numpy()[template], dtype=pl.String),
    )


def ids(count: int, start: int) -> list[pl.Expr]:
    """Columns `qa_id` and `image_sha256` as long as real ones."""
    number = pl.int_range(start, start + count, dtype=pl.Int64)
    return [
        number.cast(pl.String).str.pad_start(24, "0").alias("qa_id"),
        (number // PAIRS_PER_PHOTO).cast(pl.String).str.pad_start(64, "0").alias("image_sha256"),
    ]


def write(folder: Path, pairs: int) -> None:
    """Write that many pairs as Parquet files."""
    random = np.random.default_rng(0)
    quotas = ForgeConfig().quotas
    start = 0
    for task, quota in quotas.items():
        left = round(pairs * quota / sum(quotas.values()))
        make = choice_chunk if task in ("near_far", "left_right", "perspective") else open_chunk
        while left:
            count = min(left, CHUNK)
            make(task, count, start, random).write_parquet(folder / f"{start:012d}.parquet")
            start, left = start + count, left - count


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="keep the made-up pairs here, or take those that are there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not list(folder.glob("*.parquet")):
            write(folder, arguments.pairs)
        pairs = pl.scan_parquet(folder / "*.parquet")
        config, seconds = BalanceConfig(), dict[str, float]()

        started = time.perf_counter()
        plan = balance(pairs, config, ForgeConfig().quotas)
        seconds["plan"] = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        started = time.perf_counter()
        kept = selected(pairs, plan).select(pl.len()).collect(engine="streaming").item()
        seconds["select"] = time.perf_counter() - started

        started = time.perf_counter()
        lifts = {name: guessability(frame) for name, frame in (("before", pairs), ("after", selected(pairs, plan)))}
        seconds["baseline, twice"] = time.perf_counter() - started
    figures = {
        "strata": plan.strata.height,
        "expected": plan.strata["kept"].sum(),
        "kept": kept,
        "dropped": dropped(plan).rows(),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "peak of the plan, GB": round(peak / 1e6, 2),
        "peak, GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "lift": {name: rows.select("task", "kind", "model", "lift").rows() for name, rows in lifts.items()},
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
