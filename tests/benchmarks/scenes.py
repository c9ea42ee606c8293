"""Photos a second whose objects get their depths, against decoding the stored maps and taking the quantiles in a loop.

Run: `python tests/benchmarks/scenes.py [--photos 2000]`. The loop has as many threads and no lake: `scenes` also reads
the maps from the lake, joins all else and writes. Colours are left out: `colors.py` measures them.
"""

import forge_assets  # noqa: F401 - before Polars, as in all that users start

# isort: split
import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _bench import SIZE, Cost, drawn_scenes, measured, peak_mb, print_table

from forge_assets.depth_maps.encoding import decode_depth, encode_depth
from forge_assets.scenes.build import scenes
from forge_assets.scenes.depth_quantiles import ERODED_SHARE, QUANTILES, depths_of_shard
from forge_assets.tables import DEPTH_MAPS, DETECTIONS, RAW_IMAGES, SCENES
from forge_resources.lake import Lake
from forge_resources.models.batching import DECODING_THREADS
from forge_resources.shards import ShardKey

OBJECTS = 8
MAP = (238, 322)
MAPS_AT_ONCE = 32
KEY = ShardKey.numbered("bench", 0)


def depth_maps(image_ids: list[str]) -> pl.DataFrame:
    """Two maps of each photo, of 20 that differ: soft, with a little grain."""
    import cv2

    draws = np.random.default_rng(0)
    stored = [
        encode_depth(
            (
                cv2.resize(draws.uniform(1, 20, (12, 16)).astype(np.float32), MAP[::-1], interpolation=cv2.INTER_CUBIC)
                + draws.normal(0, 0.01, MAP).astype(np.float32)
            ).clip(0.5)
        )
        for _ in range(20)
    ]
    rows = [
        {
            "image_id": image_id, "source": KEY.source, "shard": KEY.shard, "reading": "depth", "mirrored": mirrored,
            "kind": "metric", "width": MAP[1], "height": MAP[0], "near": one.near, "far": one.far, "png": one.png,
            "depth_model": "bench:depth",
        }
        for number, image_id in enumerate(image_ids)
        for mirrored in (False, True)
        for one in [stored[(2 * number + mirrored) % len(stored)]]
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dict(DEPTH_MAPS))


def loop(maps: pl.DataFrame, objects: pl.DataFrame) -> int:
    """The limit: decode, cut out the middle of each box, take the quantiles."""
    shares = objects.select(
        "image_id", *(pl.col(x) / SIZE[0] for x in ("x1", "x2")), *(pl.col(y) / SIZE[1] for y in ("y1", "y2"))
    )
    boxes: dict[str, list[tuple[float, ...]]] = {}
    for image_id, *box in shares.iter_rows():
        boxes.setdefault(image_id, []).append(tuple(box))

    def read(row: dict[str, Any]) -> int:
        depth = decode_depth(row["png"], row["near"], row["far"])
        height, width = depth.shape
        inside = boxes[row["image_id"]]
        for x1, x2, y1, y2 in inside:
            dx, dy = ERODED_SHARE * (x2 - x1), ERODED_SHARE * (y2 - y1)
            top, bottom = int((y1 + dy) * height), int(np.ceil((y2 - dy) * height))
            np.quantile(depth[top:bottom, int((x1 + dx) * width) : int(np.ceil((x2 - dx) * width))], QUANTILES)
        return len(inside)

    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        return sum(pool.map(read, maps.iter_rows(named=True)))


def stage(lake: Lake, photos: pl.DataFrame, objects: pl.DataFrame) -> int:
    """What the asset does with one shard, but for colours."""
    depths = depths_of_shard(lake.batches("depth_maps", KEY, MAPS_AT_ONCE), objects, photos)
    return lake.write("scenes", KEY, scenes(photos, objects, depths), SCENES).rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2_000)
    arguments = parser.parse_args()
    drawn = drawn_scenes(arguments.photos, OBJECTS, KEY)
    objects = drawn.select(
        (pl.col(name) if name in drawn.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in DETECTIONS.items()
    )
    photos = (
        drawn.unique("image_id", maintain_order=True)
        .select(
            "image_id", "split", "license", "is_labeled", "labels_dropped",
            sha256="image_sha256", width="image_width", height="image_height",
        )
        .with_columns(pl.lit([], dtype=RAW_IMAGES[name]).alias(name) for name in ("points", "counts"))
    )  # fmt: skip
    maps = depth_maps(photos["image_id"].to_list())
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        lake.write("depth_maps", KEY, maps.iter_slices(MAPS_AT_ONCE), DEPTH_MAPS)
        costs: dict[str, Cost] = {}
        _, costs["decode and quantiles in a loop"] = measured(lambda: loop(maps, objects), repeats=2)
        _, costs["scenes without colours"] = measured(lambda: stage(lake, photos, objects), repeats=2)
    limit = costs["decode and quantiles in a loop"]
    print_table(
        ["what", "photos/s", "processor ms a photo", "of the limit", "by processor time"],
        [
            [
                name, f"{arguments.photos / cost.wall_s:,.0f}", f"{1e3 * cost.processor_s / arguments.photos:.2f}",
                f"{limit.wall_s / cost.wall_s:.2f}", f"{limit.processor_s / cost.processor_s:.2f}",
            ]
            for name, cost in costs.items()
        ],
    )  # fmt: skip
    print(f"\npeak {peak_mb():,.0f} MB, maps of all photos in memory for the loop")  # noqa: T201


if __name__ == "__main__":
    main()
