"""`llmgate.validation`: schemas that can't be used, problems in words, and coercion."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgate.errors import RequestError
from llmgate.validation import Checker, coerce

INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
STRING = {"type": "string"}
BOOLEAN = {"type": "boolean"}
NULL = {"type": "null"}
DRAFT4 = "http://json-schema.org/draft-04/schema#"


def obj(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


def arr(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def of(key: str, schema: Any) -> dict[str, Any]:
    return obj({key: schema})


def doubling(levels: int) -> dict[str, Any]:
    """A schema of which each definition names the next one twice."""
    defs: dict[str, Any] = {
        f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)
    }
    return {"$defs": {**defs, f"a{levels}": INTEGER}, "$ref": "#/$defs/a0"}


def nested(levels: int, key: str | None = None) -> Any:
    value: Any = {} if key else []
    for _ in range(levels):
        value = {key: value} if key else [value]
    return value


def circular() -> dict[str, Any]:
    schema: dict[str, Any] = {}
    schema["not"] = schema
    return schema


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (5, ["not a JSON Schema but 5"]),
        (None, ["not a JSON Schema but null"]),
        ([1], ["not a JSON Schema but [1]"]),
        ("{}", ['not a JSON Schema but "{}"']),
        ({"type": "objekt"}, ["at type", '"objekt"']),
        (of("a", {"type": "strng"}), ["at properties.a.type", '"strng"']),
        (of("a b", {"minimum": "x"}), ['at properties["a b"].minimum']),
        ({"$ref": "#/$defs/x"}, ["/$defs/x", "does not exist"]),
        ({"$ref": "http://127.0.0.1:9/x.json"}, ["never fetched", "$defs"]),
        ({"$ref": "file:///etc/passwd"}, ["never fetched"]),
        ({"$schema": "http://127.0.0.1:9/x.json"}, ["Unknown meta-schema"]),
        ({"pattern": "["}, ["at pattern"]),
        ({1: 2}, ["its key 1 is not a string"]),
        ({"minimum": float("nan")}, ["nan"]),
        ({"const": object()}, ["contains a object"]),
        ({"const": "\ud800"}, ["surrogate"]),
        (nested(300, "not"), ["deeper than 250"]),
        (nested(100_000, "not"), ["deeper than 250"]),
        (circular(), ["deeper than 250"]),
        (doubling(25), ["more than 10000 subschemas"]),
        ({"properties": {str(n): {} for n in range(100_000)}}, ["more than 100000 parts"]),
    ],
)
def test_what_is_not_a_usable_schema_is_a_request_error_that_names_the_fault(
    schema: Any, words: list[str]
) -> None:
    with pytest.raises(RequestError) as caught:
        Checker.of(schema, param="tools[0].function.parameters")
    message = str(caught.value)
    assert message.startswith("tools[0].function.parameters")
    assert all(word in message for word in words)
    assert len(message) < 500
    assert caught.value.param == "tools[0].function.parameters"


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"x-unknown": {"anything": 1}},
        nested(240, "not"),
        doubling(8),
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"anyOf": [{"$ref": "#"}, NULL]},
        {"$schema": DRAFT4, "type": "integer"},
    ],
)
def test_odd_but_sound_schemas_compile_and_check(schema: Any) -> None:
    assert isinstance(Checker.of(schema).problems(1), list)


@pytest.mark.parametrize(
    ("schema", "value", "problems"),
    [
        (INTEGER, 5, []),
        (
            of("p", of("days", INTEGER)),
            {"p": {"days": "five"}},
            ['p.days: "five" is not of type "integer"'],
        ),
        (of("a b", arr(INTEGER)), {"a b": [1, "x"]}, ['["a b"][1]: "x" is not of type "integer"']),
        (obj({}, required=["x"]), {}, ["x: is required but missing"]),
        (of("p", obj({}, required=["x y"])), {"p": {}}, ['p["x y"]: is required but missing']),
        (
            obj({}, additionalProperties=False),
            {"zz": 1},
            ['the value: "zz" is not a known property'],
        ),
        (of("e", {"enum": ["a", "b", 5]}), {"e": "c"}, ['e: "c" is not one of "a", "b" or 5']),
        (of("c", {"const": 1}), {"c": 2}, ["c: 2 is not 1"]),
        (of("n", {"minimum": 10}), {"n": 1}, ["n: 1 is less than the minimum of 10"]),
        (
            of("u", {"anyOf": [INTEGER, NULL]}),
            {"u": "x"},
            ['u: "x" is not of type "integer" or "null"'],
        ),
        (
            {"anyOf": [INTEGER, obj({"a": STRING}, required=["b"])]},
            {"a": "x"},
            [
                "the value: fits none of the alternatives; "
                "in the closest, b: is required but missing"
            ],
        ),
        (
            {"oneOf": [INTEGER, NUMBER]},
            3,
            ["the value: 3 fits more than one of the alternatives, but may fit only one"],
        ),
        (False, 1, ["the value: nothing may stand here, but 1 does"]),
        (STRING, float("nan"), ["the value can't be checked: it contains nan, which is not JSON"]),
        (STRING, "\udc00", ["the value can't be checked: it contains half of a surrogate pair"]),
    ],
)
def test_problems_name_the_path_and_what_is_wrong_there(
    schema: Any, value: Any, problems: list[str]
) -> None:
    assert Checker.of(schema).problems(value) == problems


def test_problems_are_at_most_eight_and_short_whatever_the_value() -> None:
    value = [{"x": ["y" * 10_000] * 100}] * 100
    problems = Checker.of({"type": "array", "maxItems": 1, "items": INTEGER}).problems(value)
    assert len(problems) == 8
    assert all(len(problem) < 400 for problem in problems)


def test_a_value_nested_too_deep_is_a_problem_and_not_a_crash() -> None:
    checker = Checker.of({"items": {"$ref": "#"}})
    assert checker.problems(nested(240)) == []
    assert "deeper than 250" in checker.problems(nested(100_000))[0]
    deep = nested(100_000)
    assert checker.coerce(deep) == (deep, ()) or checker.coerce(deep)[0] is deep


@pytest.mark.parametrize(
    ("schema", "value", "wanted"),
    [
        # texts of scalars
        (BOOLEAN, "true", True),
        (BOOLEAN, " False ", False),
        (INTEGER, "5", 5),
        (INTEGER, "-5 ", -5),
        (INTEGER, "5.0", 5),
        (NUMBER, "5.0", 5.0),
        (NUMBER, "5", 5),
        (NUMBER, "1e3", 1000.0),
        (STRING, 5, "5"),
        (STRING, 5.5, "5.5"),
        (STRING, True, "true"),
        ({"$schema": DRAFT4, "type": "integer"}, 5.0, 5),
        ({"type": ["integer", "null"]}, "5", 5),
        ({"type": ["number", "integer"]}, "5", 5),
        # containers
        (of("x", INTEGER), '{"x": "5"}', {"x": 5}),
        (of("x", INTEGER), "{'x': 5,}", {"x": 5}),
        (arr(INTEGER), '[1, "2"]', [1, 2]),
        (arr(INTEGER), 5, [5]),
        (arr(INTEGER), "5", [5]),
        (arr(STRING), "x", ["x"]),
        (arr(of("x", INTEGER)), {"x": "1"}, [{"x": 1}]),
        # enums
        ({"enum": ["Low", "High"]}, " low", "Low"),
        ({"enum": ["a", "A"]}, "a ", "a"),
        ({"type": "integer", "enum": [1, 2]}, "2", 2),
        ({"type": "string", "enum": ["1", "2"]}, 2, "2"),
        ({"const": "x"}, "X", "x"),
        # properties
        (obj({"a": INTEGER}, additionalProperties=False), {"a": 1, "zz": 2, "y": 3}, {"a": 1}),
        (of("a", INTEGER), {"a": None}, {}),
        (of("a", {"enum": ["x"]}), {"a": None}, {}),
        (of("a", {"anyOf": [INTEGER, STRING]}), {"a": None}, {}),
        (obj({"a": {"type": "integer", "default": 3}}, required=["a"]), {}, {"a": 3}),
        (
            obj({"a": {"$ref": "#/$defs/d"}}, required=["a"], **{"$defs": {"d": {"default": [7]}}}),
            {},
            {"a": [7]},
        ),
        # through references, unions and conjunctions
        ({"$defs": {"i": INTEGER}, **of("a", {"$ref": "#/$defs/i"})}, {"a": "1"}, {"a": 1}),
        (
            obj({"v": INTEGER, "next": {"$ref": "#"}}),
            {"v": "1", "next": {"v": "2"}},
            {"v": 1, "next": {"v": 2}},
        ),
        (
            {"allOf": [of("a", INTEGER), of("b", BOOLEAN)]},
            {"a": "1", "b": "false"},
            {"a": 1, "b": False},
        ),
        ({"anyOf": [INTEGER, NULL]}, "5", 5),
        ({"anyOf": [INTEGER, arr(INTEGER)]}, "5", 5),
        ({"oneOf": [INTEGER, BOOLEAN]}, "true", True),
        ({"anyOf": [{"enum": ["a", "b"]}, NULL]}, "A", "a"),
        (
            {
                "anyOf": [
                    obj({"k": {"const": k}, "n": n}, required=["k", "n"])
                    for k, n in (("a", INTEGER), ("b", STRING))
                ]
            },
            {"k": "a", "n": "5"},
            {"k": "a", "n": 5},
        ),
    ],
)
def test_a_value_is_coerced_to_what_the_schema_wants_with_a_note(
    schema: Any, value: Any, wanted: Any
) -> None:
    before = copy.deepcopy(value)
    coerced, notes = coerce(value, schema)
    assert coerced == wanted
    assert json.dumps(coerced) == json.dumps(wanted)  # 5 and 5.0 and True are not the same
    assert notes
    assert all(note.code == "coerced" for note in notes)
    assert value == before
    assert Checker.of(schema).problems(coerced) == []
    assert coerce(coerced, schema) == (coerced, ())


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (INTEGER, "five"),
        (INTEGER, "5.5"),
        (INTEGER, 5.5),
        (INTEGER, "null"),
        (INTEGER, ""),
        (INTEGER, True),
        (INTEGER, "0x10"),
        (INTEGER, "٣"),
        (BOOLEAN, "yes"),
        (BOOLEAN, 1),
        (NULL, "null"),
        (STRING, None),
        (STRING, {"a": 1}),
        (of("a", INTEGER), "[1]"),
        (of("a", INTEGER), '{"a": 1'),
        (arr(INTEGER), "x"),
        (arr(INTEGER), None),
        ({"type": "array", "items": {"$ref": "#"}}, 5),
        ({"enum": ["a", "A"]}, "á"),
        ({"enum": ["aB", "Ab"]}, "ab"),
        ({"enum": [None]}, "null"),
        ({"allOf": [STRING, INTEGER]}, 5),
        (
            {
                "anyOf": [
                    obj({"a": {}}, additionalProperties=False),
                    obj({"b": {}}, additionalProperties=False),
                ]
            },
            {"a": 1, "b": 2},
        ),
        (obj({"a": INTEGER}, required=["a"]), {"a": None}),
        (obj({"a": {"type": "integer", "default": "bad"}}, required=["a"]), {}),
        (obj({"a": INTEGER}, required=["a"]), {}),
        (obj({"a": INTEGER}, additionalProperties=False, minProperties=2), {"a": 1, "b": 2}),
    ],
)
def test_what_would_have_to_be_guessed_is_left_alone(schema: Any, value: Any) -> None:
    coerced, notes = coerce(value, schema)
    assert coerced is value
    assert notes == ()


def test_what_can_be_mended_is_even_if_the_rest_stays_wrong() -> None:
    schema = obj({"a": INTEGER, "b": {"type": "integer", "minimum": 10}, "c": INTEGER})
    coerced, notes = coerce({"a": "1", "b": "5", "c": "x"}, schema)
    assert coerced == {"a": 1, "b": 5, "c": "x"}
    assert len(notes) == 2
    assert Checker.of(schema).problems(coerced) == [
        "b: 5 is less than the minimum of 10",
        'c: "x" is not of type "integer"',
    ]


def test_notes_carry_the_path_the_old_and_the_new_value() -> None:
    schema = of("p", obj({"d": INTEGER, "n": INTEGER}, additionalProperties=False))
    _, notes = coerce({"p": {"d": "5", "n": None, "x y": "z" * 500}}, schema)
    said = [note.message for note in notes]
    assert 'p.d: "5" became 5.' in said
    assert any(s.startswith("p.n: null was dropped") for s in said)
    assert any(s.startswith('p["x y"]: "zzz') and "was dropped" in s for s in said)
    assert all(len(s) < 200 for s in said)


def test_a_filled_in_default_is_a_copy() -> None:
    schema = obj({"a": {"type": "array", "default": [1]}}, required=["a"])
    coerced, _ = coerce({}, schema)
    coerced["a"].append(2)
    assert schema["properties"]["a"]["default"] == [1]


def test_what_needs_no_coercion_is_shared_and_not_copied() -> None:
    value = {"a": "1", "b": {"c": [1, 2]}}
    coerced, _ = coerce(value, of("a", INTEGER))
    assert coerced["b"] is value["b"]


def test_a_long_array_is_coerced_whole() -> None:
    coerced, notes = coerce(["1"] * 1200, arr(INTEGER))
    assert coerced == [1] * 1200
    assert len(notes) == 1200


def test_a_checker_coerces_without_compiling_again() -> None:
    checker = Checker.of(of("a", INTEGER))
    assert checker.coerce({"a": "1"})[0] == {"a": 1}


def test_importing_it_does_not_import_the_validator() -> None:
    code = "import sys, llmgate.validation; print('jsonschema_rs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


types = st.sampled_from([INTEGER, NUMBER, STRING, BOOLEAN, NULL, {"enum": ["a", "B", 1]}, {}])
schemas = st.recursive(
    types,
    lambda inner: (
        inner.map(arr)
        | st.lists(inner, min_size=1, max_size=3).map(lambda s: {"anyOf": s})
        | st.lists(inner, min_size=1, max_size=2).map(lambda s: {"oneOf": s})
        | st.lists(inner, min_size=1, max_size=2).map(lambda s: {"allOf": s})
        | st.builds(
            lambda p, r, closed: obj(
                p, required=r, **({"additionalProperties": False} if closed else {})
            ),
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            st.lists(st.sampled_from("abc"), unique=True, max_size=2),
            st.booleans(),
        )
    ),
    max_leaves=6,
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["1", "2.0", "true", "A", " b ", "x", "[1]", '{"a": "1"}', ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(schemas, values)
@settings(max_examples=400)
def test_coercion_keeps_valid_values_as_they_are_and_has_nothing_to_add_to_itself(
    schema: Any, value: Any
) -> None:
    before = copy.deepcopy(value)
    checker = Checker.of(schema)
    coerced, notes = checker.coerce(value)
    assert value == before
    assert (coerced is value) == (not notes)
    if not checker.problems(value):
        assert coerced is value
    again, more = checker.coerce(coerced)
    assert again is coerced
    assert more == ()


@given(schemas | values, values)
@settings(max_examples=300)
def test_any_json_as_a_schema_is_a_checker_or_a_request_error(schema: Any, value: Any) -> None:
    try:
        checker = Checker.of(schema)
    except RequestError as error:
        caught = error.message
    else:
        assert len(checker.problems(value)) <= 8
        return
    assert caught
