"""Make a named release: immutable files of annotations, one set a task and split, without the photos' bytes.

A release is made aside and gets its name once it is whole. On S3 it counts from the moment at which its manifest is
there; two makers of one name at once are kept apart on a folder alone.
"""

import dataclasses
import errno
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pyarrow.parquet as pq

from forge_assets.release.card import CardTables, dataset_card, read_calibration
from forge_assets.release.croissant import croissant
from forge_assets.release.release_folder import (
    CARD,
    CROISSANT,
    DATA,
    IMAGES,
    MANIFEST,
    RELEASES,
    LeftOut,
    PairCount,
    Release,
    ReleaseError,
    ReleaseFile,
    ReleaseManifest,
    SelectionCut,
    attach,
    database,
    release_path,
)
from forge_assets.release.selection import Selected, Selection, select_pairs
from forge_assets.tables import SCHEMAS, VERIFIED_QA
from forge_resources.config import ForgeConfig, PixMoConfig
from forge_resources.lake import Lake, PartitionMissing
from forge_resources.shards import ShardKey
from forge_resources.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb

PAIRS_PER_FILE: Final = 500_000
RELEASED: Final[Mapping[str, pl.DataType]] = {
    name: pl.String() if isinstance(dtype, pl.Enum) else dtype for name, dtype in VERIFIED_QA.items()
}
"""Columns of the released pairs: those of verified_qa, enumerations as text."""

IMAGE_COLUMNS: Final[Mapping[str, pl.DataType]] = {
    "image_id": pl.String(),
    "source": pl.String(),
    "path": pl.String(),  # in the source
    "url": pl.String(),  # where the source has one that holds no key
    "sha256": pl.String(),  # of the source's own bytes
    "byte_size": pl.Int64(),
    "format": pl.String(),
    "orientation": pl.Int8(),  # 1-8 as EXIF has it: how the bytes are stored; boxes are of the upright photo
    "width": pl.Int32(),  # after orientation
    "height": pl.Int32(),
    "license": pl.String(),
    "split": pl.String(),
}
"""Columns of `images.parquet`."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY_IN_ADDRESS: Final = (
    r"(?i)[?&](x-(amz|goog|oss)-(signature|credential|security-token)"
    r"|signature|sig|awsaccesskeyid|(access_|auth_)?token)="
)
"""Parameters of presigned addresses of S3 and stores like it, of Azure's, and of tokens by their usual names."""
_STAGES: Final = ("raw_images", "detections", "depth_maps", "scenes", "candidate_qa", "verified_qa")
_ROW_GROUP: Final = 20_000
_HASHED_ROWS: Final = 100_000
_TAKEN: Final = frozenset({errno.EEXIST, errno.ENOTEMPTY})


def make_release(
    config: ForgeConfig,
    name: str,
    selection: Selection,
    *,
    calibration: Path | None = None,
    pairs_per_file: int = PAIRS_PER_FILE,
) -> Release:
    """Write the selected pairs, their photos' ids, a manifest, a dataset card and Croissant metadata.

    The same lake and selection give the same bytes. Memory follows a shard, and the sort of the pairs' ids.

    Args:
        config: names the lake, the sources and the thresholds.
        name: letters, digits, `.`, `_` and `-`, at most 100; the first one a letter or a digit.
        selection: which verified pairs.
        calibration: folder that `forge calibrate --output` wrote; its figures go into the card.
        pairs_per_file: after which a new file begins.

    Raises:
        ReleaseError: a name that is taken or odd, no pair selected, a lake that changes meanwhile, or a disk that is
            full; no release of that name is left behind.
        S3Error: if S3 does not do what it is asked.
    """
    require_name(name)
    lake = Lake(config.lake, config.s3)
    require_free(lake, name)
    calibrated = read_calibration(calibration)
    try:
        with lake.store.staging() as staged, Warehouse(lake, SCHEMAS) as warehouse:
            folder = staged / name
            selected = select_pairs(warehouse, lake, selection)
            shards = _write_pairs(warehouse, lake, folder, pairs_per_file)
            _write_images(warehouse, config, folder)
            manifest = _manifest(config, lake, folder, selected=selected, shards=shards)
            manifest = _describe(manifest, folder, CardTables.read(lake, warehouse, calibrated))
            _publish(lake, folder, name)
    except OSError as error:
        raise ReleaseError(
            f"the release {name} cannot be written ({error}): make room on the disk, or mend what is named; "
            "no release of that name is left"
        ) from error
    return Release(release_path(lake, name), manifest, lake.store.filesystem())


