"""The training formats there are, by name."""

from collections.abc import Mapping
from typing import Final

from forge_assets.release import internvl, llava, qwen3_vl
from forge_assets.release.training_format import TrainingFormat

FORMATS: Final[Mapping[str, TrainingFormat]] = {
    module.FORMAT.name: module.FORMAT for module in (qwen3_vl, internvl, llava)
}
"""To add a format, write a module like `llava` and name it here."""
