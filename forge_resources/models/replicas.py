"""A small network on a CPU, once for each core."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

_Network = TypeVar("_Network")
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

MOST_REPLICAS: Final = 8


class Replicas(Generic[_Network]):
    """Replicas of a network that takes one input at a time, each of them on one core.

    Two inputs on a core each are done sooner than one after the other on both, whose layers wait for the slower core.

    Args:
        load: makes a replica; the first is made at once, others when there is more to do than the first can take.
        cores: as many replicas at most, and never more than 8; None for those of the machine.

    Raises:
        Exception: whatever `load` raises.
    """

    def __init__(self, load: Callable[[], _Network], cores: int | None = None) -> None:
        self._load = load
        self._idle: SimpleQueue[_Network] = SimpleQueue()
        self._idle.put(load())
        threads = min(cores or os.cpu_count() or 1, MOST_REPLICAS)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="replica")

    def map(self, ask: Callable[[_Network, _Given], _Made], given: Sequence[_Given]) -> list[_Made]:
        """Ask about each thing, several at a time.

        Args:
            ask: lets other threads run while the network does; a replica is given to one thread at a time.
            given: what to ask about.

        Returns:
            One answer a thing, in their order.

        Raises:
            Exception: the first that `ask` raised, in the order of `given`; what has not begun by then is dropped.
        """
        return list(self._pool.map(partial(self._asked, ask), given))

    def _asked(self, ask: Callable[[_Network, _Given], _Made], one: _Given) -> _Made:
        try:
            network = self._idle.get_nowait()
        except Empty:
            network = self._load()
        try:
            return ask(network, one)
        finally:
            self._idle.put(network)
