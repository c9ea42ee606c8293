"""How categories are spelled in sentences."""

from functools import cache
from importlib import resources

import inflect
import polars as pl


@cache
def _exceptions() -> dict[str, tuple[str, str]]:
    text = resources.files("forge_assets.candidate_qa").joinpath("category_names.csv").read_text()
    return {category: (singular, plural) for category, singular, plural in pl.read_csv(text.encode()).rows()}


@cache
def _forms(category: str) -> tuple[str, str, str]:
    engine = inflect.engine()
    plural = str(engine.plural_noun(category))
    if plural == f"{category}s" and category.endswith("s"):
        plural = category  # a class that is named in the plural, such as "boots"
    singular, plural = _exceptions().get(category, (category, plural))
    return singular, plural, engine.a(singular)


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
