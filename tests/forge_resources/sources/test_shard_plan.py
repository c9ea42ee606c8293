"""A shard once made never changes, and no photo is in two."""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_resources.shards import ShardKey
from forge_resources.sources import Member, shard_plan
from forge_resources.sources.shard_plan import ABSENT, PlanChanges, ShardPlan, ShardPlanError, UnknownShard


def photos(*numbers: int) -> list[Member]:
    return [Member(f"{number:04d}.jpg", number + 1) for number in numbers]


def numbers_of(plan: ShardPlan, key: ShardKey) -> list[int]:
    return [int(member.path[:4]) for member in plan.members(key)]


@pytest.fixture
def plan(place) -> ShardPlan:
    """An empty plan, on a folder and on S3."""
    return ShardPlan(*place)


@pytest.fixture
def local_plan(tmp_path) -> ShardPlan:
    return ShardPlan(tmp_path / "lake")


@pytest.fixture
def s3_plan(s3_bucket, s3_config) -> ShardPlan:
    return ShardPlan(s3_bucket, s3_config)


def stored(plan: ShardPlan, shard: str = "s00000") -> bytes:
    return plan._store.read(f"_shards/source=mine/{shard}.json")


def store(plan: ShardPlan, text: str | bytes, shard: str = "s00000") -> None:
    plan._store.write(f"_shards/source=mine/{shard}.json", text.encode() if isinstance(text, str) else text)


def versioned(version: str, *numbers: int) -> list[Member]:
    return [Member(photo.path, photo.byte_size, version) for photo in photos(*numbers)]


def test_photos_are_shared_out_by_path(plan):
    keys = plan.extend("mine", photos(4, 2, 0, 3, 1), 2)
    assert list(map(str, keys)) == ["mine/s00000", "mine/s00001", "mine/s00002"]
    assert [numbers_of(plan, key) for key in keys] == [[0, 1], [2, 3], [4]]
    assert plan.members(keys[2]) == (Member("0004.jpg", 5),)
    assert plan.keys() == plan.keys("mine") == keys


def test_later_photos_go_to_new_shards_and_partial_ones_stay_partial(plan):
    plan.extend("mine", photos(0, 2, 4), 2)
    assert plan.extend("mine", photos(0, 2, 4), 2) == []
    added = plan.extend("mine", photos(0, 1, 2, 3, 4, 5), 2)
    assert [numbers_of(plan, key) for key in plan.keys("mine")] == [[0, 2], [4], [1, 3], [5]]
    assert list(map(str, added)) == ["mine/s00002", "mine/s00003"]


def test_a_photo_that_is_gone_or_has_grown_keeps_its_shard(plan):
    (key,) = plan.extend("mine", photos(0, 1), 2)
    assert plan.extend("mine", [Member("0001.jpg", 999)], 2) == []
    assert plan.members(key) == tuple(photos(0, 1))


def test_sources_are_planned_apart(plan):
    plan.extend("b", photos(0, 1), 5)
    plan.extend("a", photos(0, 1), 5)
    assert list(map(str, plan.keys())) == ["a/s00000", "b/s00000"]
    assert list(map(str, plan.keys("a"))) == ["a/s00000"]


def test_shards_past_the_zeros_keep_their_order(plan):
    plan.extend("mine", photos(0), 1)
    store(plan, stored(plan).replace(b"s00000", b"s99999"), "s99999")
    assert list(map(str, plan.extend("mine", photos(0, 1, 2), 1))) == ["mine/s100000", "mine/s100001"]
    assert [key.shard for key in plan.keys("mine")] == ["s00000", "s99999", "s100000", "s100001"]


def test_names_of_all_writings(plan):
    members = sorted(Member(path, 1) for path in ('a"b.jpg', "图/ä.jpg", "back\\slash.jpg", "new\nline.jpg"))
    (key,) = plan.extend("mine", members, 10)
    assert plan.members(key) == tuple(members)


def test_the_digest_follows_paths_sizes_and_versions(tmp_path):
    def digest(members: list[Member]) -> str:
        plan = ShardPlan(Path(tempfile.mkdtemp(dir=tmp_path)))
        return plan.digest(plan.extend("mine", members, 10)[0])

    assert digest(photos(0, 1)) == digest(photos(1, 0))
    digests = {digest(photos(0, 1)), digest(photos(0)), digest([Member("0000.jpg", 2), Member("0001.jpg", 2)])}
    digests |= {digest(versioned(version, 0, 1)) for version in ("a", "b")}
    assert len(digests) == 5
    assert all(len(one) == 32 for one in digests)


