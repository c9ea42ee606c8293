"""The one partitions definition: a dynamic key `source/shard` that all stages and gates share."""

import dagster as dg

from forge_resources.shards import InvalidShardKey, ShardKey

__all__ = ["MAX_KEYS_PER_REQUEST", "PARTITION_NAME_TAG", "SHARDS", "InvalidShardKey", "ShardKey"]

SHARDS = dg.DynamicPartitionsDefinition(name="source_shard")

PARTITION_NAME_TAG = "dagster/partition"
"""How Dagster marks the partition of a run; a job of checks alone takes its partition by this tag only."""

MAX_KEYS_PER_REQUEST = 5_000
"""More keys in one call overrun SQLite's bound on variables."""
