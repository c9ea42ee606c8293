"""Failed runs of a real instance, told by the sensors to real servers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import DagsterRunStatus
from tenacity import wait_none

from forge_assets import alerts
from forge_assets.alerts import alert_sensors
from forge_assets.definitions import build_definitions
from forge_assets.partitions import PARTITION_NAME_TAG
from forge_resources import messengers
from forge_resources.config import load_config
from forge_resources.dagster_resources import ForgeResource
from forge_resources.messengers import MessageNotSentError

WEBHOOK = {"webhook": {"url_env": "HOOK"}}
UI = "https://forge.example.org"


@dg.asset
def stage() -> None:
    """An asset whose gate fails."""


@dg.asset_check(asset=stage, blocking=True)
def stage_gate() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="data failed: rule boxes_in_photo on 3 rows")


@dg.op
def breaks() -> None:
    raise ValueError("no photo was found")


@dg.job
def broken_job() -> None:
    breaks()


@dataclass
class Tick:
    """How one evaluation of a sensor ended."""

    cursor: str | None
    said: str | None


@dataclass
class Watch:
    """A project with an instance whose failed runs are told."""

    folder: Path
    instance: dg.DagsterInstance

    @property
    def forge(self) -> ForgeResource:
        return ForgeResource(config_path=str(self.folder / "forge.yaml"))

    def configure(self, **channels: object) -> None:
        settings = {"alerts": {"ui_url": f"{UI}/"} | channels}
        (self.folder / "forge.yaml").write_text(yaml.safe_dump(settings))

    def fail(self, partition: str = "photos/s00000") -> str:
        """The id of a run whose gate fails."""
        made = dg.AssetSelection.assets(stage) | dg.AssetSelection.all_asset_checks()
        defs = dg.Definitions(assets=[stage], asset_checks=[stage_gate], jobs=[dg.define_asset_job("make", made)])
        job = defs.resolve_job_def("make")
        run = job.execute_in_process(instance=self.instance, tags={PARTITION_NAME_TAG: partition}, raise_on_error=False)
        assert not run.success
        return run.run_id

    def die(self) -> str:
        """The id of a run whose process is gone."""
        run = self.instance.create_run_for_job(broken_job, status=DagsterRunStatus.STARTED)
        self.instance.report_run_failed(run, "the run worker is gone")
        return run.run_id

    def tick(self, cursor: str | None, channel: str = "webhook") -> Tick:
        (sensor,) = [
            one for one in alert_sensors(load_config(self.folder / "forge.yaml").alerts) if one.name.endswith(channel)
        ]
        return self.evaluate(sensor, cursor)

    def evaluate(self, sensor: dg.SensorDefinition, cursor: str | None) -> Tick:
        with dg.build_sensor_context(self.instance, cursor=cursor, resources={"forge": self.forge}) as context:
            evaluated = sensor.evaluate_tick(context)
        return Tick(evaluated.cursor, evaluated.skip_message)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance on disk; a sensor without a cursor starts after all runs of earlier tests."""
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("instance"))) as instance:
        yield instance


