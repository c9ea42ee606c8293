"""The only wiring: which assets, gates, jobs, schedules, sensors and resources there are."""

import dagster as dg

from forge_assets.audits.asset import task_balance
from forge_assets.automation import new_photos, nightly, photos_to_pairs
from forge_assets.candidate_qa.asset import candidate_qa
from forge_assets.depth_maps.asset import depth_maps
from forge_assets.descriptions.asset import descriptions
from forge_assets.detections.asset import detections
from forge_assets.gates.factory import GATES, gate_check
from forge_assets.judgements.asset import judgements
from forge_assets.raw_images.asset import raw_images
from forge_assets.release.balance_asset import balance_plan_asset, guessability
from forge_assets.release.duplicates import duplicates
from forge_assets.release.release_asset import release
from forge_assets.scenes.asset import scenes
from forge_assets.verified_qa.asset import verification
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
        forge: names the configuration; by default the one that FORGE_CONFIG names, else `forge.yaml`.
    """
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=[gate_check(table) for table in GATES],
        jobs=[photos_to_pairs],
        schedules=[nightly],
        sensors=[new_photos],
        resources={"forge": forge or ForgeResource()},
        executor=dg.in_process_executor,
    )


definitions = build_definitions()
