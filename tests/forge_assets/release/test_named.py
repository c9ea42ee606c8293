"""Named releases: whole, immutable, the same for the same pairs, or not there at all."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from forge_assets.cli import app
from forge_assets.release.balance_asset import balance_plan_asset
from forge_assets.release.named import make_release
from forge_assets.release.release_asset import release as release_asset
from forge_assets.release.release_folder import Release, ReleaseError, open_release, release_names
from forge_assets.release.selection import Selection
from forge_assets.tables import VERIFIED_QA
from forge_resources.config import ForgeConfig
from forge_resources.dagster_resources import ForgeResource
from forge_resources.errors import ForgeError
from forge_resources.lake import Lake
from forge_resources.s3 import S3Config, S3Error, S3Uri
from forge_resources.shards import ShardKey


@pytest.fixture
def config(lake: Lake) -> ForgeConfig:
    return ForgeConfig(lake=lake.root)


@pytest.fixture
def config_file(config: ForgeConfig, tmp_path: Path) -> Path:
    path = tmp_path / "forge.yaml"
    path.write_text(yaml.safe_dump({"lake": str(config.lake)}))
    return path


def pairs_of(release: Release) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(release.root / file.path) for file in release.manifest.data_files)


def forge(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_release_has_the_pairs_with_all_their_columns_by_task_and_split(
    config: ForgeConfig, pairs: list[dict[str, Any]]
) -> None:
    release = make_release(config, "v1", Selection())
    found = pairs_of(release).sort("qa_id")
    pairs = sorted(pairs, key=lambda pair: pair["qa_id"])
    assert found.columns == list(VERIFIED_QA)
    assert found["qa_id"].to_list() == [pair["qa_id"] for pair in pairs]
    assert found["boxes"].to_list() == [pair["boxes"] for pair in pairs]
    assert found["evidence"].struct.field("scores").to_list() == [pair["evidence"]["scores"] for pair in pairs]
    for file in release.manifest.data_files:
        _, task, name = file.path.split("/")
        rows = pl.read_parquet(release.root / file.path)
        assert rows["task"].unique().to_list() == [task]
        assert rows["split"].unique().to_list() == [name.removesuffix("-00000-of-00001.parquet")]


def test_the_manifest_tells_of_each_file_and_of_what_made_the_pairs(config: ForgeConfig) -> None:
    release = make_release(config, "v1", Selection(where="task <> 'referring'"))
    assert isinstance(release.root, Path)
    on_disk = {path.relative_to(release.root).as_posix() for path in release.root.rglob("*") if path.is_file()}
    assert on_disk == {"manifest.json", *(file.path for file in release.manifest.files)}
    for file in release.manifest.files:
        data = (release.root / file.path).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file.sha256, file.bytes)
    manifest = release.manifest
    assert (
        manifest.pairs == sum(count.pairs for count in manifest.counts) == sum(f.rows or 0 for f in manifest.data_files)
    )
    assert manifest.photos == 2
    assert manifest.licenses == {"CC-BY-4.0": 2}
    assert manifest.models == ["ultralytics:yolo11n.pt@0a1b"]
    assert manifest.selection["where"] == "task <> 'referring'"
    assert set(manifest.templates) == {f"{task}/one@1" for task in ("grounding", "counting", "near_far", "left_right")}
    assert open_release("v1", Lake(config.lake)).manifest == manifest


def test_photos_are_named_by_where_they_lie_and_what_they_hold(config: ForgeConfig, lake: Lake) -> None:
    release = make_release(config, "v1", Selection())
    photos = pl.read_parquet(release.root / "images.parquet").sort("image_id")
    stored = lake.scan("raw_images", ShardKey("demo", "s00000")).sort("image_id").collect()
    for column in ("image_id", "sha256", "width", "height", "license", "orientation"):
        assert photos[column].to_list() == stored[column].to_list()
    assert photos["path"].to_list() == ["bus.jpg", "people/zidane.jpg"]
    assert photos["url"].is_null().all()


def test_the_same_pairs_give_the_same_files(config: ForgeConfig) -> None:
    first, second = (make_release(config, name, Selection()).manifest for name in ("v1", "v2"))
    assert first.content_hash == second.content_hash
    assert {f.path: f.sha256 for f in first.data_files} == {f.path: f.sha256 for f in second.data_files}
    other = make_release(config, "v3", Selection(where="task <> 'counting'")).manifest
    assert other.content_hash != first.content_hash


def test_files_are_parted_and_hold_every_pair_once(config: ForgeConfig, tmp_path: Path) -> None:
    import datasets

    release = make_release(config, "v1", Selection(), pairs_per_file=1)
    grounding = [file.path for file in release.manifest.data_files if "grounding" in file.path]
    assert grounding == ["data/grounding/train-00000-of-00001.parquet", "data/grounding/val-00000-of-00001.parquet"]
    assert pairs_of(release)["qa_id"].is_unique().all()
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(release.root), "counting", cache_dir=str(tmp_path / "hub"))
    assert loaded["train"]["answer"] == ["3"]
    grounded = datasets.load_dataset(str(release.root), "grounding", cache_dir=str(tmp_path / "hub"))
    assert set(grounded) == {"train", "val"}
    assert grounded["train"][0]["evidence"]["count_strict"] == 3


def test_many_pairs_go_to_several_files(config: ForgeConfig, lake: Lake, builders: ModuleType) -> None:
    row = builders.PAIRS[3]
    many = [{**row, "qa_id": f"{index:032x}"} for index in range(25)]
    builders.write(lake, "verified_qa", many)
    release = make_release(config, "v1", Selection(), pairs_per_file=10)
    assert [(file.path, file.rows) for file in release.manifest.data_files] == [
        (f"data/counting/train-{index:05d}-of-00003.parquet", rows) for index, rows in enumerate((10, 10, 5))
    ]
    assert pairs_of(release)["qa_id"].to_list() == [pair["qa_id"] for pair in many]


def test_a_name_that_is_taken_is_refused_and_left_as_it_is(config: ForgeConfig) -> None:
    first = make_release(config, "v1", Selection())
    with pytest.raises(ReleaseError, match=r"v1 is there, and releases do not change"):
        make_release(config, "v1", Selection(where="task = 'counting'"))
    assert open_release("v1", Lake(config.lake)).manifest == first.manifest


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a b", "ä", "x" * 101, "v1\n"])
def test_an_odd_name_is_refused(config: ForgeConfig, name: str) -> None:
    with pytest.raises(ReleaseError, match="cannot name a release"):
        make_release(config, name, Selection())


@pytest.mark.parametrize(
    ("where", "message"), [("task = 'perspective'", "no verified pair is selected"), ("task = ", "cannot be selected")]
)
def test_nothing_to_release_leaves_nothing(config: ForgeConfig, where: str, message: str) -> None:
    with pytest.raises(ForgeError, match=message):
        make_release(config, "v1", Selection(where=where))
    assert release_names(Lake(config.lake)) == []
    assert list((Path(str(config.lake)) / ".staging").iterdir()) == []


def test_partitions_that_failed_are_named(config: ForgeConfig, lake: Lake, builders: ModuleType) -> None:
    key = ShardKey("demo", "s00001")
    builders.write(lake, "verified_qa", [{**builders.PAIRS[0], "qa_id": "f" * 32}], key, passed=False)
    with pytest.raises(ForgeError, match="demo/s00001"):
        make_release(config, "v1", Selection())
    (left,) = make_release(config, "v1", Selection(allow_missing=True)).manifest.left_out
    assert left.partition == "demo/s00001"
    assert "failed" in left.reason


def test_a_pair_that_is_there_twice_is_refused(config: ForgeConfig, lake: Lake, builders: ModuleType) -> None:
    key = ShardKey("demo", "s00001")
    for table, rows in (("raw_images", []), ("verified_qa", [{**builders.PAIRS[0], "shard": key.shard}])):
        builders.write(lake, table, rows, key)
    with pytest.raises(ReleaseError, match="is there twice"):
        make_release(config, "v1", Selection())
    assert release_names(lake) == []


KILLED = """
import os, sys, signal
from pathlib import Path
from forge_assets.release import named
from forge_assets.release.selection import Selection
from forge_resources.config import ForgeConfig

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(named, sys.argv[2], die)
named.make_release(ForgeConfig(lake=Path(sys.argv[1])), "v1", Selection())
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["_write_images", "_describe", "_publish"])
def test_a_killed_run_leaves_no_release(config: ForgeConfig, step: str) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED, str(config.lake), step], check=False, capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    assert release_names(Lake(config.lake)) == []
    make_release(config, "v1", Selection())
    assert Lake(config.lake).clear_staging(older_than_s=-1) == 1


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
from forge_assets.cli import app
app(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_full_disk_is_told_and_leaves_no_release(config_file: Path, config: ForgeConfig) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL, "release", "v1", "--all", "--config", str(config_file)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"},
    )
    assert run.returncode == 1, run.stderr
    assert run.stderr.startswith("error: the release v1 cannot be written")
    assert "Traceback" not in run.stderr
    assert release_names(Lake(config.lake)) == []


