"""PixMo as published: tables of addresses with points, counts or captions; the photos are fetched one by one."""

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache as cached
from pathlib import Path

from forge_resources.config import PixMoConfig
from forge_resources.s3 import S3Config
from forge_resources.sources.base import Member, PhotoLabels, PhotoSource, SourcePhoto
from forge_resources.sources.downloads import DownloadCounts, Downloader
from forge_resources.sources.index import IndexedPhotos, LabelIndex, open_index
from forge_resources.sources.pixmo_tables import PixMoTables, parquet_files


def pixmo(name: str, config: PixMoConfig, s3: S3Config, cache: Path) -> PhotoSource:
    """The source of that configuration; nothing is read before it is asked for.

    Args:
        name: As configured; used in messages.
        config: Its section of `forge.yaml`.
        s3: How S3 is reached.
        cache: Folder of indexes, fetched tables and downloads.
    """

    @cached
    def index() -> LabelIndex:
        folder = cache / "indexes" / name
        files = parquet_files(name, config.path, s3, cache / "inputs")
        tables = PixMoTables(name, files, config.table, config.point_unit, folder)
        return open_index(folder, tables.reader, tables.fingerprints(), tables.build)

    return PixMo(config, index, _downloads(name, cache))


def remembered_links(name: str, config: PixMoConfig, cache: Path) -> Downloader:
    """What is remembered of the addresses of one source, to be counted or forgotten; a context manager.

    Args:
        name: As configured.
        config: Its section of `forge.yaml`.
        cache: Folder of indexes, fetched tables and downloads.
    """
    return Downloader(config.download, _downloads(name, cache), max_bytes=config.max_bytes)


def _downloads(name: str, cache: Path) -> Path:
    return cache / "downloads" / name


class PixMo:
    """Photos by their addresses; satisfies `PhotoSource`.

    A member's path is the first 32 hexadecimal digits of its address's SHA-256. No person looked for all objects
    of these photos, so none counts as labelled: points and counts speak of their own classes alone.

    Args:
        config: Its section of `forge.yaml`.
        index: Opens the index.
        downloads: Folder of what was fetched.
    """

    def __init__(self, config: PixMoConfig, index: Callable[[], LabelIndex], downloads: Path) -> None:
        self.threads = config.download.concurrency
        self._config = config
        self._index = index
        self._downloads = downloads
        self._open: list[Downloader] = []
        self._closed: Counter[str] = Counter()

    def list_photos(self) -> list[Member]:
        """One photo for each distinct address, sorted by path; whether it can be had tells when it is read.

        Raises:
            SourceError: if the tables cannot be used.
        """
        photos = self._index().photos().select("key", "version").collect()
        return [Member(key, 0, version) for key, version in photos.iter_rows()]

    @contextmanager
    def open_shard(self, members: Sequence[Member]) -> Generator["PixMoShard"]:
        """The reader of these photos and of what was said of them.

        Raises:
            SourceError: if the tables cannot be used.
        """
        known = self._index().shard([member.path for member in members])
        with self._downloader() as downloader:
            self._open.append(downloader)
            try:
                yield PixMoShard(downloader, known)
            finally:
                self._open.remove(downloader)
                self._closed.update(_figures(downloader.counts))

    def written(self, members: Sequence[Member]) -> None:
        """Forget the photos' bytes, unless the configuration keeps them; dead addresses stay remembered.

        Raises:
            SourceError: if the folder of downloads cannot be written.
        """
        if self._config.download.keep:
            return
        known = self._index().shard([member.path for member in members])
        photos = filter(None, (known.photo(member.path) for member in members))
        with self._downloader() as downloader:
            downloader.forget(photo["url"] for photo in photos)

    def counts(self) -> Mapping[str, int]:
        """Downloads so far: asked for, answered from the cache, bytes, tries again, and refusals by rule."""
        figures = self._closed.copy()
        for downloader in tuple(self._open):
            figures.update(_figures(downloader.counts))
        return dict(sorted(figures.items()))

    def _downloader(self) -> Downloader:
        return Downloader(self._config.download, self._downloads, max_bytes=self._config.max_bytes)


class PixMoShard:
    """Photos of one shard, fetched as they are asked for; satisfies `ShardReader`."""

    def __init__(self, downloader: Downloader, known: IndexedPhotos) -> None:
        self._downloader = downloader
        self._known = known

    def read(self, member: Member) -> SourcePhoto:
        """One photo, fetched or from the cache.

        Raises:
            OSError: if the tables do not name it any more.
            UnusablePhoto: as `Downloader.fetch` does.
        """
        photo = self._known.photo(member.path)
        if photo is None:
            raise FileNotFoundError(f"the tables name no photo {member.path}")
        return SourcePhoto(self._downloader.fetch(photo["url"], photo["sha256"]))

    def labels(self, member: Member, width: int, height: int) -> PhotoLabels:
        """Points and counts of a photo, given its upright width and height in pixels."""
        return self._known.labels(member.path, width, height)


def _figures(counts: DownloadCounts) -> Counter[str]:
    by_rule = {f"download_refused_{rule}": count for rule, count in counts.by_rule.items()}
    return Counter(
        {
            "downloads_asked": counts.asked,
            "downloads_from_cache": counts.from_cache,
            "download_bytes": counts.bytes,
            "download_retries": counts.retries,
            **by_rule,
        }
    )
