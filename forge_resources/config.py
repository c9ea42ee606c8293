"""Everything a user configures, as one YAML file: `forge.yaml`, or the file that FORGE_CONFIG names."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from forge_resources.errors import ForgeError

_Network = TypeVar("_Network", bound="WeightsConfig")
Share = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["fp32", "fp16", "bf16"]

GEOMETRY_READINGS = ("ground_contact", "class_height")
ENVIRONMENT_VARIABLE = "FORGE_CONFIG"
DEFAULT_FILE = Path("forge.yaml")

_HEADING = """\
# All settings and their defaults: docs/configuration.md. What they would use here: forge doctor.
# Profile demo takes models as it finds them; production names each with a revision or sha256.
"""


class ConfigError(ForgeError, ValueError):
    """A configuration that cannot be used; the message names the file and the field."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def digest(self) -> str:
        """A short hash of this section's settings, to tell versions apart."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=6).hexdigest()


class SourceConfig(_Section):
    """A folder of photos, with or without human labels."""

    kind: Literal["image_folder"] = Field(default="image_folder", description="What keeps the photos.")
    path: Path = Field(description="Folder of photos, searched at all depths.")
    labels: Literal["none", "coco", "yolo"] = Field(default="none", description="Format of the human labels.")
    labels_path: Path | None = Field(
        default=None,
        description="COCO: the JSON of annotations. YOLO: the folder of .txt files; default, `labels` beside `images`.",
    )
    class_names: Path | None = Field(
        default=None, description="YOLO: data.yaml or a text file with a name a line; default, the 80 classes of COCO."
    )
    shard_size: int = Field(default=2_000, ge=1, description="Photos in a full shard.")
    license: str = Field(default="unknown", description="Of the photos; it stands in every pair.")
    max_pixels: int = Field(
        default=100_000_000, ge=1, description="Larger photos are rejected before they are decoded."
    )
    min_side: int = Field(default=32, ge=1, description="Photos with a shorter side, in pixels, are rejected.")
    max_bytes: int = Field(default=100_000_000, ge=1, description="Larger files are rejected before they are read.")


class WeightsConfig(_Section):
    """Which weights, and proof that they are those.

    `weights` is a hub id (`org/name`, or `org/name/file.pt`), a path, or an s3 URI. A hub id needs
    `revision`, a file needs `sha256`, except under `auto`.
    """

    weights: str | None = Field(
        default=None,
        description="Hub id (`org/name`, `org/name/file.pt`), path, or `s3://bucket/key`; none for `auto`, `embedded`.",
    )
    revision: str | None = Field(default=None, description="Commit of the hub repository, 40 hexadecimal digits.")
    sha256: str | None = Field(default=None, description="Of the weight file; of a folder, of its files' hashes.")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps: auto takes CUDA where it is there.")
    precision: Precision = Field(default="fp32", description="What the network computes in; fp16 needs a GPU.")
    batch_size: int = Field(default=16, ge=1, description="Photos read and passed to the network at a time.")


class DetectorConfig(WeightsConfig):
    """Which network finds objects."""

    backend: Literal["auto", "ultralytics", "transformers", "embedded"] = Field(
        default="auto", description="What loads the weights."
    )
    score_floor: Share = Field(default=0.1, description="Weaker boxes are not kept, not even as evidence.")
    iou_threshold: Share = Field(default=0.6, description="Non-maximum suppression, per class.")
    image_size: int = Field(default=640, ge=32, description="Longer side that ultralytics resizes to, in pixels.")


class PoseConfig(WeightsConfig):
    """Which network reads people's keypoints."""

    backend: Literal["auto", "ultralytics", "embedded", "none"] = Field(
        default="auto", description="What loads the weights; `none`: no pair of the task perspective is asked."
    )
    image_size: int = Field(default=640, ge=32, description="Longer side that ultralytics resizes to, in pixels.")
    min_person_score: Share = Field(default=0.3, description="People found with less are not asked for their pose.")


