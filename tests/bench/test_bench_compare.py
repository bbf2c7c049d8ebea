"""Two runs are compared by case, and what only one of them has is said."""

from __future__ import annotations

from llmgate.bench.compare import compare, told
from tests.bench.results import asked, result


def test_a_run_compared_with_itself_changes_nothing():
    run = [*asked(0.6, wrapper="a"), *asked(0.8, wrapper="b")]
    found = compare(run, run)
    assert [each.verdict for each in found.changes] == ["cannot be told apart"] * 2
    assert not any(each.gained or each.lost or each.amounts for each in found.changes)
    assert "0 better, 0 worse, 2 cannot be told apart" in told(found)


def test_what_got_better_and_worse_is_found_with_its_cases():
    before = [*asked(0.5, wrapper="a"), *asked(0.9, wrapper="b"), *asked(0.7, wrapper="c")]
    after = [*asked(0.95, wrapper="a"), *asked(0.4, wrapper="b"), *asked(0.7, wrapper="c")]
    found = {each.key.wrapper: each for each in compare(before, after).changes}
    assert {name: each.verdict for name, each in found.items()} == {
        "a": "better",
        "b": "worse",
        "c": "cannot be told apart",
    }
    old = {each.key: each.outcome for each in before if each.wrapper == "b"}
    new = {each.key: each.outcome for each in after if each.wrapper == "b"}
    lost = [key for key in sorted(old) if old[key] == "right" != new[key]]
    assert list(found["b"].lost) == lost
    text = told(compare(before, after))
    assert text.index("Worse:") < text.index("Better:")
    assert f"lost: {lost[0].suite}/{lost[0].case}" in text


def test_only_the_cases_of_both_runs_count():
    before, after = list(asked(0.5)), list(asked(0.5))
    found = compare(before[:40], after[10:])
    assert (found.cases, found.cases_before, found.cases_after) == (30, 10, 20)
    assert found.changes[0].pair.both == 30
    assert "10 cases are only in the earlier run" in told(found)
    assert "20 cases are only in the later run" in told(found)


def test_scores_are_of_the_cases_of_both_alone():
    cheap = [result(case=str(n), tokens_in=100 + n) for n in range(20)]
    dear = [result(case=str(n), tokens_in=900 + n, outcome="invalid") for n in range(20, 60)]
    found = compare(cheap, [*cheap, *dear])
    [change] = found.changes
    assert change.pair.first == change.pair.second
    assert change.amounts == ()
    half = compare([*cheap, result(wrapper="other", case="30")], [*cheap[:10], *dear])
    assert [each.amounts for each in half.changes] == [()]


def test_cells_of_one_run_alone_are_named():
    found = compare(asked(0.5, wrapper="old"), asked(0.5, wrapper="new"))
    assert not found.changes
    assert "Only in the earlier run: tiny on embedded, old (grammar)." in told(found)
    assert "Only in the later run: tiny on embedded, new (grammar)." in told(found)


def test_many_cells_that_changed_by_chance_are_not_said_to_have_changed():
    names = [f"w{n:02}" for n in range(60)]
    before = [each for name in names for each in asked(0.6, wrapper=name)]
    after = [
        result
        for name in names
        for result in asked(0.6, wrapper=name, seed=0, backend="embedded")
    ]  # fmt: skip
    verdicts = [each.verdict for each in compare(before, after).changes]
    assert verdicts == ["cannot be told apart"] * 60


def test_the_correction_is_for_as_many_cells_as_there_are():
    # Seven cases that all went one way: p = 2 / 2^7, which is enough alone and not among twenty.
    def run(outcome, cells):
        for cell in range(cells):
            for case in range(7):
                shown = outcome if cell == 0 else "right"
                yield result(wrapper=f"w{cell}", case=str(case), outcome=shown)

    alone = compare(run("invalid", 1), run("right", 1))
    assert [each.verdict for each in alone.changes] == ["better"]
    many = compare(run("invalid", 20), run("right", 20))
    assert {each.verdict for each in many.changes} == {"cannot be told apart"}


def test_a_price_that_changed_is_said_where_the_answers_did_not():
    def run(tokens):
        return [result(case=str(n), tokens_in=tokens + n) for n in range(20)]

    found = compare(run(100), run(400))
    assert found.changes[0].amounts == ("tokens_in",)
    assert "tokens in 109.5 → 409.5" in told(found)


def test_markdown_escapes_what_it_names():
    found = compare(asked(0.5, wrapper="<b>|x"), asked(0.5, wrapper="new"))
    text = told(found, markdown=True)
    assert text.startswith("# Two runs\n")
    assert "<b>" not in text


def test_nothing_can_be_compared_with_nothing():
    assert told(compare([], [])).startswith("0 cells of both runs on 0 cases")
