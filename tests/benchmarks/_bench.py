"""What several benchmarks share: scenes of drawn objects, the memory of a process, and tables of results."""

import forge_assets  # noqa: F401 - before Polars, as in all that users start

# isort: split
import gc
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.tables import DEPTH_READING, SCENES
from forge_resources.shards import ShardKey

CLASSES: Final = (
    "person", "car", "dog", "bus", "chair", "bicycle", "cup", "potted plant", "bottle", "boat",
    "book", "horse", "bench", "truck", "umbrella", "handbag", "tie", "bird", "bowl", "tv",
)  # fmt: skip
"""The first ones are drawn most often, as in photos."""
COLORS: Final = ("red", "white", "black", "blue", "green", "yellow", "grey", "brown")
SIZE: Final = (1024, 768)
FOUND_AGAIN: Final = 0.95
"""Share of the objects that the mirrored photo shows too."""

Result = TypeVar("Result")


class Cost(NamedTuple):
    """What a piece of work took."""

    wall_s: float
    processor_s: float

    def plus(self, other: "Cost") -> "Cost":
        """What both took, one after the other."""
        return Cost(self.wall_s + other.wall_s, self.processor_s + other.processor_s)


def measured(work: Callable[[], Result], repeats: int = 1) -> tuple[Result, Cost]:
    """Do a piece of work several times; its last result and the least that it took, both clocks by themselves."""
    costs: list[Cost] = []
    while True:
        gc.collect()
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        costs.append(Cost(time.perf_counter() - wall, time.process_time() - processor))
        if len(costs) >= repeats:
            return result, Cost(min(cost.wall_s for cost in costs), min(cost.processor_s for cost in costs))
        del result


