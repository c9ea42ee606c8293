"""Which share of which pairs a release keeps, so that no answer can be guessed from the text: as many as possible.

Pairs with a fixed set of answers are counted by stratum: what is asked, and which answer is right. A linear programme
per task finds the kept pairs of each stratum; all its bounds are shares of what is kept:

- `category_pair`: of two categories that are compared, the more frequent winner, answer word and place of the answer
  have at most `max_majority_share`;
- `category`: each category wins as often as chance would have it, within `max_lean`; where it is asked about, each
  answer word and each place is right as often as chance;
- `answer_word`, `answer_place`: each answer word, and each place among the options, over all categories;
- `lower_box`, `larger_box`, `box_side`: what the numbers of a box in the text suggest is right as often as chance;
- `template`: no template has more than `max_template_share` of its task.

A bound over fewer than `min_pairs` pairs is not set: so few show no bias. Repeats of a pair are dropped first, and
`target_pairs` thins all strata of a task alike, which changes no share.

A release keeps a pair if a draw that its `qa_id` decides is below its stratum's share: the same plan selects the same
pairs in any order and from any shard, and larger shares select the same pairs and more.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forge_assets.release.pair_text import (
    FAVOURS_FIRST,
    coordinate,
    fraction,
    is_closed,
    kind,
    options,
    place,
    question_template,
    word,
)
from forge_assets.tables import TASKS
from forge_resources.config import BalanceConfig
from forge_resources.errors import ForgeError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

VERSION: Final = "2"

STRATUM: Final[Mapping[str, pl.DataType]] = {
    "task": pl.String(),
    "kind": pl.String(),  # of question: its template's form
    "asked": pl.String(),  # categories asked about, sorted and joined by ` | `; from here on, null for open answers
    "winner": pl.String(),  # the category that the answer favours; null where it favours none
    "word": pl.String(),  # the answer, where it is yes, no, left or right; this and below: null where not biased
    "place": pl.Int8(),  # of the answer among the options, from 0
    "options": pl.Int8(),  # how many answers there are to choose from
    "lower_box": pl.Boolean(),  # the answer is the option whose box in the text ends lower; null without boxes
    "larger_box": pl.Boolean(),  # ... is larger
    "box_side": pl.Boolean(),  # the answer is the side on which the box in the question lies
    "template": pl.String(),  # of the question, where its share must be cut; else null
}
"""What tells the strata of pairs apart."""

BALANCE_PLAN: Final[Mapping[str, pl.DataType]] = {
    **STRATUM,
    "pairs": pl.Int64(),  # without repeats
    "keep_share": pl.Float64(),  # 0-1
    "kept": pl.Float64(),  # pairs * keep_share, expected
    "reason": pl.String(),  # the bound that dropped most of them; null where all are kept
}
"""One row a stratum."""

BALANCE_REPEATS: Final[Mapping[str, pl.DataType]] = {
    "qa_id": pl.String(),
    "kept_qa_id": pl.String(),  # the pair of the same photo, question and answer that stays
}
"""One row a pair that repeats another."""

BALANCE_SHARES: Final[Mapping[str, pl.DataType]] = {
    "task": pl.String(),
    "rule": pl.String(),
    "bound": pl.Float64(),
    "before": pl.Float64(),  # largest share that the rule bounds, among all pairs
    "after": pl.Float64(),  # ... among the kept ones, expected
}

PAIR_COLUMNS: Final = (
    "qa_id",
    "image_sha256",
    "task",
    "question",
    "short_answer",
    "answer_kind",
    "choices",
    "categories",
    "template_id",
    "form",
)
QUOTA: Final = "quota"
_BEFORE_TEMPLATE: Final = [name for name in STRATUM if name != "template"]
_OPTIONAL: Final = ("word", "place", "lower_box", "larger_box", "box_side")
_SEPARATOR: Final = " | "
_NEUTRAL_BOTTOM: Final = 700
_NEUTRAL_AREA: Final = 60_000
_HALF: Final = 500
_EPSILON: Final = 1e-6
_BIAS_OVER_LUCK: Final = 2.0
"""Of a group of n even pairs, a surplus of 2 * sqrt(n) is four standard deviations."""

_Counts = NDArray[np.float64]


class QuotaError(ForgeError, ValueError):
    """The quotas cannot be met by so many pairs; the message names the largest number that can."""


class BalancePlan(NamedTuple):
    """What a release keeps."""

    strata: pl.DataFrame
    """Rows of BALANCE_PLAN."""
    repeats: pl.DataFrame
    """Rows of BALANCE_REPEATS."""


# --- from pairs to strata


def strata_of(pairs: pl.LazyFrame) -> pl.LazyFrame:
    """The stratum of each pair, but for its template.

    Args:
        pairs: PAIR_COLUMNS of verified pairs.

    Returns:
        qa_id, template_id (of the question alone) and the columns of STRATUM without `template`, in no certain order.
    """
    pairs = pairs.with_columns(template_id=question_template())
    closed = pairs.filter(is_closed()).with_columns(
        pl.col("task").cast(pl.String), kind=kind(), place=place(), options=options(), word=word()
    )
    favoured = pl.when(pl.col("word").is_null()).then("place").otherwise((~_favours_first()).cast(pl.Int8))
    chosen = pl.col("short_answer")
    other = pl.col("choices").list.get(1 - pl.col("place"), null_on_oob=True)
    compared = pl.col("word").is_null() & (pl.col("options") == 2)  # noqa: PLR2004 -- a comparison has two sides
    judged = closed.with_columns(
        asked=pl.col("categories").list.sort().list.join(_SEPARATOR),
        winner=pl.col("categories").list.get(favoured, null_on_oob=True),
        lower_box=pl.when(compared).then(_is_more(_bottom(chosen), _bottom(other), _NEUTRAL_BOTTOM)),
        larger_box=pl.when(compared).then(_is_more(_area(chosen), _area(other), _NEUTRAL_AREA)),
        box_side=pl.when(pl.col("word").is_not_null()).then(_first_is_left() == _favours_first()),
    )
    open_ = pairs.filter(~is_closed()).with_columns(
        pl.col("task").cast(pl.String),
        kind=kind(),
        **{name: pl.lit(None, STRATUM[name]) for name in _BEFORE_TEMPLATE if name not in ("task", "kind")},
    )
    return pl.concat(one.select("qa_id", "template_id", *_BEFORE_TEMPLATE) for one in (judged, open_))


def _favours_first() -> pl.Expr:
    return pl.col("word").replace_strict(FAVOURS_FIRST, return_dtype=pl.Boolean)


def _bottom(text: pl.Expr) -> pl.Expr:
    return coordinate(text, 4)


def _area(text: pl.Expr) -> pl.Expr:
    x1, y1, x2, y2 = (coordinate(text, number) for number in (1, 2, 3, 4))
    return (x2 - x1) * (y2 - y1)


def _is_more(mine: pl.Expr, other: pl.Expr, neutral: int) -> pl.Expr:
    """Null where neither has a box, or both are the same; an option without a box counts as an average one."""
    boxed = mine.is_not_null() | other.is_not_null()
    mine, other = mine.fill_null(neutral), other.fill_null(neutral)
    return pl.when(boxed & (mine != other)).then(mine > other)


def _first_is_left() -> pl.Expr:
    """Whether the first box in the question lies left of the second, or of the photo's middle; null without a box."""
    rest = pl.col("question").str.replace(r"^.*?\]", "")
    first, second = (coordinate(text, 1) + coordinate(text, 3) for text in (pl.col("question"), rest))
    return first < second.fill_null(2 * _HALF)


