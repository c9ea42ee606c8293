import socket
import ssl
import tempfile
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import httpcore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_resources.config import DownloadConfig
from forge_resources.images import UnusablePhoto
from forge_resources.sources.downloads import Downloader
from forge_resources.sources.downloads.network import TimeLimit, is_public

PUBLIC, OTHER_PUBLIC = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
PHOTO = b"\xff\xd8\xff a photo"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.headers["Host"], self.path))
        location = self.server.redirects.get(self.path)
        self.send_response(302 if location else 200)
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(PHOTO)

    def log_message(self, *_):
        pass


class IPv6Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def serving(kind=ThreadingHTTPServer, host="127.0.0.1", context=None):
    server = kind((host, 0), Answers)
    server.asked, server.redirects = [], {}
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server():
    with serving() as server:
        yield server


class Names:
    """A resolver that gives the addresses of its list, one answer a question."""

    def __init__(self, *answers):
        self.answers, self.questions = list(answers), []

    def __call__(self, host, port):
        self.questions.append((host, port))
        return self.answers.pop(0)


class Diverted(httpcore.NetworkBackend):
    """Notes which address is wanted, and connects to the test's own server instead."""

    def __init__(self, server, unreachable=()):
        self.server, self.unreachable, self.wanted, self.timeouts = server, unreachable, [], []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.wanted.append((host, port))
        self.timeouts.append(timeout)
        if host in self.unreachable:
            raise httpcore.ConnectTimeout("unreachable")
        return httpcore.SyncBackend().connect_tcp(
            "127.0.0.1", self.server.server_port, timeout, local_address, socket_options
        )


@contextmanager
def opened(tmp_path, *, diverted=None, private=False, **injected):
    config = DownloadConfig(allow_private_addresses=private, max_attempts=1, timeout_s=10)
    with Downloader(config, tmp_path / "cache", max_bytes=1000, **injected) as downloader:
        if diverted:
            downloader._requests._network._tcp = diverted
        yield downloader


def refusal(downloader, url):
    with pytest.raises(UnusablePhoto) as caught:
        downloader.fetch(url)
    return caught.value


@pytest.mark.parametrize("address", [PUBLIC, OTHER_PUBLIC, "8.8.8.8", f"::ffff:{PUBLIC}", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:0:127.0.0.1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "fc00::1",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_addresses_of_a_machine_or_a_house_are_not(address):
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_the_clothes_of_ipv6_is_what_it_is(ip):
    bare = is_public(str(ip))
    assert is_public(f"::ffff:{ip}") == bare
    assert is_public(str(IPv6Address(int(IPv6Address("64:ff9b::")) + int(ip)))) == bare
    assert is_public(str(IPv6Address((0x2002 << 112) + (int(ip) << 80)))) == bare


@given(st.ip_addresses(v=4, network="127.0.0.0/8") | st.ip_addresses(v=4, network="10.0.0.0/8"))
def test_no_private_ipv4_address_is_public(ip):
    assert not is_public(str(IPv4Address(ip)))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::]",
        "\uff11\uff12\uff17.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[fe80::1]",
    ],
)
def test_no_spelling_of_a_private_address_is_asked(tmp_path, server, host):
    with opened(tmp_path) as downloader:
        assert refusal(downloader, f"http://{host}:{server.server_port}/photo").rule == "url_refused"
    assert server.asked == []


def test_a_name_that_resolves_to_a_private_address_is_refused(tmp_path, server):
    with opened(tmp_path, resolve=Names(["127.0.0.1"])) as downloader:
        problem = refusal(downloader, f"http://photos.example:{server.server_port}/photo")
    assert (problem.rule, problem.detail) == ("url_refused", "photos.example: 127.0.0.1 is not a public address")
    assert server.asked == []


@settings(deadline=None)
@given(
    scheme=st.sampled_from(["http://", "https://", "http:", "//", ""]),
    rest=st.text("ab0179.-_:[]%@/\\?#xü \n") | st.text(),
)
def test_no_text_whatsoever_gets_past_the_guard(scheme, rest):
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder), resolve=lambda *_: ["127.0.0.1"]) as downloader:
        assert refusal(downloader, scheme + rest).rule == "url_refused"


def test_one_private_address_among_public_ones_is_enough_to_refuse(tmp_path, server):
    diverted = Diverted(server)
    with opened(tmp_path, diverted=diverted, resolve=Names([PUBLIC, "10.0.0.1"])) as downloader:
        assert refusal(downloader, "http://photos.example/photo").rule == "url_refused"
    assert diverted.wanted == []


def test_a_redirect_from_a_public_host_to_a_private_one_is_refused(tmp_path, server):
    server.redirects["/photo"] = f"http://inside.example:{server.server_port}/secret"
    names = Names([PUBLIC], ["127.0.0.1"])
    with opened(tmp_path, diverted=Diverted(server), resolve=names) as downloader:
        problem = refusal(downloader, "http://photos.example/photo")
    assert (problem.rule, problem.detail) == ("url_refused", "inside.example: 127.0.0.1 is not a public address")
    assert server.asked == [("photos.example", "/photo")]


