"""Logs of runs as JSON lines, for tools that collect them."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

_OF_DAGSTER: Final = "dagster_meta"
"""The attribute in which Dagster keeps what it knows of a record: the run, its tags, the step, the event."""
_PARTITION_TAG: Final = "dagster/partition"


class JsonLines(logging.Formatter):
    """One JSON object a line: when, how grave, who, what, and of which run, partition and asset.

    `python_logs` in `dagster.yaml` names it. Fields without a value are left out: `time` (UTC, ISO 8601), `level`,
    `logger`, `message`, `run_id`, `job`, `partition`, `step` (a stage's is named as its asset), `event` (Dagster's type
    of event), `asset` (that the event is about), `figures` (numbers of a materialization) and `error` (with its stack).
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record, without its end."""
        known: Mapping[str, Any] = getattr(record, _OF_DAGSTER, {})
        event = known.get("dagster_event")
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": known.get("orig_message") or record.getMessage(),
            "run_id": known.get("run_id"),
            "job": known.get("job_name"),
            "partition": (known.get("job_tags") or {}).get(_PARTITION_TAG),
            "step": known.get("step_key"),
            "error": self.formatException(record.exc_info) if record.exc_info else None,
        }
        if event is not None:
            fields |= _told_by(event)
        return json.dumps({name: value for name, value in fields.items() if value is not None}, ensure_ascii=False)


def _told_by(event: Any) -> dict[str, Any]:  # noqa: ANN401 - Dagster is not imported
    about = getattr(event.event_specific_data, "materialization", event.event_specific_data)
    asset = getattr(about, "asset_key", None)
    error = getattr(event.event_specific_data, "error", None)
    metadata: Mapping[str, Any] = getattr(about, "metadata", {})
    figures = {name: entry.value for name, entry in metadata.items() if isinstance(entry.value, int | float)}
    return {
        "event": event.event_type_value,
        "asset": asset.to_user_string() if asset is not None else None,
        "figures": figures or None,
        "error": error.to_string() if error is not None else None,
    }
