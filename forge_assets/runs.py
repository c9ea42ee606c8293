"""Make partitions in this process, on the project's instance, as `forge run` does."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from forge_assets.audits.asset import task_balance
from forge_assets.automation import not_made_as_planned, photos_to_pairs
from forge_assets.definitions import build_definitions
from forge_assets.partitions import PARTITION_NAME_TAG
from forge_assets.problems import problems_of
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.sources.shard_plan import ShardPlan, UnknownShard

STAGES = ("raw_images", "detections", "depth_maps", "scenes", "candidate_qa", "verified_qa", "rejected_qa")
"""The partitioned assets, in the order in which data walks."""

_TOGETHER = frozenset({"verified_qa", "rejected_qa"})
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Configuration of a run in this process, whose outcome the caller tells."""


@dataclass(frozen=True)
class RunOutcome:
    """How the run of one partition ended."""

    key: ShardKey
    run_id: str
    succeeded: bool
    problems: Sequence[str]
    """What gates and stages said, where something failed."""


def chosen_shards(planned: Sequence[ShardKey], shards: Sequence[str] | None) -> list[ShardKey]:
    """Those of the planned shards that were asked for.

    Args:
        planned: all shards of the sources asked for.
        shards: names such as `s00000`; None for all.

    Raises:
        UnknownShard: if a shard that was asked for is not planned in any of the sources.
    """
    known = {key.shard for key in planned}
    unknown = [name for name in shards or () if name not in known]
    if unknown:
        raise UnknownShard(f"unknown shard {', '.join(unknown)}; there are: {', '.join(sorted(known)) or 'none'}")
    return [key for key in planned if not shards or key.shard in shards]


def unfinished(lake: Lake, plan: ShardPlan, keys: Sequence[ShardKey]) -> list[ShardKey]:
    """Those whose verified pairs are absent, were refused by their gate, or were made of what has changed since."""
    changed = set(not_made_as_planned(lake, plan, keys))
    return [key for key in keys if key in changed or not lake.has_passed("verified_qa", key)]


def made_together(names: Iterable[str]) -> list[str]:
    """These assets and those that are made in one step with them, sorted."""
    asked = {*names}
    return sorted(asked | _TOGETHER if asked & _TOGETHER else asked)


def make_partitions(
    forge: ForgeResource, instance: dg.DagsterInstance, keys: Sequence[ShardKey], stages: Sequence[str] = STAGES
) -> Iterator[RunOutcome]:
    """Make `stages` and their gates for each of `keys`, one partition a run, in this process.

    The runs are Dagster runs like any other: they stand in the instance and in the UI.

    Args:
        forge: the configuration.
        instance: knows `keys` as partitions.
        keys: made in this order; one that fails does not stop the others.
        stages: names from `STAGES`.
    """
    job = build_definitions(forge).resolve_job_def(photos_to_pairs.name)
    selected = made_together(stages)
    for key in keys:
        result = job.execute_in_process(
            partition_key=str(key),
            instance=instance,
            raise_on_error=False,
            run_config=QUIET,
            asset_selection=[dg.AssetKey(name) for name in selected],
        )
        yield RunOutcome(key, result.run_id, result.success, tuple(problems_of(result.all_events)))


def judge_partitions(
    forge: ForgeResource, instance: dg.DagsterInstance, table: str, keys: Sequence[ShardKey]
) -> Iterator[RunOutcome]:
    """Run the gate of one table again for each of `keys`, and nothing else; for after a threshold has changed."""
    gate = dg.define_asset_job(f"judge_{table}", selection=dg.AssetSelection.checks_for_assets(table))
    job = dg.Definitions.merge(build_definitions(forge), dg.Definitions(jobs=[gate])).resolve_job_def(gate.name)
    for key in keys:
        result = job.execute_in_process(
            instance=instance, raise_on_error=False, run_config=QUIET, tags={PARTITION_NAME_TAG: str(key)}
        )
        yield RunOutcome(key, result.run_id, result.success, tuple(problems_of(result.all_events)))


def make_balance(forge: ForgeResource, instance: dg.DagsterInstance) -> None:
    """Materialise `task_balance` over all partitions there are."""
    dg.materialize([task_balance], instance=instance, resources={"forge": forge}, run_config=QUIET)
