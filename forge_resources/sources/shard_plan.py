"""Which photo belongs to which shard: written once, never changed.

    <lake>/_shards/source=<source>/<shard>.json

A shard that was made keeps its members for ever, so a partition means the same photos in every run;
photos that come later go to new shards.
"""

import hashlib
import json
import os
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from forge_resources.errors import ForgeError
from forge_resources.shards import ShardKey
from forge_resources.sources.base import Member

_FOLDER: Final = "_shards"
_LOCK: Final = ".lock"
_LOCK_SECONDS: Final = 600
_NAMED_IN_ERRORS: Final = 10


class ShardPlanError(ForgeError, RuntimeError):
    """A shard plan that cannot be read or extended; the message says what to do."""


class UnknownShard(ForgeError, LookupError):
    """A shard that was asked for is not in the plan."""


class _Shard(BaseModel, frozen=True):
    source: str
    shard: str
    members_hash: str
    members: tuple[Member, ...]


class ShardPlan:
    """The shards of all sources, kept as files in the lake.

    Args:
        root: The lake's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / _FOLDER

    def keys(self, source: str | None = None) -> list[ShardKey]:
        """All shards, or those of one source, in the order in which they were made."""
        found = [
            ShardKey(path.parent.name.removeprefix("source="), path.stem)
            for path in self._root.glob(f"source={source or '*'}/s*.json")
        ]
        return sorted(found, key=lambda key: (key.source, _number(key)))

    def members(self, key: ShardKey) -> tuple[Member, ...]:
        """The photos of one shard, sorted by path.

        Raises:
            UnknownShard: if no such shard was made.
            ShardPlanError: if its file was tampered with or damaged.
        """
        return self._shard(key).members

    def digest(self, key: ShardKey) -> str:
        """A hash of one shard's paths and sizes, for run keys: 32 hexadecimal digits.

        Raises:
            UnknownShard: if no such shard was made.
            ShardPlanError: if its file was tampered with or damaged.
        """
        return self._shard(key).members_hash

    def extend(self, source: str, photos: Sequence[Member], shard_size: int) -> list[ShardKey]:
        """Give the photos that are in no shard yet to new shards, by path; the shards that are there stay as they are.

        Two callers at once wait for each other. A caller that is killed leaves whole shards behind, and
        the next call goes on with the rest.

        Args:
            source: Name of the source.
            photos: All its photos, or those to add.
            shard_size: Photos in a full shard; the last new one may hold fewer.

        Returns:
            Keys of the new shards; none if there was no new photo.

        Raises:
            ValueError: if `photos` has a path twice, or `shard_size` is not positive.
            ShardPlanError: if an earlier shard cannot be read, or another planner holds the plan for minutes.
        """
        if shard_size < 1:
            raise ValueError(f"shard_size {shard_size} is not positive")
        repeated = [path for path, count in Counter(photo.path for photo in photos).items() if count > 1]
        if repeated:
            raise ValueError(f"source {source}: {repeated[0]} is listed twice")
        folder = self._folder(ShardKey.numbered(source, 0))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / _LOCK, timeout=_LOCK_SECONDS):
                return self._extend_locked(source, photos, shard_size)
        except Timeout as error:
            raise ShardPlanError(
                f"another planner has held {folder / _LOCK} for {_LOCK_SECONDS} s: let it end, then plan again"
            ) from error

    def _extend_locked(self, source: str, photos: Sequence[Member], shard_size: int) -> list[ShardKey]:
        existing = self.keys(source)
        taken = {member.path for key in existing for member in self.members(key)}
        rest = sorted(photo for photo in photos if photo.path not in taken)
        first = _number(existing[-1]) + 1 if existing else 0
        added: list[ShardKey] = []
        for start in range(0, len(rest), shard_size):
            key = ShardKey.numbered(source, first + len(added))
            self._create(key, tuple(rest[start : start + shard_size]))
            added.append(key)
        return added

    def _create(self, key: ShardKey, members: tuple[Member, ...]) -> None:
        shard = _Shard(source=key.source, shard=key.shard, members_hash=_members_hash(members), members=members)
        target = self._path(key)
        staged = target.with_name(f".{key.shard}.{uuid.uuid4().hex}")
        try:
            with staged.open("x") as file:
                file.write(shard.model_dump_json(indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            target.hardlink_to(staged)  # unlike a rename, never replaces a shard that is there
        except FileExistsError as error:
            raise ShardPlanError(f"another planner has made {key} meanwhile, past the lock: plan again") from error
        finally:
            staged.unlink(missing_ok=True)

    def _shard(self, key: ShardKey) -> _Shard:
        path = self._path(key)
        try:
            text = path.read_bytes()
        except FileNotFoundError as error:
            raise UnknownShard(f"no shard {key} was planned; {self._known(key.source)}") from error
        mend = f"restore {path} from a backup; do not plan its photos anew where tables were made of them"
        try:
            shard = _Shard.model_validate_json(text)
        except ValidationError as error:
            raise ShardPlanError(f"the plan of {key} cannot be read: {mend} ({error})") from error
        if (shard.source, shard.shard) != (key.source, key.shard) or shard.members_hash != _members_hash(shard.members):
            raise ShardPlanError(f"the plan of {key} was changed after it was made: {mend}")
        return shard

    def _known(self, source: str) -> str:
        keys = self.keys(source) or self.keys()
        if not keys:
            return "there are no shards yet: plan a source first"
        named = ", ".join(map(str, keys[:_NAMED_IN_ERRORS]))
        more = len(keys) - _NAMED_IN_ERRORS
        return f"known shards: {named}" + (f" and {more} more" if more > 0 else "")

    def _folder(self, key: ShardKey) -> Path:
        return self._root / f"source={key.source}"

    def _path(self, key: ShardKey) -> Path:
        return self._folder(key) / f"{key.shard}.json"


def _number(key: ShardKey) -> int:
    return int(key.shard.removeprefix("s"))


def _members_hash(members: Sequence[Member]) -> str:
    listed = json.dumps([[member.path, member.byte_size] for member in members], separators=(",", ":"))
    return hashlib.blake2b(listed.encode(), digest_size=16).hexdigest()