@pytest.fixture
def watch(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(messengers, "_growing_wait", wait_none())
    return Watch(tmp_path, instance)


@pytest.fixture
def told(watch: Watch, webhook: Any, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A project whose failed runs the webhook is told of."""
    monkeypatch.setenv("HOOK", webhook.url)
    watch.configure(**WEBHOOK)
    return watch


def test_there_is_a_sensor_for_each_configured_channel_and_it_is_on(watch: Watch) -> None:
    mail = {"host": "localhost", "sender": "forge@example.org", "recipients": ["ops@example.org"]}
    for channels in ({}, WEBHOOK, WEBHOOK | {"email": mail}):
        watch.configure(**channels)
        sensors = [one for one in build_definitions(watch.forge).sensors or () if one.name.startswith("failures")]
        assert {one.name for one in sensors} == {f"failures_by_{channel}" for channel in channels}
        assert all(one.default_status == dg.DefaultSensorStatus.RUNNING for one in sensors)


def test_a_failed_gate_is_told_with_partition_rule_and_link(told: Watch, webhook: Any) -> None:
    start = told.tick(None)
    run_id = told.fail()
    assert told.tick(start.cursor).said == "told of failed runs: 1"
    (message,) = webhook.heard
    (run,) = message["runs"]
    assert (run["run_id"], run["job"], run["partition"]) == (run_id, "make", "photos/s00000")
    assert run["problems"] == ["stage_gate: data failed: rule boxes_in_photo on 3 rows"]
    assert run["url"] == f"{UI}/runs/{run_id}"
    assert not run["will_be_tried_again"]
    for part in ("photos/s00000", "boxes_in_photo", run["url"]):
        assert part in message["text"]


def test_a_failed_run_is_told_by_email(watch: Watch, start_mail_server: Callable[..., Any]) -> None:
    server = start_mail_server()
    mail = {"host": server.host, "port": server.port, "security": "none"}
    watch.configure(email=mail | {"sender": "forge@example.org", "recipients": ["ops@example.org"]})
    start = watch.tick(None, "email")
    run_id = watch.fail()
    watch.tick(start.cursor, "email")
    (envelope,) = server.mails
    message = message_from_bytes(envelope.content, policy=default)
    assert message["Subject"] == "Failed: photos/s00000"
    for part in ("stage_gate: data failed: rule boxes_in_photo on 3 rows", f"{UI}/runs/{run_id}"):
        assert part in message.get_content()


def test_an_error_in_a_stage_is_told_with_its_message(told: Watch, webhook: Any) -> None:
    start = told.tick(None)
    broken_job.execute_in_process(instance=told.instance, raise_on_error=False)
    told.tick(start.cursor)
    (run,) = webhook.heard[0]["runs"]
    assert run["partition"] is None
    assert run["problems"] == ["breaks: ValueError: no photo was found"]


def test_a_run_whose_process_died_is_told_with_what_the_instance_says(told: Watch, webhook: Any) -> None:
    start = told.tick(None)
    told.die()
    told.tick(start.cursor)
    assert webhook.heard[0]["runs"][0]["problems"] == ["the run worker is gone"]


def test_runs_that_failed_before_the_first_tick_are_not_told(told: Watch, webhook: Any) -> None:
    told.fail()
    start = told.tick(None)
    again = told.tick(start.cursor)
    assert again == Tick(start.cursor, "no run has failed since the last message")
    assert webhook.heard == []


def test_a_webhook_that_is_down_makes_the_tick_fail_and_the_next_one_tells_all(
    told: Watch, webhook: Any, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    start = told.tick(None)
    first = told.die()
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(MessageNotSentError, match="the webhook whose address is in HOOK took nothing in 3 tries"):
        told.tick(start.cursor)
    second = told.die()
    monkeypatch.setenv("HOOK", webhook.url)

    after = told.tick(start.cursor)

    (message,) = webhook.heard
    assert [run["run_id"] for run in message["runs"]] == [first, second]
    assert message["text"].startswith("2 runs failed.")
    assert told.tick(after.cursor).said == "no run has failed since the last message"


def test_many_failed_runs_make_one_message_that_describes_the_first(
    told: Watch, webhook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "RUNS_PER_MESSAGE", 2)
    start = told.tick(None)
    runs = [told.die() for _ in range(3)]
    told.tick(start.cursor)
    (message,) = webhook.heard
    assert [run["run_id"] for run in message["runs"]] == runs[:2]
    assert message["failed_runs"] == 3
    assert f"And 1 more: {UI}/runs" in message["text"]


def test_more_runs_than_one_tick_takes_are_told_by_the_next(
    told: Watch, webhook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "RUNS_PER_TICK", 2)
    cursor = told.tick(None).cursor
    runs = [told.die() for _ in range(3)]
    for _ in range(2):
        cursor = told.tick(cursor).cursor
    assert [run["run_id"] for message in webhook.heard for run in message["runs"]] == runs


def test_a_channel_that_is_taken_out_of_the_configuration_tells_nothing(told: Watch, webhook: Any) -> None:
    start = told.tick(None)
    (sensor,) = alert_sensors(load_config(told.folder / "forge.yaml").alerts)
    told.configure()
    told.die()
    assert told.evaluate(sensor, start.cursor) == Tick(start.cursor, "alerts.webhook is configured no more")
    assert webhook.heard == []
