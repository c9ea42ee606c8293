"""How categories are spelled in sentences."""

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import inflect


@cache
def _exceptions() -> dict[str, tuple[str, str]]:
    text = resources.files("forge_assets.candidate_qa").joinpath("category_names.csv").read_text()
    return {category: (singular, plural) for category, singular, plural in pl.read_csv(text.encode()).rows()}


@cache
def _english() -> "inflect.engine":
    """The rules of English; imported here, since that alone takes seconds."""
    import inflect

    return inflect.engine()


@cache
def _forms(category: str) -> tuple[str, str, str]:
    alternatives = category.split("/")
    singular, plural = " or ".join(alternatives), " or ".join(map(_plural, alternatives))
    singular, plural = _exceptions().get(category, (singular, plural))
    return singular, plural, _english().a(singular)


def _plural(name: str) -> str:
    plural = str(_english().plural_noun(name))
    is_plural_already = plural == f"{name}s" and name.endswith("s")  # a class such as "boots"
    return name if is_plural_already else plural


def category_names(categories: pl.Series) -> pl.DataFrame:
    """Singular, plural and indefinite form of each distinct category.

    Args:
        categories: strings, repeated or not.

    Returns:
        category, singular ("wine glass"), plural ("wine glasses"), indefinite ("a wine glass"), sorted.
    """
    distinct = categories.unique().sort().to_list()
    forms = [_forms(category) for category in distinct]
    return pl.DataFrame(
        {
            "category": distinct,
            "singular": [singular for singular, _, _ in forms],
            "plural": [plural for _, plural, _ in forms],
            "indefinite": [indefinite for _, _, indefinite in forms],
        },
        schema=dict.fromkeys(("category", "singular", "plural", "indefinite"), pl.String),
    )
