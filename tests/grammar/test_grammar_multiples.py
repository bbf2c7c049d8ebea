"""Multiples of numbers that are no multiples of others, held against arithmetic."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from llmgate.grammar import Matcher, compile  # noqa: A004


def _schema(multiples: list[float], others: list[float], **more: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"multipleOf": one} for one in multiples]
    parts += [{"not": {"multipleOf": one}} for one in others]
    return {"allOf": parts, **more}


@pytest.mark.parametrize(
    ("multiples", "others", "least"),
    [
        ([10], [20], None),
        ([10], [20, 30], None),
        ([10, 2.5], [20, 30], 15),
        ([10, 7], [20], None),
        ([100], [3], -500),
        ([20], [8], None),
        ([10], [4, 25], None),
        ([11], [], 100),
        ([], [11, 11], None),
        ([3], [2, 5], -40),
        ([6], [4, 9], None),
    ],
)
def test_integers_are_multiples_of_all_that_they_must_be_and_of_nothing_else(
    multiples: list[float], others: list[float], least: int | None
) -> None:
    bound = {} if least is None else {"minimum": least}
    grammar = compile(_schema(multiples, others, type="integer", **bound))
    assert not grammar.relaxed
    matcher = Matcher(grammar.text)
    for number in (*range(-1_300, 1_301), 4_620_000, 9_999_990, 46_200):
        right = all(number % one == 0 for one in multiples)
        right = right and all(number % one for one in others)
        right = right and (least is None or number >= least)
        assert matcher.matches(str(number)) == right, number


@pytest.mark.parametrize(("multiples", "others"), [([2.5], [5]), ([0.5], [0.2]), ([0.25], [1])])
def test_decimals_too(multiples: list[float], others: list[float]) -> None:
    grammar = compile(_schema(multiples, others, type="number", minimum=0))
    assert not grammar.relaxed
    matcher = Matcher(grammar.text)
    for hundredths in range(2_100):
        number = Decimal(hundredths) / 100
        right = all(number % Decimal(str(one)) == 0 for one in multiples)
        right = right and all(number % Decimal(str(one)) for one in others)
        assert matcher.matches(json.dumps(hundredths / 100)) == right, number


def test_no_number_is_a_multiple_of_something_and_not_of_its_divisor() -> None:
    schema = {
        "properties": {"a": _schema([22], [11], type="integer"), "b": {"type": "null"}},
        "additionalProperties": False,
    }
    matcher = Matcher(compile(schema).text)
    assert matcher.matches('{"b": null}')
    assert not any(matcher.matches(f'{{"a": {number}}}') for number in range(100))


def test_intervals_share_the_rules_for_their_digits() -> None:
    one = {"type": "integer", "multipleOf": 7, "minimum": 10}
    other = {"type": "integer", "multipleOf": 7, "minimum": 50}
    both = {"properties": {"a": one, "b": other}, "additionalProperties": False}
    alone = len(compile(one).text)
    assert len(compile(both).text) < 1.5 * alone
