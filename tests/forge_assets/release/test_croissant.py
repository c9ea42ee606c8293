"""Croissant metadata: valid by MLCommons' own reader, which finds the pairs through it."""

import json
from pathlib import Path

import mlcroissant as mlc
import pytest

from forge_assets.release.named import make_release
from forge_assets.release.release_folder import Release
from forge_assets.release.selection import Selection
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake


@pytest.fixture
def release(lake: Lake) -> Release:
    return make_release(ForgeConfig(lake=lake.root), "v1", Selection())


def test_mlcroissant_finds_no_error_and_reads_the_pairs(release: Release) -> None:
    assert isinstance(release.root, Path)
    dataset = mlc.Dataset(str(release.root / "croissant.json"))
    assert dataset.metadata.ctx.issues.errors == set()
    records = list(dataset.records("counting-train"))
    assert [record["counting-train/answer"] for record in records] == [b"3"]
    assert {one.uuid for one in dataset.metadata.record_sets} == {
        "counting-train",
        "grounding-train",
        "grounding-val",
        "left_right-val",
        "near_far-train",
        "referring-train",
    }


def test_each_table_is_named_with_its_hash(release: Release) -> None:
    assert isinstance(release.root, Path)
    document = json.loads((release.root / "croissant.json").read_text())
    objects = {item["contentUrl"]: item["sha256"] for item in document["distribution"] if "sha256" in item}
    assert objects == {file.path: file.sha256 for file in release.manifest.files if file.path.endswith(".parquet")}
    assert document["license"] == ["CC-BY-4.0"]