def require_name(name: str) -> None:
    """Refuse a name that no folder or repository should have.

    Raises:
        ReleaseError: with what a name may hold.
    """
    if _NAME.fullmatch(name) is None:
        raise ReleaseError(
            f"{name!r} cannot name a release: use letters, digits, `.`, `_` and `-`, at most 100, "
            "the first one a letter or a digit"
        )


def require_free(lake: Lake, name: str) -> None:
    """Refuse a name that a release has.

    Raises:
        ReleaseError: if it is taken.
    """
    if lake.store.read(f"{RELEASES}/{name}/{MANIFEST}") is not None:
        raise _taken(lake, name)


def _taken(lake: Lake, name: str) -> ReleaseError:
    return ReleaseError(f"{release_path(lake, name)} is there, and releases do not change: choose another name")


# --- tables


class _TaskFiles:
    """The files of one task and split, filled in order."""

    def __init__(self, folder: Path, split: str, pairs_per_file: int) -> None:
        self._folder = folder
        self._split = split
        self._pairs_per_file = pairs_per_file
        self._waiting: list[pl.DataFrame] = []
        self._files: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._room = 0

    def add(self, rows: pl.DataFrame) -> None:
        self._waiting.append(rows)
        if sum(frame.height for frame in self._waiting) >= _ROW_GROUP:
            self._write(_ROW_GROUP)

    def _write(self, at_least: int) -> None:
        rows = pl.concat(self._waiting)
        while rows.height >= at_least and rows.height:
            part = rows.head(min(_ROW_GROUP, self._room or self._pairs_per_file))
            table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
            self._open(table.schema).write_table(table)
            self._room -= part.height
            rows = rows.slice(part.height)
        self._waiting = [rows]

    def _open(self, schema: Any) -> pq.ParquetWriter:  # noqa: ANN401 - PyArrow has no types
        if self._writer is None or self._room == 0:
            self.close()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._files.append(self._folder / f"{self._split}-{len(self._files):05d}.parquet")
            self._writer = pq.ParquetWriter(self._files[-1], schema, compression="zstd")
            self._room = self._pairs_per_file
        return self._writer

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def finish(self) -> None:
        if self._waiting:
            self._write(0)
        self.close()
        for file in self._files:
            file.rename(file.with_stem(f"{file.stem}-of-{len(self._files):05d}"))


def _write_pairs(warehouse: Warehouse, lake: Lake, folder: Path, pairs_per_file: int) -> dict[ShardKey, str]:
    """Write the selected pairs, shard by shard; the shards that they come from, and the content hash of each."""
    seen = {
        ShardKey(source, shard): content_hash
        for source, shard, content_hash in warehouse.query(
            "SELECT source, shard, content_hash FROM partitions WHERE \"table\" = 'verified_qa'"
        ).iter_rows()
    }
    used: dict[ShardKey, str] = {}
    files: dict[tuple[str, str], _TaskFiles] = {}
    ids = warehouse.stream("SELECT source, shard, qa_id FROM selected_pairs ORDER BY source, shard, qa_id")
    with ExitStack() as open_files:
        for key, wanted in _by_shard(ids):
            rows = lake.scan("verified_qa", key).join(wanted.lazy(), on="qa_id", how="semi").sort("qa_id").collect()
            if lake.manifest("verified_qa", key).content_hash != seen[key] or rows.height != wanted.height:
                raise ReleaseError(f"verified_qa [{key}] changed while the release was made: make the release again")
            used[key] = seen[key]
            released = rows.select(pl.col(name).cast(dtype) for name, dtype in RELEASED.items())
            for (task, split), part in released.group_by("task", "split", maintain_order=True):
                place = (str(task), str(split))
                if place not in files:
                    files[place] = _TaskFiles(folder / DATA / place[0], place[1], pairs_per_file)
                    open_files.callback(files[place].close)
                files[place].add(part)
        for written in files.values():
            written.finish()
    if not files:
        raise ReleaseError("no verified pair is selected: loosen the selection, or make verified_qa first")
    return used


