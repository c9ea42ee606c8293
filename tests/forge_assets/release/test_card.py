"""The dataset card: what the Hub reads, and what people read, is what the release holds."""

from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
import yaml
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from forge_assets.release.card import hub_license, size_category
from forge_assets.release.guessability import GUESSABILITY
from forge_assets.release.named import make_release
from forge_assets.release.release_folder import ReleaseError
from forge_assets.release.selection import Selection
from forge_resources.config import ForgeConfig
from forge_resources.lake import Lake


@pytest.fixture
def config(lake: Lake) -> ForgeConfig:
    return ForgeConfig(lake=lake.root)


def card_of(config: ForgeConfig, **options: Any) -> tuple[dict[str, Any], str]:
    release = make_release(config, "v1", Selection(), **options)
    assert isinstance(release.root, Path)
    text = (release.root / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    DatasetCard.load(release.root / "README.md")
    return yaml.safe_load(header), body


def test_the_header_says_what_the_hub_asks_for(config: ForgeConfig) -> None:
    header, _ = card_of(config)
    assert header["license"] == "cc-by-4.0"
    assert header["size_categories"] == ["n<1K"]
    assert header["pretty_name"] == "v1"
    configs = {config["config_name"]: config["data_files"] for config in header["configs"]}
    assert configs["counting"] == [{"split": "train", "path": "data/counting/train-*.parquet"}]
    assert [files["split"] for files in configs["grounding"]] == ["train", "val"]
    assert list(configs) == ["grounding", "referring", "counting", "near_far", "left_right"]


def test_the_body_has_counts_examples_and_limits(config: ForgeConfig) -> None:
    _, body = card_of(config)
    assert "| grounding | demo | train | 1 |" in body
    assert "How many people are there in the image?" in body
    assert "There is no pair of perspective." in body
    assert "How often an answer is wrong was not measured" in body
    assert "| CC-BY-4.0 | 2 | 100 |" in body
    assert "`manifest.json` has their digests" in body


def test_hostile_text_of_a_pair_stays_text(config: ForgeConfig, lake: Lake, builders: ModuleType) -> None:
    hostile = "<script>alert(1)</script> | [a](javascript:b) `x` ![i](http://h) \n# heading\n---\n{{ 7 * 7 }}"
    builders.write(lake, "verified_qa", [{**builders.PAIRS[3], "question": hostile}])
    _, body = card_of(config)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    assert "<script" not in html
    assert "<img" not in html
    assert "javascript:b&quot;" not in html
    assert 'href="javascript' not in html
    assert "49" not in body


def test_what_was_measured_is_told(config: ForgeConfig, lake: Lake, builders: ModuleType, tmp_path: Path) -> None:
    guessed = {"task": "near_far", "kind": "nearer", "answer_kind": "choice", "pairs": 100, "photos": 10}
    guessed |= {"model": "options", "accuracy": 0.62, "chance": 0.5, "majority": 0.51}
    guessed |= {"lift": 12.0, "lift_low": 9.0, "lift_high": 15.0}
    lake.write_table("guessability", pl.DataFrame([guessed], schema=dict(GUESSABILITY)), GUESSABILITY)
    judged = [
        {"qa_id": pair["qa_id"], "task": pair["task"], "model": "judge", "agrees": pair["task"] != "counting"}
        for pair in builders.PAIRS
    ]
    builders.write(lake, "judgements", judged)
    figures = {"task": "counting", "verified_judged": 50, "precision": 0.9, "low": 0.79, "high": 0.96, "yield": 0.4}
    pl.DataFrame([figures]).write_csv(tmp_path / "tasks.csv")
    _, body = card_of(config, calibration=tmp_path)
    assert "| counting | 50 | 0.9 | 0.79 | 0.96 | 0.4 |" in body
    assert "counting: 90.0% of the calibrated pairs were right." in body
    assert "near\\_far, nearer: the text alone gave away 12.0 points" in body
    assert "| judge | counting | 1 | 1 | 0 | 0 |" in body
    assert "| judge | grounding | 2 | 2 | 2 | 1 |" in body


def test_a_folder_without_calibration_is_refused(config: ForgeConfig, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="holds no calibration"):
        card_of(config, calibration=tmp_path)


@pytest.mark.parametrize(
    ("stated", "known"),
    [
        ("CC-BY-4.0", "cc-by-4.0"),
        ("CC BY 4.0", "cc-by-4.0"),
        ("https://creativecommons.org/licenses/by/2.0/", "cc-by-2.0"),
        ("unknown", "other"),
        ("https://example.org/", "other"),
    ],
)
def test_licences_have_the_hubs_names(stated: str, known: str) -> None:
    assert hub_license(stated) == known


def test_sizes_have_the_hubs_names() -> None:
    assert [size_category(n) for n in (999, 1_000, 9_999_999, 10_000_000)] == [
        "n<1K",
        "1K<n<10K",
        "1M<n<10M",
        "10M<n<100M",
    ]
