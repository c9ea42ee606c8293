"""Dagster's run launcher with eyes: run monitoring finds the runs whose process is gone, and fails them."""

import os
import socket
from typing import Final

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster_shared.serdes import deserialize_value

HOST_TAG: Final = "forge/host"
PROCESS_TAG: Final = "forge/process"

_THERE: Final = CheckRunHealthResult(WorkerStatus.RUNNING)


def process_tags() -> dict[str, str]:
    """Tags of a run that this process executes, by which the launcher knows who must be alive."""
    return {HOST_TAG: socket.gethostname(), PROCESS_TAG: str(os.getpid())}


def is_alive(process: int) -> bool:
    """Whether a process of this machine is there; one of another user counts."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class WatchedRunLauncher(DefaultRunLauncher):
    """`dagster.DefaultRunLauncher` that can say whether the process of a run is still there.

    Dagster's own leaves that to the code server, which no longer looks after it was killed itself, or after the
    instance's database was away while a run died. Such a run stays "started", holds its partition and its place in
    the queue, and its backfill never ends.

    A process of this machine is looked for by its number. Of one on another machine the code server is asked, which
    knows the runs that it has started; a code server that was started anew knows none.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether `check_run_worker_health` can be asked."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a run that has started is still there.

        A run of another machine that no code server has started counts as there: nobody can be asked.

        Raises:
            DagsterUserCodeUnreachableError: if the code server does not answer: nothing is known of the run then, and
                the next look may tell.
        """
        if run.tags.get(HOST_TAG) == socket.gethostname():
            if is_alive(int(run.tags[PROCESS_TAG])):
                return _THERE
            return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone")
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return _THERE
        asked = CanCancelExecutionRequest(run_id=run.run_id)
        known = deserialize_value(client.can_cancel_execution(asked), CanCancelExecutionResult).can_cancel
        return _THERE if known else CheckRunHealthResult(WorkerStatus.FAILED, "its code server does not know it")
