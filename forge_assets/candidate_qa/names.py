"""How categories are spelled in sentences."""

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

if TYPE_CHECKING:
    import inflect


class Spelled(NamedTuple):
    """How sentences spell one category."""

    singular: str
    """"wine glass"."""
    plural: str
    """"wine glasses"."""
    indefinite: str
    """"a wine glass"."""


def spelled(category: str) -> Spelled:
    """A category by the rules of English, but for the exceptions in `category_names.csv`."""
    alternatives = category.split("/")
    singular, plural = " or ".join(alternatives), " or ".join(map(_plural, alternatives))
    singular, plural = _exceptions().get(category, (singular, plural))
    return Spelled(singular, plural, _english().a(singular))


def _plural(name: str) -> str:
    plural = str(_english().plural_noun(name))
    is_plural_already = plural == f"{name}s" and name.endswith("s")  # a class such as "boots"
    return name if is_plural_already else plural


@cache
def _english() -> "inflect.engine":
    """The rules of English; imported here, since that alone takes seconds."""
    import inflect

    return inflect.engine()


@cache
def _exceptions() -> dict[str, tuple[str, str]]:
    return {category: (singular, plural) for category, singular, plural in _table("category_names.csv").rows()}


@cache
def _of_vocabulary() -> dict[str, Spelled]:
    """What `spelled` says of the vocabulary, written down by `infra/spell_categories.py`."""
    return {category: Spelled(*words) for category, *words in _table("spelled_categories.csv").rows()}


def _table(name: str) -> pl.DataFrame:
    return pl.read_csv(resources.files("forge_assets.candidate_qa").joinpath(name).read_bytes(), infer_schema=False)


@cache
def _words_of(category: str) -> Spelled:
    return _of_vocabulary().get(category) or spelled(category)


def category_names(categories: pl.Series) -> pl.DataFrame:
    """Singular, plural and indefinite form of each distinct category.

    Args:
        categories: strings, repeated or not.

    Returns:
        category, singular ("wine glass"), plural ("wine glasses"), indefinite ("a wine glass"), sorted.
    """
    distinct = categories.unique().sort().to_list()
    return pl.DataFrame(
        [(category, *_words_of(category)) for category in distinct],
        schema=dict.fromkeys(("category", *Spelled._fields), pl.String),
        orient="row",
    )
