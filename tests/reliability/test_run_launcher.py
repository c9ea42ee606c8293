"""Who is asked whether the process of a run is still there, and what is made of the answer."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient

from forge_resources.run_launcher import HOST_TAG, PROCESS_TAG, WatchedRunLauncher, process_tags


@pytest.fixture
def status() -> Iterator[Callable[[dict[str, str]], WorkerStatus]]:
    """What the launcher says of a run with these tags."""
    with dg.DagsterInstance.ephemeral() as instance:
        launcher = WatchedRunLauncher()
        launcher.register_instance(instance)

        def ask(tags: dict[str, str]) -> WorkerStatus:
            run = instance.add_run(dg.DagsterRun(job_name="job", status=DagsterRunStatus.STARTED, tags=tags))
            return launcher.check_run_worker_health(run).status

        yield ask


@pytest.fixture
def dead() -> str:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return str(process.pid)


def served_at(port: int) -> dict[str, str]:
    return {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": port})}


def test_a_run_lives_as_long_as_its_process_does(status: Callable[..., WorkerStatus], dead: str) -> None:
    assert status(process_tags()) == WorkerStatus.RUNNING
    assert status(process_tags() | {PROCESS_TAG: dead}) == WorkerStatus.FAILED


def test_a_process_of_another_user_lives(status: Callable[..., WorkerStatus]) -> None:
    assert status(process_tags() | {PROCESS_TAG: "1"}) == WorkerStatus.RUNNING


def test_nothing_is_said_of_a_process_of_another_machine_that_nobody_can_be_asked_about(
    status: Callable[..., WorkerStatus], dead: str
) -> None:
    assert status({HOST_TAG: "elsewhere", PROCESS_TAG: dead}) == WorkerStatus.RUNNING
    assert status({}) == WorkerStatus.RUNNING


def test_a_code_server_that_does_not_answer_fails_no_run(
    status: Callable[..., WorkerStatus], free_port: Callable[[], int]
) -> None:
    with pytest.raises(DagsterUserCodeUnreachableError):
        status({HOST_TAG: "elsewhere", PROCESS_TAG: "1"} | served_at(free_port()))


@pytest.mark.slow
def test_a_code_server_that_was_started_anew_knows_no_old_run(
    status: Callable[..., WorkerStatus], free_port: Callable[[], int], eventually: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "nothing.py").write_text("import dagster as dg\n\ndefinitions = dg.Definitions()\n")
    port = free_port()
    command = ["-m", "dagster", "api", "grpc", "--python-file", str(tmp_path / "nothing.py"), "--port", str(port)]
    server = subprocess.Popen([sys.executable, *command], env=os.environ | {"DAGSTER_HOME": str(tmp_path)})

    def answers() -> bool:
        assert server.poll() is None
        try:
            DagsterGrpcClient(port=port).ping("")
        except DagsterUserCodeUnreachableError:
            return False
        return True

    try:
        eventually(answers, "the code server answers")
        assert status({HOST_TAG: "elsewhere", PROCESS_TAG: "1"} | served_at(port)) == WorkerStatus.FAILED
    finally:
        server.kill()
        server.wait()
