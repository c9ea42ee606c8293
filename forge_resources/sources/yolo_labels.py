"""Human boxes from YOLO text files: a line `class cx cy w h`, normalised 0-1, an object."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, cast

import yaml

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

_FIELDS = 5
_IMAGES, _LABELS = "images", "labels"


def yolo_reader(
    source: str,
    *,
    photos_root: Path,
    labels_root: Path | None,
    class_names: Path | None,
    members: Sequence[Member],
    list_photos: Callable[[], list[Member]],
) -> LabelReader:
    """The reader of the text files beside, or parallel to, the photos.

    Under `labels_root` a photo's file has the photo's relative path, with or without what comes up to
    the folder `images`. Without `labels_root` the last folder `images` of the photo's path becomes
    `labels`; where there is none, the file lies beside the photo. A photo without a file is unlabelled;
    an empty file says that a human saw no object.

    Args:
        source: Name of the source, for messages.
        photos_root: Absolute path of the folder of photos.
        labels_root: The folder of .txt files, or None for the usual place.
        class_names: data.yaml or a text file with a name a line, or None for the 80 classes of COCO.
        members: Photos to know the labels of.
        list_photos: All photos of the source; called only if none of `members` has a file.

    Raises:
        SourceError: if no photo of the source has a file, or the class names cannot be read or are in doubt.
    """
    names = read_class_names(source, class_names) if class_names else _default_names(source, photos_root)

    def file_of(member: Member) -> Path | None:
        return next((path for path in _places(photos_root, labels_root, member.path) if path.exists()), None)

    if members and not any(map(file_of, members)) and not any(map(file_of, list_photos())):
        example = _places(photos_root, labels_root, members[0].path)[0]
        raise SourceError(
            f"source {source}: no photo has a YOLO label file (looked for {example} and its like): "
            f"correct `labels_path`, or set `labels` to none"
        )

    def read(member: Member, width: int, height: int) -> PhotoLabels:
        path = file_of(member)
        if path is None:
            return NO_LABELS
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            return PhotoLabels(problems=(LabelProblem("label_unreadable_file", f"{path}: {error}"),))
        return collect(_checked(lines, names, (width, height), path.name))

    return read


def coco_class_names() -> dict[int, str]:
    """The 80 class names of COCO by YOLO class id, 0-79."""
    text = resources.files("forge_resources.sources").joinpath("coco_classes.txt").read_text()
    return dict(enumerate(text.splitlines()))


def read_class_names(source: str, path: Path) -> dict[int, str]:
    """Class names by id, from a YAML file with `names` (list or map) or a text file with a name a line.

    Raises:
        SourceError: if the file cannot be read or holds no names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        raw: Any = yaml.safe_load(text) if path.suffix.lower() in (".yaml", ".yml") else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceError(f"source {source}: cannot read the class names {path}: {error}") from error
    if path.suffix.lower() not in (".yaml", ".yml"):
        return _named(source, path, dict(enumerate(text.rstrip().splitlines())))
    names: Any = cast("dict[str, Any]", raw).get("names") if isinstance(raw, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(cast("list[Any]", names)))
    if not isinstance(names, dict):
        raise SourceError(f"source {source}: {path} has no `names`, neither as a list nor as a map from class id")
    return _named(source, path, cast("dict[Any, Any]", names))


def _named(source: str, path: Path, names: Mapping[Any, Any]) -> dict[int, str]:
    cleaned: dict[int, str] = {}
    for class_id, name in names.items():
        if not isinstance(class_id, int) or name is None or not str(name).strip():
            raise SourceError(f"source {source}: {path}: class {class_id!r} has the name {name!r}")
        cleaned[class_id] = str(name).strip()
    if not cleaned:
        raise SourceError(f"source {source}: {path} names no class")
    return cleaned


def _default_names(source: str, photos_root: Path) -> dict[int, str]:
    names = coco_class_names()
    for path in (photos_root / "data.yaml", photos_root.parent / "data.yaml"):
        if path.exists() and read_class_names(source, path) != names:
            raise SourceError(
                f"source {source}: {path} has class names other than those of COCO: set `class_names` to that "
                f"file, or to another if it is not of these labels"
            )
    return names


def _places(photos_root: Path, labels_root: Path | None, photo: str) -> list[Path]:
    """Where the label file of a photo may lie, likeliest first."""
    text = PurePosixPath(photo).with_suffix(".txt")
    if labels_root is not None:
        return [labels_root / text, labels_root / PurePosixPath(*_after_images(text.parts))]
    absolute = photos_root / text
    tail = _after_images(absolute.parts)
    if len(tail) == len(absolute.parts):
        return [absolute]
    return [Path(*absolute.parts[: -len(tail) - 1], _LABELS, *tail)]


def _after_images(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The parts after the last folder `images`; all of them if there is none."""
    folders = parts[:-1]
    if _IMAGES not in folders:
        return parts
    return parts[len(folders) - folders[::-1].index(_IMAGES) :]


def _checked(
    lines: Sequence[str], names: Mapping[int, str], frame: tuple[int, int], file: str
) -> Iterator[Label | LabelProblem]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _parsed(line.split(), names, frame, label_id=str(number), where=f"{file}: line {number}")


def _parsed(
    fields: Sequence[str], names: Mapping[int, str], frame: tuple[int, int], *, label_id: str, where: str
) -> Label | LabelProblem:
    if len(fields) != _FIELDS:
        return LabelProblem("label_malformed", f"{where}: {len(fields)} fields, not `class cx cy w h`")
    try:
        class_id = int(fields[0])
        center_x, center_y, width, height = (float(field) for field in fields[1:])
    except ValueError as error:
        return LabelProblem("label_malformed", f"{where}: {error}")
    if class_id not in names:
        return LabelProblem("label_unknown_class", f"{where}: class {class_id} of {len(names)} names")
    box = (
        (center_x - width / 2) * frame[0],
        (center_y - height / 2) * frame[1],
        width * frame[0],
        height * frame[1],
    )
    return label_or_problem(label_id, names[class_id], box, frame=frame, is_crowd=False, where=where)