# --- repeats


def repeated(pairs: pl.LazyFrame) -> pl.DataFrame:
    """Pairs of the same photo content, question and short answer as another, which has the smallest id of all these.

    Returns:
        Rows of BALANCE_REPEATS, sorted by `qa_id`.
    """
    same = ("image_sha256", "question", "short_answer")
    hashed = pairs.select(same_hash=pl.struct(same).hash()).collect(engine="streaming")["same_hash"]
    suspects = pl.LazyFrame({"same_hash": hashed.filter(hashed.is_duplicated()).unique()})
    return (
        pairs.select("qa_id", *same)
        .with_columns(same_hash=pl.struct(same).hash())
        .join(suspects, on="same_hash", how="semi")
        .with_columns(kept_qa_id=pl.col("qa_id").min().over(*same))
        .filter(pl.col("qa_id") != pl.col("kept_qa_id"))
        .select(list(BALANCE_REPEATS))
        .sort("qa_id")
        .collect()
    )


# --- the plan


def balance(pairs: pl.LazyFrame, config: BalanceConfig, quotas: Mapping[str, float]) -> BalancePlan:
    """Find what to keep of each stratum, so that the bounds hold and the fewest pairs are dropped.

    Args:
        pairs: PAIR_COLUMNS of verified pairs.
        config: the bounds.
        quotas: wanted share of each task, up to a common factor; they count where `target_pairs` is set.

    Raises:
        QuotaError: if balanced pairs do not suffice for `target_pairs`.
    """
    repeats = repeated(pairs)
    counted = _counted(pairs.join(repeats.lazy(), on="qa_id", how="anti"))
    tasks = [_balanced(counted.filter(task=task), config) for task in counted["task"].unique().sort()]
    strata = pl.concat(tasks) if tasks else pl.DataFrame(schema=dict(BALANCE_PLAN))
    return BalancePlan(_with_quotas(strata, config.target_pairs, quotas), repeats)


