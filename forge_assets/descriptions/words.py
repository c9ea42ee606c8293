"""What the words of a phrase must be, whatever the photo shows: each rule with a name."""

from typing import Final

import polars as pl

from forge_assets.candidate_qa.phrases import NEIGHBORS

FEWEST_WORDS: Final = 2
MOST_WORDS: Final = 12

_SIDE_WORDS: Final = (
    *("left", "leftmost", "right", "rightmost", "front", "behind", "foreground", "background"),
    *("nearer", "nearest", "closer", "closest", "farther", "farthest", "further", "furthest"),
)
"""A mirror makes some of them false; the others are answers of tasks that have evidence of their own."""
_MARK_WORDS: Final = ("marked", "outlined", "highlighted", "bounding", "boxed")
_FIRST_WORDS: Final = (
    "it",
    "this",
    "that",
    "these",
    "those",
    "there",
    "here",
    "i",
    "he",
    "she",
    "they",
    "is",
    "yes",
    "no",
)
_VERBS: Final = ("is", "are", "was", "were", "has", "have")
_SPELLED: Final = {"gray": "grey"}
_ONLY_WORDS: Final = r"^[a-z][A-Za-z]*(?:[ ,'-]+[A-Za-z]+)*$"


def tidied(reply: pl.Expr) -> pl.Expr:
    """A reply without blanks, full stop and article around it, its first letter in lower case."""
    bare = reply.str.strip_chars().str.strip_chars_end(".").str.replace(r"^(?i)(?:an?|the)\s+", "")
    return pl.concat_str(bare.str.head(1).str.to_lowercase(), bare.str.slice(1))


def words_of(text: pl.Expr) -> pl.Expr:
    """The words of a text in lower case, as a list, with one spelling of grey."""
    return text.str.to_lowercase().str.extract_all(r"[a-z]+").list.eval(pl.element().replace(_SPELLED))


def broken_rule() -> pl.Expr:
    """The first rule that a phrase breaks by its words alone, null where it breaks none.

    Reads:
        `phrase`, as `tidied` gives it; `singular`, the name of the object's class; `color`, its plain basic colour
        as `SCENES` has it, or null.

    Returns:
        - `characters`: anything but a line of plain English words, begun in lower case: digits, coordinates,
          quotation marks and line breaks among them;
        - `length`: fewer than 2 or more than 12 words;
        - `no_noun_phrase`: a sentence;
        - `names_no_class`: no word of the name of the class;
        - `names_side`: words for sides, false in a mirror, or for depth;
        - `names_mark`: words for the box that the model was shown;
        - `contradicts_color`: words for colours, none of which is the object's or may be taken for it.
    """
    words, names = words_of(pl.col("phrase")), words_of(pl.col("singular"))
    rules = {
        "characters": ~pl.col("phrase").str.contains(_ONLY_WORDS),
        "length": ~pl.col("phrase").str.split(" ").list.len().is_between(FEWEST_WORDS, MOST_WORDS),
        "no_noun_phrase": words.list.first().is_in(_FIRST_WORDS) | _any_of(words, _VERBS),
        "names_no_class": words.list.set_intersection(names).list.len() == 0,
        "names_side": _any_of(words, _SIDE_WORDS),
        "names_mark": _any_of(words.list.set_difference(names), _MARK_WORDS),
        "contradicts_color": _contradicts_color(words.list.set_difference(names)),
    }
    return pl.coalesce(pl.when(is_broken).then(pl.lit(name)) for name, is_broken in rules.items())


def _any_of(words: pl.Expr, known: tuple[str, ...]) -> pl.Expr:
    return words.list.set_intersection(list(known)).list.len() > 0


def _contradicts_color(words: pl.Expr) -> pl.Expr:
    named = words.list.set_intersection(list(NEIGHBORS))
    alike = {color: [color, *others] for color, others in NEIGHBORS.items()}
    possible = pl.col("color").replace_strict(alike, default=None, return_dtype=pl.List(pl.String))
    fits = named.list.set_intersection(possible).list.len() > 0
    return ((named.list.len() > 0) & pl.col("color").is_not_null() & ~fits).fill_null(value=False)
