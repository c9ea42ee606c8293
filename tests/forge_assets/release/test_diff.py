"""What changed between two releases, pair by pair, and why."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from forge_assets.cli import app
from forge_assets.release.diff import Diff, as_json, as_markdown, diff_releases
from forge_assets.release.named import make_release
from forge_assets.release.selection import Selection
from forge_assets.tables import DUPLICATES
from forge_resources.config import ForgeConfig, VerificationConfig
from forge_resources.lake import Lake

Pairs = list[dict[str, Any]]


@pytest.fixture
def compare(lake: Lake, builders: ModuleType) -> Callable[[Callable[[Pairs], Pairs]], Diff]:
    """Release, change the lake, release again, and compare."""

    def run(change: Callable[[Pairs], Pairs], with_lake: bool = True) -> Diff:
        config = ForgeConfig(lake=lake.root)
        old = make_release(config, "v1", Selection())
        builders.write(lake, "verified_qa", change([dict(pair) for pair in builders.PAIRS]))
        return diff_releases(old, make_release(config, "v2", Selection()), lake if with_lake else None)

    return run


def causes(diff: Diff) -> set[tuple[str, str, str, int]]:
    return set(diff.changes.iter_rows())


def test_the_same_pairs_differ_in_nothing(compare: Callable[..., Diff]) -> None:
    diff = compare(lambda pairs: pairs)
    assert diff.is_empty
    assert diff.versions.is_empty()
    assert "They have the same pairs." in as_markdown(diff)


def test_a_pair_that_a_rule_rejects_now_is_removed_by_that_rule(
    lake: Lake, builders: ModuleType, compare: Callable[..., Diff]
) -> None:
    gone = {**builders.PAIRS[4], "rule": "depth_ratio", "value": 1.1, "threshold": 1.3}

    def reject(pairs: Pairs) -> Pairs:
        builders.write(lake, "rejected_qa", [*builders.REJECTED, gone])
        return [pair for pair in pairs if pair["task"] != "near_far"]

    assert causes(compare(reject)) == {("removed", "near_far", "rejected by the rule depth_ratio", 1)}


def test_without_a_lake_the_manifests_alone_tell_why(compare: Callable[..., Diff]) -> None:
    diff = compare(lambda pairs: [pair for pair in pairs if pair["task"] != "near_far"], with_lake=False)
    assert causes(diff) == {("removed", "near_far", "template gone: near_far/one@1", 1)}


def test_pairs_of_a_photo_that_is_gone_or_repeats_another(
    lake: Lake, builders: ModuleType, compare: Callable[..., Diff]
) -> None:
    def drop_photos(pairs: Pairs) -> Pairs:
        builders.write(lake, "raw_images", [builders.photo_row(builders.BUS)])
        return [pair for pair in pairs if pair["image_id"] == builders.BUS]

    diff = compare(drop_photos)
    assert causes(diff) == {("removed", "grounding", "photo gone", 1), ("removed", "left_right", "photo gone", 1)}
    repeat = {"image_id": builders.BUS, "source": "demo", "shard": "s00000", "sha256": "0", "phash": None}
    repeat |= {"group_id": "demo/kept", "kind": "exact", "distance": 0, "is_kept": False}
    old = make_release(ForgeConfig(lake=lake.root), "v3", Selection())
    builders.write(lake, "raw_images", [builders.photo_row(one) for one in (builders.BUS, builders.ZIDANE)])
    builders.write(lake, "verified_qa", builders.PAIRS)
    lake.write_table("duplicates", pl.DataFrame([repeat], schema=dict(DUPLICATES)), DUPLICATES)
    new = make_release(ForgeConfig(lake=lake.root), "v4", Selection())
    removed = {row for row in causes(diff_releases(old, new, lake)) if row[0] == "removed"}
    assert {cause for _, _, cause, _ in removed} == {"photo repeats another"}


def test_changed_pairs_are_told_by_what_changed(compare: Callable[..., Diff]) -> None:
    def change(pairs: Pairs) -> Pairs:
        counting = next(pair for pair in pairs if pair["task"] == "counting")
        counting["answer"] = "4"
        referring = next(pair for pair in pairs if pair["task"] == "referring")
        referring["evidence"] = {**referring["evidence"], "models": ["another:model"]}
        left_right = next(pair for pair in pairs if pair["task"] == "left_right")
        left_right["score"] = 0.8
        near_far = next(pair for pair in pairs if pair["task"] == "near_far")
        near_far["evidence"] = {**near_far["evidence"], "gap": 0.5}
        return pairs

    diff = compare(change)
    assert causes(diff) == {
        ("changed", "counting", "another answer", 1),
        ("changed", "referring", "other models", 1),
        ("changed", "left_right", "another score: other thresholds", 1),
        ("changed", "near_far", "other evidence", 1),
    }
    assert ("counting", "answer", 1) in set(diff.columns.iter_rows())
    assert "another:model" in diff.versions.filter(name="models")["new"].item()


def test_added_pairs_are_told_by_what_is_new(builders: ModuleType, compare: Callable[..., Diff]) -> None:
    new_template = {**builders.PAIRS[3], "qa_id": "e" * 32, "template_id": "counting/one@2"}
    accepted = {**builders.PAIRS[3], "qa_id": "d" * 32}
    diff = compare(lambda pairs: [*pairs, new_template, accepted])
    assert causes(diff) == {
        ("added", "counting", "new template counting/one@2", 1),
        ("added", "counting", "other models, thresholds, templates or code", 1),
    }


def test_what_the_selection_leaves_out_is_not_selected(lake: Lake) -> None:
    config = ForgeConfig(lake=lake.root)
    old = make_release(config, "v1", Selection())
    new = make_release(config, "v2", Selection(where="score > 0.2"))
    diff = diff_releases(old, new, lake)
    assert causes(diff) == {("removed", "counting", "not selected", 1), ("removed", "near_far", "not selected", 1)}
    assert diff.versions.filter(name="selection/where").row(0) == ("selection/where", "None", "score > 0.2")


def test_thresholds_that_changed_are_named(lake: Lake, builders: ModuleType) -> None:
    def release(name: str, thresholds: VerificationConfig) -> Any:
        rows, verdict = lake.scan("verified_qa", builders.KEY).collect(), lake.verdict("verified_qa", builders.KEY)
        manifest = lake.write(
            "verified_qa", builders.KEY, rows, rows.schema, versions={"verification": thresholds.digest}
        )
        assert verdict is not None
        fresh = verdict.model_copy(update={"content_hash": manifest.content_hash})
        lake.write_verdict("verified_qa", builders.KEY, fresh)
        return make_release(ForgeConfig(lake=lake.root, verification=thresholds), name, Selection())

    old, new = release("v1", VerificationConfig()), release("v2", VerificationConfig(min_score=0.75))
    rows = set(diff_releases(old, new).versions.iter_rows())
    assert ("threshold/min_score", "0.5", "0.75") in rows
    assert "verified_qa/verification" in {name for name, _, _ in rows}


def test_the_command_prints_each_format_and_writes_rows(lake: Lake, tmp_path: Path) -> None:
    config = tmp_path / "forge.yaml"
    config.write_text(yaml.safe_dump({"lake": str(lake.root)}))
    settings = ForgeConfig(lake=lake.root)
    make_release(settings, "v1", Selection())
    make_release(settings, "v2", Selection(where="task <> 'counting'"))

    def forge(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["diff", *arguments, "--config", str(config)])
        assert result.exit_code == 0, result.output
        return result.output

    document = json.loads(forge("v1", "v2", "--format", "json"))
    assert document["changes"] == [{"change": "removed", "task": "counting", "cause": "not selected", "pairs": 1}]
    assert "# v1 → v2" in forge("v1", str(Path(str(lake.root)) / "releases" / "v2"), "--format", "markdown")
    assert "counting" in forge("v1", "v2", "--rows", str(tmp_path / "rows.parquet"))
    assert pl.read_parquet(tmp_path / "rows.parquet")["change"].to_list() == ["removed"]
    failed = CliRunner().invoke(app, ["diff", "v1", "v9", "--config", str(config)])
    assert failed.exit_code == 1
    assert "there is no release v9" in failed.output
    assert (
        json.loads(as_json(diff_releases(*(make_release(settings, n, Selection()) for n in ("a", "b")))))["changes"]
        == []
    )
