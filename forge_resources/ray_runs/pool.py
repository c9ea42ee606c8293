"""The warm workers of one kind: who is free, who has died, who comes next."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import ray
from ray.exceptions import RayActorError, RayTaskError

from forge_resources.errors import ForgeError
from forge_resources.ray_runs.settings import WorkerSettings
from forge_resources.ray_runs.worker import Worker, instance_and_run

if TYPE_CHECKING:
    from ray.actor import ActorHandle, ActorProxy

SECONDS_BETWEEN_STARTS = 5.0

_log = logging.getLogger(__name__)


class OtherWorkers(ForgeError):
    """The workers were started with other settings than are configured now."""


class WorkerPool:
    """A Ray actor that starts workers, gives each run to one that is free, and replaces those that are lost.

    A worker is lost when its process or node dies. One whose run failed or was cancelled is killed: after an error of
    CUDA its process cannot compute any more.
    """

    def __init__(self, kind: str, settings: str) -> None:
        self._kind = kind
        self._settings = WorkerSettings.from_json(settings)
        self._missing = self._settings.count
        self._free: asyncio.Queue[ActorProxy[Worker]] = asyncio.Queue()
        self._starting: set[asyncio.Task[None]] = set()

    @ray.method
    async def execute(self, settings: str, command: str) -> bool:
        """Execute a run on the next worker that is free.

        Args:
            settings: `WorkerSettings` as JSON, as they are configured now.
            command: as `Worker.execute` takes it.

        Returns:
            Whether the run succeeded. One that was lost with its worker is marked in Dagster: as cancelled where that
            was asked for, else as failed.

        Raises:
            OtherWorkers: if the workers that run have other settings; the run is marked as failed.
            RayTaskError: if the worker could not execute the run, as without a database; the run is marked as failed.
        """
        try:
            self._require(settings)
            return await self._execute(command)
        except asyncio.CancelledError:
            await asyncio.to_thread(end_run, command, "The Ray job of this run was stopped.")
            raise
        except RayActorError as error:
            await asyncio.to_thread(end_run, command, f"The Ray worker of this run or its node is gone: {error}")
            return False
        except (OtherWorkers, RayTaskError) as error:
            await asyncio.to_thread(end_run, command, str(error))
            raise

    async def _execute(self, command: str) -> bool:
        while True:
            self._start_missing()
            worker = await self._free.get()
            succeeded = False
            try:
                if await _answers(worker):
                    succeeded = await worker.execute.remote(command)
                    return succeeded
            finally:
                self._release(worker, keep=succeeded)

    def _require(self, settings: str) -> None:
        if WorkerSettings.from_json(settings) != self._settings:
            raise OtherWorkers(
                f"the Ray workers {self._kind!r} run with {self._settings.to_json()}, dagster.yaml says {settings}: "
                "stop Ray on all nodes and start it again"
            )

    def _start_missing(self) -> None:
        for _ in range(self._missing):
            task = asyncio.create_task(self._start_worker())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
        self._missing = 0

    async def _start_worker(self) -> None:
        actor = ray.remote(Worker).options(**self._settings.ray_options)
        while not await _answers(worker := actor.remote()):
            _log.warning("a worker %r died as it started: another one is started", self._kind)
            await asyncio.sleep(SECONDS_BETWEEN_STARTS)
        self._free.put_nowait(worker)

    def _release(self, worker: "ActorProxy[Worker]", *, keep: bool) -> None:
        if keep:
            self._free.put_nowait(worker)
            return
        ray.kill(cast("ActorHandle[Any]", worker))
        self._missing += 1
        self._start_missing()


async def _answers(worker: "ActorProxy[Worker]") -> bool:
    try:
        await worker.ready.remote()
    except RayActorError:
        return False
    return True


def end_run(command: str, why: str) -> None:
    """Mark a run that nobody executes any more as cancelled, where that was asked for, else as failed.

    Args:
        command: Dagster's `ExecuteRunArgs` of the run, serialized.
        why: stands in the run's log.
    """
    from dagster import DagsterInstance, DagsterRunStatus

    instance_ref, run_id = instance_and_run(command)
    with DagsterInstance.from_ref(instance_ref) as instance:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return
        if run.status == DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, why)
        else:
            instance.report_run_failed(run, why)
