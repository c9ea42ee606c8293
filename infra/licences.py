"""Write docs/licences.md, the licences of all locked packages: `python infra/licences.py > docs/licences.md`.

Versions are those that the lock gives CPython 3.11 on Linux x86-64; licences are what the installed packages say of
themselves, so the lock has to be installed in the environment that runs this.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageMetadata, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.txt"
TARGET = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.11.0",
    "python_version": "3.11",
    "sys_platform": "linux",
    "extra": "",
}
LONGEST = 60
COPYLEFT = re.compile(r"\bA?L?GPL|General Public|Mozilla|\bMPL", re.IGNORECASE)
UNKNOWN = "not stated"
OPENING = """# Licences of the packages

`requirements.txt` locks {count} packages for CPython 3.11 on Linux x86-64. This page lists what each says of its
licence. It is written by `infra/licences.py`, and a test compares it with the lock. Weights have licences of their own:
[models and licences](models-and-licences.md), which also says what AGPL-3.0 means for you.
"""


def locked(lock: Path) -> Iterator[tuple[str, str]]:
    """Name and version of the packages that a lock gives the target."""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith(("#", " ")):
            continue
        requirement = Requirement(line.removesuffix("\\").strip())
        if requirement.marker is None or requirement.marker.evaluate(TARGET):
            (pin,) = requirement.specifier
            yield requirement.name, pin.version


def licence(metadata: PackageMetadata) -> str:
    """What a package says of its licence: an SPDX expression, else classifiers, else a short text."""
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    classifiers = metadata.get_all("Classifier") or []
    named = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License ::")]
    named = [name for name in named if name != "OSI Approved"]
    if named:
        return ", ".join(sorted(set(named)))
    words = " ".join(metadata["License"].split()) if "License" in metadata else ""
    if not words or words.upper() == "UNKNOWN":
        return UNKNOWN
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}..."


def page(lock: Path) -> str:
    """The page as Markdown.

    Raises:
        SystemExit: if a locked package is not installed in the locked version.
    """
    rows = [(name, version, _licence_of(name, version)) for name, version in locked(lock)]
    closer = [(name, said) for name, _, said in rows if COPYLEFT.search(said)]
    silent = [name for name, _, said in rows if said == UNKNOWN]
    parts = [OPENING.format(count=len(rows))]
    parts.append("Under GPL, LGPL, AGPL or MPL, which set conditions for those who pass the package on:\n")
    parts.append("\n".join(f"- `{name}`: {said}" for name, said in closer) + "\n")
    parts.append(f"Without a licence in their metadata: {', '.join(f'`{name}`' for name in silent) or 'none'}.\n")
    parts.append("| Package | Version | Licence |\n|---|---|---|")
    parts.append("\n".join(f"| {name} | {version} | {said.replace('|', '/')} |" for name, version, said in rows))
    return "\n".join(parts) + "\n"


def _licence_of(name: str, version: str) -> str:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        sys.exit(f"{name} {version} is locked and not installed: install requirements.txt first")
    if found.version != version:
        sys.exit(f"{name} {found.version} is installed and {version} is locked: install requirements.txt first")
    return licence(found.metadata)


if __name__ == "__main__":
    print(page(LOCK), end="")
