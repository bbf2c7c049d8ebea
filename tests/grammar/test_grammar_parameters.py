"""Arguments that are no JSON object: raw texts behind marks, Python's keywords, Gemma's pairs."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from grammar_walk import Walker

from llmgate.errors import GrammarError
from llmgate.grammar import Matcher, check, compile_calls
from llmgate.styles import STYLES, Style
from llmgate.types import Tool, ToolCall
from llmgate.validation import Checker
from llmgate.wrappers.scanner import StyleScanner
from llmgate.wrappers.writing import write_calls

MARKED = [style for style in STYLES.values() if style.arguments == "parameters"]
OTHERS = [style for style in STYLES.values() if style.arguments in ("python", "gemma")]
LOOSE = [*MARKED, *OTHERS]
QWEN, GLM, DEEPSEEK, KIMI = (
    STYLES[name] for name in ("qwen-coder", "glm", "deepseek-v4", "kimi-k3")
)


def matcher(style: Style, parameters: dict[str, Any], **options: Any) -> Matcher:
    grammar = compile_calls([Tool("t", "", parameters)], style, required=True, **options)
    check(grammar.text)
    return Matcher(grammar.text)


def written(style: Style, parameters: dict[str, Any], arguments: dict[str, Any]) -> str:
    call = ToolCall("call00001", "t", json.dumps(arguments, ensure_ascii=False))
    return write_calls(style, [call], {"t": parameters})


def one(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}, "required": ["x"], **more}


def takes(style: Style, schema: Any, value: Any) -> bool:
    parameters = one(schema)
    return matcher(style, parameters).matches(written(style, parameters, {"x": value}))


VALUES: list[tuple[Any, list[Any], list[Any]]] = [
    ({"type": "string"}, ["", "a\nb", " x ", '"', "<a> </b> </", "é😀", "null", "5"], []),
    ({"type": "string", "maxLength": 3}, ["", "abc", "é<😀"], ["abcd"]),
    ({"type": "string", "minLength": 2}, ["ab", "a < b"], ["a", ""]),
    ({"type": "string", "minLength": 50, "maxLength": 900}, ["x" * 50, "x" * 900], ["x" * 49]),
    ({"type": "string", "format": "date"}, ["2024-02-29"], ["2023-02-29", "2024-02-29x"]),
    ({"type": "string", "pattern": "^a+/b$"}, ["a/b", "aaa/b"], ["/b", "a/b/"]),
    ({"enum": ["a", "b<c", "it's", 'say "x"']}, ["a", "b<c", "it's", 'say "x"'], ["c"]),
    ({"const": "x\n"}, ["x\n"], ["x"]),
    ({"type": "integer", "minimum": 3}, [3, 12345], [2]),
    ({"type": "number"}, [1.5, -2, 1e-7], []),
    ({"type": "boolean"}, [True, False], []),
    ({"type": ["string", "null"]}, ["", "x", None], []),
    ({"type": ["string", "null"], "format": "date"}, ["2024-02-29", None], ["x"]),
    ({"enum": ["a", 1, None, True]}, ["a", 1, None, True], ["b", 2, False]),
    ({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 5}]}, ["x y", 5], [4]),
    ({"type": "array", "items": {"enum": ["a", "b"]}}, [[], ["a", "b"]], [["c"], "a"]),
    ({"type": "object", "properties": {"k": {"type": "string"}}}, [{}, {"k": "<v>"}], [{"k": 1}]),
    ({"oneOf": [{"type": "boolean"}, {"const": "auto"}]}, [True, "auto"], ["other"]),
    ({}, ["x", 5, None, [1, {"a": "b"}], {"a": {}}, True], []),
]  # fmt: skip


@pytest.mark.parametrize("style", LOOSE, ids=lambda style: style.name)
def test_values_of_each_type_are_held(style: Style) -> None:
    for schema, good, bad in VALUES:
        for value in good:
            assert takes(style, schema, value), (schema, value)
        for value in bad:
            assert not takes(style, schema, value), (schema, value)


@pytest.mark.parametrize("style", LOOSE, ids=lambda style: style.name)
def test_whatever_a_schema_lets_through_is_read_as_valid(style: Style) -> None:
    random = Random(4)
    for schema, _, _ in VALUES:
        parameters = one(schema)
        grammar = compile_calls([Tool("t", "", parameters)], style, required=True)
        assert grammar.exact
        checker = Checker.of(parameters, param="tools")
        walker = Walker(grammar.text, 40)
        for _ in range(4):
            text = walker.walk(random).strip()
            scanner = StyleScanner(style, {"t": parameters})
            begin = text.removeprefix(style.open.strip()).lstrip()
            events = list(scanner.feed(begin + " "))
            arguments = "".join(event.text for event in events if event.kind == "arguments")
            assert checker.problems(json.loads(arguments)) == [], (schema, text)


@pytest.mark.parametrize("style", MARKED, ids=lambda style: style.name)
def test_a_text_never_has_its_end_mark_in_it(style: Style) -> None:
    end = style.parameter[2].strip()
    for schema in ({"type": "string"}, {"type": "string", "maxLength": 500}, {"const": end}):
        parameters = one(schema)
        if "const" in schema:
            with pytest.raises(GrammarError, match="no value"):
                matcher(style, parameters)
            continue
        calls = matcher(style, parameters)
        text = written(style, parameters, {"x": "abc"})
        assert calls.matches(text)
        assert calls.matches(text.replace("abc", f"a{end[:-1]} b"))
        assert not calls.matches(text.replace("abc", f"a{end}b"))


def test_the_line_breaks_of_marks_are_no_part_of_a_value() -> None:
    calls = matcher(QWEN, one({"enum": ["a", "\nb\n"]}))
    call = "<tool_call>\n<function=t>\n<parameter=x>{}</parameter>\n</function>\n</tool_call>"
    assert calls.matches(call.format("\na\n"))
    assert calls.matches(call.format("\n\nb\n\n"))
    assert not calls.matches(call.format("\nb\n"))
    assert not calls.matches(call.format("\n\na\n"))


def test_flags_say_what_a_value_is() -> None:
    parameters = one({"type": ["string", "integer", "boolean"]})
    calls = matcher(DEEPSEEK, parameters)
    text = written(DEEPSEEK, parameters, {"x": 5})
    assert 'string="false">5<' in text
    assert calls.matches(text)
    assert calls.matches(text.replace("false", "true"))
    assert not calls.matches(text.replace(">5<", ">five<"))
    assert calls.matches(text.replace('false">5<', 'true">five<'))
    calls = matcher(KIMI, parameters)
    text = written(KIMI, parameters, {"x": 5})
    assert 'type="number"<|sep|>5<' in text
    assert calls.matches(text)
    assert calls.matches(text.replace("number", "string"))
    assert not calls.matches(text.replace("number", "boolean"))
    assert not calls.matches(text.replace("number", "array"))


def test_a_string_that_looks_like_another_value_is_not_taken_for_one() -> None:
    schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}
    calls = matcher(GLM, one(schema))
    call = "<tool_call>t\n<arg_key>x</arg_key>\n<arg_value>{}</arg_value>\n</tool_call>"
    for value in ("[1, 2]", "text", "12", "null"):
        assert calls.matches(call.format(value)), value
    for value in ('["a"]', "[x]", '"quoted"'):
        assert not calls.matches(call.format(value)), value


def test_a_section_of_cdata_may_hold_anything() -> None:
    style = STYLES["minicpm"]
    parameters = one({"type": "string"})
    calls = matcher(style, parameters)
    for value in ("a < b", "</param></function>", "<![CDATA["):
        text = written(style, parameters, {"x": value})
        assert "<![CDATA[" in text
        assert calls.matches(text), text
    bare = '<function name="t"><param name="x">{}</param></function>'
    assert calls.matches(bare.format("a < b"))
    assert not calls.matches(bare.format("<![CDATA[a"))


@pytest.mark.parametrize("style", LOOSE, ids=lambda style: style.name)
def test_parameters_keep_their_order_and_optional_ones_may_be_missing(style: Style) -> None:
    parameters = {
        "type": "object",
        "properties": {name: {"type": "integer"} for name in "abc"},
        "required": ["b"],
    }
    calls = matcher(style, parameters)
    for names in ("b", "ab", "bc", "abc"):
        assert calls.matches(written(style, parameters, dict.fromkeys(names, 1))), names
    for names in ("", "a", "ac", "ba", "bd"):
        assert not calls.matches(written(style, parameters, dict.fromkeys(names, 1))), names
    calls = matcher(style, {**parameters, "required": []})
    for names in ("", "a", "c", "ac", "abc"):
        assert calls.matches(written(style, parameters, dict.fromkeys(names, 1))), names


@pytest.mark.parametrize("style", LOOSE, ids=lambda style: style.name)
def test_choices_between_parameters_are_held(style: Style) -> None:
    parameters = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        "additionalProperties": False,
    }
    calls = matcher(style, parameters)
    for arguments in ({"a": 1}, {"b": "x"}, {"a": 1, "b": "x"}):
        assert calls.matches(written(style, parameters, arguments)), arguments
    assert not calls.matches(written(style, parameters, {}))


@pytest.mark.parametrize("style", LOOSE, ids=lambda style: style.name)
def test_further_parameters_may_come_where_the_schema_says_so(style: Style) -> None:
    parameters = {**one({"type": "integer"}), "additionalProperties": {"type": "boolean"}}
    grammar = compile_calls([Tool("t", "", parameters)], style, required=True)
    calls = Matcher(grammar.text)
    assert calls.matches(written(style, parameters, {"x": 1, "more": True, "other": False}))
    assert not calls.matches(written(style, parameters, {"x": 1, "more": 2}))
    assert [entry.keyword for entry in grammar.relaxed] == ["additionalProperties"]
    anything = matcher(style, {"type": "object"})
    assert anything.matches(written(style, {"type": "object"}, {"k": [1, "a"], "l": None}))


@pytest.mark.parametrize("style", LOOSE, ids=lambda style: style.name)
def test_names_that_a_style_cannot_write_are_refused(style: Style) -> None:
    with pytest.raises(GrammarError, match=rf"tool 'a b'.*{style.name}"):
        compile_calls([Tool("a b")], style, required=True)
    if style.arguments == "gemma":
        return
    bad = {"type": "object", "properties": {'a "=<b>': {}}, "required": ['a "=<b>']}
    with pytest.raises(GrammarError, match=rf"tool 't'.*{style.name}.*a \"=<b>"):
        compile_calls([Tool("t", "", bad)], style, required=True)
    optional = {"type": "object", "properties": {'a "=<b>': {}, "x": {"type": "integer"}}}
    assert matcher(style, optional).matches(written(style, optional, {"x": 1}))


@pytest.mark.parametrize("style", LOOSE, ids=lambda style: style.name)
def test_thoughts_inside_are_the_first_parameter(style: Style) -> None:
    parameters = one({"type": "integer"})
    calls = matcher(style, parameters, thoughts="inside", thoughts_key="why")
    thought = {**parameters, "properties": {"why": {"type": "string"}, **parameters["properties"]}}
    assert calls.matches(written(style, thought, {"why": "Hm,\n<so> it's.", "x": 1}))
    assert not calls.matches(written(style, thought, {"x": 1}))
    assert not calls.matches(written(style, thought, {"x": 1, "why": "Hm"}))
