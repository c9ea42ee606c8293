"""A process that executes Dagster runs one after another, and keeps what it has loaded."""

from typing import TYPE_CHECKING

import ray

if TYPE_CHECKING:
    from dagster._core.instance import InstanceRef


class Worker:
    """A Ray actor. Modules, networks and Great Expectations' context stay in its process from run to run."""

    @ray.method
    def ready(self) -> None:
        """Return, which a worker whose process or node is gone cannot."""

    @ray.method
    def execute(self, command: str) -> bool:
        """Execute a run as `dagster api execute_run` does, and mark it with the node's id and address.

        Args:
            command: Dagster's `ExecuteRunArgs`, serialized.

        Returns:
            Whether the run succeeded. Its events stand in the instance.
        """
        from dagster import DagsterInstance
        from dagster._cli.api import execute_run_command

        instance_ref, run_id = instance_and_run(command)
        context = ray.get_runtime_context()
        node = {"ray/node_id": context.get_node_id(), "ray/node_address": ray.util.get_node_ip_address()}
        with DagsterInstance.from_ref(instance_ref) as instance:
            instance.add_run_tags(run_id, node)
        try:
            execute_run_command.main([command], standalone_mode=False)
        except SystemExit as ended:
            return ended.code in (0, None)
        return True


def instance_and_run(command: str) -> tuple["InstanceRef", str]:
    """Where a run is kept, and its id.

    Args:
        command: Dagster's `ExecuteRunArgs`, serialized, with the reference of an instance.
    """
    from dagster._grpc.types import ExecuteRunArgs
    from dagster_shared.serdes import deserialize_value

    arguments = deserialize_value(command, ExecuteRunArgs)
    assert arguments.instance_ref is not None
    return arguments.instance_ref, arguments.run_id
