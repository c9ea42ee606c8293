import gzip
import hashlib
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from forge_resources.config import DownloadConfig
from forge_resources.images import UnusablePhoto, decode_upright
from forge_resources.sources.base import SourceError
from forge_resources.sources.downloads import Downloader
from forge_resources.sources.downloads.attempts import retry_after_s

DEAD_STATUSES = (400, 401, 403, 404, 405, 410, 451, 300, 304)

GARBAGE = (
    b"",
    b"ICY 200 OK\r\n\r\n",
    b"\x16\x03\x01\x00",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200_000,
    b"HTTP/1.1 429 Slow\r\nRetry-After: \xb2\r\n\r\n",
    b"HTTP/1.1 429 Slow\r\nRetry-After: Wed, 99 Foo 99999999 07:28:00 GMT\r\nDate: never\r\n\r\n",
    b"HTTP/1.1 999 What\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n",
)


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server.site
        with site.guard:
            site.asked[self.path] += 1
            site.headers[self.path] = dict(self.headers)
            site.now += 1
            site.most_at_once = max(site.most_at_once, site.now)
        try:
            getattr(self, self.path.split("/")[1].split("?")[0])()
        except (BrokenPipeError, ConnectionResetError):
            site.cut_by_client.set()
            self.close_connection = True
        finally:
            with site.guard:
                site.now -= 1

    def log_message(self, *_):
        pass

    @property
    def turn(self):
        return self.server.site.asked[self.path]

    @property
    def argument(self):
        return self.path.split("/")[2]

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def photo(self):
        self.reply(200, self.server.site.photo, Content_Type="image/jpeg")

    def lying_type(self):
        self.reply(200, self.server.site.photo, Content_Type="text/html")

    def slow_photo(self):
        time.sleep(0.05)
        self.photo()

    def status(self):
        self.reply(int(self.argument), b"sorry")

    def empty(self):
        self.reply(200)

    def no_content(self):
        self.send_response(204)
        self.end_headers()

    def twice_busy(self):
        self.reply(503) if self.turn <= 2 else self.photo()

    def limited(self):
        self.reply(429, Retry_After=self.argument) if self.turn == 1 else self.photo()

    def cut_once(self):
        if self.turn > 1:
            self.photo()
        else:
            self.reply(200, self.server.site.photo[:1000], Content_Length=len(self.server.site.photo))
            self.close_connection = True

    def silent(self):
        self.server.site.closing.wait()
        self.close_connection = True

    def trickle(self):
        self.send_response(200)
        self.end_headers()
        while not self.server.site.closing.wait(0.01):
            self.wfile.write(b"x")

    def trickled_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.server.site.closing.wait(0.01):
            self.wfile.write(b"x")

    def endless(self):
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x" * 65_536)

    def big(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000000")
        self.end_headers()
        self.server.site.closing.wait()

    def zipped(self):
        self.reply(200, gzip.compress(self.server.site.photo), Content_Encoding="gzip")

    def bomb(self):
        self.reply(200, gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")

    def half_zipped(self):
        self.reply(200, gzip.compress(self.server.site.photo)[:500], Content_Encoding="gzip")

    def brotli(self):
        self.reply(200, b"\x0b\x02\x80hello\x03", Content_Encoding="br")

    def moved(self):
        self.reply(301, b"elsewhere", Location="/photo/moved")

    def moved_to_an_umlaut(self):
        self.wfile.write("HTTP/1.1 302 Found\r\nLocation: /photo/grün\r\nContent-Length: 0\r\n\r\n".encode())

    def moved_twice(self):
        self.reply(302, Location="/moved")

    def loop(self):
        self.reply(302, Location=f"/loop/{self.turn}?{self.path}"[:60])

    def moved_to_a_file(self):
        self.reply(302, Location="file:///etc/passwd")

    def moved_to_ftp(self):
        self.reply(302, Location="ftp://127.0.0.1/photo")

    def moved_to_credentials(self):
        self.reply(302, Location=f"http://me:secret@127.0.0.1:{self.server.server_port}/photo/secret")

    def moved_to_nonsense(self):
        self.reply(302, Location="http://[nonsense/")

    def moved_to_other_host(self):
        self.reply(307, Location=f"http://localhost:{self.server.server_port}/photo/other-host")

    def moved_nowhere(self):
        self.reply(302)

    def garbage(self):
        self.wfile.write(GARBAGE[int(self.argument)])
        self.close_connection = True

    def cookie(self):
        self.reply(200, self.server.site.photo, Set_Cookie="tracked=yes")


class Site:
    def __init__(self, photo):
        self.photo = photo
        self.asked = Counter()
        self.headers = {}
        self.now = self.most_at_once = 0
        self.guard = threading.Lock()
        self.closing = threading.Event()
        self.cut_by_client = threading.Event()
        self.root = ""

    @property
    def requests(self):
        return self.asked.total()


@pytest.fixture
def site(photos):
    site = Site((photos / "bus.jpg").read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.site = site
    site.root = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    site.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def opened(tmp_path, waits):
    """Opens downloaders over one cache, `tmp_path / "cache"`, that note their waits instead of waiting."""

    @contextmanager
    def open_downloader(*, max_bytes=1_000_000, **settings):
        config = DownloadConfig(**{"allow_private_addresses": True, **settings})
        with Downloader(config, tmp_path / "cache", max_bytes=max_bytes, sleep=waits.append) as downloader:
            yield downloader

    return open_downloader


@pytest.fixture
def downloader(opened):
    with opened() as downloader:
        yield downloader


def refusal(downloader, url, sha256=None):
    with pytest.raises(UnusablePhoto) as caught:
        downloader.fetch(url, sha256)
    return caught.value


def kept(tmp_path):
    return sorted(path.name.split(".", 1)[1] for path in (tmp_path / "cache").rglob("*.*") if path.is_file())


def test_a_photo_comes_as_it_is_served(downloader, site):
    data = downloader.fetch(f"{site.root}/photo")
    assert data == site.photo
    assert decode_upright(data).shape == (1080, 810, 3)
    assert downloader.counts.asked == 1
    assert downloader.counts.bytes == len(site.photo)
    assert downloader.counts.retries == downloader.counts.from_cache == 0


def test_the_server_learns_who_asks_and_no_cookie_comes_back_to_it(opened, site):
    with opened(user_agent="forge (mail@example.org)") as downloader:
        downloader.fetch(f"{site.root}/cookie/1")
        downloader.fetch(f"{site.root}/cookie/2")
    sent = site.headers["/cookie/2"]
    assert sent["User-Agent"] == "forge (mail@example.org)"
    assert sent["Accept-Encoding"] == "identity"
    assert "Cookie" not in sent


def test_a_lying_content_type_is_left_to_the_decoder(downloader, site):
    assert downloader.fetch(f"{site.root}/lying_type") == site.photo


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch, downloader, site):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert downloader.fetch(f"{site.root}/photo") == site.photo


@pytest.mark.parametrize("status", DEAD_STATUSES)
def test_what_is_gone_or_forbidden_is_a_dead_link_and_asked_once(downloader, site, status):
    for _ in range(2):
        problem = refusal(downloader, f"{site.root}/status/{status}")
        assert (problem.rule, problem.detail) == ("dead_link", f"HTTP {status}")
    assert site.requests == 1
    assert downloader.counts.from_cache == 1
    assert downloader.counts.by_rule == {"dead_link": 2}


def test_a_busy_server_is_asked_again_with_growing_waits(downloader, site, waits):
    assert downloader.fetch(f"{site.root}/twice_busy") == site.photo
    assert 1 <= waits[0] <= 2 <= waits[1] <= 3
    assert downloader.counts.retries == 2


@pytest.mark.parametrize(("asked", "waited"), [(7, (7, 7)), (100_000, (60, 60)), (0, (1, 2))])
def test_a_limit_of_the_server_is_respected_up_to_a_minute(downloader, site, waits, asked, waited):
    assert downloader.fetch(f"{site.root}/limited/{asked}") == site.photo
    assert waited[0] <= waits[0] <= waited[1]


def test_retry_after_as_a_date_counts_from_the_date_of_the_answer():
    sent = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": sent}) == 30
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT", "date": sent}) == 0
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}) == 0
    assert retry_after_s({"retry-after": "soon", "date": sent}) == 0
    assert retry_after_s({}) == 0