class DepthConfig(WeightsConfig):
    """One network that reads depth."""

    name: str = Field(default="depth", pattern=r"^[a-z0-9_]+$", description="Name of the reading in evidence.")
    backend: Literal["auto", "transformers", "onnx", "none"] = Field(
        default="auto", description="What loads the weights; `none`: this network is not run."
    )
    kind: Literal["auto", "metric", "relative_inverse", "relative"] = Field(
        default="auto", description="What the network's output means: metres, disparity-like, or depth up to scale."
    )
    input_size: tuple[int, int] | None = Field(
        default=None, description="ONNX with free axes: height, width in pixels."
    )
    input_scaling: Literal["unit", "imagenet"] = Field(
        default="unit", description="ONNX: 0-1 RGB, or that normalised by ImageNet's mean and deviation."
    )
    stored_side: int = Field(default=256, ge=16, description="Longer side of a stored map, in pixels.")

    @field_validator("name")
    @classmethod
    def _is_not_a_reading_of_geometry(cls, name: str) -> str:
        if name in GEOMETRY_READINGS:
            raise ValueError(f"{name} is what geometry calls its own reading: name the network otherwise")
        return name


class ModelsConfig(_Section):
    """The networks that the pipeline runs."""

    detector: DetectorConfig = Field(default=DetectorConfig(), description="Finds objects.")
    pose: PoseConfig = Field(default=PoseConfig(), description="Reads people's keypoints.")
    depth: tuple[DepthConfig, ...] = Field(
        default=(DepthConfig(),), description="Read depth, each under a name of its own; `[]`: geometry alone."
    )

    @property
    def depth_batch_size(self) -> int:
        """Photos that all depth networks take at once: the smallest of their batch sizes, 1 without a network."""
        return min((depth.batch_size for depth in self.depth), default=1)


class TasksConfig(_Section):
    """How many candidates are asked of one photo."""

    min_candidate_score: Share = Field(default=0.3, description="Detector's score from which an object is asked about.")
    max_objects: int = Field(default=24, ge=2, description="Of one photo, the surest ones, that pairs are made of.")
    max_pairs_per_task: int = Field(default=12, ge=1, description="Of one photo and task; those of the surest objects.")
    counting_max: int = Field(default=20, ge=1, description="Larger counts are not asked.")
    val_share: Share = Field(default=0.02, description="Share of photos, by content, in the split `val`.")


class VerificationConfig(_Section):
    """Thresholds of the rules that a pair must pass."""

    min_score: Share = Field(default=0.5, description="Detector's score of each object named.")
    min_mirror_iou: Share = Field(default=0.6, description="Overlap with the box found again in the mirrored photo.")
    min_area_share: Share = Field(default=0.002, description="Of the photo, of each object named.")
    max_class_conflict: Share = Field(default=0.5, description="IoU with a box of another class.")
    max_occlusion: Share = Field(default=0.4, description="Near-far: share of a box that one box in front may cover.")
    count_strict_score: Share = Field(default=0.6, description="Counting: the higher of the scores counted at.")
    count_loose_score: Share = Field(default=0.15, description="Counting: the lower one; both counts must agree.")
    unique_loose_score: Share = Field(
        default=0.2, description="A rival of the same class at this score forbids a class name."
    )
    min_depth_ratio: float = Field(default=1.2, gt=1, description="Network's reading: farther over nearer.")
    min_depth_separation: float = Field(default=1.0, gt=0, description="Farther one's q10 over nearer one's q90.")
    min_ground_ratio: float = Field(default=1.15, gt=1, description="Ground contact: farther over nearer.")
    min_height_ratio: float = Field(default=1.5, gt=1, description="Class height: farther over nearer.")
    min_confirming_ratio: float = Field(
        default=1.1, gt=1, description="Any reading that confirms a network which has its full margin."
    )
    min_readings: int = Field(default=2, ge=1, description="Independent depth readings that must agree.")
    min_gap: float = Field(
        default=0.02, ge=0, description="Left-right: space between boxes, share of the photo's width."
    )
    min_center_gap: float = Field(
        default=0.1, ge=0, description="Left-right: space between centres, share of the photo's width."
    )
    min_keypoint_score: Share = Field(default=0.35, description="Perspective: of both of the person's shoulders.")
    min_facing: Share = Field(default=0.4, description="Dead zone around profile view.")


class GatesConfig(_Section):
    """What a partition must satisfy as a whole."""

    max_rejected_images: Share = Field(default=0.05, description="Share of a shard's photos that may be unusable.")
    max_rejected_pairs: Share = Field(default=1.0, description="Share of candidates that verification may drop.")
    max_answer_share: Share = Field(default=0.9, description="Largest share of one answer of a task with choices.")


