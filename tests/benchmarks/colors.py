"""Photos a second whose objects' colours are read, against decoding the same files at the same size alone.

Run: `taskset -c 0,1 python tests/benchmarks/colors.py [--photos 200] [--objects 12]`. Both have the same threads.
"""

import argparse
import io
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
from PIL import Image

from forge_assets.scenes.colors import colored_classes, colors_of_shard, decode_small, names_of_rgb
from forge_resources.models.batching import DECODING_THREADS

SIZE = (1600, 1200)
BATCH = 32


def photo(generator: np.random.Generator) -> bytes:
    """A JPEG of soft spots, about as costly to decode as a photo."""
    spots = Image.fromarray(generator.integers(0, 256, (60, 80, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    grain = generator.normal(0, 6, (SIZE[1], SIZE[0], 1))
    data = io.BytesIO()
    Image.fromarray((np.asarray(spots) + grain).clip(0, 255).astype(np.uint8)).save(data, "JPEG", quality=90)
    return data.getvalue()


def tables(photos: int, objects: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `raw_images`, and objects of the classes that have colours."""
    generator = np.random.default_rng(0)
    files = [photo(generator) for _ in range(min(photos, 20))]
    names = [f"bench/{index:05d}" for index in range(photos)]
    rows = [
        {
            "image_id": name,
            "image": {"bytes": files[index % len(files)]},
            "orientation": 1,
            "width": SIZE[0],
            "height": SIZE[1],
        }
        for index, name in enumerate(names)
    ]
    classes = sorted(colored_classes())
    boxes: list[tuple[object, ...]] = []
    for name in names:
        for index in range(objects):
            x1, y1 = generator.uniform(0, 0.7, 2) * SIZE
            width, height = generator.uniform(0.05, 0.3, 2) * SIZE
            box = (float(x1), float(y1), float(x1 + width), float(y1 + height))
            boxes.append((f"{name}#{index:03d}", name, classes[index % len(classes)], *box, 0.9))
    columns = ["object_id", "image_id", "category", "x1", "y1", "x2", "y2", "score"]
    return pl.DataFrame(rows), pl.DataFrame(boxes, schema=columns, orient="row")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--objects", type=int, default=12)
    arguments = parser.parse_args()
    photos, objects = tables(arguments.photos, arguments.objects)

    started = time.perf_counter()
    names_of_rgb()
    print(f"table of names, once a process: {time.perf_counter() - started:.2f} s")  # noqa: T201

    files = [row["image"]["bytes"] for row in photos.iter_rows(named=True)]
    started = time.perf_counter()
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        for _ in pool.map(lambda data: decode_small(data, 1, *SIZE), files):
            pass
    decoding = time.perf_counter() - started

    started = time.perf_counter()
    colors_of_shard(photos.iter_slices(BATCH), objects)
    reading = time.perf_counter() - started
    print(f"reduced decode alone: {len(files) / decoding:.0f} photos a second")  # noqa: T201
    print(f"colours of {arguments.objects} objects each: {len(files) / reading:.0f} photos a second")  # noqa: T201
    print(f"ratio of the times: {reading / decoding:.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
