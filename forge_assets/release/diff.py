"""What one release has that another has not: pairs added, removed and changed, and why, by DuckDB joins over both."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from forge_assets.markdown import markdown_table
from forge_assets.release.release_folder import Release, ReleaseManifest, attach, database, literal
from forge_assets.tables import SCHEMAS
from forge_resources.lake import Lake
from forge_resources.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb

CHANGES: Final[Mapping[str, pl.DataType]] = {
    "change": pl.String(),  # added, removed, changed
    "task": pl.String(),
    "cause": pl.String(),
    "pairs": pl.Int64(),
}
"""Columns of `Diff.changes`."""

_COMPARED: Final = ("question", "answer", "score")
_LOOKED_UP: Final = ("qa_id", "image_id", "source", "shard")
_VERSION: Final = re.compile(r"(\.v|@)\d+\b")
_BATCH_ROWS: Final = 1_000_000


@dataclass(frozen=True, eq=False)
class Diff:
    """The difference between two releases."""

    old: ReleaseManifest
    new: ReleaseManifest
    changes: pl.DataFrame
    """CHANGES: pairs by kind of change, task and cause; most first."""
    columns: pl.DataFrame
    """task, column, pairs: which columns changed in pairs that both have."""
    versions: pl.DataFrame
    """name, old, new: what made the releases, where it differs."""

    @property
    def is_empty(self) -> bool:
        """Whether both have the same pairs."""
        return self.changes.is_empty()


def diff_releases(old: Release, new: Release, lake: Lake | None = None, rows: Path | None = None) -> Diff:
    """Compare two releases pair by pair.

    Args:
        old: the earlier one.
        new: the later one.
        lake: where pairs that are gone are looked up, to tell why; None: the manifests alone tell.
        rows: Parquet file to write, one row a pair that differs: qa_id, task, change, cause.

    Raises:
        ReleaseError: if a file cannot be read or written.
        S3Error: if S3 does not do what it is asked.
    """
    versions = version_changes(old.manifest, new.manifest)
    with database() as connection:
        attach(connection, old, "old_")
        attach(connection, new, "new_")
        _compare(connection)
        _add_facts(connection, lake, new.manifest)
        _tell_causes(connection, old.manifest, new.manifest, made_otherwise=bool(versions.height))
        if rows is not None:
            told = connection.sql("SELECT qa_id, task, change, cause FROM told ORDER BY change, task, qa_id")
            told.write_parquet(str(rows), compression="zstd")
        changes = connection.sql(
            "SELECT change, task, cause, count(*) AS pairs FROM told GROUP BY ALL "
            "ORDER BY change, pairs DESC, task, cause"
        ).pl()
        columns = connection.sql(
            'SELECT task, "column", count(*) AS pairs FROM (SELECT task, unnest(columns) AS "column" FROM differing '
            "WHERE change = 'changed') GROUP BY ALL ORDER BY ALL"
        ).pl()
    return Diff(old.manifest, new.manifest, changes.cast(dict(CHANGES)), columns, versions)


def version_changes(old: ReleaseManifest, new: ReleaseManifest) -> pl.DataFrame:
    """What made the releases, where it differs: name, old, new; absent values are empty."""
    before, after = _made_of(old), _made_of(new)
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return pl.DataFrame(
        [{"name": name, "old": before.get(name, ""), "new": after.get(name, "")} for name in names],
        schema={"name": pl.String, "old": pl.String, "new": pl.String},
    )


def _made_of(manifest: ReleaseManifest) -> dict[str, str]:
    made = {name: ", ".join(values) for name, values in manifest.versions.items()}
    made |= {f"threshold/{name}": str(value) for name, value in (manifest.thresholds or {}).items()}
    made |= {f"template/{_unversioned(name)}": name for name in manifest.templates}
    made |= {f"selection/{name}": str(value) for name, value in manifest.selection.items()}
    return made | {"models": ", ".join(manifest.models), "balance_plan": manifest.balance_plan or ""}


def _unversioned(template_id: str) -> str:
    """A template's name without its versions."""
    return _VERSION.sub("", template_id)


# --- pairs


