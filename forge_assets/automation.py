"""Jobs, the sensor and the schedule: how partitions come to be and get made without a person.

New photos only ever make new shards, so to keep up with a source is to plan its unplanned photos, add
the keys of the new shards, and start exactly those.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from forge_assets.partitions import MAX_KEYS_PER_REQUEST, SHARDS
from forge_resources.config import ForgeConfig
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.sources import open_source
from forge_resources.sources.shard_plan import ShardPlan

RUNS_PER_TICK = 50
NIGHTLY = "0 2 * * *"

photos_to_pairs = dg.define_asset_job(
    "photos_to_pairs",
    selection=dg.AssetSelection.assets(
        "raw_images", "detections", "depth_maps", "scenes", "candidate_qa", "verified_qa", "rejected_qa"
    ),
    description="All stages and gates of one shard: photos in, verified pairs out.",
)


def plan_shards(config: ForgeConfig, sources: Sequence[str] | None = None) -> list[ShardKey]:
    """Put the photos that no shard holds yet into new shards, and list all planned shards.

    Args:
        config: the whole configuration.
        sources: names of the sources to look at; all by default.

    Raises:
        ConfigError: for a source that is not configured.
        SourceError: for a source that cannot be read.
    """
    plan = ShardPlan(config.lake)
    for name in sources if sources is not None else sorted(config.sources):
        settings = config.source(name)
        plan.extend(name, open_source(name, settings).list_photos(), settings.shard_size)
    planned = plan.keys()
    return [key for key in planned if sources is None or key.source in sources]


def add_partitions(instance: dg.DagsterInstance, keys: Sequence[ShardKey]) -> list[ShardKey]:
    """Make partition keys known to a Dagster instance; those that it knows are left alone.

    Returns:
        The keys that were added.
    """
    known = set(instance.get_dynamic_partitions(SHARDS.name or ""))
    added = [key for key in keys if str(key) not in known]
    for start in range(0, len(added), MAX_KEYS_PER_REQUEST):
        chunk = [str(key) for key in added[start : start + MAX_KEYS_PER_REQUEST]]
        instance.add_dynamic_partitions(SHARDS.name or "", chunk)
    return added


def reconcile(instance: dg.DagsterInstance, config: ForgeConfig) -> list[ShardKey]:
    """Rebuild the partition keys of an instance from what the lake holds: its shard plans and its manifests.

    Returns:
        The keys that were missing and have been added; none when called again.
    """
    lake = Lake(config.lake)
    return add_partitions(instance, sorted({*ShardPlan(config.lake).keys(), *lake.keys("raw_images")}))


def _unmade(config: ForgeConfig) -> Iterator[dg.RunRequest]:
    """A run for each planned shard that the lake does not hold; the run key changes with the shard's members."""
    plan, made = ShardPlan(config.lake), set(Lake(config.lake).keys("raw_images"))
    planned = plan.keys()
    for key in planned:
        if key not in made:
            yield dg.RunRequest(run_key=f"{key}:{plan.digest(key)}", partition_key=str(key))


def _new_shards(instance: dg.DagsterInstance, config: ForgeConfig) -> list[dg.RunRequest]:
    add_partitions(instance, plan_shards(config))
    return list(_unmade(config))[:RUNS_PER_TICK]


@dg.sensor(
    job=photos_to_pairs,
    minimum_interval_seconds=60,
    description="Finds new photos of every source, makes shards of them and starts just those shards.",
)
def new_photos(context: dg.SensorEvaluationContext, forge: ForgeResource) -> list[dg.RunRequest] | dg.SkipReason:
    """Look at every configured source for photos that no shard holds."""
    requests = _new_shards(context.instance, forge.config)
    return requests or dg.SkipReason("no source has photos outside the shards already made")


@dg.schedule(
    job=photos_to_pairs,
    cron_schedule=NIGHTLY,
    description="Once a night, what the sensor new_photos does.",
)
def nightly(context: dg.ScheduleEvaluationContext, forge: ForgeResource) -> list[dg.RunRequest] | dg.SkipReason:
    """Look at every configured source for photos that no shard holds."""
    requests = _new_shards(context.instance, forge.config)
    return requests or dg.SkipReason("no source has photos outside the shards already made")
