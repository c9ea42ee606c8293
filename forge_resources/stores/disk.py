"""What a disk answers when it cannot be written, in words that say what to mend."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Final

from forge_resources.errors import ForgeError

_FULL: Final = "no room is left there ($reason): make room or raise the quota, then run again"
_READ_ONLY: Final = "it is mounted read-only: mount it for writing, or name another place, then run again"
_DENIED: Final = "$reason: let the user who runs this write there, or name another place, then run again"
_OTHER: Final = "$reason: mend it, then run again"
_ADVICE: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
}
_OF_WRITING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What no reading is ever answered with."""


class DiskError(ForgeError, OSError):
    """A disk that cannot be written; what was there before is as it was."""


@contextmanager
def writing(place: Path) -> Generator[None]:
    """Say of whatever the system refuses inside that `place` cannot be written, and what to do.

    Raises:
        DiskError: instead of another OSError with an error number.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, ForgeError) or error.errno is None:
            raise
        raise _explained(error.errno, place) from error


@contextmanager
def filling(place: Path) -> Generator[None]:
    """The same for code that reads elsewhere while it writes to `place`: what may come from reading passes.

    Raises:
        DiskError: if there is no room, or the disk is read-only.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, ForgeError) or error.errno not in _OF_WRITING:
            raise
        raise _explained(error.errno, place) from error


def _explained(number: int, place: Path) -> DiskError:
    advice = Template(_ADVICE.get(number, _OTHER)).substitute(reason=os.strerror(number))
    return DiskError(f"{place} cannot be written: {advice}")
