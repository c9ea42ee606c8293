"""Write verified pairs as a file that a model is trained from."""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
from pydantic import BaseModel

from forge_assets.release.formats import FORMATS
from forge_assets.release.training_format import TrainingFormat
from forge_resources.errors import ForgeError
from forge_resources.warehouse import QueryError, Warehouse

_BATCH_ROWS = 20_000


class ExportError(ForgeError, ValueError):
    """An export that was asked for cannot be made; no file of its name is left behind."""


class ExportResult(BaseModel, frozen=True):
    """What was written; also the manifest beside the file, `<name>.export.json`."""

    path: Path
    format: str
    where: str | None
    split: str | None
    rows: int
    rows_of_turned_photos: int
    """Pairs whose photo's file is stored turned (EXIF orientation). Boxes are of the upright photo:
    train from photos that `export_photos` wrote, or from a loader that heeds EXIF."""
    sha256: str
    """Of the file's bytes."""


def export(
    warehouse: Warehouse,
    format_name: str,
    target: Path,
    *,
    where: str | None = None,
    split: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExportResult:
    """Write verified pairs to a JSONL file, sorted by photo and pair, and a manifest beside it.

    The file gets its name once it is whole; the same pairs give the same bytes. In it `image` is
    `<source>/<path of the photo in its source>`: lay the sources' folders, by their names, below one
    image root, or have `export_photos` write such a root.

    Args:
        warehouse: an open look at the lake; pairs of partitions that their gate passed count.
        format_name: one of `FORMATS`.
        target: the file to write, overwritten if it is there.
        where: SQL condition over the columns of `verified_qa`, for one `task = 'counting' AND score > 0.2`.
        split: `train` or `val`; default, both.
        progress: called with the number of pairs written so far, after each batch.

    Raises:
        ExportError: no such format, broken SQL, no pair selected, a photo that is not in `raw_images`,
            or a pair that the format cannot hold.
    """
    training_format = _format(format_name)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    manifest = target.with_suffix(".export.json")
    staged_manifest = staged.with_suffix(".export.json")
    rows = turned = 0
    digest = hashlib.sha256()
    try:
        with staged.open("wb") as file:
            for batch in _batches(warehouse, training_format, where, split):
                _refuse_flaws(batch, training_format)
                text = batch.select(training_format.columns).write_ndjson().encode()
                file.write(text)
                digest.update(text)
                rows += batch.height
                turned += int(batch["is_turned"].sum())
                if progress is not None:
                    progress(rows)
        if rows == 0:
            raise ExportError(
                f"no verified pair is selected by where={where!r}, split={split!r}: {target} is not written"
            )
        result = ExportResult(
            path=target,
            format=format_name,
            where=where,
            split=split,
            rows=rows,
            rows_of_turned_photos=turned,
            sha256=digest.hexdigest(),
        )
        staged_manifest.write_text(result.model_dump_json(indent=2, exclude={"path"}) + "\n")
        staged.replace(target)
        staged_manifest.replace(manifest)
    finally:
        staged.unlink(missing_ok=True)
        staged_manifest.unlink(missing_ok=True)
    return result


def selection(where: str | None, split: str | None) -> str:
    """SQL of the pairs that `where` and `split` select from `verified_qa`, without those of repeated photos.

    Raises:
        ExportError: if there is no such split.
    """
    if split not in (None, "train", "val"):
        raise ExportError(f"unknown split {split!r}: train, val, or none for both")
    condition = "image_id NOT IN (SELECT image_id FROM duplicates WHERE NOT is_kept)"
    if where:
        condition += f" AND ({where}\n)"
    if split:
        condition += f" AND split = '{split}'"
    return f"SELECT * FROM verified_qa WHERE {condition}"  # noqa: S608 -- the user's own condition on their own lake


def _format(name: str) -> TrainingFormat:
    if name not in FORMATS:
        raise ExportError(f"unknown format {name!r}; formats: {', '.join(sorted(FORMATS))}")
    return FORMATS[name]


def _batches(
    warehouse: Warehouse, training_format: TrainingFormat, where: str | None, split: str | None
) -> Iterator[pl.DataFrame]:
    pairs = selection(where, split)
    reserved = " OR ".join(
        f"contains(question, '{text}') OR contains(answer, '{text}')" for text in training_format.reserved
    )
    sql = f"""
        WITH pairs AS ({pairs}),
        photos AS (SELECT image_id, source, shard, image.path AS path, orientation FROM raw_images)
        SELECT
            qa_id AS id,
            source || '/' || path AS image,
            image_width AS width,
            image_height AS height,
            [
                {{'from': 'human', 'value': '<image>' || chr(10) || {training_format.question}}},
                {{'from': 'gpt', 'value': {training_format.answer}}}
            ] AS conversations,
            coalesce(orientation, 1) <> 1 AS is_turned,
            {reserved} AS is_ambiguous
        FROM pairs LEFT JOIN photos USING (image_id, source, shard)
        ORDER BY image_id, qa_id
    """  # noqa: S608 -- see `selection`
    try:
        warehouse.query(f"{pairs} LIMIT 0")  # so that an error shows the user's condition, not all of ours
        yield from warehouse.stream(sql, _BATCH_ROWS)
    except QueryError as error:
        raise ExportError(f"the pairs cannot be selected: {error}") from error


def _refuse_flaws(batch: pl.DataFrame, training_format: TrainingFormat) -> None:
    turn = pl.col("conversations").list
    flaws = {
        "have no photo in raw_images": pl.col("image").is_null(),
        f"hold text that {training_format.name} reserves ({', '.join(training_format.reserved)})": pl.col(
            "is_ambiguous"
        ),
        f"have no question or answer in {training_format.name}": pl.any_horizontal(
            turn.get(side).struct.field("value").is_null() for side in (0, 1)
        ),
    }
    for flaw, condition in flaws.items():
        flawed = batch.filter(condition)["id"]
        if flawed.len():
            raise ExportError(f"{flawed.len()} pairs {flaw}, for one {flawed[0]}: leave them out with `where`")
