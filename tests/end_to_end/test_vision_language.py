"""Descriptions and judgements of a real photo, by a server that says what the pairs say."""

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster import AssetMaterialization

from forge_assets.definitions import ASSETS, build_definitions
from forge_assets.descriptions.asset import NO_DESCRIBER
from forge_assets.judgements.asset import NO_JUDGE
from forge_assets.tables import DESCRIPTIONS, JUDGEMENTS
from forge_resources.shards import ShardKey

pytestmark = pytest.mark.slow

KEY = ShardKey("photos", "s00000")
SECRET = "sk-planted-key-0123456789"
VARIABLE = "FORGE_TEST_MODEL_KEY"


@pytest.fixture(scope="module")
def project(shared_project: Callable[..., Any]) -> Any:
    made = shared_project("bus.jpg")
    (outcome,) = made.make(made.plan())
    assert outcome.succeeded, outcome.problems
    return made


def materialize(project: Any, *names: str) -> dict[str, AssetMaterialization]:
    result = dg.materialize(
        ASSETS,
        selection=names,
        partition_key=str(KEY),
        instance=project.instance,
        resources={"forge": project.forge},
        raise_on_error=False,
    )
    told = [event.event_specific_data for event in result.all_events if event.is_step_failure]
    assert result.success, told
    return {name: result.asset_materializations_for_node(name)[0] for name in names}


def models(project: Any, chat_server: Any, *roles: str) -> None:
    served = {"backend": "openai", "base_url": chat_server.url, "model": "org/model", "api_key_env": VARIABLE}
    networks = {name: {"backend": "embedded"} for name in ("detector", "pose")}
    project.configure(models=networks | {"depth": []} | dict.fromkeys(roles, served | {"max_attempts": 1}))


def knowing(pairs: pl.DataFrame) -> Callable[[bytes, str], str]:
    """Replies of a judge that knows the answers."""
    known = {row["question"]: row for row in pairs.to_dicts()}

    def reply(_photo: bytes, prompt: str) -> str:
        row = next(row for question, row in known.items() if question in prompt)
        return "Yes" if row["answer_kind"] == "text" else row["short_answer"]

    return reply


def test_without_models_the_tables_are_empty_and_say_why(project: Any, chat_server: Any) -> None:
    models(project, chat_server)
    told = materialize(project, "descriptions", "judgements")
    assert told["descriptions"].metadata["no_rows_because"].value == NO_DESCRIBER
    assert told["judgements"].metadata["no_rows_because"].value == NO_JUDGE
    assert project.rows(KEY, "descriptions").schema == pl.Schema(DESCRIPTIONS)
    assert project.rows(KEY, "judgements").schema == pl.Schema(JUDGEMENTS)
    assert chat_server.asked == []


def test_a_photo_is_described_and_its_pairs_are_judged(
    project: Any, chat_server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    models(project, chat_server, "describer", "judge")

    def describe(_photo: bytes, prompt: str) -> str:
        named = re.search(r"marks one ([\w ]+), at", prompt)
        return f"The {named[1]} in the street." if named else '[{"bbox_2d": [10, 10, 990, 990]}]'

    chat_server.reply = describe
    with caplog.at_level(logging.DEBUG):
        described = materialize(project, "descriptions")["descriptions"]
        phrases = project.rows(KEY, "descriptions")
        verified = project.rows(KEY, "verified_qa")
        chat_server.reply = knowing(verified)
        judged = materialize(project, "judgements")["judgements"]
    objects = project.rows(KEY, "scenes")
    assert phrases.height == described.metadata["usable_phrases"].value > 0
    assert set(phrases["object_id"]) <= set(objects["object_id"])
    assert "bus in the street" in phrases["phrase"].to_list()
    bus = phrases.filter(phrase="bus in the street")
    assert bus["iou"][0] > 0.1
    assert phrases["drop_rule"].null_count() == phrases.height
    assert project.lake.manifest("descriptions", KEY).versions["describer"] == "openai:org/model"

    rows = project.rows(KEY, "judgements")
    assert set(rows["qa_id"]) == set(verified["qa_id"])
    assert rows.filter(~pl.col("agrees").fill_null(value=False)).is_empty()
    agreement = json.loads(json.dumps(judged.metadata["agreement"].value))
    assert sum(task["asked"] for task in agreement) == rows.height
    assert all(task["share"] == 1.0 and task["low"] < 1.0 for task in agreement)

    assert f"Bearer {SECRET}" in chat_server.keys
    told = caplog.text + str(described.metadata) + str(judged.metadata)
    assert SECRET not in told
    held = b"".join(path.read_bytes() for path in project.folder.rglob("*") if path.is_file())
    assert SECRET.encode() not in held
    assert SECRET not in str(rows.rows()) + str(phrases.rows())


def test_the_same_replies_make_the_same_rows(project: Any, chat_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    models(project, chat_server, "judge")
    chat_server.reply = knowing(project.rows(KEY, "verified_qa"))
    materialize(project, "judgements")
    first = project.lake.manifest("judgements", KEY).content_hash
    materialize(project, "judgements")
    assert project.lake.manifest("judgements", KEY).content_hash == first


def test_a_server_that_refuses_the_key_stops_the_run_and_is_not_quoted(
    project: Any, chat_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    models(project, chat_server, "judge")
    chat_server.answers = [(401, f"bad key {SECRET}".encode())] * 100
    result = dg.materialize(
        ASSETS,
        selection=["judgements"],
        partition_key=str(KEY),
        instance=project.instance,
        resources={"forge": project.forge},
        raise_on_error=False,
    )
    assert not result.success
    events = "".join(str(event) for event in result.all_events)
    assert f"refuses the key in {VARIABLE} (HTTP 401)" in events
    assert SECRET not in events


def test_both_are_in_the_graph_and_in_no_job_that_must_run() -> None:
    definitions = build_definitions()
    graph = definitions.resolve_asset_graph()
    parents = {
        name: {key.to_user_string() for key in graph.get(dg.AssetKey(name)).parent_keys}
        for name in ("descriptions", "judgements")
    }
    assert parents == {"descriptions": {"raw_images", "scenes"}, "judgements": {"raw_images", "verified_qa"}}
    job = definitions.resolve_job_def("photos_to_pairs")
    made = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert not made & set(parents)
