"""Write selected pairs as files that a model is trained from."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
from pydantic import BaseModel

from forge_assets.release import hf, qwen2_5_vl, webdataset
from forge_assets.release.conversations import conversations
from forge_assets.release.export_files import JsonLines, RollingFiles, RowFile, WrittenFile, described
from forge_assets.release.export_staging import abandoned, publish, staging
from forge_assets.release.formats import FORMATS
from forge_assets.release.photos import link_photo, photos_of_shard, place_in, upright_bytes
from forge_assets.release.selection import SELECTED, Selected
from forge_assets.release.training_format import TrainingFormat
from forge_resources.errors import ForgeError
from forge_resources.lake import Lake
from forge_resources.s3 import REQUESTS_AT_ONCE
from forge_resources.shards import ShardKey
from forge_resources.warehouse import QueryError, Warehouse

Images = Literal["none", "link", "copy", "include"]
Answers = Literal["full", "short"]

MANIFEST: Final = "manifest.json"
IMAGES: Final = "images"
PHOTO_SUMS: Final = "SHA256SUMS"
"""In the image root: the hash of every photo, as `sha256sum -c` reads it."""
FILE_SUFFIXES: Final = (".jsonl", ".json")
"""An output with such a name is one file; any other is a folder."""

_SUFFIXES: Final = {"lines": ".jsonl", "parquet": ".parquet", "tar": ".tar"}
_ROWS_A_FILE: Final = 100_000
_ROWS_A_FILE_OF_PHOTOS: Final = 2_000
_PAIRS_SORTED_AT_ONCE: Final = 400_000
_BATCH_ROWS: Final = 20_000
_PHOTOS_AT_ONCE: Final = 32
_UPRIGHT: Final = 1
_TRACED: Final = "Traceback "
_TRACE: Final = re.compile(r"\ATraceback .*\n(?: .*\n)*(?:\w+\.)*\w+: |\nin the SQL:(?s:.*)")
_MADE_BY: Final = ("raw_images", "detections", "depth_maps", "scenes", "candidate_qa", "verified_qa")


class ExportError(ForgeError, ValueError):
    """An export that was asked for cannot be made; nothing of its name is left behind."""


@dataclass(frozen=True)
class ExportOptions:
    """How pairs are written."""

    max_turns: int = 1
    """Questions about a photo in one conversation."""
    images: Images | None = None
    """none: paths alone; link, copy: files below an image root; include: inside of the files, which is what hf and
    webdataset do unless told otherwise. Photos stored turned are always written upright."""
    answers: Answers = "full"
    """Sentences as they are, or the short answers within them."""
    shard_rows: int | None = None
    """Lines, rows or samples in a file of a folder; default, 100,000, or 2,000 with photos included."""
    min_pixels: int = qwen2_5_vl.MIN_PIXELS
    max_pixels: int = qwen2_5_vl.MAX_PIXELS
    """Area of a photo as Qwen2.5-VL's processor resizes it."""
    overwrite: bool = False
    """Replace an earlier export of that name."""
    source_folders: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """By source, the folder that its photos' paths start from: what is linked to."""


class ExportManifest(BaseModel, frozen=True):
    """What was written; also `manifest.json` in the folder, or `<name>.export.json` beside the file."""

    format: str
    selection: dict[str, Any]
    options: dict[str, Any]
    pairs: int
    rows: int
    """Lines, rows or samples."""
    photos: int
    pairs_of_turned_photos: int
    """Pairs whose photo is stored turned (EXIF orientation). Boxes are of the upright photo: train from the photos that
    an export writes, or from a loader that heeds EXIF."""
    size: int
    """Of all files, in bytes."""
    files: list[WrittenFile]
    counts: list[dict[str, Any]]
    """Pairs by task, source and split."""
    cuts: list[dict[str, Any]]
    """What each step of the selection dropped."""
    left_out: dict[str, str]
    """Partitions that do not count, and why."""
    inputs: dict[str, str]
    """Content hash of `verified_qa`, by partition."""
    versions: dict[str, dict[str, list[str]]]
    """Code, models, templates and thresholds that made the pairs: by table and name, all that there are."""


