"""The Ray job of one Dagster run: `python -m forge_resources.ray_runs.job KIND SETTINGS COMMAND`.

It hands the run to the workers of its kind, starts them where there are none, and ends as the run ends. While all goes
well it imports neither Dagster nor the stages: it costs the head node two seconds of the processor.
"""

import contextlib
import sys

import ray
from ray.exceptions import RayActorError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from forge_resources.ray_runs.pool import WorkerPool, end_run

NAMESPACE = "spatialforge"


def execute(kind: str, settings: str, command: str) -> bool:
    """Have a run executed and wait for its end; a signal to terminate cancels it.

    Args:
        kind: name of the workers, one of `workers` in `dagster.yaml`.
        settings: theirs, as JSON.
        command: Dagster's `ExecuteRunArgs`, serialized.

    Returns:
        Whether the run succeeded.
    """
    ray.init(address="auto", namespace=NAMESPACE, log_to_driver=False)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    pool = (
        ray.remote(WorkerPool)
        .options(
            name=f"workers-{kind}",
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            scheduling_strategy=here,
        )
        .remote(kind, settings)
    )
    running = pool.execute.remote(settings, command)
    try:
        return ray.get(running)
    except RayActorError as error:
        end_run(command, f"The pool of the Ray workers {kind!r} is gone: {error}")
        return False
    except SystemExit:
        ray.cancel(running)
        with contextlib.suppress(TaskCancelledError):
            ray.get(running)
        raise


if __name__ == "__main__":
    sys.exit(0 if execute(*sys.argv[1:]) else 1)
