"""How fast photos of a folder become the table `raw_images`, and in how much memory.

    python tests/benchmarks/ingest.py [--quick] [--small 20000] [--large 2000] [--folder /tmp/photos]

The photos are crops of those that ship inside installed packages, the same in every run. Each figure is taken in a
process of its own, twice, and the better one counts. Beside it stands the limit: plain loops that read, decode and
hash the same files on all cores, and keep nothing. By the clock the fastest of them counts, by processor time the one
that takes least.
"""

import argparse
import hashlib
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from rich.console import Console
from rich.table import Table

from forge_assets.raw_images.naming import LabelNaming
from forge_assets.raw_images.photos import RejectedPhotos, raw_images
from forge_assets.tables import RAW_IMAGES, REJECTED_IMAGES
from forge_resources.config import ImageFolderConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.sources import open_source
from forge_resources.sources.base import Member
from forge_resources.sources.package_photos import copy_photos
from forge_resources.vocabulary import Vocabulary

SMALL, LARGE = (320, 240), (1024, 768)
SHARD = 2_000
CORES = len(os.sched_getaffinity(0))
REPEATS = 2
JPEG_QUALITY = 88
SOURCE = "bench"


@dataclass(frozen=True)
class Figures:
    """What one run took."""

    photos: int
    kept: int
    seconds: float
    cpu_seconds: float
    peak_mb: float

    @property
    def rate(self) -> float:
        """Photos a second."""
        return self.photos / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time of one photo."""
        return 1000 * self.cpu_seconds / self.photos


# --- photos


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write so many JPEGs of that size, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(count) if not (folder / _name(number)).exists()]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as originals:
        names = [photo.name for photo in copy_photos(Path(originals))]
        with ProcessPoolExecutor(CORES, multiprocessing.get_context("spawn")) as pool:
            files = [Path(originals) / name for name in names]
            list(pool.map(partial(_write_some, folder, files, size), np.array_split(missing, CORES * 4)))


def _name(number: int) -> str:
    return f"{number // 1_000:03d}/{number:06d}.jpg"


def _write_some(folder: Path, files: Sequence[Path], size: tuple[int, int], numbers: Sequence[int]) -> None:
    originals = [Image.open(file).convert("RGB") for file in files]
    for number in numbers:
        path = folder / _name(number)
        path.parent.mkdir(exist_ok=True)
        _crop(originals[number % len(originals)], size, np.random.default_rng(number)).save(path, quality=JPEG_QUALITY)


def _crop(original: Image.Image, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """A part of the photo that has the proportions of `size`, perhaps mirrored, lighter or darker."""
    largest = min(original.width / size[0], original.height / size[1])
    width, height = (round(side * largest * random.uniform(0.35, 1)) for side in size)
    x, y = random.integers(original.width - width + 1), random.integers(original.height - height + 1)
    part = original.resize(size, Image.Resampling.BICUBIC, (x, y, x + width, y + height))
    turned = ImageOps.mirror(part) if random.random() < 0.5 else part
    return ImageEnhance.Brightness(turned).enhance(random.uniform(0.7, 1.3))


# --- what is measured


def plain_loop(decode: Callable[[bytes], object], folder: Path, count: int) -> int:
    """Read, decode and hash the first photos of the folder, a share on each core; how many were decoded."""
    paths = [folder / _name(number) for number in range(count)]

    def some(first: int) -> int:
        for path in paths[first::CORES]:
            data = path.read_bytes()
            hashlib.sha256(data).hexdigest()
            decode(data)
        return len(paths[first::CORES])

    with ThreadPoolExecutor(CORES) as pool:
        return sum(pool.map(some, range(CORES)))


def with_pillow(data: bytes) -> object:
    """Decode in full, as ingest does."""
    image = Image.open(BytesIO(data))
    image.load()
    return image


def with_opencv(data: bytes) -> object:
    """Decode in full; OpenCV's own threads are off."""
    import cv2

    cv2.setNumThreads(1)
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def with_torchvision(data: bytes) -> object:
    """Decode in full by libjpeg-turbo, into a tensor."""
    import torch
    from torchvision.io import decode_jpeg

    return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8))


