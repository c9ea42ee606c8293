"""Rules about the words of a phrase alone."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_assets.descriptions.words import broken_rule, tidied


def rule_of(phrase: str, singular: str = "person", color: str | None = None) -> str | None:
    rows = pl.DataFrame(
        {"phrase": [phrase], "singular": [singular], "color": [color]}, schema_overrides={"color": pl.String}
    )
    return rows.select(broken_rule()).item()


@pytest.mark.parametrize(
    ("reply", "phrase"),
    [
        ("The person in a dark coat.", "person in a dark coat"),
        ("  a person with a bag\n", "person with a bag"),
        ("An old clock", "old clock"),
        ("Theatre person", "theatre person"),
        ("person in a coat", "person in a coat"),
        ("", ""),
    ],
)
def test_article_full_stop_and_capital_are_taken_off(reply: str, phrase: str) -> None:
    assert pl.select(tidied(pl.lit(reply))).item() == phrase


@pytest.mark.parametrize(
    ("phrase", "singular", "color"),
    [
        ("person in a dark coat", "person", None),
        ("person with a red-brown bag, on the phone", "person", None),
        ("wooden table covered with plates", "dining table", "brown"),
        ("woman's mouse on the desk", "computer mouse", None),
        ("red car near the tree", "car", "red"),
        ("orange car near the tree", "car", "red"),
        ("gray car near the tree", "car", "grey"),
        ("car with a white roof", "car", None),
        ("ripe orange in a bowl", "orange", "orange"),
        ("box on the shelf", "box", None),
    ],
)
def test_phrases_that_may_be_used(phrase: str, singular: str, color: str | None) -> None:
    assert rule_of(phrase, singular, color) is None


@pytest.mark.parametrize(
    ("phrase", "rule"),
    [
        ("", "characters"),
        ("Person in a coat", "characters"),
        ("person at [12, 30, 40, 60]", "characters"),
        ("person with number 7", "characters"),
        ('person in the "best" coat', "characters"),
        ("person in a coat\nperson with a bag", "characters"),
        ("personne à la mode", "characters"),
        ("person in a coat; another one", "characters"),
        ("person", "length"),
        ("person in a coat with a bag and a hat and a scarf and boots", "length"),
        ("this person in a coat", "no_noun_phrase"),
        ("person who is in a coat", "no_noun_phrase"),
        ("woman in a coat", "names_no_class"),
        ("personal coat of a woman", "names_no_class"),
        ("person on the left", "names_side"),
        ("rightmost person in a coat", "names_side"),
        ("person behind the bus", "names_side"),
        ("person closest to the camera", "names_side"),
        ("person marked in red", "names_mark"),
    ],
)
def test_the_rule_that_a_phrase_breaks_first(phrase: str, rule: str) -> None:
    assert rule_of(phrase) == rule


def test_a_colour_that_the_object_cannot_be_taken_for_is_a_contradiction() -> None:
    assert rule_of("blue car near the tree", "car", "red") == "contradicts_color"
    assert rule_of("red and blue car", "car", "red") is None
    assert rule_of("blue car near the tree", "car", None) is None


@given(st.text(max_size=80))
def test_every_reply_has_a_verdict_and_a_clean_phrase_is_plain(reply: str) -> None:
    phrase = pl.select(tidied(pl.lit(reply, dtype=pl.String))).item()
    if rule_of(phrase) is None:
        assert phrase.isascii()
        assert "person" in phrase.lower()
        assert "\n" not in phrase
