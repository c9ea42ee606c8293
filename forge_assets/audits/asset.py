"""The asset `task_balance`: what the whole set holds, task by task and source by source, against the quotas."""

import time
from typing import Any

import dagster as dg
import polars as pl

from forge_assets.audits.runner import run_audit
from forge_assets.stage import OWNERS
from forge_assets.tables import SCHEMAS
from forge_resources.content_hash import content_hash
from forge_resources.dagster_resources import ForgeResource
from forge_resources.warehouse import Warehouse

SHOWN = ("task_balance", "yield", "drop_reasons")


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
    kinds={"duckdb"},
    owners=OWNERS,
    code_version="1",
    automation_condition=(dg.AutomationCondition.any_deps_updated() & ~dg.AutomationCondition.in_progress()).with_label(
        "pairs_changed"
    ),
)
def task_balance(context: dg.AssetExecutionContext, forge: ForgeResource) -> dg.MaterializeResult[Any]:
    """Pairs by task and source against the quotas, yield and drop reasons, of all partitions that passed their gate."""
    started = time.monotonic()
    config = forge.config
    with Warehouse(forge.lake, SCHEMAS) as warehouse:
        audits = {name: run_audit(warehouse, name, config.quotas) for name in SHOWN}
    balance = audits["task_balance"]
    pairs = dict(zip(balance["task"], balance["task_pairs"], strict=True))
    context.log.info(f"verified pairs by task: {pairs}")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_hash(balance)),
        metadata={
            "pairs": sum(pairs.values()),
            **{f"pairs/{task}": count for task, count in pairs.items()},
            "seconds": round(time.monotonic() - started, 3),
            **{name: as_table(rows) for name, rows in audits.items()},
        },
    )
