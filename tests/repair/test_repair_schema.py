"""With the schema known: which keys are expected tells where strings and objects end."""

from __future__ import annotations

from typing import Any

import pytest
from json_values import mended

from llmgate.repair import loads
from llmgate.repair.shapes import Shapes

CALL = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "code": {"type": "string"},
        "mode": {"enum": ["read", "write", 'say "x"']},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/range"}},
        "count": {"type": "integer"},
        "zip": {"type": "string"},
        "options": {"$ref": "#/$defs/options"},
    },
    "required": ["path"],
    "additionalProperties": False,
    "$defs": {
        "range": {"type": "object", "properties": {"from": {}, "to": {}}, "required": ["from"]},
        "options": {
            "type": "object",
            "properties": {"deep": {"type": "boolean"}, "note": {"type": "string"}},
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # a key that is not expected opens nothing, so the quote before it ends nothing
        (
            '{"path": "a", "code": "x = {"k", "v": 1}", "count": 2}',
            {"path": "a", "code": 'x = {"k", "v": 1}', "count": 2},
        ),
        (
            '{"code": "a", "b": c", "path": "p"}',
            {"code": 'a", "b": c', "path": "p"},
        ),
        (
            '{"code": "if (a == "}") { print("{"x": "y"}"); }", "path": "p"}',
            {"code": 'if (a == "}") { print("{"x": "y"}"); }', "path": "p"},
        ),
        ('{"mode": "say "x"", "path": "p"}', {"mode": 'say "x"', "path": "p"}),
        # objects whose end is missing or doubled
        (
            '{"options": {"deep": true, "path": "p", "count": 1}',
            {"options": {"deep": True}, "path": "p", "count": 1},
        ),
        (
            '{"path": "p", "options": {"deep": true}, "note": "n"}, "count": 1}',
            {"path": "p", "options": {"deep": True, "note": "n"}, "count": 1},
        ),
        (
            '{"lines": [{"from": 1, {"from": 2, "to": 3}, "path": "p"}',
            {"lines": [{"from": 1}, {"from": 2, "to": 3}], "path": "p"},
        ),
        # what a value without quotes is
        (
            '{"path": p/q, "zip": 007, "count": 007}',
            {"path": "p/q", "zip": "007", "count": 7},
        ),
        ('{"path": "p", "count": 1,000}', {"path": "p", "count": 1000}),
        ('{"path": "p", "options": "{"deep": true}"}', {"path": "p", "options": {"deep": True}}),
    ],
)
def test_the_schema_tells_what_was_meant(text: str, value: Any) -> None:
    found = mended(text, CALL)
    assert found.value == value


def test_of_several_objects_the_one_with_the_schemas_keys_is_the_value() -> None:
    text = '{"status": "OK", "message": null}\n{"path": "p", "count": 1}'
    assert loads(text).value == {"status": "OK", "message": None}
    found = mended(text, CALL)
    assert found.value == {"path": "p", "count": 1}
    assert len(found.values) == 2


def test_an_array_is_the_value_where_the_schema_asks_for_one() -> None:
    text = 'Use {"a": 1}: [{"b": 2,}]'
    assert mended(text, {"type": "array"}).value == [{"b": 2}]


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ('The answer is "yes".', {"type": "string"}, "yes"),
        ("The answer is 42.", {"type": "integer"}, 42),
        ("True", {"type": "boolean"}, True),
        ("'a'", {"type": "string"}, "a"),
        ('"say "hi" now"', {"type": "string"}, 'say "hi" now'),
    ],
)
def test_a_scalar_is_found_where_the_schema_asks_for_one(
    text: str, schema: Any, value: Any
) -> None:
    assert mended(text, schema).value == value


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"allOf": [{"$ref": "#"}, {"anyOf": [{"$ref": "#"}]}]},
        {"type": 5, "properties": [], "required": "a", "enum": {}, "items": 3},
        {"type": "object", "properties": {"a": False, "b": True}},
    ],
)
def test_no_schema_does_harm(schema: Any) -> None:
    assert loads('{"a": 1 "b": [{"c": "d "e" f"}]', schema=schema).value == {
        "a": 1,
        "b": [{"c": 'd "e" f'}],
    }


def test_shapes_join_what_references_and_combinations_say() -> None:
    shapes = Shapes(
        {
            "allOf": [{"$ref": "#/$defs/named"}, {"properties": {"b": {"type": "integer"}}}],
            "anyOf": [{"properties": {"c": {}}}, {"properties": {"d": {"const": "x"}}}],
            "required": ["b"],
            "unevaluatedProperties": False,
            "$defs": {"named": {"$anchor": "n", "properties": {"a": {}}, "required": ["a"]}},
        }
    )
    assert shapes.root is not None
    assert set(shapes.root.known) == {"a", "b", "c", "d"}
    assert shapes.root.required == {"a", "b"}
    assert shapes.root.closed
    b, d = shapes.member(shapes.root, "b"), shapes.member(shapes.root, "d")
    assert b is not None
    assert b.only("integer")
    assert d is not None
    assert d.texts == {"x"}
    assert shapes.member(shapes.root, "a") is None


def test_nothing_beside_a_reference_counts_in_old_drafts() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"a": {"type": "string", "$ref": "#/definitions/o"}},
        "definitions": {"o": {"type": "object", "properties": {"x": {}}}},
    }
    shapes = Shapes(schema)
    shape = shapes.member(shapes.root, "a")
    assert shape is not None
    assert shape.only("object")
