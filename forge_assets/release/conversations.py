"""Pairs as conversations about a photo, as fine-tuning code reads them."""

import polars as pl

IMAGE_TOKEN = "<image>"  # noqa: S105 -- a token of text


def conversations(rows: pl.DataFrame, max_turns: int = 1) -> pl.DataFrame:
    """Join pairs of a photo, in the order that they have, into conversations of at most `max_turns` questions.

    Args:
        rows: id, image_id, image, width, height, split, question, answer; rows of a photo stand together.
        max_turns: questions in a conversation.

    Returns:
        id (of the first pair), ids (of all), image, width, height, split, conversations: lists of `from` and `value`,
        human and gpt in turn. The first question begins with `<image>` on a line of its own.
    """
    place = pl.int_range(pl.len()).over("image_id")
    question = pl.when(place % max_turns == 0).then(pl.format("{}\n{}", pl.lit(IMAGE_TOKEN), "question"))
    turns = pl.concat_list(
        pl.struct(pl.lit("human").alias("from"), question.otherwise("question").alias("value")),
        pl.struct(pl.lit("gpt").alias("from"), pl.col("answer").alias("value")),
    )
    numbered = rows.with_columns(conversation=place // max_turns, turns=turns)
    return (
        numbered.group_by("image_id", "conversation", maintain_order=True)
        .agg(
            pl.col("id", "image", "width", "height", "split").first(),
            ids=pl.col("id"),
            conversations=pl.col("turns").explode(),
        )
        .drop("conversation")
    )