def _compare(connection: "duckdb.DuckDBPyConnection") -> None:
    """Make the table `differing`: one row a pair that one release lacks, or that both have with other content."""
    evidence = _shared_evidence(connection)
    hashed = ", ".join(f"hash({column}) AS {column}_hash" for column in _COMPARED)
    for side in ("old", "new"):
        fields = ", ".join(f"evidence.{field}" for field in evidence) or "NULL"
        connection.execute(
            f"CREATE VIEW {side}_hashed AS SELECT qa_id, {hashed}, hash({fields}) AS evidence_hash, "  # noqa: S608
            f"hash(evidence.models) AS models_hash FROM {side}_pairs"
        )
    columns = ", ".join(
        f"CASE WHEN o.{column}_hash IS DISTINCT FROM n.{column}_hash THEN '{column}' END"
        for column in (*_COMPARED, "evidence", "models")
    )
    connection.execute(f"""
        CREATE TABLE differing_ids AS
        SELECT coalesce(o.qa_id, n.qa_id) AS qa_id,
            CASE WHEN n.qa_id IS NULL THEN 'removed' WHEN o.qa_id IS NULL THEN 'added' ELSE 'changed' END AS change,
            list_filter([{columns}], lambda c: c IS NOT NULL) AS columns
        FROM old_hashed o FULL JOIN new_hashed n ON o.qa_id = n.qa_id
        WHERE o.qa_id IS NULL OR n.qa_id IS NULL OR len(columns) > 0
    """)  # noqa: S608
    connection.execute("""
        CREATE TABLE differing AS
        SELECT d.*, p.task, p.template_id, p.image_id, p.source, p.shard FROM differing_ids d JOIN (
            SELECT qa_id, task, template_id, image_id, source, shard, 'removed' AS change FROM old_pairs
            UNION ALL SELECT qa_id, task, template_id, image_id, source, shard, 'added' FROM new_pairs
        ) p ON p.qa_id = d.qa_id AND p.change = CASE WHEN d.change = 'removed' THEN 'removed' ELSE 'added' END
    """)


def _shared_evidence(connection: "duckdb.DuckDBPyConnection") -> list[str]:
    """The fields of evidence that both releases have, of the same type."""
    fields: list[dict[str, str]] = []
    for side in ("old", "new"):
        (dtype,) = connection.sql(f"SELECT evidence FROM {side}_pairs LIMIT 0").types  # noqa: S608
        fields.append({name: str(child) for name, child in dtype.children if isinstance(child, type(dtype))})
    old, new = fields
    return [f'"{name}"' for name, dtype in old.items() if new.get(name) == dtype and name != "models"]


# --- causes


def _add_facts(connection: "duckdb.DuckDBPyConnection", lake: Lake | None, new: ReleaseManifest) -> None:
    """Make the table `facts`: what the lake says of pairs that are gone; empty without a lake."""
    connection.execute(
        "CREATE TABLE facts (qa_id VARCHAR, rule VARCHAR, is_verified BOOLEAN, is_candidate BOOLEAN, "
        "is_photo BOOLEAN, photo_rule VARCHAR, is_repeat BOOLEAN, is_repeated_pair BOOLEAN)"
    )
    if lake is None:
        return
    with Warehouse(lake, SCHEMAS, gated=()) as warehouse, connection.cursor() as reading:
        gone = reading.sql(
            f"SELECT {', '.join(_LOOKED_UP)} FROM differing WHERE change = 'removed' ORDER BY qa_id"  # noqa: S608
        )
        for batch in _batches(gone):
            warehouse.add_table("gone", batch)
            facts = warehouse.query(_FACTS)
            repeats = _repeated_pairs(lake, batch) if new.balance_plan else pl.Series("qa_id", [], pl.String)
            found = facts.with_columns(is_repeated_pair=pl.col("qa_id").is_in(repeats.implode())).to_arrow()
            connection.register("_found", found)
            connection.execute("INSERT INTO facts BY NAME SELECT * FROM _found")
            connection.unregister("_found")


_FACTS: Final = """
    SELECT gone.qa_id,
        (SELECT min(rule) FROM rejected_qa r WHERE r.qa_id = gone.qa_id) AS rule,
        gone.qa_id IN (SELECT qa_id FROM verified_qa SEMI JOIN gone USING (qa_id)) AS is_verified,
        gone.qa_id IN (SELECT qa_id FROM candidate_qa SEMI JOIN gone USING (qa_id)) AS is_candidate,
        gone.image_id IN (SELECT image_id FROM raw_images SEMI JOIN gone USING (image_id)) AS is_photo,
        (SELECT min(rule) FROM rejected_images i WHERE i.image_id = gone.image_id AND NOT starts_with(rule, 'label_'))
            AS photo_rule,
        gone.image_id IN (SELECT image_id FROM duplicates WHERE NOT is_kept) AS is_repeat
    FROM gone
"""


