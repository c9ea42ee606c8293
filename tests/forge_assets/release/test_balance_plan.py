"""A plan keeps the most pairs that leave nothing to guess from the text, and is applied by hash."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_assets.release.balance_asset import balance_plan_asset, load_plan, releasable_pairs, verified_shards
from forge_assets.release.balance_asset import guessability as guessability_asset
from forge_assets.release.balance_plan import (
    BALANCE_PLAN,
    PAIR_COLUMNS,
    STRATUM,
    BalancePlan,
    QuotaError,
    balance,
    dropped,
    largest_shares,
    quota_gaps,
    repeated,
    selected,
    strata_of,
    unplanned,
)
from forge_assets.release.guessability import guessability
from forge_assets.tables import VERIFIED_QA
from forge_resources.config import BalanceConfig
from forge_resources.dagster_resources import ForgeResource
from forge_resources.lake import Lake, Verdict
from forge_resources.shards import ShardKey

MakePairs = Callable[..., pl.DataFrame]
QUOTAS = {"near_far": 1.0, "counting": 1.0}
LOOSE = BalanceConfig(max_lean=0.5, max_majority_share=1, max_template_share=1, min_pairs=1)


def loose(**fields: Any) -> BalanceConfig:
    return LOOSE.model_copy(update=fields)


def plan_of(pairs: pl.DataFrame, config: BalanceConfig) -> BalancePlan:
    plan = balance(pairs.lazy(), config, QUOTAS)
    assert dict(plan.strata.schema) == dict(BALANCE_PLAN)
    return plan


def kept(plan: BalancePlan) -> float:
    return float(plan.strata["kept"].sum())


def pairs_of(*counts: tuple[int, dict[str, Any]]) -> pl.DataFrame:
    """So many pairs of each kind, each of a photo of its own: yes or no asked of dogs, where nothing else is said."""
    base = {
        "task": "counting",
        "question": "Is there a dog?",
        "short_answer": "yes",
        "answer_kind": "yes_no",
        "choices": None,
        "categories": ["dog"],
        "template_id": "counting.any.v1/word",
        "form": "any",
    }
    rows = [base | columns for count, columns in counts for _ in range(count)]
    rows = [{"qa_id": f"{i:024d}", "image_sha256": f"{i:064d}"} | row for i, row in enumerate(rows)]
    return pl.DataFrame(rows, schema_overrides={"choices": pl.List(pl.String)}).select(PAIR_COLUMNS)


def comparison(winner: str, loser: str, *, first: bool = True) -> dict[str, Any]:
    options = [winner, loser] if first else [loser, winner]
    return {
        "task": "near_far",
        "answer_kind": "choice",
        "question": f"Which is nearer, {options[0]} or {options[1]}?",
        "short_answer": winner,
        "choices": options,
        "categories": options,
        "template_id": "near_far.nearer.v1/is_nearer",
        "form": "nearer",
    }


# --- what a stratum is


def stratum(**columns: Any) -> dict[str, Any]:
    return strata_of(pairs_of((1, columns)).lazy()).collect().row(0, named=True)


def test_a_choice_among_objects_is_told_by_its_categories_and_its_winner() -> None:
    row = stratum(**comparison("the cup at [0, 500, 100, 900]", "the dog at [500, 0, 900, 400]"))
    assert (row["kind"], row["place"], row["options"], row["word"]) == ("nearer", 0, 2, None)
    assert (row["lower_box"], row["larger_box"], row["box_side"]) == (True, False, None)
    row = stratum(**comparison("cup", "bus", first=False))
    assert (row["asked"], row["winner"], row["place"], row["lower_box"]) == ("bus | cup", "cup", 1, None)


@pytest.mark.parametrize(("answer", "winner", "place"), [("left", "tie", 1), ("right", "person", 0)])
def test_a_side_is_told_by_what_lies_on_the_left(answer: str, winner: str, place: int) -> None:
    row = stratum(
        task="left_right",
        answer_kind="choice",
        short_answer=answer,
        choices=["right", "left"],
        categories=["tie", "person"],
        form="side",
    )
    assert (row["kind"], row["winner"], row["word"], row["place"]) == ("side", winner, answer, place)


@pytest.mark.parametrize(("boxes", "answer", "suggested"), [
    ("of the person at [0, 0, 200, 900]", "left", True),
    ("of the person at [0, 0, 200, 900]", "right", False),
    ("of the person at [700, 0, 900, 900]", "left", False),
    ("of the cup at [700, 0, 900, 900] and the tie at [0, 0, 200, 900]", "left", False),
    ("of the person", "left", None),
])  # fmt: skip
def test_a_box_in_the_question_suggests_its_own_side(boxes: str, answer: str, suggested: bool | None) -> None:
    assert stratum(question=f"On which side is the cup {boxes}?", short_answer=answer)["box_side"] is suggested


def test_open_answers_have_no_more_than_task_and_kind() -> None:
    row = stratum(task="grounding", answer_kind="bbox", form="one")
    assert {name for name in STRATUM if row.get(name) is not None} == {"task", "kind"}


# --- the fewest are dropped


def test_of_one_sided_answers_as_many_are_kept_as_the_bound_allows() -> None:
    pairs = pairs_of((800, {"short_answer": "yes"}), (200, {"short_answer": "no"}))
    plan = plan_of(pairs, loose(max_lean=0.02))
    assert kept(plan) == pytest.approx(200 / 0.48)
    assert dropped(plan).row(0)[1:] == ("answer_word", pytest.approx(1000 - 200 / 0.48)) or (
        dropped(plan).row(0)[1] == "category"
    )


def test_the_majority_of_a_pair_of_categories_is_cut_to_the_bound() -> None:
    counts = ((90, "bus", "cup"), (10, "cup", "bus"), (40, "dog", "tie"))
    sides = [(count // 2, comparison(*names, first=first)) for count, *names in counts for first in (True, False)]
    plan = plan_of(pairs_of(*sides), loose(max_majority_share=0.6))
    by_winner = dict(plan.strata.group_by("winner").agg(pl.col("kept").sum()).iter_rows())
    assert by_winner == {"bus": pytest.approx(15), "cup": 10.0, "dog": 0.0}
    assert dropped(plan).rows() == [("near_far", "category_pair", pytest.approx(75 + 40))]
    largest = largest_shares(plan, BalanceConfig(min_pairs=1)).filter(rule="category_pair").row(0, named=True)
    assert (largest["before"], largest["after"]) == (pytest.approx(1.0), pytest.approx(0.6))


def test_categories_are_balanced_over_all_that_they_are_compared_with() -> None:
    circle = (("bus", "cup", 16), ("cup", "dog", 16), ("dog", "bus", 10))
    sides = [(count, comparison(*names, first=first)) for *names, count in circle for first in (True, False)]
    plan = plan_of(pairs_of(*sides), loose(max_lean=0.0, min_pairs=45))
    assert kept(plan) == pytest.approx(60), "each wins as often as it loses: a circle of 20 each"


def test_a_template_is_cut_to_its_share() -> None:
    templates = [f"grounding.t{i}.v1" for i in range(5)]
    grounding = {"task": "grounding", "answer_kind": "bbox"}
    counts = [(350, grounding | {"template_id": f"{templates[0]}/{answer}"}) for answer in ("is_at", "box_of")]
    counts += [(75, grounding | {"template_id": template}) for template in templates[1:]]
    plan = plan_of(pairs_of(*counts), loose(max_template_share=0.25))
    assert kept(plan) == pytest.approx(300 / 0.75)
    assert plan.strata.filter(pl.col("keep_share") < 1)["template"].to_list() == templates[:1]


def test_a_template_that_gets_too_large_a_share_once_others_are_cut_is_cut_too() -> None:
    counts = [
        (count, {"template_id": f"counting.{template}.v1", "short_answer": answer})
        for template, yes, no in (
            ("how_many", 500, 0),
            ("count", 0, 60),
            ("number", 20, 20),
            ("see", 20, 20),
            ("visible", 20, 20),
        )
        for count, answer in ((yes, "yes"), (no, "no"))
    ]
    pairs = pairs_of(*counts)
    plan = plan_of(pairs, loose(max_lean=0.0, max_template_share=0.25))
    by_template = plan.strata.group_by("template").agg(pl.col("kept").sum())
    apart = by_template.filter(pl.col("template").is_not_null())
    assert dict(apart.iter_rows())["counting.how_many.v1"] == pytest.approx(60)
    assert (apart["kept"] <= 0.25 * kept(plan) + 1e-6).all()
    assert kept(plan) == pytest.approx(240)


@pytest.mark.parametrize("bias", [{}, {"lower": 0.5}, {"yes": 0.5}])
def test_nothing_is_dropped_of_a_balanced_set(make_pairs: MakePairs, bias: dict[str, Any]) -> None:
    plan = plan_of(make_pairs(4000, **bias), BalanceConfig(max_lean=0.05, max_template_share=0.25, min_pairs=200))
    assert kept(plan) == plan.strata["pairs"].sum() == 4000
    assert plan.strata["reason"].null_count() == plan.strata.height


def test_an_exactly_balanced_set_is_kept_whole_by_the_default_bounds() -> None:
    sides = [comparison(a, b, first=first) for a, b in (("bus", "cup"), ("cup", "bus")) for first in (True, False)]
    pairs = pairs_of(*((50, side) for side in sides))
    assert kept(plan_of(pairs, BalanceConfig(max_template_share=1))) == 200


def test_so_few_pairs_that_they_show_no_bias_are_kept() -> None:
    assert kept(plan_of(pairs_of((49, {})), BalanceConfig())) == 49
    assert kept(plan_of(pairs_of((50, {})), BalanceConfig())) == 0


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        ({"bus_farther": 1.0}, 2 / 3),
        ({"bus_farther": 0.8}, 2 / 3 + 0.4 / 3),
        ({"first": 1.0}, 0.0),
        ({"first": 0.75}, 0.5),
        ({"yes": 0.8}, 0.4),
        ({"template": 0.7}, 0.375),
        ({"lower": 0.9}, 0.2),
        ({}, 1.0),
    ],
)
def test_after_the_plan_a_planted_bias_can_no_longer_be_guessed(
    make_pairs: MakePairs, bias: dict[str, float], expected: float
) -> None:
    pairs = make_pairs(8000, **bias)
    plan = plan_of(pairs, BalanceConfig())
    remaining = selected(pairs.lazy(), plan)
    assert kept(plan) / 8000 == pytest.approx(expected, abs=0.06)
    assert remaining.collect().height == pytest.approx(kept(plan), abs=200)
    for lift in guessability(remaining)["lift"].drop_nulls():
        assert lift < 3


# --- repeats


def test_of_repeated_pairs_the_smallest_id_stays() -> None:
    pairs = pairs_of((3, {"short_answer": "yes"}), (1, {"short_answer": "no"})).with_columns(
        image_sha256=pl.lit("same")
    )
    repeats = repeated(pairs.lazy())
    assert repeats.rows() == [(f"{1:024d}", f"{0:024d}"), (f"{2:024d}", f"{0:024d}")]
    plan = plan_of(pairs, loose())
    assert plan.strata["pairs"].sum() == 2
    assert selected(pairs.lazy(), plan).collect()["qa_id"].to_list() == [f"{0:024d}", f"{3:024d}"]


# --- quotas


def test_without_a_target_the_gap_to_the_quotas_is_told() -> None:
    pairs = pairs_of((30, {"template_id": "a"}), (10, comparison("bus", "cup")))
    gaps = {row["task"]: row["gap"] for row in quota_gaps(plan_of(pairs, loose()), QUOTAS).to_dicts()}
    assert gaps["counting"] == pytest.approx(0.25)
    assert gaps["near_far"] == pytest.approx(-0.25)
    assert gaps["grounding"] == 0


def test_a_target_is_split_by_the_quotas() -> None:
    pairs = pairs_of((60, {"short_answer": "yes"}), (60, {"short_answer": "no"}), (40, comparison("bus", "cup")))
    plan = plan_of(pairs, loose(target_pairs=80))
    by_task = dict(plan.strata.group_by("task").agg(pl.col("kept").sum()).iter_rows())
    assert by_task == {"counting": pytest.approx(40), "near_far": pytest.approx(40)}
    assert dropped(plan).rows() == [("counting", "quota", pytest.approx(80))]


def test_a_target_that_the_quotas_forbid_names_the_largest_that_they_allow() -> None:
    pairs = pairs_of((60, {"short_answer": "yes"}), (60, {"short_answer": "no"}), (40, comparison("bus", "cup")))
    with pytest.raises(QuotaError, match=r"near_far has 40 balanced pairs and needs 50\. .* is 80;"):
        balance(pairs.lazy(), loose(target_pairs=100), QUOTAS)
    with pytest.raises(QuotaError, match=r"grounding has 0 balanced pairs .* is 0;"):
        balance(pairs.lazy(), loose(target_pairs=10), QUOTAS | {"grounding": 1.0})


# --- selection by hash


@settings(deadline=None, max_examples=25)
@given(share=st.floats(0, 1), more=st.floats(0, 1), seed=st.integers(0, 9), parts=st.integers(1, 5))
def test_selection_is_monotone_and_knows_neither_order_nor_shards(
    share: float, more: float, seed: int, parts: int
) -> None:
    pairs = pairs_of((60, {"short_answer": "yes"}), (60, {"short_answer": "no"}), (80, comparison("bus", "cup")))
    plan = plan_of(pairs, loose())

    def ids(of: pl.DataFrame, keep: float) -> set[str]:
        scaled = plan._replace(strata=plan.strata.with_columns(keep_share=pl.lit(keep)))
        return set(selected(of.lazy(), scaled).collect()["qa_id"])

    small, large = sorted((share, more))
    whole = ids(pairs, small)
    assert whole <= ids(pairs, large)
    shuffled = pairs.sample(fraction=1, shuffle=True, seed=seed)
    assert ids(shuffled, small) == whole
    assert set().union(*(ids(shuffled.gather_every(parts, part), small) for part in range(parts))) == whole


def test_selection_keeps_order_and_columns(make_pairs: MakePairs) -> None:
    pairs = make_pairs(500, first=0.8).with_columns(more=pl.lit(1)).reverse()
    chosen = selected(pairs.lazy(), plan_of(pairs, BalanceConfig())).collect()
    assert chosen.columns == pairs.columns
    assert chosen["qa_id"].to_list() == sorted(chosen["qa_id"], reverse=True)
    assert 0 < chosen.height < 500


def test_the_plan_does_not_depend_on_the_order_of_the_pairs(make_pairs: MakePairs) -> None:
    pairs = make_pairs(1000, bus_farther=0.9)
    plan = plan_of(pairs, BalanceConfig())
    assert plan.strata.equals(plan_of(pairs.reverse(), BalanceConfig()).strata)


def test_pairs_that_came_after_the_plan_are_left_out_and_counted() -> None:
    plan = plan_of(pairs_of((10, {})), loose())
    later = pairs_of((10, {}), (3, comparison("bus", "cup")))
    assert selected(later.lazy(), plan).collect().height == 10
    assert unplanned(later.lazy(), plan) == 3
    assert unplanned(later.head(10).lazy(), plan) == 0


def test_without_pairs_there_is_an_empty_plan() -> None:
    nothing = pairs_of((1, {})).clear()
    plan = plan_of(nothing, BalanceConfig())
    assert plan.strata.is_empty()
    assert selected(nothing.lazy(), plan).collect().is_empty()


# --- the assets


@pytest.fixture
def forge(tmp_path: Path) -> ForgeResource:
    (tmp_path / "forge.yaml").write_text("lake: lake\n")
    return ForgeResource(config_path=str(tmp_path / "forge.yaml"))


def write_shard(lake: Lake, shard: str, pairs: pl.DataFrame, outcome: str = "passed") -> None:
    key = ShardKey("made", shard)
    schema = {**VERIFIED_QA, "categories": pl.List(pl.String())}
    rows = pairs.with_columns(image_id=pl.col("image_sha256"))
    empty = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in rows.columns]
    manifest = lake.write("verified_qa", key, rows.with_columns(empty).select(list(schema)), schema)
    photos = rows.select("image_id", sha256="image_sha256").unique().sort("image_id")
    lake.write("raw_images", key, photos, dict(photos.schema))
    verdict = Verdict(
        gate="g", content_hash=manifest.content_hash, suite_hash="0", outcome=outcome, rows=manifest.rows
    )  # fmt: skip
    lake.write_verdict("verified_qa", key, verdict)


def test_the_assets_read_gated_shards_and_write_tables_that_a_release_loads(
    forge: ForgeResource, make_pairs: MakePairs
) -> None:
    pairs = make_pairs(1200, first=0.8)
    lake = forge.lake
    write_shard(lake, "s00000", pairs.head(600))
    write_shard(lake, "s00001", pairs.slice(600, 300))
    write_shard(lake, "s00002", pairs.slice(900), outcome="failed")
    repeats = pl.DataFrame({"image_id": [f"{0:064d}", f"{1:064d}"], "is_kept": [True, False]})
    lake.write_table("duplicates", repeats, dict(repeats.schema))
    result = dg.materialize([guessability_asset, balance_plan_asset], resources={"forge": forge})
    assert result.success
    metadata = result.asset_materializations_for_node("balance_plan")[0].metadata
    assert (metadata["pairs"].value, metadata["of_photos_left_out"].value) == (896, 4)
    assert metadata["kept"].value < 0.5 * 896
    assert lake.scan_table("guessability").collect()["lift"].item() == pytest.approx(30, abs=4)
    plan = load_plan(lake)
    chosen = selected(releasable_pairs(lake, verified_shards(lake)), plan).collect()
    assert chosen.height == pytest.approx(kept(plan), abs=60)
    assert set(lake.table_manifest("balance_plan").inputs) == {
        "verified_qa/made/s00000", "verified_qa/made/s00001", "duplicates",
    }  # fmt: skip


def test_the_assets_run_over_an_empty_lake(forge: ForgeResource) -> None:
    result = dg.materialize([guessability_asset, balance_plan_asset], resources={"forge": forge})
    assert result.success
    assert load_plan(forge.lake).strata.is_empty()
