"""Write docs/configuration.md anew from the models in forge_resources/config.py.

Run `python infra/configuration_reference.py > docs/configuration.md` after a field has changed.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from forge_resources.config import (
    DEFAULT_FILE,
    ENVIRONMENT_VARIABLE,
    AlertsConfig,
    BalanceConfig,
    DepthConfig,
    DetectorConfig,
    DownloadConfig,
    EmailConfig,
    ForgeConfig,
    FreshnessConfig,
    GatesConfig,
    ImageFolderConfig,
    JudgeConfig,
    ModelsConfig,
    Objects365Config,
    OpenImagesConfig,
    PixMoConfig,
    PoseConfig,
    TasksConfig,
    VerificationConfig,
    VisionLanguageConfig,
    WebhookConfig,
)
from forge_resources.s3 import S3Config, S3Uri

SECTIONS: dict[str, type[BaseModel]] = {
    "The file": ForgeConfig,
    "s3": S3Config,
    "sources.NAME, kind image_folder": ImageFolderConfig,
    "sources.NAME, kind objects365": Objects365Config,
    "sources.NAME, kind openimages": OpenImagesConfig,
    "sources.NAME, kind pixmo": PixMoConfig,
    "sources.NAME.download": DownloadConfig,
    "models": ModelsConfig,
    "models.detector": DetectorConfig,
    "models.pose": PoseConfig,
    "models.depth[]": DepthConfig,
    "models.describer": VisionLanguageConfig,
    "models.judge": JudgeConfig,
    "tasks": TasksConfig,
    "verification": VerificationConfig,
    "gates": GatesConfig,
    "balance": BalanceConfig,
    "alerts": AlertsConfig,
    "alerts.email": EmailConfig,
    "alerts.webhook": WebhookConfig,
    "freshness.ASSET": FreshnessConfig,
}

OPENING = f"""# Configuration

One YAML file holds all settings: the one that `--config` names, else the one that `{ENVIRONMENT_VARIABLE}` names,
else `{DEFAULT_FILE}` in the working folder. Relative paths in it start at its own folder. Unknown fields are refused.

This page is generated: `python infra/configuration_reference.py > docs/configuration.md`.
Sections whose fields all have defaults may be left out. `forge init` writes the rest.
The rules that `verification` sets are described in [tasks and verification](tasks-and-verification.md), the weights
in [models and licences](models-and-licences.md).

```yaml
profile: production
lake: lake
sources:
  photos:
    path: photos
    license: CC-BY-4.0
models:
  detector:
    backend: transformers
    weights: PekingU/rtdetr_r18vd
    revision: "0000000000000000000000000000000000000000" # the commit that you mean
  second_detector:
    backend: embedded
  pose:
    backend: none
  depth:
    - name: indoor
      backend: onnx
      weights: ./weights/depth.onnx
      sha256: "0000000000000000000000000000000000000000000000000000000000000000" # of the file that you mean
      kind: relative_inverse
      input_size: [518, 518]
verification:
  min_score: 0.6
```
"""

_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_MORE = "..."
_NAMES: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "true or false", Ellipsis: _MORE}


def type_text(annotation: Any) -> str:  # noqa: ANN401 - whatever a type annotation may be
    """A type as a reader of YAML knows it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin is not None:
        return _generic_text(origin, [type_text(argument) for argument in arguments if argument is not NoneType])
    for base, text in ((BaseModel, "section"), (PurePath, "path"), (S3Uri, "s3 address")):
        if isinstance(annotation, type) and issubclass(annotation, base):
            return text
    return _NAMES[annotation]


def _generic_text(origin: Any, arguments: list[str]) -> str:  # noqa: ANN401 - whatever has arguments
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(arguments))
    if origin is Mapping:
        return f"map of {arguments[1]}"
    return f"list of {arguments[0]}" if arguments[-1] == _MORE else f"[{', '.join(arguments)}]"


def bounds_text(field: FieldInfo) -> str:
    """The values that a field takes, where not all of its type: `≥ 0, ≤ 1`."""
    bounds = [
        f"{sign} {getattr(constraint, name):,}"
        for constraint in field.metadata
        for name, sign in _SIGNS.items()
        if hasattr(constraint, name)
    ]
    patterns = [f"`{constraint.pattern}`" for constraint in field.metadata if getattr(constraint, "pattern", None)]
    return ", ".join(bounds + patterns)


def default_text(field: FieldInfo) -> str:
    """A default as YAML would say it."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    match default:
        case None:
            return "none"
        case BaseModel() | tuple():
            return "see below"
        case dict():
            return ", ".join(f"`{name}: {value}`" for name, value in default.items()) or "none"
        case _:
            return f"`{default}`"


def rows(model: type[BaseModel]) -> Iterator[str]:
    """A line of the table for each field."""
    for name, field in model.model_fields.items():
        bounds = bounds_text(field)
        kind = type_text(field.annotation) + (f", {bounds}" if bounds else "")
        cells = (f"`{name}`", kind, default_text(field), field.description or "")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def summary(model: type[BaseModel]) -> str:
    """The first paragraphs of a model's docstring, their lines joined."""
    paragraphs = (model.__doc__ or "").strip().split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in paragraph.splitlines()) for paragraph in paragraphs)


def page() -> str:
    """The whole page."""
    parts = [OPENING]
    for title, model in SECTIONS.items():
        heading = title if title == "The file" else f"`{title}`"
        table = ["| Field | Type | Default | Meaning |", "|---|---|---|---|", *rows(model)]
        parts.append("\n".join([f"## {heading}", "", summary(model), "", *table, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