def _counted(pairs: pl.LazyFrame) -> pl.DataFrame:
    """Pairs by stratum and template."""
    keys = [*_BEFORE_TEMPLATE, "template_id"]
    counted = strata_of(pairs).group_by(keys).agg(pairs=pl.len().cast(pl.Int64))
    return counted.collect(engine="streaming").sort(keys)


def _balanced(counted: pl.DataFrame, config: BalanceConfig) -> pl.DataFrame:
    """The rows of BALANCE_PLAN of one task, by pairs that are counted by stratum and template.

    Strata are split no finer than needed: by answer word, place or boxes only where these are biased, and only the
    templates that have too much are set apart. So all else is kept in the proportions that it has. What comes to
    be biased once pairs are dropped is split then.
    """
    cap = max(config.max_template_share, 1 / counted["template_id"].n_unique())
    splits, apart = list[str](), list[str]()
    new_splits = _biased(counted.with_columns(kept="pairs"), cap, config)
    new_templates = _excessive(counted.with_columns(kept="pairs"), cap, config.min_pairs)
    while True:
        splits, apart = [*splits, *new_splits], [*apart, *new_templates]
        cells = _merged(counted, splits, apart)
        strata = _solved(cells.group_by(*STRATUM).agg(pl.col("pairs").sum()).sort(*STRATUM), cap, config)
        shares = strata.select(*STRATUM, "keep_share")
        joined = cells.join(shares, on=list(STRATUM), how="left", nulls_equal=True, maintain_order="left")
        rest = counted.with_columns(kept=pl.col("pairs") * joined["keep_share"])
        new_splits = [name for name in _biased(rest, cap, config) if name not in splits]
        new_templates = [name for name in _excessive(rest, cap, config.min_pairs) if name not in apart]
        if not new_splits and not new_templates:
            return strata


def _biased(counted: pl.DataFrame, cap: float, config: BalanceConfig) -> list[str]:
    """The columns of _OPTIONAL in which what is kept breaks a bound by more than the luck of the draw explains."""
    fine = counted.group_by(_BEFORE_TEMPLATE).agg(pairs=pl.col("kept").sum()).filter(pl.col("pairs") > 0)
    numbered = fine.with_columns(template=pl.lit(None, pl.String)).with_row_index("stratum")
    sums = (
        _bounds(numbered, cap, config)
        .join(numbered.select("stratum", "pairs"), on="stratum")
        .group_by("rule", "group", "value")
        .agg(excess=(pl.col("coefficient") * pl.col("pairs")).sum(), pairs=pl.col("pairs").sum())
    )
    broken = sums.filter(pl.col("excess") > _BIAS_OVER_LUCK * pl.col("pairs").sqrt())
    return sorted(set(broken["value"].str.split("=").list.first()) & set(_OPTIONAL))


