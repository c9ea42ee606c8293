"""Great Expectations behind one function: a table and promises in, a report out.

Great Expectations is imported inside the functions, since that alone takes seconds.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import polars.selectors as cs

if TYPE_CHECKING:
    from collections.abc import Generator

    from great_expectations.core import ExpectationValidationResult
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.datasource.fluent.interfaces import Batch
    from great_expectations.expectations.expectation import Expectation

Outcome = Literal["passed", "failed", "broken"]
Severity = Literal["critical", "warning", "info"]

MAX_EXAMPLES = 20
"""Failing ids and values that a report keeps of each expectation."""

_ONE_AT_A_TIME = Lock()
"""Great Expectations keeps the frame that it judges with its source, of which there is one."""

_NULL = "expect_column_values_to_be_null"
_SUBJECTS = ("column", "column_list", "column_A", "column_B")


@dataclass(frozen=True)
class ExpectationResult:
    """What one expectation found."""

    rule: str
    """Stable name for users, from the expectation's `meta`."""
    expectation: str
    """What Great Expectations calls it, with its columns."""
    success: bool
    severity: Severity
    expected: str = ""
    """The limits in words, where it has any: `0 to 0.05`, `at least 1`."""
    element_count: int | None = None
    """Rows judged; this and the figures below are null, and the texts empty, where the rule holds."""
    unexpected_count: int | None = None
    unexpected_percent: float | None = None
    failing_ids: tuple[str, ...] = ()
    unexpected_values: tuple[str, ...] = ()
    error: str | None = None
    """Why the expectation could not be judged at all."""

    @property
    def failing_rows(self) -> int:
        """Rows that break the rule; 1 where the rule is about the table as a whole."""
        return 0 if self.success else self.unexpected_count or 1


@dataclass(frozen=True)
class GateReport:
    """What a whole suite found in one table.

    `broken` says nothing about the data: some rule could not be judged.
    """

    name: str
    outcome: Outcome
    rows: int
    suite_hash: str
    results: tuple[ExpectationResult, ...] = ()
    error: str | None = None
    """Why the gate, or one of its expectations, could not judge; null unless broken."""

    @property
    def failures(self) -> dict[str, int]:
        """Failing rows by rule, of the rules that stop a partition."""
        return {
            r.rule: r.failing_rows for r in self.results if not r.success and not r.error and r.severity == "critical"
        }

    @property
    def warnings(self) -> dict[str, int]:
        """Failing rows by rule, of the rules that are only shown."""
        return {
            r.rule: r.failing_rows for r in self.results if not r.success and not r.error and r.severity != "critical"
        }

    @property
    def broken_rules(self) -> list[str]:
        """Rules that could not be judged."""
        return [r.rule for r in self.results if r.error]


def suite_hash(suite: Iterable["Expectation"]) -> str:
    """A digest of what a suite promises: expectations, thresholds, rule names and severities, in any order."""
    promises = sorted(
        json.dumps(expectation.configuration.to_json_dict(), sort_keys=True, default=str) for expectation in suite
    )
    return hashlib.blake2b("\n".join(promises).encode(), digest_size=8).hexdigest()


def validate(
    frame: pl.DataFrame, suite: Sequence["Expectation"], *, name: str, index_columns: Sequence[str] = ()
) -> GateReport:
    """Judge a table by a suite.

    Columns that hold lists, structs or bytes are left out: rules about them need a scalar column derived before.
    As in SQL, a rule about a value says nothing of rows where the value is null.

    Args:
        frame: the rows; none is a table like any other.
        suite: expectations, each with a `rule` of its own in its `meta`.
        name: of the gate.
        index_columns: what tells failing rows apart.

    Returns:
        The report, its results in the suite's order.

    Raises:
        ValueError: if a rule has no name, or one that another has too.
    """
    order = {rule: position for position, rule in enumerate(_rules(suite))}
    with _ONE_AT_A_TIME, _quiet():
        batch = _frames().get_batch({"dataframe": _scalars(frame).to_pandas()})
        judged = _judged(batch, name, suite, {"result_format": "BOOLEAN_ONLY"})
        failing = {_rule(one) for one in judged if not one.success}
        told = _judged(
            batch,
            name,
            [expectation for expectation, rule in zip(suite, order, strict=True) if rule in failing],
            {
                "result_format": "SUMMARY",
                "unexpected_index_column_names": list(index_columns),
                "partial_unexpected_count": MAX_EXAMPLES,
            },
        )
    results = [_result(one, index_columns) for one in [*(one for one in judged if one.success), *told]]
    results.sort(key=lambda result: order[result.rule])
    return _report(name, frame.height, suite_hash(suite), results)


