"""The gallery: all it shows, nothing it should not run, the same page each time."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from forge_assets.release.evidence import evidence_lines
from forge_assets.release.gallery import GalleryError, write_gallery
from forge_assets.tables import SCHEMAS, TASKS
from forge_resources.lake import Lake
from forge_resources.warehouse import Warehouse

QUOTAS = dict.fromkeys(TASKS, 1 / 6)


class Page(HTMLParser):
    """Elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str, name: str = "") -> list[dict[str, str | None]]:
        return [attrs for element, attrs in self.elements if element == tag and name in (attrs.get("class") or "")]


@pytest.fixture
def page(warehouse: Warehouse, lake: Lake, tmp_path: Path) -> Page:
    path = write_gallery(warehouse, lake, tmp_path / "gallery", QUOTAS)
    assert path == tmp_path / "gallery/index.html"
    return Page(path.read_text(encoding="utf-8"))


def test_every_pair_is_there(page: Page, builders: Any) -> None:
    cards = page.of("article")
    assert sorted((card["id"] or "") for card in cards) == sorted(
        [f"v-{pair['qa_id']}" for pair in builders.PAIRS] + [f"r-{pair['qa_id']}" for pair in builders.REJECTED]
    )
    assert [card["data-kind"] for card in cards] == ["verified"] * 6 + ["rejected"] * 2
    assert len(page.of("g", "box")) == sum(len(pair["boxes"]) for pair in builders.PAIRS + builders.REJECTED)
    text = " ".join(page.text.split())
    assert "How many people are there in the image?" in text
    assert "farther / nearer 1.61, in the mirror 1.57, separation 1.22" in text
    assert "Dropped by depth readings: found 0.93, asked for 1" in text


def test_regions_in_texts_carry_the_letters_of_their_boxes(page: Page) -> None:
    text = " ".join(page.text.split())
    assert "the person at A[59, 369, 302, 835] or the person at B[273, 375, 425, 794]?" in text


def test_photos_lie_beside_the_page_once_each(page: Page, tmp_path: Path) -> None:
    photos = {image["src"] for image in page.of("img")}
    assert len(photos) == 2
    assert {f"photos/{path.name}" for path in (tmp_path / "gallery/photos").iterdir()} == photos
    for photo in photos:
        with Image.open(tmp_path / "gallery" / str(photo)) as image:
            assert max(image.size) <= 1100


def test_nothing_is_fetched_from_elsewhere(page: Page, tmp_path: Path) -> None:
    assert not page.of("link")
    assert all("src" not in script for script in page.of("script"))
    html = (tmp_path / "gallery/index.html").read_text(encoding="utf-8")
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}/|@import|url\(", html)


def test_the_same_lake_gives_the_same_page(warehouse: Warehouse, lake: Lake, tmp_path: Path) -> None:
    first = write_gallery(warehouse, lake, tmp_path / "a", QUOTAS).read_bytes()
    again = write_gallery(warehouse, lake, tmp_path / "a", QUOTAS).read_bytes()
    assert first == again == write_gallery(warehouse, lake, tmp_path / "b", QUOTAS).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["index.html", "photos"]


def test_limits_are_shares_of_task_and_rule(warehouse: Warehouse, lake: Lake, tmp_path: Path) -> None:
    page = Page(write_gallery(warehouse, lake, tmp_path / "a", QUOTAS, per_task=1, per_rule=0).read_text())
    tasks = [card["data-task"] for card in page.of("article")]
    assert tasks == ["grounding", "referring", "counting", "near_far", "left_right"]


def test_text_from_outside_is_escaped(lake: Lake, tmp_path: Path, builders: Any) -> None:
    bad = "<script>alert(1)</script>"
    answer = builders.grounding_answer((bad, [1, 2, 3, 4]))
    row = builders.pair_row(
        "grounding", builders.BUS, f"Locate every {bad}", answer, [[1, 2, 3, 4]], "bbox", category=bad,
        license='"><img src=x onerror=alert(1)>', evidence={"models": [bad]}, template_id=bad, score=0.1,
    )  # fmt: skip
    dropped = builders.pair_row("counting", builders.BUS, bad, bad, [], "integer", rule=bad, value=None, threshold=None)
    builders.write(lake, "verified_qa", [row])
    builders.write(lake, "rejected_qa", [dropped])
    with Warehouse(lake, SCHEMAS) as warehouse:
        page = Page(write_gallery(warehouse, lake, tmp_path / "gallery", QUOTAS).read_text(encoding="utf-8"))
    assert len(page.of("script")) == 1
    assert all(set(image) == {"src", "alt"} for image in page.of("img"))
    assert f"Locate every {bad}" in page.text


def test_a_lake_without_pairs_is_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "none")
    with Warehouse(lake, SCHEMAS) as warehouse, pytest.raises(GalleryError, match="no pairs yet"):
        write_gallery(warehouse, lake, tmp_path / "gallery", QUOTAS)
    assert not (tmp_path / "gallery").exists()


def test_a_missing_photo_is_named(lake: Lake, tmp_path: Path, builders: Any) -> None:
    builders.write(lake, "raw_images", [builders.photo_row(builders.BUS)])
    with Warehouse(lake, SCHEMAS) as warehouse, pytest.raises(GalleryError, match=builders.ZIDANE):
        write_gallery(warehouse, lake, tmp_path / "gallery", QUOTAS)
    assert list((tmp_path / "gallery").iterdir()) == []


def test_evidence_leaves_out_nulls_and_names_objects() -> None:
    evidence = {
        "scores": [0.5, 1.0],
        "mirror_ious": [None, 0.7],
        "truncated": [None, None],
        "overlaps": [],
        "count_strict": None,
        "gap": 0.125,
        "facing": -0.5,
        "readings": None,
        "a_new_field": [1.5],
    }
    assert evidence_lines(evidence, ["A", "B"]) == [
        ("Detector's score", "A 0.50, B 1.00"),
        ("Found again in the mirror, IoU", "A unknown, B 0.70"),
        ("Space between the boxes", "12.5% of the photo's width"),
        ("Facing", "-0.50, away from the camera"),
        ("A new field", "1.50"),
    ]
    assert evidence_lines(None, []) == []
