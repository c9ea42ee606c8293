"""How fast, and in how much memory, the JSON of Objects365 becomes an index.

    python tests/benchmarks/index_objects365.py --gigabytes 1

A synthetic file of that size is written into a temporary folder, the same in every run, and indexed in a process
of its own. Beside that stands what no reader of this kind can beat: the time to decode the records and drop them.
"""

import argparse
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from forge_resources.sources.coco_json import CocoFile
from forge_resources.sources.index import open_index
from forge_resources.sources.inputs import InputFile
from forge_resources.sources.json_records import json_lists
from forge_resources.sources.objects365 import patch_and_file

BOXES_A_PHOTO = 15
BYTES_A_PHOTO = 3_100
WIDTH, HEIGHT, CLASSES = 769, 512, 365


def write_json(path: Path, size: int) -> None:
    """Write about `size` bytes in the form of Objects365, annotations before photos, categories last."""
    numbers = random.Random(365)
    photos = max(1, size // BYTES_A_PHOTO)
    with path.open("w") as stream:
        stream.write('{"annotations": [')
        stream.writelines(_annotations(photos, numbers))
        stream.write('], "images": [')
        for photo in range(photos):
            name = f"images/v2/patch{photo % 51}/objects365_v2_{photo:08}.jpg"
            comma = ", " if photo else ""
            stream.write(
                f'{comma}{{"id": {photo}, "file_name": "{name}", "width": {WIDTH}, "height": {HEIGHT}}}',
            )
        names = ", ".join(f'{{"id": {number}, "name": "class {number} "}}' for number in range(1, CLASSES + 1))
        stream.write(f'], "categories": [{names}]}}')


def _annotations(photos: int, numbers: random.Random) -> Iterator[str]:
    for label in range(photos * BOXES_A_PHOTO):
        width, height = numbers.uniform(1, 90), numbers.uniform(1, 90)
        box = [numbers.uniform(0, WIDTH - width), numbers.uniform(0, HEIGHT - height), width, height]
        yield (
            f'{", " if label else ""}{{"id": {label}, "iscrowd": 0, "isfake": 0, "area": {width * height:.10f}, '
            f'"isreflected": 0, "bbox": {[round(number, 10) for number in box]}, '
            f'"image_id": {label // BOXES_A_PHOTO}, "category_id": {numbers.randint(1, CLASSES)}}}'
        )


def make_index(path: Path) -> None:
    """Index the file as the source does."""
    file = InputFile(path.name, path, str(path.stat().st_size))
    coco = CocoFile("benchmark", file, patch_and_file)
    folder = path.parent / "indexes"
    index = open_index(folder, "benchmark", {file.name: file.fingerprint}, partial(coco.index, folder=folder))
    photos, labels = (index.scan(table).select(pl.len()).collect().item() for table in ("photos", "labels"))
    _say(f"  {photos} photos, {labels} labels")


def decode_records(path: Path) -> None:
    """Decode all records and keep none."""
    for _ in json_lists(path):
        pass


def parse_with_ijson(path: Path) -> None:
    """Go through the events that ijson tells of the file."""
    import ijson

    with path.open("rb") as stream:
        for _ in ijson.basic_parse(stream, use_float=True, buf_size=1 << 20):
            pass


def _measured(work: Callable[[Path], None], path: Path) -> None:
    started = time.perf_counter()
    work(path)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    _say(
        f"  {seconds:.0f} s, {path.stat().st_size / seconds / 1e6:.0f} MB/s, "
        f"processor {used.ru_utime + used.ru_stime:.0f} s, peak memory {used.ru_maxrss / 1024:.0f} MiB"
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    size = int(parser.parse_args().gigabytes * 1e9)
    runs = {"index": make_index, "decode and drop": decode_records}
    if find_spec("ijson"):
        runs["ijson.basic_parse"] = parse_with_ijson
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "zhiyuan_objv2_synthetic.json"
        write_json(path, size)
        _say(f"{path.stat().st_size / 1e9:.2f} GB")
        for name, work in runs.items():
            _say(name)
            process = multiprocessing.get_context("spawn").Process(target=_measured, args=(work, path))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