def _judged(
    batch: "Batch", name: str, suite: Sequence["Expectation"], result_format: dict[str, Any]
) -> "list[ExpectationValidationResult]":
    """What Great Expectations says of each expectation, in an order of its own."""
    import great_expectations as gx

    if not suite:
        return []
    judged = batch.validate(gx.ExpectationSuite(name=name, expectations=list(suite)), result_format=result_format)
    return list(judged.results)


def merged(name: str, reports: Sequence[GateReport]) -> GateReport:
    """One report of several suites that judged the same partition; rows and suite hash are those of the last."""
    last = reports[-1]
    return _report(name, last.rows, last.suite_hash, [result for report in reports for result in report.results])


def _report(name: str, rows: int, digest: str, results: Sequence[ExpectationResult]) -> GateReport:
    errors = [f"rule {result.rule}: {result.error}" for result in results if result.error]
    stopped = any(not result.success and result.severity == "critical" for result in results)
    outcome: Outcome = "broken" if errors else "failed" if stopped else "passed"
    return GateReport(name, outcome, rows, digest, tuple(results), "; ".join(errors) or None)


@cache
def _frames() -> "BatchDefinition[None]":
    """Where frames are handed in: one for the whole process, in a context in memory that prints and reports nothing.

    It holds the last frame that was judged.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        ),
    )
    source = context.data_sources.add_pandas("lake")
    return source.add_dataframe_asset("frame").add_batch_definition_whole_dataframe("whole")


@contextmanager
def _quiet() -> "Generator[None]":
    """Keep Great Expectations from logging what its results say too."""
    logger = logging.getLogger("great_expectations")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _rules(suite: Sequence["Expectation"]) -> list[str]:
    rules = [str((expectation.meta or {}).get("rule", "")) for expectation in suite]
    if "" in rules:
        raise ValueError(f"an expectation has no rule name in its meta: {suite[rules.index('')]!r}")
    twice = sorted({rule for rule in rules if rules.count(rule) > 1})
    if twice:
        raise ValueError(f"rule names must be unique within a suite: {', '.join(twice)}")
    return rules


def _scalars(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns that pandas holds as scalars, categories as text."""
    return frame.select(cs.exclude(cs.nested() | cs.binary() | cs.object())).with_columns(
        (cs.categorical() | cs.enum()).cast(pl.String)
    )


def _rule(one: "ExpectationValidationResult") -> str:
    assert one.expectation_config is not None
    return one.expectation_config.meta["rule"]


def _result(one: "ExpectationValidationResult", index_columns: Sequence[str]) -> ExpectationResult:
    configuration = one.expectation_config
    assert configuration is not None
    found: Mapping[str, Any] = one.result
    subjects = [configuration.kwargs[key] for key in _SUBJECTS if key in configuration.kwargs]
    values = found.get("partial_unexpected_list", [found["observed_value"]] if "observed_value" in found else [])
    return ExpectationResult(
        rule=_rule(one),
        expectation=f"{configuration.type}({', '.join(str(subject) for subject in subjects)})",
        success=bool(one.success),
        severity=configuration.severity.value,
        expected="nothing" if configuration.type == _NULL else _limits(configuration.kwargs),
        element_count=found.get("element_count"),
        unexpected_count=found.get("unexpected_count"),
        unexpected_percent=found.get("unexpected_percent_total", found.get("unexpected_percent")),
        failing_ids=tuple(
            " ".join(str(row[column]) for column in index_columns)
            for row in found.get("partial_unexpected_index_list") or ()
        ),
        unexpected_values=() if one.success else tuple(str(value) for value in values),
        error=_error(one.exception_info),
    )


def _limits(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"at least {low:g}"
    return f"at most {high:g}" if high is not None else ""


def _error(exception_info: Mapping[str, Any] | None) -> str | None:
    """The message of the exception that a metric or an expectation raised, if any.

    Great Expectations gives one such mapping, or one for each metric.
    """
    info = exception_info or {}
    parts = [info] if "raised_exception" in info else list(info.values())
    messages = {str(part["exception_message"]).strip() for part in parts if part["raised_exception"]}
    return "; ".join(sorted(messages)) or None
