"""How many warm workers there are, and what each asks Ray for."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class WorkerSettings:
    """The workers of one kind; all are alike."""

    count: int
    """How many there shall be, over all nodes."""
    num_cpus: float = 1
    """Cores that Ray keeps for each."""
    num_gpus: float = 0
    """GPUs that Ray keeps for each, and shows to it alone; 0.5 lets two share one."""
    memory: int | None = None
    """Bytes that Ray keeps for each; None for no limit."""
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of Ray's custom resources, as nodes were started with."""

    @property
    def ray_options(self) -> dict[str, Any]:
        """What an actor of Ray is asked for; workers spread over nodes as far as they can."""
        asked = {name: value for name, value in asdict(self).items() if name != "count"}
        return {**asked, "scheduling_strategy": "SPREAD"}

    def to_json(self) -> str:
        """The settings as one text, the same for the same settings."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The settings that `to_json` wrote."""
        return cls(**json.loads(text))