def _excessive(counted: pl.DataFrame, cap: float, min_pairs: int) -> list[str]:
    """The templates that have more than a share `cap` of what is kept."""
    total = pl.col("kept").sum()
    kept = counted.group_by("template_id").agg(total).filter(total >= min_pairs)
    return kept.filter(pl.col("kept") > (cap + _EPSILON) * total)["template_id"].sort().to_list()


def _merged(counted: pl.DataFrame, splits: Sequence[str], apart: Sequence[str]) -> pl.DataFrame:
    """The columns of STRATUM, null where strata are not split by them, and `pairs`."""
    unused = [name for name in _OPTIONAL if name not in splits]
    return counted.with_columns(
        *(pl.lit(None, STRATUM[name]).alias(name) for name in unused),
        template=pl.when(pl.col("template_id").is_in(list(apart))).then("template_id"),
    ).select(*STRATUM, "pairs")


def _with_quotas(strata: pl.DataFrame, target: int | None, quotas: Mapping[str, float]) -> pl.DataFrame:
    if target is None:
        return strata
    total = sum(quotas.values())
    available = dict(strata.group_by("task").agg(pl.col("kept").sum()).iter_rows())
    feasible = {
        task: int(available.get(task, 0.0) * total / quota + _EPSILON) for task, quota in quotas.items() if quota > 0
    }
    scarcest = min(feasible, key=lambda task: (feasible[task], task))
    if target > feasible[scarcest]:
        raise QuotaError(
            f"target_pairs {target} cannot be met with these quotas: {scarcest} has {available.get(scarcest, 0):.0f} "
            f"balanced pairs and needs {quotas[scarcest] / total * target:.0f}. The largest feasible target_pairs "
            f"is {feasible[scarcest]}; else lower the quota of {scarcest}, or add photos"
        )
    factors = {task: quotas.get(task, 0.0) / total * target / kept if kept else 0.0 for task, kept in available.items()}
    factor = pl.col("task").replace_strict(factors, return_dtype=pl.Float64).clip(0, 1)
    return strata.with_columns(
        keep_share=pl.col("keep_share") * factor,
        kept=pl.col("kept") * factor,
        reason=pl.when((factor < 1) & pl.col("reason").is_null()).then(pl.lit(QUOTA)).otherwise("reason"),
    )


# --- the linear programme


def _bounds(strata: pl.DataFrame, cap: float, config: BalanceConfig) -> pl.DataFrame:
    """All bounds on one task's strata, in the form: sum of coefficient * kept over its strata <= 0.

    Returns:
        rule, group (whose shares it bounds), value (that it bounds), stratum, coefficient: one row an entry of the
        matrix.
    """
    even = 1 / pl.col("options") + config.max_lean
    half = pl.lit(0.5 + config.max_lean)
    majority = pl.max_horizontal(pl.lit(config.max_majority_share), 1 / pl.col("options"))
    compared = strata.with_columns(compared=_compared())
    by_category = _by_category(strata)
    answers = ("word", "place")
    boxes = ("lower_box", "larger_box", "box_side")
    by_kind = [("answer_word", "word", even), ("answer_place", "place", even), *((name, name, half) for name in boxes)]
    bounds = [
        *(
            _upper("category_pair", compared, ["kind", "asked"], column, majority, config)
            for column in ("compared", *answers)
        ),
        _wins(by_category, config),
        *(_upper("category", by_category, ["kind", "category"], column, even, config) for column in answers),
        *(_upper(rule, strata, ["kind"], column, bound, config) for rule, column, bound in by_kind),
        _upper("template", strata, ["task"], "template", pl.lit(cap), config, others=True),
    ]
    return pl.concat(bounds)


