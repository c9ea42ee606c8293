"""The words in which suites are written: each makes one expectation with a rule name that users see.

A promise about a value says nothing of rows where the value is null; `present` is the promise for those.
"""

# Great Expectations does not mark what its modules export.
# pyright: reportPrivateImportUsage=false

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

Severity = Literal["critical", "warning"]


def present(*columns: str) -> "list[Expectation]":
    """No row lacks a value, in each of these columns."""
    import great_expectations.expectations as gxe

    return [gxe.ExpectColumnValuesToNotBeNull(column=column, meta={"rule": f"{column}_present"}) for column in columns]


def absent(column: str, rule: str) -> "Expectation":
    """No row has a value; what stands there says what is wrong."""
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeNull(column=column, meta={"rule": rule})


def unique(column: str, *, severity: Severity = "critical") -> "Expectation":
    """No value occurs twice."""
    import great_expectations.expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    return gxe.ExpectColumnValuesToBeUnique(
        column=column, meta={"rule": f"{column}_unique"}, severity=FailureSeverity(severity)
    )


def between(
    column: str,
    low: float | None = None,
    high: float | None = None,
    *,
    rule: str | None = None,
    above: bool = False,
    severity: Severity = "critical",
) -> "Expectation":
    """Values lie from `low` to `high`, both included unless `above` excludes `low`."""
    import great_expectations.expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    return gxe.ExpectColumnValuesToBeBetween(
        column=column,
        min_value=low,
        max_value=high,
        strict_min=above,
        meta={"rule": rule or f"{column}_in_range"},
        severity=FailureSeverity(severity),
    )


def among(column: str, values: Sequence[str]) -> "Expectation":
    """Values are some of these."""
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(values), meta={"rule": f"{column}_known"})


def matches(column: str, regex: str, rule: str) -> "Expectation":
    """Values match a regular expression from their start."""
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToMatchRegex(column=column, regex=regex, meta={"rule": rule})


def holds(column: str, *, severity: Severity = "critical") -> "Expectation":
    """A statement about the row, derived before as a column of that name, is true."""
    import great_expectations.expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    return gxe.ExpectColumnValuesToBeInSet(
        column=column, value_set=[True], meta={"rule": column}, severity=FailureSeverity(severity)
    )


def equal(column: str, other: str, rule: str) -> "Expectation":
    """Two columns say the same in every row."""
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnPairValuesToBeEqual(
        column_A=column, column_B=other, ignore_row_if="neither", meta={"rule": rule}
    )


def greater(column: str, other: str, rule: str) -> "Expectation":
    """A column is greater than another wherever both have values."""
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=column, column_B=other, ignore_row_if="either_value_is_missing", meta={"rule": rule}
    )
