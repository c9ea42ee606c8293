"""Everything a user configures, as one YAML file: `forge.yaml`, or the file that FORGE_CONFIG names."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from forge_resources.errors import ForgeError
from forge_resources.s3 import Location, S3Config

_Network = TypeVar("_Network", bound="WeightsConfig")
_Channel = TypeVar("_Channel", bound="_ChannelConfig")
Share = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["fp32", "fp16", "bf16"]
Address = Annotated[str, Field(pattern=r"^[^@\s<>,]+@[^@\s<>,]+$")]

GEOMETRY_READINGS = ("ground_contact", "class_height")
ENVIRONMENT_VARIABLE = "FORGE_CONFIG"
DEFAULT_FILE = Path("forge.yaml")
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"

_HEADING = """\
# All settings and their defaults: docs/configuration.md. What they would use here: forge doctor.
# Profile demo takes models as it finds them; production names each with a revision or sha256.
"""


class ConfigError(ForgeError, ValueError):
    """A configuration that cannot be used; the message names the file and the field."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @property
    def digest(self) -> str:
        """A short hash of this section's settings, to tell versions apart."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=6).hexdigest()


class SourceConfig(_Section):
    """What all sources have in common."""

    path: Location = Field(description="Folder of photos, or `s3://bucket/prefix`, searched at all depths.")
    shard_size: int = Field(default=2_000, ge=1, description="Photos in a full shard.")
    license: str = Field(default="unknown", description="Of photos whose source names none; it stands in every pair.")
    max_pixels: int = Field(
        default=100_000_000, ge=1, description="Larger photos are rejected before they are decoded."
    )
    min_side: int = Field(default=32, ge=1, description="Photos with a shorter side, in pixels, are rejected.")
    max_bytes: int = Field(default=100_000_000, ge=1, description="Larger files are rejected before they are read.")
    max_near_duplicate_distance: int | None = Field(
        default=3,
        ge=0,
        le=8,
        description="Photos whose 64-bit perceptual hashes differ in at most so many bits are one; null: never.",
    )
    threads: int = Field(default=8, ge=1, description="Photos that are read at once.")
    s3: S3Config | None = Field(default=None, description="How this source's S3 is reached; default, as the lake's.")


MissingPhotos = Literal["reject", "skip"]
_MISSING = "photos that the labels name and `path` lacks: a reject row each, or skipped and counted in the log."


class ImageFolderConfig(SourceConfig):
    """Any folder of photos, with or without human labels."""

    kind: Literal["image_folder"] = Field(default="image_folder", description="A folder or S3 prefix of photos.")
    labels: Literal["none", "coco", "yolo"] = Field(default="none", description="Format of the human labels.")
    labels_path: Location | None = Field(
        default=None,
        description="COCO: the JSON of annotations. YOLO: the folder of .txt files; default, `labels` beside `images`.",
    )
    class_names: Location | None = Field(
        default=None, description="YOLO: data.yaml or a text file with a name a line; default, the 80 classes of COCO."
    )
    missing_photos: MissingPhotos = Field(default="reject", description=f"COCO: what becomes of {_MISSING}")


class Objects365Config(SourceConfig):
    """Objects365 v2 as published: patch folders or archives, and the COCO-style JSON."""

    kind: Literal["objects365"] = Field(default="objects365", description="Objects365 v2.")
    path: Location = Field(
        description="Folder or S3 prefix that holds `patchN/` folders, or `patchN.tar.gz`, `.tar` or `.zip` archives."
    )
    annotations: Location = Field(description="`zhiyuan_objv2_train.json` or `zhiyuan_objv2_val.json`.")
    boxes: Literal["xywh", "xyxy"] = Field(
        default="xywh", description="What `bbox` holds; a mirror on a model hub has xyxy."
    )
    missing_photos: MissingPhotos = Field(
        default="reject", description=f"What becomes of {_MISSING} Absent patches are awaited."
    )


class OpenImagesConfig(SourceConfig):
    """OpenImages V7 as published: photos of one subset and the CSV tables."""

    kind: Literal["openimages"] = Field(default="openimages", description="OpenImages V7.")
    path: Location = Field(
        description="Folder of `<ImageID>.jpg`, or the public bucket: `s3://open-images-dataset/train`, with "
        "`s3: {unsigned: true, region: us-east-1}`."
    )
    boxes: Location = Field(description="CSV of boxes, 13 columns or the 21 of `oidv6-train-annotations-bbox.csv`.")
    images: Location = Field(description="CSV of images, with `Rotation`, `License` and more.")
    class_descriptions: Location = Field(description="`class-descriptions-boxable.csv` or the V7 one: MID, name.")
    hierarchy: Location | None = Field(default=None, description="`bbox_labels_600_hierarchy.json`.")
    relationships: Location | None = Field(default=None, description="CSV of visual relationships.")
    missing_photos: MissingPhotos = Field(default="reject", description=f"What becomes of {_MISSING}")


class DownloadConfig(_Section):
    """How photos are fetched from the addresses of a table."""

    concurrency: int = Field(default=32, ge=1, description="Downloads at once.")
    max_attempts: int = Field(default=3, ge=1, description="Tries of each address, with growing waits between.")
    timeout_s: float = Field(default=15, gt=0, description="Seconds without a byte until a try is given up.")
    max_redirects: int = Field(default=5, ge=0, description="Redirects that are followed.")
    allow_private_addresses: bool = Field(
        default=False, description="Ask hosts on private, loopback and link-local addresses too."
    )
    user_agent: str = Field(default="spatialforge", description="Who asks; add an address for complaints.")
    keep: bool = Field(default=False, description="Keep downloads in the cache after their shard has been written.")


class PixMoConfig(SourceConfig):
    """PixMo as published: Parquet tables with the addresses of photos."""

    kind: Literal["pixmo"] = Field(default="pixmo", description="PixMo.")
    path: Location = Field(description="Parquet file, or folder or S3 prefix of Parquet files, of one table.")
    table: Literal["points", "count", "cap"] = Field(description="pixmo-points, pixmo-count or pixmo-cap.")
    point_unit: Literal["auto", "percent", "pixels"] = Field(
        default="auto", description="Of the points; auto: percent for pixmo-points, pixels for pixmo-count."
    )
    download: DownloadConfig = Field(default=DownloadConfig(), description="How photos are fetched.")


SOURCE_KINDS = ("image_folder", "objects365", "openimages", "pixmo")


def _kind_of(value: Any) -> str:  # noqa: ANN401 - raw YAML or a parsed section
    return str(value.get("kind", "image_folder") if isinstance(value, Mapping) else getattr(value, "kind", ""))


AnySourceConfig = Annotated[
    Annotated[ImageFolderConfig, Tag("image_folder")]
    | Annotated[Objects365Config, Tag("objects365")]
    | Annotated[OpenImagesConfig, Tag("openimages")]
    | Annotated[PixMoConfig, Tag("pixmo")],
    Discriminator(_kind_of),
]
"""A source of photos, told by its `kind`; without one, a folder."""


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
    batch_size: int = Field(
        default=16,
        ge=1,
        description="Photos read and passed to the network at a time; halved where a GPU's memory does not take them.",
    )


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


class VisionLanguageConfig(WeightsConfig):
    """A vision-language model, on this machine or behind an OpenAI-compatible server such as vLLM.

    Keys never stand here: `api_key_env` names the environment variable that holds one.
    """

    backend: Literal["none", "transformers", "openai"] = Field(
        default="none",
        description="`transformers`: the weights above; `openai`: the server at `base_url`; `none`: nobody is asked.",
    )
    base_url: str | None = Field(
        default=None, description="openai: where the server's paths begin: `http://127.0.0.1:8000/v1`."
    )
    model: str | None = Field(default=None, description="openai: name of the model, as the server lists it.")
    api_key_env: str | None = Field(
        default=None,
        pattern=_VARIABLE,
        description="openai: environment variable that holds the key; none: no key is sent.",
    )
    max_new_tokens: int = Field(default=256, ge=1, description="Longest reply.")
    max_side: int = Field(default=1280, ge=64, description="Photos with a longer side, in pixels, are shrunk to it.")
    timeout_s: float = Field(default=120, gt=0, description="openai: seconds without a byte until a try is given up.")
    max_attempts: int = Field(default=4, ge=1, description="openai: tries of each request, with growing waits between.")
    concurrency: int = Field(default=16, ge=1, description="openai: requests at once.")


class JudgeConfig(VisionLanguageConfig):
    """The vision-language model that is asked verified questions."""

    sample_pairs: int = Field(default=200, ge=1, description="Of a shard's verified pairs, chosen by hash.")


class ModelsConfig(_Section):
    """The networks that the pipeline runs."""

    detector: DetectorConfig = Field(default=DetectorConfig(), description="Finds objects.")
    second_detector: DetectorConfig | None = Field(
        default=DetectorConfig(),
        description="Another network that must find the same objects; `auto`: the embedded one, unless it is the "
        "first already; null: none.",
    )
    pose: PoseConfig = Field(default=PoseConfig(), description="Reads people's keypoints.")
    second_pose: PoseConfig | None = Field(
        default=PoseConfig(),
        description="Another network that must read the same turn of people; `auto` and null as above.",
    )
    depth: tuple[DepthConfig, ...] = Field(
        default=(DepthConfig(),), description="Read depth, each under a name of its own; `[]`: geometry alone."
    )
    describer: VisionLanguageConfig = Field(
        default=VisionLanguageConfig(), description="Finds phrases that fit one object: docs/vision-language.md."
    )
    judge: JudgeConfig = Field(
        default=JudgeConfig(), description="Answers a sample of the verified questions: docs/vision-language.md."
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
    zero_counts: bool = Field(
        default=True, description="Count absent classes too; off for a detector that does not know COCO's classes."
    )
    val_share: Share = Field(default=0.02, description="Share of photos, by content, in the split `val`.")


class VerificationConfig(_Section):
    """Thresholds of the rules that a pair must pass."""

    min_score: Share = Field(default=0.5, description="Detector's score of each object named.")
    min_second_score: Share = Field(
        default=0.2, description="Second detector's score of each object named, where it knows the class."
    )
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
    min_frontal_facing: Share = Field(
        default=0.8, description="Perspective, in front or behind: turn to or from the camera."
    )
    max_front_offset: Share = Field(
        default=0.15, description="Perspective, in front or behind: space between centres, share of the photo's width."
    )
    min_color_share: Share = Field(default=0.6, description="Phrases: share of a plain colour, of all of the class.")
    min_ordinal_gap: float = Field(
        default=0.03, gt=0, description="Phrases: space between neighbours in a row, share of the photo's width."
    )
    min_size_ratio: float = Field(default=1.5, gt=1, description="Phrases: area over the next one's in size.")
    min_described_iou: Share = Field(
        default=0.5,
        description="Phrases of a vision-language model: overlap with what it finds for them, in photo and mirror.",
    )


class GatesConfig(_Section):
    """What a partition must satisfy as a whole."""

    max_rejected_images: Share = Field(default=0.05, description="Share of a shard's photos that may be unusable.")
    max_rejected_pairs: Share = Field(default=1.0, description="Share of candidates that verification may drop.")
    max_answer_share: Share = Field(default=0.9, description="Largest share of one answer of a task with choices.")
    min_set_pairs: int = Field(
        default=1_000, ge=1, description="Whole set: with fewer verified pairs, quotas and answers are not judged."
    )
    max_quota_gap: Share = Field(
        default=0.1, description="Whole set: how far the share of a task may lie from its quota."
    )
    max_drift: float = Field(
        default=6, ge=3, description="Whole set: how many usual spreads a shard may lie away from the other shards."
    )
    max_set_answer_share: Share = Field(
        default=0.6, description="Whole set: largest share of one answer among the pairs of a task and kind of answer."
    )
    max_place_lean: Share = Field(
        default=0.1, description="Whole set: how far above chance one place among the options may be right."
    )


class BalanceConfig(_Section):
    """How even a release must be."""

    max_majority_share: float = Field(
        default=0.6, ge=0.5, le=1, description="Of two categories compared, share of pairs that one of them wins."
    )
    max_lean: float = Field(
        default=0.01, ge=0, le=0.5, description="How far above chance one category, answer word or place may be right."
    )
    max_template_share: float = Field(
        default=0.2, gt=0, le=1, description="Of a task's pairs, of one template; of few templates, an equal share."
    )
    min_pairs: int = Field(default=50, ge=1, description="Fewer pairs show no bias: no bound is set on them.")
    target_pairs: int | None = Field(
        default=None, ge=1, description="Pairs of the release, split by `quotas`; none: all that balance allows."
    )
    baseline_pairs: int = Field(
        default=50_000, ge=1, description="Pairs of each task that the text-only baseline judges."
    )


class FreshnessConfig(_Section):
    """How old the newest partition of an asset may be."""

    fail_after_h: float = Field(ge=0.1, description="Hours after which the asset counts as not fresh.")
    warn_after_h: float | None = Field(
        default=None, ge=0.1, description="Hours after which Dagster warns; fewer than `fail_after_h`."
    )

    @model_validator(mode="after")
    def _warns_before_it_fails(self) -> Self:
        if self.warn_after_h is not None and self.warn_after_h >= self.fail_after_h:
            raise ValueError("warn_after_h must be less than fail_after_h")
        return self


class _ChannelConfig(_Section):
    timeout_s: float = Field(
        default=5, gt=0, le=10, description="Seconds without an answer until a try is given up: a tick has 60."
    )
    max_attempts: int = Field(default=3, ge=1, le=5, description="Tries at each tick, with growing waits between.")


class EmailConfig(_ChannelConfig):
    """A mail server that takes word of failed runs.

    A password never stands here: `password_env` or `password_file` says where it is.
    """

    host: str = Field(min_length=1, description="Name or address of the SMTP server.")
    port: int = Field(default=587, ge=1, le=65535, description="Its port; 465 is usual for `security: tls`.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="`none` only for a relay on this machine or in a network of your own."
    )
    sender: Address = Field(description="Address that the mail is from.")
    recipients: tuple[Address, ...] = Field(min_length=1, description="Addresses that it goes to.")
    user: str | None = Field(default=None, description="Who logs in; none: nobody does.")
    password_env: str | None = Field(
        default=None, pattern=_VARIABLE, description="Environment variable that holds the password of `user`."
    )
    password_file: Path | None = Field(default=None, description="File that holds it; give one of the two.")

    @model_validator(mode="after")
    def _has_a_password_for_its_user(self) -> Self:
        given = [place for place in (self.password_env, self.password_file) if place is not None]
        if len(given) != (0 if self.user is None else 1):
            raise ValueError("a user needs one of password_env and password_file; without a user give neither")
        if self.user is not None and self.security == "none":
            raise ValueError("security none sends no password: take starttls or tls, or leave user out")
        return self


class WebhookConfig(_ChannelConfig):
    """An address that takes word of failed runs as JSON.

    Addresses of webhooks are secrets: `url_env` or `url_file` says where it is.
    """

    url_env: str | None = Field(
        default=None, pattern=_VARIABLE, description="Environment variable that holds the address."
    )
    url_file: Path | None = Field(default=None, description="File that holds it; give one of the two.")

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        if (self.url_env is None) == (self.url_file is None):
            raise ValueError("a webhook needs one of url_env and url_file")
        return self


class AlertsConfig(_Section):
    """Who is told when a run fails: docs/observability.md."""

    ui_url: str = Field(
        default="http://127.0.0.1:3000", pattern=r"^https?://\S+$", description="Where links to runs begin."
    )
    email: EmailConfig | None = Field(default=None, description="Tell by e-mail; null: do not.")
    webhook: WebhookConfig | None = Field(default=None, description="Tell by webhook; null: do not.")


class ForgeConfig(_Section):
    """The whole configuration."""

    profile: Literal["demo", "production"] = Field(
        default="demo", description="`production` refuses the backend `auto`: every network is named and pinned."
    )
    lake: Location = Field(default=Path("lake"), description="Folder of the tables, or `s3://bucket/prefix`.")
    s3: S3Config = Field(default=S3Config(), description="How the S3 of the lake, and of sources, is reached.")
    cache: Path = Field(
        default=Path(".forge"), description="Local folder of working files that can be made anew: indexes, downloads."
    )
    vocabulary: Path | None = Field(
        default=None, description="CSV of class names in place of the packaged one: docs/sources.md."
    )
    sources: Mapping[str, AnySourceConfig] = Field(
        default_factory=dict, description="By name: lower-case letters, digits and underscores."
    )
    models: ModelsConfig = Field(default=ModelsConfig(), description="Networks.")
    tasks: TasksConfig = Field(default=TasksConfig(), description="Candidates.")
    verification: VerificationConfig = Field(default=VerificationConfig(), description="Thresholds of the rules.")
    gates: GatesConfig = Field(default=GatesConfig(), description="Thresholds of the gates.")
    balance: BalanceConfig = Field(default=BalanceConfig(), description="How even a release is.")
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
    alerts: AlertsConfig = Field(default=AlertsConfig(), description="Who is told when a run fails.")
    freshness: Mapping[str, FreshnessConfig] = Field(
        default_factory=dict, description="By asset, such as `verified_qa`: how old its newest partition may be."
    )

    @model_validator(mode="after")
    def _production_never_falls_back(self) -> Self:
        if self.profile == "production":
            networks: dict[str, WeightsConfig] = {"detector": self.models.detector, "pose": self.models.pose}
            if self.models.second_detector is not None:
                networks["second_detector"] = self.models.second_detector
            if self.models.second_pose is not None and self.models.pose.backend != "none":
                networks["second_pose"] = self.models.second_pose
            networks |= {f"depth[{i}]": depth for i, depth in enumerate(self.models.depth)}
            automatic = [name for name, network in networks.items() if network.model_dump()["backend"] == "auto"]
            if automatic:
                raise ValueError(
                    f"profile production takes no backend `auto` (models: {', '.join(automatic)}): "
                    "name backend, weights and their revision or sha256"
                )
        return self

    def source(self, name: str) -> AnySourceConfig:
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
    except ValidationError as error:
        raise ConfigError(f"{path}: {_told(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from error
    return _anchored(config, path.absolute().parent)


def _told(error: ValidationError) -> str:
    """Each fault by its field, as the file has it: without the name of the kind that pydantic puts in."""
    faults = [
        (".".join(str(part) for part in fault["loc"] if part not in SOURCE_KINDS), fault["msg"])
        for fault in error.errors()
    ]
    return "; ".join(f"{field}: {message}" if field else message for field, message in faults)


def write_config(path: Path, sources: Mapping[str, AnySourceConfig]) -> Path:
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
    sources = {name: _anchored_source(source, folder) for name, source in config.sources.items()}
    places = {name: _anchored_place(getattr(config, name), folder) for name in ("lake", "cache", "vocabulary")}
    sections = {
        "sources": sources,
        "models": _anchored_models(config.models, folder),
        "alerts": _anchored_alerts(config.alerts, folder),
    }
    return config.model_copy(update={**places, **sections})


def _anchored_source(source: AnySourceConfig, folder: Path) -> AnySourceConfig:
    places = {name: _anchored_place(value, folder) for name, value in source if isinstance(value, Path)}
    return source.model_copy(update=places)


def _anchored_place(place: Location | None, folder: Path) -> Location | None:
    return folder / place.expanduser() if isinstance(place, Path) else place


def _anchored_models(models: ModelsConfig, folder: Path) -> ModelsConfig:
    """Weights written as a path (`./x`, `../x`, `~/x`) start at the configuration's folder; other names are hub ids."""

    def anchor(network: _Network) -> _Network:
        if network.weights is None or not network.weights.startswith((".", "~")):
            return network
        return network.model_copy(update={"weights": str(folder / Path(network.weights).expanduser())})

    return ModelsConfig(
        detector=anchor(models.detector),
        second_detector=anchor(models.second_detector) if models.second_detector else None,
        pose=anchor(models.pose),
        second_pose=anchor(models.second_pose) if models.second_pose else None,
        depth=tuple(anchor(depth) for depth in models.depth),
        describer=anchor(models.describer),
        judge=anchor(models.judge),
    )


def _anchored_alerts(alerts: AlertsConfig, folder: Path) -> AlertsConfig:
    def anchor(channel: _Channel) -> _Channel:
        places = {name: _anchored_place(value, folder) for name, value in channel if isinstance(value, Path)}
        return channel.model_copy(update=places)

    return alerts.model_copy(
        update={
            "email": anchor(alerts.email) if alerts.email else None,
            "webhook": anchor(alerts.webhook) if alerts.webhook else None,
        }
    )