def _compared() -> pl.Expr:
    """The winning category, of things of different categories."""
    categories = pl.col("asked").str.split(_SEPARATOR)
    return pl.when(categories.list.n_unique() > 1).then("winner")


def _by_category(strata: pl.DataFrame) -> pl.DataFrame:
    """Each stratum once for each category that it asks about, and the `chance` of that category to win."""
    asked = strata.with_columns(category=pl.col("asked").str.split(_SEPARATOR))
    named = asked.with_columns(of=pl.col("category").list.len()).explode("category", empty_as_null=False)
    times = pl.len().over("stratum", "category")
    return (
        named.with_columns(chance=pl.when(pl.col("of") == 1).then(0.5).otherwise(times / pl.col("of")))
        .unique(["stratum", "category"], maintain_order=True)
        .filter(pl.col("category") != "")
    )


def _upper(  # noqa: PLR0917
    rule: str,
    strata: pl.DataFrame,
    group: list[str],
    column: str,
    bound: pl.Expr,
    config: BalanceConfig,
    *,
    others: bool = False,
) -> pl.DataFrame:
    """In each group, no value of `column` may have more than a share `bound` of the kept pairs that have one.

    With `others`, pairs without a value count towards the whole too.
    """
    value = pl.col(column).cast(pl.String)
    known = strata.with_columns(label=value.fill_null("") if others else value, bound=bound)
    known = known.filter(pl.col("label").is_not_null() & (pl.col("pairs").sum().over(group) >= config.min_pairs))
    values = known.filter(pl.col("label") != "").select(*group, value="label").unique()
    entries = known.join(values, on=group, nulls_equal=True)
    return _entries(
        entries.with_columns(
            rule=pl.lit(rule),
            group=pl.concat_str(group, separator="/", ignore_nulls=True),
            value=pl.format("{}={}", pl.lit(column), "value"),
            coefficient=(pl.col("label") == pl.col("value")).cast(pl.Float64) - pl.col("bound"),
        )
    )


def _wins(by_category: pl.DataFrame, config: BalanceConfig) -> pl.DataFrame:
    """Each category wins as often as chance would have it, neither more nor less by `max_lean`."""
    contests = (
        by_category.filter(pl.col("chance") < 1)
        .filter(pl.col("pairs").sum().over("kind", "category") >= config.min_pairs)
        .with_columns(surplus=(pl.col("winner") == pl.col("category")).fill_null(value=False) - pl.col("chance"))
    )
    sides = [
        contests.with_columns(
            rule=pl.lit("category"),
            group=pl.concat_str("kind", "category", separator="/"),
            value=pl.lit(side),
            coefficient=sign * pl.col("surplus") - config.max_lean,
        )
        for side, sign in (("wins", 1), ("loses", -1))
    ]
    return _entries(pl.concat(sides))


