"""The vocabulary: what each set's own class names mean."""

import importlib.util
import json
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_resources.errors import ForgeError
from forge_resources.vocabulary import SETS, SOURCE_KINDS, Named, Vocabulary, VocabularyError, ancestors, normal_name

VOCABULARY = Vocabulary.packaged()
ROWS = pl.read_csv(resources.files("forge_resources").joinpath("classes.csv").read_bytes(), infer_schema=False)
COCO = resources.files("forge_resources.sources").joinpath("coco_classes.txt").read_text().split("\n")
HEADER = "source,name,category,relation\n"


def published(file: str) -> list[str]:
    """Class names in a data set's description that ultralytics carries."""
    spec = importlib.util.find_spec("ultralytics")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "cfg", "datasets", file)
    return list(yaml.safe_load(path.read_text())["names"].values())


# --- the packaged table


@pytest.mark.parametrize(
    ("source", "file", "count"),
    [("coco", "coco.yaml", 80), ("objects365", "Objects365.yaml", 365), ("openimages", "open-images-v7.yaml", 601)],
)
def test_each_published_name_has_exactly_one_row(source: str, file: str, count: int):
    rows = [normal_name(name) for name in ROWS.filter(source=source)["name"]]
    names = {normal_name(name) for name in published(file)}
    assert len(names) == count
    assert names <= set(rows)
    assert len(set(rows)) == len(rows)


def test_the_rows_are_sorted():
    keys = [(row["source"], normal_name(row["name"])) for row in ROWS.to_dicts()]
    assert keys == sorted(keys)


def test_a_class_is_called_same_where_another_set_has_it_and_own_where_none_has():
    sets = ROWS.group_by("category").agg(pl.col("source").unique())
    shared = {category for category, found in sets.rows() if len(found) > 1}
    alike = ROWS.filter(pl.col("relation").is_in(["same", "own"]), pl.col("source") != "coco")
    assert [row for row in alike.to_dicts() if (row["relation"] == "same") != (row["category"] in shared)] == []


def test_the_classes_of_coco_mean_themselves():
    names = [name for name in COCO if name]
    assert len(names) == 80
    assert [VOCABULARY.canonical("coco", name) for name in names] == [Named(name, is_known=True) for name in names]


@pytest.mark.parametrize("source", SETS)
def test_each_row_is_found(source: str):
    for row in ROWS.filter(source=source).to_dicts():
        assert VOCABULARY.canonical(source, row["name"]) == Named(row["category"], is_known=True)


@pytest.mark.parametrize("kind", ["coco", "image_folder", "pixmo"])
def test_a_category_means_itself(kind: str):
    for category in VOCABULARY.categories:
        assert VOCABULARY.canonical(kind, category) == Named(category, is_known=True)


def test_no_category_means_another_thing_in_a_set_but_the_mouse():
    changed = {
        (kind, category, VOCABULARY.canonical(kind, category).category)
        for kind in ("objects365", "openimages")
        for category in VOCABULARY.categories
        if VOCABULARY.canonical(kind, category).category != category
    }
    assert {change for change in changed if change[1] in COCO} == {("openimages", "mouse", "mouse (animal)")}


