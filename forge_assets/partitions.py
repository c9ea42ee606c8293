"""The one partitions definition: a dynamic key `source/shard` that all stages and gates share."""

import dagster as dg

from forge_resources.shards import PARTITION_NAME_TAG, InvalidShardKey, ShardKey

__all__ = ["MAX_KEYS_PER_REQUEST", "PARTITION_NAME_TAG", "SHARDS", "InvalidShardKey", "ShardKey"]

SHARDS = dg.DynamicPartitionsDefinition(name="source_shard")

MAX_KEYS_PER_REQUEST = 5_000
"""More keys in one call overrun SQLite's bound on variables."""
