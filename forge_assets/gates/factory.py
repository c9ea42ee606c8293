"""Gates as Dagster knows them: blocking asset checks, one verdict a partition."""

import warnings
from collections.abc import Mapping

import dagster as dg

from forge_assets.gates import candidate_qa, depth_maps, detections, raw_images, scenes, verified_qa
from forge_assets.gates.gate import Gate, judge, verdict
from forge_assets.partitions import SHARDS
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import PartitionMissing
from forge_resources.shards import ShardKey
from forge_resources.validation import ExpectationResult, GateReport

GATES: Mapping[str, Gate] = {
    module.GATE.table: module.GATE for module in (raw_images, detections, depth_maps, scenes, candidate_qa, verified_qa)
}
"""The gated tables in the order in which they are made."""

_EXAMPLES_IN_TABLE = 3


def gate_check(stage: str) -> dg.AssetChecksDefinition:
    """The blocking check of one stage's table, named `<table>_gate`.

    It judges the partition as it lies in the lake, leaves the verdict beside it for readers to ask for,
    and can be run alone after a threshold has changed.

    Raises:
        KeyError: if the stage has no gate.
    """
    gate = GATES[stage]

    def check(context: dg.AssetCheckExecutionContext, forge: ForgeResource) -> dg.AssetCheckResult:
        return run_gate(gate, forge, ShardKey.parse(context.partition_key))

    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Specifying a partitions_def on an AssetCheckSpec", category=dg.PreviewWarning
        )
        return dg.asset_check(
            asset=gate.table,
            name=gate.name,
            description=f"Judges each partition of {gate.table} by its promises; a partition that fails stops here.",
            blocking=True,
            partitions_def=SHARDS,
        )(check)


def run_gate(gate: Gate, forge: ForgeResource, key: ShardKey) -> dg.AssetCheckResult:
    """Judge one partition and leave the verdict beside it."""
    config, lake = forge.config, forge.lake
    try:
        manifest = lake.manifest(gate.table, key)
    except PartitionMissing as error:
        return check_result(GateReport(gate.name, "broken", 0, "", error=str(error)))
    report = judge(gate, lake, key, config)
    lake.write_verdict(gate.table, key, verdict(report, manifest))
    return check_result(report)


def check_result(report: GateReport) -> dg.AssetCheckResult:
    """A report as Dagster shows it: broken gates fail too, and say that it was not the data."""
    failing_first = sorted(report.results, key=lambda result: result.success)
    failing = [result for result in report.results if not result.success]
    metadata: dict[str, dg.MetadataValue] = {
        "outcome": dg.MetadataValue.text(report.outcome),
        "rows": dg.MetadataValue.int(report.rows),
        "rules": dg.MetadataValue.int(len(report.results)),
        "rules_failed": dg.MetadataValue.int(len(report.failures)),
        "rules_warned": dg.MetadataValue.int(len(report.warnings)),
        "suite_hash": dg.MetadataValue.text(report.suite_hash),
        "expectations": dg.MetadataValue.table([_record(result) for result in failing_first], schema=_COLUMNS),
    }
    if any(result.failing_ids for result in failing):
        metadata["failing_ids"] = dg.MetadataValue.text(
            "\n".join(f"{result.rule}: {', '.join(result.failing_ids)}" for result in failing if result.failing_ids)
        )
    if report.error:
        metadata["error"] = dg.MetadataValue.text(report.error)
    return dg.AssetCheckResult(
        passed=report.outcome == "passed",
        severity=dg.AssetCheckSeverity.ERROR,
        description=describe(report),
        metadata=metadata,
    )


def describe(report: GateReport) -> str:
    """One sentence on what a gate found."""
    if report.outcome == "broken":
        return f"the gate itself broke: {report.error}"
    warned = f"; warnings: {_listed(report, report.warnings)}" if report.warnings else ""
    if report.outcome == "failed":
        return f"data failed: {_listed(report, report.failures)}{warned}"
    return f"all {len(report.results) - len(report.warnings)} rules hold on {report.rows} rows{warned}"


def _listed(report: GateReport, rules: Mapping[str, int]) -> str:
    return ", ".join(_told(result) for result in report.results if result.rule in rules)


def _told(result: ExpectationResult) -> str:
    where = f"rule {result.rule} on {result.failing_rows} {'row' if result.failing_rows == 1 else 'rows'}"
    seen = ", ".join(result.unexpected_values[:_EXAMPLES_IN_TABLE])
    return f"{where} (found {seen}; expected {result.expected})" if seen and result.expected else where


_COLUMNS = dg.TableSchema(
    [
        dg.TableColumn("rule"),
        dg.TableColumn("result"),
        dg.TableColumn("failing_rows", "int"),
        dg.TableColumn("expected"),
        dg.TableColumn("values"),
        dg.TableColumn("examples"),
        dg.TableColumn("severity"),
        dg.TableColumn("expectation"),
    ]
)


def _record(result: ExpectationResult) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "rule": result.rule,
            "result": "broke" if result.error else "holds" if result.success else "fails",
            "failing_rows": result.failing_rows if not result.error else None,
            "expected": result.expected,
            "values": result.error or ", ".join(result.unexpected_values[:_EXAMPLES_IN_TABLE]),
            "examples": ", ".join(result.failing_ids[:_EXAMPLES_IN_TABLE]),
            "severity": result.severity,
            "expectation": result.expectation,
        }
    )
