"""At most so many threads at one thing at once."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from weakref import WeakValueDictionary


class KeyedSlots:
    """Places a key; a key that no thread holds or awaits takes no memory."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._guard = threading.Lock()
        self._semaphores: WeakValueDictionary[str, threading.BoundedSemaphore] = WeakValueDictionary()

    @contextmanager
    def of(self, key: str) -> Generator[None]:
        """Hold one place of a key, waiting until there is one."""
        with self._guard:
            semaphore = self._semaphores.get(key)
            if semaphore is None:
                semaphore = self._semaphores[key] = threading.BoundedSemaphore(self._places)
        with semaphore:
            yield
