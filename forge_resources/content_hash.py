"""A hash of a table's content that does not depend on file format, batches or library versions."""

import hashlib
from collections.abc import Iterator
from typing import Protocol

import polars as pl


def _leaves(series: pl.Series, path: str) -> Iterator[tuple[str, bytes]]:
    """Split a column into named runs of bytes: null mask, lengths and values, depth first."""
    dtype = series.dtype
    if isinstance(dtype, pl.Array):
        yield from _leaves(series.arr.to_list(), path)
        return
    yield f"{path}?", series.is_null().to_numpy().astype("u1").tobytes()
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            yield from _leaves(series.struct.field(field.name), f"{path}.{field.name}")
    elif isinstance(dtype, pl.List):
        lengths = series.list.len().fill_null(0)
        yield f"{path}#", lengths.to_numpy().astype("<u8").tobytes()
        yield from _leaves(series.filter(lengths > 0).explode(), f"{path}[]")
    elif isinstance(dtype, pl.Binary):
        yield f"{path}#", series.bin.size().fill_null(0).to_numpy().astype("<u8").tobytes()
        yield path, b"".join(series.drop_nulls().to_list())
    elif isinstance(dtype, pl.String | pl.Enum | pl.Categorical):
        text = series.cast(pl.String).fill_null("")
        yield f"{path}#", text.str.len_bytes().to_numpy().astype("<u8").tobytes()
        yield path, (text.str.join("").item() or "").encode()
    elif isinstance(dtype, pl.Boolean):
        yield path, series.fill_null(False).to_numpy().astype("u1").tobytes()
    elif dtype.is_integer() or dtype.is_float():
        values = series.fill_null(0).to_numpy()
        yield path, values.astype(values.dtype.newbyteorder("<")).tobytes()
    else:
        raise TypeError(f"column {path}: no content hash is defined for {dtype}")


class _Running(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class ContentHash:
    """A running hash over the batches of one table: the same rows in the same order give the same digest.

    Each leaf of each column has a hash of its own, so the digest is the same however the rows were
    batched. The digest is 32 hexadecimal digits of BLAKE2b.
    """

    def __init__(self) -> None:
        self._leaves: dict[str, _Running] = {}
        self._rows = 0

    def update(self, frame: pl.DataFrame) -> None:
        """Add the rows of `frame` after those already added.

        Raises:
            TypeError: for a column type that tables do not use (times, decimals, objects).
        """
        self._rows += frame.height
        for name in frame.columns:
            for leaf, data in _leaves(frame[name], name):
                self._leaves.setdefault(leaf, hashlib.blake2b(digest_size=16)).update(data)

    def hexdigest(self) -> str:
        """The digest of all rows so far, column order left out of it."""
        total = hashlib.blake2b(str(self._rows).encode(), digest_size=16)
        for leaf in sorted(self._leaves):
            total.update(leaf.encode() + b"\0" + self._leaves[leaf].digest())
        return total.hexdigest()


def content_hash(frame: pl.DataFrame) -> str:
    """The digest of one table held in memory."""
    running = ContentHash()
    running.update(frame)
    return running.hexdigest()
