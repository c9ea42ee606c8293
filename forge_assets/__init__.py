"""What is made: one folder a stage, data walking one way."""

import forge_resources as forge_resources  # before Polars, see `forge_resources.allocation`
