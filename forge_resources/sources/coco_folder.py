"""A folder of photos whose labels are a COCO instances file."""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from forge_resources.config import ImageFolderConfig, MissingPhotos
from forge_resources.s3 import S3Config
from forge_resources.sources.base import NO_LABELS, LabelProblem, Member, PhotoFiles, PhotoLabels, SourceError
from forge_resources.sources.coco_json import CocoFile
from forge_resources.sources.index import LabelIndex, open_index
from forge_resources.sources.indexed import IndexedShard, absent_members, leads_out
from forge_resources.sources.inputs import input_file

_READER = "coco 1"


def coco_folder(name: str, config: ImageFolderConfig, files: PhotoFiles, s3: S3Config, cache: Path) -> "CocoFolder":
    """The photos of a folder with the labels of `labels_path`; nothing is read before it is asked for.

    Args:
        name: Of the source, for messages.
        config: Its section of `forge.yaml`.
        files: Where the photos lie.
        s3: How S3 is reached, if the labels lie there.
        cache: Folder of indexes and downloads.
    """

    def index() -> LabelIndex:
        if config.labels_path is None:
            raise SourceError(f"source {name}: labels `coco` need `labels_path`, the annotation JSON")
        file = input_file(name, config.labels_path, s3, cache / "inputs")
        coco = CocoFile(name, file, key_of=str)
        folder = cache / "indexes" / name
        return open_index(folder, _READER, {file.name: file.fingerprint}, partial(coco.index, folder=folder))

    return CocoFolder(name, files=files, index=index, missing=config.missing_photos, threads=config.threads)


class CocoFolder:
    """Photos of a folder that COCO labels describe; satisfies `PhotoSource`.

    A photo's entry is the one whose `file_name` is its path; else the one of the same base name, if neither
    another entry nor another photo has that name. An entry without a photo is a member all the same, unless
    missing photos are skipped: reading it tells that the photo is missing, or that its name leads out of the folder.

    Args:
        name: Of the source, for messages.
        files: Where the photos lie.
        index: Opens the index of the labels; called once, when it is first needed.
        missing: What becomes of photos that are not there.
        threads: How many photos are best read at once.
    """

    def __init__(
        self, name: str, *, files: PhotoFiles, index: Callable[[], LabelIndex], missing: MissingPhotos, threads: int
    ) -> None:
        self.name = name
        self.threads = threads
        self._files = files
        self._missing: MissingPhotos = missing
        self._open_index = index
        self._index: LabelIndex | None = None

    def list_photos(self) -> list[Member]:
        """All photos that are there now, sorted by path.

        Raises:
            SourceError: if the photos cannot be listed, or the labels cannot be read or name none of the photos.
        """
        versions = self._versions()
        files = list(self._files.list_files())
        match = EntryMatch([file.path for file in files], versions)
        if files and not any(map(match.is_mentioned, (file.path for file in files))):
            raise SourceError(
                f"source {self.name}: none of the {len(versions)} file names in the labels is that of a photo of this "
                f"source, such as {files[0].path}: correct `labels_path`"
            )
        members = [
            Member(file.path, file.byte_size, f"{file.version} {versions.get(match.key_of(file.path), '')}".strip())
            for file in files
        ]
        taken = {match.key_of(file.path) for file in files}
        return sorted([*members, *self._absent(versions.keys() - taken, [file.path for file in files])])

    def _absent(self, keys: set[str], paths: Sequence[str]) -> Iterator[Member]:
        """Entries that no photo has; not those that several photos might have, which say so themselves."""
        bases = set(map(posixpath.basename, paths))
        expected = [key for key in keys if not leads_out(key) and posixpath.basename(key) not in bases]
        yield from absent_members(self.name, filter(leads_out, keys), expected, self._missing)

    @contextmanager
    def open_shard(self, members: Sequence[Member]) -> Generator[IndexedShard]:
        """The reader of these photos and of their labels.

        Raises:
            SourceError: if the labels cannot be read, or the photos cannot be listed.
        """
        versions = self._versions()
        paths = [member.path for member in members]
        if not versions.keys() >= set(paths):
            paths = [file.path for file in self._files.list_files()]
        match = EntryMatch(paths, versions)
        known = self._labels().shard([match.key_of(member.path) for member in members])
        try:
            yield IndexedShard(self._files, known, match.key_of, match.labels_of_unnamed)
        finally:
            self._files.close()

    def written(self, members: Sequence[Member]) -> None:
        """Nothing is kept for a shard."""

    def counts(self) -> Mapping[str, int]:
        """No figures."""
        return {}

    def _versions(self) -> dict[str, str]:
        return dict(self._labels().photos().select("key", "version").collect().iter_rows())

    def _labels(self) -> LabelIndex:
        if self._index is None:
            self._index = self._open_index()
        return self._index


class EntryMatch:
    """Which entry is whose.

    Args:
        paths: Of all photos of the folder; of some, if the entries name each of those by its path.
        entries: Names that the labels give to photos, parts joined by `/`.
    """

    def __init__(self, paths: Collection[str], entries: Collection[str]) -> None:
        present = set(paths)
        self._entries = set(entries)
        self._photos = Counter(posixpath.basename(path) for path in present - self._entries)
        self._strays: defaultdict[str, list[str]] = defaultdict(list)
        for entry in self._entries - present:
            self._strays[posixpath.basename(entry)].append(entry)

    def key_of(self, path: str) -> str:
        """The name that the labels give to a photo; its own path if there is none or no certain one."""
        base = posixpath.basename(path)
        strays = self._strays.get(base, [])
        is_certain = path not in self._entries and len(strays) == 1 and self._photos[base] == 1
        return strays[0] if is_certain else path

    def is_mentioned(self, path: str) -> bool:
        """Whether some entry has the path or the base name of a photo."""
        return path in self._entries or posixpath.basename(path) in self._strays

    def labels_of_unnamed(self, path: str) -> PhotoLabels:
        """What to say of a photo that has no entry, or no certain one."""
        base = posixpath.basename(path)
        strays = self._strays.get(base, [])
        if not strays:
            return NO_LABELS
        detail = f"{len(strays)} entries and {self._photos[base]} photos have the name {base}"
        return PhotoLabels(problems=(LabelProblem("label_ambiguous_file_name", detail),))
