"""Run the audits: the .sql files beside this module, each one question about the whole lake."""

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from forge_resources.errors import ForgeError
from forge_resources.warehouse import SqlTables

_FOLDER = Path(__file__).parent
_QUOTAS = {"task": pl.String(), "quota": pl.Float64()}
_READS = re.compile(r"^-- Reads: (.+?)\.$", re.MULTILINE | re.DOTALL)
_MAKING = frozenset({"candidate_qa", "rejected_qa"})
_REMARKS = re.compile(r"\([^)]*\)")


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
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def audit_question(name: str) -> str:
    """What one audit answers: the first line of its comment.

    Raises:
        UnknownAuditError: if there is no audit of that name.
    """
    return audit_sql(name).splitlines()[0].removeprefix("--").strip()


def audit_reads(name: str) -> frozenset[str]:
    """The tables that one audit reads, by the last line of its comment.

    Raises:
        UnknownAuditError: if there is no audit of that name.
    """
    found = _READS.search(audit_sql(name))
    assert found, f"{name}.sql does not say what it reads"
    return frozenset(table.strip(" -\n") for table in _REMARKS.sub("", found[1]).split(","))


def audits_of_pairs() -> tuple[str, ...]:
    """Names of the audits that have something to say where there are pairs alone, without how they were made."""
    reads = {name: audit_reads(name) for name in audit_names()}
    return tuple(name for name, tables in reads.items() if "verified_qa" in tables and not tables & _MAKING)


def quotas_table(quotas: Mapping[str, float]) -> pl.DataFrame:
    """The table `quotas` that audits read: wanted share by task."""
    return pl.DataFrame({"task": list(quotas), "quota": list(quotas.values())}, schema=_QUOTAS)


def run_audit(warehouse: SqlTables, name: str, quotas: Mapping[str, float]) -> pl.DataFrame:
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
    warehouse.add_table("quotas", quotas_table(quotas))
    return warehouse.query(sql)