@pytest.mark.parametrize(
    ("source", "name", "category"),
    [
        ("objects365", "Moniter/TV", "tv"),
        ("objects365", "Bakset", "basket"),
        ("objects365", "Table Tennis ", "table tennis"),
        ("objects365", "Dinning Table", "dining table"),
        ("objects365", "Tape Measur/ Ruler", "tape measure/ruler"),
        ("objects365", "Mouse", "mouse"),
        ("objects365", "Keyboard", "keyboard"),
        ("objects365", "Remote", "remote"),
        ("objects365", "Tennis", "sports ball"),
        ("objects365", "Tennis Racket", "tennis racket"),
        ("objects365", "Baseball Bat", "baseball bat"),
        ("objects365", "Orange/Tangerine", "orange"),
        ("objects365", "Bow Tie", "bow tie"),
        ("objects365", "Stuffed Toy", "stuffed toy"),
        ("objects365", "Desk", "desk"),
        ("objects365", "Crane", "crane"),
        ("objects365", "Seal", "seal"),
        ("objects365", "Hot dog", "hot dog"),
        ("objects365", "Van", "van"),
        ("objects365", "SUV", "car"),
        ("openimages", "Man", "person"),
        ("openimages", "Human face", "human face"),
        ("openimages", "Wheel", "wheel"),
        ("openimages", "Animal", "animal"),
        ("openimages", "Table", "table"),
        ("openimages", "Mouse", "mouse (animal)"),
        ("openimages", "Computer mouse", "mouse"),
        ("openimages", "Computer keyboard", "keyboard"),
        ("openimages", "Musical keyboard", "musical keyboard"),
        ("openimages", "Bat (Animal)", "bat (animal)"),
        ("openimages", "Football", "sports ball"),
        ("openimages", "Football helmet", "helmet"),
        ("openimages", "Squash (Plant)", "squash (plant)"),
        ("openimages", "Tank", "tank"),
        ("openimages", "Red panda", "red panda"),
        ("openimages", "Doughnut", "donut"),
        ("openimages", "Mobile phone", "cell phone"),
        ("openimages", "Telephone", "telephone"),
        ("openimages", "Glasses", "glasses"),
        ("openimages", "Wine glass", "wine glass"),
    ],
)
def test_traps(source: str, name: str, category: str):
    assert VOCABULARY.canonical(source, name).category == category


# --- looking up


@settings(deadline=None)
@given(st.sampled_from(ROWS.rows()), st.data())
def test_blanks_and_case_do_not_matter(row: tuple[str, ...], data: st.DataObject):
    source, name, category = row[:3]
    blanks = st.text(st.sampled_from(" \t\n\u00a0\u2003"), min_size=1, max_size=3)
    strange = data.draw(blanks) + "".join(data.draw(blanks) if c == " " else c for c in name) + data.draw(blanks)
    turned = data.draw(st.sampled_from([str.upper, str.lower, str.title]))
    assert VOCABULARY.canonical(source, turned(strange)).category == category


@settings(deadline=None)
@given(st.sampled_from(SOURCE_KINDS), st.text())
def test_a_category_is_a_normal_name_and_the_answer_is_stable(kind: str, name: str):
    category, is_known = VOCABULARY.canonical(kind, name)
    assert category == " ".join(category.split())
    assert is_known == (category in VOCABULARY.categories)
    assert VOCABULARY.canonical("coco", category) == Named(category, is_known)


def test_an_unknown_class_keeps_its_own_name():
    assert VOCABULARY.canonical("objects365", "  Space \t Elevator ") == Named("space elevator", is_known=False)


def test_a_folder_with_classes_of_its_own_keeps_them_and_shares_those_of_coco():
    assert VOCABULARY.canonical("image_folder", "Mouse") == Named("mouse", is_known=True)
    assert VOCABULARY.canonical("image_folder", "Moniter/TV") == Named("moniter/tv", is_known=False)
    assert VOCABULARY.canonical("image_folder", "Mobile phone") == Named("mobile phone", is_known=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cars", Named("car", is_known=True)),
        ("people", Named("person", is_known=True)),
        ("wine glasses", Named("wine glass", is_known=True)),
        ("glasses", Named("glasses", is_known=True)),
        ("man", Named("man", is_known=False)),
        ("the red car", Named("the red car", is_known=False)),
    ],
)
def test_free_text_is_a_category_by_its_name_or_its_plural(text: str, expected: Named):
    assert VOCABULARY.canonical("pixmo", text) == expected


def test_an_unknown_kind_of_source_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="unknown kind of source 'imagenet'"):
        VOCABULARY.canonical("imagenet", "dog")


def test_a_column_is_mapped_name_by_name():
    mapped = VOCABULARY.mapping("openimages", pl.Series(["Taxi", "Gizmo", None, "Taxi"]))
    assert mapped.rows() == [("Gizmo", "gizmo", False), ("Taxi", "car", True)]


# --- wider classes


def test_a_name_without_a_row_takes_the_category_of_its_nearest_wider_class():
    assert VOCABULARY.canonical("openimages", "Toucan", ["Bird", "Animal"]) == Named("bird", is_known=True)
    assert VOCABULARY.canonical("openimages", "Toucan", ["Rainbow bird", "Bird"]) == Named("bird", is_known=True)


def test_a_wider_class_of_its_own_lends_no_category():
    assert VOCABULARY.canonical("openimages", "Unicorn", ["Animal"]) == Named("unicorn", is_known=False)
    assert VOCABULARY.canonical("openimages", "Clog", ["Footwear", "Person"]) == Named("clog", is_known=False)


