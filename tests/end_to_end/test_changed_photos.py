"""Sources that change: which shards the sensor, the schedule and `forge run` ask for, and what becomes of them."""

import datetime as dt
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from forge_assets.automation import new_photos, nightly, not_made_as_planned
from forge_assets.runs import unfinished
from forge_resources.shards import ShardKey
from forge_resources.sources.shard_plan import ShardPlan

pytestmark = pytest.mark.slow

NewProject = Callable[..., Any]
SHARDS = [ShardKey.numbered("photos", number) for number in range(5)]
MONDAY = dt.datetime(2026, 3, 2, 2, tzinfo=dt.UTC)
TUESDAY = MONDAY + dt.timedelta(days=1)


def quiet_instance(folder: Path) -> dg.DagsterInstance:
    """An instance on disk, as schedules want it."""
    return dg.DagsterInstance.local_temp(str(folder), overrides={"telemetry": {"enabled": False}})


def requests_of(answer: list[dg.RunRequest] | dg.SkipReason) -> dict[str, str]:
    """Run keys by the partition that is asked for."""
    if isinstance(answer, dg.SkipReason):
        return {}
    return {request.partition_key: request.run_key for request in answer}


def sensor(project: Any) -> dict[str, str]:
    with dg.build_sensor_context(instance=project.instance, resources={"forge": project.forge}) as context:
        return requests_of(new_photos(context))


def night(project: Any, time: dt.datetime) -> dict[str, str]:
    with dg.build_schedule_context(
        instance=project.instance, resources={"forge": project.forge}, scheduled_execution_time=time
    ) as context:
        return requests_of(nightly(context))


def asked(project: Any) -> list[str]:
    """Shards that the sensor asks for; the schedule and the CLI must agree."""
    due = list(sensor(project))
    assert list(night(project, MONDAY)) == due
    config = project.config
    plan = ShardPlan(config.lake, config.s3)
    assert [str(key) for key in not_made_as_planned(project.lake, plan, plan.keys())] == due
    return due


def hashes(project: Any, keys: Sequence[ShardKey]) -> list[str]:
    return [project.lake.manifest("raw_images", key).content_hash for key in keys]


def make_due(project: Any) -> None:
    """Run what the sensor asks for."""
    for outcome in project.make([ShardKey.parse(key) for key in asked(project)], "raw_images"):
        assert outcome.succeeded, outcome.problems
    assert asked(project) == []


@pytest.fixture
def six(new_project: NewProject, small_photos: Callable[[int], list[bytes]], tmp_path: Path) -> Iterator[Any]:
    """Six labelled photos in three shards that are made."""
    project = new_project()
    for number, data in enumerate(small_photos(6)):
        project.add(f"images/{number}.jpg", data)
        project.add(f"labels/{number}.txt", b"0 0.5 0.5 0.5 0.5\n")
    settings = {"path": "photos/images", "labels": "yolo", "shard_size": 2, "max_near_duplicate_distance": None}
    project.use(photos=settings)
    project.configure(gates={"max_rejected_images": 0.6})
    with quiet_instance(tmp_path) as instance:
        project.instance = instance
        project.plan()
        make_due(project)
        yield project


def test_nothing_new_means_that_nothing_is_asked_and_why(six: Any) -> None:
    with dg.build_sensor_context(instance=six.instance, resources={"forge": six.forge}) as context:
        answer = new_photos(context)
    assert isinstance(answer, dg.SkipReason)
    assert "made as planned" in str(answer.skip_message)
    assert asked(six) == []


def test_new_photos_make_a_new_shard_and_leave_the_others_alone(six: Any, photo: Callable[[str], bytes]) -> None:
    before = hashes(six, SHARDS[:3])
    six.add("images/00_first_by_name.png", photo("coffee.png"))
    assert asked(six) == ["photos/s00003"]
    make_due(six)
    assert hashes(six, SHARDS[:3]) == before
    assert six.in_out_rejected(SHARDS[3]) == (1, 1, 0)


def test_a_replaced_photo_has_just_its_shard_made_again(six: Any, photo: Callable[[str], bytes]) -> None:
    before = hashes(six, SHARDS[:3])
    six.add("images/2.jpg", photo("china.jpg"))
    assert asked(six) == ["photos/s00001"]
    make_due(six)
    first, second, third = hashes(six, SHARDS[:3])
    assert (first, third) == (before[0], before[2])
    assert second != before[1]
    data = six.rows(SHARDS[1]).filter(image_id="photos/2.jpg")["image"].struct.field("bytes").item()
    assert data == photo("china.jpg")


