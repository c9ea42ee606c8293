"""Human boxes from a COCO instances file."""

import json
import logging
import posixpath
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard, cast

from forge_resources.sources.base import (
    NO_LABELS,
    Label,
    LabelProblem,
    LabelReader,
    Member,
    PhotoLabels,
    SourceError,
)
from forge_resources.sources.boxes import collect, label_or_problem

_BOX_NUMBERS = 4

_log = logging.getLogger(__name__)

_Record = Mapping[str, Any]


def coco_reader(
    source: str, annotations: Path | None, members: Sequence[Member], list_photos: Callable[[], list[Member]]
) -> LabelReader:
    """Read a COCO instances file and keep what it says of `members`.

    A photo's entry is the one whose `file_name` is its path; else the one of the same base name, if
    neither another entry nor another photo has that name. Boxes are taken to lie in the upright photo,
    and an entry whose `width` and `height` say otherwise is not used.

    Args:
        source: Name of the source, for messages.
        annotations: The JSON file.
        members: Photos to know the labels of.
        list_photos: All photos of the source; called only if a photo's path is not in the file.

    Raises:
        SourceError: if the file is absent, no COCO instances file, or names none of the source's photos.
    """
    if annotations is None:
        raise SourceError(f"source {source}: labels `coco` need `labels_path`, the annotation JSON")
    document = _load(source, annotations)
    matched, ambiguous = _match(source, annotations, document["images"], members, list_photos)
    by_photo = _annotations_of({entry["id"] for entry in matched.values()}, document, annotations)
    categories = {record["id"]: str(record["name"]).strip() for record in document["categories"]}

    def read(member: Member, width: int, height: int) -> PhotoLabels:
        if member.path in ambiguous:
            problem = LabelProblem("label_ambiguous_file_name", f"{annotations.name}: {ambiguous[member.path]}")
            return PhotoLabels(problems=(problem,))
        entry = matched.get(member.path)
        if entry is None:
            return NO_LABELS
        records = by_photo.get(entry["id"], [])
        stated = (entry.get("width", width), entry.get("height", height))
        if stated != (width, height):
            detail = f"{annotations.name}: {stated[0]}x{stated[1]}, the upright photo has {width}x{height} pixels"
            problem = LabelProblem("label_size_mismatch", f"{detail}; {len(records)} labels not used")
            return PhotoLabels(problems=(problem,))
        return collect(_checked(records, categories, (width, height), annotations.name))

    return read


def _load(source: str, path: Path) -> Mapping[str, list[_Record]]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SourceError(f"source {source}: cannot read the labels {path}: {error}") from error
    needed = {"images": ("id", "file_name"), "annotations": ("image_id",), "categories": ("id", "name")}
    if not isinstance(document, dict):
        raise SourceError(f"source {source}: {path} is no COCO instances file: it holds no JSON object")
    sections = cast("dict[str, Any]", document)
    for section, fields in needed.items():
        records = sections.get(section)
        if not isinstance(records, list):
            raise SourceError(f"source {source}: {path} is no COCO instances file: it has no list `{section}`")
        for number, record in enumerate(cast("list[Any]", records)):
            if not isinstance(record, dict) or not all(isinstance(record.get(field), int | str) for field in fields):
                raise SourceError(f"source {source}: {path}: {section}[{number}] has no proper {' and '.join(fields)}")
    for section in ("images", "categories"):
        seen = Counter(record["id"] for record in sections[section])
        repeated = [identity for identity, count in seen.items() if count > 1]
        if repeated:
            raise SourceError(f"source {source}: {path}: {section} repeat the id {repeated[0]}")
    return sections


def _match(
    source: str,
    annotations: Path,
    entries: Sequence[_Record],
    members: Sequence[Member],
    list_photos: Callable[[], list[Member]],
) -> tuple[dict[str, _Record], dict[str, str]]:
    """Entries by photo path, and of photos with no certain entry the reason, by path."""
    by_path: dict[str, list[_Record]] = defaultdict(list)
    by_base: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        path = posixpath.normpath(str(entry["file_name"]).replace("\\", "/"))
        by_path[path].append(entry)
        by_base[posixpath.basename(path)].append(path)

    matched: dict[str, _Record] = {}
    ambiguous: dict[str, str] = {}
    strays = [member.path for member in members if member.path not in by_path]
    photos = [member.path for member in list_photos()] if strays else []
    present = set(photos)
    homonyms = Counter(posixpath.basename(path) for path in photos if path not in by_path)
    for path in (member.path for member in members):
        names = [path]
        if path not in by_path:
            base = posixpath.basename(path)
            names = [name for name in by_base.get(base, []) if name not in present]
            if names and (len(names) > 1 or homonyms[base] > 1):
                ambiguous[path] = f"{len(names)} entries and {homonyms[base]} photos have the name {base}"
                continue
        candidates = [entry for name in names for entry in by_path[name]]
        if len(candidates) == 1:
            matched[path] = candidates[0]
        elif candidates:
            ambiguous[path] = f"{len(candidates)} entries have the file_name {path}"
    if members and len(strays) == len(members) and not any(posixpath.basename(path) in by_base for path in photos):
        raise SourceError(
            f"source {source}: none of the {len(entries)} file names in {annotations} is that of a photo of "
            f"this source: correct `labels_path`"
        )
    return matched, ambiguous


def _annotations_of(
    wanted: set[Any], document: Mapping[str, list[_Record]], path: Path
) -> dict[Any, list[tuple[int, _Record]]]:
    """Annotations, with their positions in the file, by image id."""
    known = {entry["id"] for entry in document["images"]}
    found: dict[Any, list[tuple[int, _Record]]] = defaultdict(list)
    orphans = 0
    for position, record in enumerate(document["annotations"]):
        if record["image_id"] in wanted:
            found[record["image_id"]].append((position, record))
        orphans += record["image_id"] not in known
    if orphans:
        _log.warning("%s: %d annotations are of images that the file does not list", path, orphans)
    return found


def _checked(
    records: Sequence[tuple[int, _Record]], categories: Mapping[Any, str], frame: tuple[int, int], file: str
) -> Iterator[Label | LabelProblem]:
    for position, record in records:
        label_id = str(record["id"]) if "id" in record else f"n{position}"
        where = f"{file}: annotation {label_id}"
        box, category_id = record.get("bbox"), record.get("category_id")
        if not _is_box(box):
            yield LabelProblem("label_malformed", f"{where}: bbox {box!r} is not [x, y, width, height]")
        elif not isinstance(category_id, int | str) or category_id not in categories:
            yield LabelProblem("label_unknown_class", f"{where}: category_id {category_id!r}")
        else:
            left, top, width, height = (float(number) for number in box)
            yield label_or_problem(
                label_id,
                categories[category_id],
                (left, top, width, height),
                frame=frame,
                is_crowd=bool(record.get("iscrowd", False)),
                where=where,
            )


def _is_box(box: object) -> TypeGuard[list[float]]:
    if not isinstance(box, list):
        return False
    numbers = cast("list[object]", box)
    return len(numbers) == _BOX_NUMBERS and all(isinstance(number, int | float) for number in numbers)
