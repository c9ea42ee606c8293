"""Which photo belongs to which shard: given once, never changed.

    <lake>/_shards/source=<source>/<shard>.json

A shard that was made keeps its photos for ever, so a partition means the same photos in every run;
photos that come later go to new shards. What is known of a photo's version is renewed by `refresh`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from forge_resources.errors import ForgeError
from forge_resources.s3 import REQUESTS_AT_ONCE, S3Config, S3Uri
from forge_resources.shards import ShardKey
from forge_resources.sources.base import Member
from forge_resources.stores import open_store

ABSENT: Final = "absent"
"""Version of a photo that its source no longer lists."""

_FOLDER: Final = "_shards"
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


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """What became of a plan when it was compared with a source."""

    added: list[ShardKey]
    """New shards, in the order in which they were made."""
    changed: list[ShardKey]
    """Earlier shards, sorted, of which a photo or its labels may have changed, or a photo is gone."""


class ShardPlan:
    """The shards of all sources, kept as files in the lake.

    Args:
        root: The lake's folder or S3 prefix.
        s3: How S3 is reached; default, as boto3 does.
    """

    def __init__(self, root: Path | S3Uri, s3: S3Config | None = None) -> None:
        self._store = open_store(root, s3)

    def keys(self, source: str | None = None) -> list[ShardKey]:
        """All shards, or those of one source, in the order in which they were made."""
        found = (path.split("/") for path in self._store.glob(f"{_FOLDER}/source={source or '*'}/s*.json"))
        keys = [ShardKey(folder.removeprefix("source="), name.removesuffix(".json")) for *_, folder, name in found]
        return sorted(keys, key=lambda key: (key.source, _number(key)))

    def members(self, key: ShardKey) -> tuple[Member, ...]:
        """The photos of one shard, sorted by path.

        Raises:
            UnknownShard: if no such shard was made.
            ShardPlanError: if its file was tampered with or damaged.
        """
        return self._shard(key).members

    def digest(self, key: ShardKey) -> str:
        """A hash of one shard's paths, sizes and versions, for run keys: 32 hexadecimal digits.

        Raises:
            UnknownShard: if no such shard was made.
            ShardPlanError: if its file was tampered with or damaged.
        """
        return self._shard(key).members_hash

    def extend(self, source: str, photos: Sequence[Member], shard_size: int) -> list[ShardKey]:
        """Give the photos that are in no shard yet to new shards, by path; the shards that are there stay as they are.

        Two callers at once on a local folder wait for each other; on S3 the one that comes second to a shard is
        refused. A caller that is killed leaves whole shards behind, and the next call goes on with the rest.

        Args:
            source: Name of the source.
            photos: All its photos, or those to add.
            shard_size: Photos in a full shard; the last new one may hold fewer.

        Returns:
            Keys of the new shards; none if there was no new photo.

        Raises:
            ValueError: if `photos` has a path twice, or `shard_size` is not positive.
            ShardPlanError: if an earlier shard cannot be read, if another planner made the same shard meanwhile or
                holds the plan for minutes.
        """
        return self._compared(source, photos, shard_size=shard_size, refresh=False).added

    def refresh(self, source: str, photos: Sequence[Member]) -> list[ShardKey]:
        """Renew size and version of the planned photos; no photo leaves its shard or comes to it.

        A photo that is no longer listed keeps its place with the version `ABSENT` and 0 bytes. A version in the
        listing where the plan has none counts as a change: what the plan knew cannot tell.

        Args:
            source: Name of the source.
            photos: All its photos.

        Returns:
            Keys of the shards that have changed, sorted.

        Raises:
            ValueError: if `photos` has a path twice.
            ShardPlanError: as `extend`, and if `photos` is empty where the plan is not; nothing has changed then.
        """
        return self._compared(source, photos, shard_size=None, refresh=True).changed

    def update(self, source: str, photos: Sequence[Member], shard_size: int) -> PlanChanges:
        """`refresh` and `extend` in one, which reads the plan once.

        Raises:
            ValueError: as `extend`.
            ShardPlanError: as `extend` and `refresh`.
        """
        return self._compared(source, photos, shard_size=shard_size, refresh=True)

    def _compared(self, source: str, photos: Sequence[Member], *, shard_size: int | None, refresh: bool) -> PlanChanges:
        if shard_size is not None and shard_size < 1:
            raise ValueError(f"shard_size {shard_size} is not positive")
        unplanned = {photo.path: photo for photo in photos}
        if len(unplanned) < len(photos):
            repeated = next(path for path, count in Counter(photo.path for photo in photos).items() if count > 1)
            raise ValueError(f"source {source}: {repeated} is listed twice")
        folder = _folder(ShardKey.numbered(source, 0))
        try:
            with self._store.lock(folder, _LOCK_SECONDS):
                planned = self.keys(source)
                if refresh and planned and not photos:
                    raise ShardPlanError(
                        f"source {source} lists no photo, though {len(planned)} shards of it are planned: mount or "
                        "mend its path; where it is empty for good, take the source out of the configuration"
                    )
                changed = self._take_planned(planned, unplanned, refresh=refresh)
                added = self._give_out(source, planned, sorted(unplanned.values()), shard_size) if shard_size else []
        except TimeoutError as error:
            raise ShardPlanError(
                f"another planner has held the plan in {self._store.root}/{folder} for {_LOCK_SECONDS} s: "
                "let it end, then plan again"
            ) from error
        return PlanChanges(added, changed)

    def _take_planned(
        self, planned: Sequence[ShardKey], unplanned: dict[str, Member], *, refresh: bool
    ) -> list[ShardKey]:
        """Take the photos of these shards out of `unplanned`, and write the shards anew in which one differs."""
        renewed: dict[ShardKey, tuple[Member, ...]] = {}
        for key, members in self._all_members(planned):
            listed = tuple(unplanned.pop(member.path, None) or Member(member.path, 0, ABSENT) for member in members)
            if refresh and listed != members:
                renewed[key] = listed
        for key, members in renewed.items():
            self._store.write(_path(key), _file(key, members))
        return sorted(renewed)

    def _all_members(self, keys: Sequence[ShardKey]) -> Iterator[tuple[ShardKey, tuple[Member, ...]]]:
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            for start in range(0, len(keys), REQUESTS_AT_ONCE):
                some = keys[start : start + REQUESTS_AT_ONCE]
                for key, text in zip(some, pool.map(self._store.read, map(_path, some)), strict=True):
                    yield key, self._checked(key, text).members

    def _give_out(
        self, source: str, planned: Sequence[ShardKey], rest: Sequence[Member], shard_size: int
    ) -> list[ShardKey]:
        first = _number(planned[-1]) + 1 if planned else 0
        added: list[ShardKey] = []
        for start in range(0, len(rest), shard_size):
            key = ShardKey.numbered(source, first + len(added))
            self._create(key, tuple(rest[start : start + shard_size]))
            added.append(key)
        return added

    def _create(self, key: ShardKey, members: tuple[Member, ...]) -> None:
        if not self._store.create(_path(key), _file(key, members)):
            raise ShardPlanError(f"another planner has made {key} meanwhile: plan again")

    def _shard(self, key: ShardKey) -> _Shard:
        return self._checked(key, self._store.read(_path(key)))

    def _checked(self, key: ShardKey, text: bytes | None) -> _Shard:
        if text is None:
            raise UnknownShard(f"no shard {key} was planned; {self._known(key.source)}")
        mend = (
            f"restore {self._store.root / _path(key)} from a backup; do not plan its photos anew where tables were "
            "made of them"
        )
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


def _folder(key: ShardKey) -> str:
    return f"{_FOLDER}/source={key.source}"


def _path(key: ShardKey) -> str:
    return f"{_folder(key)}/{key.shard}.json"


def _file(key: ShardKey, members: tuple[Member, ...]) -> bytes:
    shard = _Shard(source=key.source, shard=key.shard, members_hash=_members_hash(members), members=members)
    return shard.model_dump_json(indent=1).encode() + b"\n"


def _number(key: ShardKey) -> int:
    return int(key.shard.removeprefix("s"))


def _members_hash(members: Sequence[Member]) -> str:
    """The hash of paths, sizes and versions; a version that is not known is left out, as before there were any."""
    listed = [
        [member.path, member.byte_size, member.version] if member.version else [member.path, member.byte_size]
        for member in members
    ]
    return hashlib.blake2b(json.dumps(listed, separators=(",", ":")).encode(), digest_size=16).hexdigest()