def _by_shard(ids: Iterable[pl.DataFrame]) -> Iterator[tuple[ShardKey, pl.DataFrame]]:
    """The ids of each shard at once, from batches that are sorted by shard."""
    rest: list[pl.DataFrame] = []
    for batch in ids:
        *whole, last = pl.concat([*rest, batch]).partition_by("source", "shard", maintain_order=True)
        for part in whole:
            yield ShardKey(part["source"][0], part["shard"][0]), part.select("qa_id")
        rest = [last]
    for part in rest:
        yield ShardKey(part["source"][0], part["shard"][0]), part.select("qa_id")


def _write_images(warehouse: Warehouse, config: ForgeConfig, folder: Path) -> None:
    photos = warehouse.stream(
        "SELECT * EXCLUDE (image), image.path AS path FROM raw_images "
        "WHERE image_id IN (SELECT image_id FROM selected_pairs) ORDER BY image_id"
    )
    schema = pl.Schema(IMAGE_COLUMNS).to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    written = 0
    with pq.ParquetWriter(folder / IMAGES, schema, compression="zstd") as writer:
        for batch in photos:
            rows = _with_addresses(batch, config).select(
                pl.col(name).cast(dtype) for name, dtype in IMAGE_COLUMNS.items()
            )
            writer.write_table(rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
            written += rows.height
    wanted = warehouse.query("SELECT count(DISTINCT image_id) AS photos FROM selected_pairs").item()
    if written != wanted:
        raise ReleaseError(
            f"{wanted - written} of {wanted} photos of the selected pairs are not in raw_images: "
            "make the partitions again with `forge run --again`"
        )


def _with_addresses(photos: pl.DataFrame, config: ForgeConfig) -> pl.DataFrame:
    """The photos with the column `url`: null where their source has none, or is not configured any more.

    An address that carries a signature or a token opens a door, so it is left out too.
    """
    parts: list[pl.DataFrame] = []
    for part in photos.partition_by("source", maintain_order=True):
        source = str(part["source"][0])
        settings = config.sources.get(source)
        if isinstance(settings, PixMoConfig):
            addresses = _pixmo_addresses(source, settings, config).rename({"key": "path"})
            parts.append(part.lazy().join(addresses, on="path", how="left", maintain_order="left").collect())
        else:
            parts.append(part.with_columns(url=pl.lit(None, pl.String)))
    is_key = pl.col("url").str.contains(_KEY_IN_ADDRESS).fill_null(value=False)
    return pl.concat([part.select(sorted(part.columns)) for part in parts]).with_columns(
        url=pl.when(~is_key).then("url")
    )


def _pixmo_addresses(source: str, settings: PixMoConfig, config: ForgeConfig) -> pl.LazyFrame:
    from forge_resources.sources.index import open_index
    from forge_resources.sources.pixmo_tables import PixMoTables, parquet_files

    folder = config.cache / "indexes" / source
    files = parquet_files(source, settings.path, settings.s3 or config.s3, config.cache / "inputs")
    tables = PixMoTables(source, files, settings.table, settings.point_unit, folder)
    return open_index(folder, tables.reader, tables.fingerprints(), tables.build).photos().select("key", "url")


# --- what is said of them


def _manifest(
    config: ForgeConfig, lake: Lake, folder: Path, *, selected: Selected, shards: Mapping[ShardKey, str]
) -> ReleaseManifest:
    tables = sorted(path for path in folder.rglob("*.parquet"))
    files = [_file(folder, path, rows=pq.read_metadata(path).num_rows) for path in tables]
    blank = ReleaseManifest(
        name=folder.name,
        content_hash="",
        pairs=0,
        photos=0,
        selection=dataclasses.asdict(selected.selection),
        cuts=[SelectionCut.model_validate(dataclasses.asdict(cut)) for cut in selected.cuts],
        counts=(),
        licenses={},
        models=(),
        templates={},
        versions=_versions(lake, shards),
        thresholds=None,
        balance_plan=_balance_hash(lake) if selected.selection.balanced else None,
        partitions={str(key): content_hash for key, content_hash in sorted(shards.items())},
        left_out=[
            LeftOut(partition=partition, reason=reason) for partition, reason in sorted(selected.left_out.items())
        ],
        files=files,
    )
    verified_with = blank.versions.get("verified_qa/verification")
    with database() as connection:
        attach(connection, Release(folder, blank))
        counts = connection.sql(
            "SELECT task, source, split, count(*) AS pairs FROM pairs GROUP BY ALL ORDER BY ALL"
        ).pl()
        return blank.model_copy(
            update={
                "content_hash": _content_hash(connection),
                "pairs": int(counts["pairs"].sum()),
                "photos": _figures(connection, "SELECT 'photos', count(*) FROM images")["photos"],
                "counts": [PairCount.model_validate(row) for row in counts.to_dicts()],
                "licenses": _figures(connection, "SELECT license, count(*) FROM images GROUP BY 1 ORDER BY 1"),
                "models": list(
                    _figures(
                        connection,
                        "SELECT model, count(*) FROM (SELECT unnest(evidence.models) AS model FROM pairs) "
                        "GROUP BY 1 ORDER BY 1",
                    )
                ),
                "templates": _figures(connection, "SELECT template_id, count(*) FROM pairs GROUP BY 1 ORDER BY 1"),
                "thresholds": config.verification.model_dump(mode="json")
                if verified_with == [config.verification.digest]
                else None,
            }
        )


def _figures(connection: "duckdb.DuckDBPyConnection", sql: str) -> dict[str, int]:
    return {str(name): int(count) for name, count in connection.sql(sql).fetchall()}


def _content_hash(connection: "duckdb.DuckDBPyConnection") -> str:
    """See `ReleaseManifest.content_hash`.

    Raises:
        ReleaseError: if a pair is there twice.
    """
    digest, last = hashlib.blake2b(digest_size=16), ""
    lines = connection.sql("SELECT qa_id, sha256(answer) AS answer FROM pairs ORDER BY qa_id")
    for batch in lines.to_arrow_reader(_HASHED_ROWS):
        rows = pl.from_arrow(batch)
        assert isinstance(rows, pl.DataFrame)
        ids = pl.concat([pl.Series("qa_id", [last]), rows["qa_id"]])
        twice = ids.filter(ids == ids.shift(1))
        if twice.len():
            raise ReleaseError(
                f"the pair {twice[0]} is there twice, of photos with the same bytes: materialize duplicates first"
            )
        last = str(ids[-1])
        text = rows.select(pl.format("{} {}\n", "qa_id", "answer").str.join()).item()
        digest.update(text.encode())
    return digest.hexdigest()


def _versions(lake: Lake, shards: Iterable[ShardKey]) -> dict[str, list[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    found["spatialforge"].add(version("spatialforge"))
    for key in shards:
        for table in _STAGES:
            try:
                versions = lake.manifest(table, key).versions
            except PartitionMissing:
                continue  # a stage that a configuration leaves out, or whose tables were cleared to save room
            for name, value in versions.items():
                if name != "members":
                    found[f"{table}/{name}"].add(value)
    return {name: sorted(values) for name, values in sorted(found.items())}


def _balance_hash(lake: Lake) -> str:
    tables = [lake.table_manifest(table).content_hash for table in ("balance_plan", "balance_repeats")]
    return hashlib.blake2b(" ".join(tables).encode(), digest_size=16).hexdigest()


def _describe(manifest: ReleaseManifest, folder: Path, card_tables: CardTables) -> ReleaseManifest:
    """Write card, Croissant and manifest; the manifest, complete."""
    with database() as connection:
        attach(connection, Release(folder, manifest))
        (folder / CARD).write_text(dataset_card(manifest, connection, card_tables))
    (folder / CROISSANT).write_text(croissant(manifest))
    texts = [_file(folder, folder / text) for text in (CARD, CROISSANT)]
    complete = manifest.model_copy(update={"files": [*manifest.files, *texts]})
    (folder / MANIFEST).write_text(complete.model_dump_json(indent=2) + "\n")
    return complete


def _file(folder: Path, path: Path, rows: int | None = None) -> ReleaseFile:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ReleaseFile(path=path.relative_to(folder).as_posix(), sha256=sha256, bytes=path.stat().st_size, rows=rows)


def _publish(lake: Lake, folder: Path, name: str) -> None:
    target = release_path(lake, name)
    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except OSError as error:
            if error.errno in _TAKEN:
                raise _taken(lake, name) from error
            raise
        return
    require_free(lake, name)
    for task in sorted((folder / DATA).iterdir()):
        parts = sorted(path.name for path in task.iterdir())
        lake.store.publish(task, f"{RELEASES}/{name}/{DATA}/{task.name}", last=parts[-1])
        task.rename(folder.parent / f"{task.name}.uploaded")
    (folder / DATA).rmdir()
    lake.store.publish(folder, f"{RELEASES}/{name}", last=MANIFEST)
