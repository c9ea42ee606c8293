"""The command `forge`, as a person at a terminal meets it: real runs with the embedded models, and mistakes."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import typer
import yaml
from click.testing import Result
from typer.testing import CliRunner

from forge_assets.cli import app
from forge_assets.tables import SCHEMAS as TABLES
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey

ULTRALYTICS_ASSETS = Path(find_spec("ultralytics").submodule_search_locations[0]) / "assets"
"""Found without importing ultralytics, which replaces functions of Pillow and OpenCV for the whole process."""

OTHERS = ("duplicates", "descriptions", "judgements")
SCHEMAS = {name: schema for name, schema in TABLES.items() if name not in OTHERS}
"""Of the tables that have partitions."""
COMMANDS = sorted(typer.main.get_command(app).commands)
FIRST, SECOND, THIRD = (ShardKey.numbered("photos", number) for number in range(3))
EMBEDDED = {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": []}

Forge = Callable[..., Result]


def packaged_photo(name: str) -> Path:

    return ULTRALYTICS_ASSETS / name


def forge_in(folder: Path, *arguments: str) -> Result:
    isolated = {"DAGSTER_HOME": None, "FORGE_CONFIG": None, "COLUMNS": "200", "TERMINAL_WIDTH": "200"}
    with contextlib.chdir(folder):
        return CliRunner().invoke(app, arguments, env=isolated)


def refused(result: Result, exit_code: int, says: str) -> None:
    """It ended with that code and a message, not with a traceback."""
    assert result.exit_code == exit_code, result.output
    assert isinstance(result.exception, SystemExit)
    assert says in result.stderr
    assert "Traceback" not in result.output
    if exit_code == 1:
        assert result.stderr.startswith("error: ")


def write_project(folder: Path, *photos: str, models: object = EMBEDDED) -> Path:
    (folder / "photos").mkdir(parents=True)
    for name in photos:
        shutil.copy(packaged_photo(name), folder / "photos" / name)
    settings = {"sources": {"photos": {"path": "photos", "shard_size": 1, "license": "CC0-1.0"}}, "models": models}
    (folder / "forge.yaml").write_text(yaml.safe_dump(settings))
    return folder


def made_at(folder: Path, key: ShardKey) -> dict[str, int]:
    lake = Lake(folder / "lake")
    return {
        table: lake.data_path(table, key).stat().st_mtime_ns for table in SCHEMAS if lake.data_path(table, key).exists()
    }


# --- help


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_an_example(name: str, tmp_path: Path) -> None:
    result = forge_in(tmp_path, name, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"forge {name}" in result.output.split("Example")[1]


def test_forge_alone_lists_its_commands(tmp_path: Path) -> None:
    output = forge_in(tmp_path).output
    assert all(name in output for name in COMMANDS)


def test_help_needs_no_heavy_library() -> None:
    script = (
        "import sys; from forge_assets.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'dagster', 'polars', 'great_expectations'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


# --- mistakes


@pytest.fixture(scope="module")
def unmade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two photos, nothing of which is made."""
    return write_project(tmp_path_factory.mktemp("unmade") / "project", "bus.jpg", "zidane.jpg")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (("run", "--source", "nosuch"), 1, "unknown source 'nosuch'; configured sources: photos"),
        (("run", "--shard", "s00009"), 1, "unknown shard s00009; there are: s00000, s00001"),
        (("run", "--stage", "nosuch"), 2, "'nosuch' is not one of"),
        (("gate", "raw_images", "--shard", "s00000"), 1, "unknown shard s00000; there are: none"),
        (("gate", "nosuch"), 2, "'nosuch' is not one of"),
        (("audit", "nosuch"), 1, "unknown audit 'nosuch'; audits: "),
        (("audit", "--format", "nosuch"), 2, "'nosuch' is not one of"),
        (("audit",), 1, "holds nothing yet: `forge run` makes its tables"),
        (("sql", "SELECT 1"), 1, "holds nothing yet: `forge run` makes its tables"),
        (("export", "--format", "nosuch", "--output", "x.jsonl"), 2, "'nosuch' is not one of"),
        (("export", "--format", "llava"), 2, "Missing option '--output'"),
        (("export", "--format", "llava", "--output", "x.jsonl"), 1, "no verified pair is selected by"),
        (("export", "--format", "llava", "--output", "x.jsonl", "--split", "test"), 1, "unknown split 'test'"),
        (("export", "--format", "llava", "--output", "x.jsonl", "--where", "nosuch = 1"), 1, "cannot be selected"),
        (("export", "--format", "llava", "--output", "x.jsonl", "--where", "task = '"), 1, "cannot be selected"),
        (
            ("export", "--format", "llava", "--output", "x.jsonl", "--where", "true); DROP VIEW verified_qa; --"),
            1,
            "SQL",
        ),
        (("gallery",), 1, "holds no pairs yet"),
        (("calibrate",), 1, "name photos with known truth"),
        (("init", "photos"), 1, "exists: name another file"),
        (("init", "nosuch", "--config", "other.yaml"), 1, "name the folder that holds the photos"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_get_a_message_and_no_traceback(
    arguments: tuple[str, ...], exit_code: int, says: str, unmade: Path
) -> None:
    refused(forge_in(unmade, *arguments), exit_code, says)
    assert not (unmade / "x.jsonl").exists()


CONFIGURED = {
    "run": (), "gate": ("raw_images",), "audit": (), "sql": (), "export": ("--format", "llava", "--output", "x.jsonl"),
    "gallery": (), "ui": (), "reconcile": (), "calibrate": ("--boxes", "."),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGURED)
def test_without_a_configuration_a_command_says_how_to_write_one(name: str, tmp_path: Path) -> None:
    refused(forge_in(tmp_path, name, *CONFIGURED[name]), 1, "run `forge init PHOTOS_FOLDER` to write one")


@pytest.mark.parametrize("name", CONFIGURED)
@pytest.mark.parametrize("text", ["lakes: elsewhere", "sources: [", "models: {detector: {backend: yolo}}"])
def test_a_configuration_that_is_wrong_is_named(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "forge.yaml").write_text(text)
    refused(forge_in(tmp_path, name, *CONFIGURED[name]), 1, str(tmp_path / "forge.yaml"))


def test_a_folder_of_photos_that_is_gone_is_named(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    (project / "photos").rmdir()
    refused(forge_in(project, "run"), 1, "source photos: cannot list")


def test_init_refuses_a_source_name_that_cannot_be_a_partition_key(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", "bus.jpg")
    result = forge_in(project, "init", "photos", "--source", "My-Photos", "--config", "other.yaml")
    refused(result, 1, "'My-Photos/s00000' is not a partition key")
    assert not (project / "other.yaml").exists()


# --- what needs no models


def test_init_writes_what_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "street").mkdir()
    result = forge_in(tmp_path, "init", "street", "--source", "street_2", "--license", "CC0-1.0", "--shard-size", "7")
    assert result.exit_code == 0
    written = yaml.safe_load((tmp_path / "forge.yaml").read_text())
    assert written["sources"]["street_2"] == {
        "path": str(tmp_path / "street"), "license": "CC0-1.0", "shard_size": 7,
    }  # fmt: skip


@pytest.mark.slow
def test_doctor_says_what_would_be_used(unmade: Path) -> None:
    result = forge_in(unmade, "doctor")
    assert result.exit_code == 0
    for said in ("polars", "embedded:ssd_mobilenet_v2_coco", "embedded:movenet_lightning", "readable"):
        assert said in result.output


@pytest.mark.slow
def test_doctor_finds_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    (project / "photos").rmdir()
    result = forge_in(project, "doctor")
    assert result.exit_code == 1
    assert "cannot list" in result.output


@pytest.mark.parametrize("form", ["json", "csv", "markdown"])
def test_audits_print_for_programs_too(form: str, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    Lake(project / "lake").write("raw_images", FIRST, [], TABLES["raw_images"])
    result = forge_in(project, "audit", "task_balance", "--format", form)
    assert result.exit_code == 0
    if form == "json":
        assert {row["task"] for row in json.loads(result.stdout)} >= {"grounding", "near_far"}
    else:
        assert "grounding" in result.stdout


def test_reconcile_adds_what_was_planned_once(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", "bus.jpg", "zidane.jpg")
    forge_in(project, "run", "--shard", "s00009")  # plans, then refuses
    assert "2 partition keys added" in forge_in(project, "reconcile").output
    assert "0 partition keys added" in forge_in(project, "reconcile").output


# --- real runs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two shards, made by `forge run`; not to be changed."""
    project = write_project(tmp_path_factory.mktemp("made") / "project", "bus.jpg", "zidane.jpg")
    result = forge_in(project, "run")
    assert result.exit_code == 0, result.output
    assert "2 of 2 partitions made" in result.output
    return project


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(made, tmp_path / "copied")


@pytest.mark.slow
def test_init_then_run_then_results(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy(packaged_photo("bus.jpg"), tmp_path / "mine" / "bus.jpg")
    assert forge_in(tmp_path, "init", "mine", "--source", "mine", "--license", "CC0-1.0").exit_code == 0
    settings = yaml.safe_load((tmp_path / "forge.yaml").read_text()) | {"models": EMBEDDED}
    (tmp_path / "forge.yaml").write_text(yaml.safe_dump(settings))
    assert forge_in(tmp_path, "run").exit_code == 0
    pairs = pl.read_parquet(tmp_path / "lake" / "verified_qa" / "**" / "*.parquet", hive_partitioning=False)
    assert pairs.height > 0
    assert pairs["license"].unique().to_list() == ["CC0-1.0"]
    assert forge_in(tmp_path, "audit").exit_code == 0
    output = forge_in(tmp_path, "export", "--format", "qwen3-vl", "--output", "all.jsonl").output
    assert f"{pairs.height} pairs in " in output
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == pairs.height
    assert forge_in(tmp_path, "gallery").exit_code == 0
    assert (tmp_path / "gallery" / "index.html").exists()


@pytest.mark.slow
def test_export_takes_a_condition_and_writes_the_photos(made: Path, tmp_path: Path) -> None:
    target, images = tmp_path / "counts.jsonl", tmp_path / "counts.images"
    result = forge_in(
        made, "export", "--format", "llava", "--output", str(target), "--where", "task = 'counting'",
        "--images", "copy",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert rows
    assert all((images / row["image"]).exists() for row in rows)


@pytest.mark.slow
def test_audits_count_what_was_made(made: Path) -> None:
    rows = json.loads(forge_in(made, "audit", "partitions", "--format", "json").stdout)
    assert {(row["shard"], row["state"]) for row in rows} == {("s00000", "passed"), ("s00001", "passed")}


@pytest.mark.slow
def test_run_makes_what_is_not_there_alone(copied: Path) -> None:
    shutil.copy(packaged_photo("bus.jpg"), copied / "photos" / "later.jpg")
    before = [made_at(copied, key) for key in (FIRST, SECOND)]
    result = forge_in(copied, "run")
    assert result.exit_code == 0, result.output
    assert "2 partitions are there already" in result.output
    assert "1 of 1 partitions made" in result.output
    assert [made_at(copied, key) for key in (FIRST, SECOND)] == before
    assert set(made_at(copied, THIRD)) == set(SCHEMAS)


@pytest.mark.slow
def test_run_makes_again_what_is_asked_for_again(copied: Path) -> None:
    before = [made_at(copied, key) for key in (FIRST, SECOND)]
    assert "1 of 1 partitions made" in forge_in(copied, "run", "--shard", "s00000").output
    after = made_at(copied, FIRST)
    assert all(after[table] > before[0][table] for table in SCHEMAS)
    assert made_at(copied, SECOND) == before[1]
    assert "2 of 2 partitions made" in forge_in(copied, "run", "--again").output
    assert all(made_at(copied, SECOND)[table] > before[1][table] for table in SCHEMAS)


@pytest.mark.slow
def test_stages_named_are_made_alone(copied: Path) -> None:
    before, untouched = made_at(copied, FIRST), made_at(copied, SECOND)
    result = forge_in(copied, "run", "--shard", "s00000", "--stage", "candidate_qa", "--stage", "verified_qa")
    assert result.exit_code == 0, result.output
    after = made_at(copied, FIRST)
    assert {table for table in SCHEMAS if after[table] != before[table]} == {
        "candidate_qa",
        "verified_qa",
        "rejected_qa",
    }
    assert made_at(copied, SECOND) == untouched


@pytest.mark.slow
def test_a_partition_that_fails_is_named_with_its_rule_and_the_others_are_made(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", "bus.jpg")
    (project / "photos" / "a_broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"no photo" * 100)
    result = forge_in(project, "run")
    assert result.exit_code == 1
    assert "failed photos/s00000" in result.output
    assert "rule unusable_share_in_range" in result.output
    assert "1 of 2 partitions made" in result.output
    assert "Traceback" not in result.output
    rejected = json.loads(forge_in(project, "audit", "rejected_photos", "--format", "json").stdout)
    assert [(row["rule"], row["photos"]) for row in rejected] == [("truncated_image", 1)]


@pytest.mark.slow
def test_a_gate_judges_again_after_a_threshold_changed(copied: Path) -> None:
    settings = yaml.safe_load((copied / "forge.yaml").read_text())
    (copied / "forge.yaml").write_text(yaml.safe_dump(settings | {"gates": {"max_rejected_pairs": 0.0}}))
    before = made_at(copied, FIRST)
    result = forge_in(copied, "gate", "verified_qa", "--shard", "s00000")
    assert result.exit_code == 1
    assert "rule rejected_share_in_range" in result.output
    (copied / "forge.yaml").write_text(yaml.safe_dump(settings))
    result = forge_in(copied, "gate", "verified_qa", "--shard", "s00000")
    assert result.exit_code == 0
    assert "1 of 1 partitions judged and passed" in result.output
    assert made_at(copied, FIRST) == before


@pytest.mark.slow
def test_reconcile_rebuilds_the_keys_of_a_lost_instance(copied: Path) -> None:
    shutil.rmtree(copied / ".dagster")
    assert "2 partition keys added" in forge_in(copied, "reconcile").output
