"""Values for Dagster's Helm chart, by what Dagster's own packages say of them; no cluster is at hand."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import Shape, process_config
from dagster._core.instance.config import dagster_instance_config_schema
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import UserDefinedDagsterK8sConfig

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "infra/kubernetes"
DOCKERFILE = (ROOT / "infra/docker/Dockerfile").read_text()
SECTIONS_OF_THE_CHART = {
    "global",
    "generatePostgresqlPasswordSecret",
    "postgresql",
    "telemetry",
    "dagsterWebserver",
    "dagsterDaemon",
    "additionalInstanceConfig",
    "dagster-user-deployments",
    "runLauncher",
}
"""Those that these files set, as chart 1.13 names them."""
FORGE_CONFIG = "/srv/spatialforge/forge.yaml"


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """As Helm puts one values file over another."""
    both = copy.deepcopy(base)
    for name, value in over.items():
        inner = both.get(name)
        both[name] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return both


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((VALUES / name).read_text())


CPU = load("values-cpu.yaml")
GPU = merged(CPU, load("values-gpu.yaml"))


def launcher(values: dict[str, Any]) -> dict[str, Any]:
    return values["runLauncher"]["config"]["k8sRunLauncher"]


def run_config(values: dict[str, Any]) -> dict[str, Any]:
    return launcher(values)["runK8sConfig"]


def deployment(values: dict[str, Any]) -> dict[str, Any]:
    (only,) = values["dagster-user-deployments"]["deployments"]
    return only


both = pytest.mark.parametrize("values", [CPU, GPU], ids=["cpu", "gpu"])


@both
def test_sections_are_those_of_the_chart(values: dict[str, Any]) -> None:
    assert set(values) == SECTIONS_OF_THE_CHART


@both
def test_dagster_takes_the_settings_of_the_instance(values: dict[str, Any]) -> None:
    result = process_config(Shape(dagster_instance_config_schema()), values["additionalInstanceConfig"])
    assert result.success, [error.message for error in result.errors or ()]


@both
def test_queue_and_retries_are_those_of_the_tested_instance_but_for_their_size(values: dict[str, Any]) -> None:
    tested = yaml.safe_load((ROOT / "infra/postgres/dagster.yaml").read_text())
    here = values["additionalInstanceConfig"]
    for name in ("nux", "run_coordinator", "run_retries"):
        assert here[name] == tested[name]
    runs, tested_runs = here["concurrency"]["runs"], tested["concurrency"]["runs"]
    assert runs["tag_concurrency_limits"] == tested_runs["tag_concurrency_limits"]
    assert here["concurrency"]["pools"]["granularity"] == tested["concurrency"]["pools"]["granularity"]
    assert values["postgresql"]["postgresqlScheme"] == tested["storage"]["postgres"]["postgres_db"]["scheme"]


@both
def test_no_section_is_written_by_the_chart_and_by_us(values: dict[str, Any]) -> None:
    daemon = values["dagsterDaemon"]
    assert not daemon["runCoordinator"]["enabled"]
    assert not daemon["runRetries"]["enabled"]
    assert "run_monitoring" not in values["additionalInstanceConfig"]


@both
def test_dagster_takes_what_is_said_of_the_pods_of_runs(values: dict[str, Any]) -> None:
    snake = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower(): part for name, part in run_config(values).items()}
    config = UserDefinedDagsterK8sConfig.from_dict(snake)
    assert config.container_config["resources"]
    assert config.pod_spec_config["node_selector"]
    settings = {
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "dagster_home": values["global"]["dagsterHome"],
        "image_pull_policy": launcher(values)["imagePullPolicy"],
        "env_secrets": [secret["name"] for secret in launcher(values)["envSecrets"]],
        "volumes": launcher(values)["volumes"],
        "volume_mounts": launcher(values)["volumeMounts"],
        "security_context": launcher(values)["securityContext"],
        "run_k8s_config": snake,
    }
    result = process_config(Shape(K8sRunLauncher.config_type()), settings)
    assert result.success, [error.message for error in result.errors or ()]


@both
def test_secrets_are_named_and_not_written(values: dict[str, Any]) -> None:
    assert not values["generatePostgresqlPasswordSecret"]
    assert values["global"]["postgresqlSecretName"]
    assert "postgresqlPassword" not in values["postgresql"]
    for holder in (launcher(values), deployment(values)):
        assert holder["envSecrets"] == [{"name": "spatialforge-s3"}]
        assert "env" not in holder


@both
def test_every_container_has_bounds(values: dict[str, Any]) -> None:
    holders = [
        values["dagsterWebserver"],
        values["dagsterDaemon"],
        deployment(values),
        run_config(values)["containerConfig"],
    ]
    for holder in holders:
        assert {"cpu", "memory"} <= set(holder["resources"]["requests"])
        assert {"cpu", "memory"} <= set(holder["resources"]["limits"])


@both
def test_containers_run_as_the_user_of_the_image(values: dict[str, Any]) -> None:
    (user,) = re.findall(r"^USER (\d+)$", DOCKERFILE, flags=re.MULTILINE)
    for context in (deployment(values)["podSecurityContext"], run_config(values)["podSpecConfig"]["securityContext"]):
        assert context["runAsNonRoot"]
        assert context["runAsUser"] == int(user)


@both
def test_paths_are_those_of_the_image(values: dict[str, Any]) -> None:
    assert f"DAGSTER_HOME={values['global']['dagsterHome']}" in DOCKERFILE
    assert f"FORGE_CONFIG={FORGE_CONFIG}" in DOCKERFILE
    for holder in (launcher(values), deployment(values)):
        volumes = {volume["name"] for volume in holder["volumes"]}
        assert {mount["name"] for mount in holder["volumeMounts"]} == volumes
        assert FORGE_CONFIG in {mount["mountPath"] for mount in holder["volumeMounts"]}


@both
def test_the_code_server_serves_the_definitions(values: dict[str, Any]) -> None:
    assert deployment(values)["dagsterApiGrpcArgs"] == ["--module-name", "forge_assets.definitions"]


def test_gpu_runs_ask_for_a_gpu_on_nodes_of_the_gpu_pool_and_keep_all_else() -> None:
    limits = run_config(GPU)["containerConfig"]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    pod = run_config(GPU)["podSpecConfig"]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "spatialforge/pool": "gpu"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert pod["securityContext"] == run_config(CPU)["podSpecConfig"]["securityContext"]
    assert "nvidia.com/gpu" not in run_config(CPU)["containerConfig"]["resources"]["limits"]
