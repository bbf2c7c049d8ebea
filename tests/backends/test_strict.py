"""JSON Schemas in the strict subset: what it allows, the client's own schema allows too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_servers.chat import beyond

from llmgate.backends.strict import strict
from llmgate.validation import Checker

NAME = {"type": "string", "description": "x"}


def test_what_may_be_left_out_may_be_null_instead():
    schema = {
        "type": "object",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"name": NAME, "age": {"type": "integer", "default": 3}},
        "required": ["name"],
    }
    assert strict(schema) == {
        "type": "object",
        "properties": {
            "name": NAME,
            "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    }


def test_inner_objects_and_definitions_are_narrowed_too():
    schema = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": {"$ref": "#/$defs/one"}},
            "either": {"anyOf": [{"$ref": "#/$defs/one"}, {"type": "null"}]},
        },
        "required": ["list", "either"],
        "$defs": {"one": {"type": "object", "properties": {"x": NAME}, "required": []}},
    }
    narrowed = strict(schema)
    assert beyond(narrowed) is None
    assert narrowed["$defs"]["one"]["required"] == ["x"]
    assert beyond(schema) is not None


def holding(part):
    return {"type": "object", "properties": {"x": part}, "required": ["x"]}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "array", "items": NAME},
        {"anyOf": [holding(NAME)]},
        {"type": "object"},
        {"type": "object", "properties": {}, "additionalProperties": NAME},
        {**holding(NAME), "additionalProperties": True},
        {**holding(NAME), "required": ["x", "y"]},
        holding({"type": "object"}),
        holding({"type": "array"}),
        holding({"oneOf": [NAME]}),
        holding({"allOf": [NAME]}),
        holding({"type": "string", "format": "uri"}),
        holding({"type": "string", "minLength": 3}),
        holding({}),
        holding(True),
        holding({"properties": {"x": NAME}}),
    ],
    ids=str,
)
def test_what_the_subset_has_no_words_for(schema):
    assert strict(schema) is None


LEAF = st.sampled_from(
    [NAME, {"type": "integer"}, {"type": ["string", "null"]}, {"enum": ["a", 1, None]}]
)


@st.composite
def objects(draw, parts):
    properties = draw(st.dictionaries(st.sampled_from("abcd"), parts, min_size=1))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
    return {"type": "object", "properties": properties, "required": required}


SCHEMA = objects(
    st.recursive(
        LEAF,
        lambda part: (
            st.builds(lambda items: {"type": "array", "items": items}, part) | objects(part)
        ),
        max_leaves=8,
    )
)


def value_of(schema, draw):
    """Some value that a schema of the subset allows."""
    if "anyOf" in schema:
        return value_of(draw(st.sampled_from(schema["anyOf"])), draw)
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    kind = schema["type"]
    kind = draw(st.sampled_from(kind)) if isinstance(kind, list) else kind
    if kind == "object":
        return {name: value_of(part, draw) for name, part in schema["properties"].items()}
    if kind == "array":
        return [value_of(schema["items"], draw) for _ in range(draw(st.integers(0, 2)))]
    return {"string": "text", "integer": 5, "null": None}[kind]


@given(SCHEMA, st.data())
def test_an_answer_in_the_subset_is_valid_once_its_nulls_are_dropped(schema, data):
    narrowed = strict(schema)
    assert beyond(narrowed) is None
    value = value_of(narrowed, data.draw)
    assert Checker.of(narrowed).problems(value) == []
    own = Checker.of(schema)
    settled, _ = own.coerce(value)
    assert own.problems(settled) == []
