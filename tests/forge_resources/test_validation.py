"""The report is about Great Expectations itself, so it is not replaced by anything here."""

import logging
import socket
from concurrent.futures import ThreadPoolExecutor

import great_expectations.expectations as gxe
import polars as pl
import pytest

from forge_resources.validation import MAX_EXAMPLES, merged, suite_hash, validate


def _score(high: float = 1.0, **options):
    return gxe.ExpectColumnValuesToBeBetween(
        column="score", min_value=0, max_value=high, meta={"rule": "score_in_range"}, **options
    )


def _judge(frame: pl.DataFrame, *suite):
    return validate(frame, suite, name="toy_gate", index_columns=["id"])


FRAME = pl.DataFrame({"id": ["a", "b", "c"], "score": [0.5, 2.0, None]})


def test_good_rows_pass():
    report = _judge(FRAME.head(1), _score())

    assert (report.outcome, report.rows, report.error) == ("passed", 1, None)
    assert report.failures == {}


def test_a_failure_names_rule_expectation_rows_and_values():
    report = _judge(FRAME, _score())

    assert report.outcome == "failed"
    assert report.failures == {"score_in_range": 1}
    (result,) = report.results
    assert result.expectation == "expect_column_values_to_be_between(score)"
    assert (result.element_count, result.unexpected_count) == (3, 1)
    assert result.unexpected_percent == pytest.approx(100 / 3)
    assert result.failing_ids == ("b",)
    assert result.unexpected_values == ("2.0",)


def test_warnings_are_shown_but_do_not_fail():
    report = _judge(FRAME, _score(severity="warning"))

    assert report.outcome == "passed"
    assert report.failures == {}
    assert report.warnings == {"score_in_range": 1}


def test_an_expectation_that_raises_breaks_the_gate_and_fails_no_row():
    missing = gxe.ExpectColumnValuesToNotBeNull(column="colour", meta={"rule": "colour_present"})

    report = _judge(FRAME, missing, _score())

    assert report.outcome == "broken"
    assert report.error is not None
    assert "colour_present" in report.error
    assert '"colour"' in report.error
    assert report.broken_rules == ["colour_present"]
    assert report.failures == {"score_in_range": 1}


def test_no_rows_are_rows_like_any_other():
    types = {"id": pl.String, "score": pl.Float64, "kind": pl.Enum(["x"]), "ok": pl.Boolean, "n": pl.Int32}
    suite = [
        _score(),
        gxe.ExpectColumnValuesToBeUnique(column="id", meta={"rule": "unique"}),
        gxe.ExpectColumnValuesToNotBeNull(column="id", meta={"rule": "present"}),
        gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=["x"], meta={"rule": "kind"}),
        gxe.ExpectColumnValuesToBeInSet(column="ok", value_set=[True], meta={"rule": "ok"}),
        gxe.ExpectColumnValuesToMatchRegex(column="id", regex="^a", meta={"rule": "regex"}),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="score", column_B="n", meta={"rule": "pair"}),
    ]

    report = _judge(pl.DataFrame(schema=types), *suite)

    assert (report.outcome, report.rows) == ("passed", 0)
    assert len(report.results) == len(suite)


def test_nested_columns_and_bytes_are_left_out_and_enums_are_text():
    frame = pl.DataFrame(
        {"id": ["a"], "boxes": [[1, 2]], "png": [b"x"], "kind": ["dog"]},
        schema_overrides={"kind": pl.Enum(["dog", "cat"])},
    )
    known = gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=["cat"], meta={"rule": "kind_known"})

    assert _judge(frame, known).results[0].unexpected_values == ("dog",)


def test_examples_are_bounded_and_counts_are_not():
    rows = 10 * MAX_EXAMPLES
    frame = pl.DataFrame({"id": [f"r{row}" for row in range(rows)], "score": [9.0] * rows})

    (result,) = _judge(frame, _score()).results

    assert result.unexpected_count == rows
    assert result.failing_ids == tuple(f"r{row}" for row in range(MAX_EXAMPLES))


def test_results_stand_in_the_order_of_the_suite():
    columns = {"one": "id", "two": "nope", "three": "score"}
    suite = [gxe.ExpectColumnValuesToNotBeNull(column=column, meta={"rule": rule}) for rule, column in columns.items()]

    assert [result.rule for result in _judge(FRAME, *suite).results] == list(columns)


def test_rules_must_have_names_of_their_own():
    with pytest.raises(ValueError, match="no rule name"):
        _judge(FRAME, gxe.ExpectColumnValuesToBeUnique(column="id"))
    with pytest.raises(ValueError, match="score_in_range"):
        _judge(FRAME, _score(), _score(2))


def test_the_suite_hash_changes_with_a_promise_and_with_nothing_else():
    other = gxe.ExpectColumnValuesToBeUnique(column="id", meta={"rule": "unique"})
    before = suite_hash([_score(), other])

    assert suite_hash([other, _score()]) == before
    assert suite_hash([_score(0.9), other]) != before
    assert suite_hash([_score(severity="warning"), other]) != before
    assert suite_hash([_score()]) != before
    assert _judge(FRAME, _score(), other).suite_hash == before
    assert _judge(FRAME.head(0), _score(), other).suite_hash == before


def test_judging_leaves_the_suite_as_it_was():
    suite = [_score()]
    before = suite_hash(suite)

    _judge(FRAME, *suite)

    assert suite_hash(suite) == before
    assert _judge(FRAME, *suite).outcome == "failed"


def test_frames_that_are_judged_one_after_the_other_do_not_mix():
    others = pl.DataFrame({"id": ["x"], "level": ["high"]})
    known = gxe.ExpectColumnValuesToBeInSet(column="level", value_set=["low"], meta={"rule": "level_known"})

    before = _judge(FRAME, _score())
    (result,) = _judge(others, known).results

    assert result.failing_ids == ("x",)
    assert _judge(FRAME, _score()) == before
    assert _judge(others, _score()).outcome == "broken"


def test_threads_that_judge_at_once_get_their_own_reports():
    frames = [pl.DataFrame({"id": [f"row {number}"], "score": [2.0 + number]}) for number in range(8)]

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda frame: _judge(frame, _score()), frames))

    assert [report.results[0].failing_ids for report in reports] == [(f"row {number}",) for number in range(8)]


def test_only_rules_that_fail_are_told_in_full():
    holds = gxe.ExpectColumnValuesToNotBeNull(column="id", meta={"rule": "id_present"})

    kept, failed = _judge(FRAME, holds, _score()).results

    assert (kept.success, kept.failing_rows, kept.failing_ids, kept.unexpected_values) == (True, 0, (), ())
    assert (failed.success, failed.failing_rows, failed.failing_ids) == (False, 1, ("b",))


def test_merged_reports_take_the_worst_outcome():
    passed = _judge(FRAME.head(1), _score())
    failed = _judge(FRAME, _score())
    broken = _judge(FRAME, gxe.ExpectColumnValuesToNotBeNull(column="colour", meta={"rule": "colour_present"}))

    assert merged("toy", [passed, passed]).outcome == "passed"
    assert merged("toy", [failed, passed]).outcome == "failed"
    assert merged("toy", [failed, broken, passed]).outcome == "broken"


def test_it_is_silent_and_calls_nobody(monkeypatch, capfd, caplog):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a gate must not open connections")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    with caplog.at_level(logging.INFO):
        _judge(FRAME, _score())

    assert capfd.readouterr() == ("", "")
    assert not caplog.records