def _entries(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("rule", "group", "value", "stratum", "coefficient")


def _solved(strata: pl.DataFrame, cap: float, config: BalanceConfig) -> pl.DataFrame:
    """Rows of BALANCE_PLAN: the most pairs that all bounds on these strata allow.

    Only templates that are set apart tie the kinds of question together; without them each kind is solved by itself.
    """
    if strata["template"].null_count() < strata.height:
        return _most_kept(strata, cap, config)
    kinds = strata["kind"].unique().sort()
    return pl.concat(_most_kept(strata.filter(kind=kind), cap, config) for kind in kinds)


def _most_kept(strata: pl.DataFrame, cap: float, config: BalanceConfig) -> pl.DataFrame:
    numbered = strata.with_row_index("stratum")
    entries = _bounds(numbered, cap, config).with_columns(row=pl.struct("rule", "group", "value").rank("dense") - 1)
    pairs = strata["pairs"].to_numpy().astype(np.float64)
    if entries.is_empty():
        return _planned(numbered, pairs, _reasons(entries, np.zeros(0)))
    matrix = _matrix(entries, len(pairs))
    kept, prices = _optimum(pairs, matrix, int(entries["row"].max()) + 1)  # pyright: ignore[reportArgumentType]
    return _planned(numbered, kept, _reasons(entries, prices))


def _planned(strata: pl.DataFrame, kept: _Counts, reasons: pl.DataFrame) -> pl.DataFrame:
    share = np.clip(kept / strata["pairs"].to_numpy(), 0, 1)
    share[share > 1 - _EPSILON] = 1
    share[share < _EPSILON] = 0
    planned = strata.with_columns(keep_share=pl.Series(share)).join(reasons, on="stratum", how="left")
    return planned.sort("stratum").select(
        *STRATUM,
        "pairs",
        "keep_share",
        kept=pl.col("pairs") * pl.col("keep_share"),
        reason=pl.when(pl.col("keep_share") < 1).then("reason"),
    )


def _matrix(entries: pl.DataFrame, strata: int) -> "csr_array":
    from scipy.sparse import csr_array

    rows, columns = entries["row"].to_numpy(), entries["stratum"].to_numpy()
    shape = (int(rows.max()) + 1 if len(rows) else 0, strata)
    return csr_array((entries["coefficient"].to_numpy(), (rows, columns)), shape=shape)


def _optimum(pairs: _Counts, matrix: "csr_array", rows: int) -> tuple[_Counts, _Counts]:
    """The most pairs with `matrix @ kept <= 0`, and the price of each bound; keeping none is always feasible."""
    from scipy.optimize import linprog

    bounds = np.column_stack([np.zeros_like(pairs), pairs])
    solution = linprog(-np.ones_like(pairs), A_ub=matrix, b_ub=np.zeros(rows), bounds=bounds, method="highs-ipm")
    if not solution.success:
        raise RuntimeError(f"the balance programme was not solved: {solution.message}")
    return np.asarray(solution.x), -np.asarray(solution.ineqlin.marginals)


def _reasons(entries: pl.DataFrame, prices: _Counts) -> pl.DataFrame:
    """Of each stratum the rule whose dual price weighs most on it."""
    priced = pl.DataFrame({"row": np.arange(len(prices)), "price": prices})
    return (
        entries.with_columns(pl.col("row").cast(pl.Int64))
        .join(priced, on="row")
        .group_by("stratum", "rule")
        .agg(weight=(pl.col("price") * pl.col("coefficient")).sum())
        .sort("stratum", "weight", "rule", descending=[False, True, False])
        .group_by("stratum", maintain_order=True)
        .agg(reason=pl.first("rule"))
    )


# --- what the plan says


def dropped(plan: BalancePlan) -> pl.DataFrame:
    """How many pairs of each task each rule drops, as expected; repeats are not among them.

    Returns:
        task, reason, dropped; sorted.
    """
    return (
        plan.strata.filter(pl.col("keep_share") < 1)
        .group_by("task", "reason")
        .agg(dropped=(pl.col("pairs") - pl.col("kept")).sum())
        .sort("task", "reason")
    )


def quota_gaps(plan: BalancePlan, quotas: Mapping[str, float]) -> pl.DataFrame:
    """What is kept of each task against its quota.

    Returns:
        task, pairs, kept, share, quota, gap (share - quota), in the order of TASKS.
    """
    found = plan.strata.group_by("task").agg(pl.col("pairs", "kept").sum())
    total = sum(quotas.values())
    wanted = pl.DataFrame({"task": TASKS, "quota": [quotas.get(task, 0.0) / total for task in TASKS]})
    return (
        wanted.join(found, on="task", how="left", maintain_order="left")
        .with_columns(pl.col("pairs", "kept").fill_null(0))
        .with_columns(share=(pl.col("kept") / pl.col("kept").sum()).fill_nan(0))
        .select("task", "pairs", "kept", "share", "quota", gap=pl.col("share") - pl.col("quota"))
    )


def largest_shares(plan: BalancePlan, config: BalanceConfig) -> pl.DataFrame:
    """The most uneven share that each rule bounds, before and after, over groups of at least `min_pairs` kept pairs.

    Returns:
        Rows of BALANCE_SHARES, sorted by task and rule; of the answer words, places and boxes
        only where the strata are split by them.
    """
    strata = plan.strata.with_columns(compared=_compared())
    rules = (
        ("category_pair", "asked", "compared", config.max_majority_share),
        ("answer_word", "kind", "word", 0.5 + config.max_lean),
        ("answer_place", "kind", "place", 0.5 + config.max_lean),
        ("lower_box", "kind", "lower_box", 0.5 + config.max_lean),
        ("larger_box", "kind", "larger_box", 0.5 + config.max_lean),
        ("box_side", "kind", "box_side", 0.5 + config.max_lean),
    )
    found = [_largest_share(strata, *rule, config.min_pairs) for rule in rules]
    return pl.concat(found).sort("task", "rule")


def _largest_share(  # noqa: PLR0917
    strata: pl.DataFrame, rule: str, group: str, label: str, bound: float, min_pairs: int
) -> pl.DataFrame:
    groups = ["task", "kind", group] if group != "kind" else ["task", "kind"]
    labelled = strata.filter(pl.col(label).is_not_null()).group_by(*groups, label).agg(pl.col("pairs", "kept").sum())

    def share(count: str) -> pl.Expr:
        total = pl.col(count).sum().over(groups)
        return pl.when(total >= min_pairs).then(pl.col(count) / total)

    shares = labelled.with_columns(before=share("pairs"), after=share("kept"))
    largest = shares.group_by("task").agg(pl.col("before", "after").max())
    return largest.select("task", rule=pl.lit(rule), bound=pl.lit(bound), before="before", after="after")


# --- applying it


def selected(pairs: pl.LazyFrame, plan: BalancePlan) -> pl.LazyFrame:
    """The pairs that the plan keeps, in the order and with the columns that they have.

    Each pair is decided by itself, so the pairs may be all or those of one shard. A pair of a stratum that the plan
    does not hold came after it and is left out: `unplanned` counts these.

    Args:
        pairs: at least PAIR_COLUMNS.
        plan: of these pairs.
    """
    kept = (
        _with_share(pairs.select(PAIR_COLUMNS), plan)
        .filter(fraction("balance", "qa_id") < pl.col("keep_share"))
        .select("qa_id")
        .join(plan.repeats.lazy(), on="qa_id", how="anti")
    )
    return pairs.join(kept, on="qa_id", how="semi", maintain_order="left")


def unplanned(pairs: pl.LazyFrame, plan: BalancePlan) -> int:
    """How many pairs are of strata that the plan does not hold: where there are any, make the plan again."""
    missing = _with_share(pairs.select(PAIR_COLUMNS), plan).filter(pl.col("keep_share").is_null())
    new = missing.join(plan.repeats.lazy(), on="qa_id", how="anti")
    return int(new.select(pl.len()).collect(engine="streaming").item())


def _with_share(pairs: pl.LazyFrame, plan: BalancePlan) -> pl.LazyFrame:
    shares = plan.strata.lazy().select(*STRATUM, "keep_share")
    split_tasks = {name: plan.strata.filter(pl.col(name).is_not_null())["task"].unique() for name in _OPTIONAL}
    apart = plan.strata.filter(pl.col("template").is_not_null()).select("task", template_id="template").unique()
    templates = apart.lazy().with_columns(template="template_id")
    known = (
        strata_of(pairs)
        .with_columns(
            pl.when(pl.col("task").is_in(tasks.implode())).then(name).alias(name) for name, tasks in split_tasks.items()
        )
        .join(templates, on=["task", "template_id"], how="left")
    )
    return known.join(shares, on=list(STRATUM), how="left", nulls_equal=True).select("qa_id", "keep_share")
