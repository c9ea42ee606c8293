"""What Dagster keeps of real partitions: the figures agree with the lake and with each other."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from forge_assets.runs import STAGES
from forge_resources.shards import ShardKey

pytestmark = pytest.mark.slow

KEY = ShardKey("photos", "s00000")
AFTER_NETWORKS = ("detections", "scenes", "candidate_qa", "verified_qa", "rejected_qa")
PHASES = {
    "raw_images": {"plan", "read", "write", "picture"},
    "detections": {"load", "read", "networks", "write", "picture"},
    "depth_maps": {"load", "networks", "write", "picture"},
    "scenes": {"read", "depth", "colors", "join", "write", "picture"},
    "candidate_qa": {"read", "ask", "write", "picture"},
    "verified_qa": {"read", "judge", "write", "picture"},
    "rejected_qa": {"read", "judge", "write", "picture"},
}


@pytest.fixture(scope="module")
def project(shared_project: Callable[..., Any]) -> Any:
    """A shard of two photos and a file that is none, with all its stages."""
    project = shared_project("bus.jpg", "zidane.jpg", shard_size=3)
    project.add("zz_broken.jpg", b"no photo")
    project.configure(gates={"max_rejected_images": 0.5})
    (outcome,) = project.make(project.plan())
    assert outcome.succeeded, outcome.problems
    return project


@pytest.fixture(scope="module")
def shown(project: Any) -> Mapping[str, Mapping[str, Any]]:
    """The metadata of each stage's partition."""

    def of(stage: str) -> Mapping[str, Any]:
        records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage), asset_partitions=[str(KEY)])
        (record,) = project.instance.fetch_materializations(records, limit=1).records
        return {name: entry.value for name, entry in record.asset_materialization.metadata.items()}

    return {stage: of(stage) for stage in STAGES}


def by(prefix: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in metadata.items() if name.startswith(prefix)}


def test_photos_and_pairs_are_counted_and_nothing_is_lost_on_the_way(shown: Mapping[str, Mapping[str, Any]]) -> None:
    raw, asked, kept, dropped = (shown[stage] for stage in ("raw_images", "candidate_qa", "verified_qa", "rejected_qa"))
    assert (raw["photos_in"], raw["photos"], raw["rejected"]) == (3, 2, 1)
    assert by("rejected/", raw) == {"not_an_image": 1}
    assert [shown[stage]["photos"] for stage in ("detections", "depth_maps", "scenes")] == [2, 2, 2]
    assert asked["pairs"] == kept["pairs"] + dropped["dropped"] > 0
    assert sum(by("pairs/", kept).values()) == kept["pairs"] > 0
    assert sum(by("dropped/", dropped).values()) == dropped["dropped"] > 0


def test_rows_and_bytes_are_those_of_the_lake(project: Any, shown: Mapping[str, Mapping[str, Any]]) -> None:
    for stage, metadata in shown.items():
        path = Path(project.lake.data_path(stage, KEY))
        assert metadata["dagster/partition_row_count"] == project.rows(KEY, stage).height, stage
        assert metadata["bytes"] == path.stat().st_size, stage
        assert metadata["dagster/uri"] == path.as_uri(), stage


def test_seconds_are_told_by_phase(shown: Mapping[str, Mapping[str, Any]]) -> None:
    for stage, metadata in shown.items():
        phases = by("seconds/", metadata)
        assert set(phases) == PHASES[stage], stage
        assert sum(phases.values()) <= metadata["seconds"] + 0.001 * len(phases), stage
    assert shown["detections"]["seconds/networks"] > 0


def test_every_stage_after_the_networks_names_them(shown: Mapping[str, Mapping[str, Any]]) -> None:
    networks = by("model/", shown["detections"])
    assert {"detector", "pose_model"} <= set(networks)
    for stage in AFTER_NETWORKS:
        assert by("model/", shown[stage]).items() >= networks.items(), stage


def test_figures_are_numbers_that_can_be_plotted(shown: Mapping[str, Mapping[str, Any]]) -> None:
    figures = ("photos", "pairs", "dropped", "rejected", "seconds", "yield", "dagster/partition_row_count")
    for stage, metadata in shown.items():
        for name, value in metadata.items():
            if name.split("/")[0] in figures or name in figures:
                assert isinstance(value, int | float), (stage, name)