def test_a_broken_server_fails_after_all_tries_and_is_asked_again_later(opened, site, tmp_path):
    url = f"{site.root}/status/500"
    for turn in (1, 2):
        with opened(max_attempts=3) as downloader:
            problem = refusal(downloader, url)
            assert (problem.rule, problem.detail) == ("download_failed", "HTTP 500, in 3 tries")
            assert downloader.remembered() == {}
        assert site.requests == 3 * turn
    assert kept(tmp_path) == []


def test_a_body_cut_in_the_middle_is_fetched_again(downloader, site):
    assert downloader.fetch(f"{site.root}/cut_once") == site.photo
    assert downloader.counts.retries == 1


@pytest.mark.parametrize("kind", range(len(GARBAGE)))
def test_a_server_that_speaks_nonsense_fails_and_breaks_nothing(opened, site, kind):
    with opened(max_attempts=2) as downloader:
        assert refusal(downloader, f"{site.root}/garbage/{kind}").rule == "download_failed"
        assert downloader.fetch(f"{site.root}/photo") == site.photo


def test_a_port_where_nobody_listens_fails_for_now(opened):
    with opened(max_attempts=2) as downloader:
        assert refusal(downloader, "http://127.0.0.1:9/photo").rule == "download_failed"


@pytest.mark.parametrize("path", ["silent", "trickle", "trickled_headers"])
def test_a_server_without_an_end_holds_no_thread_for_ever(opened, site, path):
    with opened(max_attempts=1, timeout_s=0.05, max_bytes=10**9) as downloader:
        assert refusal(downloader, f"{site.root}/{path}").rule == "download_failed"


