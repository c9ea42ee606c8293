"""The asset `task_balance`: what the whole set holds against the quotas, and the checks over the whole set.

Its checks never block a partition. `quotas` and `answer_balance` are errors: a release of this set would be short of a
task, or could be guessed from its text. `drift` is a warning: a shard that differs is a reason to look, not a fault.
"""

import base64
import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from forge_assets.audits.balance_plot import balance_plot
from forge_assets.audits.runner import run_audit
from forge_assets.gates import whole_set
from forge_assets.gates.factory import check_result
from forge_assets.pictures import TASK_COLORS
from forge_assets.stage import OWNERS
from forge_assets.tables import SCHEMAS
from forge_resources.config import GatesConfig
from forge_resources.content_hash import content_hash
from forge_resources.dagster_resources import ForgeResource
from forge_resources.validation import GateReport
from forge_resources.warehouse import Warehouse

SHOWN = ("task_balance", "yield", "drop_reasons")
MAX_ROWS_SHOWN = 100
"""Of the rows that a check shows, the worst."""
CHECKS = {
    "quotas": "The share of each task lies near its quota, and no task with a quota is without pairs.",
    "drift": "Each shard holds tasks, yields, drops, scores, pairs and objects as the shards that it is compared with.",
    "answer_balance": "No answer, and no place among the options, is right too often over the whole set.",
}
"""What the checks over the whole set promise, by name."""


def as_table(rows: pl.DataFrame) -> dg.TableMetadataValue:
    """An audit's rows as the table that the Dagster UI shows; numbers rounded to four digits."""
    shown = rows.with_columns(pl.col(pl.Float64).round(3).fill_nan(None))
    schema = dg.TableSchema(
        [dg.TableColumn(name, _COLUMN_TYPES.get(dtype, "string")) for name, dtype in shown.schema.items()]
    )
    return dg.MetadataValue.table([dg.TableRecord(row) for row in shown.to_dicts()], schema)


_COLUMN_TYPES: dict[Any, str] = {pl.Float64: "float", pl.Int64: "int", pl.Int32: "int", pl.Boolean: "bool"}


@dg.asset(
    deps=["verified_qa"],
    group_name="audits",
    kinds={"duckdb", "greatexpectations"},
    owners=OWNERS,
    code_version="2",
    check_specs=[
        dg.AssetCheckSpec(name, asset="task_balance", description=promise) for name, promise in CHECKS.items()
    ],
    automation_condition=(dg.AutomationCondition.any_deps_updated() & ~dg.AutomationCondition.in_progress()).with_label(
        "pairs_changed"
    ),
)
def task_balance(context: dg.AssetExecutionContext, forge: ForgeResource) -> Iterator[dg.MaterializeResult[Any]]:
    """Pairs by task and source against the quotas, yield and drop reasons, of all partitions that passed their gate."""
    started = time.monotonic()
    config = forge.config
    with Warehouse(forge.lake, SCHEMAS) as warehouse:
        audits = {name: run_audit(warehouse, name, config.quotas) for name in (*SHOWN, "drift")}
        answers = whole_set.answer_rows(warehouse, config.gates)
    balance = audits["task_balance"]
    tasks = whole_set.quota_rows(balance)
    pairs = dict(tasks.select("task", "task_pairs").iter_rows())
    context.log.info(f"verified pairs by task: {pairs}")
    plot = balance_plot(tasks, TASK_COLORS, config.gates.max_quota_gap)
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(content_hash(balance)),
        metadata={
            "plot": dg.MetadataValue.md(f"![task balance](data:image/png;base64,{base64.b64encode(plot).decode()})"),
            "pairs": sum(pairs.values()),
            **{f"pairs/{task}": count for task, count in pairs.items()},
            "seconds": round(time.monotonic() - started, 3),
            **{name: as_table(audits[name]) for name in SHOWN},
        },
        check_results=[
            quotas_check(tasks, config.gates),
            drift_check(audits["drift"], config.gates),
            answers_check(answers, config.gates),
        ],
    )


def quotas_check(tasks: pl.DataFrame, config: GatesConfig) -> dg.AssetCheckResult:
    """The check `quotas`, of tasks as `whole_set.quota_rows` gives them."""
    pairs = int(tasks["task_pairs"].sum())
    shown = {"tasks": as_table(tasks.drop("has_pairs"))}
    if pairs < config.min_set_pairs:
        return _not_judged("quotas", f"{pairs} verified pairs, of {config.min_set_pairs} needed", shown)
    return _judged("quotas", whole_set.judge_quotas(tasks, config), shown)


def drift_check(drift: pl.DataFrame, config: GatesConfig) -> dg.AssetCheckResult:
    """The check `drift`, of the rows of the audit of that name."""
    rows = whole_set.drift_rows(drift, config)
    far = rows.filter(pl.col("deviation") > config.max_drift)
    columns = ["source", "shard", "measure", "subject", "value", "lower", "upper", "deviation", "compared_with"]
    shown = {
        "drifting": dg.MetadataValue.int(far.height),
        "drifting_shards": as_table(far.select(columns).head(MAX_ROWS_SHOWN)),
        "furthest_shards": as_table(
            rows.select(columns).unique(["measure", "subject"], keep="first", maintain_order=True)
        ),
    }
    if rows.is_empty():
        return _not_judged("drift", "fewer than 5 shards have verified pairs that passed their gate", shown)
    return _judged("drift", whole_set.judge_drift(rows, config), shown, dg.AssetCheckSeverity.WARN)


def answers_check(answers: pl.DataFrame, config: GatesConfig) -> dg.AssetCheckResult:
    """The check `answer_balance`, of answers as `whole_set.answer_rows` gives them."""
    shown = {
        "most_frequent": as_table(answers.sort("share", descending=True, maintain_order=True).head(MAX_ROWS_SHOWN))
    }
    if not answers["is_judged"].any():
        return _not_judged("answer_balance", f"no task and kind of answer has {config.min_set_pairs} pairs", shown)
    return _judged("answer_balance", whole_set.judge_answers(answers, config), shown)


def _not_judged(name: str, reason: str, shown: Mapping[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=True,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"not judged: {reason}",
        metadata={"outcome": "not judged", **shown},
    )


def _judged(
    name: str,
    report: GateReport,
    shown: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    result = check_result(report)
    return dg.AssetCheckResult(
        check_name=name,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.ERROR if report.error else severity,
        description=result.description,
        metadata={**shown, **result.metadata},
    )
