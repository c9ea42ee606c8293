"""Who hears how far a stage has come: nobody, or the progress bar of a command."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Called with the stage's name, photos done and photos in all."""

_listener: ContextVar[Listener | None] = ContextVar("forge_progress_listener", default=None)


@contextmanager
def heard_by(listener: Listener) -> Generator[None]:
    """Let `listener` hear the progress of every stage that runs in this context."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def announce(stage: str, done: int, total: int) -> None:
    """Tell whoever listens."""
    listener = _listener.get()
    if listener is not None:
        listener(stage, done, total)
