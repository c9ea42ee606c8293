"""What assets and checks ask Dagster for: the configuration and the lake."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import dagster as dg

from forge_resources.config import ForgeConfig, config_path, load_config
from forge_resources.lake import Lake
from forge_resources.partition_lock import only_run_of
from forge_resources.run_launcher import process_tags
from forge_resources.shards import PARTITION_NAME_TAG, ShardKey


class ForgeResource(dg.ConfigurableResource[None]):
    """The configuration of a run and the lake that it names.

    Both are read anew at each use, so a threshold that changed counts from the next run on. A run of one partition
    holds it from its start to its end, see `forge_resources.partition_lock`, and says which process executes it.
    """

    config_path: str | None = None
    """The file to read; where none is named, the one that `forge_resources.config.config_path` gives."""

    @property
    def config_file(self) -> Path:
        """The file that is read, whether or not it exists."""
        return Path(self.config_path) if self.config_path else config_path()

    @property
    def config(self) -> ForgeConfig:
        """The configuration, read from its file.

        Raises:
            ConfigError: if the file is absent or wrong.
        """
        return load_config(self.config_file)

    @property
    def lake(self) -> Lake:
        """The lake that the configuration names."""
        config = self.config
        return Lake(config.lake, config.s3)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[Any]:
        """What Dagster hands to the steps of a run.

        Raises:
            PartitionBusy: if another run holds the partition for longer than any run may take.
        """
        if context.run is None or context.instance is None or context.log is None:
            yield self
            return
        context.instance.add_run_tags(context.run.run_id, process_tags())
        partition = context.run.tags.get(PARTITION_NAME_TAG)
        with only_run_of(self.lake, ShardKey.parse(partition), say=context.log.info) if partition else nullcontext():
            yield self