def test_an_unknown_shard_names_those_that_are_known(plan):
    with pytest.raises(UnknownShard, match="no shard mine/s00000 was planned; there are no shards yet"):
        plan.members(ShardKey("mine", "s00000"))
    plan.extend("mine", photos(*range(12)), 1)
    with pytest.raises(UnknownShard, match=r"known shards: mine/s00000, .*mine/s00009 and 2 more"):
        plan.digest(ShardKey("mine", "s00099"))
    with pytest.raises(UnknownShard, match="mine/s00000"):
        plan.members(ShardKey("other", "s00000"))


@pytest.mark.parametrize("size", [0, -1])
def test_a_shard_has_room(plan, size):
    with pytest.raises(ValueError, match="shard_size"):
        plan.extend("mine", photos(0), size)


def test_a_path_that_is_listed_twice_is_refused(plan):
    with pytest.raises(ValueError, match=r"0001\.jpg is listed twice"):
        plan.extend("mine", photos(0, 1, 1), 2)
    assert plan.keys() == []


# --- what became of planned photos


def test_a_photo_that_changed_renews_its_shard_alone(plan):
    keys = plan.extend("mine", versioned("old", *range(6)), 2)
    digests = [plan.digest(key) for key in keys]
    listed = versioned("old", 0, 1, 3, 4, 5)
    listed[-1] = Member(listed[-1].path, 999, "old")
    listed.append(Member(photos(2)[0].path, 3, "new"))
    assert plan.refresh("mine", listed) == keys[1:]
    assert plan.members(keys[1]) == (*versioned("new", 2), *versioned("old", 3))
    assert plan.members(keys[2])[1].byte_size == 999
    assert [plan.digest(key) == before for key, before in zip(keys, digests, strict=True)] == [True, False, False]
    assert plan.refresh("mine", listed) == []


def test_a_photo_that_is_gone_keeps_its_place_and_may_come_back(plan):
    (key,) = plan.extend("mine", versioned("old", 0, 1), 2)
    before = plan.digest(key)
    assert plan.refresh("mine", versioned("old", 0)) == [key]
    assert plan.members(key) == (*versioned("old", 0), Member("0001.jpg", 0, ABSENT))
    assert plan.extend("mine", versioned("old", 0), 2) == []
    assert plan.refresh("mine", versioned("old", 0, 1)) == [key]
    assert plan.digest(key) == before


def test_new_photos_wait_for_a_shard_of_their_own(plan):
    (key,) = plan.extend("mine", versioned("a", 1), 5)
    assert plan.refresh("mine", versioned("a", 0, 1)) == []
    assert plan.keys() == [key]
    assert plan.members(key) == tuple(versioned("a", 1))


def test_update_does_both(plan):
    (first,) = plan.extend("mine", versioned("a", 0, 2), 5)
    changes = plan.update("mine", versioned("b", 0, 1, 2, 3), 1)
    assert (changes.changed, list(map(str, changes.added))) == ([first], ["mine/s00001", "mine/s00002"])
    assert plan.members(first) == tuple(versioned("b", 0, 2))
    assert [numbers_of(plan, key) for key in changes.added] == [[1], [3]]
    again = plan.update("mine", versioned("b", 0, 1, 2, 3), 1)
    assert (again.changed, again.added) == ([], [])


@pytest.mark.parametrize("ask", [ShardPlan.refresh, lambda plan, *given: plan.update(*given, 2)])
def test_a_disk_that_is_not_mounted_changes_nothing(plan, ask):
    assert ask(plan, "mine", []) in ([], PlanChanges([], []))
    (key,) = plan.extend("mine", versioned("a", 0, 1), 2)
    with pytest.raises(ShardPlanError, match="mine lists no photo, though 1 shards of it are planned: mount"):
        ask(plan, "mine", [])
    assert plan.members(key) == tuple(versioned("a", 0, 1))
    assert plan.extend("mine", [], 2) == []


