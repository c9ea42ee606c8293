"""Which drafts of a photo are kept, told by few columns, so that the rest need not be made for those that are not."""

import polars as pl


def most_matches(phrases: str) -> pl.Expr:
    """The most objects that any phrase of a list of them may fit; 0 without phrases."""
    return pl.col(phrases).list.eval(pl.element().struct.field("matches")).list.max().fill_null(0)


def chosen(drafts: pl.LazyFrame, most: int) -> pl.LazyFrame:
    """Of one photo at most `most` drafts, as many of one form as of another.

    Of a form come those first whose phrases fit one object, then those whose evidence leaves no doubt, then those of
    the surest objects, then as their seeds say.

    Args:
        drafts: of one task: image_id, form, seed, `most_matches` of their phrases, `is_doubtful` and `least_score`, of
            their objects. To choose of what was chosen changes nothing.
        most: drafts of a photo.
    """
    order = pl.struct(pl.col("most_matches") > 1, "is_doubtful", -pl.col("least_score"), "seed")
    return drafts.with_columns(place_in_form=order.rank("ordinal").over("image_id", "form")).filter(
        pl.struct("place_in_form", "seed", "form").rank("ordinal").over("image_id") <= most
    )


def surest(most: int, *doubts: str) -> pl.Expr:
    """Whether a draft is among the `most` of its photo: without doubts, of the surest objects, then by their seeds.

    Args:
        most: drafts of a photo.
        doubts: columns that say of a draft that it can hardly be verified.
    """
    return pl.struct(*doubts, -pl.col("least_score"), "seed").rank("ordinal").over("image_id") <= most


def may_be_surest(most: int, *doubts: str) -> pl.Expr:
    """What `surest` leaves at most, whatever the seeds: asked before these are made."""
    return pl.struct(*doubts, -pl.col("least_score")).rank("min").over("image_id") <= most
