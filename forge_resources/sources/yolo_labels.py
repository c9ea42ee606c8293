"""Human boxes from YOLO text files: a line `class cx cy w h`, normalised 0-1, an object."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

import yaml

from forge_resources.s3 import Location, S3Config, S3Uri
from forge_resources.sources.base import (
    Label,
    LabelProblem,
    LabelReader,
    Member,
    PhotoFile,
    PhotoLabels,
    SourceError,
)
from forge_resources.sources.boxes import collect, label_or_problem
from forge_resources.sources.files.documents import Documents

_FIELDS = 5
_IMAGES, _LABELS = "images", "labels"
_SUFFIX: Final = ".txt"
_NAMED_IN_WARNINGS: Final = 10

_log = logging.getLogger(__name__)


class YoloLabels:
    """The text files beside, or parallel to, the photos of a folder or S3 prefix.

    Under `labels` a photo's file has the photo's relative path, with or without what comes up to the
    folder `images`. Without `labels` the last folder `images` of the photo's path becomes `labels`; where
    there is none, the file lies beside the photo. A photo without a file is unlabelled, and that is a
    problem by the rule `label_absent`; an empty file says that a human saw no object.

    Args:
        source: Name of the source, for messages.
        photos: Folder or prefix of the photos; a path is absolute.
        labels: Folder or prefix of the .txt files, or None for the usual place.
        class_names: data.yaml or a text file with a name a line, or None for the 80 classes of COCO.
        s3: How S3 is reached.
    """

    def __init__(
        self, source: str, *, photos: Location, labels: Location | None, class_names: Location | None, s3: S3Config
    ) -> None:
        self._source = source
        self._photos = photos
        self._labels = labels
        self._class_names = class_names
        self._documents = Documents(s3, source=source, places=(photos, labels, class_names))

    def versions(self, photos: Sequence[PhotoFile]) -> list[str]:
        """The version of each photo's label file and of the class names, joined; empty where there is no label file.

        Warns of label files that belong to no photo.

        Raises:
            SourceError: if the folder of labels cannot be listed, or the class names are not there.
            S3Error: if S3 does not do what it is asked.
        """
        listed: dict[Location, str] = {}
        for base in self._bases():
            listed |= self._documents.listed(base, _SUFFIX)
        names = self._names_version()
        used: set[Location] = set()
        versions: list[str] = []
        for photo in photos:
            place, version = self._found(photo.path, listed)
            used |= {place} if place is not None else set()
            versions.append(f"{version}+{names}" if version else "")
        self._warn_of_orphans(listed, used)
        return versions

    def reader(self, members: Sequence[Member], list_photos: Callable[[], Sequence[Member]]) -> LabelReader:
        """The reader of these photos' labels; threads may call it at once.

        Args:
            members: Photos to know the labels of.
            list_photos: All photos of the source; called only if none of `members` has a file.

        Raises:
            SourceError: if no photo of the source has a file, or the class names cannot be read or are in doubt.
            S3Error: if S3 does not do what it is asked.
        """
        if self._class_names:
            names = read_class_names(self._source, self._class_names, self._documents)
        else:
            names = _default_names(self._source, self._photos, self._documents)
        if members and not any(map(self._is_labeled, members)) and not any(map(self._is_labeled, list_photos())):
            example = _places(self._photos, self._labels, members[0].path)[0]
            raise SourceError(
                f"source {self._source}: no photo has a YOLO label file (looked for {example} and its like): "
                f"correct `labels_path`, or set `labels` to none"
            )

        def read(member: Member, width: int, height: int) -> PhotoLabels:
            places = _places(self._photos, self._labels, member.path)
            for place in places:
                try:
                    lines = self._documents.read(place).decode("utf-8-sig").splitlines()
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except (OSError, UnicodeDecodeError) as error:
                    return PhotoLabels(problems=(LabelProblem("label_unreadable_file", f"{place}: {error}"),))
                return collect(_checked(lines, names, (width, height), _parts(place)[-1]))
            looked_for = " or ".join(map(str, places))
            return PhotoLabels(problems=(LabelProblem("label_absent", f"there is no {looked_for}"),))

        return read

    def _is_labeled(self, member: Member) -> bool:
        return any(map(self._documents.version, _places(self._photos, self._labels, member.path)))

    def _bases(self) -> list[Location]:
        """Folders or prefixes below which all label files lie."""
        if self._labels is not None:
            return [self._labels]
        swapped = _places(self._photos, None, "photo")[0]
        beside = _rebuilt(swapped, _parts(swapped)[:-1])
        return [self._photos] if beside == self._photos else [self._photos, beside]

    def _found(self, photo: str, listed: Mapping[Location, str]) -> tuple[Location | None, str | None]:
        """The label file of a photo, and its version. A folder may hold links that a listing does not follow."""
        for place in _places(self._photos, self._labels, photo):
            version = listed.get(place) or (self._documents.version(place) if isinstance(place, Path) else None)
            if version is not None:
                return place, version
        return None, None

    def _names_version(self) -> str:
        if self._class_names is None:
            return ""
        version = self._documents.version(self._class_names)
        if version is None:
            raise SourceError(f"source {self._source}: there are no class names {self._class_names}")
        return version

    def _warn_of_orphans(self, listed: Mapping[Location, str], used: set[Location]) -> None:
        folders = {_parts(place)[:-1] for place in used}
        orphans = sorted(
            str(place)
            for place in listed
            if place not in used
            and place != self._class_names
            and (self._labels is not None or _LABELS in _parts(place)[:-1] or _parts(place)[:-1] in folders)
        )
        if orphans:
            _log.warning(
                "source %s: %d label files belong to no photo: %s%s",
                self._source,
                len(orphans),
                ", ".join(orphans[:_NAMED_IN_WARNINGS]),
                ", ..." if len(orphans) > _NAMED_IN_WARNINGS else "",
            )


def coco_class_names() -> dict[int, str]:
    """The 80 class names of COCO by YOLO class id, 0-79."""
    text = resources.files("forge_resources.sources").joinpath("coco_classes.txt").read_text()
    return dict(enumerate(text.splitlines()))


def read_class_names(source: str, place: Location, documents: Documents) -> dict[int, str]:
    """Class names by id, from a YAML file with `names` (list or map) or a text file with a name a line.

    Raises:
        SourceError: if the file cannot be read or holds no names.
        S3Error: if S3 does not do what it is asked.
    """
    is_yaml = str(place).lower().endswith((".yaml", ".yml"))
    try:
        text = documents.read(place).decode("utf-8-sig")
        raw: Any = yaml.safe_load(text) if is_yaml else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceError(f"source {source}: cannot read the class names {place}: {error}") from error
    if not is_yaml:
        return _named(source, place, dict(enumerate(text.rstrip().splitlines())))
    names: Any = cast("dict[str, Any]", raw).get("names") if isinstance(raw, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(cast("list[Any]", names)))
    if not isinstance(names, dict):
        raise SourceError(f"source {source}: {place} has no `names`, neither as a list nor as a map from class id")
    return _named(source, place, cast("dict[Any, Any]", names))


def _named(source: str, place: Location, names: Mapping[Any, Any]) -> dict[int, str]:
    cleaned: dict[int, str] = {}
    for class_id, name in names.items():
        if not isinstance(class_id, int) or name is None or not str(name).strip():
            raise SourceError(f"source {source}: {place}: class {class_id!r} has the name {name!r}")
        cleaned[class_id] = str(name).strip()
    if not cleaned:
        raise SourceError(f"source {source}: {place} names no class")
    return cleaned


def _default_names(source: str, photos: Location, documents: Documents) -> dict[int, str]:
    names = coco_class_names()
    for folder in (photos, _rebuilt(photos, _parts(photos)[:-1])):
        place = folder / "data.yaml"
        if documents.version(place) is not None and read_class_names(source, place, documents) != names:
            raise SourceError(
                f"source {source}: {place} has class names other than those of COCO: set `class_names` to that "
                f"file, or to another if it is not of these labels"
            )
    return names


def _places(photos: Location, labels: Location | None, photo: str) -> list[Location]:
    """Where the label file of a photo may lie, likeliest first."""
    text = PurePosixPath(photo).with_suffix(_SUFFIX)
    if labels is not None:
        return list(dict.fromkeys([labels / str(text), labels / "/".join(_after_images(text.parts))]))
    absolute = photos / str(text)
    parts = _parts(absolute)
    tail = _after_images(parts)
    if len(tail) == len(parts):
        return [absolute]
    return [_rebuilt(absolute, (*parts[: -len(tail) - 1], _LABELS, *tail))]


def _parts(place: Location) -> tuple[str, ...]:
    return place.parts if isinstance(place, Path) else tuple(place.key.split("/"))


def _rebuilt(place: Location, parts: tuple[str, ...]) -> Location:
    return Path(*parts) if isinstance(place, Path) else S3Uri(place.bucket, "/".join(parts))


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
