"""Which verified pairs an export or a release has: by SQL, split, balance plan and quotas, told cut by cut."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import polars as pl

from forge_assets.release import balance_plan as plans
from forge_assets.release.balance_asset import load_plan, plan_inputs, releasable_pairs, verified_shards
from forge_assets.tables import SPLITS, TASKS
from forge_resources.errors import ForgeError
from forge_resources.lake import Lake, PartitionMissing, PartitionRefused
from forge_resources.s3 import REQUESTS_AT_ONCE
from forge_resources.shards import ShardKey
from forge_resources.warehouse import QueryError, Warehouse

SELECTED: Final = "selected_pairs"
"""The view of the selected rows, with all columns of `verified_qa`."""

_BALANCED: Final = "_balanced_ids"
_BEFORE_QUOTAS: Final = "_pairs_before_quotas"
_SHARDS_AT_ONCE: Final = 32
_NAMED_PARTITIONS: Final = 3
_REST: Final = "the tasks without a quota"
_MAKE_PLAN: Final = (
    "make it with `dagster asset materialize -m forge_assets.definitions --select balance_plan`, or in `forge ui`"
)


class SelectionError(ForgeError, ValueError):
    """Pairs that were asked for cannot be selected; the message says why."""


@dataclass(frozen=True)
class Selection:
    """What to select from `verified_qa`."""

    where: str | None = None
    """SQL condition over the columns of `verified_qa`, for one `task = 'counting' AND score > 0.2`."""
    split: str | None = None
    """`train` or `val`; None for both."""
    quotas: Mapping[str, int | float] | None = None
    """By task, a number of pairs (int), or a share of `total` (float, 0-1)."""
    balanced: bool = False
    """Keep what the lake's balance plan keeps."""
    total: int | None = None
    """How many pairs in all; tasks without a quota share what the quotas leave of it."""
    allow_short: bool = False
    """Take what there is where a quota or `total` cannot be met."""
    allow_missing: bool = False
    """Select from the other partitions where some are missing or refused by their gate."""


@dataclass(frozen=True)
class Cut:
    """One step of a selection."""

    name: str
    dropped: int
    left: int


@dataclass(frozen=True)
class Selected:
    """The rows of the view `selected_pairs`, told in figures."""

    selection: Selection
    counts: pl.DataFrame
    """task, source, split, pairs; sorted."""
    cuts: tuple[Cut, ...]
    """In the order in which they were made."""
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    """Partitions that do not count, by `source/shard`, and why."""

    @property
    def pairs(self) -> int:
        """How many pairs are selected."""
        return int(self.counts["pairs"].sum())


def select_pairs(warehouse: Warehouse, lake: Lake, selection: Selection) -> Selected:
    """Make the selected pairs known to `warehouse` as the view `selected_pairs`.

    Pairs of partitions that their gate passed count; those of photos that repeat another are left out, then what
    `where`, the split, the balance plan and the quotas drop. Quotas are filled by a hash of `qa_id`: the same pairs
    give the same selection, and a larger quota selects the same pairs and more.

    Args:
        warehouse: an open look at `lake`.
        lake: holds the balance plan.
        selection: what to select.

    Raises:
        SelectionError: broken SQL, no such split or task, no pair selected, a partition that is missing or refused,
            a balance plan that is missing or stale, or a quota that cannot be met.
    """
    _refuse_nonsense(selection)
    left_out = partitions_left_out(lake)
    if left_out and not selection.allow_missing:
        raise SelectionError(
            f"{len(left_out)} partitions would be left out, {_named(left_out)}: mend them, or go without them with "
            "--allow-missing"
        )
    steps = Steps(warehouse, _counted_partitions(left_out))
    steps.cut("repeats of photos", "image_id NOT IN (SELECT image_id FROM duplicates WHERE NOT is_kept)")
    if selection.where:
        steps.cut("where", f"({selection.where}\n)")
    if selection.split:
        steps.cut("split", f"split = '{selection.split}'")
    if selection.balanced:
        _add_balanced_ids(warehouse, lake)
        steps.cut("balance plan", f"qa_id IN (SELECT qa_id FROM {_BALANCED})")  # noqa: S608
    if selection.quotas or selection.total is not None:
        warehouse.add_view(_BEFORE_QUOTAS, steps.sql)
        steps.cut("quotas", _quota_condition(warehouse, selection))
    warehouse.add_view(SELECTED, steps.sql)
    if steps.left == 0:
        asked = f"where={selection.where!r}, split={selection.split!r}"
        raise SelectionError(f"no verified pair is selected by {asked}{_told(steps.cuts)}")
    counts = warehouse.query(f"SELECT task, source, split, count(*) AS pairs FROM {SELECTED} GROUP BY ALL ORDER BY ALL")  # noqa: S608
    return Selected(selection, counts, tuple(steps.cuts), left_out)


