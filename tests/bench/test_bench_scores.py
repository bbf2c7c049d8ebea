"""Scores of cells, their ranking, and the tables made from them."""

from __future__ import annotations

import csv
import random

import msgspec
import pytest

from llmgate.bench import tables
from llmgate.bench.ranks import corrected, paired, pairs, rank
from llmgate.bench.result import CellKey
from llmgate.bench.scores import OUTCOMES, score
from tests.bench.results import asked, result


def shuffled(results, seed=1):
    results = list(results)
    random.Random(seed).shuffle(results)
    return results


def the_cell(*results):
    [cell] = score(results).cells
    return cell


OUTCOME_RESULTS = [
    result(case=str(number), expect=expect, outcome=outcome)
    for number, (expect, outcome) in enumerate(
        [
            ("calls", "right"),
            ("calls", "right"),
            ("calls", "wrong_function"),
            ("calls", "wrong_arguments"),
            ("calls", "missing_call"),
            ("calls", "invalid"),
            ("calls", "error"),
            ("no_call", "right"),
            ("no_call", "unwanted_call"),
            ("text", "wrong_text"),
            ("text", "right"),
            ("json", "right"),
            ("json", "wrong_text"),
        ]
    )
]


@pytest.mark.parametrize(
    ("name", "right", "n"),
    [
        ("right", 5, 13),
        ("valid", 4, 7),
        ("function", 3, 7),
        ("arguments", 2, 7),
        ("no_call", 3, 4),
        ("answer", 2, 4),
        ("repaired", 0, 13),
        ("retried", 0, 13),
    ],
)
def test_each_share_is_of_the_cases_that_it_is_about(name, right, n):
    found = the_cell(*OUTCOME_RESULTS).estimate(name)
    assert found.n == n
    assert found.value == pytest.approx(right / n)
    assert found.low < found.value < found.high or found.value in (0, 1)


def test_outcomes_and_errors_are_counted():
    cell = the_cell(*OUTCOME_RESULTS)
    assert sum(cell.outcomes) == cell.n == 13
    assert cell.outcomes[OUTCOMES.index("right")] == 5
    assert cell.errors == 1


def test_repairs_and_retries_are_counted_as_shares_and_in_all():
    cell = the_cell(result(case="1", repairs=3), result(case="2", retries=1), result(case="3"))
    assert (cell.repaired.value, cell.retried.value) == (1 / 3, 1 / 3)
    assert (cell.repairs, cell.retries) == (3, 1)


def test_no_interval_reaches_below_nothing():
    cell = the_cell(result(case="1", tokens_out=1), result(case="2", tokens_out=500))
    assert cell.tokens_out.low == 0


def test_amounts_leave_errors_out():
    cell = the_cell(
        result(case="1", tokens_in=100),
        result(case="2", tokens_in=300),
        result(case="3", tokens_in=0, outcome="error", error="gone"),
    )
    assert (cell.tokens_in.value, cell.tokens_in.n) == (200, 2)


def test_tokens_a_second_are_those_behind_the_first_token():
    assert the_cell(result(tokens_out=11, first_token=0.1, seconds=1.1)).rate.value == 10
    assert the_cell(result(tokens_out=11, first_token=None, seconds=1.1)).rate.value == 10


def test_retried_cases_say_nothing_of_the_speed():
    assert the_cell(result(retries=1)).rate.value is None


def test_the_cached_share_is_of_all_tokens_and_unknown_where_nobody_counted():
    cell = the_cell(result(case="1", tokens_in=100, cached=100), result(case="2", tokens_in=300))
    assert cell.cached.value == 140 / 400
    assert the_cell(result(cached=None)).cached.value is None


def test_a_case_that_a_cell_has_twice_counts_once():
    once = list(asked(0.5))
    assert score([*once, *once[:17]]) == score(once)


def test_the_order_of_the_results_makes_no_difference():
    results = [*asked(0.5, samples=2, wrapper="a"), *asked(0.7, samples=2, wrapper="b")]
    assert score(shuffled(results)) == score(results)


