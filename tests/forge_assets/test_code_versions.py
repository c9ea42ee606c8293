"""Code versions that change with models and thresholds."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from forge_assets.code_versions import settings_behind
from forge_assets.definitions import build_definitions
from forge_assets.tables import SCHEMAS
from forge_resources.config import ForgeConfig
from forge_resources.dagster_resources import ForgeResource

PINNED = {"backend": "ultralytics", "sha256": "ab" * 32}
RESTS_ON = {
    "detections": {"detector": {"score_floor": 0.2}},
    "depth_maps": {"depth": [{"name": "depth", "stored_side": 64}]},
    "descriptions": {"describer": {"max_side": 640}},
    "judgements": {"judge": {"sample_pairs": 3}},
}


def versions(folder: Path, **sections: Any) -> dict[str, str | None]:
    file = folder / "forge.yaml"
    file.write_text(yaml.safe_dump(sections))
    specs = build_definitions(ForgeResource(config_path=str(file))).resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec.code_version for spec in specs}


def changed(folder: Path, **sections: Any) -> set[str]:
    """The assets whose code version is another one than under the defaults."""
    plain, other = versions(folder), versions(folder, **sections)
    return {name for name, version in plain.items() if other[name] != version}


@pytest.mark.parametrize(("table", "models"), RESTS_ON.items(), ids=RESTS_ON)
def test_another_network_changes_the_version_of_its_stage_alone(
    tmp_path: Path, table: str, models: dict[str, Any]
) -> None:
    assert changed(tmp_path, models=models) == {table}


def test_thresholds_change_the_versions_of_the_stages_that_use_them(tmp_path: Path) -> None:
    assert changed(tmp_path, verification={"min_score": 0.6}) == {"candidate_qa", "verified_qa", "rejected_qa"}
    assert changed(tmp_path, tasks={"max_objects": 5}) == {"candidate_qa", "descriptions"}


def test_where_and_how_fast_networks_run_changes_nothing(tmp_path: Path) -> None:
    detector = {"batch_size": 2, "device": "cuda:1"}
    judge = {"base_url": "http://127.0.0.1:8000/v1", "concurrency": 2, "timeout_s": 3, "max_attempts": 1}
    assert changed(tmp_path, models={"detector": detector, "judge": judge}, gates={"max_drift": 7}) == set()


def test_weights_with_a_hash_are_the_same_wherever_they_lie(tmp_path: Path) -> None:
    here, there = (
        versions(tmp_path, models={"detector": PINNED | {"weights": path}})
        for path in ("./net.pt", "/srv/weights/n.pt")
    )
    assert here == there
    other = versions(tmp_path, models={"detector": PINNED | {"sha256": "cd" * 32, "weights": "./net.pt"}})
    assert other["detections"] != here["detections"]


def test_the_settings_named_are_of_tables_that_there_are() -> None:
    assert set(settings_behind(ForgeConfig())) <= set(SCHEMAS)
