"""Parquet for Hugging Face `datasets`: a row a pair, a configuration a task, photos as its Image feature.

    <folder>/README.md                                       names the configurations
    <folder>/<task>/<split>-00000-of-00003.parquet

`datasets.load_dataset(folder, "counting")` reads one task, `load_dataset(folder)` all of them. Boxes are 0-1000.
`image` is the photo, or its path below the image root where photos are not included.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq

from forge_assets.release.training_format import TrainingFormat
from forge_resources.parquet import IMAGE, arrow_schema

FORMAT = TrainingFormat(name="hf", reserved=(), layout="parquet", holds_photos=True)

PAIR: Final[Mapping[str, pl.DataType]] = {
    "qa_id": pl.String(),
    "image_id": pl.String(),
    "task": pl.String(),
    "level": pl.String(),
    "question": pl.String(),
    "answer": pl.String(),
    "short_answer": pl.String(),
    "answer_kind": pl.String(),
    "choices": pl.List(pl.String()),
    "category": pl.String(),
    "boxes": pl.List(pl.List(pl.Int32())),
    "template_id": pl.String(),
    "score": pl.Float64(),
    "image_width": pl.Int32(),
    "image_height": pl.Int32(),
    "source": pl.String(),
    "shard": pl.String(),
    "split": pl.String(),
    "license": pl.String(),
}
"""Columns of a row besides `image`, as in `verified_qa`."""


class ParquetFile:
    """One Parquet file that is written a table at a time, each a row group.

    Args:
        path: of the file.
        has_photos: whether `image` is IMAGE, or else a path.
    """

    def __init__(self, path: Path, *, has_photos: bool) -> None:
        self._schema = pl.Schema({**PAIR, "image": IMAGE if has_photos else pl.String()})
        self._arrow = arrow_schema(self._schema)
        self._writer: Any = pq.ParquetWriter(path, self._arrow, compression="zstd", use_dictionary=False)

    def write(self, rows: pl.DataFrame) -> None:
        """Append rows with the columns of PAIR and `image`."""
        cast = rows.select(pl.col(name).cast(dtype) for name, dtype in self._schema.items())
        self._writer.write_table(cast.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._arrow))

    def close(self) -> None:
        """Write the file's footer."""
        self._writer.close()


def readme(stems: Iterable[str]) -> str:
    """README.md that tells `datasets` its configurations.

    Args:
        stems: `<task>/<split>` of the files that there are.
    """
    import yaml

    found = sorted(stem.split("/") for stem in stems)
    tasks = sorted({task for task, _ in found})
    all_files = [
        {"split": split, "path": [f"{task}/{split}-*.parquet" for task, of in found if of == split]}
        for split in sorted({split for _, split in found})
    ]
    configs: list[dict[str, Any]] = [{"config_name": "all", "default": True, "data_files": all_files}]
    for task in tasks:
        files = [{"split": split, "path": f"{task}/{split}-*.parquet"} for of, split in found if of == task]
        configs.append({"config_name": task, "data_files": files})
    return f"---\n{yaml.safe_dump({'configs': configs}, sort_keys=False)}---\n\nSee `manifest.json`.\n"