def test_the_command_tells_what_it_made(config_file: Path) -> None:
    said = forge("release", "v1", "--all", "--config", config_file)
    assert "counting: 1" in said
    assert "6 pairs of 2 photos in" in said
    assert "releases do not change" in forge("release", "v1", "--all", "--config", config_file, code=1)
    assert "--quota counting" in forge("release", "v2", "--quota", "counting", "--config", config_file, code=1)


def test_a_balanced_release_names_the_plan_that_it_keeps(
    config: ForgeConfig, config_file: Path, lake: Lake, builders: ModuleType
) -> None:
    asked = [
        {**pair, "template_id": f"{pair['task']}.one_1.v1", "categories": ["person"], "form": "one"}
        for pair in builders.PAIRS
    ]
    builders.write(lake, "verified_qa", asked)
    with pytest.raises(ForgeError, match="there is no balance plan"):
        make_release(config, "v1", Selection(balanced=True))
    dg.materialize(
        [balance_plan_asset, dg.AssetSpec("verified_qa")],
        selection=[balance_plan_asset],
        resources={"forge": ForgeResource(config_path=str(config_file))},
        instance=dg.DagsterInstance.ephemeral(),
    )
    release = make_release(config, "v1", Selection(balanced=True))
    assert isinstance(release.root, Path)
    assert release.manifest.balance_plan
    assert release.manifest.pairs == 6
    assert "No balance plan was applied" not in (release.root / "README.md").read_text()