def test_a_plan_of_before_there_were_versions_is_read_and_renewed(plan):
    (key,) = plan.extend("mine", photos(0, 1), 2)
    content = json.loads(stored(plan))
    content["members"] = [{"path": one["path"], "byte_size": one["byte_size"]} for one in content["members"]]
    listed = json.dumps([[one["path"], one["byte_size"]] for one in content["members"]], separators=(",", ":"))
    digest = hashlib.blake2b(listed.encode(), digest_size=16).hexdigest()
    store(plan, json.dumps(content | {"members_hash": digest}))
    assert plan.members(key) == tuple(photos(0, 1))
    assert plan.digest(key) == digest
    assert plan.refresh("mine", photos(0, 1)) == []
    assert plan.refresh("mine", versioned("known", 0, 1)) == [key]
    assert plan.members(key) == tuple(versioned("known", 0, 1))


def test_a_damaged_shard_stops_a_refresh_before_anything_is_written(plan):
    keys = plan.extend("mine", versioned("a", 0, 1), 1)
    store(plan, "{", "s00001")
    with pytest.raises(ShardPlanError, match="cannot be read"):
        plan.refresh("mine", versioned("b", 0, 1))
    assert plan.members(keys[0]) == tuple(versioned("a", 0))


# --- properties

_steps = st.lists(
    st.tuples(st.lists(st.integers(0, 60), unique=True, max_size=25), st.integers(1, 7)), min_size=1, max_size=5
)


@settings(max_examples=60, deadline=None)
@given(_steps)
def test_whatever_is_added_members_stay_and_every_photo_is_in_one_shard(steps):
    with tempfile.TemporaryDirectory() as folder:
        plan, frozen, seen = ShardPlan(Path(folder)), {}, set()
        for numbers, size in steps:
            added = plan.extend("mine", photos(*numbers), size)
            assert all(len(plan.members(key)) == size for key in added[:-1])
            assert all(0 < len(plan.members(key)) <= size for key in added)
            assert {key: plan.members(key) for key in frozen} == frozen
            frozen = {key: plan.members(key) for key in plan.keys("mine")}
            seen |= set(numbers)
            assigned = [number for key in frozen for number in numbers_of(plan, key)]
            assert sorted(assigned) == sorted(seen)


@settings(max_examples=20, deadline=None)
@given(_steps)
def test_the_same_steps_give_the_same_plan(steps):
    with tempfile.TemporaryDirectory() as folder:
        plans = [ShardPlan(Path(folder) / name) for name in "ab"]
        for numbers, size in steps:
            plans[0].extend("mine", photos(*numbers), size)
            plans[1].extend("mine", photos(*reversed(numbers)), size)
        assert [*map(plans[0].digest, plans[0].keys())] == [*map(plans[1].digest, plans[1].keys())]


# --- damage


def test_a_leftover_of_a_killed_planner_is_passed_over(local_plan, tmp_path):
    plan = local_plan
    folder = tmp_path / "lake/_shards/source=mine"
    folder.mkdir(parents=True)
    (folder / ".s00000.0123abcd").write_text('{"source": "mine", "sha')
    (key,) = plan.extend("mine", photos(0), 1)
    assert plan.keys() == [key]


@pytest.mark.parametrize("text", ["", '{"source": "mine", "sha', "[]", '{"source": "mine", "shard": "s00000"}'])
def test_a_half_written_shard_is_named_and_never_planned_over(plan, text):
    (key,) = plan.extend("mine", photos(0), 1)
    store(plan, text)
    for ask in (plan.members, plan.digest):
        with pytest.raises(ShardPlanError, match=r"mine/s00000 cannot be read: restore .*s00000\.json"):
            ask(key)
    for change in (plan.extend, plan.update):
        with pytest.raises(ShardPlanError):
            change("mine", photos(0, 1), 1)
    assert stored(plan) == text.encode()
    assert plan.keys() == [key]


def test_a_changed_shard_is_found_out(plan):
    (key,) = plan.extend("mine", photos(0, 1), 2)
    content = json.loads(stored(plan))
    content["members"].pop()
    store(plan, json.dumps(content))
    with pytest.raises(ShardPlanError, match="was changed after it was made"):
        plan.members(key)


