"""Lake and sources on an S3 server on this machine, over real sockets."""

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from forge_assets.automation import new_photos, not_made_as_planned
from forge_assets.tables import SCHEMAS
from forge_resources.s3 import S3Config, S3Uri, client
from forge_resources.shards import ShardKey
from forge_resources.sources.shard_plan import ShardPlan
from forge_resources.warehouse import Warehouse

pytestmark = pytest.mark.slow

FIRST, SECOND, THIRD = (ShardKey.numbered("photos", number) for number in range(3))


class Bucket:
    """A bucket with the photos and the lake of a project."""

    def __init__(self, uri: S3Uri, config: S3Config) -> None:
        self.uri = uri
        self._s3 = client(config)

    def put(self, key: str, data: bytes) -> None:
        self._s3.put_object(Bucket=self.uri.bucket, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self._s3.delete_object(Bucket=self.uri.bucket, Key=key)

    def keys(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.uri.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


@pytest.fixture
def bucket(s3_bucket: S3Uri, s3_config: S3Config) -> Bucket:
    return Bucket(s3_bucket, s3_config)


@pytest.fixture
def project(new_project: Callable[[], Any], bucket: Bucket, s3_config: S3Config, photo: Callable[[str], bytes]) -> Any:
    """Lake and photos on S3; three photos in two shards."""
    project = new_project()
    for name in ("bus.jpg", "china.jpg", "deep/flower.jpg"):
        bucket.put(f"photos/{name}", photo(name.rpartition("/")[2]))
    project.configure(
        lake=f"{bucket.uri}/lake",
        s3={"endpoint_url": s3_config.endpoint_url, "path_style": True, "max_attempts": 2},
        gates={"max_rejected_images": 0.6},
    )
    project.use(photos={"path": f"{bucket.uri}/photos", "shard_size": 2, "license": "CC0"})
    return project


def due(project: Any) -> list[ShardKey]:
    config = project.config
    return not_made_as_planned(project.lake, ShardPlan(config.lake, config.s3), project.plan())


def make(project: Any) -> None:
    for outcome in project.make(due(project), "raw_images"):
        assert outcome.succeeded, outcome.problems


def hashes(project: Any, *keys: ShardKey) -> list[str]:
    return [project.lake.manifest("raw_images", key).content_hash for key in keys]


def test_photos_on_s3_become_partitions_on_s3_that_passed_their_gate(project: Any, bucket: Bucket) -> None:
    make(project)
    assert [project.in_out_rejected(key) for key in (FIRST, SECOND)] == [(2, 2, 0), (1, 1, 0)]
    assert project.lake.has_passed("raw_images", FIRST)
    assert bucket.keys("lake/raw_images/source=photos/shard=s00000/") == [
        f"lake/raw_images/source=photos/shard=s00000/{name}"
        for name in ("data.parquet", "manifest.json", "verdict.json")
    ]
    assert not list(project.folder.rglob("*.parquet"))


def test_the_warehouse_answers_questions_over_a_lake_on_s3(project: Any) -> None:
    make(project)
    with Warehouse(project.lake, SCHEMAS) as warehouse:
        rows = warehouse.query("SELECT image_id, width, license FROM raw_images ORDER BY image_id")
        counted = warehouse.query("SELECT sum(rows) AS photos FROM partitions WHERE \"table\" = 'raw_images'")
    assert rows.rows() == [
        ("photos/bus.jpg", 810, "CC0"),
        ("photos/china.jpg", 640, "CC0"),
        ("photos/deep/flower.jpg", 640, "CC0"),
    ]
    assert counted.item() == 3


def test_nothing_is_due_once_all_is_made(project: Any) -> None:
    make(project)
    assert due(project) == []
    with dg.build_sensor_context(instance=project.instance, resources={"forge": project.forge}) as context:
        assert isinstance(new_photos(context), dg.SkipReason)


def test_an_object_more_makes_a_new_shard_and_leaves_the_others_alone(
    project: Any, bucket: Bucket, photo: Callable[[str], bytes]
) -> None:
    make(project)
    before = hashes(project, FIRST, SECOND)
    bucket.put("photos/a_first_by_name.png", photo("coffee.png"))
    assert due(project) == [THIRD]
    make(project)
    assert project.in_out_rejected(THIRD) == (1, 1, 0)
    assert hashes(project, FIRST, SECOND) == before


def test_a_changed_and_a_deleted_object_have_just_their_shards_made_again(
    project: Any, bucket: Bucket, photo: Callable[[str], bytes]
) -> None:
    make(project)
    before = hashes(project, FIRST, SECOND)
    bucket.put("photos/china.jpg", photo("rocket.jpg"))
    assert due(project) == [FIRST]
    make(project)
    first, second = hashes(project, FIRST, SECOND)
    assert first != before[0]
    assert second == before[1]
    changed = project.rows(FIRST).filter(image_id="photos/china.jpg")["image"].struct.field("bytes").item()
    assert changed == photo("rocket.jpg")

    bucket.delete("photos/china.jpg")
    assert due(project) == [FIRST]
    make(project)
    assert project.in_out_rejected(FIRST) == (2, 1, 1)
    assert project.rules(FIRST) == {"china.jpg": ["missing_photo"]}


def test_archives_and_labels_on_s3_are_read_as_on_disk(
    project: Any, bucket: Bucket, photo: Callable[[str], bytes]
) -> None:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("coffee.png", photo("coffee.png"))
    with tarfile.open(fileobj=tarred, mode="w:gz") as file:
        info = tarfile.TarInfo("../climbs.jpg")
        file.addfile(info, io.BytesIO())
        info = tarfile.TarInfo("rocket.jpg")
        info.size = len(photo("rocket.jpg"))
        file.addfile(info, io.BytesIO(photo("rocket.jpg")))
    bucket.put("set/images/one.zip", zipped.getvalue())
    bucket.put("set/images/two.tar.gz", tarred.getvalue())
    bucket.put("set/images/bus.jpg", photo("bus.jpg"))
    bucket.put("set/labels/bus.txt", b"5 0.5 0.5 0.5 0.5\n")
    bucket.put("set/labels/one/coffee.txt", b"41 0.5 0.5 0.5 0.5\n0 nan 0 0 0\n")
    project.use(photos={"path": f"{bucket.uri}/set/images", "labels": "yolo", "shard_size": 10})
    make(project)
    assert project.in_out_rejected(FIRST) == (4, 3, 1)
    found = {row["image_id"]: [label["category"] for label in row["labels"]] for row in project.rows(FIRST).to_dicts()}
    assert found == {"photos/bus.jpg": ["bus"], "photos/one/coffee.png": ["cup"], "photos/two/rocket.jpg": []}
    assert sorted(rule for rules in project.rules(FIRST).values() for rule in rules) == [
        "label_absent",
        "label_not_finite",
        "outside_folder",
    ]
    before = hashes(project, FIRST)
    bucket.put("set/labels/bus.txt", b"5 0.5 0.5 0.4 0.4\n")
    assert due(project) == [FIRST]
    make(project)
    assert hashes(project, FIRST) != before


def test_objects365_lies_on_s3_with_its_json_and_a_patch_archive(
    project: Any, bucket: Bucket, photo: Callable[[str], bytes]
) -> None:
    patch = io.BytesIO()
    with tarfile.open(fileobj=patch, mode="w:gz") as file:
        info = tarfile.TarInfo("b.jpg")
        info.size = len(photo("flower.jpg"))
        file.addfile(info, io.BytesIO(photo("flower.jpg")))
    bucket.put("o365/train/patch0/a.jpg", photo("china.jpg"))
    bucket.put("o365/train/patch1.tar.gz", patch.getvalue())
    images = [
        {"id": number, "file_name": f"images/v2/{path}", "width": 640, "height": 427}
        for number, path in enumerate(("patch0/a.jpg", "patch1/b.jpg", "patch7/awaited.jpg"), start=1)
    ]
    boxes = [
        {"id": number, "image_id": number, "category_id": 1, "bbox": [10, 20, 100, 50], "iscrowd": 0}
        for number in (1, 2, 3)
    ]
    document = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "Person"}]}
    bucket.put("o365/zhiyuan_objv2_train.json", json.dumps(document).encode())
    source = {"kind": "objects365", "path": f"{bucket.uri}/o365/train"}
    project.use(photos={**source, "annotations": f"{bucket.uri}/o365/zhiyuan_objv2_train.json"})
    make(project)
    assert project.in_out_rejected(FIRST) == (2, 2, 0)
    assert project.rows(FIRST)["image_id"].to_list() == ["photos/patch0/a.jpg", "photos/patch1/b.jpg"]
    assert project.rows(FIRST)["labels"].list.len().to_list() == [1, 1]
    assert due(project) == []


def test_the_command_line_ingests_from_s3_to_s3_in_a_process_of_its_own(project: Any) -> None:
    command = [sys.executable, "-m", "forge_assets.cli", "run", "--stage", "raw_images", "-c", str(project.config_file)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout + child.stderr
    assert due(project) == []
    assert [project.in_out_rejected(key) for key in (FIRST, SECOND)] == [(2, 2, 0), (1, 1, 0)]
    assert "some-secret" not in child.stdout + child.stderr
