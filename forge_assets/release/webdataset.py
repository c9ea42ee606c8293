"""Tar shards for `webdataset`: a sample a photo, with all its pairs.

    <folder>/<split>-00000-of-00003.tar      <key>.jpg, <key>.json, <next key>.jpg, …

The key is a hash of `image_id`. The JSON object has `image_id`, `image` (path below the image root), `width`, `height`,
`source`, `license`, `split` and `pairs`: objects with the columns of PAIR. Boxes are 0-1000. Without photos, a sample
has its JSON alone. The same samples give the same bytes: members have no time and no owner.
"""

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Final

import polars as pl

from forge_assets.release.training_format import TrainingFormat

FORMAT = TrainingFormat(name="webdataset", layout="tar", reserved=(), holds_photos=True)

PAIR: Final = (
    "qa_id",
    "task",
    "level",
    "question",
    "answer",
    "short_answer",
    "answer_kind",
    "choices",
    "category",
    "boxes",
    "template_id",
    "score",
)
_SUFFIXES: Final = {"JPEG": "jpg", "MPO": "jpg"}
_MODE: Final = 0o644


def samples(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a photo: image_id, split, format and `json`, the text of the sample's JSON member; order is kept."""
    photo = ("image_id", "image", "width", "height", "source", "license", "split")
    grouped = rows.group_by("image_id", maintain_order=True).agg(
        pl.col(*photo[1:], "format").first(), pairs=pl.struct(PAIR)
    )
    texts = grouped.select(*photo, "pairs").write_ndjson().removesuffix("\n").split("\n")
    return grouped.select("image_id", "split", "format").with_columns(json=pl.Series(texts, dtype=pl.String))


class TarFile:
    """One tar shard that is written some samples at a time."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 -- closed by `close`

    def write(self, rows: pl.DataFrame) -> None:
        """Append samples, and the photo of each where `data` is not null."""
        has_photos = "data" in rows.columns
        for row in rows.iter_rows(named=True):
            key = hashlib.blake2b(row["image_id"].encode(), digest_size=16).hexdigest()
            if has_photos:
                self._add(f"{key}.{_SUFFIXES.get(row['format'], row['format'].lower())}", row["data"])
            self._add(f"{key}.json", row["json"].encode())

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), _MODE
        self._tar.addfile(member, io.BytesIO(data))

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()