Progress = Callable[[int], None]


def write_export(  # noqa: PLR0917
    warehouse: Warehouse,
    lake: Lake,
    selected: Selected,
    format_name: str,
    target: Path,
    options: ExportOptions | None = None,
    progress: Progress | None = None,
) -> ExportManifest:
    """Write the pairs of the view `selected_pairs`, sorted by source, shard and photo, and a manifest.

    All is written aside and gets its name once it is whole; the same pairs give the same bytes. What exports of that
    name left there when they were killed is removed first.

    `image` is `<source>/<path of the photo in its source>`, below the image root where photos are linked or copied:
    `images` in the folder, or `<name>.images` beside the file.

    Args:
        warehouse: in which `select_pairs` made `selected`.
        lake: of the photos.
        selected: as `select_pairs` gave it.
        format_name: one of `FORMATS`.
        target: a file to write if it is named `.jsonl` or `.json`, else a folder of files.
        options: how to write.
        progress: called with the number of pairs written so far, now and then.

    Raises:
        ExportError: no such format, options that do not go together, a name that is taken, a pair that the format
            cannot hold, or files that cannot be written.
        PhotoError: a photo cannot be written or linked.
        PartitionDamaged: a file of the lake is not as it was written.
        S3Error: the lake cannot be read.
    """
    options = options or ExportOptions()
    training_format = _format(format_name, options)
    images = options.images or ("include" if training_format.holds_photos else "none")
    is_file = target.suffix in FILE_SUFFIXES
    _refuse_what_does_not_go_together(training_format, options, images, is_file=is_file)
    taken = [path for path in (_names(target) if is_file else (target,)) if path.exists() or path.is_symlink()]
    if taken and not options.overwrite:
        raise ExportError(f"{taken[0]} is there already: name another output, or replace it with --overwrite")
    for left in abandoned(target):
        shutil.rmtree(left, ignore_errors=True)
    try:
        with staging(target) as staged:
            root = staged / (_names(target)[-1].name if is_file else IMAGES)
            writing = _Writing(warehouse, lake, training_format, options, images, staged, root)
            manifest = writing.run(selected, target.name if is_file else None, progress or _say_nothing)
            text = manifest.model_dump_json(indent=2) + "\n"
            if is_file:
                file, beside, photos = _names(target)
                (staged / beside.name).write_text(text)
                publish(staged, [file, beside, photos])
            else:
                (staged / MANIFEST).write_text(text)
                publish(staged, [target])
    except QueryError as error:
        raise ExportError(f"the pairs cannot be read: {_last_words(error)}") from error
    except OSError as error:
        said = str(error) if isinstance(error, ForgeError) else f"{target} cannot be written: {error}"
        raise ExportError(said) from error
    return manifest


def _last_words(error: QueryError) -> str:
    """What DuckDB says, without the trace that it quotes where it reads files through Python."""
    said = str(error)
    return _TRACE.sub("", said) if said.startswith(_TRACED) else said


def _say_nothing(_: int) -> None:
    return


def _names(target: Path) -> tuple[Path, Path, Path]:
    """The names of an export that is one file: itself, its manifest, its image root."""
    return target, target.with_suffix(".export.json"), target.with_suffix(".images")


def _format(name: str, options: ExportOptions) -> TrainingFormat:
    if name not in FORMATS:
        raise ExportError(f"unknown format {name!r}; formats: {', '.join(FORMATS)}")
    if name == qwen2_5_vl.FORMAT.name:
        return qwen2_5_vl.training_format(options.min_pixels, options.max_pixels)
    return FORMATS[name]


