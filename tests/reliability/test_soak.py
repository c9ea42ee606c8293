"""Partition after partition in one process: memory and open files stay flat."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks/soak.py"


@pytest.mark.long
def test_sixty_partitions_in_a_row_leave_memory_and_open_files_flat() -> None:
    command = [sys.executable, str(BENCHMARK), "--partitions", "60", "--stages", "raw_images"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
