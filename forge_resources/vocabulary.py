"""One vocabulary of classes for all sources: each set's own names, and the category that each of them means."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import polars as pl

from forge_resources.errors import ForgeError

SETS: Final = ("coco", "objects365", "openimages")
"""The sets of photos whose class names the vocabulary has rows for."""
SOURCE_KINDS: Final = (*SETS, "image_folder", "pixmo")
RELATIONS: Final = ("same", "spelling", "synonym", "kind_of", "own")
_COLUMNS: Final = ("source", "name", "category", "relation")
_NOTE: Final = "note"
_NAMED_ALIKE: Final = ("same", "own")
_COCO_NAMES: Final = ("coco", "image_folder")


class VocabularyError(ForgeError, ValueError):
    """A table of class names that cannot be used; the message names the file, the line and the column."""


class Named(NamedTuple):
    """What a source's class is called here."""

    category: str
    is_known: bool
    """Whether the vocabulary has this category."""


class _Row(NamedTuple):
    category: str
    relation: str


class Vocabulary:
    """The category that each class name of each source means.

    Relations of a name to its category:

    - `same`: the name itself, and another set has the category as well.
    - `spelling`: a typo, a blank, a plural or a cut-off word mended.
    - `synonym`: another word for the same thing.
    - `kind_of`: a narrower class; each of its objects is one of the category's.
    - `own`: the name itself, in no other set. Parts of things and classes wider than a category are these.

    Args:
        rows: Category and relation by set and name; names as `normal_name` gives them.
    """

    def __init__(self, rows: Mapping[tuple[str, str], tuple[str, str]]) -> None:
        self._rows = {key: _Row(*row) for key, row in rows.items()}

    @classmethod
    def packaged(cls) -> Self:
        """The vocabulary that comes with this package: COCO, Objects365 and OpenImages V7."""
        file = resources.files("forge_resources").joinpath("classes.csv")
        return cls._parse(file.read_bytes(), "classes.csv of this package")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a vocabulary of one's own, a CSV in UTF-8 with `source,name,category,relation` and perhaps `note`.

        Raises:
            VocabularyError: if the file cannot be read, or a row of it cannot be used.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise VocabularyError(f"cannot read the vocabulary {path}: {error.strerror}") from error
        return cls._parse(data, str(path))

    @classmethod
    def _parse(cls, data: bytes, file: str) -> Self:
        rows: dict[tuple[str, str], tuple[str, str]] = {}
        lines: dict[tuple[str, str], int] = {}
        for line, record in _records(data, file):
            key = (record["source"], normal_name(record["name"]))
            if key in rows:
                raise VocabularyError(
                    f"{file}, line {line}, column name: {key[0]} {record['name']!r} stands in line {lines[key]} "
                    "already; keep one of the two"
                )
            rows[key], lines[key] = (record["category"], record["relation"]), line
        return cls(rows)

    @cached_property
    def categories(self) -> frozenset[str]:
        """All categories."""
        return frozenset(row.category for row in self._rows.values())

    @cached_property
    def digest(self) -> str:
        """A short hash of what the vocabulary says, to tell versions apart; notes and order do not count."""
        said = "\n".join("\t".join((*key, *row)) for key, row in sorted(self._rows.items()))
        return hashlib.blake2b(said.encode(), digest_size=6).hexdigest()

    def canonical(self, source_kind: str, name: str, ancestors: Sequence[str] = ()) -> Named:
        """The category of one class.

        Names are compared with outer blanks stripped, inner ones collapsed, and in lower case. A name of
        Objects365 or OpenImages is looked up among those of its set alone, since one word may mean different
        things in two sets. A name without a row takes the category of the nearest ancestor that has one, unless
        that ancestor is a class of its own. A class of an image folder is COCO's if it has COCO's name. PixMo's
        free text is a category if it is its name or its plural. All else keeps its own name.

        Args:
            source_kind: coco, objects365, openimages, image_folder or pixmo.
            name: As the source has it.
            ancestors: Wider classes, nearest first, as the source names them.

        Raises:
            ValueError: if the kind of source is none of these.
        """
        if source_kind not in SOURCE_KINDS:
            raise ValueError(f"unknown kind of source {source_kind!r}; known: {', '.join(SOURCE_KINDS)}")
        own = normal_name(name)
        if source_kind == "pixmo":
            category = own if own in self.categories else self._plurals.get(own, own)
        else:
            category = self._category("coco" if source_kind in _COCO_NAMES else source_kind, own, ancestors)
        return Named(category, category in self.categories)

    def mapping(self, source_kind: str, names: pl.Series) -> pl.DataFrame:
        """The category of each distinct name, for joins.

        Args:
            source_kind: As in `canonical`.
            names: Strings, repeated or not; nulls are left out.

        Returns:
            name (as given), category, is_known; sorted by name.
        """
        distinct = names.drop_nulls().unique().sort().to_list()
        named = [self.canonical(source_kind, name) for name in distinct]
        return pl.DataFrame(
            {"name": distinct, "category": [n.category for n in named], "is_known": [n.is_known for n in named]},
            schema={"name": pl.String, "category": pl.String, "is_known": pl.Boolean},
        )

    def _category(self, source: str, own: str, ancestors: Sequence[str]) -> str:
        row = self._rows.get((source, own))
        if row is not None:
            return row.category
        wider = (self._rows.get((source, normal_name(ancestor))) for ancestor in ancestors)
        nearest = next((row for row in wider if row is not None), None)
        return own if nearest is None or nearest.relation == "own" else nearest.category

    @cached_property
    def _plurals(self) -> Mapping[str, str]:
        import inflect

        engine = inflect.engine()
        return {str(engine.plural_noun(category)): category for category in sorted(self.categories)}


