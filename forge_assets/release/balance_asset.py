"""The assets `guessability` and `balance_plan`: what the text gives away, over all pairs, and what a release keeps."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import dagster as dg
import polars as pl

from forge_assets.audits.asset import as_table
from forge_assets.release import balance_plan as plans
from forge_assets.release import guessability as baseline
from forge_assets.release.balance_plan import BALANCE_PLAN, BALANCE_REPEATS, BalancePlan
from forge_assets.release.guessability import GUESSABILITY
from forge_assets.stage import OWNERS
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake, TableManifest
from forge_resources.shards import ShardKey

DUPLICATES: Final = "duplicates"
_SHOWN_ROWS: Final = 50
_PAIRS_CHANGED: Final = (dg.AutomationCondition.any_deps_updated() & ~dg.AutomationCondition.in_progress()).with_label(
    "pairs_changed"
)


def verified_shards(lake: Lake) -> Mapping[ShardKey, str]:
    """The shards of `verified_qa` that passed their gate, and the content hash of each."""
    return {
        key: lake.manifest("verified_qa", key).content_hash
        for key in lake.keys("verified_qa")
        if lake.has_passed("verified_qa", key)
    }


def releasable_pairs(lake: Lake, shards: Mapping[ShardKey, str]) -> pl.LazyFrame:
    """The verified pairs of these shards with the SHA-256 of their photo's bytes, as plan and baseline read them.

    Pairs of photos that the table `duplicates`, where there is one, does not keep are left out, and those of photos
    that `raw_images` does not hold any more.

    Returns:
        The columns of PAIR_COLUMNS, and image_id.
    """
    columns = ["image_id", *(name for name in plans.PAIR_COLUMNS if name != "image_sha256")]
    if not shards:
        lists = {"choices": pl.List(pl.String), "categories": pl.List(pl.String)}
        return pl.LazyFrame(schema=dict.fromkeys(("image_sha256", *columns), pl.String()) | lists)
    pairs = pl.concat(lake.scan("verified_qa", key).select(columns) for key in shards)
    photos = pl.concat(lake.scan("raw_images", key).select("image_id", image_sha256="sha256") for key in shards)
    if lake.has_table(DUPLICATES):
        repeats = lake.scan_table(DUPLICATES).filter(~pl.col("is_kept"))
        photos = photos.join(repeats.select("image_id"), on="image_id", how="anti")
    return pairs.join(photos, on="image_id")


def load_plan(lake: Lake) -> BalancePlan:
    """The plan that the lake holds.

    Raises:
        PartitionMissing: if it was never made.
    """
    return BalancePlan(lake.scan_table("balance_plan").collect(), lake.scan_table("balance_repeats").collect())


def plan_inputs(lake: Lake, shards: Mapping[ShardKey, str]) -> dict[str, str]:
    """Content hashes of all that a plan over these shards rests on, by table and shard: a plan with others is stale."""
    pairs = {f"verified_qa/{key}": content_hash for key, content_hash in shards.items()}
    photos = {DUPLICATES: lake.table_manifest(DUPLICATES).content_hash} if lake.has_table(DUPLICATES) else {}
    return pairs | photos


def _result(manifest: TableManifest, started: float, metadata: Mapping[str, Any]) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.content_hash),
        metadata={
            "dagster/row_count": manifest.rows,
            **metadata,
            "seconds": round(time.monotonic() - started, 3),
        },
    )


def _lifts(rows: pl.DataFrame, prefix: str = "lift") -> dict[str, float]:
    judged = rows.filter(pl.col("lift").is_not_null())
    return {f"{prefix}/{row['task']}/{row['kind']}": round(row["lift"], 2) for row in judged.to_dicts()}


@dg.asset(
    deps=["verified_qa"],
    group_name="release",
    kinds={"parquet", "scikitlearn"},
    owners=OWNERS,
    code_version=baseline.VERSION,
    automation_condition=_PAIRS_CHANGED,
)
def guessability(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """How far above chance a text-only model guesses the answers of choices and yes/no questions, without any photo."""
    started, lake, config = time.monotonic(), forge.lake, forge.config.balance
    shards = verified_shards(lake)
    rows = baseline.guessability(releasable_pairs(lake, shards), config.baseline_pairs)
    manifest = lake.write_table(
        "guessability", rows, GUESSABILITY, inputs=plan_inputs(lake, shards), versions={"code": baseline.VERSION}
    )
    lifts = _lifts(rows)
    context.log.info(f"points above chance, from the text alone: {lifts}")
    return _result(manifest, started, {**lifts, "guessability": as_table(rows)})


@dg.asset(
    name="balance_plan",
    deps=["verified_qa"],
    group_name="release",
    kinds={"parquet", "polars"},
    owners=OWNERS,
    code_version=plans.VERSION,
    automation_condition=_PAIRS_CHANGED,
)
def balance_plan_asset(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """What share of which pairs a release keeps, so that no answer can be guessed from the text."""
    started, lake, config, quotas = time.monotonic(), forge.lake, forge.config.balance, forge.config.quotas
    shards = verified_shards(lake)
    pairs = releasable_pairs(lake, shards)
    plan = plans.balance(pairs, config, quotas)
    after = baseline.guessability(plans.selected(pairs, plan), config.baseline_pairs)
    shared: dict[str, Any] = {
        "inputs": plan_inputs(lake, shards),
        "versions": {"code": plans.VERSION, "balance": config.model_dump_json(), "quotas": json.dumps(dict(quotas))},
    }
    lake.write_table("balance_repeats", plan.repeats, BALANCE_REPEATS, **shared)
    manifest = lake.write_table("balance_plan", plan.strata, BALANCE_PLAN, **shared)
    dropped, shares, gaps = plans.dropped(plan), plans.largest_shares(plan, config), plans.quota_gaps(plan, quotas)
    verified = sum(lake.manifest("verified_qa", key).rows for key in shards)
    planned = int(plan.strata["pairs"].sum())
    kept, lifts = float(plan.strata["kept"].sum()), _lifts(after, "lift_after")
    context.log.info(f"kept {kept:.0f} of {planned} pairs, without {plan.repeats.height} repeats")
    context.log.info(f"points above chance that are left, from the text alone: {lifts}")
    return _result(
        manifest,
        started,
        {
            "pairs": planned,
            "kept": round(kept, 1),
            "repeats": plan.repeats.height,
            "of_photos_left_out": verified - planned - plan.repeats.height,
            **lifts,
            "dropped": as_table(dropped),
            "largest_shares": as_table(shares),
            "quotas": as_table(gaps),
            "guessability_after": as_table(after),
            "thinned_strata": as_table(_most_thinned(plan)),
        },
    )


def _most_thinned(plan: BalancePlan) -> pl.DataFrame:
    lost = pl.col("pairs") - pl.col("kept")
    return (
        plan.strata.filter(pl.col("keep_share") < 1).sort(lost, descending=True, maintain_order=True).head(_SHOWN_ROWS)
    )
