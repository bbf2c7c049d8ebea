"""Keyword by keyword: what a schema's grammar takes, what it refuses, what it leaves open."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import jsonschema_rs
import pytest
from grammar_walk import Walker

from llmgate.errors import GrammarError, Unsupported
from llmgate.grammar import Matcher, check, compile  # noqa: A004
from llmgate.grammar.schema.collect import collect
from llmgate.grammar.schema.document import Document
from llmgate.grammar.schema.facts import Facts

STYLES: list[dict[str, Any]] = [
    {},
    {"separators": (",", ":")},
    {"indent": 2},
    {"ensure_ascii": False},
    {"indent": 4, "ensure_ascii": False},
]

OBJECT = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "null"}},
}
TREE = {
    "$ref": "#/$defs/tree",
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "below": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            },
            "required": ["value"],
        }
    },
}
SHAPES = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}},
            "required": ["kind", "radius"],
        },
        {
            "type": "object",
            "properties": {"kind": {"const": "square"}, "side": {"type": "number"}},
            "required": ["kind", "side"],
        },
    ]
}

# Schema, values that its grammar takes in every style, values that it refuses.
EXACT: list[tuple[Any, list[Any], list[Any]]] = [
    (True, [None, 1, "x", [], {"a": [{}]}], []),
    ({}, [None, True, -1.5, "ü", [[]], {"": {}}], []),
    ({"type": "string"}, ["", 'q"\\/\b\f\n\r\t', "\x00\x1f\x7f\x80", "é€😀", "{}"], [1, None]),
    ({"type": "integer"}, [0, 7, -12, 10**19], [1.5, "1", True, None]),
    ({"type": "number"}, [0, -0.0, 1.5, 1e-7, 5e-324, 1e22, 1.5e300, 0.1 + 0.2], ["1", None]),
    ({"type": "boolean"}, [True, False], [0, "true", None]),
    ({"type": "null"}, [None], [0, "null", False]),
    ({"type": ["string", "null"]}, ["x", None], [1, []]),
    ({"type": ["integer", "number"]}, [1, 1.5], ["1"]),
    ({"type": "object"}, [{}, {"a": 1, "b": [{}]}], [[], 1]),
    ({"type": "array"}, [[], [1, "x", [{}]]], [{}, 1]),
    ({"type": "object", "properties": {}}, [{}, {"a": 1}], [[]]),
    ({"type": "object", "properties": {}, "additionalProperties": False}, [{}], [{"a": 1}]),
    (
        OBJECT,
        [{}, {"a": 1}, {"b": ""}, {"c": None}, {"a": 1, "c": None}, {"a": 1, "b": "", "c": None}],
        [{"a": "1"}, {"a": None}, {"b": "", "c": 1}],
    ),
    (
        {**OBJECT, "required": ["b"]},
        [{"b": ""}, {"a": 1, "b": ""}, {"b": "", "c": None}, {"a": 1, "b": "", "c": None}],
        [{}, {"a": 1}, {"a": 1, "c": None}],
    ),
    ({**OBJECT, "required": ["a", "c"]}, [{"a": 1, "c": None}], [{"a": 1}, {"c": None}]),
    (
        {**OBJECT, "required": ["z"]},
        [{"z": [1]}, {"a": 1, "z": {}}],
        [{}, {"a": 1}],
    ),
    ({"type": "object", "required": ["z"]}, [{"z": 1}, {"z": 1, "y": 2}], [{}, {"y": 1}]),
    ({**OBJECT, "additionalProperties": False}, [{"a": 1}], [{"d": 1}]),
    (
        {**OBJECT, "additionalProperties": {"type": "boolean"}},
        [{"d": True}, {"a": 1, "aa": True, "": False}, {"a": 1, "b": "", "c": None, "é": True}],
        [{"a": True}, {"d": 1}, {"d": True, "b": True}],
    ),
    (
        {"properties": {"né": {"type": "integer"}, 'q"': {}}, "additionalProperties": True},
        [{"né": 1, 'q"': 2}, {"n": 1, "nb": "x", "q": None}],
        [{"né": "x"}, {"n": 1, "né": "x"}],
    ),
    ({"additionalProperties": {"type": "integer"}}, [{}, {"a": 1, "b": 2}], [{"a": "x"}, []]),
    (
        {"type": "object", "additionalProperties": {}, "minProperties": 1, "maxProperties": 2},
        [{"a": 1}, {"a": 1, "b": 2}],
        [{}, {"a": 1, "b": 2, "c": 3}],
    ),
    ({**OBJECT, "minProperties": 1}, [{"a": 1}, {"c": None}], [{}]),
    ({**OBJECT, "minProperties": 3}, [{"a": 1, "b": "", "c": None}], [{}, {"a": 1}]),
    ({"type": "object", "maxProperties": 0}, [{}], [{"a": 1}]),
    ({"properties": {"a": {}, "b": False}}, [{"a": 1}, {}], [{"b": 1}]),
    # In closed objects: up to three properties in any order, more with the required ones first.
    (
        {**OBJECT, "additionalProperties": False, "required": ["c"]},
        [{"c": None}, {"c": None, "a": 1}, {"b": "", "c": None, "a": 1}],
        [{"a": 1}, {"c": None, "d": 1}, {"c": None, "b": 1}],
    ),
    (
        {"properties": {name: {"type": "null"} for name in "abcde"}, "required": ["d", "b"]},
        [
            {"b": None, "d": None},
            {"a": None, "b": None, "c": None, "d": None},
            {"d": None, "b": None, "a": None},
            {"x": 1, "d": None, "y": 2, "b": None, "z": 3},
        ],
        [{"d": None}, {"e": None, "d": None, "b": None}, {"d": 1, "b": None}],
    ),
    (
        {"type": "object", "patternProperties": {"^a": {"type": "null"}, "b$": {"enum": [1]}}},
        [{"a": None, "b": 1, "c": "x"}, {}],
        [{"a": 1}, {"b": None}, {"ab": None}, {"ab": 1}],
    ),
    (
        {"propertyNames": {"pattern": "^[a-c]{1,2}$"}, "additionalProperties": {"type": "null"}},
        [{}, {"a": None, "bc": None}],
        [{"d": None}, {"abc": None}, {"a": 1}],
    ),
    ({**OBJECT, "minProperties": 2}, [{"a": 1, "c": None}, {"a": 1, "z": 2}], [{}, {"a": 1}]),
    (
        {**OBJECT, "maxProperties": 1, "additionalProperties": False},
        [{}, {"a": 1}, {"c": None}],
        [{"a": 1, "c": None}],
    ),
    (
        {"type": "object", "dependentRequired": {"a": ["b"]}},
        [{}, {"b": 1}, {"a": 1, "b": 2}, {"c": 1}],
        [{"a": 1}, {"a": 1, "c": 2}],
    ),
    (
        {
            "type": "object",
            "properties": {"kind": {"enum": ["a", "b"]}, "size": {"type": "integer"}},
            "required": ["kind"],
            "if": {"properties": {"kind": {"const": "a"}}},
            "then": {"required": ["size"]},
            "else": {"not": {"required": ["size"]}},
        },
        [{"kind": "a", "size": 1}, {"kind": "b"}],
        [{"kind": "a"}, {"kind": "b", "size": 1}, {}],
    ),
    ({"type": "object", "not": {"required": ["a"]}}, [{}, {"b": 1}], [{"a": 1}]),
    ({"not": {"type": ["object", "array", "null"]}}, ["x", 1, 1.5, True], [{}, [], None]),
    ({"type": "integer", "not": {"enum": [3, 5]}}, [0, 4, 6, -3], [3, 5]),
    ({"type": "string", "not": {"pattern": "//"}}, ["a/b", ""], ["a//b"]),
    ({"type": "array", "not": {"const": [1]}}, [[], [2], [1, 1]], [[1]]),
    ({"type": "boolean", "not": {"const": True}}, [False], [True]),
    (
        {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 3}]},
        [1, -5, 3.5],
        [5, 2.5],
    ),
    (
        {
            "type": "object",
            "properties": {name: {"type": "number"} for name in ("radius", "length", "width")},
            "oneOf": [{"required": ["radius"]}, {"required": ["length", "width"]}],
        },
        [{"radius": 1}, {"length": 1, "width": 2}, {"radius": 1, "width": 2}],
        [{}, {"length": 1}, {"radius": 1, "length": 1, "width": 2}],
    ),
    (
        {"items": {"type": "integer"}, "contains": {"minimum": 5}, "maxContains": 1},
        [[5], [1, 7, 2]],
        [[], [1], [5, 6]],
    ),
    (
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True},
        [[], ["b", "a"], ["c", "a", "b"]],
        [["a", "a"], ["a", "b", "a"]],
    ),
    (
        {"items": {"enum": list(range(12))}, "maxItems": 2, "uniqueItems": True},
        [[], [3], [3, 11], [11, 3]],
        [[3, 3], [1, 2, 3], [12]],
    ),
    ({"type": "array", "maxItems": 1, "uniqueItems": True}, [[], [1]], [[1, 1]]),
    ({"type": "integer", "multipleOf": 5}, [0, 5, -15, 100], [3, 51]),
    ({"type": "integer", "multipleOf": 7, "minimum": 10}, [14, 70, 7000], [7, 15, 0]),
    ({"type": "number", "multipleOf": 0.01, "minimum": 0}, [0, 0.05, 12.3, 7], [0.001, -1]),
    ({"type": "number", "minimum": 0.5, "exclusiveMaximum": 2}, [0.5, 1.999, 1], [0.49, 2, 2.0]),
    (
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "number",
            "minimum": 1,
            "exclusiveMinimum": True,
            "maximum": 3,
        },
        [1.5, 3],
        [1, 1.0, 3.5],
    ),
    ({"type": "number", "maximum": -0.25}, [-0.25, -1, -100.5], [0, -0.2, 1]),
    (
        {"properties": {"ключ": {"type": "string"}, 'a"b\\': {"type": "null"}}},
        [{"ключ": "да"}, {'a"b\\': None}],
        [{"клю": "x"}],
    ),
    (
        {"type": "object", "patternProperties": {"^.*$": {"type": "integer"}}},
        [{}, {"x": 1}],
        [{"x": "1"}],
    ),
    ({"enum": ["a", "é", 1, 1.5, None, True]}, ["a", "é", 1, 1.5, None, True], ["b", 2, False]),
    ({"enum": [f"word-{n}" for n in range(40)]}, ["word-0", "word-39"], ["word-", "word-40", "w"]),
    ({"const": {"a": [1, {"b": "ü"}], "c": {}}}, [{"a": [1, {"b": "ü"}], "c": {}}], [{}, {"a": 1}]),
    ({"const": []}, [[]], [[1], {}]),
    ({"enum": ["a", 1, None], "type": ["string", "null"]}, ["a", None], [1]),
    ({"enum": ["a", "bcd"], "maxLength": 2}, ["a"], ["bcd"]),
    ({"enum": [1, 5, 9], "minimum": 5, "exclusiveMaximum": 9}, [5], [1, 9]),
    ({"type": "array", "items": {"type": "integer"}}, [[], [1], [1, 2, 3]], [["x"], [1, "x"]]),
    ({"items": {"type": "null"}, "minItems": 2}, [[None] * 2, [None] * 5], [[], [None]]),
    ({"items": {"type": "null"}, "maxItems": 2}, [[], [None] * 2], [[None] * 3]),
    ({"items": {"type": "null"}, "maxItems": 300}, [[], [None] * 300], [[None] * 301]),
    ({"items": {"type": "null"}, "minItems": 300}, [[None] * 300, [None] * 301], [[None] * 299]),
    ({"type": "array", "maxItems": 0}, [[]], [[1]]),
    ({"type": "array", "items": False}, [[]], [[1]]),
    (
        {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        [[], [1], [1, "x"]],
        [["x"], [1, 2], [1, "x", None]],
    ),
    (
        {"prefixItems": [{"type": "integer"}], "items": {"type": "null"}, "minItems": 1},
        [[1], [1, None, None]],
        [[], [1, 1]],
    ),
    (
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "items": [{"type": "integer"}, {}],
            "additionalItems": False,
            "minItems": 2,
        },
        [[1, "x"]],
        [[1], [1, 2, 3]],
    ),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "é😀", '"\n\t'], ["a", "abcd"]),
    ({"type": "string", "minLength": 300}, ["x" * 300, "x" * 400], ["x" * 299]),
    ({"type": "string", "maxLength": 1000}, ["", "x" * 1000], ["x" * 1001]),
    ({"type": "string", "minLength": 5, "maxLength": 5}, ["12345"], ["1234", "123456"]),
    ({"type": "integer", "minimum": 1, "maximum": 100}, [1, 9, 10, 99, 100], [0, 101, -5]),
    ({"type": "integer", "exclusiveMinimum": -3, "exclusiveMaximum": 3}, [-2, 0, 2], [-3, 3]),
    ({"type": "integer", "minimum": 0}, [0, 5, 10**15], [-1]),
    ({"type": "integer", "maximum": -7}, [-7, -8, -12345], [-6, 0, 7]),
    ({"type": "number", "minimum": 0, "maximum": 1}, [0, 0.5, 1, 1.0, 1e-7], [-0.1, 1.1, 2]),
    ({"type": "number", "exclusiveMinimum": 0}, [0.1, 3, 1e20], [0, -1, 0.0]),
    ({"type": "number", "minimum": -90, "maximum": 90}, [-90, -89.9, 0.0, 90.0], [-90.5, 91]),
    ({"type": "number", "multipleOf": 1}, [1, 2], [1.5]),
    ({"type": "string", "format": "date"}, ["2024-02-29", "1999-12-31"], ["2023-02-29", "x"]),
    ({"format": "date-time"}, ["2024-01-02T03:04:05Z"], ["2024-01-02", "2024-13-02T03:04:05Z"]),
    ({"format": "uuid"}, ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567"]),
    ({"format": "ipv4"}, ["127.0.0.1", "255.249.0.10"], ["256.0.0.1", "1.2.3"]),
    ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, [1, "x"], [None, 1.5]),
    ({"anyOf": [False, {"type": "integer"}]}, [1], ["x"]),
    (
        {**OBJECT, "anyOf": [{"required": ["a"]}, {"required": ["c"]}]},
        [{"a": 1}, {"c": None}, {"a": 1, "b": "", "c": None}],
        [{}, {"b": ""}],
    ),
    (SHAPES, [{"kind": "circle", "radius": 1.5}], [{"kind": "circle", "side": 1}, {}]),
    ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, [1, None], ["x"]),
    (
        {"allOf": [OBJECT, {"required": ["a"]}, {"properties": {"a": {"minimum": 5}}}]},
        [{"a": 5}, {"a": 77, "b": "x"}],
        [{}, {"a": 4}],
    ),
    ({"allOf": [{"type": ["integer", "null"]}, {"type": "number"}]}, [1], [None, 1.5]),
    (
        {"$ref": "#/definitions/x", "definitions": {"x": {"type": "integer"}}},
        [1],
        ["x"],
    ),
    (
        {"properties": {"a~/b": {"type": "null"}, "c": {"$ref": "#/properties/a~0%7E1b"}}},
        [{"c": None}],
        [{"c": 1}],
    ),
    (TREE, [{"value": 1}, {"value": 1, "below": [{"value": 2, "below": []}]}], [{}, {"below": []}]),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"$anchor": "n", "type": "null"}}}, [None], [1]),
    ({"items": {"$ref": "#n"}, "$defs": {"a": {"$anchor": "n", "type": "null"}}}, [[None]], [[1]]),
    # What refers to itself without anything in between adds nothing to its own meaning.
    ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, [None], [1]),
    # A property that could only be nested for ever is left out.
    (
        {
            "properties": {"a": {"$ref": "#/$defs/endless"}, "b": {"type": "null"}},
            "$defs": {
                "endless": {"properties": {"n": {"$ref": "#/$defs/endless"}}, "required": ["n"]}
            },
        },
        [{}, {"b": None}],
        [{"a": {"n": {}}}],
    ),
    (
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "properties": {"a": {"type": "string", "$ref": "#/definitions/n"}},
            "definitions": {"n": {"type": "null"}},
        },
        [{"a": None}],
        [{"a": "x"}],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "taken", "refused"), EXACT, ids=[str(n) for n in range(len(EXACT))]
)
def test_a_grammar_takes_and_refuses_the_right_values(
    schema: Any, taken: list[Any], refused: list[Any]
) -> None:
    grammar = compile(schema)
    assert grammar.exact, grammar.relaxed
    matcher = Matcher(grammar.text)
    validator = jsonschema_rs.validator_for(schema)
    for value in taken:
        assert validator.is_valid(value)
        for style in STYLES:
            assert matcher.matches(json.dumps(value, **style)), (value, style)
    for value in refused:
        assert not matcher.matches(json.dumps(value)), value


# Schema, the keyword that is left to the validator, a value that shows it.
RELAXED: list[tuple[dict[str, Any], str, Any]] = [
    ({"type": "string", "pattern": "^(a)\\1$"}, "pattern", "b"),
    ({"type": "integer", "multipleOf": 10007}, "multipleOf", 3),
    ({"type": "array", "uniqueItems": True}, "uniqueItems", [1, 1]),
    ({"not": {"type": "array", "uniqueItems": True}}, "not", [1]),
    ({"type": "object", "minProperties": 2}, "minProperties", None),
    ({"type": "object", "patternProperties": {"^(a)\\1": {}}}, "patternProperties", None),
    ({"type": "object", "propertyNames": {"pattern": "^(a)\\1"}}, "propertyNames", {"b": 1}),
    ({"type": "array", "minItems": 10**6}, "minItems", None),
]


@pytest.mark.parametrize(("schema", "keyword", "value"), RELAXED, ids=[k for _, k, _ in RELAXED])
def test_what_a_grammar_does_not_enforce_is_listed(schema: Any, keyword: str, value: Any) -> None:
    nested = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    grammar = compile(nested)
    assert not grammar.exact
    assert keyword in {entry.keyword for entry in grammar.relaxed}
    assert all(entry.path.startswith("#/properties/x") and entry.why for entry in grammar.relaxed)
    if value is not None:
        assert Matcher(grammar.text).matches(json.dumps({"x": value}))
        assert not jsonschema_rs.is_valid(nested, {"x": value}, validate_formats=True)


def test_what_concerns_other_types_is_not_listed() -> None:
    assert compile({"type": "integer", "pattern": "^a$", "uniqueItems": True}).exact


BROKEN: list[tuple[Any, str]] = [
    (False, "no value"),
    ([], "#: a schema must be"),
    (None, "#: a schema must be"),
    ("string", "#: a schema must be"),
    ({"type": 5}, "#/type"),
    ({"type": "strin"}, "Did you mean 'string'"),
    ({"type": []}, "#/type"),
    ({"properties": []}, "#/properties"),
    ({"properties": {"a": {"type": "str"}}}, "#/properties/a/type"),
    ({"properties": {"a": 5}}, "#/properties/a"),
    ({"items": 5}, "#/items"),
    ({"required": "a"}, "#/required"),
    ({"required": [1]}, "#/required"),
    ({"enum": "a"}, "#/enum"),
    ({"enum": []}, "no value"),
    ({"anyOf": []}, "#/anyOf"),
    ({"anyOf": [{"type": 5}]}, "#/anyOf/0/type"),
    ({"allOf": {}}, "#/allOf"),
    ({"minLength": -1}, "#/minLength"),
    ({"maxLength": "5"}, "#/maxLength"),
    ({"minimum": "5"}, "#/minimum"),
    ({"multipleOf": 0}, "#/multipleOf"),
    ({"pattern": 5}, "#/pattern"),
    ({"format": 5}, "#/format"),
    ({"$ref": 5}, "#/$ref"),
    ({"$ref": "#/$defs/no"}, "#/$ref"),
    ({"$ref": "#/$defs/no", "$defs": {"now": {}}}, "Did you mean 'now'"),
    ({"$ref": "#nowhere"}, "no anchor"),
    ({"$ref": "#"}, "no value"),
    (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        "no",
    ),
    ({"allOf": [{"$ref": "#"}]}, "no value"),
    ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "no value"),
    ({"type": "string", "minLength": 3, "maxLength": 2}, "no value"),
    ({"type": "integer", "minimum": 3, "maximum": 2}, "no value"),
    ({"type": "array", "items": False, "minItems": 1}, "no value"),
    ({"type": "object", "required": ["a"], "additionalProperties": False}, "no value"),
    ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "no value"),
    ({"allOf": [{"type": "string"}, {"type": "null"}]}, "no value"),
    ({"not": {}}, "no value"),
    ({"const": float("nan")}, "no JSON value"),
]


@pytest.mark.parametrize(("schema", "part"), BROKEN, ids=[str(n) for n in range(len(BROKEN))])
def test_what_is_no_schema_or_has_no_value_is_refused(schema: Any, part: str) -> None:
    with pytest.raises(GrammarError) as caught:
        compile(schema)
    assert part in str(caught.value)


def test_where_no_value_is_of_the_type_that_is_meant_others_are_taken() -> None:
    matcher = Matcher(compile({"properties": {"a": False}, "required": ["a"]}).text)
    assert matcher.matches('"x"')
    assert not matcher.matches('{"a": 1}')


def test_another_document_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="outside of this schema"):
        compile({"$ref": "https://example.com/schema.json"})


def test_a_reference_by_the_documents_own_identifier_is_followed() -> None:
    schema = {
        "$id": "https://example.com/s",
        "items": {"$ref": "https://example.com/s#/$defs/n"},
        "$defs": {"n": {"type": "null"}},
    }
    assert Matcher(compile(schema).text).matches("[null]")


@pytest.mark.parametrize("depth", [95, 120, 5_000])
def test_deep_nesting_ends_in_a_grammar_or_a_clear_error(depth: int) -> None:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    if depth < 100:
        assert Matcher(compile(schema).text).matches("[" * depth + "null" + "]" * depth)
    else:
        with pytest.raises(GrammarError, match="nested more than 100 deep"):
            compile(schema)


def test_schemas_that_hold_together_through_many_levels_are_no_traceback_either() -> None:
    deep: dict[str, Any] = {"type": "null"}
    for _ in range(20_000):
        deep = {"allOf": [deep]}
    with pytest.raises(GrammarError, match="nested"):
        compile(deep)


def test_many_optional_properties_make_a_grammar_of_linear_size() -> None:
    def size(count: int) -> int:
        properties = {f"property-{n:03}": {"type": "integer"} for n in range(count)}
        grammar = compile({"type": "object", "properties": properties})
        check(grammar.text)
        return len(grammar.text)

    assert size(200) < 2.2 * size(100)


def test_choices_inside_choices_do_not_multiply_without_end() -> None:
    choice = [{"properties": {f"p{n}": {"const": n}}} for n in range(10)]
    schema = {"type": "object", "allOf": [{"anyOf": choice} for _ in range(5)]}
    many = {**schema, "allOf": [{"anyOf": json.loads(json.dumps(choice))} for _ in range(5)]}
    grammar = compile(many)
    check(grammar.text)
    assert {entry.keyword for entry in grammar.relaxed} == {"anyOf"}


def test_equal_parts_share_a_rule() -> None:
    part = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"enum": [1, 2]}}}
    schema = {"properties": {name: json.loads(json.dumps(part)) for name in "abcdef"}}
    assert compile(schema).text.count('\\"x\\"') == compile({"properties": {"a": part}}).text.count(
        '\\"x\\"'
    )


def test_blanks_are_bounded_and_stand_only_where_json_dumps_writes_them() -> None:
    schema = {"properties": {"a": {"type": "integer"}}, "required": ["a"]}
    matcher = Matcher(compile({**schema, "additionalProperties": False}).text)
    assert matcher.matches('{"a": 1}')
    assert matcher.matches('{\n\t"a":1\n}')
    for text in ('{"a" : 1}', '{  "a": 1}', '{"a":  1}', '{\n\n"a": 1}', '{"a": 1} ', "\n{}"):
        assert not matcher.matches(text), text


def test_numbers_have_one_plain_form() -> None:
    integer, number = (
        Matcher(compile({"type": "integer"}).text),
        Matcher(compile({"type": "number"}).text),
    )
    for text in ("01", "+1", "-", "--1", "1" * 30, "1.0", "0x1", "-0"):
        assert not integer.matches(text), text
    for text in ("01.5", ".5", "1.", "1e", "1e999", "NaN", "Infinity", "1." + "1" * 60):
        assert not number.matches(text), text


def test_a_lone_surrogate_is_no_character() -> None:
    matcher = Matcher(compile({"type": "string"}).text)
    assert matcher.matches('"\\ud83d\\ude00"')
    assert not matcher.matches('"\\ud83d"')
    assert not matcher.matches('"\\ude00"')


def test_the_first_rule_takes_the_name_it_is_given() -> None:
    assert compile({"type": "null"}, name="answer").text.startswith("answer ::= ")
    for name in ("string", "", "a_b", "1st"):
        with pytest.raises(ValueError, match="first rule"):
            compile({}, name=name)


@pytest.mark.parametrize("name", ["date", "time", "date-time", "uuid", "ipv4"])
def test_what_the_grammar_of_a_format_writes_has_that_format(name: str) -> None:
    schema = {"type": "string", "format": name}
    walker, random = Walker(compile(schema).text), Random(1)
    for _ in range(300):
        written = json.loads(walker.walk(random))
        assert jsonschema_rs.is_valid(schema, written, validate_formats=True), written


def test_a_copy_of_facts_has_all_that_they_have() -> None:
    facts = Facts("#")
    schema = {"type": "object", "properties": {"a": {}}, "required": ["a"], "anyOf": [{}, {}]}
    collect(facts, (schema, "#"), Document(schema, "#"))
    copy = facts.copy()
    for name in Facts.__slots__:
        assert getattr(copy, name) == getattr(facts, name), name
    copy.required["b"] = None
    copy.groups.clear()
    assert list(facts.required) == ["a"]
    assert len(facts.groups) == 1


CHAIN = {
    "properties": {"kind": {"enum": ["a", "b", "c"]}},
    "required": ["kind"],
    "allOf": [
        {"if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["x"]}},
        {
            "if": {"properties": {"kind": {"const": "b"}}},
            "then": {"properties": {"x": {"type": "integer"}}},
            "else": {"properties": {"y": {"type": "string"}}},
        },
    ],
}


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ({"kind": "a", "y": "text", "x": "any"}, True),
        ({"kind": "a", "y": "text"}, False),
        ({"kind": "a", "x": 1, "y": 2}, False),
        ({"kind": "b", "x": 1, "y": 2}, True),
        ({"kind": "b", "x": "text"}, False),
        ({"kind": "c", "x": "text", "y": "text"}, True),
        ({"kind": "c", "y": 2}, False),
    ],
)
def test_conditions_on_one_property_settle_each_other(value: Any, right: bool) -> None:
    grammar = compile(CHAIN)
    assert grammar.exact
    assert Matcher(grammar.text).matches(json.dumps(value)) == right
