"""Photos by their addresses, for many threads at once."""

import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from forge_resources.config import DownloadConfig
from forge_resources.images import UnusablePhoto
from forge_resources.sources.downloads.attempts import MayPassError, PhotoRequests
from forge_resources.sources.downloads.cache import DownloadCache, is_sha256
from forge_resources.sources.downloads.network import GuardedNetwork, Resolver, system_addresses
from forge_resources.sources.downloads.slots import KeyedSlots

_LONGEST_WAIT_S: Final = 60.0
_growing_wait: Final = wait_exponential_jitter(initial=1, max=30, jitter=1)


@dataclass(frozen=True, slots=True)
class DownloadCounts:
    """What a downloader has done so far."""

    asked: int
    """Photos that were asked of it."""
    from_cache: int
    """Of them, those answered without the network: with a photo, or with the rule that is remembered."""
    bytes: int
    """Of photos that came over the network."""
    retries: int
    """Tries after the first."""
    by_rule: Mapping[str, int]
    """Photos that were refused, sorted by rule."""


class Downloader:
    """Fetches photos and remembers the outcome, so that an ingest that was killed goes on where it was.

    What stays true is remembered for the settings it was found under: photos, and all rules but `download_failed`.
    Proxies of the environment are not used: a proxy would resolve names itself, past the check of addresses.

    Args:
        config: How photos are fetched.
        cache: Folder of the memory; made when the first outcome is kept.
        max_bytes: Larger photos are refused, and no more of them is read.
        resolve: Addresses of a host; default, as the system has them.
        ssl_context: Whose certificates are trusted; default, the authorities that browsers trust, or those that
            SSL_CERT_FILE or SSL_CERT_DIR names.
        sleep: Waits so many seconds between two tries.
    """

    def __init__(
        self,
        config: DownloadConfig,
        cache: Path,
        *,
        max_bytes: int,
        resolve: Resolver = system_addresses,
        ssl_context: ssl.SSLContext | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        network = GuardedNetwork(resolve, allow_private=config.allow_private_addresses)
        self._requests = PhotoRequests(config, network, ssl_context or httpx.create_ssl_context(), max_bytes=max_bytes)
        self._cache = DownloadCache(cache, config, max_bytes=max_bytes)
        self._max_attempts = config.max_attempts
        self._retrying = Retrying(
            stop=stop_after_attempt(config.max_attempts),
            wait=seconds_to_wait,
            retry=retry_if_exception_type(MayPassError),
            before_sleep=lambda _: self._count("retries"),
            sleep=sleep,
            reraise=True,
        )
        self._urls = KeyedSlots(1)
        self._counting = threading.Lock()
        self._counted: Counter[str] = Counter()
        self._by_rule: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests.close()

    def fetch(self, url: str, sha256: str | None = None) -> bytes:
        """The bytes of one photo, from memory or from the network. Threads may call it at once.

        The answer's Content-Type is not asked: whether the bytes are a photo, the decoder says.

        Args:
            url: http or https, without credentials.
            sha256: That the bytes must have, in hexadecimal digits.

        Raises:
            UnusablePhoto: by rule `url_refused` (no address that may be asked, or redirected to such), `dead_link`
                (gone, forbidden, no such host, invalid certificate, too many redirects), `download_failed` (busy,
                broken or slow in all tries), `too_many_bytes`, `empty_file` or `wrong_sha256`.
            SourceError: if the cache cannot be read or written.
        """
        self._count("asked")
        try:
            with self._urls.of(url):
                return self._remembered(url, sha256) or self._downloaded(url, sha256)
        except UnusablePhoto as problem:
            with self._counting:
                self._by_rule[problem.rule] += 1
            raise

    def forget(self, urls: Iterable[str]) -> None:
        """Drop the kept bytes of these addresses, as after their shard was written; dead ones stay remembered.

        Raises:
            SourceError: if the cache cannot be written.
        """
        self._cache.forget(urls)

    def forget_dead(self, rules: Collection[str] | None = None) -> int:
        """Drop what is remembered of dead addresses, so that they are asked again.

        Args:
            rules: Only those that broke one of these; default, all.

        Returns:
            How many there were.

        Raises:
            SourceError: if the cache cannot be read or written.
        """
        return self._cache.forget_dead(rules)

    def remembered(self) -> dict[str, int]:
        """Addresses that will not be asked again under these settings, counted by rule, sorted by it."""
        return self._cache.remembered()

    @property
    def counts(self) -> DownloadCounts:
        """What was done so far."""
        with self._counting:
            return DownloadCounts(
                asked=self._counted["asked"],
                from_cache=self._counted["from_cache"],
                bytes=self._counted["bytes"],
                retries=self._counted["retries"],
                by_rule=dict(sorted(self._by_rule.items())),
            )

    def _remembered(self, url: str, sha256: str | None) -> bytes | None:
        data = self._cache.photo(url, sha256)
        problem = None if data else self._cache.dead(url, sha256)
        if data or problem:
            self._count("from_cache")
        if problem:
            raise problem
        return data

    def _downloaded(self, url: str, sha256: str | None) -> bytes:
        try:
            data = self._fetched(url, sha256)
        except UnusablePhoto as problem:
            if problem.rule != "download_failed":
                self._cache.keep_dead(url, problem, sha256)
            raise
        self._cache.keep_photo(url, data)
        return data

    def _fetched(self, url: str, sha256: str | None) -> bytes:
        try:
            data = self._retrying(self._requests.get, url)
        except MayPassError as error:
            raise UnusablePhoto("download_failed", f"{error}, in {self._max_attempts} tries") from error
        self._count("bytes", len(data))
        if sha256 is not None and not is_sha256(data, sha256):
            raise UnusablePhoto("wrong_sha256", f"the bytes are not those of SHA-256 {sha256}")
        return data

    def _count(self, name: str, amount: int = 1) -> None:
        with self._counting:
            self._counted[name] += amount


def seconds_to_wait(state: RetryCallState) -> float:
    """Seconds until the next try: growing, with jitter, and at least as the server asks, but never over a minute."""
    failure = state.outcome.exception() if state.outcome else None
    asked = failure.retry_after_s if isinstance(failure, MayPassError) else 0.0
    return min(max(asked, _growing_wait(state)), _LONGEST_WAIT_S)
