"""Networks and processors in transformers' format, read without running anything that their folder brings along."""

import json
from pathlib import Path, PurePosixPath
from typing import Any, Final

from forge_resources.models.weights import WeightsError

_INDEX: Final = "*.safetensors.index.json"
_SAFE: Final = ".safetensors"


class ForeignCodeError(WeightsError):
    """Weights that can only be used by running code that they bring along."""


def read_processor(auto_class: Any, folder: Path) -> Any:  # noqa: ANN401 - transformers' classes are untyped
    """A processor from a local folder.

    Args:
        auto_class: `AutoImageProcessor` or `AutoProcessor`.
        folder: checked weights.

    Raises:
        ForeignCodeError: if it is defined by code in the folder or in another repository.
    """
    return _from_pretrained(auto_class, folder)


def read_network(auto_class: Any, folder: Path, dtype: Any) -> Any:  # noqa: ANN401 - transformers' classes are untyped
    """A network from a local folder, its tensors from safetensors files in that folder alone.

    Args:
        auto_class: one of transformers' `AutoModelFor…`.
        folder: checked weights.
        dtype: PyTorch's type of the parameters.

    Raises:
        ForeignCodeError: if it is defined by code in the folder or in another repository.
        WeightsError: if its index of shards names other files than safetensors beside it, or they are damaged.
        OSError: if the folder has no safetensors.
    """
    from safetensors import SafetensorError

    for index in sorted(folder.glob(_INDEX)):
        _require_safe_shards(index)
    try:
        return _from_pretrained(auto_class, folder, use_safetensors=True, dtype=dtype)
    except SafetensorError as error:
        raise WeightsError(f"the weights in {folder} are no safetensors, or damaged ones ({error})") from error


def _require_safe_shards(index: Path) -> None:
    named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    strange = sorted(name for name in named if PurePosixPath(name).name != name or not name.endswith(_SAFE))
    if strange:
        raise WeightsError(
            f"{index} names {strange[0]!r}: tensors are read from {_SAFE} files in the same folder alone; "
            "save the network again with save_pretrained"
        )


def _from_pretrained(auto_class: Any, folder: Path, **settings: Any) -> Any:  # noqa: ANN401
    try:
        return auto_class.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **settings)
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise ForeignCodeError(
            f"{folder} needs Python code of its own repository, and none is ever run: "
            "take weights of an architecture that transformers itself has"
        ) from error
