"""Which drafts of a photo are kept, told by few columns, so that the rest need not be made for those that are not."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import polars as pl

from forge_assets.in_memory import collected, collected_all

_DIGITS_COMPARED: Final = 15
"""Of a hexadecimal seed, so many as a number holds: two drafts of a photo hardly ever agree in 60 bits."""


class Form(NamedTuple):
    """One way to ask of a task: what could be asked, in few columns, and what is made of a draft once it is chosen."""

    task: str
    name: str
    drafts: pl.LazyFrame
    """image_id, image_sha256, asked, seed and `least_score` of their objects; `is_unclear`, where a phrase may fit
    several objects; `is_doubtful`, where the draft can hardly be verified; and what `told` reads."""
    told: Callable[[pl.LazyFrame], pl.LazyFrame]
    """Adds to drafts what their words, answers and evidence are made of."""


def chosen(forms: Sequence[Form], most: int) -> list[pl.DataFrame]:
    """The drafts of each form that are kept: of one photo and task at most `most`, as many of one form as of another.

    Of a form come those first whose phrases fit one object, then those whose evidence leaves no doubt, then those of
    the surest objects, then as their seeds say.

    Args:
        forms: in the order of their tasks and names; their image_id is an Enum.
        most: drafts of a photo and task.
    """
    drafts = collected_all(form.drafts for form in forms)
    tasks = list(dict.fromkeys(form.task for form in forms))
    photo = pl.col("image_id").to_physical().cast(pl.Int64)
    compared = (
        pl.concat(
            draft.lazy().select(
                "image_id",
                task=pl.lit(tasks.index(form.task)),
                form=pl.lit(number),
                row=pl.int_range(pl.len()),
                doubts=2 * _flag(draft, "is_unclear") + _flag(draft, "is_doubtful"),
                unsureness=-pl.col("least_score").fill_null(1.0),
                seed=pl.col("seed").str.slice(0, _DIGITS_COMPARED).str.to_integer(base=16, dtype=pl.Int64),
            )
            for number, (form, draft) in enumerate(zip(forms, drafts, strict=True))
        )
        .with_columns(in_task=photo * len(tasks) + pl.col("task"), in_form=photo * len(forms) + pl.col("form"))
        .drop("image_id", "task")
    )
    kept = (
        placed(compared, "in_form", ("doubts", "unsureness", "seed"))
        .filter(pl.col("place") < most)
        .rename({"place": "place_in_form"})
        .pipe(placed, "in_task", ("place_in_form", "seed", "form"))
        .filter(pl.col("place") < most)
        .select("form", "row")
        .pipe(collected)
        .partition_by("form", as_dict=True)
    )
    none = pl.Series(dtype=pl.Int64)
    rows = [kept[number,]["row"] if (number,) in kept else none for number in range(len(forms))]
    return [draft[of_form] for draft, of_form in zip(drafts, rows, strict=True)]


def placed(rows: pl.LazyFrame, within: str, order: Sequence[str | pl.Expr]) -> pl.LazyFrame:
    """Rows sorted by `within` and `order`, with `place`, from 0: where they come among those alike in `within`."""
    return (
        rows.sort(within, *order)
        .with_row_index("place")
        .with_columns(pl.col("place") - pl.col("place").first().over(within))
    )


def surest(drafts: pl.LazyFrame, most: int, *doubts: str) -> pl.LazyFrame:
    """The `most` drafts of each photo: without doubts, of the surest objects, then by their seeds.

    Args:
        drafts: image_id, seed, `least_score` and `doubts`.
        most: drafts of a photo.
        doubts: columns that say of a draft that it can hardly be verified.
    """
    order = (*doubts, -pl.col("least_score"), "seed")
    return placed(drafts, "image_id", order).filter(pl.col("place") < most).drop("place")


def _flag(drafts: pl.DataFrame, name: str) -> pl.Expr:
    """1 where a draft has the flag, 0 where it has not or its form knows no such flag."""
    return pl.col(name).fill_null(value=False).cast(pl.UInt8) if name in drafts.columns else pl.lit(0, dtype=pl.UInt8)