def test_dagster_makes_a_release(config_file: Path, lake: Lake) -> None:
    made = dg.materialize(
        [release_asset, *(dg.AssetSpec(name) for name in ("verified_qa", "duplicates", "balance_plan"))],
        selection=[release_asset],
        resources={"forge": ForgeResource(config_path=str(config_file))},
        run_config={"ops": {"release": {"config": {"name": "v1", "balanced": False}}}},
        instance=dg.DagsterInstance.ephemeral(),
    )
    (event,) = made.get_asset_materialization_events()
    assert event.materialization.metadata["dagster/row_count"].value == 6
    assert release_names(lake) == ["v1"]


@pytest.mark.slow
def test_a_lake_on_s3_holds_releases(s3_bucket: S3Uri, s3_config: S3Config, builders: ModuleType) -> None:
    lake = Lake(s3_bucket / "lake", s3_config)
    builders.write(lake, "raw_images", [builders.photo_row(builders.BUS), builders.photo_row(builders.ZIDANE)])
    builders.write(lake, "verified_qa", builders.PAIRS)
    config = ForgeConfig(lake=lake.root, s3=s3_config)
    made = make_release(config, "v1", Selection())
    assert release_names(lake) == ["v1"]
    for file in made.manifest.files:
        data = lake.store.read(f"releases/v1/{file.path}")
        assert data is not None
        assert hashlib.sha256(data).hexdigest() == file.sha256
    with pytest.raises(ReleaseError, match="releases do not change"):
        make_release(config, "v1", Selection())
    with pytest.raises(S3Error):
        make_release(ForgeConfig(lake=S3Uri("no-such-bucket", "lake"), s3=s3_config), "v1", Selection())


def test_an_unknown_or_damaged_release_is_told(config: ForgeConfig, lake: Lake, tmp_path: Path) -> None:
    release = make_release(config, "v1", Selection())
    with pytest.raises(ReleaseError, match=r"no release v2: releases of the lake .*: v1"):
        open_release("v2", lake)
    with pytest.raises(ReleaseError, match="name its folder"):
        open_release("v2")
    assert isinstance(release.root, Path)
    (release.root / "images.parquet").write_bytes(b"")
    with pytest.raises(ReleaseError, match=r"images\.parquet is missing or has been changed"):
        open_release(str(release.root))
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(ReleaseError, match="is no release: its manifest lacks"):
        open_release(str(tmp_path))
