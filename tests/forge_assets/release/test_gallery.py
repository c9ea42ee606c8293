"""The gallery: all it shows, nothing it should not run, the same page each time, and how it answers to keys."""

import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from forge_assets.release.gallery import GalleryError, Sample, write_gallery
from forge_assets.release.gallery.evidence import evidence_lines
from forge_assets.release.gallery.images import COLORMAP, colored_depth, legend
from forge_assets.release.gallery.page import script_json
from forge_assets.release.gallery.rule_results import judge, rule_words
from forge_assets.tables import CANDIDATE_QA, SCHEMAS, TASKS
from forge_assets.verified_qa.rules import rules
from forge_assets.verified_qa.verify import verify
from forge_resources.config import VerificationConfig
from forge_resources.lake import Lake
from forge_resources.shards import ShardKey
from forge_resources.warehouse import Warehouse

QUOTAS = dict.fromkeys(TASKS, 1 / 6)
CHROMIUM_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1400,1000",
)  # fmt: skip
HANG_GUARD = 60  # seconds after which a page counts as hung: no statement on speed


class Html(HTMLParser):
    """Elements of a page with their attributes, and the page's data."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and data.strip():
            self._scripts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for element, attrs in self.elements if element == tag]

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self._scripts[0])

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        return {card["id"]: card for card in self.data["pairs"]}


def written(lake: Lake, folder: Path, wanted: Sample | None = None) -> Html:
    with Warehouse(lake, SCHEMAS) as warehouse:
        path = write_gallery(warehouse, lake, folder, QUOTAS, wanted=wanted)
    assert path == folder / "index.html"
    return Html(path.read_text(encoding="utf-8"))


def text_of(pieces: Sequence[Mapping[str, Any]]) -> str:
    return "".join(piece["t"] for piece in pieces)


def depth_png(steps: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(steps, dtype=np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def depth_row(image_id: str, reading: str = "depth", **columns: Any) -> dict[str, Any]:
    ramp = np.repeat(np.linspace(0, 65535, 64)[np.newaxis], 48, axis=0)
    fixed = {"source": "demo", "shard": "s00000", "mirrored": False, "kind": "metric", "near": 1.5, "far": 12.0}
    return {"image_id": image_id, "reading": reading, "png": depth_png(ramp), **fixed, **columns}


def with_keypoints(object_id: str, image_id: str) -> dict[str, Any]:
    points = [{"x": 81.0 + index, "y": 540.0, "score": 0.9} for index in range(17)]
    return {"object_id": object_id, "image_id": image_id, "source": "demo", "shard": "s00000", "keypoints": points}


# --- what the page holds


def test_every_pair_is_there_with_its_boxes(lake: Lake, tmp_path: Path, builders: Any) -> None:
    cards = written(lake, tmp_path / "gallery").cards
    verified, rejected = builders.PAIRS, builders.REJECTED
    assert set(cards) == {f"v-{pair['qa_id']}" for pair in verified} | {f"r-{pair['qa_id']}" for pair in rejected}
    for kind, pairs in (("v", verified), ("r", rejected)):
        for pair in pairs:
            card = cards[f"{kind}-{pair['qa_id']}"]
            named = [box for box in card["boxes"] if box["role"] != "other"]
            assert [box["at"] for box in named] == pair["boxes"]
            assert text_of(card["question"]) == pair["question"]
            assert card["license"] == "CC-BY-4.0"
            assert card["models"] == ["ultralytics:yolo11n.pt@0a1b"]
            assert card["template"] == pair["template_id"]


def test_places_in_texts_carry_the_letters_of_their_boxes_and_points(lake: Lake, tmp_path: Path, builders: Any) -> None:
    question = "Which of [59, 369, 302, 835], [1, 2, 3, 4] and the point [5, 6] is nearer?"
    row = builders.pair_row(
        "near_far", builders.BUS, question, "the first", builders.BUS_PEOPLE[:2], answers=(0,), score=0.1
    )
    builders.write(lake, "verified_qa", [row])
    card = written(lake, tmp_path / "gallery").cards[f"v-{row['qa_id']}"]
    assert [(box["label"], box["role"]) for box in card["boxes"]] == [
        ("A", "answer"), ("B", "asked"), ("\N{MULTIPLICATION SIGN}", "other"),
    ]  # fmt: skip
    assert [piece["b"] for piece in card["question"] if "b" in piece] == [0, 2]
    assert card["points"] == [[5, 6]]
    assert text_of(card["question"]) == question


def test_roles_of_boxes(lake: Lake, tmp_path: Path) -> None:
    roles = {
        card["task"]: {box["role"] for box in card["boxes"]}
        for card in written(lake, tmp_path / "gallery").cards.values()
        if card["kind"] == "verified"
    }
    assert roles == {
        "grounding": {"answer"},
        "referring": {"asked"},
        "counting": {"answer"},
        "near_far": {"answer", "asked"},
        "left_right": {"asked"},
    }


def test_a_rejected_pair_says_by_which_rule_and_by_how_much(lake: Lake, tmp_path: Path, builders: Any) -> None:
    cards = written(lake, tmp_path / "gallery").cards
    [reason] = [rule for rule in cards[f"r-{builders.REJECTED[0]['qa_id']}"]["rules"] if rule["reason"]]
    assert (reason["rule"], reason["value"]) == ("depth_readings", "0.93 \N{MULTIPLICATION SIGN}")
    assert not reason["holds"]
    assert not any(rule["reason"] for rule in cards[f"v-{builders.PAIRS[0]['qa_id']}"]["rules"])


def test_photos_lie_beside_the_page_once_each(lake: Lake, tmp_path: Path) -> None:
    images = written(lake, tmp_path / "gallery").data["images"]
    assert len(images) == 2
    files = sorted((tmp_path / "gallery/images").iterdir())
    assert [path.name for path in files] == sorted(image["name"] for image in images.values())
    for file in files:
        with Image.open(file) as image:
            assert max(image.size) <= 1100


def test_depth_lies_over_the_photos_that_have_a_map(lake: Lake, tmp_path: Path, builders: Any) -> None:
    maps = [
        depth_row(builders.BUS, "a", near=2.0),
        depth_row(builders.BUS, "b"),
        depth_row(builders.BUS, "0", mirrored=True),
    ]
    builders.write(lake, "depth_maps", sorted(maps, key=lambda row: row["reading"]))
    images = written(lake, tmp_path / "gallery").data["images"]
    assert images[builders.ZIDANE]["depth"] is None
    depth = images[builders.BUS]["depth"]
    assert (depth["reading"], depth["near"], depth["far"]) == ("a", "2 m", "12 m")
    assert (tmp_path / "gallery/images" / depth["name"]).exists()


def test_the_colours_of_depth_are_those_of_the_colormap_with_the_nearest_brightest() -> None:
    from matplotlib import colormaps

    with Image.open(io.BytesIO(colored_depth(depth_png([[0] * 32 + [65535] * 32] * 32)))) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    near, far = (np.array(colormaps[COLORMAP](place, bytes=True)[:3]).astype(int) for place in (1.0, 0.0))
    assert abs(pixels[16, 4] - near).max() < 20
    assert abs(pixels[16, 60] - far).max() < 20
    assert legend()[0] == "#" + "".join(f"{part:02x}" for part in near)


def test_people_of_perspective_have_their_keypoints(lake: Lake, tmp_path: Path, builders: Any) -> None:
    person = builders.REJECTED[1]["object_ids"][0]
    builders.write(lake, "detections", [with_keypoints(person, builders.BUS)])
    cards = written(lake, tmp_path / "gallery").cards
    posed = [box for card in cards.values() for box in card["boxes"] if box["pose"]]
    assert [box["object"] for box in posed] == [person]
    assert posed[0]["pose"][0] == [100.0, 500.0, 0.9]


def test_nothing_is_fetched_from_elsewhere(lake: Lake, tmp_path: Path) -> None:
    page = written(lake, tmp_path / "gallery")
    assert not page.of("link")
    assert all("src" not in script for script in page.of("script"))
    html = (tmp_path / "gallery/index.html").read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}/|@import|url\(|fetch\(", html)


def test_the_same_lake_gives_the_same_page(lake: Lake, tmp_path: Path) -> None:
    for folder in ("a", "a", "b"):
        written(lake, tmp_path / folder)
    assert (tmp_path / "a/index.html").read_bytes() == (tmp_path / "b/index.html").read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["images", "index.html"]


# --- which pairs


def many(builders: Any, count: int, **columns: Any) -> list[dict[str, Any]]:
    return [
        builders.pair_row("counting", image_id, f"How many of {index}?", "3", [], "integer", **columns)
        for index in range(count)
        for image_id in (builders.BUS, builders.ZIDANE)
    ]


def test_limits_are_of_each_task_and_rule(lake: Lake, tmp_path: Path) -> None:
    page = written(lake, tmp_path / "a", Sample(pairs_per_task=1, rejected_per_rule=0))
    assert sorted(card["task"] for card in page.cards.values()) == sorted(
        ["grounding", "referring", "counting", "near_far", "left_right"]
    )


def test_a_sample_is_of_different_photos_and_the_same_however_shards_are_cut(
    lake: Lake, tmp_path: Path, builders: Any
) -> None:
    rows = many(builders, 12, score=0.1)
    builders.write(lake, "verified_qa", rows)
    first = written(lake, tmp_path / "a", Sample(pairs_per_task=4, rejected_per_rule=0)).cards
    assert len({card["image"] for card in list(first.values())[:2]}) == 2
    other = ShardKey("demo", "s00001")
    builders.write(lake, "verified_qa", [row for row in rows if row["image_id"] == builders.BUS])
    moved = [row | {"shard": other.shard} for row in rows if row["image_id"] == builders.ZIDANE]
    builders.write(lake, "verified_qa", moved, other)
    builders.write(lake, "raw_images", [builders.photo_row(builders.BUS)])
    builders.write(lake, "raw_images", [builders.photo_row(builders.ZIDANE) | {"shard": other.shard}], other)
    assert list(written(lake, tmp_path / "b", Sample(pairs_per_task=4, rejected_per_rule=0)).cards) == list(first)


def test_all_rules_takes_each_rule_of_each_task(lake: Lake, tmp_path: Path, builders: Any) -> None:
    broken = {"rule": "object_score", "value": 0.1, "threshold": 0.5}
    left = builders.pair_row("left_right", builders.BUS, "Left?", "left", [], **broken)
    builders.write(lake, "rejected_qa", [*many(builders, 3, **broken), left])
    some = written(lake, tmp_path / "a", Sample(pairs_per_task=0, rejected_per_rule=2))
    every = written(lake, tmp_path / "b", Sample(pairs_per_task=0, rejected_per_rule=2, all_rules=True))
    assert len(some.cards) == 2
    assert sorted(card["task"] for card in every.cards.values()) == ["counting", "counting", "left_right"]


@pytest.mark.parametrize(
    ("wanted", "tasks"),
    [
        (Sample(where="score > 0.4"), {"referring", "left_right"}),
        (Sample(where="rule = 'facing' -- the last word"), {"perspective"}),
        (Sample(tasks=("near_far",)), {"near_far"}),
        (Sample(sources=("demo",), where="len(boxes) = 3"), {"grounding", "counting"}),
    ],
)
def test_a_condition_tasks_and_sources_narrow_the_sample(
    lake: Lake, tmp_path: Path, wanted: Sample, tasks: set[str]
) -> None:
    assert {card["task"] for card in written(lake, tmp_path / "a", wanted).cards.values()} == tasks


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Sample(where="nonsense >"), "cannot be selected by 'nonsense >'"),
        (Sample(where="score > 99"), "fits what was asked for: 6 are verified and 2 rejected"),
        (Sample(sources=("elsewhere",)), "fits what was asked for"),
        (Sample(tasks=("nearfar",)), "unknown task 'nearfar': one of grounding"),
        (Sample(where="true); DROP TABLE x; --"), "cannot be selected"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_reason(
    lake: Lake, tmp_path: Path, wanted: Sample, message: str
) -> None:
    with pytest.raises(GalleryError, match=re.escape(message)):
        written(lake, tmp_path / "gallery", wanted)
    assert not (tmp_path / "gallery").exists()


def test_a_lake_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="no pairs yet"):
        written(Lake(tmp_path / "none"), tmp_path / "gallery")
    assert not (tmp_path / "gallery").exists()


def test_a_missing_photo_is_named_and_an_earlier_page_stays(lake: Lake, tmp_path: Path, builders: Any) -> None:
    written(lake, tmp_path / "gallery")
    before = sorted(path.name for path in (tmp_path / "gallery").rglob("*"))
    builders.write(lake, "raw_images", [builders.photo_row(builders.BUS)])
    with pytest.raises(GalleryError, match=builders.ZIDANE):
        written(lake, tmp_path / "gallery")
    assert sorted(path.name for path in (tmp_path / "gallery").rglob("*")) == before


# --- evidence and rules


def test_evidence_leaves_out_nulls_and_names_objects() -> None:
    phrase = {"object_id": "x", "kind": "size", "text": "the big cup", "value": 1.8, "matches": 1, "count_spread": None}
    reading = {"reading": "class_height", "ratio": 1.5, "mirror_ratio": None, "separation": None, "pair": 0}
    evidence = {
        "scores": [0.5, 1.0],
        "mirror_ious": [None, 0.7],
        "truncated": [None, None],
        "occlusions": [],
        "count_strict": None,
        "gap": 0.125,
        "facing": -0.5,
        "readings": [reading, reading | {"pair": 1, "ratio": None}],
        "a_new_field": [1.5],
        "models": ["detector"],
        "phrases": [phrase, phrase | {"text": "a cup", "kind": "class", "value": None, "matches": None}],
    }
    assert evidence_lines(evidence, ["A", "B"]) == [
        ("Detector's score", "A 0.50, B 1.00"),
        ("Found again in the mirror, IoU", "A unknown, B 0.70"),
        ("Space between the boxes", "12.5% of the photo's width"),
        ("Facing", "-0.50, away from the camera"),
        ("Depth by usual height of its class, pair 1", "farther / nearer 1.50"),
        ("Depth by usual height of its class, pair 2", "says nothing"),
        ("A new field", "1.50"),
        ("Phrase \u201cthe big cup\u201d", "may fit 1 object, told by size: 1.80 times the next in size"),
        ("Phrase \u201ca cup\u201d", "what it fits is unknown, told by class"),
    ]
    assert evidence_lines(None, []) == []


def test_rules_say_what_verification_said(builders: Any) -> None:
    candidates = [
        dict.fromkeys(CANDIDATE_QA) | {name: value for name, value in pair.items() if name in CANDIDATE_QA}
        for pair in (*builders.PAIRS, *builders.REJECTED)
    ]
    rows = pl.DataFrame(candidates, schema=dict(CANDIDATE_QA), strict=False).with_columns(form=pl.lit("side"))
    thresholds = VerificationConfig(min_score=0.5)
    verified, rejected = verify(rows, thresholds)
    for row in rejected.iter_rows(named=True):
        [reason] = [said for said in judge(rejected, thresholds)[row["qa_id"]] if said.is_reason]
        assert reason.rule == row["rule"]
    for row in verified.iter_rows(named=True):
        said = judge(verified, thresholds)[row["qa_id"]]
        assert all(result.holds for result in said)
        assert min((r.margin for r in said if r.margin is not None), default=0.0) == pytest.approx(row["score"])
    assert verified.height + rejected.height == len(candidates)


def test_every_rule_has_words_of_its_own() -> None:
    names = [rule.name for rule in rules(VerificationConfig())]
    assert [name for name in names if rule_words(name) == name.replace("_", " ").capitalize()] == []


# --- text from outside

BAD = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"


@pytest.fixture
def hostile(lake: Lake, tmp_path: Path, builders: Any) -> Path:
    """A page of a lake whose texts try to run."""
    answer = builders.grounding_answer((BAD, [1, 2, 30, 40]))
    row = builders.pair_row(
        "grounding", builders.BUS, f"Locate every {BAD}", answer, [[1, 2, 30, 40]], "bbox", category=BAD,
        license=BAD, evidence={"models": [BAD]}, template_id=BAD, score=0.1, categories=[BAD], form=BAD,
        choices=[BAD],
    )  # fmt: skip
    dropped = builders.pair_row("counting", builders.BUS, BAD, BAD, [], "integer", rule=BAD, value=None, threshold=None)
    builders.write(lake, "verified_qa", [row])
    builders.write(lake, "rejected_qa", [dropped])
    written(lake, tmp_path / "hostile")
    return tmp_path / "hostile/index.html"


def test_text_from_outside_stays_text(hostile: Path) -> None:
    page = Html(hostile.read_text(encoding="utf-8"))
    assert len(page.of("script")) == 2
    assert not page.of("img")
    assert any(card["text"] == f"Locate every {BAD}" for card in page.cards.values())
    assert json.loads(script_json({"a": BAD + "\u2028&"})) == {"a": BAD + "\u2028&"}


# --- in a browser


class Browser:
    """Headless Chromium that has opened a page from disk."""

    def __init__(self, profile: Path) -> None:
        chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
        if not chromium or not driver:
            pytest.skip("needs chromium and chromedriver on the PATH")
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))

    def open(self, page: Path, fragment: str = "") -> None:
        self.driver.get("about:blank")
        self.driver.get(page.absolute().as_uri() + fragment)

    def ask(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def eventually(self, script: str) -> None:
        deadline = time.monotonic() + HANG_GUARD
        while not self.ask(script):
            if time.monotonic() > deadline:
                pytest.fail(f"never true: {script}")
            time.sleep(0.02)

    @property
    def shown(self) -> list[str]:
        return self.ask("[...document.querySelectorAll('#cards > .card')].map(card => card.id)")

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def opened(chromium: Browser, lake: Lake, tmp_path: Path, builders: Any) -> Callable[[str], Browser]:
    """Opens the page of the small lake, with a depth map and keypoints, at a fragment."""
    builders.write(lake, "depth_maps", [depth_row(builders.BUS)])
    person = builders.REJECTED[1]["object_ids"][0]
    builders.write(lake, "detections", [with_keypoints(person, builders.BUS)])
    written(lake, tmp_path / "gallery")

    def run(fragment: str = "") -> Browser:
        chromium.open(tmp_path / "gallery/index.html", fragment)
        return chromium

    return run


def test_a_page_opens_from_disk_with_its_photos(opened: Callable[..., Browser]) -> None:
    browser = opened()
    assert len(browser.shown) == 6
    browser.eventually("[...document.images].every(image => image.loading === 'lazy')")
    browser.eventually("document.querySelector('.card img').naturalWidth > 0")
    assert browser.ask("document.querySelectorAll('#cards .box').length") == 3 + 3 + 1 + 3 + 2 + 2
    assert browser.complaints() == []


def test_filters_combine_are_counted_and_stay_in_the_address(opened: Callable[..., Browser], builders: Any) -> None:
    browser = opened()
    browser.press("1")
    assert len(browser.shown) == 2
    assert browser.ask("location.hash") == "#task=grounding"
    assert browser.ask("document.querySelector('.chip[data-task=counting] span').textContent") == "1"
    browser.press("/")
    browser.press("t", "i", "e")
    assert len(browser.shown) == 1
    assert browser.ask("location.hash") == "#task=grounding&q=tie"
    assert browser.ask("document.querySelector('.chip[data-task=\"\"] span').textContent") == "2"
    assert browser.ask("document.getElementById('status').textContent") == "1 of 8 pairs"
    browser.press("\ue00c")  # escape leaves the search
    assert browser.ask("location.hash") == "#task=grounding"
    browser.press("0", "r")
    assert browser.shown == [f"r-{pair['qa_id']}" for pair in builders.REJECTED]
    browser.driver.find_element("css selector", "#rule option[value=facing]").click()
    assert browser.ask("location.hash") == "#kind=rejected&rule=facing"
    assert len(browser.shown) == 1
    assert browser.ask("document.querySelector('.switch [data-kind=verified] span').textContent") == "6"
    again = opened("#kind=rejected&rule=facing")
    assert len(again.shown) == 1
    assert again.ask("document.getElementById('rule').value") == "facing"


def test_no_pair_fits_and_all_can_be_had_again(opened: Callable[..., Browser]) -> None:
    browser = opened("#q=zebra&task=counting")
    assert browser.shown == []
    browser.driver.find_element("id", "clear").click()
    assert len(browser.shown) == 6


def test_keys_go_through_the_pairs(opened: Callable[..., Browser]) -> None:
    browser = opened()
    first, second, *_ = browser.shown
    browser.press("j", "j")
    assert browser.ask("document.activeElement.id") == second
    browser.press("k")
    assert browser.ask("document.activeElement.id") == first
    browser.press("\ue007")  # enter
    assert browser.ask("document.getElementById('viewer').open")
    assert browser.ask("location.hash") == f"#pair={first}"
    browser.press("\ue014")  # arrow right
    assert browser.ask("document.getElementById('place').textContent") == "2 of 6"
    browser.press("k", "k")
    assert browser.ask("document.getElementById('place').textContent") == "6 of 6"
    browser.press("\ue00c")
    browser.eventually("!document.getElementById('viewer').open && location.hash === ''")
    browser.eventually(f"document.activeElement.id === {json.dumps(browser.shown[5])}")
    browser.press("?")
    assert browser.ask("document.getElementById('keys').open")
    browser.press("\ue00c")
    browser.eventually("!document.getElementById('keys').open")


def test_an_open_pair_shows_what_it_rests_on(opened: Callable[..., Browser], builders: Any) -> None:
    pair = builders.REJECTED[0]
    browser = opened(f"#pair=r-{pair['qa_id']}")
    text = browser.ask("document.getElementById('slot').innerText")
    for words in (pair["question"], pair["answer"], "depth_readings", pair["qa_id"], "CC-BY-4.0", "yolo11n", "Margin"):
        assert words in text
    browser.driver.find_element("css selector", "#slot .copy").click()
    browser.eventually("document.querySelector('.toast') !== null")
    assert pair["qa_id"] in browser.ask("document.querySelector('.toast').textContent")


def test_depth_and_keypoints_lie_on_the_photo(opened: Callable[..., Browser]) -> None:
    browser = opened("#kind=rejected&task=perspective")
    assert browser.ask("document.querySelectorAll('#cards .pose .dot').length") == 17
    visible = "getComputedStyle(document.querySelector('#cards .depth')).display"
    assert browser.ask(visible) == "none"
    browser.press("d")
    assert browser.ask(visible) == "block"
    assert "depth=1" in browser.ask("location.hash")
    browser.eventually("document.querySelector('#cards .depth').naturalWidth === 64")
    browser.press("b")
    assert browser.ask("getComputedStyle(document.querySelector('#cards .overlay')).display") == "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_scheme_of_the_system(opened: Callable[..., Browser], scheme: str) -> None:
    browser = opened()
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.eventually(f"document.documentElement.dataset.theme === '{scheme}'")
    browser.press("t")
    assert browser.ask("document.documentElement.dataset.theme") != scheme


def test_every_control_has_a_name(opened: Callable[..., Browser], builders: Any) -> None:
    browser = opened(f"#pair=v-{builders.PAIRS[0]['qa_id']}")
    unnamed = (
        "[...document.querySelectorAll('button, select, input, img, [tabindex]')].filter(item => "
        "!(item.textContent.trim() || item.labels?.length || item.ariaLabel || item.alt || item.className === 'depth'))"
        ".map(item => item.outerHTML)"
    )
    assert browser.ask(unnamed) == []


def test_text_from_outside_does_not_run(chromium: Browser, hostile: Path) -> None:
    for fragment in ("", "#kind=rejected"):
        chromium.open(hostile, fragment)
        chromium.driver.find_element("css selector", ".card").click()
        chromium.eventually("document.getElementById('viewer').open")
        assert chromium.ask("document.title") == "SpatialForge: a look at the pairs"
        assert BAD in chromium.ask("document.getElementById('slot').textContent")


def test_many_pairs_are_drawn_as_they_are_reached(chromium: Browser, lake: Lake, tmp_path: Path, builders: Any) -> None:
    builders.write(lake, "verified_qa", many(builders, 250, score=0.1))
    written(lake, tmp_path / "gallery", Sample(pairs_per_task=500, rejected_per_rule=0))
    chromium.open(tmp_path / "gallery/index.html")
    assert chromium.ask("document.getElementById('status').textContent") == "500 of 500 pairs"
    assert len(chromium.shown) < 200
    drawn = len(chromium.shown)
    chromium.ask("scrollTo(0, document.body.scrollHeight)")
    chromium.eventually(f"document.querySelectorAll('#cards > .card').length > {drawn}")
    chromium.press("k")
    assert len(chromium.shown) == 500
    assert len(list((tmp_path / "gallery/images").iterdir())) == 2