@pytest.mark.parametrize("text", [b"5 0.5 0.5 0.2 0.2\n", None])
def test_a_changed_or_removed_label_file_has_just_its_shard_made_again(six: Any, text: bytes | None) -> None:
    before = hashes(six, SHARDS[:3])
    if text is None:
        (six.folder / "photos/labels/5.txt").unlink()
    else:
        six.add("labels/5.txt", text)
    assert asked(six) == ["photos/s00002"]
    make_due(six)
    assert [old == new for old, new in zip(before, hashes(six, SHARDS[:3]), strict=True)] == [True, True, False]
    labels = six.rows(SHARDS[2]).filter(image_id="photos/5.jpg")["labels"].item().to_list()
    assert [label["category"] for label in labels] == ([] if text is None else ["bus"])


def test_a_deleted_photo_leaves_a_reject_row_and_comes_back_when_it_does(six: Any) -> None:
    path, before = six.folder / "photos/images/0.jpg", hashes(six, SHARDS[:1])
    data = path.read_bytes()
    path.unlink()
    assert asked(six) == ["photos/s00000"]
    make_due(six)
    assert six.in_out_rejected(SHARDS[0]) == (2, 1, 1)
    assert six.rules(SHARDS[0]) == {"0.jpg": ["missing_photo"]}
    path.write_bytes(data)
    make_due(six)
    assert hashes(six, SHARDS[:1]) == before
    assert six.in_out_rejected(SHARDS[0]) == (2, 2, 0)


def test_a_photo_that_comes_back_as_it_was_is_asked_for_under_another_run_key(
    six: Any, photo: Callable[[str], bytes]
) -> None:
    path, away = six.folder / "photos/images/9.jpg", six.folder / "photos/images/9.away"
    six.add("images/9.jpg", photo("china.jpg"))
    six.configure(gates={"max_rejected_images": 1.0})
    run_keys = []
    for old, new in ((None, path), (path, away), (away, path)):
        if old is not None:
            old.rename(new)
        run_keys.append(sensor(six)["photos/s00003"])
        make_due(six)
    assert len(set(run_keys)) == 3
    assert six.in_out_rejected(SHARDS[3]) == (1, 1, 0)


def test_a_photo_of_the_same_bytes_as_before_gives_the_same_content(six: Any) -> None:
    before = hashes(six, SHARDS[:3])
    path = six.folder / "photos/images/3.jpg"
    path.write_bytes(path.read_bytes())
    assert asked(six) == ["photos/s00001"]
    make_due(six)
    assert hashes(six, SHARDS[:3]) == before


def test_a_new_archive_makes_a_new_shard(six: Any, photo: Callable[[str], bytes]) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as file:
        for name in ("china.jpg", "flower.jpg"):
            info = tarfile.TarInfo(name)
            info.size = len(photo(name))
            file.addfile(info, io.BytesIO(photo(name)))
    six.add("images/more.tar.gz", archive.getvalue())
    assert asked(six) == ["photos/s00003"]
    make_due(six)
    assert six.in_out_rejected(SHARDS[3]) == (2, 2, 0)
    assert six.rows(SHARDS[3])["image_id"].to_list() == ["photos/more/china.jpg", "photos/more/flower.jpg"]


def test_a_shard_whose_gate_failed_is_asked_again_by_the_schedule_and_not_by_the_sensor(six: Any) -> None:
    six.configure(gates={"max_rejected_images": 0.05})
    six.add("images/8.jpg", b"<html>")
    six.add("images/9.jpg", b"<html>")
    (outcome,) = six.make([ShardKey.parse(key) for key in sensor(six)], "raw_images")
    assert not outcome.succeeded

    assert sensor(six) == {}
    monday, tuesday = night(six, MONDAY), night(six, TUESDAY)
    assert list(monday) == list(tuesday) == ["photos/s00003"]
    assert monday != tuesday
    six.configure(gates={"max_rejected_images": 1.0})
    (again,) = six.make([SHARDS[3]], "raw_images")
    assert again.succeeded
    assert night(six, TUESDAY) == {}


def test_a_shard_whose_run_stopped_is_asked_again_the_next_night_alone(six: Any, photo: Callable[[str], bytes]) -> None:
    six.add("images/9.jpg", photo("china.jpg"))
    by_sensor = sensor(six)
    six.add("images/data.yaml", b"names: [another, vocabulary]\n")
    (outcome,) = six.make([ShardKey.parse(key) for key in by_sensor], "raw_images")
    assert not outcome.succeeded
    assert "class_names" in " ".join(outcome.problems)
    (six.folder / "photos/images/data.yaml").unlink()

    assert sensor(six) == by_sensor  # Dagster starts no second run of the same run key
    monday, tuesday = night(six, MONDAY), night(six, TUESDAY)
    assert list(monday) == list(tuesday) == ["photos/s00003"]
    assert len({*by_sensor.values(), *monday.values(), *tuesday.values()}) == 3
    (again,) = six.make([SHARDS[3]], "raw_images")
    assert again.succeeded
    assert asked(six) == []