def partitions_left_out(lake: Lake) -> dict[str, str]:
    """Partitions with photos or pairs whose pairs do not count, by `source/shard`, and why."""
    keys = sorted({*lake.keys("raw_images"), *lake.keys("verified_qa")})
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        flaws = pool.map(partial(_flaw, lake), keys)
        return {str(key): flaw for key, flaw in zip(keys, flaws, strict=True) if flaw is not None}


def _flaw(lake: Lake, key: ShardKey) -> str | None:
    try:
        lake.require_passed("verified_qa", key)
    except (PartitionMissing, PartitionRefused) as error:
        return str(error)
    return None


class Steps:
    """SQL that is narrowed cut by cut, and what each cut dropped."""

    def __init__(self, warehouse: Warehouse, sql: str) -> None:
        self._warehouse = warehouse
        self.sql = sql
        self.cuts: list[Cut] = []
        self.left = self._count()

    def cut(self, name: str, condition: str) -> None:
        """Keep the rows of which `condition` is true.

        Raises:
            SelectionError: if the condition is broken SQL.
        """
        self.sql = f"SELECT * FROM ({self.sql}) WHERE {condition}"  # noqa: S608 -- the user's condition on their own lake
        before, self.left = self.left, self._count()
        self.cuts.append(Cut(name, before - self.left, self.left))

    def _count(self) -> int:
        try:
            self._warehouse.query(f"{self.sql} LIMIT 0")  # so that what is not one statement that reads is refused
            return int(self._warehouse.query(f"SELECT count(*) FROM ({self.sql})").item())  # noqa: S608
        except QueryError as error:
            raise SelectionError(f"the pairs cannot be selected: {error}") from error


def _refuse_nonsense(selection: Selection) -> None:
    if selection.split not in (None, *SPLITS):
        raise SelectionError(f"unknown split {selection.split!r}: train, val, or none for both")
    if selection.total is not None and selection.total < 1:
        raise SelectionError(f"a total of {selection.total} pairs: ask for one at least")
    for task, quota in (selection.quotas or {}).items():
        if task not in TASKS:
            raise SelectionError(f"a quota for the unknown task {task!r}; tasks: {', '.join(TASKS)}")
        if isinstance(quota, float):
            if not 0 <= quota <= 1:
                raise SelectionError(f"the quota {task}={quota}: a share is from 0 to 1, a number of pairs is whole")
            if selection.total is None:
                raise SelectionError(f"the quota {task}={quota} is a share: say of how many pairs with --total")
        elif quota < 0:
            raise SelectionError(f"the quota {task}={quota} is below 0")


def _counted_partitions(left_out: Mapping[str, str]) -> str:
    if not left_out:
        return "SELECT * FROM verified_qa"
    names = ", ".join(f"'{name}'" for name in left_out)
    return f"SELECT * FROM verified_qa WHERE source || '/' || shard NOT IN ({names})"  # noqa: S608 -- checked names


def _named(left_out: Mapping[str, str]) -> str:
    shown = "; ".join(list(left_out.values())[:_NAMED_PARTITIONS])
    more = len(left_out) - _NAMED_PARTITIONS
    return f"{shown}; and {more} more" if more > 0 else shown


def _told(cuts: Sequence[Cut]) -> str:
    told = [f"{cut.name} dropped {cut.dropped}" for cut in cuts if cut.dropped]
    return f" ({', '.join(told)})" if told else ""


# --- balance


def _add_balanced_ids(warehouse: Warehouse, lake: Lake) -> None:
    """Add the table of the ids that the plan keeps, some shards at a time."""
    warehouse.add_table(_BALANCED, pl.DataFrame(schema={"qa_id": pl.String()}))
    for ids in _balanced_ids(lake):
        warehouse.append(_BALANCED, ids)


