"""What listens, listens on this machine alone until somebody says otherwise."""

import re
from pathlib import Path

import typer
import yaml

from forge_assets.cli import app

ROOT = Path(__file__).resolve().parents[2]


def test_the_ui_listens_on_loopback_by_default() -> None:
    (host,) = [option for option in typer.main.get_command(app).commands["ui"].params if option.name == "host"]
    assert host.default == "127.0.0.1"


def test_compose_publishes_no_port_but_on_loopback() -> None:
    services = yaml.safe_load((ROOT / "infra/compose/compose.yaml").read_text())["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"webserver"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert not [name for name, service in services.items() if service.get("network_mode") == "host"]


def test_no_service_of_kubernetes_is_open_to_the_outside() -> None:
    for file in (ROOT / "infra/kubernetes").glob("*.yaml"):
        text = file.read_text()
        assert not re.search(r"type: *(LoadBalancer|NodePort)", text), file.name


def test_dagster_has_the_server_that_changes_nothing() -> None:
    from dagster_webserver.cli import dagster_webserver

    assert {"read_only", "workspace", "port"} <= {option.name for option in dagster_webserver.params}
