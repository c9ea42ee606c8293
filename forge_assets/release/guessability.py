"""How well answers can be guessed from the text alone: a linear model over hashed words that never sees a photo.

The words are those of question and options, single and in pairs, the numbers of boxes in tenths. Of each task and kind
of question, models guess for photos that they were not trained on:

- `options`: each option is scored by its own words, and the best of a pair is the guess (a choice among objects);
- `place`: the place of the answer among the options;
- `word`: the answer word itself (yes or no, left or right).

The strongest of them is reported. Where it is no better than chance, linear models of the text know nothing.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.release.pair_text import fraction, is_closed, kind, options, place, word

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    Vectors = csr_matrix[np.float64]

VERSION: Final = "2"

GUESSABILITY: Final[Mapping[str, pl.DataType]] = {
    "task": pl.String(),
    "kind": pl.String(),  # of question: its template's form
    "answer_kind": pl.String(),
    "pairs": pl.Int64(),  # judged: of large tasks, a sample
    "photos": pl.Int64(),
    "model": pl.String(),  # the strongest: options, place or word; null where there are too few pairs to judge
    "accuracy": pl.Float64(),  # of that model, on photos that it was not trained on
    "chance": pl.Float64(),  # 1 / number of options, mean
    "majority": pl.Float64(),  # share of the most frequent place or answer word
    "lift": pl.Float64(),  # accuracy above chance, percentage points
    "lift_low": pl.Float64(),  # its 95 % interval, by photo
    "lift_high": pl.Float64(),
}
"""One row a task, kind of question and kind of answer."""

TEXT_COLUMNS: Final = (
    "qa_id",
    "image_sha256",
    "task",
    "question",
    "short_answer",
    "answer_kind",
    "choices",
    "form",
)
FOLDS: Final = 5
MIN_PAIRS: Final = 50
_FEATURES: Final = 1 << 18
_REGULARIZATION: Final = 1e-4
_NORMAL_95: Final = 1.96
_BOX_IN_TENTHS: Final = r"\[(\d*?)\d{1,2}, (\d*?)\d{1,2}, (\d*?)\d{1,2}, (\d*?)\d{1,2}\]"
_TENTHS: Final = "x1_${1}_ y1_${2}_ x2_${3}_ y2_${4}_"
_WORD: Final = r"(?u)\b\w+\b"
_ARTICLES: Final = ("the", "a", "an")

_Labels = NDArray[np.int64]
_Right = NDArray[np.bool_]


class Guessed(NamedTuple):
    """Which pairs a model guessed right."""

    model: str
    right: _Right


def guessability(pairs: pl.LazyFrame, sample: int = 50_000) -> pl.DataFrame:
    """How far above chance a text-only model guesses the answers of choices and yes/no questions.

    Args:
        pairs: TEXT_COLUMNS of verified pairs; those with other kinds of answers are passed over.
        sample: pairs judged of one task at most, drawn by hash.

    Returns:
        Rows of GUESSABILITY, sorted by task, kind and answer kind. The same pairs give the same figures in any order.
    """
    drawn = _sampled(pairs, sample)
    rows = [_judged(key, group) for key, group in drawn.group_by("task", "kind", "answer_kind")]
    return pl.DataFrame(rows, schema=dict(GUESSABILITY)).sort("task", "kind", "answer_kind")


def _sampled(pairs: pl.LazyFrame, sample: int) -> pl.DataFrame:
    closed = pairs.filter(is_closed()).select(TEXT_COLUMNS)
    sizes = closed.group_by("task").agg(share=sample / pl.len())
    read = (
        closed.join(sizes, on="task")
        .with_columns(drawn=fraction("guessability/sample", "qa_id"))
        .filter(pl.col("drawn") < 1.1 * pl.col("share"))
        .filter(pl.col("drawn").rank("ordinal").over("task") <= sample)
        .with_columns(
            pl.col("task", "answer_kind").cast(pl.String),
            kind=kind(),
            place=place().cast(pl.Int64),
            word=word(),
            options=options(),
            fold=(fraction("guessability/fold", "image_sha256") * FOLDS).cast(pl.Int64),
        )
    )
    return read.sort("qa_id").collect(engine="streaming")


def _judged(key: tuple[object, ...], group: pl.DataFrame) -> dict[str, Any]:
    task, kind_of_question, answer_kind = key
    chance = 1 / group["options"].to_numpy()
    row: dict[str, Any] = dict.fromkeys(GUESSABILITY) | {
        "task": task,
        "kind": kind_of_question,
        "answer_kind": answer_kind,
        "pairs": group.height,
        "photos": group["image_sha256"].n_unique(),
        "chance": float(chance.mean()),
        "majority": max(_largest_share(group["place"]), _largest_share(group["word"])),
    }
    if group.height < MIN_PAIRS or group["fold"].n_unique() < FOLDS:
        return row
    best = max(_guesses(group), key=lambda guessed: int(guessed.right.sum()))
    lift, error = _mean_and_error(best.right - chance, group["image_sha256"])
    return row | {
        "model": best.model,
        "accuracy": float(best.right.mean()),
        "lift": 100 * lift,
        "lift_low": 100 * (lift - _NORMAL_95 * error),
        "lift_high": 100 * (lift + _NORMAL_95 * error),
    }


def _guesses(group: pl.DataFrame) -> list[Guessed]:
    folds = group["fold"].to_numpy()
    text = _vectors(_words(group))
    guesses = list[Guessed]()
    for model, label in (("word", "word"), ("place", "place")):
        if group[label].null_count() == 0:
            labels = group[label].rank("dense").to_numpy().astype(np.int64)
            guesses.append(Guessed(model, _right_labels(text, labels, folds)))
    if group["word"].null_count() and group["place"].null_count() == 0:
        guesses.append(Guessed("options", _right_options(group, folds)))
    return guesses


# --- words


def _words(group: pl.DataFrame) -> pl.Series:
    """Question and options of each pair, each option's words marked with its place."""
    marked = [
        pl.col("choices")
        .list.get(index, null_on_oob=True)
        .fill_null("")
        .str.replace_all(_BOX_IN_TENTHS, _TENTHS)
        .str.replace_all(r"(\w+)", f"option{index}_${{1}}")
        for index in range(int(group["options"].max()))  # pyright: ignore[reportArgumentType]
    ]
    question = pl.col("question").str.replace_all(_BOX_IN_TENTHS, _TENTHS)
    return group.select(text=pl.concat_str([question, *marked], separator=" . "))["text"]


