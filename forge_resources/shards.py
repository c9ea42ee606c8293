"""The identity of a partition: which shard of which source."""

import re
from dataclasses import dataclass
from typing import Self

from forge_resources.errors import ForgeError

PARTITION_NAME_TAG = "dagster/partition"
"""How Dagster marks the partition of a run; a job of checks alone takes its partition by this tag only."""

_KEY = re.compile(r"(?P<source>[a-z0-9_]+)/(?P<shard>s[0-9]{5,})")


class InvalidShardKey(ForgeError, ValueError):
    """A text that is not a partition key of the form `source/s00000`."""


@dataclass(frozen=True, order=True, slots=True)
class ShardKey:
    """One shard of one source; as text `source/shard`, the Dagster partition key.

    The leading `s` keeps readers of hive paths from taking `00017` for the number 17.

    Raises:
        InvalidShardKey: if the two parts do not form a key.
    """

    source: str
    shard: str

    def __post_init__(self) -> None:
        if _KEY.fullmatch(str(self)) is None:
            raise InvalidShardKey(
                f"{str(self)!r} is not a partition key: expected `source/s00000`, the source in "
                "lower-case letters, digits and underscores, the shard as `s` and at least five digits"
            )

    def __str__(self) -> str:
        return f"{self.source}/{self.shard}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `source/shard`; the inverse of `str`."""
        source, _, shard = text.partition("/")
        return cls(source, shard)

    @classmethod
    def numbered(cls, source: str, number: int) -> Self:
        """The shard of a running number, zero-padded to five digits."""
        return cls(source, f"s{number:05d}")
