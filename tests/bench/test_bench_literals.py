"""Java and JavaScript values, read from the text of an expression."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.bench.literals import value_of


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5", "integer", 5),
        (" -5 ", "int", -5),
        ("5", "byte", 5),
        ("5L", "long", 5),
        ("5", "long", "5"),
        ("5.5f", "float", 5.5),
        ("5.5", "float", "5.5"),
        ("5.5", "double", 5.5),
        ("1e3", "double", 1000.0),
        ("true", "boolean", True),
        ("True", "boolean", "True"),
        ("'c'", "char", "c"),
        ("text", "String", "text"),
        ("5", "String", "5"),
        ("new File(x)", "any", "new File(x)"),
        ("myList", "ArrayList<String>", "myList"),
        ("new ArrayList<>()", "ArrayList<String>", []),
        ('new ArrayList<String>(Arrays.asList("a", "b"))', "ArrayList<String>", ["a", "b"]),
        ('List.of("a")', "ArrayList<String>", ["a"]),
        ("new ArrayList<>() {{ add(1); add(2); }}", "ArrayList<integer>", [1, 2]),
        ("new int[]{1, 2}", "Array<integer>", [1, 2]),
        ("new int[][]{{1}, {2, 3}}", "Array", [[1], [2, 3]]),
        ("{1.5, 2f, 3L}", "double[]", [1.5, 2.0, 3]),
        ("new HashSet<>(Set.of(1))", "Set", [1]),
        ('Map.of("a", 1, "b", true)', "HashMap", {"a": 1, "b": True}),
        ("new HashMap<>()", "HashMap", {}),
        ("new HashMap<String, List<String>>(16)", "HashMap", {}),
        ('new java.util.HashMap<>(Map.of("a", null))', "HashMap", {"a": None}),
        ('new Hashtable<>() {{ put("a", List.of(1)); }}', "Hashtable", {"a": [1]}),
        ('Map.of("a")', "HashMap", 'Map.of("a")'),
        ("new int[5]", "Array", "new int[5]"),
        ("List.of(1, run())", "ArrayList", "List.of(1, run())"),
        ("List.of(1) + x", "ArrayList", "List.of(1) + x"),
        ('"a \\"b\\" \\u00e9\\n"', "", 'a "b" é\n'),
    ],
)
def test_java_values(text, kind, value):
    found = value_of(text, "java", kind)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5", "integer", 5),
        ("5.5", "integer", "5.5"),
        ("5", "float", 5.0),
        ("5n", "Bigint", 5),
        ("5", "Bigint", "5"),
        ("false", "Boolean", False),
        ("'a'", "String", "a"),
        ("\"a'", "String", "\"a'"),
        ("`a`", "any", "a"),
        ("handler", "any", "handler"),
        ("[1, 'a', true, null, undefined,]", "array", [1, "a", True, None, None]),
        ("{a: 1, 'b-c': [{d: 2n}], 5: 'x'}", "dict", {"a": 1, "b-c": [{"d": 2}], "5": "x"}),
        ("{}", "dict", {}),
        ("new Set([1, 2])", "array", [1, 2]),
        ("new Map([['a', 1]])", "dict", {"a": 1}),
        ("new Array(1, 2)", "array", [1, 2]),
        ("{a: f()}", "dict", "{a: f()}"),
        ("{a 1}", "dict", "{a 1}"),
        ("[1 2]", "array", "[1 2]"),
        ("['a", "array", "['a"),
        ("['\\u00zz']", "array", "['\\u00zz']"),
        ("(x) => x", "dict", "(x) => x"),
        ("", "array", ""),
        ("-1.5e3", "", -1500.0),
    ],
)
def test_javascript_values(text, kind, value):
    found = value_of(text, "javascript", kind)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["[" * 100_000, "{a:" * 100_000, "new A(" * 100_000])
def test_endless_nesting_is_no_literal(text):
    assert value_of(text, "javascript", "array") == text


pieces = st.lists(
    st.sampled_from([*'[]{}(),:;"\\ <>', "new ", "Map", "put", "List.of", "5", "n", "true", "\\u"])
)


@given(pieces.map("".join), st.sampled_from(["java", "javascript"]), st.sampled_from(["", "dict"]))
def test_no_text_can_break_the_reading(text, language, kind):
    value = value_of(text, language, kind)
    assert value is None or isinstance(value, bool | int | float | str | list | dict)
