"""Sensors that tell people of failed runs, by e-mail and by webhook, one for each channel that is configured.

Dagster's `run_failure_sensor` goes on to the next run where its function raises: a message that its receiver did not
take would be lost. These sensors move their cursor when the message has been taken and not before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg
from dagster import DagsterEventType

from forge_assets.partitions import PARTITION_NAME_TAG
from forge_assets.problems import EVENTS_OF_PROBLEMS, problems_of
from forge_resources.config import AlertsConfig
from forge_resources.dagster_resources import ForgeResource

SECONDS_BETWEEN_TICKS: Final = 30
RUNS_PER_MESSAGE: Final = 20
"""Failed runs that one message describes; it counts the rest."""
RUNS_PER_TICK: Final = 500
_LONGEST_PROBLEM: Final = 1_000
_WILL_RETRY_TAG: Final = "dagster/will_retry"
_BEFORE_ALL: Final = -1

Tell = Callable[[AlertsConfig, "FailedRuns"], None]


@dataclass(frozen=True)
class FailedRun:
    """One failed run, as a message describes it."""

    run_id: str
    job: str
    partition: str | None
    failed_at: str
    """In UTC, ISO 8601."""
    problems: Sequence[str]
    """What failed, and by which rule: `raw_images_gate: data failed: rule ...`."""
    will_be_tried_again: bool
    url: str


@dataclass(frozen=True)
class FailedRuns:
    """All runs that failed since the last message."""

    described: Sequence[FailedRun]
    """The first of them."""
    count: int
    ui_url: str

    @property
    def subject(self) -> str:
        """One line: which partition failed, or how many runs did."""
        if self.count == 1:
            (run,) = self.described
            return f"Failed: {run.partition or run.job}"
        return f"{self.count} runs failed"

    @property
    def text(self) -> str:
        """The message as plain text."""
        opening = "1 run failed." if self.count == 1 else f"{self.count} runs failed."
        more = self.count - len(self.described)
        closing = [f"And {more} more: {self.ui_url}/runs"] if more else []
        return "\n\n".join([opening, *("\n".join(_lines(run)) for run in self.described), *closing]) + "\n"

    @property
    def payload(self) -> dict[str, Any]:
        """The message as JSON: `text` for receivers that show a text, and the same by field."""
        return {"text": self.text, "failed_runs": self.count, "runs": [asdict(run) for run in self.described]}


def _lines(run: FailedRun) -> Iterator[str]:
    yield f"{f'partition {run.partition}' if run.partition else 'no partition'}, job {run.job}, {run.failed_at}"
    yield from (f"  {problem}" for problem in run.problems)
    if run.will_be_tried_again:
        yield "  It is tried again."
    yield f"  {run.url}"


def failed_after(instance: dg.DagsterInstance, cursor: int, ui_url: str) -> tuple[FailedRuns, int]:
    """The runs whose failure stands in the event log after a cursor, oldest first, at most `RUNS_PER_TICK`.

    Args:
        instance: whose runs are looked at, those of all code locations and of `forge run` too.
        cursor: storage id of the last event that was told of.
        ui_url: where links to runs begin.

    Returns:
        The runs, and the cursor after them.
    """
    of_failures = dg.RunStatusChangeRecordsFilter(DagsterEventType.RUN_FAILURE, after_storage_id=cursor)
    records = instance.fetch_run_status_changes(of_failures, limit=RUNS_PER_TICK, ascending=True).records
    described = [_described(instance, record, ui_url) for record in records[:RUNS_PER_MESSAGE]]
    last = records[-1].storage_id if records else cursor
    return FailedRuns(described, len(records), ui_url), last


def last_failure(instance: dg.DagsterInstance) -> int:
    """The cursor after all failures that there are."""
    records = instance.fetch_run_status_changes(DagsterEventType.RUN_FAILURE, limit=1).records
    return records[0].storage_id if records else _BEFORE_ALL


def _described(instance: dg.DagsterInstance, record: dg.EventLogRecord, ui_url: str) -> FailedRun:
    run_id = record.run_id
    run = instance.get_run_by_id(run_id)
    tags = run.tags if run is not None else {}
    events = [
        one.event_log_entry.dagster_event
        for one in instance.get_records_for_run(run_id, of_type=set(EVENTS_OF_PROBLEMS)).records
    ]
    problems = list(problems_of(event for event in events if event is not None))
    failure = record.event_log_entry.dagster_event
    if not problems and failure is not None and failure.message:
        problems = [failure.message]
    return FailedRun(
        run_id=run_id,
        job=run.job_name if run is not None else record.event_log_entry.job_name or "unknown",
        partition=tags.get(PARTITION_NAME_TAG),
        failed_at=datetime.fromtimestamp(record.timestamp, UTC).isoformat(timespec="seconds"),
        problems=[_shortened(problem) for problem in problems],
        will_be_tried_again=tags.get(_WILL_RETRY_TAG) == "true",
        url=f"{ui_url}/runs/{run_id}",
    )


def _shortened(problem: str) -> str:
    return problem if len(problem) <= _LONGEST_PROBLEM else f"{problem[:_LONGEST_PROBLEM]}..."


def _by_email(alerts: AlertsConfig, failed: FailedRuns) -> None:
    from forge_resources.messengers import send_email

    if alerts.email is not None:
        send_email(alerts.email, failed.subject, failed.text)


def _by_webhook(alerts: AlertsConfig, failed: FailedRuns) -> None:
    from forge_resources.messengers import post_webhook

    if alerts.webhook is not None:
        post_webhook(alerts.webhook, failed.payload)


_CHANNELS: Final[Mapping[str, Tell]] = {"email": _by_email, "webhook": _by_webhook}


def configured_channels(alerts: AlertsConfig) -> list[str]:
    """The names of the channels that have settings."""
    settings = {"email": alerts.email, "webhook": alerts.webhook}
    return [name for name in _CHANNELS if settings[name] is not None]


def alert_sensors(alerts: AlertsConfig) -> list[dg.SensorDefinition]:
    """A sensor for each channel that is configured, switched on; each has a cursor of its own.

    A sensor reads its settings anew at each tick: only a channel that is added needs a reload of the definitions.
    """
    return [_alert_sensor(channel) for channel in configured_channels(alerts)]


def _alert_sensor(channel: str) -> dg.SensorDefinition:
    def tell_of_failed_runs(context: dg.SensorEvaluationContext, forge: ForgeResource) -> dg.SensorResult:
        alerts = forge.config.alerts
        if channel not in configured_channels(alerts):
            return dg.SensorResult(skip_reason=f"alerts.{channel} is configured no more", cursor=context.cursor)
        if context.cursor is None:
            start = last_failure(context.instance)
            return dg.SensorResult(skip_reason="runs that fail from now on are told", cursor=str(start))
        failed, cursor = failed_after(context.instance, int(context.cursor), alerts.ui_url.rstrip("/"))
        if not failed.count:
            return dg.SensorResult(skip_reason="no run has failed since the last message", cursor=str(cursor))
        _CHANNELS[channel](alerts, failed)
        return dg.SensorResult(skip_reason=f"told of failed runs: {failed.count}", cursor=str(cursor))

    return dg.sensor(
        name=f"failures_by_{channel}",
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells of failed runs by {channel}, as alerts.{channel} says; what was not taken is told again.",
    )(tell_of_failed_runs)
