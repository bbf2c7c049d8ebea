"""One closing bracket too few or too many, with the schema known: where it fits is where it was."""

from __future__ import annotations

from typing import Any

import pytest
from json_values import mended

from llmgate.repair import brackets
from llmgate.repair.shapes import Shapes

NAMED = {
    "type": "object",
    "properties": {
        "owner": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "uri": {"type": "string"}},
            "required": ["name", "uri"],
        },
        "uri": {"type": "string"},
        "limits": {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {"^max_": {"type": "integer"}},
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "tags": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        "sensors": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"value": {"type": "number"}},
                "additionalProperties": False,
            },
        },
    },
    "required": ["uri"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # a key that both objects may have, and the outer one must
        (
            '{"owner": {"name": "n", "uri": "a", "uri": "b"}',
            {"owner": {"name": "n", "uri": "a"}, "uri": "b"},
        ),
        # keys that any name may have, with other values
        (
            '{"uri": "u", "limits": {"max_a": 1, "labels": {"x": "y"}}',
            {"uri": "u", "limits": {"max_a": 1}, "labels": {"x": "y"}},
        ),
        (
            '{"labels": {"a": "b", "limits": {"max_b": 2}, "uri": "u"}',
            {"labels": {"a": "b"}, "limits": {"max_b": 2}, "uri": "u"},
        ),
        (
            'Here: {"uri": "u", "tags": [["a"], ["b", ["c"]]}',
            {"uri": "u", "tags": [["a"], ["b"], ["c"]]},
        ),
        # an object that closes too early
        (
            '{"uri": "u", "sensors": {"a": {"value": 1}}, "b": {"value": 2}}}',
            {"uri": "u", "sensors": {"a": {"value": 1}, "b": {"value": 2}}},
        ),
    ],
)
def test_the_place_is_the_one_that_makes_the_value_fit(text: str, value: Any) -> None:
    found = mended(text, NAMED)
    assert found.value == value
    assert not found.truncated


def test_what_stands_around_is_reported_too() -> None:
    text = 'Here: {"uri": "u", "limits": {"max_a": 1, "labels": {}}. Bye</s>'
    found = mended(text, NAMED)
    assert found.value == {"uri": "u", "limits": {"max_a": 1}, "labels": {}}
    assert [edit.rule for edit in found.edits] == ["around", "closer", "around", "token"]


def test_a_cut_text_that_fits_as_far_as_it_goes_is_just_cut() -> None:
    found = mended('{"uri": "u", "labels": {"a": "b"}', NAMED)
    assert found.value == {"uri": "u", "labels": {"a": "b"}}
    assert found.truncated


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ('{"a": {"x": 1, "y": 2, "z": 3}', {"required": ["a"]}),  # several fit
        ('{"a": {"x": 1, "y": 2}', {"required": ["none"]}),  # none does
        ('{"a": [1, 2}', {"type": "string"}),
        ("[" * 100_000 + "]" * 99_999, {"type": "array"}),
        ("{}", {}),
        ("no brackets", {}),
    ],
)
def test_where_several_values_fit_or_none_nothing_is_said(text: str, schema: Any) -> None:
    assert brackets.read(text, Shapes(schema)) is None


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (1, {"type": "number"}, True),
        (1.0, {"type": "integer"}, True),
        (1.5, {"type": "integer"}, False),
        (True, {"type": "integer"}, False),
        (None, {"type": ["string", "null"]}, True),
        ("a", {"enum": ["a", 1]}, True),
        ("b", {"enum": ["a", 1]}, False),
        ({"a": 1}, {"properties": {"a": {"type": "string"}}}, False),
        ({"a": "x"}, {"properties": {"a": {"const": "y"}}}, False),
        ({"a": 1}, {"additionalProperties": False}, False),
        ({"a": 1}, {"additionalProperties": {}}, True),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}, False),
        # a pattern is not run: any of them may be meant
        (
            {"a": 1},
            {"patternProperties": {"^b": {"type": "null"}}, "additionalProperties": False},
            False,
        ),
        ({"a": 1}, {"patternProperties": {"^b": {"type": "null"}}}, True),
        (
            {"a": 1},
            {"patternProperties": {"b": {"type": "null"}, "a": {}}, "additionalProperties": False},
            True,
        ),
        ([1, "x"], {"items": {"type": "integer"}}, False),
        ([1, "x"], {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}}, True),
        ({"a": {}}, {"$ref": "#/$defs/o", "$defs": {"o": {"required": ["b"]}}}, False),
        ({"a": 1}, {"anyOf": [{"required": ["b"]}, {"required": ["a"]}]}, True),
    ],
)
def test_what_speaks_against_a_value(value: Any, schema: Any, fits: bool) -> None:
    assert brackets.fits(value, Shapes(schema)) is fits
