"""Photos together with the rows that a vision-language model is asked about."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import polars as pl

from forge_resources.models.batching import Photo, decoded

PhotoWithRows: TypeAlias = tuple[Photo, pl.DataFrame]


def photos_with_rows(
    photos: Iterable[pl.DataFrame], rows: pl.DataFrame, batch_size: int
) -> Iterator[list[PhotoWithRows]]:
    """Decode the photos that rows are about.

    Args:
        photos: batches of `raw_images` rows, sorted by image_id over all batches.
        rows: have the column image_id, and go along in their order.
        batch_size: photos decoded at a time.

    Yields:
        Photos that have rows, each with its rows, up to `batch_size` at a time.

    Raises:
        ValueError: if photos are out of order, or contradict their rows.
        UnusablePhoto: if a photo cannot be decoded.
    """
    of_photo = rows.partition_by("image_id", as_dict=True, maintain_order=True)
    ids = [image_id for (image_id,) in of_photo]
    wanted = (batch.filter(pl.col("image_id").is_in(ids)) for batch in photos)
    for together in decoded(wanted, batch_size):
        yield [(photo, of_photo[photo.image_id,]) for photo in together]
