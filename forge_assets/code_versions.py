"""Code versions that change with the models and thresholds that rows rest on.

Dagster marks what was made under another code version as unsynced. It starts nothing for that: whether a shard is worth
the networks again is for people to say.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import dagster as dg
from pydantic import BaseModel

from forge_resources.config import ForgeConfig, WeightsConfig

_OF_HOW_IT_RUNS: Final = frozenset(
    {"device", "batch_size", "concurrency", "timeout_s", "max_attempts", "api_key_env", "base_url"}
)
"""Settings that say where and how fast a network runs, not what it is."""


def settings_behind(config: ForgeConfig) -> Mapping[str, Sequence[BaseModel | None]]:
    """By table, the settings that its rows rest on."""
    models = config.models
    return {
        "detections": [models.detector, models.second_detector, models.pose, models.second_pose],
        "depth_maps": models.depth,
        "descriptions": [models.describer, config.tasks],
        "candidate_qa": [config.tasks, config.verification],
        "verified_qa": [config.verification],
        "rejected_qa": [config.verification],
        "judgements": [models.judge],
    }


def with_settings_in_code_versions(
    assets: Iterable[dg.AssetsDefinition], config: ForgeConfig
) -> Sequence[dg.AssetsDefinition]:
    """The same assets; the code version of those that rest on settings becomes `<code>+<digest of the settings>`."""
    digests = {table: _digest(settings) for table, settings in settings_behind(config).items()}

    def versioned(spec: dg.AssetSpec) -> dg.AssetSpec:
        digest = digests.get(spec.key.to_user_string())
        return spec if digest is None else spec.replace_attributes(code_version=f"{spec.code_version}+{digest}")

    return dg.map_asset_specs(versioned, assets)


def _digest(settings: Sequence[BaseModel | None]) -> str:
    told = [_told(section) if section is not None else "null" for section in settings]
    return hashlib.blake2b("\n".join(told).encode(), digest_size=4).hexdigest()


def _told(section: BaseModel) -> str:
    """What counts of a section as text; weights that a hash names are the same wherever they lie."""
    is_named_by_hash = isinstance(section, WeightsConfig) and section.sha256 is not None
    return section.model_dump_json(exclude={*_OF_HOW_IT_RUNS, *(["weights"] if is_named_by_hash else [])})