def ingest(shard_size: int, max_near_duplicate_distance: int | None, folder: Path, count: int) -> int:
    """Write the first photos of the folder to a lake, one shard after another; how many it took."""
    config = ImageFolderConfig(path=folder, max_near_duplicate_distance=max_near_duplicate_distance)
    names = [_name(number) for number in range(count)]
    members = [Member(name, (folder / name).stat().st_size) for name in names]
    vocabulary = Vocabulary.packaged()
    with tempfile.TemporaryDirectory(dir=folder.parent) as root:
        lake = Lake(Path(root))
        return sum(
            _ingest_shard(
                lake, ShardKey.numbered(SOURCE, start), members[start : start + shard_size], config, vocabulary
            )
            for start in range(0, count, shard_size)
        )


def _ingest_shard(
    lake: Lake, key: ShardKey, members: Sequence[Member], config: ImageFolderConfig, vocabulary: Vocabulary
) -> int:
    rejects = RejectedPhotos(key)
    batches = raw_images(
        key,
        members,
        open_source(key.source, config),
        config,
        naming=LabelNaming(vocabulary, "coco"),
        val_share=0.02,
        rejects=rejects,
    )
    manifest = lake.write("raw_images", key, batches, RAW_IMAGES)
    lake.write("rejected_images", key, rejects.frame(), REJECTED_IMAGES)
    return manifest.rows


# --- measuring


def measured(work: Callable[[Path, int], int], folder: Path, count: int) -> Figures:
    """The better of some runs, each in a process of its own."""
    runs: list[Figures] = []
    for _ in range(REPEATS):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            runs.append(pool.submit(_run, work, folder, count).result())
    return min(runs, key=lambda figures: figures.seconds)


def _run(work: Callable[[Path, int], int], folder: Path, count: int) -> Figures:
    work(folder, min(count, 64))  # imports and caches of libraries are no work on photos
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    kept = work(folder, count)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(count, kept, seconds, cpu_seconds, after.ru_maxrss / 1024)


def compare(console: Console, folder: Path, size: tuple[int, int], count: int) -> None:
    """Measure photos of one size and print the table."""
    make_photos(folder, count, size)
    few = min(count, SHARD)
    bytes_of_photo = sum((folder / _name(number)).stat().st_size for number in range(few)) / few
    limits = {
        "plain loop, Pillow": measured(partial(plain_loop, with_pillow), folder, count),
        "plain loop, OpenCV": measured(partial(plain_loop, with_opencv), folder, count),
        "plain loop, torchvision": measured(partial(plain_loop, with_torchvision), folder, count),
    }
    runs = {
        f"{few:,} photos, 1 shard": measured(partial(ingest, SHARD, 3), folder, few),
        **(
            {
                f"{count:,} photos, {count // SHARD} shards": measured(partial(ingest, SHARD, 3), folder, count),
                f"{count:,} photos, 1 shard": measured(partial(ingest, count, 3), folder, count),
            }
            if count > few
            else {}
        ),
        f"{count:,} photos, near duplicates kept": measured(partial(ingest, SHARD, None), folder, count),
    }
    highest_rate = max(limit.rate for limit in limits.values())
    least_cpu_ms = min(limit.cpu_ms for limit in limits.values())
    table = Table(title=f"{size[0]}x{size[1]} JPEG, {bytes_of_photo / 1000:.0f} kB each, {CORES} cores")
    table.add_column("what", no_wrap=True)
    for name in ("rows", "photos/s", "limit", "ratio", "CPU ms/photo", "ratio by CPU", "peak MB"):
        table.add_column(name, justify="right")
    for name, run in (limits | runs).items():
        table.add_row(
            name,
            f"{run.kept:,}",
            f"{run.rate:,.0f}",
            f"{highest_rate:,.0f}",
            f"{run.rate / highest_rate:.2f}",
            f"{run.cpu_ms:.2f}",
            f"{least_cpu_ms / run.cpu_ms:.2f}",
            f"{run.peak_mb:,.0f}",
        )
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the photos")
    parser.add_argument("--small", type=int, default=20_000, help="photos of 320x240; 0: none")
    parser.add_argument("--large", type=int, default=2_000, help="photos of 1024x768; 0: none")
    parser.add_argument("--folder", type=Path, help="keep the made photos here, or take those that are there")
    arguments = parser.parse_args()
    console = Console(width=120)
    share = 10 if arguments.quick else 1
    folder = arguments.folder or Path(tempfile.mkdtemp())
    try:
        for name, size, count in (("small", SMALL, arguments.small), ("large", LARGE, arguments.large)):
            if count:
                compare(console, folder / name, size, count // share)
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