def test_a_source_that_lists_nothing_any_more_is_an_error_and_no_shard_is_emptied(six: Any) -> None:
    before = hashes(six, SHARDS[:3])
    (six.folder / "photos/images").rename(six.folder / "photos/moved")
    (six.folder / "photos/images").mkdir()
    with pytest.raises(Exception, match="source photos lists no photo, though 3 shards of it are planned"):
        sensor(six)
    assert hashes(six, SHARDS[:3]) == before


def test_a_new_pixmo_file_makes_a_new_shard_and_a_changed_row_has_its_shard_made_again(
    new_project: NewProject,
    start_site: Callable[[], Any],
    small_photos: Callable[[int], list[bytes]],
    tmp_path: Path,
) -> None:
    project, site = new_project(), start_site()
    site.files |= {f"{number}.jpg": data for number, data in enumerate(small_photos(6))}
    schema = {"image_url": pl.String, "image_sha256": pl.String, "count": pl.Int64, "label": pl.String}

    def table(file: str, *counts: tuple[int, int]) -> None:
        rows = [
            (f"{site.url}/{number}.jpg", hashlib.sha256(site.files[f"{number}.jpg"]).hexdigest(), count, "dog")
            for number, count in counts
        ]
        (project.folder / "px").mkdir(exist_ok=True)
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(project.folder / f"px/{file}.parquet")

    table("a", (0, 1), (1, 2), (2, 3))
    download = {"allow_private_addresses": True, "max_attempts": 1, "concurrency": 4}
    source = {"kind": "pixmo", "path": "px", "table": "count", "shard_size": 2, "download": download}
    project.use(photos={**source, "max_near_duplicate_distance": None})
    with quiet_instance(tmp_path) as project.instance:
        assert asked(project) == ["photos/s00000", "photos/s00001"]
        make_due(project)
        before = hashes(project, SHARDS[:2])

        table("b", (3, 1), (4, 1))
        assert asked(project) == ["photos/s00002"]
        make_due(project)
        assert hashes(project, SHARDS[:2]) == before
        assert site.asked == {f"{number}.jpg": 1 for number in range(5)}

        table("a", (0, 1), (1, 7), (2, 3))
        (changed,) = asked(project)
        make_due(project)
        rows = project.rows(ShardKey.parse(changed))
        assert 7 in [count["count"] for counts in rows["counts"] for count in counts]


def test_a_new_patch_makes_a_new_shard_and_a_changed_annotation_has_its_shard_made_again(
    new_project: NewProject, photo: Callable[[str], bytes], tmp_path: Path
) -> None:
    project = new_project()
    names = {"patch0/a.jpg": "china.jpg", "patch0/b.jpg": "flower.jpg", "patch1/c.jpg": "bus.jpg"}
    images = [
        {"id": number, "file_name": f"images/v2/{path}", "width": size[0], "height": size[1]}
        for number, (path, size) in enumerate(zip(names, [(640, 427), (640, 427), (810, 1080)], strict=True), start=1)
    ]

    def annotate(*lefts: int) -> None:
        annotations = [
            {"id": number, "image_id": number, "category_id": 1, "bbox": [left, 20, 100, 50], "iscrowd": 0}
            for number, left in enumerate(lefts, start=1)
        ]
        document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Person"}]}
        project.add("../o365.json", json.dumps(document).encode())

    annotate(10, 20, 30)
    for path in list(names)[:2]:
        project.add(f"../o365/{path}", photo(names[path]))
    project.use(photos={"kind": "objects365", "path": "o365", "annotations": "o365.json", "shard_size": 1})
    with quiet_instance(tmp_path) as project.instance:
        assert asked(project) == ["photos/s00000", "photos/s00001"]
        make_due(project)

        project.add("../o365/patch1/c.jpg", photo("bus.jpg"))
        assert asked(project) == ["photos/s00002"]
        make_due(project)
        before = hashes(project, SHARDS[:3])

        annotate(10, 25, 30)
        assert asked(project) == ["photos/s00001"]
        make_due(project)
        after = hashes(project, SHARDS[:3])
        assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_forge_run_makes_again_just_the_shards_that_changed(
    new_project: NewProject, photo: Callable[[str], bytes]
) -> None:
    project = new_project("bus.jpg", "zidane.jpg", shard_size=1)
    assert [outcome.problems for outcome in project.make(project.plan())] == [(), ()]
    config = project.config
    plan = ShardPlan(config.lake, config.s3)
    assert unfinished(project.lake, plan, project.plan()) == []
    project.add("zidane.jpg", photo("astronaut.png"))
    assert unfinished(project.lake, plan, project.plan()) == [SHARDS[1]]
    before = project.lake.manifest("verified_qa", SHARDS[0])
    assert [outcome.problems for outcome in project.make([SHARDS[1]])] == [()]
    assert unfinished(project.lake, plan, project.plan()) == []
    assert project.lake.manifest("verified_qa", SHARDS[0]) == before
    assert project.rows(SHARDS[1], "verified_qa")["image_width"].unique().to_list() in ([512], [])