def test_a_row_of_its_own_counts_before_wider_classes():
    assert VOCABULARY.canonical("openimages", "Van", ["Car", "Vehicle"]).category == "van"


def test_wider_classes_are_read_from_the_hierarchy_nearest_first():
    hierarchy: dict[str, Any] = {
        "LabelName": "/m/root",
        "Subcategory": [
            {
                "LabelName": "/m/animal",
                "Subcategory": [
                    {
                        "LabelName": "/m/bird",
                        "Subcategory": [{"LabelName": "/m/duck"}],
                        "Part": [{"LabelName": "/m/beak", "Subcategory": [{"LabelName": "/m/tip"}]}],
                    }
                ],
            },
            {"LabelName": "/m/food", "Subcategory": [{"LabelName": "/m/duck"}]},
        ],
    }
    names = {f"/m/{name}": name.title() for name in ("animal", "bird", "duck", "food", "beak", "tip")}
    assert ancestors(json.loads(json.dumps(hierarchy)), names) == {
        "Animal": (),
        "Food": (),
        "Bird": ("Animal",),
        "Duck": ("Bird", "Food", "Animal"),
        "Beak": (),
        "Tip": ("Beak",),
    }


# --- tables of one's own


def test_a_table_of_ones_own_takes_the_place_of_the_packaged_one(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("\ufeffnote,source,name,category,relation\nwhy,objects365,SUV,suv,own\n\n", encoding="utf-8")
    mine = Vocabulary.load(path)
    assert mine.categories == {"suv"}
    assert mine.canonical("objects365", "suv") == Named("suv", is_known=True)


def test_the_digest_follows_what_is_said_and_nothing_else(tmp_path: Path):
    def digest(text: str) -> str:
        path = tmp_path / "mine.csv"
        path.write_text(text)
        return Vocabulary.load(path).digest

    first = digest(HEADER + "coco,car,car,same\ncoco,dog,dog,same\n")
    assert digest(HEADER[:-1] + ",note\ncoco,dog,dog,same,x\ncoco,Car ,car,same,\n") == first
    assert digest(HEADER + "coco,car,car,same\ncoco,dog,animal,kind_of\n") != first
    assert Vocabulary.packaged().digest == VOCABULARY.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "empty"),
        (b"source,name,category\n", "line 1: column relation is missing"),
        (HEADER[:-1].encode() + b",colour\n", "line 1, column colour: unknown or repeated"),
        (HEADER.encode() + b"coco,car,car\n", "line 2: 3 values for 4 columns"),
        (HEADER.encode() + b"voc,car,car,same\n", "line 2, column source: 'voc' is unknown"),
        (HEADER.encode() + b"coco, ,car,synonym\n", "line 2, column name: empty"),
        (HEADER.encode() + b"coco,car,Car,synonym\n", "line 2, column category: 'Car'; .*such as 'car'"),
        (HEADER.encode() + b"coco,car,,synonym\n", "line 2, column category: ''"),
        (HEADER.encode() + b"coco,car,car,equal\n", "line 2, column relation: 'equal' is unknown"),
        (HEADER.encode() + b"coco,auto,car,same\n", "line 2, column relation: same needs the category 'auto'"),
        (HEADER.encode() + b"coco,car,car,same\ncoco,CAR ,car,same\n", "line 3, column name: .*in line 2 already"),
        (HEADER.encode() + b"coco,car,car,same\ncoco,d\xf6g,dog,synonym\n", "line 3: not UTF-8"),
        (HEADER.encode() + b'coco,"car,car,same\n', "line 2: no CSV"),
    ],
)
def test_what_is_wrong_with_a_table_is_named_by_line_and_column(tmp_path: Path, text: bytes, message: str):
    path = tmp_path / "mine.csv"
    path.write_bytes(text)
    with pytest.raises(VocabularyError, match=message) as raised:
        Vocabulary.load(path)
    assert isinstance(raised.value, ForgeError)
    assert str(path) in str(raised.value)


def test_an_absent_table_is_named(tmp_path: Path):
    with pytest.raises(VocabularyError, match=r"absent\.csv"):
        Vocabulary.load(tmp_path / "absent.csv")
