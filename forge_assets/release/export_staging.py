"""Where an export is written before it has its name.

    <folder of the export>/.<name>.<32 hexadecimal digits>/lock      held while the export is at work
                                                           files/    what is written
                                                           old/      what had the name before

An export that is killed leaves such a folder behind, and its lock is free then: the next export of that name finds it.
"""

import re
import shutil
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from forge_resources.stores.disk import filling, writing

_LOCK: Final = "lock"
_FILES: Final = "files"
_OLD: Final = "old"
_DIGITS: Final = re.compile(r"[0-9a-f]{32}")


@contextmanager
def staging(target: Path) -> Generator[Path]:
    """A new folder beside `target` to make files in; it is gone at the end.

    Raises:
        DiskError: the disk is full, read-only or forbidden.
    """
    folder = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with writing(target):
            (folder / _FILES).mkdir(parents=True)
            held = FileLock(folder / _LOCK).acquire()
        with filling(target), held:
            yield folder / _FILES
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(target: Path) -> list[Path]:
    """What exports of this name left when they were killed, sorted; not what is being written now."""
    prefix = f".{target.name}."
    found = [path for path in target.parent.glob(".*") if path.name.startswith(prefix) and path.is_dir()]
    return sorted(path for path in found if _DIGITS.fullmatch(path.name.removeprefix(prefix)) and not _is_held(path))


def _is_held(folder: Path) -> bool:
    try:
        with writing(folder), FileLock(folder / _LOCK, timeout=0):
            return False
    except Timeout:
        return True


def publish(staged: Path, targets: Sequence[Path]) -> None:
    """Give what is staged its names, in place of what has them.

    The first target counts: it goes first and comes last, so whoever is killed between leaves none, or all.

    Args:
        staged: as `staging` gave it; the folder itself is the one target, or holds files or folders by their names.
        targets: in the same folder; what is not staged is only taken away.
    """
    old = staged.with_name(_OLD)
    old.mkdir()
    for target in targets:
        if target.exists() or target.is_symlink():
            target.rename(old / target.name)
    for target in reversed(targets):
        made = staged if len(targets) == 1 else staged / target.name
        if made.exists():
            made.rename(target)
