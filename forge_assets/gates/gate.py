"""What a gate is, and how it judges one partition."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from forge_assets.gates.promises import absent, equal
from forge_assets.in_memory import collected
from forge_assets.tables import SCHEMAS
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake, Manifest, Verdict
from forge_resources.shards import ShardKey
from forge_resources.validation import GateReport, merged, suite_hash, validate

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

Facts = Mapping[str, str | float | bool | None]
UNJUDGED = "could_not_be_judged"
"""The rule that a verdict names where the gate broke before any rule was judged."""


@dataclass(frozen=True)
class Gate:
    """The promises of one table: those about each row, and those about a partition as a whole."""

    table: str
    id_column: str
    frame: Callable[[Lake, ShardKey, ForgeConfig], pl.DataFrame]
    """The rows of a partition, nested columns turned into statements about them."""
    expectations: "Callable[[ForgeConfig, ShardKey], list[Expectation]]"
    """What `frame` must satisfy."""
    facts: Callable[[Lake, ShardKey, ForgeConfig], Facts]
    """Figures about the partition as a whole, such as counts to compare: they hold for a partition without rows too."""
    fact_expectations: "Callable[[ForgeConfig, ShardKey], list[Expectation]]"
    """What `facts`, as a table of one row, must satisfy."""

    @property
    def name(self) -> str:
        """The check's name."""
        return f"{self.table}_gate"


def no_facts(_lake: Lake, _key: ShardKey, _config: ForgeConfig) -> Facts:
    """For a table that promises nothing of a partition as a whole."""
    return {}


def no_fact_expectations(_config: ForgeConfig, _key: ShardKey) -> "list[Expectation]":
    """For a table that promises nothing of a partition as a whole."""
    return []


def schema_difference(stored: Mapping[str, pl.DataType], promised: Mapping[str, pl.DataType]) -> str | None:
    """What is wrong with the columns of a stored table, or None where they are those of the contract."""
    faults = [f"{name} is missing" for name in promised if name not in stored]
    faults += [f"{name} is not in the contract" for name in stored if name not in promised]
    faults += [
        f"{name} is {stored[name]}, not {dtype}"
        for name, dtype in promised.items()
        if name in stored and stored[name] != dtype
    ]
    if not faults and list(stored) != list(promised):
        faults = ["the columns stand in another order"]
    return "; ".join(faults) or None


def judge(gate: Gate, lake: Lake, key: ShardKey, config: ForgeConfig) -> GateReport:
    """Judge one partition as it lies in the lake.

    Nothing that goes wrong while judging is raised: it makes a report with the outcome `broken`. Where the
    columns are not those of the contract, that is all that is judged.
    """
    digest = ""
    try:
        common = [
            absent("schema_difference", "columns_match_contract"),
            equal("rows", "rows_in_manifest", "rows_match_manifest"),
        ]
        of_partition, of_rows = gate.fact_expectations(config, key), gate.expectations(config, key)
        digest = suite_hash([*common, *of_partition, *of_rows])
        facts = _common_facts(gate, lake, key)
        if facts["schema_difference"] is not None:
            report = validate(pl.DataFrame([facts]), common, name=gate.name, index_columns=["partition"])
            return replace(report, rows=int(facts["rows"]), suite_hash=digest)
        facts |= gate.facts(lake, key, config)
        rows = gate.frame(lake, key, config)
        reports = [
            validate(pl.DataFrame([facts]), [*common, *of_partition], name=gate.name, index_columns=["partition"]),
            validate(rows, of_rows, name=gate.name, index_columns=[gate.id_column]),
        ]
        return replace(merged(gate.name, reports), rows=rows.height, suite_hash=digest)
    except Exception as error:  # noqa: BLE001 - whatever breaks a gate must go on record, or an older verdict would stand
        return GateReport(gate.name, "broken", 0, digest, error=f"{type(error).__name__}: {error}")


def verdict(report: GateReport, manifest: Manifest) -> Verdict:
    """What the lake keeps of a report, for the rows that `manifest` describes."""
    failures = report.failures
    if report.outcome == "broken":
        failures = dict.fromkeys(report.broken_rules or [UNJUDGED], 0)
    return Verdict(
        gate=report.name,
        content_hash=manifest.content_hash,
        suite_hash=report.suite_hash,
        outcome=report.outcome,
        rows=manifest.rows,
        failures=failures,
        error=report.error,
    )


def _common_facts(gate: Gate, lake: Lake, key: ShardKey) -> dict[str, Any]:
    rows = lake.scan(gate.table, key)
    return {
        "partition": str(key),
        "schema_difference": schema_difference(rows.collect_schema(), SCHEMAS[gate.table]),
        "rows": rows.select(pl.len()).pipe(collected).item(),
        "rows_in_manifest": lake.manifest(gate.table, key).rows,
    }
