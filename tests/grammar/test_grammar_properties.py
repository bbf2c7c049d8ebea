"""Laws: valid values are taken however they are written, and random answers are valid."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import jsonschema_rs
from grammar_walk import Walker
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgate.grammar import Matcher, check, compile, compile_calls  # noqa: A004
from llmgate.styles import STYLES as CALL_STYLES
from llmgate.types import Tool

STYLES: list[dict[str, Any]] = [{}, {"separators": (",", ":")}, {"indent": 2}]
Pair = tuple[Any, Any]

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300),
    text,
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
)


@st.composite
def strings(draw: st.DrawFn) -> Pair:
    value = draw(text)
    schema: dict[str, Any] = {"type": "string"}
    if draw(st.booleans()):
        schema["minLength"] = draw(st.integers(0, len(value)))
    if draw(st.booleans()):
        schema["maxLength"] = draw(st.integers(len(value), len(value) + 300))
    return schema, value


@st.composite
def whole(draw: st.DrawFn) -> Pair:
    value = draw(st.integers(-(10**6), 10**6))
    schema: dict[str, Any] = {"type": "integer"}
    if draw(st.booleans()):
        schema["minimum"] = value - draw(st.integers(0, 10**7))
    if draw(st.booleans()):
        schema["exclusiveMaximum"] = value + draw(st.integers(1, 10**7))
    return schema, value


@st.composite
def decimal(draw: st.DrawFn) -> Pair:
    value = draw(st.integers(-(10**9), 10**9)) / 1000
    schema: dict[str, Any] = {"type": "number"}
    if draw(st.booleans()):
        schema["minimum"] = int(value) - draw(st.integers(1, 1000))
    if draw(st.booleans()):
        schema["exclusiveMaximum"] = int(value) + draw(st.integers(1, 1000))
    if -1 < value < 1 and value != 0:
        value = round(value, 2)
    return schema, value


@st.composite
def fixed(draw: st.DrawFn) -> Pair:
    value = draw(values)
    if draw(st.booleans()):
        return {"const": value}, value
    others = draw(st.lists(values, max_size=20))
    return {"enum": draw(st.permutations([value, *others]))}, value


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Pair]) -> Pair:
    properties, value, required = {}, {}, []
    for name in draw(st.lists(text, max_size=4, unique=True)):
        properties[name], one = draw(inner)
        if draw(st.booleans()):
            value[name] = one
            if draw(st.booleans()):
                required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if draw(st.booleans()):
        schema["required"] = draw(st.permutations(required))
    kind = draw(st.sampled_from(["absent", "none", "any", "some"]))
    if kind == "none":
        schema["additionalProperties"] = False
    elif kind != "absent":
        # Beside names that need escapes, further keys may use fewer escapes than JSON allows.
        plain = all(name.isascii() and name.isprintable() for name in properties)
        schema["additionalProperties"], one = draw(inner) if kind == "some" else (True, 1)
        name = draw(text)
        if name not in properties and plain:
            value[name] = one
    return schema, value


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[Pair]) -> Pair:
    schema: dict[str, Any] = {"type": "array"}
    head = draw(st.lists(inner, max_size=2))
    items, one = draw(inner)
    count = draw(st.integers(0, 3))
    value = [part for _, part in head] + [one] * count
    schema["items"] = items
    if head:
        schema["prefixItems"] = [part for part, _ in head]
    if draw(st.booleans()):
        schema["minItems"] = draw(st.integers(0, len(value)))
    if draw(st.booleans()):
        schema["maxItems"] = draw(st.integers(len(value), len(value) + 200))
    return schema, value


@st.composite
def choices(draw: st.DrawFn, inner: st.SearchStrategy[Pair]) -> Pair:
    ways = draw(st.lists(inner, min_size=1, max_size=3))
    schemas = [schema for schema, _ in ways]
    return {"anyOf": schemas}, draw(st.sampled_from([value for _, value in ways]))


@st.composite
def shared(draw: st.DrawFn, inner: st.SearchStrategy[Pair]) -> Pair:
    schema, value = draw(inner)
    return {
        "type": "array",
        "items": {"$ref": "#/$defs/one/properties/it"},
        "$defs": {"one": {"properties": {"it": schema}}},
    }, [value, value]


leaves = st.one_of(strings(), whole(), decimal(), fixed(), values.map(lambda value: (True, value)))
nested = st.recursive(
    leaves, lambda inner: st.one_of(objects(inner), arrays(inner), choices(inner)), max_leaves=6
)
pairs = st.one_of(nested, shared(nested), objects(nested))


@settings(max_examples=250, deadline=None)
@given(pairs)
def test_a_valid_value_is_taken_in_every_style(pair: Pair) -> None:
    schema, value = pair
    assert jsonschema_rs.is_valid(schema, value)
    matcher = Matcher(compile(schema).text)
    for style in STYLES:
        for ascii_only in (True, False):
            answer = json.dumps(value, ensure_ascii=ascii_only, **style)
            assert matcher.matches(answer), answer


@settings(max_examples=250, deadline=None)
@given(pairs, st.integers(0, 2**32))
def test_what_an_exact_grammar_writes_is_valid(pair: Pair, seed: int) -> None:
    schema, _ = pair
    grammar = compile(schema)
    check(grammar.text)
    assert grammar.exact
    validator = jsonschema_rs.validator_for(schema)
    walker, matcher, random = Walker(grammar.text), Matcher(grammar.text), Random(seed)
    for _ in range(5):
        answer = walker.walk(random)
        assert matcher.matches(answer)
        assert validator.is_valid(json.loads(answer)), answer


@settings(max_examples=100, deadline=None)
@given(
    st.lists(objects(nested), min_size=1, max_size=3),
    st.sampled_from(["off", "inside", "beside"]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_a_required_call_is_valid_whatever_the_model_does(
    drawn: list[Pair], thoughts: Any, parallel: bool, seed: int
) -> None:
    tools = [Tool(f"tool-{n}", "", schema) for n, (schema, _) in enumerate(drawn)]
    grammar = compile_calls(
        tools, CALL_STYLES["json"], thoughts=thoughts, required=True, parallel=parallel
    )
    assert grammar.exact
    walker, random = Walker(grammar.text, 200), Random(seed)
    for _ in range(3):
        rest = walker.walk(random).strip()
        decoder, calls = json.JSONDecoder(), 0
        while rest:
            call, end = decoder.raw_decode(rest)
            rest = rest[end:].lstrip()
            calls += 1
            arguments = call["params"]
            if thoughts == "beside":
                assert isinstance(call["inner_thoughts"], str)
            if thoughts == "inside":
                assert isinstance(arguments.pop("inner_thoughts"), str)
            tool = next(tool for tool in tools if tool.name == call["function"])
            assert jsonschema_rs.is_valid(tool.parameters, arguments)
        assert calls == 1 or (parallel and 1 <= calls <= 16)