def _refuse_what_does_not_go_together(
    training_format: TrainingFormat, options: ExportOptions, images: Images, *, is_file: bool
) -> None:
    name, has_lines = training_format.name, training_format.layout == "lines"
    if is_file and not has_lines:
        raise ExportError(f"{name} is a folder of files: name an output without .jsonl or .json")
    if images == "include" and not training_format.holds_photos:
        raise ExportError(f"{name} cannot include photos: use --images copy, or hf or webdataset")
    if options.max_turns < 1:
        raise ExportError(f"conversations of {options.max_turns} turns: ask for one at least")
    if options.max_turns > 1 and not has_lines:
        raise ExportError(f"{name} has pairs, not conversations: leave out --max-turns")
    if options.shard_rows is not None and options.shard_rows < 1:
        raise ExportError(f"files of {options.shard_rows} rows: ask for one at least")
    if not 0 < options.min_pixels <= options.max_pixels:
        raise ExportError(f"min_pixels {options.min_pixels} and max_pixels {options.max_pixels} leave no size")


class _Writing:
    """One export at work: partition by partition, in their order."""

    def __init__(  # noqa: PLR0917
        self,
        warehouse: Warehouse,
        lake: Lake,
        training_format: TrainingFormat,
        options: ExportOptions,
        images: Images,
        folder: Path,
        root: Path,
    ) -> None:
        self._warehouse, self._lake, self._format, self._options = warehouse, lake, training_format, options
        self._images, self._folder, self._root = images, folder, root
        self._sums: list[str] = []
        self._pairs = self._rows = self._photos = self._turned = 0

    def run(self, selected: Selected, name: str | None, progress: Progress) -> ExportManifest:
        """Write all files but the manifest, which is returned; one file of a name, or many."""
        files = self._run_folder(progress) if name is None else self._run_file(self._folder / name, progress)
        if self._sums:
            path = self._root / PHOTO_SUMS
            path.write_text("".join(self._sums))
            files.append(described(path, self._folder, len(self._sums)))
        return self._manifest(selected, files)

    def _run_file(self, path: Path, progress: Progress) -> list[WrittenFile]:
        single = JsonLines(path)
        try:
            self._write_all(lambda _, rows: single.write(rows), progress)
        finally:
            single.close()
        return [described(path, self._folder, self._rows)]

    def _run_folder(self, progress: Progress) -> list[WrittenFile]:
        per_file = _ROWS_A_FILE_OF_PHOTOS if self._images == "include" else _ROWS_A_FILE
        rolling = RollingFiles(
            self._folder, _SUFFIXES[self._format.layout], self._options.shard_rows or per_file, self._open
        )
        try:
            self._write_all(rolling.write, progress)
            files = rolling.close()
        finally:
            with suppress(OSError):
                rolling.abandon()
        if self._format.layout == "parquet":
            readme = self._folder / "README.md"
            readme.write_text(hf.readme({file.path.rpartition("-of-")[0][:-6] for file in files}))
            files.append(described(readme, self._folder, 0))
        return files

    def _open(self, path: Path) -> RowFile:
        match self._format.layout:
            case "lines":
                return JsonLines(path)
            case "parquet":
                return hf.ParquetFile(path, has_photos=self._images == "include")
            case "tar":
                return webdataset.TarFile(path)

    # --- rows

    def _write_all(self, write: Callable[[str, pl.DataFrame], None], progress: Progress) -> None:
        for key, rows in self._partitions():
            self._refuse_flaws(rows)
            for stem, part in self._laid_out(key, rows):
                write(stem, part)
                self._rows += part.height
            if self._images in ("link", "copy"):
                self._place_photos(key, rows)
            self._pairs += rows.height
            self._photos += rows["image_id"].n_unique()
            self._turned += int((rows["orientation"] != _UPRIGHT).sum())
            progress(self._pairs)

    def _laid_out(self, key: ShardKey, rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        """Stems of file names, and the rows to write below each."""
        match self._format.layout:
            case "lines":
                written = conversations(rows, self._options.max_turns)
                columns = [*self._format.columns, *(["ids"] if self._options.max_turns > 1 else [])]
                yield from ((split, part.select(columns)) for split, part in _parted(written, "split"))
            case "parquet":
                named = rows.rename({"id": "qa_id", "width": "image_width", "height": "image_height"})
                for part in self._with_photos(key, named):
                    if "data" in part.columns:
                        part = part.with_columns(image=pl.struct(bytes="data", path="image"))  # noqa: PLW2901
                    for task, of_task in _parted(part, "task"):
                        yield from ((f"{task}/{split}", last) for split, last in _parted(of_task, "split"))
            case "tar":
                found = webdataset.samples(rows.rename({"id": "qa_id"}))
                for part in self._with_photos(key, found):
                    yield from _parted(part, "split")

    def _with_photos(self, key: ShardKey, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The rows with their photos' bytes in the column `data` if photos are included, some photos at a time."""
        if self._images != "include":
            yield rows
            return
        photos = photos_of_shard(self._lake, key, set(rows["image_id"]))
        held: dict[str, bytes] = {}
        for photo in photos:
            held[photo.image_id] = upright_bytes(photo)
            if len(held) == _PHOTOS_AT_ONCE:
                yield _joined(rows, held)
                held = {}
        yield _joined(rows, held)

    def _partitions(self) -> Iterator[tuple[ShardKey, pl.DataFrame]]:
        for source, first, last in self._ranges():
            held: list[pl.DataFrame] = []
            shard = first
            for batch in self._warehouse.stream(_sql(self._format, self._options, source, first, last), _BATCH_ROWS):
                for name, part in _parted(batch, "shard"):
                    if name != shard and held:
                        yield ShardKey(source, shard), pl.concat(held)
                        held = []
                    shard = name
                    held.append(part)
            if held:
                yield ShardKey(source, shard), pl.concat(held)

    def _ranges(self) -> Iterator[tuple[str, str, str]]:
        """Source, first and last shard of runs of partitions that are sorted at once."""
        counts = self._warehouse.query(
            f"SELECT source, shard, count(*) AS pairs FROM {SELECTED} GROUP BY ALL ORDER BY ALL"  # noqa: S608
        )
        runs = counts.with_columns(run=pl.col("pairs").cum_sum().over("source") // _PAIRS_SORTED_AT_ONCE)
        grouped = runs.group_by("source", "run", maintain_order=True)
        edges = grouped.agg(first=pl.col("shard").first(), last=pl.col("shard").last())
        yield from edges.select("source", "first", "last").iter_rows()

    def _refuse_flaws(self, rows: pl.DataFrame) -> None:
        name = self._format.name
        flaws = {
            "have no photo in raw_images": pl.col("image").is_null(),
            f"hold text that {name} reserves ({', '.join(map(repr, self._format.reserved))})": pl.col("is_ambiguous"),
            f"have no question or answer in {name}": pl.col("question").is_null() | pl.col("answer").is_null(),
        }
        for flaw, condition in flaws.items():
            flawed = rows.filter(condition)["id"]
            if flawed.len():
                raise ExportError(f"{flawed.len()} pairs {flaw}, for one {flawed[0]}: leave them out with `where`")

    # --- photos as files

    def _place_photos(self, key: ShardKey, rows: pl.DataFrame) -> None:
        root = self._root
        photos = rows.unique("image_id", maintain_order=True).select(
            "image_id", "path", "sha256", "orientation", "byte_size"
        )
        if self._images == "link":
            photos, linked = (photos.filter(pl.col("orientation") != _UPRIGHT), photos.filter(orientation=_UPRIGHT))
            for image_id, path, sha256, _, byte_size in linked.iter_rows():
                target = place_in(root, image_id, key.source, path)
                link_photo(target, self._source_folder(key.source) / path, byte_size)
                self._sums.append(f"{sha256}  {target.relative_to(root).as_posix()}\n")
        if photos.is_empty():
            return
        for photo in photos_of_shard(self._lake, key, set(photos["image_id"])):
            target = place_in(root, photo.image_id, photo.source, photo.path)
            target.write_bytes(upright_bytes(photo))
            self._sums.append(f"{described(target, root, 1).sha256}  {target.relative_to(root).as_posix()}\n")

    def _source_folder(self, source: str) -> Path:
        folder = self._options.source_folders.get(source)
        if folder is None:
            raise ExportError(f"the photos of {source} do not lie in a folder that can be linked to: use --images copy")
        return folder

    # --- what was written

    def _manifest(self, selected: Selected, files: list[WrittenFile]) -> ExportManifest:
        keys = [
            ShardKey(source, shard)
            for source, shard in self._warehouse.query(
                f"SELECT DISTINCT source, shard FROM {SELECTED} ORDER BY ALL"  # noqa: S608
            ).iter_rows()
        ]
        options = self._options
        told: dict[str, Any] = {"images": self._images, "answers": options.answers, "max_turns": options.max_turns}
        if self._format.name == qwen2_5_vl.FORMAT.name:
            told |= {"min_pixels": options.min_pixels, "max_pixels": options.max_pixels}
        asked = selected.selection
        return ExportManifest(
            format=self._format.name,
            selection={
                "where": asked.where,
                "split": asked.split,
                "quotas": dict(asked.quotas) if asked.quotas else None,
                "balanced": asked.balanced,
                "total": asked.total,
            },
            options=told,
            pairs=self._pairs,
            rows=self._rows,
            photos=self._photos,
            pairs_of_turned_photos=self._turned,
            size=sum(file.size for file in files),
            files=files,
            counts=selected.counts.to_dicts(),
            cuts=[{"name": cut.name, "dropped": cut.dropped, "left": cut.left} for cut in selected.cuts],
            left_out=dict(selected.left_out),
            inputs={str(key): self._lake.manifest("verified_qa", key).content_hash for key in keys},
            versions=versions_of(self._lake, keys),
        )


def versions_of(lake: Lake, keys: list[ShardKey]) -> dict[str, dict[str, list[str]]]:
    """What made the pairs of these partitions: by table and name, all versions that there are, sorted."""
    present = {table: set(lake.keys(table)).intersection(keys) for table in _MADE_BY}
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        found: dict[str, dict[str, set[str]]] = {}
        for table, made in present.items():
            for manifest in pool.map(partial(lake.manifest, table), sorted(made)):
                for name, version in manifest.versions.items():
                    found.setdefault(table, {}).setdefault(name, set()).add(version)
    return {table: {name: sorted(all_of) for name, all_of in names.items()} for table, names in found.items()}


def _parted(rows: pl.DataFrame, column: str) -> Iterator[tuple[str, pl.DataFrame]]:
    for (value,), part in rows.partition_by(column, maintain_order=True, as_dict=True).items():
        yield str(value), part


def _joined(rows: pl.DataFrame, data: Mapping[str, bytes]) -> pl.DataFrame:
    photos = pl.DataFrame(
        {"image_id": list(data), "data": list(data.values())}, schema={"image_id": pl.String, "data": pl.Binary}
    )
    return rows.join(photos, on="image_id", maintain_order="left")


def _sql(training_format: TrainingFormat, options: ExportOptions, source: str, first: str, last: str) -> str:
    """The rows of some partitions, in their order; within a photo, a hash of `qa_id` decides."""
    here = f"source = '{source}' AND shard BETWEEN '{first}' AND '{last}'"
    reserved = " OR ".join(
        f"contains(question, '{text}') OR contains(answer, '{text}')" for text in training_format.reserved
    )
    answer = "short_answer" if options.answers == "short" else "answer"
    derived = "".join(f", {expression} AS {name}" for name, expression in training_format.derived.items())
    kept = "level, short_answer, answer_kind, choices, category, boxes, template_id, score, license,"
    return f"""
        WITH pairs AS (
            SELECT * REPLACE ({answer} AS answer){derived} FROM {SELECTED} WHERE {here}
        ),
        photos AS (
            SELECT image_id, source, shard, image.path AS path, sha256, format, byte_size, orientation
            FROM raw_images WHERE {here}
        )
        SELECT
            qa_id AS id, image_id, source || '/' || path AS image, path, sha256, format, byte_size,
            coalesce(orientation, {_UPRIGHT}) AS orientation, image_width AS width, image_height AS height,
            source, shard, split, task, {kept if training_format.layout != "lines" else ""}
            {training_format.question} AS question,
            {training_format.answer} AS answer,
            {reserved or "false"} AS is_ambiguous
        FROM pairs LEFT JOIN photos USING (image_id, source, shard)
        ORDER BY shard, image_id, md5_number('turn ' || qa_id), qa_id
    """  # noqa: S608 -- names of partitions hold no quotes
