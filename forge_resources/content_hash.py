"""A hash of a table's content that does not depend on file format, batches or library versions."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol, Self

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow.compute import call_function
from xxhash import xxh3_128

from forge_resources.errors import ForgeError

_Bytes = bytes | memoryview


class _Running(Protocol):
    def update(self, data: _Bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


_PRESENT: Final = "xxh3:"
_ALGORITHMS: Final[Mapping[str, Callable[[], _Running]]] = {
    _PRESENT: xxh3_128,
    "": partial(hashlib.blake2b, digest_size=16),
}
"""By what their digests begin with; lakes hold digests without a beginning, made before there were others."""


class UnknownDigest(ForgeError, ValueError):
    """A content hash that no version up to this one makes."""


def _leaves(array: Any, path: str) -> Iterator[tuple[str, _Bytes]]:  # noqa: ANN401 - PyArrow has no types
    """Split an Arrow array into named runs of bytes: null mask, lengths and values, depth first."""
    dtype = array.type
    yield f"{path}?", _numbers(array.is_null(), "u1") if array.null_count else bytes(len(array))
    if pa.types.is_struct(dtype):
        for field, values in zip(dtype, array.flatten(), strict=True):
            yield from _leaves(values, f"{path}.{field.name}")
    elif pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype):
        yield f"{path}#", _numbers(call_function("list_value_length", [array]), "<i8")
        yield from _leaves(array.flatten(), f"{path}[]")
    elif pa.types.is_dictionary(dtype):
        yield from _text(array.dictionary_decode(), path)
    elif pa.types.is_large_binary(dtype) or pa.types.is_large_string(dtype):
        yield from _text(array, path)
    elif pa.types.is_boolean(dtype):
        yield path, _numbers(array, "u1")
    elif pa.types.is_integer(dtype) or pa.types.is_floating(dtype):
        yield path, _numbers(array, np.dtype(dtype.to_pandas_dtype()).newbyteorder("<"))
    else:
        raise TypeError(f"column {path}: no content hash is defined for {dtype}")


def _text(array: Any, path: str) -> Iterator[tuple[str, _Bytes]]:  # noqa: ANN401 - PyArrow has no types
    yield f"{path}#", _numbers(call_function("binary_length", [array]), "<i8")
    values = array.drop_null()
    _, offsets, joined = values.buffers()
    if len(values) and joined is not None:
        edges = np.frombuffer(offsets, "<i8")
        yield path, memoryview(joined)[edges[values.offset] : edges[values.offset + len(values)]]
    else:
        yield path, b""


def _numbers(array: Any, dtype: str | np.dtype[Any]) -> memoryview:  # noqa: ANN401 - PyArrow has no types
    filled = array.fill_null(False if pa.types.is_boolean(array.type) else 0) if array.null_count else array
    return filled.to_numpy(zero_copy_only=False).astype(dtype, copy=False).data


class ContentHash:
    """A running hash over the batches of one table: the same rows in the same order give the same digest.

    Each leaf of each column has a hash of its own, so the digest is the same however the rows were
    batched. The digest is `xxh3:` and 32 hexadecimal digits of XXH3-128, which tells what differs by chance or by
    mistake; it is no defence against rows that someone made to have the same digest.
    """

    def __init__(self) -> None:
        self._prefix = _PRESENT
        self._leaves: dict[str, _Running] = {}
        self._rows = 0

    @classmethod
    def like(cls, digest: str) -> Self:
        """A hash that gives `digest` for the rows that had it, also where an earlier version made it.

        Raises:
            UnknownDigest: if no version up to this one makes such digests.
        """
        prefix, separator, _ = digest.rpartition(":")
        running = cls()
        running._prefix = prefix + separator
        if running._prefix not in _ALGORITHMS:
            raise UnknownDigest(
                f"the content hash {digest} is of a kind that this version does not know: "
                "use the version that wrote the lake, or materialize the partition again"
            )
        return running

    def update(self, frame: pl.DataFrame) -> None:
        """Add the rows of `frame` after those already added.

        Raises:
            TypeError: for a column type that tables do not use (times, decimals, objects).
        """
        self.update_arrow(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))

    def update_arrow(self, table: Any) -> None:  # noqa: ANN401 - PyArrow has no types
        """Add the rows of a `pyarrow.Table` that Polars made at its oldest compatibility level, as `update` does.

        Raises:
            TypeError: for a column type that tables do not use (times, decimals, objects).
        """
        self._rows += table.num_rows
        for name, column in zip(table.column_names, table.columns, strict=True):
            for chunk in column.chunks or [pa.array([], column.type)]:
                for leaf, data in _leaves(chunk, name):
                    self._running(leaf).update(data)

    def _running(self, leaf: str) -> _Running:
        if leaf not in self._leaves:
            self._leaves[leaf] = _ALGORITHMS[self._prefix]()
        return self._leaves[leaf]

    def hexdigest(self) -> str:
        """The digest of all rows so far, column order left out of it."""
        total = _ALGORITHMS[self._prefix]()
        total.update(str(self._rows).encode())
        for leaf in sorted(self._leaves):
            total.update(leaf.encode() + b"\0" + self._leaves[leaf].digest())
        return f"{self._prefix}{total.hexdigest()}"


def content_hash(frame: pl.DataFrame) -> str:
    """The digest of one table held in memory."""
    running = ContentHash()
    running.update(frame)
    return running.hexdigest()
