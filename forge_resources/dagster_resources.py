"""What assets and checks ask Dagster for: the configuration and the lake."""

from pathlib import Path

import dagster as dg

from forge_resources.config import ForgeConfig, load_config
from forge_resources.lake import Lake


class ForgeResource(dg.ConfigurableResource[None]):
    """The configuration of a run and the lake that it names.

    Both are read anew at each use, so a threshold that changed counts from the next run on.
    """

    config_path: str | None = None
    """The file to read; where none is named, the one that `forge_resources.config.config_path` gives."""

    @property
    def config(self) -> ForgeConfig:
        """The configuration, read from its file.

        Raises:
            ConfigError: if the file is absent or wrong.
        """
        return load_config(Path(self.config_path) if self.config_path else None)

    @property
    def lake(self) -> Lake:
        """The lake that the configuration names."""
        config = self.config
        return Lake(config.lake, config.s3)
