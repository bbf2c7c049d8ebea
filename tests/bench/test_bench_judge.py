"""Answers of all kinds against what is expected of them."""

from __future__ import annotations

import json

import pytest

from llmgate.bench.cases import Case, Expect, ExpectedCall
from llmgate.bench.judge import judge
from llmgate.bench.result import Call
from llmgate.types import Message, Tool

LOOK = Tool("look", "", {"type": "object", "properties": {"x": {"type": "integer"}}})
CALL = Call("look", '{"x": 1}')


def case(kind, **more):
    asked = (Message("user", "?"),)
    return Case("c", asked, Expect(kind, **more), tools=() if kind == "json" else (LOOK,))


def test_calls_are_judged_by_the_rules():
    wanted = case("calls", calls=(ExpectedCall("look", {"x": [1]}),))
    assert judge(wanted, [CALL], "").outcome == "right"
    assert judge(wanted, [CALL], "Looking it up.").outcome == "right"
    assert judge(wanted, [Call("look", '{"x": 2}')], "").outcome == "wrong_arguments"
    assert judge(wanted, [], "I can't.").outcome == "missing_call"
    ordered = case("calls", calls=(wanted.expect.calls[0], ExpectedCall("look")), ordered=True)
    assert judge(ordered, [CALL, Call("look", "{}")], "").outcome == "right"
    assert judge(ordered, [Call("look", "{}"), CALL], "").outcome == "wrong_arguments"


@pytest.mark.parametrize("kind", ["no_call", "text", "json"])
def test_a_call_that_nobody_wanted_is_said_with_its_name(kind):
    verdict = judge(case(kind), [CALL], "text")
    assert verdict.outcome == "unwanted_call"
    assert verdict.problems == ("no call is right here, 'look' came",)


def test_without_a_call_any_text_will_do():
    assert judge(case("no_call"), [], "Sorry, no.").outcome == "right"
    assert judge(case("no_call"), [], "").outcome == "right"


def test_a_text_has_to_say_one_of_the_wanted_things():
    wanted = case("text", texts=("Paris", "Lutetia"))
    assert judge(wanted, [], "It is PARIS, of course.").outcome == "right"
    verdict = judge(wanted, [], "Rome")
    assert verdict.outcome == "wrong_text"
    assert verdict.problems == ("the answer does not say 'Paris' or 'Lutetia'",)
    assert judge(case("text"), [], "Anything.").outcome == "right"
    assert judge(case("text"), [], " \n").outcome == "wrong_text"


def test_json_has_to_fit_its_schema_and_be_one_of_the_values():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = case("json", schema=schema, values=({"n": 1}, {"n": 2, "why": "Two."}))
    for value, outcome in (
        ({"n": 1}, "right"),
        ({"n": 1.0}, "right"),
        ({"n": 2, "why": "two"}, "right"),
        ({"n": 3}, "wrong_text"),
        ({"n": 2}, "wrong_text"),
        ({"n": "1"}, "invalid"),
        ({}, "invalid"),
        ([1], "invalid"),
    ):
        assert judge(wanted, [], json.dumps(value)).outcome == outcome, value
    assert judge(wanted, [], "n is 1").outcome == "invalid"
    assert judge(wanted, [], "[" * 100_000).outcome == "invalid"
    assert judge(case("json"), [], "null").outcome == "right"


def test_where_there_is_no_answer_the_model_is_blamed_only_for_what_it_wrote():
    wanted = case("no_call")
    verdict = judge(wanted, [], "", "OutputError: the call can't be read.")
    assert verdict.outcome == "invalid"
    assert verdict.problems == ("OutputError: the call can't be read.",)
    assert judge(wanted, [], "", "BackendTimeout: too late.").outcome == "error"