def test_samples_of_the_same_case_make_the_interval_no_narrower_than_they_should():
    def share(samples):
        alike = [
            result(case=str(case), sample=sample, outcome="right" if case % 3 else "invalid")
            for case in range(30)
            for sample in range(samples)
        ]
        return the_cell(*alike).right

    one, ten = share(1), share(10)
    assert (one.value, one.low, one.high) == (ten.value, ten.low, ten.high)


def test_two_cells_are_compared_on_the_cases_of_both():
    scores = score([*asked(0.9, wrapper="a"), *list(asked(0.4, wrapper="b"))[:40]])
    pair = paired(scores, *scores.cells)
    assert pair.both == 40
    assert pair.better > pair.worse
    assert pair.apart


def test_samples_speak_once_for_each_case():
    results = []
    for case in range(4):
        for sample in range(20):
            where = {"case": str(case), "sample": sample}
            results.append(result(wrapper="a", **where))
            results.append(result(wrapper="b", outcome="invalid", **where))
    scores = score(results)
    pair = paired(scores, *scores.cells)
    assert (pair.both, pair.better, pair.worse) == (80, 4, 0)
    assert not pair.apart


def test_equal_cells_cannot_be_told_apart_and_that_is_said():
    scores = score([*asked(0.8, wrapper="a"), *asked(0.8, wrapper="b")])
    ranked = rank(scores, scores.cells)
    assert [each.place for each in ranked] == [1, 1]
    assert not any(each.apart for each in ranked)
    assert "cannot be told apart from" in tables.verdict(ranked)


def test_where_nothing_was_right_nothing_is_called_the_best():
    scores = score(result(wrapper=name, outcome="invalid") for name in "abc")
    assert tables.verdict(rank(scores, scores.cells)) == (
        "Nothing was right even once, in none of 3 cells."
    )


def test_it_is_said_where_cells_were_not_asked_the_same():
    whole = [*asked(0.9, wrapper="a"), *asked(0.9, wrapper="b")]
    for results, told in ((whole, False), (whole[:-1], True)):
        scores = score(results)
        said = tables.verdict(rank(scores, scores.cells))
        assert ("Not all cells were asked the same cases" in said) == told


def test_cells_that_differ_get_places_of_their_own():
    shares = {"good": 0.95, "fair": 0.6, "poor": 0.1}
    scores = score(each for name, share in shares.items() for each in asked(share, wrapper=name))
    ranked = rank(scores, scores.cells)
    assert [(each.cell.key.wrapper, each.place) for each in ranked] == [
        ("good", 1),
        ("fair", 2),
        ("poor", 3),
    ]
    assert "told apart from all others" in tables.verdict(ranked)


def test_a_broken_wrapper_is_told_apart_within_200_samples():
    good = [each for n in range(12) for each in asked(0.9, cases=200, wrapper=f"w{n:02}")]
    scores = score([*good, *asked(0.65, cases=200, wrapper="broken")])
    ranked = rank(scores, scores.cells)
    assert ranked[-1].cell.key.wrapper == "broken"
    assert ranked[-1].apart


def test_of_two_that_are_right_as_often_the_one_with_fewer_tokens_comes_first():
    scores = score([result(wrapper="a", tokens_in=900), result(wrapper="b", tokens_in=90)])
    assert rank(scores, scores.cells)[0].cell.key.wrapper == "b"


def test_a_cell_that_was_asked_once_does_not_stand_above_one_that_was_asked_much():
    scores = score([result(wrapper="once"), *asked(0.95, wrapper="much")])
    assert rank(scores, scores.cells)[0].cell.key.wrapper == "much"


def test_pairs_are_corrected_for_all_there_could_have_been():
    names = "abcdef"
    scores = score(each for n in names for each in asked(0.5 + ord(n) % 7 / 20, wrapper=n))
    few = pairs(scores, scores.cells[:3], of=6)
    all_pairs = {(p.first.key, p.second.key): p for p in pairs(scores, scores.cells)}
    assert len(all_pairs) == 15
    for pair in few:
        assert pair.corrected >= all_pairs[pair.first.key, pair.second.key].corrected >= pair.p