def peak_mb() -> float:
    """The most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    for cells in (heads, ["---"] * len(heads), *rows):
        print(f"| {' | '.join(cells)} |")  # noqa: T201


def drawn_scenes(photos: int, objects: int, key: ShardKey, seed: int = 0) -> pl.DataFrame:
    """Rows of `SCENES`: photos of as many objects each, found by a detector, read twice by one depth network.

    Objects that lie lower are nearer, as on the ground, so that readings mostly agree. A third of the objects has a
    plain colour; the turn of two thirds of the people is known.

    Args:
        photos: how many.
        objects: of each photo.
        key: the shard that they are of.
        seed: of all that is drawn.
    """
    draws = np.random.default_rng(seed)
    count = photos * objects
    width, height = SIZE
    weights = 1 / np.arange(1, len(CLASSES) + 1)
    # A photo shows a few classes, so that several objects are of one.
    shown = draws.choice(len(CLASSES), (photos, 4), p=weights / weights.sum())
    of_object = np.take_along_axis(shown, draws.integers(0, 4, (photos, objects)), axis=1).ravel()
    share = draws.uniform(0.05, 0.3, (2, count)) * min(1.0, np.sqrt(8 / objects))
    x1, y1 = draws.uniform(0, 1 - share[0]) * width, draws.uniform(0, 1 - share[1]) * height
    x2, y2 = x1 + share[0] * width, y1 + share[1] * height
    depth = 2 + 12 * (1 - y2 / height) * draws.lognormal(0, 0.05, count)
    score = 1 - 0.7 * draws.beta(1, 3, count)
    is_again = draws.random(count) < FOUND_AGAIN

    def near(values: NDArray[np.float64], spread: float) -> pl.Series:
        """Nearly the same again, and null where the mirror does not show the object."""
        read = pl.DataFrame({"read": values + draws.normal(0, spread, count), "seen": is_again})
        return read.select(pl.when("seen").then("read")).to_series()

    def reading(*, mirrored: bool) -> pl.Expr:
        fields = {
            "reading": pl.lit("depth"),
            "mirrored": pl.lit(mirrored),
            "kind": pl.lit("metric"),
            "q10": pl.col("read") * 0.9,
            "q50": pl.col("read") * (1.01 if mirrored else 1.0),
            "q90": pl.col("read") * 1.1,
            "depth_model": pl.lit("bench:depth"),
        }
        return pl.struct(fields[field.name].cast(field.dtype).alias(field.name) for field in DEPTH_READING.fields)

    is_person = of_object == 0
    turn = draws.uniform(-1, 1, count)
    numbers = pl.Series(np.repeat(np.arange(photos), objects)).cast(pl.String).str.pad_start(7, "0")
    ranks = pl.Series(np.tile(np.arange(objects), photos)).cast(pl.String).str.pad_start(3, "0")
    filled = (
        pl.DataFrame({"number": numbers, "rank": ranks, "read": depth})
        .with_columns(
            image_id=pl.format("{}/{}_{}", pl.lit(key.source), pl.lit(key.shard), "number"),
            source=pl.lit(key.source),
            shard=pl.lit(key.shard),
            origin=pl.lit("detector"),
            category=pl.Series(np.array(CLASSES)[of_object]),
            is_crowd=pl.lit(value=False),
            x1=pl.Series(x1),
            y1=pl.Series(y1),
            x2=pl.Series(x2),
            y2=pl.Series(y2),
            score=pl.Series(score),
            mirror_score=near(score, 0.02),
            mirror_iou=near(np.full(count, 0.9), 0.03),
            mirror_x1=near(x1, 2),
            mirror_y1=near(y1, 2),
            mirror_x2=near(x2, 2),
            mirror_y2=near(y2, 2),
            detector=pl.lit("bench:detector"),
            pose_model=pl.when(pl.Series(is_person)).then(pl.lit("bench:pose")),
            is_truncated=pl.Series(draws.random(count) < 0.05),
            image_width=pl.lit(width),
            image_height=pl.lit(height),
            split=pl.lit("train"),
            license=pl.lit("CC-BY-4.0"),
            is_labeled=pl.lit(value=False),
            labels_dropped=pl.lit(0),
            area_share=pl.Series(share[0] * share[1]),
            overlap=pl.Series(draws.beta(1, 6, count)),
            occlusion=pl.Series(draws.beta(1, 8, count)),
            class_conflict=pl.Series(draws.beta(1, 12, count)),
            depth=pl.concat_list(reading(mirrored=False), reading(mirrored=True)),
            ground_depth="read",
            mirror_ground_depth=near(depth, 0.02),
            height_depth=pl.Series(depth * draws.lognormal(0, 0.15, count)),
            mirror_height_depth=near(depth, 0.3),
            facing=pl.when(pl.Series(is_person & (draws.random(count) < 0.67))).then(pl.Series(turn)),
            color=pl.when(pl.Series(draws.random(count) < 0.33)).then(
                pl.Series(np.array(COLORS)[draws.integers(0, len(COLORS), count)])
            ),
            color_share=pl.Series(draws.uniform(0.5, 1, count)),
        )
        .with_columns(
            object_id=pl.format("{}#d{}", "image_id", "rank"),
            image_sha256=pl.format("{}{}", pl.lit("ab" * 28 + "0"), "number"),
            mirror_facing="facing",
            facing_score=pl.when(pl.col("facing").is_not_null()).then(0.8),
            color_share=pl.when(pl.col("color").is_not_null()).then("color_share"),
            human_counts=pl.lit([], dtype=SCENES["human_counts"]),
        )
    )
    return filled.select(
        (pl.col(name) if name in filled.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in SCENES.items()
    )


def pairs_by_hand(scenes: pl.DataFrame, path: Path, most: int) -> int:
    """The limit of `candidate_qa`: every two objects of a photo, a filter, two sentences, a Parquet file.

    Args:
        scenes: rows of `SCENES`.
        path: of the file.
        most: pairs of a photo.

    Returns:
        How many pairs it wrote.
    """
    objects = scenes.lazy().select("image_id", "object_id", "category", "x1", "x2", "score", "image_width")
    gap = (pl.col("x1_right") - pl.col("x2")) / pl.col("image_width")
    pairs = (
        objects.join(objects, on="image_id")
        .filter((pl.col("object_id") != pl.col("object_id_right")) & (gap > 0))
        .with_columns(place=pl.col("score").rank("ordinal", descending=True).over("image_id"))
        .filter(pl.col("place") <= most)
        .with_columns(
            question=pl.format("Is the {} to the left of the {}?", "category", "category_right"),
            answer=pl.format("Yes, the {} is to the left of the {}.", "category", "category_right"),
        )
        .collect()
    )
    pairs.write_parquet(path)
    return pairs.height


def filter_by_hand(candidates: Path, path: Path) -> None:
    """The limit of `verified_qa`: one scan, one filter, one file of the same rows.

    Args:
        candidates: Parquet file with rows of `CANDIDATE_QA`.
        path: of the file to write.
    """
    sure = pl.col("evidence").struct.field("scores").list.min() >= 0.5
    pl.scan_parquet(candidates).filter(sure).collect().write_parquet(path)
