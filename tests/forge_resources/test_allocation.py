"""Polars' allocator is told what to do before Polars is there."""

import os
import subprocess
import sys

import pytest

from forge_resources.allocation import VARIABLE


def told(package: str, **environment: str) -> tuple[str, bool]:
    """What a new process says to the allocator once a package is imported, and whether Polars came with that."""
    code = f"import os, sys, {package}; print(os.environ[{VARIABLE!r}], 'polars' in sys.modules)"
    inherited = {name: value for name, value in os.environ.items() if name not in {VARIABLE, "POLARS_MAX_THREADS"}}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**inherited, **environment}
    )
    said, is_imported = done.stdout.split()
    return said, is_imported == "True"


@pytest.mark.parametrize("package", ["forge_resources", "forge_assets"])
def test_each_package_tells_it_before_polars_is_imported(package: str) -> None:
    said, is_imported = told(package)
    assert said.startswith("narenas:")
    assert not is_imported


@pytest.mark.parametrize(("threads", "arenas"), [(1, 1), (2, 1), (3, 1), (16, 8)])
def test_two_threads_share_an_arena(threads: int, arenas: int) -> None:
    said, _ = told("forge_assets", POLARS_MAX_THREADS=str(threads))
    assert said.split(",")[0] == f"narenas:{arenas}"


def test_what_the_environment_says_stays() -> None:
    assert told("forge_assets", **{VARIABLE: "narenas:7"}) == ("narenas:7", False)