def test_an_endless_body_is_cut_at_the_limit(opened, site):
    with opened(max_bytes=100_000) as downloader:
        assert refusal(downloader, f"{site.root}/endless").rule == "too_many_bytes"
        assert site.cut_by_client.wait(10)
        assert downloader.counts.bytes == 0


def test_a_promised_size_over_the_limit_is_not_read_at_all(downloader, site):
    assert refusal(downloader, f"{site.root}/big").rule == "too_many_bytes"


def test_a_photo_of_just_the_limit_passes(opened, site):
    with opened(max_bytes=len(site.photo)) as downloader:
        assert downloader.fetch(f"{site.root}/photo") == site.photo


def test_an_unasked_compression_is_undone_within_the_limit(opened, site):
    with opened(max_attempts=1) as downloader:
        assert downloader.fetch(f"{site.root}/zipped") == site.photo
        assert refusal(downloader, f"{site.root}/bomb").rule == "too_many_bytes"
        assert refusal(downloader, f"{site.root}/half_zipped").rule == "download_failed"
        assert refusal(downloader, f"{site.root}/brotli").rule == "dead_link"


@pytest.mark.parametrize("path", ["empty", "no_content"])
def test_an_empty_body_is_an_empty_file(downloader, site, path):
    assert refusal(downloader, f"{site.root}/{path}").rule == "empty_file"
    assert downloader.remembered() == {"empty_file": 1}


def test_redirects_are_followed_to_other_paths_and_hosts(downloader, site):
    assert downloader.fetch(f"{site.root}/moved_twice") == site.photo
    assert downloader.fetch(f"{site.root}/moved_to_other_host") == site.photo
    assert site.asked["/photo/other-host"] == 1
    assert downloader.fetch(f"{site.root}/moved_to_an_umlaut") == site.photo
    assert site.asked["/photo/gr%C3%BCn"] == 1


