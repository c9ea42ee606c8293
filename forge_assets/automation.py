"""Jobs, the sensor and the schedule: how partitions come to be and get made without a person.

New photos make new shards; photos or labels that changed make their shard's plan newer than its table. To keep
up with a source is to plan its photos, add the keys of the new shards, and start the shards that are not made of
what is planned.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import dagster as dg

from forge_assets.partitions import MAX_KEYS_PER_REQUEST, SHARDS
from forge_assets.raw_images.asset import MEMBERS_VERSION
from forge_resources.config import ForgeConfig
from forge_resources.dagster_resources import ForgeResource
from forge_resources.instance import AUTOMATION_VARIABLE
from forge_resources.lake import Lake, PartitionMissing
from forge_resources.s3 import REQUESTS_AT_ONCE
from forge_resources.shards import ShardKey
from forge_resources.sources import open_source
from forge_resources.sources.shard_plan import ShardPlan

RUNS_PER_TICK = 50
NIGHTLY = "0 2 * * *"

_ON = os.environ.get(AUTOMATION_VARIABLE) == "on"
_SENSORS = dg.DefaultSensorStatus.RUNNING if _ON else dg.DefaultSensorStatus.STOPPED
_SCHEDULES = dg.DefaultScheduleStatus.RUNNING if _ON else dg.DefaultScheduleStatus.STOPPED

photos_to_pairs = dg.define_asset_job(
    "photos_to_pairs",
    selection=dg.AssetSelection.assets(
        "raw_images", "detections", "depth_maps", "scenes", "candidate_qa", "verified_qa", "rejected_qa"
    ),
    description="All stages and gates of one shard: photos in, verified pairs out.",
)


when_inputs_pass = dg.AutomationConditionSensorDefinition(
    "default_automation_condition_sensor",
    target=dg.AssetSelection.all(),
    default_status=_SENSORS,
    description="Makes a stage when an input is new and the gates of all its inputs have passed for it.",
)
"""Under the name that Dagster gives the sensor that it makes where there is none."""


def plan_shards(config: ForgeConfig, sources: Sequence[str] | None = None) -> list[ShardKey]:
    """Put the photos that no shard holds yet into new shards, note which others changed, and list all planned shards.

    Args:
        config: the whole configuration.
        sources: names of the sources to look at; all by default.

    Raises:
        ConfigError: for a source that is not configured.
        SourceError: for a source that cannot be read.
        ShardPlanError: for a source whose photos are all gone.
    """
    plan = ShardPlan(config.lake, config.s3)
    for name in sources if sources is not None else sorted(config.sources):
        settings = config.source(name)
        photos = open_source(name, settings, config.s3, config.cache).list_photos()
        plan.update(name, photos, settings.shard_size)
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
    lake, plan = Lake(config.lake, config.s3), ShardPlan(config.lake, config.s3)
    return add_partitions(instance, sorted({*plan.keys(), *lake.keys("raw_images")}))


def made_of(lake: Lake, key: ShardKey) -> str | None:
    """The digest of the members that a shard's photos were made of; None where they were not made."""
    try:
        return lake.manifest("raw_images", key).versions.get(MEMBERS_VERSION)
    except PartitionMissing:
        return None


def not_made_as_planned(lake: Lake, plan: ShardPlan, keys: Sequence[ShardKey]) -> list[ShardKey]:
    """Shards whose photos the lake does not hold, or not in their planned versions."""

    def is_due(key: ShardKey) -> bool:
        return made_of(lake, key) != plan.digest(key)

    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        return [key for key, due in zip(keys, pool.map(is_due, keys), strict=True) if due]


def not_passed(lake: Lake, keys: Sequence[ShardKey]) -> list[ShardKey]:
    """Shards whose photos no gate has passed as they lie there now."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        passed = pool.map(partial(lake.has_passed, "raw_images"), keys)
        return [key for key, has_passed in zip(keys, passed, strict=True) if not has_passed]


def _due(config: ForgeConfig, night: str | None) -> Iterator[dg.RunRequest]:
    """A run for each planned shard whose photos the lake does not hold as planned, then the failed ones at night.

    The run key changes with the shard's members, with what the lake holds of it, and with the night: a shard whose
    run failed is not started again before the next night.
    """
    lake, plan = Lake(config.lake, config.s3), ShardPlan(config.lake, config.s3)
    planned = plan.keys()
    due = not_made_as_planned(lake, plan, planned)
    if night is not None:
        as_planned = sorted({*planned} - {*due})
        due += not_passed(lake, as_planned)
    for key in due:
        held = made_of(lake, key) or "nothing"
        run_key = ":".join([str(key), held, plan.digest(key), *([night] if night else [])])
        yield dg.RunRequest(run_key=run_key, partition_key=str(key))


def after(requests: Sequence[dg.RunRequest], partition_key: str | None) -> list[dg.RunRequest]:
    """The same requests, those first that come after a partition: shards that keep failing hold up no others."""
    keys = [request.partition_key for request in requests]
    start = keys.index(partition_key) + 1 if partition_key in keys else 0
    return [*requests[start:], *requests[:start]]


NOTHING_DUE = "every photo of every source is in a shard that is made as planned"


@dg.sensor(
    job=photos_to_pairs,
    minimum_interval_seconds=60,
    default_status=_SENSORS,
    description="Finds new and changed photos and labels of every source and starts just their shards.",
)
def new_photos(context: dg.SensorEvaluationContext, forge: ForgeResource) -> list[dg.RunRequest] | dg.SkipReason:
    """Look at every configured source for photos that no shard holds as they are now."""
    add_partitions(context.instance, plan_shards(forge.config))
    requests = after(list(_due(forge.config, night=None)), context.cursor)[:RUNS_PER_TICK]
    if not requests:
        return dg.SkipReason(NOTHING_DUE)
    context.update_cursor(requests[-1].partition_key or "")
    return requests


@dg.schedule(
    job=photos_to_pairs,
    cron_schedule=NIGHTLY,
    default_status=_SCHEDULES,
    description="Once a night, what the sensor new_photos does; shards whose last run failed are tried again.",
)
def nightly(context: dg.ScheduleEvaluationContext, forge: ForgeResource) -> list[dg.RunRequest] | dg.SkipReason:
    """Look at every configured source for photos that no shard holds as they are now."""
    add_partitions(context.instance, plan_shards(forge.config))
    requests = list(_due(forge.config, f"{context.scheduled_execution_time:%Y-%m-%d}"))
    return requests or dg.SkipReason(NOTHING_DUE)