def _balanced_ids(lake: Lake) -> Iterator[pl.DataFrame]:
    shards = verified_shards(lake)
    try:
        planned, plan = lake.table_manifest("balance_plan").inputs, load_plan(lake)
    except PartitionMissing as error:
        raise SelectionError(f"there is no balance plan: {_MAKE_PLAN}") from error
    present = plan_inputs(lake, shards)
    changed = sorted(name for name in {*planned, *present} if planned.get(name) != present.get(name))
    if changed:
        raise SelectionError(
            f"the balance plan is stale: {len(changed)} of its inputs have changed since, for one {changed[0]}: "
            f"{_MAKE_PLAN}"
        )
    keys = list(shards)
    for start in range(0, len(keys), _SHARDS_AT_ONCE):
        part = {key: shards[key] for key in keys[start : start + _SHARDS_AT_ONCE]}
        pairs = releasable_pairs(lake, part).select(plans.PAIR_COLUMNS)
        yield plans.selected(pairs, plan).select("qa_id").collect(engine="streaming")


# --- quotas


def quota_pairs(quotas: Mapping[str, int | float], total: int | None) -> dict[str, int]:
    """How many pairs each quota is; shares of `total` are rounded so that their sum is right.

    Args:
        quotas: by task, a number of pairs (int), or a share of `total` (float).
        total: how many pairs in all.
    """
    shares = {task: quota * (total or 0) for task, quota in quotas.items() if isinstance(quota, float)}
    pairs = {task: int(exact) for task, exact in shares.items()}
    over = round(sum(shares.values())) - sum(pairs.values())
    for task in sorted(shares, key=lambda task: (pairs[task] - shares[task], task))[:over]:
        pairs[task] += 1
    return {task: pairs.get(task, int(quota)) for task, quota in quotas.items()}


def _quota_condition(warehouse: Warehouse, selection: Selection) -> str:
    """SQL that is true of the pairs that fill the quotas.

    Raises:
        SelectionError: if a quota cannot be met.
    """
    wanted = quota_pairs(selection.quotas or {}, selection.total)
    groups = {task: f"task = '{task}'" for task in wanted}
    others = ", ".join(f"'{task}'" for task in wanted) or "''"
    groups[_REST] = f"task NOT IN ({others})"
    counted = ", ".join(f"count_if({condition})" for condition in groups.values())
    found = dict(zip(groups, warehouse.query(f"SELECT {counted} FROM {_BEFORE_QUOTAS}").row(0), strict=True))  # noqa: S608
    wanted[_REST] = found[_REST] if selection.total is None else selection.total - sum(wanted.values())
    if wanted[_REST] < 0:
        raise SelectionError(f"the quotas ask for {-wanted[_REST]} pairs more than the total of {selection.total}")
    short = [
        f"{group}: {found[group]} pairs of {count}, {count - found[group]} too few"
        for group, count in wanted.items()
        if found[group] < count
    ]
    if short and not selection.allow_short:
        raise SelectionError(
            f"quotas cannot be met ({'; '.join(short)}): ask for fewer pairs, or take what there is with --allow-short"
        )
    kept = [_kept(warehouse, condition, wanted[group], found[group]) for group, condition in groups.items()]
    return f"({' OR '.join(kept)})"


_DRAW: Final = "md5_number('quota ' || qa_id)"
_LOWER_BITS: Final = 112
"""Below the 16 bits that part the draws into bins: draws are counted by bin, and sorted within one alone."""


def _kept(warehouse: Warehouse, condition: str, wanted: int, found: int) -> str:
    """SQL that is true of the `wanted` pairs with the lowest draws, of the `found` ones that meet the condition."""
    if wanted >= found:
        return f"({condition})"
    if wanted == 0:
        return "false"
    bins = warehouse.query(
        f"SELECT ({_DRAW} >> {_LOWER_BITS})::INTEGER AS bin, count(*) AS pairs FROM {_BEFORE_QUOTAS} "  # noqa: S608
        f"WHERE {condition} GROUP BY bin ORDER BY bin"
    ).with_columns(before=pl.col("pairs").cum_sum() - pl.col("pairs"))
    last, _, before = bins.filter(pl.col("before") < wanted).row(-1)
    highest = warehouse.query(
        f"SELECT {_DRAW}::VARCHAR FROM {_BEFORE_QUOTAS} WHERE {condition} AND {_DRAW} >> {_LOWER_BITS} = {last} "  # noqa: S608
        f"ORDER BY {_DRAW} LIMIT 1 OFFSET {wanted - int(before) - 1}"
    ).item()
    return f"({condition} AND {_DRAW} <= {highest}::UHUGEINT)"