def test_redirects_end_at_the_configured_number(opened, site):
    with opened(max_redirects=3) as downloader:
        problem = refusal(downloader, f"{site.root}/loop")
        assert (problem.rule, problem.detail) == ("dead_link", "more than 3 redirects")
    assert site.requests == 4
    with opened(max_redirects=0) as downloader:
        assert refusal(downloader, f"{site.root}/moved").rule == "dead_link"


@pytest.mark.parametrize("path", ["moved_to_a_file", "moved_to_ftp", "moved_to_credentials", "moved_to_nonsense"])
def test_a_redirect_to_what_may_not_be_asked_is_refused(downloader, site, path):
    problem = refusal(downloader, f"{site.root}/{path}")
    assert problem.rule == "url_refused"
    assert "redirected to" in problem.detail
    assert "me:secret" not in problem.detail
    assert site.asked["/photo/secret"] == 0


def test_a_redirect_to_nowhere_is_a_dead_link(downloader, site):
    assert refusal(downloader, f"{site.root}/moved_nowhere").rule == "dead_link"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "photo.jpg",
        "//127.0.0.1/photo.jpg",
        "file:///etc/passwd",
        "ftp://127.0.0.1/photo.jpg",
        "data:image/png;base64,AAAA",
        "http://",
        "http:///photo.jpg",
        "http://me:secret@127.0.0.1/photo.jpg",
        "http://127.0.0.1:99999/photo.jpg",
        "http://127.0.0.1:port/photo.jpg",
        "http://127.0.0.1/pho\nto.jpg",
        "http://a..b/photo.jpg",
        f"http://{'a' * 64}.example/photo.jpg",
    ],
)
def test_an_address_that_may_not_be_asked_is_refused(downloader, url):
    problem = refusal(downloader, url)
    assert problem.rule == "url_refused"
    assert "secret" not in problem.detail


def test_an_address_in_letters_of_any_script_is_asked_in_percent_signs(downloader, site):
    assert downloader.fetch(f"{site.root}/photo/grün und größer.jpg?s=ü%20b#top") == site.photo
    assert site.asked["/photo/gr%C3%BCn%20und%20gr%C3%B6%C3%9Fer.jpg?s=%C3%BC%20b"] == 1


def test_bytes_of_another_sha256_are_refused_and_not_asked_again(downloader, site):
    url, right = f"{site.root}/photo", hashlib.sha256(site.photo).hexdigest()
    for _ in range(2):
        assert refusal(downloader, url, "0" * 64).rule == "wrong_sha256"
    assert site.requests == 1
    assert downloader.fetch(url, right.upper()) == site.photo
    assert site.requests == 2
    assert downloader.remembered() == {}


def test_a_remembered_photo_is_checked_again(downloader, site, tmp_path):
    url, right = f"{site.root}/photo", hashlib.sha256(site.photo).hexdigest()
    downloader.fetch(url, right)
    (file,) = (tmp_path / "cache").rglob("*.bin")
    file.write_bytes(b"rotten")
    assert downloader.fetch(url, right) == site.photo
    assert file.read_bytes() == site.photo
    assert site.requests == 2
    assert downloader.counts.from_cache == 0


def test_a_second_run_asks_nothing_that_is_known(opened, site):
    urls = [f"{site.root}/{path}" for path in ("photo", "status/404", "empty", "moved_to_ftp")]
    for _ in range(2):
        with opened() as downloader:
            assert downloader.fetch(urls[0]) == site.photo
            assert [refusal(downloader, url).rule for url in urls[1:]] == ["dead_link", "empty_file", "url_refused"]
    assert site.requests == 4
    assert downloader.counts.from_cache == 4
    assert downloader.counts.by_rule == {"dead_link": 1, "empty_file": 1, "url_refused": 1}
    assert downloader.remembered() == {"dead_link": 1, "empty_file": 1, "url_refused": 1}


