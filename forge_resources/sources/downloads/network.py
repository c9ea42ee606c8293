"""The network as downloads see it: names resolved once, private addresses refused, no try without an end."""

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

import httpcore

from forge_resources.images import UnusablePhoto

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOW_32_BITS: Final = 0xFFFF_FFFF
_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})

Resolver = Callable[[str, int], Sequence[str]]
"""IP addresses of a host, given its name and the port. Raises socket.gaierror where there are none."""


def system_addresses(host: str, port: int) -> list[str]:
    """IP addresses of a host, in the order in which the system would try them.

    Raises:
        socket.gaierror: if the name does not resolve.
        UnicodeError: if it can be no host name.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet.

    An IPv6 address that carries an IPv4 address (mapped, 6to4 of RFC 3056, NAT64 of RFC 6052) is what that one is.
    Multicast is not public, nor is IPv6 outside 2000::/3.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv4Address):
        return ip.is_global and not ip.is_multicast
    carried = ip.ipv4_mapped or ip.sixtofour or _translated(ip)
    return is_public(str(carried)) if carried else ip in _GLOBAL_UNICAST and ip.is_global


def _translated(ip: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(ip) & _LOW_32_BITS) if ip in _NAT64 else None


class TimeLimit(threading.local):
    """When the try that this thread makes must be over, however slowly its bytes trickle."""

    def __init__(self) -> None:
        self._end = math.inf

    @contextmanager
    def of(self, seconds: float) -> Generator[None]:
        """Limit what this thread does inside to so many seconds."""
        self._end = time.monotonic() + seconds
        try:
            yield
        finally:
            self._end = math.inf

    def left(self, timeout: float | None) -> float | None:
        """Seconds that one operation may take, none for ever.

        Raises:
            httpcore.TimeoutException: if the limit is passed.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.TimeoutException("the try as a whole took too long")
        return timeout if left == math.inf else min(left, timeout or left)


class GuardedNetwork(httpcore.NetworkBackend):
    """TCP connections to public addresses alone.

    A name is resolved once for a connection, all its addresses are checked, and the connection is made to a
    checked address, so that a name cannot change its address in between. TLS verifies the name, not the address.
    """

    def __init__(self, resolve: Resolver, *, allow_private: bool) -> None:
        self.time_limit = TimeLimit()
        self._resolve = resolve
        self._allow_private = allow_private
        self._tcp = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers; they share the seconds of `timeout`.

        Raises:
            UnusablePhoto: by rule `url_refused` or `dead_link`.
            httpcore.ConnectError: if no address takes the connection, or the name cannot be resolved now.
            httpcore.TimeoutException: if none answers in time.
        """
        addresses = self._addresses(host, port)
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in addresses:
            left = self.time_limit.left(timeout)
            share = None if left is None else left / len(addresses)
            try:
                stream = self._tcp.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _LimitedStream(stream, self.time_limit)
        raise failure or UnusablePhoto("dead_link", f"{host}: the name has no address")

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._resolve(host, port)
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME:
                raise UnusablePhoto("dead_link", f"{host}: the name does not resolve") from error
            raise httpcore.ConnectError(f"{host}: the name cannot be resolved now ({error.strerror})") from error
        except UnicodeError as error:
            raise UnusablePhoto("url_refused", f"{host!r} is no host name") from error
        private = [] if self._allow_private else [address for address in addresses if not is_public(address)]
        if private:
            raise UnusablePhoto("url_refused", f"{host}: {private[0]} is not a public address")
        return addresses


class _LimitedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, limit: TimeLimit) -> None:
        self._stream = stream
        self._limit = limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._limit.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._limit.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            secured = self._stream.start_tls(ssl_context, server_hostname, self._limit.left(timeout))
        except httpcore.ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise UnusablePhoto("dead_link", f"{server_hostname}: {error.__cause__.verify_message}") from error
            raise
        return _LimitedStream(secured, self._limit)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's interface
        return self._stream.get_extra_info(info)
