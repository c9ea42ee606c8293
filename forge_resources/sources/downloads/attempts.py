"""One try to fetch a photo: the request, its redirects, and what the answer means."""

import re
import ssl
import zlib
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import Final
from urllib.parse import urljoin

import httpcore
import httpx

from forge_resources.config import DownloadConfig
from forge_resources.images import UnusablePhoto
from forge_resources.sources.downloads.network import GuardedNetwork
from forge_resources.sources.downloads.slots import KeyedSlots

_WITH_BODY: Final = frozenset({200, 203, 204})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAY_PASS: Final = frozenset({202, 206, 408, 421, 425, 429})
_FIRST_SERVER_ERROR: Final = 500
_HIGHEST_PORT: Final = 65_535
_LOCATION_SHOWN: Final = 200
_CONNECTIONS_PER_HOST: Final = 8
_IDLE_SECONDS: Final = 5.0
_LONGEST_TRY: Final = 20
"""Times the timeout between two bytes."""
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32


class MayPassError(Exception):
    """A try that failed for a reason that may pass.

    Attributes:
        retry_after_s: Seconds that the server asks to be left alone; 0 where it does not say.
    """

    def __init__(self, detail: str, retry_after_s: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class PhotoRequests:
    """Requests over one pool of connections. Threads may use it at once.

    No proxy, cookie, credential or cache of the environment is used: nothing leads around the guarded network.
    At most 8 connections go to one host at once. A try ends after 20 times the configured timeout, so that a
    server that sends a byte now and then holds no thread for ever.
    """

    def __init__(
        self, config: DownloadConfig, network: GuardedNetwork, ssl_context: ssl.SSLContext, *, max_bytes: int
    ) -> None:
        self._config = config
        self._network = network
        self._max_bytes = max_bytes
        self._hosts = KeyedSlots(_CONNECTIONS_PER_HOST)
        self._headers = {"User-Agent": config.user_agent, "Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}
        self._timeouts = {"connect": config.timeout_s, "read": config.timeout_s, "write": config.timeout_s}
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=config.concurrency,
            max_keepalive_connections=config.concurrency,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=network,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def get(self, address: str) -> bytes:
        """The bytes behind an address, in one try.

        Raises:
            UnusablePhoto: by rule `url_refused`, `dead_link`, `too_many_bytes` or `empty_file`.
            MayPassError: if another try may go better.
        """
        url = checked_url(address)
        with self._network.time_limit.of(_LONGEST_TRY * self._config.timeout_s):
            for _ in range(self._config.max_redirects + 1):
                answer = self._ask(url)
                if isinstance(answer, bytes):
                    return answer
                url = _redirected(url, answer)
        raise UnusablePhoto("dead_link", f"more than {self._config.max_redirects} redirects")

    def _ask(self, url: httpx.URL) -> bytes | str:
        """The body of the answer, or where it redirects to."""
        try:
            with (
                self._hosts.of(url.host),
                self._pool.stream(
                    "GET",
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers={"Host": url.netloc, **self._headers},
                    extensions={"timeout": self._timeouts},
                ) as response,
            ):
                return self._answer(response)
        except httpcore.LocalProtocolError as error:
            raise UnusablePhoto("url_refused", f"no request can ask for it: {error}") from error
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise MayPassError(f"{url.host}: {error or type(error).__name__}") from error

    def _answer(self, response: httpcore.Response) -> bytes | str:
        status = response.status
        headers = httpx.Headers(response.headers)
        if status in _REDIRECTS and "location" in headers:
            return headers["location"]
        if status in _MAY_PASS or status >= _FIRST_SERVER_ERROR:
            raise MayPassError(f"HTTP {status}", retry_after_s(headers))
        if status not in _WITH_BODY:
            raise UnusablePhoto("dead_link", f"HTTP {status}")
        if int(headers.get("content-length", "0")) > self._max_bytes:
            raise self._too_many_bytes()
        data = self._decoded(self._body(response), headers.get("content-encoding", "identity"))
        if not data:
            raise UnusablePhoto("empty_file", "0 bytes")
        return data

    def _body(self, response: httpcore.Response) -> bytes:
        body = bytearray()
        for part in response.iter_stream():
            body += part
            if len(body) > self._max_bytes:
                raise self._too_many_bytes()
        return bytes(body)

    def _decoded(self, body: bytes, encoding: str) -> bytes:
        if encoding.strip().lower() in {"", "identity"} or not body:
            return body
        if encoding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
            raise UnusablePhoto("dead_link", f"answers in the encoding {encoding!r}, which was not asked for")
        decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            data = decoder.decompress(body, self._max_bytes + 1)
        except zlib.error as error:
            raise MayPassError(f"the body is no {encoding}: {error}") from error
        if len(data) > self._max_bytes:
            raise self._too_many_bytes()
        if not decoder.eof:
            raise MayPassError(f"the body ends in the middle of its {encoding}")
        return data

    def _too_many_bytes(self) -> UnusablePhoto:
        return UnusablePhoto("too_many_bytes", f"more than {self._max_bytes} bytes")


def checked_url(address: str) -> httpx.URL:
    """Read an address that may be asked: http or https, with a host, without credentials.

    Raises:
        UnusablePhoto: by rule `url_refused`.
    """
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise UnusablePhoto("url_refused", str(error)) from error
    if url.scheme not in {"http", "https"}:
        raise UnusablePhoto("url_refused", f"scheme {url.scheme!r} is neither http nor https")
    if not url.host:
        raise UnusablePhoto("url_refused", "no host")
    if url.userinfo:
        raise UnusablePhoto("url_refused", "credentials in the address")
    if (url.port or 0) > _HIGHEST_PORT:
        raise UnusablePhoto("url_refused", f"no port {url.port}")
    return url


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return checked_url(urljoin(str(url), location))
    except ValueError as error:
        reason = error.detail if isinstance(error, UnusablePhoto) else str(error)
        raise UnusablePhoto("url_refused", f"redirected to {_without_secrets(location)!r}: {reason}") from None


def _without_secrets(location: str) -> str:
    """The beginning of an address, without the user, password and query that may stand in it."""
    address = re.split(r"[?#]", location, maxsplit=1)[0]
    return re.sub(r"//[^/]*@", "//", address)[:_LOCATION_SHOWN]


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds of an answer's Retry-After (RFC 9110, 10.2.3); 0 where it has none that can be read.

    A date is counted from the answer's own Date.

    Args:
        headers: By lower-case name.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    then, now = parsedate_tz(value), parsedate_tz(headers.get("date", ""))
    return 0.0 if then is None or now is None else float(max(0, mktime_tz(then) - mktime_tz(now)))
