"""How old the newest partition of an asset may be, as Dagster's freshness policies."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import dagster as dg

from forge_resources.config import ConfigError, FreshnessConfig


def with_freshness(
    assets: Iterable[dg.AssetsDefinition], freshness: Mapping[str, FreshnessConfig]
) -> Sequence[dg.AssetsDefinition]:
    """The same assets, those that are named with a freshness policy: Dagster's daemon judges them by it.

    Args:
        assets: all assets.
        freshness: windows by name of asset.

    Raises:
        ConfigError: for a name that no asset has.
    """
    assets = list(assets)
    names = sorted(key.to_user_string() for asset in assets for key in asset.keys)
    unknown = sorted({*freshness} - {*names})
    if unknown:
        raise ConfigError(f"freshness: unknown asset {', '.join(unknown)}; there are: {', '.join(names)}")

    def judged(spec: dg.AssetSpec) -> dg.AssetSpec:
        window = freshness.get(spec.key.to_user_string())
        return spec if window is None else dg.apply_freshness_policy(spec, _policy(window))

    return dg.map_asset_specs(judged, assets) if freshness else assets


def _policy(window: FreshnessConfig) -> dg.FreshnessPolicy:
    warn_after = None if window.warn_after_h is None else timedelta(hours=window.warn_after_h)
    return dg.FreshnessPolicy.time_window(timedelta(hours=window.fail_after_h), warn_after)