def _repeated_pairs(lake: Lake, gone: pl.DataFrame) -> pl.Series:
    if not lake.has_table("balance_repeats"):
        return pl.Series("qa_id", [], pl.String)
    repeats = lake.scan_table("balance_repeats").select("qa_id")
    return repeats.join(gone.lazy(), on="qa_id", how="semi").collect()["qa_id"]


def _batches(relation: "duckdb.DuckDBPyRelation") -> Iterable[pl.DataFrame]:
    for batch in relation.to_arrow_reader(_BATCH_ROWS):
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        yield frame


def _tell_causes(
    connection: "duckdb.DuckDBPyConnection", old: ReleaseManifest, new: ReleaseManifest, *, made_otherwise: bool
) -> None:
    """Make the view `told`: the rows of `differing` with their cause."""
    for side, manifest in (("old", old), ("new", new)):
        _add_names(connection, f"{side}_templates", manifest.templates)
        _add_names(connection, f"{side}_partitions", manifest.partitions)
    _add_names(connection, "left_out", [left.partition for left in new.left_out])
    otherwise = "other models, thresholds, templates or code" if made_otherwise else "another selection"
    not_selected = "the balance plan drops it" if new.balance_plan else "not selected"
    connection.execute(f"""
        CREATE VIEW told AS
        SELECT d.qa_id, d.task, d.change, CASE
            WHEN change = 'changed' AND list_contains(columns, 'models') THEN 'other models'
            WHEN change = 'changed' AND list_contains(columns, 'answer') THEN 'another answer'
            WHEN change = 'changed' AND list_contains(columns, 'evidence') THEN 'other evidence'
            WHEN change = 'changed' AND list_contains(columns, 'score') THEN 'another score: other thresholds'
            WHEN change = 'changed' THEN 'another wording'
            WHEN change = 'added' AND template_id NOT IN (FROM old_templates) THEN 'new template ' || template_id
            WHEN change = 'added' AND source || '/' || shard NOT IN (FROM old_partitions) THEN 'new partition'
            WHEN change = 'added' AND image_id NOT IN (SELECT image_id FROM old_images) THEN 'new photo'
            WHEN change = 'added' THEN {literal(otherwise)}
            WHEN rule IS NOT NULL THEN 'rejected by the rule ' || rule
            WHEN is_repeat THEN 'photo repeats another'
            WHEN NOT is_photo THEN 'photo gone' || coalesce(': ' || photo_rule, '')
            WHEN source || '/' || shard IN (FROM left_out) THEN 'partition left out'
            WHEN is_repeated_pair THEN 'repeats another pair'
            WHEN is_verified THEN {literal(not_selected)}
            WHEN template_id NOT IN (FROM new_templates) THEN 'template gone: ' || template_id
            WHEN NOT is_candidate THEN 'not asked any more: other models, settings or code'
            WHEN source || '/' || shard NOT IN (FROM new_partitions) THEN 'partition gone'
            WHEN image_id NOT IN (SELECT image_id FROM new_images) THEN 'no pair of its photo is left'
            ELSE {literal(otherwise)}
        END AS cause
        FROM differing d LEFT JOIN facts USING (qa_id)
    """)  # noqa: S608


def _add_names(connection: "duckdb.DuckDBPyConnection", table: str, names: Iterable[str]) -> None:
    connection.register("_names", pl.DataFrame({"name": list(names)}, schema={"name": pl.String}).to_arrow())
    connection.execute(f"CREATE TABLE {table} AS FROM _names")
    connection.unregister("_names")


# --- texts


def as_markdown(diff: Diff) -> str:
    """The difference as headings and tables."""
    title = f"# {diff.old.name} → {diff.new.name}\n\n{diff.old.pairs:,} → {diff.new.pairs:,} pairs."
    if diff.is_empty and diff.versions.is_empty():
        return f"{title}\n\nThey have the same pairs.\n"
    parts = [f"## {name}\n\n{markdown_table(rows.to_dicts())}" for name, rows in tables(diff) if rows.height]
    return "\n\n".join([title, *parts]) + "\n"


def as_json(diff: Diff) -> str:
    """The difference as one JSON object: old, new, and a list of rows for each table."""
    document: dict[str, Any] = {
        side: {"name": manifest.name, "content_hash": manifest.content_hash, "pairs": manifest.pairs}
        for side, manifest in (("old", diff.old), ("new", diff.new))
    }
    return json.dumps(document | {name: rows.to_dicts() for name, rows in tables(diff)}, indent=2)


def tables(diff: Diff) -> Sequence[tuple[str, pl.DataFrame]]:
    """The tables with their names, in the order of reading."""
    return [("changes", diff.changes), ("columns", diff.columns), ("versions", diff.versions)]