def test_a_shard_that_is_there_is_not_replaced_even_without_the_lock(plan):
    (key,) = plan.extend("mine", photos(0), 1)
    with pytest.raises(ShardPlanError, match="another planner"):
        plan._create(key, tuple(photos(5)))
    assert numbers_of(plan, key) == [0]
    assert plan.extend("mine", photos(5), 1) == [ShardKey("mine", "s00001")]


# --- two at once


def _extend(root: Path, offset: int) -> list[str]:
    mine = photos(*range(offset, offset + 60))
    return [str(key) for key in ShardPlan(root).extend("mine", mine, 7)]


def _assert_sound(root: Path, expected: range) -> None:
    plan = ShardPlan(root)
    assigned = [number for key in plan.keys("mine") for number in numbers_of(plan, key)]
    assert sorted(assigned) == list(expected)
    assert not list(root.rglob(".s*"))


def test_threads_at_once_share_no_photo(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda offset: _extend(tmp_path, offset), [0, 20, 40, 0, 20, 40, 0, 60]))
    keys = [key for keys in made for key in keys]
    assert len(keys) == len(set(keys))
    _assert_sound(tmp_path, range(120))


def test_planners_at_once_on_s3_share_no_photo_and_the_later_ones_plan_again(s3_bucket, s3_config):
    def extend_at_last(offset: int) -> None:
        while True:
            try:
                ShardPlan(s3_bucket, s3_config).extend("mine", photos(*range(offset, offset + 20)), 7)
            except ShardPlanError as error:
                refusals.append(str(error))
            else:
                return

    refusals: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(extend_at_last, [0, 10, 0, 20]))
    assert all("meanwhile: plan again" in refusal for refusal in refusals)
    plan = ShardPlan(s3_bucket, s3_config)
    assigned = [number for key in plan.keys("mine") for number in numbers_of(plan, key)]
    assert sorted(assigned) == list(range(40))


def test_on_s3_the_second_planner_of_a_shard_is_refused(s3_plan):
    (key,) = s3_plan.extend("mine", photos(0), 1)
    for error in ("plan again", "meanwhile"):
        with pytest.raises(ShardPlanError, match=error):
            s3_plan._create(key, tuple(photos(5)))
    assert numbers_of(s3_plan, key) == [0]


def test_a_lock_that_another_holds_is_said_after_a_while(local_plan, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_plan, "_LOCK_SECONDS", 0.1)
    folder = tmp_path / "lake/_shards/source=mine"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(ShardPlanError, match=r"another planner has held.*plan again"):
        local_plan.extend("mine", photos(0), 1)
    assert local_plan.extend("mine", photos(0), 1)


PLANNER = """
import sys
from pathlib import Path
from forge_resources.sources import Member
from forge_resources.sources.shard_plan import ShardPlan

root, first, count, shard_size = Path(sys.argv[1]), *map(int, sys.argv[2:])
photos = [Member(f"{number:04d}.jpg", number + 1) for number in range(first, first + count)]
for key in ShardPlan(root).extend("mine", photos, shard_size):
    print(key)
"""
"""Another process that plans; not a fork of this one, whose threads hold locks that a fork would wait for."""


def start_planner(root: Path, first: int, count: int, shard_size: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PLANNER, root, *map(str, (first, count, shard_size))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_at_once_share_no_photo(tmp_path):
    planners = [start_planner(tmp_path, first, 60, 7) for first in (0, 30, 0, 60)]
    keys = [key for planner in planners for key in planner.communicate()[0].split()]
    assert [planner.returncode for planner in planners] == [0] * len(planners)
    assert len(keys) == len(set(keys))
    _assert_sound(tmp_path, range(120))


def test_a_planner_that_is_killed_leaves_whole_shards_and_no_lock(tmp_path):
    process = start_planner(tmp_path, 0, 9_999, 1)
    deadline = time.monotonic() + 60
    while len(ShardPlan(tmp_path).keys()) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()

    plan = ShardPlan(tmp_path)
    before = {key: plan.members(key) for key in plan.keys("mine")}
    assert 5 <= len(before) < 9_999
    plan.extend("mine", photos(*range(9_999)), 500)
    assert {key: plan.members(key) for key in before} == before
    assigned = [number for key in plan.keys("mine") for number in numbers_of(plan, key)]
    assert sorted(assigned) == list(range(9_999))
