"""The asset graph as Dagster sees it."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from forge_assets.definitions import build_definitions
from forge_assets.partitions import SHARDS

HEAVY = ("torch", "torchvision", "ultralytics", "transformers", "great_expectations", "pandas", "cv2", "duckdb")
ROOT = Path(__file__).parent.parent.parent

GRAPH = {
    "raw_images": set(),
    "detections": {"raw_images"},
    "depth_maps": {"raw_images"},
    "scenes": {"detections", "depth_maps"},
    "candidate_qa": {"scenes"},
    "verified_qa": {"candidate_qa"},
    "rejected_qa": {"candidate_qa"},
    "duplicates": {"raw_images"},
    "guessability": {"verified_qa"},
    "balance_plan": {"verified_qa"},
    "task_balance": {"verified_qa"},
    "release": {"verified_qa", "duplicates", "balance_plan"},
    "descriptions": {"raw_images", "scenes"},
    "judgements": {"raw_images", "verified_qa"},
}

UNPARTITIONED = ("duplicates", "guessability", "balance_plan", "task_balance", "release")
OPTIONAL = ("descriptions", "judgements")
"""Made where a vision-language model is configured and someone asks for them."""


def test_the_graph_is_the_one_that_the_design_draws() -> None:
    graph = build_definitions().resolve_asset_graph()
    found = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert found == GRAPH


def test_every_stage_is_partitioned_by_source_and_shard_and_the_balance_is_not() -> None:
    graph = build_definitions().resolve_asset_graph()
    for name in GRAPH:
        partitions = graph.get(dg.AssetKey(name)).partitions_def
        assert partitions == (None if name in UNPARTITIONED else SHARDS), name


def test_every_asset_has_what_the_graph_shows_of_it() -> None:
    for spec in build_definitions().resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.owners, spec.key
        assert spec.kinds, spec.key
        assert spec.group_name != "default", spec.key
        assert spec.code_version, spec.key


def test_every_gated_table_has_one_blocking_partitioned_gate() -> None:
    graph = build_definitions().resolve_asset_graph()
    of_partitions = [key for key in graph.asset_check_keys if key.asset_key.to_user_string() not in UNPARTITIONED]
    gates = {key.name: graph.get(key) for key in of_partitions}
    assert set(gates) == {f"{name}_gate" for name in set(GRAPH) - {"rejected_qa", *UNPARTITIONED, *OPTIONAL}}
    for name, gate in gates.items():
        assert gate.blocking, name
        assert gate.partitions_def == SHARDS, name


def test_checks_over_the_whole_set_block_nothing() -> None:
    graph = build_definitions().resolve_asset_graph()
    checks = [graph.get(key) for key in graph.asset_check_keys if key.asset_key == dg.AssetKey("task_balance")]
    assert {check.key.name for check in checks} == {"quotas", "drift", "answer_balance"}
    assert not any(check.blocking or check.partitions_def for check in checks)


@pytest.mark.slow
def test_loading_the_definitions_imports_no_heavy_library() -> None:
    program = f"import sys, forge_assets.definitions; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_the_workspace_file_names_the_definitions() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    assert workspace == {"load_from": [{"python_module": "forge_assets.definitions"}]}


def test_the_job_makes_all_stages_of_one_shard() -> None:
    job = build_definitions().resolve_job_def("photos_to_pairs")
    made = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert made == set(GRAPH) - {*UNPARTITIONED, *OPTIONAL}
    assert job.partitions_def == SHARDS
