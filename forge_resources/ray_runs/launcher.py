"""Dagster's run launcher that sends runs to warm workers on a Ray cluster; `infra/ray/dagster.yaml` configures it."""

import shlex
from collections.abc import Mapping
from typing import Any, Self

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import LaunchRunContext
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData
from dagster_ray import RayRunLauncher
from dagster_ray.core.run_launcher import get_job_submission_id_from_run_id
from dagster_shared.serdes import serialize_value

from forge_resources.errors import ForgeError
from forge_resources.ray_runs.settings import WorkerSettings

DEFAULT_WORKERS = "default"
JOB_MODULE = "forge_resources.ray_runs.job"


class RayUnreachable(ForgeError, DagsterUserCodeUnreachableError):
    """Ray does not answer. Dagster's queue keeps the run and tries again, as often as `dagster.yaml` says."""


class WarmRayLauncher(RayRunLauncher):
    """A `dagster_ray.RayRunLauncher` whose jobs hand their runs to workers that stay from run to run.

    The workers of a run are those named like a Dagster pool that the run needs, else `default`. So where `workers`
    has a `gpu`, runs that compute with networks take a process that holds a GPU and has them loaded.
    """

    def __init__(
        self,
        address: str,
        workers: Mapping[str, Mapping[str, Any]],
        headers: Mapping[str, str] | None = None,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        super().__init__(address, headers=dict(headers or {}), inst_data=inst_data)
        self.workers = {kind: WorkerSettings(**settings) for kind, settings in workers.items()}
        if DEFAULT_WORKERS not in self.workers:
            raise dg.DagsterInvalidConfigError(
                f"run_launcher: workers need a {DEFAULT_WORKERS!r}, for runs that need no pool", [], workers
            )

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """What stands under `run_launcher: config:` in `dagster.yaml`."""
        workers = {
            "count": dg.IntSource,
            "num_cpus": dg.Field(float, is_required=False, default_value=1.0),
            "num_gpus": dg.Field(float, is_required=False, default_value=0.0),
            "memory": dg.Field(int, is_required=False),
            "resources": dg.Field(dg.Map(str, float), is_required=False, default_value={}),
        }
        return {
            "address": dg.StringSource,
            "workers": dg.Map(str, dg.Shape(workers)),
            "headers": dg.Field(dg.Map(str, dg.StringSource), is_required=False),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """The launcher of a `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)

    def workers_of(self, run: dg.DagsterRun) -> str:
        """The kind of worker that a run needs, by the Dagster pools of its steps."""
        pools = run.run_op_concurrency.all_pools if run.run_op_concurrency else None
        return next((kind for kind in self.workers if kind in (pools or ())), DEFAULT_WORKERS)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Submit the run's Ray job.

        Raises:
            RayUnreachable: if there is no Ray at the address, or it cannot take a job now.
        """
        run = context.dagster_run
        origin = run.job_code_origin
        assert origin is not None
        kind = self.workers_of(run)
        command = ExecuteRunArgs(
            job_origin=origin,
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
            set_exit_code_on_failure=True,
        )
        python = origin.repository_origin.executable_path
        entrypoint = [python, "-m", JOB_MODULE, kind, self.workers[kind].to_json(), serialize_value(command)]
        try:
            self._launch_ray_job(get_job_submission_id_from_run_id(run.run_id), shlex.join(entrypoint), run)
        except (OSError, RuntimeError) as error:
            raise RayUnreachable(
                f"Ray at {self.address} takes no runs ({error}): start it with `ray start --head`, or mend the address "
                "under run_launcher in dagster.yaml; the run starts nowhere else instead"
            ) from error
