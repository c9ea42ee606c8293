"""The only wiring: which assets, gates, jobs, schedules, sensors and resources there are."""

import dagster as dg

from forge_assets.alerts import alert_sensors
from forge_assets.audits.asset import task_balance
from forge_assets.automation import new_photos, nightly, photos_to_pairs, when_inputs_pass
from forge_assets.candidate_qa.asset import candidate_qa
from forge_assets.code_versions import with_settings_in_code_versions
from forge_assets.depth_maps.asset import depth_maps
from forge_assets.descriptions.asset import descriptions
from forge_assets.detections.asset import detections
from forge_assets.freshness import with_freshness
from forge_assets.gates.factory import GATES, gate_check
from forge_assets.judgements.asset import judgements
from forge_assets.raw_images.asset import raw_images
from forge_assets.release.balance_asset import balance_plan_asset, guessability
from forge_assets.release.duplicates import duplicates
from forge_assets.release.release_asset import release
from forge_assets.scenes.asset import scenes
from forge_assets.verified_qa.asset import verification
from forge_resources.config import ForgeConfig
from forge_resources.dagster_resources import ForgeResource

ASSETS = (
    raw_images,
    detections,
    depth_maps,
    scenes,
    descriptions,
    candidate_qa,
    verification,
    judgements,
    duplicates,
    guessability,
    balance_plan_asset,
    release,
    task_balance,
)


def build_definitions(forge: ForgeResource | None = None) -> dg.Definitions:
    """All definitions, for Dagster's tools, the CLI and the tests alike.

    Args:
        forge: names the configuration; by default the one that FORGE_CONFIG names, else `forge.yaml`. Where there is no
            such file, as where assets are only listed, its defaults are taken.

    Raises:
        ConfigError: if the configuration is wrong.
    """
    forge = forge or ForgeResource()
    config = forge.config if forge.config_file.exists() else ForgeConfig()
    return dg.Definitions(
        assets=with_freshness(with_settings_in_code_versions(ASSETS, config), config.freshness),
        asset_checks=[gate_check(table) for table in GATES],
        jobs=[photos_to_pairs],
        schedules=[nightly],
        sensors=[new_photos, when_inputs_pass, *alert_sensors(config.alerts)],
        resources={"forge": forge},
        executor=dg.in_process_executor,
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """What Dagster's tools load from this module: with the configuration as it is then, not when it is imported."""
    return build_definitions()
