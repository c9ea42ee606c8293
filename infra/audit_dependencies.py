"""Look up every locked package in the advisories of OSV with pip-audit: `python infra/audit_dependencies.py`.

A known vulnerability fails the audit unless `infra/accepted_vulnerabilities.toml` lists it with a reason. Where OSV
cannot be reached, nothing fails, and a line that cannot be overlooked says that nothing was audited.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.txt"
ACCEPTED = ROOT / "infra" / "accepted_vulnerabilities.toml"
OSV = "https://api.osv.dev/v1/query"
TIMEOUT_S = 10
CLEAN, VULNERABLE, BROKEN = 0, 1, 2


@dataclass(frozen=True)
class Vulnerability:
    """One advisory that names a locked package."""

    package: str
    version: str
    names: tuple[str, ...]
    """Its identifier and its aliases."""
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        fixed = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "not fixed yet"
        return f"{self.package} {self.version}: {', '.join(self.names)}; {fixed}"


def why_unreachable(address: str) -> str | None:
    """Why OSV does not answer; None where it does."""
    question = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "25.0"}
    try:
        httpx.post(address, json=question, timeout=TIMEOUT_S).raise_for_status()
    except httpx.HTTPStatusError as error:
        return f"HTTP {error.response.status_code}"
    except httpx.TransportError as error:
        return type(error).__name__
    return None


def accepted(file: Path) -> Mapping[str, str]:
    """Identifiers that are accepted, with the reason of each.

    Raises:
        SystemExit: if one has no reason.
    """
    listed = tomllib.loads(file.read_text(encoding="utf-8"))
    if silent := sorted(name for name, reason in listed.items() if not (isinstance(reason, str) and reason.strip())):
        sys.exit(f"{file}: {', '.join(silent)}: say why it is accepted")
    return listed


def audited(lock: Path, address: str) -> Any:  # noqa: ANN401 - JSON
    """What pip-audit reports of a lock.

    Raises:
        SystemExit: if it reports nothing; with its own words.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--osv-url", address, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        print(f"pip-audit ended with {done.returncode} and no report:\n{done.stderr}", file=sys.stderr)
        sys.exit(BROKEN)


def vulnerabilities(report: Mapping[str, Any]) -> Iterator[Vulnerability]:
    """The vulnerabilities of a report."""
    for package in report["dependencies"]:
        for found in package.get("vulns", []):
            names = (found["id"], *found.get("aliases", []))
            yield Vulnerability(package["name"], package["version"], names, tuple(found["fix_versions"]))


def main() -> None:
    """Read the command line and audit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", type=Path, default=LOCK, help="requirements with hashes")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED, help="TOML of identifiers with reasons")
    parser.add_argument("--osv-url", default=OSV, help="address of OSV's query")
    asked = parser.parse_args()

    reasons = accepted(asked.accepted)
    if reason := why_unreachable(asked.osv_url):
        print(
            f"{'!' * 100}\n!! DEPENDENCIES NOT AUDITED: {asked.osv_url} does not answer from here ({reason}).\n"
            f"!! Run `python infra/audit_dependencies.py` where it does, before you release.\n{'!' * 100}",
            flush=True,
        )
        return
    report = audited(asked.lock, asked.osv_url)
    found = list(vulnerabilities(report))
    refused = [one for one in found if not set(one.names) & set(reasons)]
    for one in found:
        for name in set(one.names) & set(reasons):
            print(f"accepted: {one} ({reasons[name]})")
    for name in sorted(set(reasons) - {name for one in found for name in one.names}):
        print(f"no package has {name} any more: take it out of {asked.accepted.name}")
    skipped = [package for package in report["dependencies"] if "skip_reason" in package]
    for package in skipped:
        print(f"not audited: {package['name']} ({package['skip_reason']})")
    for one in refused:
        print(f"vulnerable: {one}")
    print(f"{len(report['dependencies']) - len(skipped)} packages audited, {len(refused)} vulnerabilities to mend")
    sys.exit(VULNERABLE if refused else CLEAN)


if __name__ == "__main__":
    main()
