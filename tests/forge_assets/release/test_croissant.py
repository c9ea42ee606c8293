"""Croissant metadata: valid by MLCommons' own reader, which finds the pairs through it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from forge_assets.release.named import make_release
from forge_assets.release.release_folder import Release
from forge_assets.release.selection import Selection
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake


@pytest.fixture
def release(lake: Lake) -> Release:
    return make_release(ForgeConfig(lake=lake.root), "v1", Selection())


READ = """
import json, sys
import mlcroissant

dataset = mlcroissant.Dataset(sys.argv[1])
answers = [record["counting-train/answer"].decode() for record in dataset.records("counting-train")]
sets = sorted(one.uuid for one in dataset.metadata.record_sets)
print(json.dumps({"errors": sorted(dataset.metadata.ctx.issues.errors), "answers": answers, "sets": sets}))
"""
"""In a process of its own: with mlcroissant comes absl, which takes over pytest's streams."""


def test_mlcroissant_finds_no_error_and_reads_the_pairs(release: Release) -> None:
    assert isinstance(release.root, Path)
    command = [sys.executable, "-c", READ, str(release.root / "croissant.json")]
    read = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert read["errors"] == []
    assert read["answers"] == ["3"]
    assert read["sets"] == [
        "counting-train",
        "grounding-train",
        "grounding-val",
        "left_right-val",
        "near_far-train",
        "referring-train",
    ]


def test_each_table_is_named_with_its_hash(release: Release) -> None:
    assert isinstance(release.root, Path)
    document = json.loads((release.root / "croissant.json").read_text())
    objects = {item["contentUrl"]: item["sha256"] for item in document["distribution"] if "sha256" in item}
    assert objects == {file.path: file.sha256 for file in release.manifest.files if file.path.endswith(".parquet")}
    assert document["license"] == ["CC-BY-4.0"]
