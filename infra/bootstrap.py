"""Set up and run from a fresh clone with Python alone: `python3 infra/bootstrap.py demo`.

Makes `.venv` beside this repository's README, installs the locked requirements into it (with uv where it
is on the PATH, else with pip; both check every hash), and runs what was asked for. A second call finds
the environment ready and installs nothing.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.txt"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
OLDEST, NEWEST = (3, 11), (3, 13)

TASKS = {
    "setup": "make the environment and stop there",
    "demo": "set up, then run the pipeline on photos that installed packages carry",
    "lint": "set up, then ruff and basedpyright",
    "audit": "set up, then look up the locked packages in published advisories",
    "test": "set up, then ruff, basedpyright and all tests but the long ones",
    "test-long": "set up, then the tests that take minutes each: what breaks in the middle of whole backfills",
    "test-fast": "set up, then the unit tests",
}

CHOSEN_TESTS = {"test": "not long", "test-fast": "not slow and not long", "test-long": "long"}


def python_for_venv() -> str:
    """An interpreter of a version that the lock covers: this one, or one found by its usual name."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    sys.exit(f"SpatialForge needs Python 3.{OLDEST[1]} to 3.{NEWEST[1]}; this is {sys.version.split()[0]}")


def run(*command: str | Path) -> None:
    """Run a command in the repository's folder, showing it; stop with its exit code if it fails."""
    print("+", " ".join(str(part) for part in command), flush=True)
    code = subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode
    if code:
        sys.exit(code)


def set_up() -> None:
    """Make or refresh the environment; nothing happens while the lock has not changed."""
    state = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = VENV / ".locked"
    if stamp.exists() and stamp.read_text() == state:
        return
    uv = shutil.which("uv")
    install: tuple[str | Path, ...]
    if uv:
        run(uv, "venv", "--clear", "--python", python_for_venv(), VENV)
        install = (uv, "pip", "install", "--python", BIN / "python", "--compile-bytecode")
    else:
        run(python_for_venv(), "-m", "venv", "--clear", VENV)
        install = (BIN / "python", "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off")
    run(*install, "--no-deps", "--require-hashes", "-r", LOCK)
    run(*install, "--no-deps", "--no-build-isolation", "-e", ROOT)
    stamp.write_text(state)


def main() -> None:
    """Read the command line and do what it asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS, help="; ".join(f"{name}: {what}" for name, what in TASKS.items()))
    task, rest = parser.parse_known_args()
    set_up()
    if task.task == "demo":
        run(BIN / "forge", "demo", *rest)
    if task.task in ("lint", "test"):
        run(BIN / "ruff", "check", ".")
        run(BIN / "ruff", "format", "--check", ".")
        run(BIN / "basedpyright", "--pythonpath", BIN / "python")
    if task.task == "audit":
        run(BIN / "python", "infra/audit_dependencies.py", *rest)
    if task.task in CHOSEN_TESTS:
        run(BIN / "pytest", "--numprocesses", "2", "--dist", "loadfile", "-m", CHOSEN_TESTS[task.task], *rest)


if __name__ == "__main__":
    main()