def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to(tmp_path, server):
    rebinding, diverted = Names([PUBLIC], ["127.0.0.1"]), Diverted(server)
    with opened(tmp_path, diverted=diverted, resolve=rebinding) as downloader:
        assert downloader.fetch("http://photos.example/first") == PHOTO
        assert rebinding.questions == [("photos.example", 80)]
        assert diverted.wanted == [(PUBLIC, 80)]
        assert refusal(downloader, "http://photos.example/second").rule == "url_refused"
    assert diverted.wanted == [(PUBLIC, 80)]
    assert server.asked == [("photos.example", "/first")]


def test_the_next_address_is_tried_and_all_share_the_timeout(tmp_path, server):
    diverted = Diverted(server, unreachable={OTHER_PUBLIC})
    with opened(tmp_path, diverted=diverted, resolve=Names([OTHER_PUBLIC, PUBLIC])) as downloader:
        assert downloader.fetch("http://photos.example/photo") == PHOTO
    assert [host for host, _ in diverted.wanted] == [OTHER_PUBLIC, PUBLIC]
    assert diverted.timeouts == [5, 5]


def test_private_addresses_are_asked_where_that_is_allowed_and_the_other_checks_stay(tmp_path, server):
    server.redirects["/moved"] = "file:///etc/passwd"
    root = f"http://localhost:{server.server_port}"
    with opened(tmp_path, private=True) as downloader:
        assert downloader.fetch(f"{root}/photo") == PHOTO
        assert refusal(downloader, f"{root}/moved").rule == "url_refused"


def test_a_literal_ipv6_address_is_asked_by_its_own_name(tmp_path):
    with serving(IPv6Server, "::1") as server, opened(tmp_path, private=True) as downloader:
        assert downloader.fetch(f"http://[::1]:{server.server_port}/photo") == PHOTO
        assert server.asked == [(f"[::1]:{server.server_port}", "/photo")]


@pytest.mark.parametrize(
    ("errno", "rule", "remembered"),
    [
        (socket.EAI_NONAME, "dead_link", {"dead_link": 1}),
        (socket.EAI_NODATA, "dead_link", {"dead_link": 1}),
        (socket.EAI_AGAIN, "download_failed", {}),
    ],
)
def test_a_name_that_does_not_exist_is_dead_and_one_that_cannot_be_resolved_now_is_not(
    tmp_path, errno, rule, remembered
):
    def resolve(*_):
        raise socket.gaierror(errno, "no answer")

    with opened(tmp_path, resolve=resolve) as downloader:
        assert refusal(downloader, "http://photos.example/photo").rule == rule
        assert downloader.remembered() == remembered


def test_a_name_without_an_address_is_dead(tmp_path):
    with opened(tmp_path, resolve=Names([])) as downloader:
        assert refusal(downloader, "http://photos.example/photo").rule == "dead_link"


def test_a_time_limit_shortens_timeouts_and_then_ends_the_try():
    limit = TimeLimit()
    assert limit.left(3) == 3
    assert limit.left(None) is None
    with limit.of(60):
        assert limit.left(3) == 3
        assert 59 < limit.left(None) <= 60
    with limit.of(0), pytest.raises(httpcore.TimeoutException):
        limit.left(3)
    assert limit.left(3) == 3


def test_a_time_limit_is_that_of_its_own_thread():
    limit, seen = TimeLimit(), []
    with limit.of(1):
        thread = threading.Thread(target=lambda: seen.append(limit.left(None)))
        thread.start()
        thread.join()
    assert seen == [None]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of `photos.example` and its key, as one PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "photos.example")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("photos.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "photos.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def secure_server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context=context) as server:
        yield server


def test_tls_verifies_the_name_though_the_connection_goes_to_the_address(tmp_path, secure_server, certificate):
    trusting, diverted = ssl.create_default_context(cafile=str(certificate)), Diverted(secure_server)
    names = Names([PUBLIC], [PUBLIC])
    with opened(tmp_path, diverted=diverted, resolve=names, ssl_context=trusting) as downloader:
        assert downloader.fetch("https://photos.example/photo") == PHOTO
        problem = refusal(downloader, "https://other.example/photo")
    assert problem.rule == "dead_link"
    assert "other.example" in problem.detail
    assert diverted.wanted == [(PUBLIC, 443)] * 2
    assert secure_server.asked == [("photos.example", "/photo")]


def test_a_certificate_that_nobody_vouches_for_is_a_dead_link(tmp_path, secure_server):
    diverted = Diverted(secure_server)
    with opened(tmp_path, diverted=diverted, resolve=Names([PUBLIC])) as downloader:
        problem = refusal(downloader, "https://photos.example/photo")
    assert problem.rule == "dead_link"
    assert "self-signed" in problem.detail
    assert secure_server.asked == []