def test_correcting_one_comparison_changes_nothing():
    scores = score([*asked(0.9, wrapper="a"), *asked(0.4, wrapper="b")])
    pair = paired(scores, *scores.cells)
    assert corrected([pair]) == [pair]


def test_the_ranking_is_stable_in_95_of_100_resampled_runs_where_intervals_do_not_overlap():
    shares = (0.97, 0.9, 0.8, 0.7, 0.55, 0.4, 0.2)
    runs = [list(asked(share, cases=100, wrapper=f"w{n}")) for n, share in enumerate(shares)]
    cells = {cell.key: cell for cell in score(each for run in runs for each in run).cells}
    separate = [
        (one, other)
        for one in cells
        for other in cells
        if cells[one].right.low > cells[other].right.high
    ]
    assert len(separate) >= 10
    right = {
        run[0].cell: [each.outcome == "right" for each in run]
        for run in runs
    }  # fmt: skip
    luck = random.Random(77)
    kept = total = 0
    for _ in range(400):
        drawn = [luck.randrange(100) for _ in range(100)]
        count = {key: sum(map(rights.__getitem__, drawn)) for key, rights in right.items()}
        kept += sum(count[one] > count[other] for one, other in separate)
        total += len(separate)
    assert kept / total >= 0.95


def test_csv_has_all_numbers_of_all_cells():
    scores = score([*asked(0.5, wrapper="a"), *asked(0.7, wrapper="b", options='{"x":1}')])
    head, *_ = tables.table(scores).splitlines()
    assert len(set(head.split(","))) == len(head.split(","))
    rows = list(csv.DictReader(tables.table(scores).splitlines()))
    assert [CellKey(*(row[name] for name in CellKey._fields)) for row in rows] == [
        cell.key for cell in scores.cells
    ]
    for row, cell in zip(rows, scores.cells, strict=True):
        assert float(row["right"]) == pytest.approx(cell.right.value)
        assert float(row["first_token_high"]) == pytest.approx(cell.first_token.high)
        assert int(row["valid_n"]) == cell.valid.n
        assert row["answer"] == ""
        assert sum(int(row[f"count_{name}"]) for name in OUTCOMES) == int(row["n"]) == 60


def test_no_spreadsheet_takes_a_name_for_a_formula():
    text = tables.table(score([result(model="=HYPERLINK(1)")]))
    assert "'=HYPERLINK(1)" in text
    assert "\n=HYPERLINK" not in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminals_table_fits(width):
    name = "a-wrapper-with-a-rather-long-name"
    scores = score([*asked(0.5, wrapper=name, options='{"thoughts":"inside"}'), *asked(0.9)])
    table = [line for line in tables.terminal(scores, width=width).splitlines() if "[" in line]
    assert all(len(line) <= width for line in table if "right in" not in line)
    assert "chatml (grammar)" in tables.terminal(scores, width=width)


def test_the_terminal_shows_no_control_characters():
    shown = tables.terminal(score([result(wrapper="\x1b[31mred\u202e")]))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\x1b[31mred\\u202e" in shown


def test_markdown_is_made_of_whole_rows():
    scores = score([*asked(0.5, wrapper="a|b"), *asked(0.9, wrapper="<script>`")])
    rows = [line for line in tables.markdown(scores).splitlines() if line.startswith("|")]
    bars = {line.replace("\\|", "").count("|") for line in rows}
    assert len(bars) == 1
    assert "<script>" not in tables.markdown(scores)


def test_nothing_is_said_of_nothing():
    empty = score([])
    assert tables.terminal(empty) == "There are no results.\n"
    assert "There are no results." in tables.markdown(empty)
    assert len(tables.table(empty).splitlines()) == 1


def test_results_that_went_through_the_log_score_the_same():
    results = list(asked(0.5, samples=2))
    lines = [msgspec.json.encode(each) for each in results]
    again = [msgspec.json.decode(line, type=type(results[0])) for line in lines]
    assert score(again) == score(results)