class ForgeConfig(_Section):
    """The whole configuration."""

    profile: Literal["demo", "production"] = Field(
        default="demo", description="`production` refuses the backend `auto`: every network is named and pinned."
    )
    lake: Path = Field(default=Path("lake"), description="Folder of the tables.")
    sources: Mapping[str, SourceConfig] = Field(
        default_factory=dict, description="By name: lower-case letters, digits and underscores."
    )
    models: ModelsConfig = Field(default=ModelsConfig(), description="Networks.")
    tasks: TasksConfig = Field(default=TasksConfig(), description="Candidates.")
    verification: VerificationConfig = Field(default=VerificationConfig(), description="Thresholds of the rules.")
    gates: GatesConfig = Field(default=GatesConfig(), description="Thresholds of the gates.")
    quotas: Mapping[str, float] = Field(
        default_factory=lambda: {
            "grounding": 0.347,
            "referring": 0.347,
            "counting": 0.048,
            "near_far": 0.250,
            "left_right": 0.009,
            "perspective": 0.001,
        },
        description="Wanted share of each task; the default has the proportions of SpatialForge-10M.",
    )

    @model_validator(mode="after")
    def _production_never_falls_back(self) -> Self:
        if self.profile == "production":
            networks = {"detector": self.models.detector, "pose": self.models.pose}
            networks |= {f"depth[{i}]": depth for i, depth in enumerate(self.models.depth)}
            automatic = [name for name, network in networks.items() if network.backend == "auto"]
            if automatic:
                raise ValueError(
                    f"profile production takes no backend `auto` (models: {', '.join(automatic)}): "
                    "name backend, weights and their revision or sha256"
                )
        return self

    def source(self, name: str) -> SourceConfig:
        """The configuration of one source.

        Raises:
            ConfigError: if no source of that name is configured.
        """
        if name not in self.sources:
            known = ", ".join(sorted(self.sources)) or "none"
            raise ConfigError(f"unknown source {name!r}; configured sources: {known}")
        return self.sources[name]


def config_path() -> Path:
    """The file that is read when none is named: FORGE_CONFIG, else `forge.yaml` in the working folder."""
    return Path(os.environ.get(ENVIRONMENT_VARIABLE, DEFAULT_FILE))


def load_config(path: Path | None = None) -> ForgeConfig:
    """Read and check a configuration; relative paths in it start at its own folder.

    Raises:
        ConfigError: if the file is absent, is not YAML, or has a field that is wrong or unknown.
    """
    path = path or config_path()
    if not path.exists():
        raise ConfigError(
            f"no configuration at {path.absolute()}: run `forge init PHOTOS_FOLDER` to write one, "
            f"or name one in {ENVIRONMENT_VARIABLE}"
        )
    try:
        raw = yaml.safe_load(path.read_text()) or {}
        config = ForgeConfig.model_validate(raw)
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return _anchored(config, path.absolute().parent)


def write_config(path: Path, sources: Mapping[str, SourceConfig]) -> Path:
    """Write a configuration of `sources` with defaults for all else.

    Raises:
        ConfigError: if the file exists.
    """
    if path.exists():
        raise ConfigError(f"{path} exists: name another file, or edit that one")
    config = ForgeConfig(sources=sources)
    shown = {
        "profile": config.profile,
        "lake": str(config.lake),
        "sources": config.model_dump(mode="json", exclude_defaults=True).get("sources", {}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_HEADING + yaml.safe_dump(shown, sort_keys=False))
    return path


def _anchored(config: ForgeConfig, folder: Path) -> ForgeConfig:
    def anchor(path: Path | None) -> Path | None:
        return folder / path.expanduser() if path is not None else None

    sources = {
        name: source.model_copy(
            update={field: anchor(getattr(source, field)) for field in ("path", "labels_path", "class_names")}
        )
        for name, source in config.sources.items()
    }
    return config.model_copy(
        update={"lake": anchor(config.lake), "sources": sources, "models": _anchored_models(config.models, folder)}
    )


def _anchored_models(models: ModelsConfig, folder: Path) -> ModelsConfig:
    """Weights written as a path (`./x`, `../x`, `~/x`) start at the configuration's folder; other names are hub ids."""

    def anchor(network: _Network) -> _Network:
        if network.weights is None or not network.weights.startswith((".", "~")):
            return network
        return network.model_copy(update={"weights": str(folder / Path(network.weights).expanduser())})

    return ModelsConfig(
        detector=anchor(models.detector), pose=anchor(models.pose), depth=tuple(anchor(depth) for depth in models.depth)
    )
