"""Ask a vision-language model the questions of verified pairs, with their photos."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from forge_assets.calibration.intervals import wilson
from forge_assets.judgements.questions import prompt
from forge_assets.judgements.replies import opinion
from forge_assets.tables import JUDGEMENTS
from forge_resources.models.batching import Photo
from forge_resources.models.vision_language.base import Request, VisionLanguageModel, shrunk
from forge_resources.models.vision_language.photos import photos_with_rows


def judgements(
    photos: Iterable[pl.DataFrame],
    pairs: pl.DataFrame,
    model: VisionLanguageModel,
    *,
    max_side: int,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> Iterator[pl.DataFrame]:
    """Ask the questions of pairs and compare the replies with the answers.

    Args:
        photos: batches of `raw_images` rows, sorted by image_id over all batches.
        pairs: rows of `VERIFIED_QA` to ask about.
        model: is asked once a pair.
        max_side: photos with a longer side, in pixels, are shrunk to it.
        batch_size: photos decoded at a time.
        progress: is told how many photos are done in all, after each table.

    Yields:
        Tables of the schema JUDGEMENTS, of whole photos, sorted by image_id and qa_id over all.

    Raises:
        VisionLanguageError: if the model cannot be asked.
        ValueError: if photos are out of order, or contradict their rows.
        UnusablePhoto: if a photo cannot be decoded.
    """
    done = 0
    for together in photos_with_rows(photos, pairs.sort("image_id", "qa_id"), batch_size):
        yield _judged([photo for photo, _ in together], pl.concat(rows for _, rows in together), model, max_side)
        done += len(together)
        if progress is not None:
            progress(done)


def _judged(photos: Sequence[Photo], pairs: pl.DataFrame, model: VisionLanguageModel, max_side: int) -> pl.DataFrame:
    images = {photo.image_id: shrunk(photo.image, max_side) for photo in photos}
    rows = pairs.to_dicts()
    asked = [prompt(row["question"], row["answer"], row["answer_kind"], row["choices"]) for row in rows]
    replies = model.ask([Request(images[row["image_id"]], text) for row, text in zip(rows, asked, strict=True)])
    judged: list[dict[str, Any]] = []
    for row, reply in zip(rows, replies, strict=True):
        said = opinion(reply, row["answer_kind"], row["short_answer"], row["choices"])
        judged.append(
            {name: row[name] for name in ("qa_id", "image_id", "source", "shard", "task", "form")}
            | {"reply": reply, "agrees": said.agrees, "reason": said.reason, "model": model.identity}
        )
    return pl.DataFrame(judged, schema=dict(JUDGEMENTS))


def agreement(rows: pl.DataFrame) -> pl.DataFrame:
    """How often the judge agrees, by task.

    Args:
        rows: of `JUDGEMENTS`.

    Returns:
        task, asked, read (replies that can be read), agrees, share (of those read), and low and high, Wilson's 95 %
        interval of it; sorted by task, share and interval null where no reply can be read.
    """
    counted = (
        rows.group_by(pl.col("task").cast(pl.String))
        .agg(asked=pl.len(), read=pl.col("agrees").count(), agrees=pl.col("agrees").sum())
        .sort("task")
    )
    intervals = [wilson(right, of) for right, of in counted.select("agrees", "read").iter_rows()]
    return counted.with_columns(
        pl.when(pl.col("read") > 0).then(pl.col("agrees") / pl.col("read")).alias("share"),
        pl.Series("low", [low for low, _ in intervals], dtype=pl.Float64),
        pl.Series("high", [high for _, high in intervals], dtype=pl.Float64),
    )
