"""What went wrong in a run, in the words of its gates and stages."""

from collections.abc import Iterable, Iterator

import dagster as dg
from dagster import DagsterEventType

EVENTS_OF_PROBLEMS = frozenset({DagsterEventType.ASSET_CHECK_EVALUATION, DagsterEventType.STEP_FAILURE})
"""The types of events that `problems_of` reads; it passes over all others."""

_OF_A_FAILED_GATE = "DagsterAssetCheckFailedError"


def problems_of(events: Iterable[dg.DagsterEvent]) -> Iterator[str]:
    """Failed gates with what they say, then failed stages with the error that stopped them: `name: what`."""
    problems = [event for event in events if event.event_type in EVENTS_OF_PROBLEMS]
    for event in problems:
        if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed:
                yield f"{evaluation.check_name}: {evaluation.description}"
    for event in problems:
        if event.event_type == DagsterEventType.STEP_FAILURE:
            error = event.step_failure_data.error
            cause = error.cause if error is not None and error.cause is not None else error
            if cause is not None and _OF_A_FAILED_GATE not in cause.message:
                yield f"{event.step_key}: {cause.message.strip()}"
