"""The rules by which calls are compared with the right ones."""

from __future__ import annotations

import json

import pytest

from llmgate.bench.cases import ExpectedCall
from llmgate.bench.result import Call
from llmgate.bench.rules import call_problems, check_calls, is_same, standard
from llmgate.types import Tool


def tool(name="f", required=(), **properties):
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name, "", schema)


def called(name="f", **arguments):
    return Call(name, json.dumps(arguments))


def outcome(answers, value, **schema):
    """What a call with one argument is worth."""
    expected = ExpectedCall("f", {"x": answers})
    return check_calls([expected], [tool(x=schema)], [called(x=value)]).outcome


@pytest.mark.parametrize(
    ("answers", "value", "schema"),
    [
        (["New York"], "new york", {"type": "string"}),
        (["New York, NY"], "NewYork NY", {"type": "string"}),
        (["2024-05-01"], "2024/05/01", {"type": "string"}),
        (['say "x"'], "say 'x'", {"type": "string"}),
        (["a", "b"], "b", {"type": "string"}),
        ([5.0], 5, {"type": "number"}),
        ([5], 5.0, {"type": "number"}),
        ([5], 5, {"type": "integer"}),
        (["n"], "n", {"type": "integer"}),  # a variable in the place of a value
        ([True], True, {"type": "boolean"}),
        ([None], None, {"type": ["string", "null"]}),
        ([["a", "B c"]], ["A", "bc"], {"type": "array", "items": {"type": "string"}}),
        ([[1.0, 2.5]], [1, 2.5], {"type": "array", "items": {"type": "number"}}),
        ([[[1, 2], [3]]], [[1, 2], [3]], {"type": "array"}),
        ([{"a": [1, 2], "b": ["x", ""]}], {"a": 2}, {"type": "object"}),
        ([{"a": [1], "b": ["x", ""]}], {"b": "X", "a": 1}, {"type": "object"}),
        ([[{"a": [1]}, {"a": [2]}]], [{"a": 1}, {"a": 2}], {"type": "array"}),
        ([{"a": [{"b": ["x"]}]}], {"a": {"b": "x"}}, {"type": "object"}),
        ([{"a": [{"b": "x"}]}], {"a": {"b": "x"}}, {"type": "object"}),
        ([{"a": 1}], {"a": 1}, {"type": "object"}),
        ([""], "", {"type": "string"}),
        (["x"], "x", {}),
        ([7], 7, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    ],
)
def test_what_counts_as_the_right_value(answers, value, schema):
    assert outcome(answers, value, **schema) == "right"


@pytest.mark.parametrize(
    ("answers", "value", "schema"),
    [
        (["New York"], "York", {"type": "string"}),
        (["a"], ["a"], {"type": "string"}),
        (["5"], 5, {"type": "string"}),
        ([5], "5", {"type": "integer"}),
        ([5], 5.0, {"type": "integer"}),
        ([5], 5.0, {"type": ["integer", "null"]}),
        ([1], True, {"type": "integer"}),
        ([True], 1, {"type": "boolean"}),
        ([0], False, {}),
        ([1.0], True, {"type": "number"}),
        ([None], False, {}),
        ([["a", "b"]], ["b", "a"], {"type": "array", "items": {"type": "string"}}),
        ([["a", "b"]], ["a"], {"type": "array"}),
        ([[1, 2]], [1.0, 2.0], {"type": "array", "items": {"type": "integer"}}),
        ([[1]], [True], {"type": "array", "items": {"type": "integer"}}),
        ([[1]], ["1"], {"type": "array", "items": {"type": "integer"}}),
        ([{"a": [1]}], {"a": 1, "b": 2}, {"type": "object"}),
        ([{"a": [1], "b": [2]}], {"a": 1}, {"type": "object"}),
        ([{"a": [1]}], {"a": True}, {"type": "object"}),
        ([{"a": [1]}], [1], {"type": "object"}),
        ([[{"a": [1]}]], [{"a": 1}, {"a": 1}], {"type": "array"}),
        (["", 3], None, {"type": "integer"}),
    ],
)
def test_what_counts_as_a_wrong_value(answers, value, schema):
    assert outcome(answers, value, **schema) == "wrong_arguments"


def test_an_argument_may_be_missing_where_the_answers_say_so_and_the_schema_does():
    optional = ExpectedCall("f", {"x": [1], "y": ["", 2]})
    free = tool(x={"type": "integer"}, y={"type": "integer"})
    assert check_calls([optional], [free], [called(x=1)]).outcome == "right"
    assert check_calls([optional], [free], [called(x=1, y=2)]).outcome == "right"
    verdict = check_calls([optional], [free], [called(y=2)])
    assert verdict.problems == ("f: the argument 'x' is missing",)
    needed = tool(required=["y"], x={"type": "integer"}, y={"type": "integer"})
    verdict = check_calls([optional], [needed], [called(x=1)])
    assert verdict.problems == ("f: the argument 'y' is missing",)


def test_an_argument_without_right_values_should_not_be_there():
    expected = ExpectedCall("f", {"x": [1]})
    known = tool(x={"type": "integer"}, y={"type": "integer"})
    verdict = check_calls([expected], [known], [called(x=1, y=2)])
    assert verdict.problems == ("f: there should be no argument 'y'",)
    assert call_problems(expected, "f", {"x": 1}, {}) == []


def test_calls_are_paired_in_any_order_and_in_the_best_way():
    wide, narrow = ExpectedCall("f", {"x": [1, 2]}), ExpectedCall("f", {"x": [1]})
    one, two = called(x=1), called(x=2)
    tools = [tool(x={"type": "integer"})]
    for expected in ([wide, narrow], [narrow, wide]):
        for calls in ([one, two], [two, one]):
            assert check_calls(expected, tools, calls).outcome == "right"
        assert check_calls(expected, tools, [two, two]).outcome == "wrong_arguments"


def test_an_order_counts_where_it_is_asked_for():
    expected = [ExpectedCall("f", {"x": [1]}), ExpectedCall("f", {"x": [2]})]
    tools = [tool(x={"type": "integer"})]
    calls = [called(x=2), called(x=1)]
    assert check_calls(expected, tools, calls).outcome == "right"
    verdict = check_calls(expected, tools, calls, ordered=True)
    assert verdict.outcome == "wrong_arguments"
    assert check_calls(expected, tools, calls[::-1], ordered=True).outcome == "right"


def test_what_is_wrong_with_several_calls_is_told_apart():
    expected = [ExpectedCall("f", {"x": [1]}), ExpectedCall("g")]
    tools = [tool("f", x={"type": "integer"}), tool("g"), tool("h")]
    f, g, h = called("f", x=1), called("g"), called("h")
    for calls, wanted, problem in (
        ([f, g], "right", None),
        ([f], "missing_call", "'g' was not called"),
        ([h], "missing_call", "'h' should not be called"),
        ([f, g, h], "unwanted_call", "'h' should not be called"),
        ([f, h], "wrong_function", "'g' was not called"),
        ([called("f", x=2), g], "wrong_arguments", "f: 'x' is 2, right would be 1"),
        ([called("f", x="a"), g], "wrong_arguments", "f: 'x' has to be integer, not \"a\""),
        ([], "missing_call", "'f' was not called"),
    ):
        verdict = check_calls(expected, tools, calls)
        assert verdict.outcome == wanted
        assert problem is None or problem in verdict.problems


@pytest.mark.parametrize("written", ["{", "[1]", "5", '"x"', "{'x': 1}", "[" * 100_000])
def test_arguments_that_can_not_be_read_are_invalid(written):
    expected = ExpectedCall("f", {"x": [1]})
    verdict = check_calls([expected], [tool(x={})], [Call("f", written)])
    assert verdict.outcome == "invalid"
    assert verdict.problems[0].startswith("f: the arguments are no JSON")


def test_no_arguments_at_all_are_an_empty_object():
    assert check_calls([ExpectedCall("f")], [tool()], [Call("f", "")]).outcome == "right"


def test_a_problem_with_a_long_value_is_told_in_short():
    expected = ExpectedCall("f", {"x": ["a" * 1000]})
    [problem] = check_calls([expected], [tool(x={})], [called(x="b" * 1000)]).problems
    assert len(problem) < 320


def test_texts_are_compared_without_what_does_not_count():
    assert standard("It's 5.30 - at A/B_C*D^E!") == 'it"s530atabcde!'
    assert is_same("ß", "ß")
    assert not is_same("a", "b")