def _vectors(texts: pl.Series) -> "Vectors":
    """Which words and pairs of neighbouring words each text has, hashed; articles left out."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer: Any = HashingVectorizer(
        ngram_range=(1, 2),
        token_pattern=_WORD,
        stop_words=list(_ARTICLES),
        n_features=_FEATURES,
        alternate_sign=False,
        binary=True,
        norm=None,  # pyright: ignore[reportArgumentType] -- scikit-learn's default is no type
    )
    return vectorizer.transform(texts.to_list())


# --- models


def _right_labels(text: "Vectors", labels: _Labels, folds: _Labels) -> _Right:
    """Which labels a linear classifier of the text guesses, each fold by a model of the others."""
    right = np.zeros(len(labels), dtype=np.bool_)
    for fold in range(FOLDS):
        held, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        classes = np.unique(labels[rest])
        guess = classes[0] if len(classes) == 1 else _linear().fit(text[rest], labels[rest]).predict(text[held])
        right[held] = labels[held] == guess
    return right


def _right_options(group: pl.DataFrame, folds: _Labels) -> _Right:
    """In which pairs the answer is the option with the highest score by its own words."""
    shown = group.select("choices", "place").with_row_index("pair").explode("choices", empty_as_null=False)
    vectors = _vectors(shown["choices"].str.replace_all(_BOX_IN_TENTHS, _TENTHS))
    pair = shown["pair"].to_numpy().astype(np.int64)
    first = np.concatenate([[0], np.cumsum(group["options"].to_numpy().astype(np.int64))[:-1]])
    answer = first + group["place"].to_numpy()
    others = np.setdiff1d(np.arange(len(pair)), answer)
    margins = vectors[answer[pair[others]]] - vectors[others]
    signs = np.where(np.arange(len(others)) % 2 == 0, 1, -1)
    scores = np.zeros(len(pair))
    for fold in range(FOLDS):
        rest = np.flatnonzero(folds[pair[others]] != fold)
        model = _linear(fit_intercept=False).fit(margins[rest].multiply(signs[rest, None]).tocsr(), signs[rest])
        held = np.flatnonzero(folds[pair] == fold)
        scores[held] = model.decision_function(vectors[held])
    best_other = np.full(group.height, -np.inf)
    np.maximum.at(best_other, pair[others], scores[others])
    return scores[answer] > best_other


def _linear(*, fit_intercept: bool = True) -> Any:  # noqa: ANN401 -- sklearn has no types
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss", alpha=_REGULARIZATION, fit_intercept=fit_intercept, random_state=0)


# --- figures


def _largest_share(labels: pl.Series) -> float:
    known = labels.drop_nulls()
    return 0.0 if known.is_empty() else int(known.value_counts()["count"].max()) / known.len()  # pyright: ignore[reportArgumentType]


def _mean_and_error(values: NDArray[np.float64], clusters: pl.Series) -> tuple[float, float]:
    """Mean, and its standard error with all values of one cluster taken for dependent (the sandwich formula)."""
    mean = float(values.mean())
    _, cluster = np.unique(clusters.to_numpy(), return_inverse=True)
    sums = np.bincount(cluster, weights=values - mean)
    correction = len(sums) / max(len(sums) - 1, 1)
    return mean, float(np.sqrt(correction * (sums**2).sum()) / len(values))
