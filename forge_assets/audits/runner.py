"""Run the audits: the .sql files beside this module, each one question about the whole lake."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from forge_resources.errors import ForgeError
from forge_resources.warehouse import Warehouse

_FOLDER = Path(__file__).parent
_QUOTAS = {"task": pl.String(), "quota": pl.Float64()}


class UnknownAuditError(ForgeError, LookupError):
    """No audit has that name; the message lists those there are."""


def audit_names() -> tuple[str, ...]:
    """Names of all audits, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.sql")))


def audit_sql(name: str) -> str:
    """The SQL of one audit, with the comment that says what it answers.

    Raises:
        UnknownAuditError: if there is no audit of that name.
    """
    if name not in audit_names():
        raise UnknownAuditError(f"unknown audit {name!r}; audits: {', '.join(audit_names())}")
    return (_FOLDER / f"{name}.sql").read_text()


def audit_question(name: str) -> str:
    """What one audit answers: the first line of its comment.

    Raises:
        UnknownAuditError: if there is no audit of that name.
    """
    return audit_sql(name).splitlines()[0].removeprefix("--").strip()


def run_audit(warehouse: Warehouse, name: str, quotas: Mapping[str, float]) -> pl.DataFrame:
    """Run one audit over a lake.

    Args:
        warehouse: an open look at the lake.
        name: one of `audit_names()`.
        quotas: wanted share by task; each task named here has its row, with 0 where it has no pair.

    Returns:
        The audit's rows in a total order; its columns are described in the comment of its SQL.

    Raises:
        UnknownAuditError: if there is no audit of that name.
        QueryError: if DuckDB cannot run it, for one over a table written with older columns.
    """
    sql = audit_sql(name)
    rows = pl.DataFrame({"task": list(quotas), "quota": list(quotas.values())}, schema=_QUOTAS)
    warehouse.add_table("quotas", rows)
    return warehouse.query(sql)