def normal_name(name: str) -> str:
    """A class name in lower case, its outer blanks stripped and its inner ones collapsed."""
    return " ".join(name.split()).lower()


def ancestors(hierarchy: Mapping[str, Any], descriptions: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Wider classes of each class of OpenImages, nearest first.

    A class may hang under several others; of ancestors equally near, those of the smaller name come first.
    Parts (`Part`) are no kinds of the whole and are walked through only for what hangs below them.

    Args:
        hierarchy: What `bbox_labels_600_hierarchy.json` holds: nested `LabelName`, `Subcategory`, `Part`.
        descriptions: Class names by `LabelName`, as in `class-descriptions-boxable.csv`; a class without one, such as
            the root, is left out of the answer.

    Returns:
        By class name; the tuple is empty for a class at the top.
    """
    parents: dict[str, set[str]] = {}
    pending: list[tuple[Mapping[str, Any], str | None]] = [(hierarchy, None)]
    while pending:
        node, parent = pending.pop()
        label = str(node["LabelName"])
        parents.setdefault(label, set()).update([parent] if parent is not None else [])
        pending += [(child, label) for child in node.get("Subcategory", ())]
        pending += [(part, None) for part in node.get("Part", ())]
    return {
        descriptions[label]: tuple(descriptions[wider] for wider in _upwards(label, parents, descriptions))
        for label in parents
        if label in descriptions
    }


def _upwards(label: str, parents: Mapping[str, set[str]], descriptions: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    level = {label}
    while level:
        wider = {parent for child in level for parent in parents[child]} - {label, *found}
        level = wider
        found += sorted(wider, key=lambda parent: descriptions.get(parent, ""))
    return [wider for wider in found if wider in descriptions]


def _records(data: bytes, file: str) -> list[tuple[int, dict[str, str]]]:
    """Rows of the CSV that say something, each with its line, all checked."""
    reader = csv.reader(io.StringIO(_text(data, file), newline=""), strict=True)
    records: list[tuple[int, dict[str, str]]] = []
    header: list[str] | None = None
    try:
        for values in reader:
            if not values:
                continue
            if header is None:
                header = _checked_header(values, f"{file}, line {reader.line_num}")
            else:
                records.append((reader.line_num, _checked(values, header, f"{file}, line {reader.line_num}")))
    except csv.Error as error:
        raise VocabularyError(f"{file}, line {reader.line_num}: no CSV: {error}") from error
    if header is None:
        raise VocabularyError(f"{file}: empty; its first line must be {','.join(_COLUMNS)}")
    return records


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise VocabularyError(
            f"{file}, line {line}: not UTF-8 (byte {data[error.start]:#04x}): save it as UTF-8"
        ) from error


def _checked_header(header: list[str], place: str) -> list[str]:
    for column in _COLUMNS:
        if column not in header:
            raise VocabularyError(f"{place}: column {column} is missing; write {','.join(_COLUMNS)}")
    for column in header:
        if column not in (*_COLUMNS, _NOTE) or header.count(column) > 1:
            raise VocabularyError(
                f"{place}, column {column}: unknown or repeated; write {','.join((*_COLUMNS, _NOTE))}"
            )
    return header


def _checked(values: list[str], header: list[str], place: str) -> dict[str, str]:
    if len(values) != len(header):
        raise VocabularyError(f"{place}: {len(values)} values for {len(header)} columns; quote names that have commas")
    record = dict(zip(header, values, strict=True))
    source, name, category, relation = (record[column] for column in _COLUMNS)
    if source not in SETS:
        raise VocabularyError(f"{place}, column source: {source!r} is unknown; write one of {', '.join(SETS)}")
    if not name.strip():
        raise VocabularyError(f"{place}, column name: empty")
    if not category or category != normal_name(category):
        raise VocabularyError(
            f"{place}, column category: {category!r}; write a name in lower case with single blanks, "
            f"such as {normal_name(category) or 'person'!r}"
        )
    if relation not in RELATIONS:
        raise VocabularyError(f"{place}, column relation: {relation!r} is unknown; write one of {', '.join(RELATIONS)}")
    if relation in _NAMED_ALIKE and category != normal_name(name):
        raise VocabularyError(
            f"{place}, column relation: {relation} needs the category {normal_name(name)!r}; "
            f"for {category!r} write spelling, synonym or kind_of"
        )
    return record
