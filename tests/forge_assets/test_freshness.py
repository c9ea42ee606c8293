"""How old the newest partition of an asset may be."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from forge_assets.definitions import build_definitions
from forge_resources.config import ConfigError
from forge_resources.dagster_resources import ForgeResource


def policies(folder: Path, freshness: object) -> dict[str, dg.FreshnessPolicy]:
    file = folder / "forge.yaml"
    file.write_text(yaml.safe_dump({"freshness": freshness}))
    specs = build_definitions(ForgeResource(config_path=str(file))).resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec.freshness_policy for spec in specs if spec.freshness_policy is not None}


def test_no_asset_has_a_policy_unless_it_is_configured(tmp_path: Path) -> None:
    assert policies(tmp_path, {}) == {}


def test_the_named_assets_have_the_configured_windows(tmp_path: Path) -> None:
    found = policies(
        tmp_path, {"raw_images": {"fail_after_h": 48, "warn_after_h": 24}, "release": {"fail_after_h": 720}}
    )
    assert found == {
        "raw_images": dg.FreshnessPolicy.time_window(timedelta(days=2), timedelta(days=1)),
        "release": dg.FreshnessPolicy.time_window(timedelta(days=30)),
    }


def test_one_of_two_assets_that_are_made_together_may_have_a_policy(tmp_path: Path) -> None:
    assert set(policies(tmp_path, {"verified_qa": {"fail_after_h": 1}})) == {"verified_qa"}


def test_an_asset_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"freshness: unknown asset verified; there are: .*verified_qa"):
        policies(tmp_path, {"verified": {"fail_after_h": 1}})


def test_a_warning_comes_before_the_failure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="warn_after_h must be less than fail_after_h"):
        policies(tmp_path, {"release": {"fail_after_h": 1, "warn_after_h": 1}})


def test_every_policy_leaves_gates_and_jobs_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "forge.yaml"
    file.write_text(yaml.safe_dump({"freshness": {"raw_images": {"fail_after_h": 1}}}))
    plain, judged = build_definitions(), build_definitions(ForgeResource(config_path=str(file)))
    graphs = [definitions.resolve_asset_graph() for definitions in (plain, judged)]
    assert graphs[0].asset_check_keys == graphs[1].asset_check_keys
    jobs = [definitions.resolve_job_def("photos_to_pairs") for definitions in (plain, judged)]
    assert jobs[0].asset_layer.executable_asset_keys == jobs[1].asset_layer.executable_asset_keys
