"""The training formats there are, by name."""

from collections.abc import Mapping
from typing import Final

from forge_assets.release import hf, internvl, llava, qwen2_5_vl, qwen3_vl, webdataset
from forge_assets.release.training_format import TrainingFormat

FORMATS: Final[Mapping[str, TrainingFormat]] = {
    module.FORMAT.name: module.FORMAT for module in (qwen3_vl, qwen2_5_vl, internvl, llava, hf, webdataset)
}
"""To add a format, write a module like `llava` and name it here."""