def test_forgetting_photos_keeps_the_memory_of_dead_links(downloader, site, tmp_path):
    alive, dead = f"{site.root}/photo", f"{site.root}/status/404"
    downloader.fetch(alive)
    refusal(downloader, dead)
    downloader.forget([alive, dead, f"{site.root}/never-asked"])
    assert kept(tmp_path) == ["dead.json"]
    downloader.fetch(alive)
    refusal(downloader, dead)
    assert site.asked == {"/photo": 2, "/status/404": 1}


def test_dead_links_can_be_forgotten_all_or_by_rule(downloader, site):
    urls = [f"{site.root}/{path}" for path in ("status/404", "status/410", "empty")]
    for url in urls:
        refusal(downloader, url)
    assert downloader.forget_dead({"empty_file"}) == 1
    assert downloader.remembered() == {"dead_link": 2}
    assert downloader.forget_dead() == 2
    assert downloader.forget_dead() == 0
    for url in urls:
        refusal(downloader, url)
    assert site.requests == 6


def test_a_larger_limit_asks_again_for_what_was_too_large(opened, site):
    url = f"{site.root}/photo"
    with opened(max_bytes=1000) as downloader:
        assert refusal(downloader, url).rule == "too_many_bytes"
    with opened() as downloader:
        assert downloader.remembered() == {}
        assert downloader.fetch(url) == site.photo
    with opened(max_bytes=1000) as downloader:
        assert refusal(downloader, url).rule == "too_many_bytes"


def test_permission_for_private_addresses_is_part_of_the_memory(opened, site):
    url = f"{site.root}/photo"
    for _ in range(2):
        with opened(allow_private_addresses=False) as guarded:
            assert refusal(guarded, url).rule == "url_refused"
        with opened(allow_private_addresses=True) as free:
            assert free.fetch(url) == site.photo
    assert site.requests == 1


def test_a_record_that_cannot_be_read_is_asked_again(downloader, site, tmp_path, caplog):
    url = f"{site.root}/status/404"
    refusal(downloader, url)
    (record,) = (tmp_path / "cache").rglob("*.dead.json")
    record.write_text("{")
    assert refusal(downloader, url).rule == "dead_link"
    assert "asked again" in caplog.text
    assert site.requests == 2


def test_a_cache_that_cannot_be_written_stops_the_ingest_and_rejects_no_photo(downloader, site, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(SourceError, match="free space"):
        downloader.fetch(f"{site.root}/photo")


def test_threads_that_want_one_photo_ask_for_it_once(downloader, site):
    with ThreadPoolExecutor(8) as threads:
        fetched = set(threads.map(downloader.fetch, [f"{site.root}/slow_photo"] * 8))
    assert fetched == {site.photo}
    assert site.requests == 1
    assert downloader.counts.from_cache == 7


@pytest.mark.parametrize(("concurrency", "most"), [(3, 3), (16, 8)])
def test_connections_are_limited_in_all_and_by_host(opened, site, concurrency, most):
    urls = [f"{site.root}/slow_photo/{n}" for n in range(24)]
    with opened(concurrency=concurrency, max_attempts=1) as downloader, ThreadPoolExecutor(24) as threads:
        assert set(threads.map(downloader.fetch, urls)) == {site.photo}
    assert 2 <= site.most_at_once <= most


def test_many_threads_count_every_photo_once(downloader, site):
    paths = ["photo", "status/404", "empty", "twice_busy"] * 25
    urls = [f"{site.root}/{path}/{n}" for n, path in enumerate(paths)]

    def outcome(url):
        try:
            downloader.fetch(url)
        except UnusablePhoto as problem:
            return problem.rule
        return "photo"

    with ThreadPoolExecutor(16) as threads:
        outcomes = Counter(threads.map(outcome, urls))
    assert outcomes == {"photo": 50, "dead_link": 25, "empty_file": 25}
    counts = downloader.counts
    assert (counts.asked, counts.retries, counts.bytes) == (100, 50, 50 * len(site.photo))
    assert counts.by_rule == {"dead_link": 25, "empty_file": 25} == downloader.remembered()
