"""A call is read the same however its text is cut, in every style, and JSON is never changed."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from styled import call_of, canonical, cuttings, one_call, scanned, texts, typed_calls, values

from llmgate.styles import STYLES, Style, style
from llmgate.wrappers.scanner import StyleScanner, Unreadable

BARE = Style(name="bare", description="", function_key="function", arguments_key="params")
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "exact": {"type": "boolean"},
        "tags": {"type": "array"},
        "where": {"type": "object"},
        "note": {"type": ["string", "null"]},
        "limit": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    },
}
SCHEMAS = {"f": SCHEMA}
every_style = pytest.mark.parametrize("name", STYLES)


def scan(text, thoughts="off", cuts=(), schemas=None):
    parts, scanner, error = scanned(BARE, text, schemas, cuts, place=thoughts)
    if error is not None:
        raise Unreadable(error)
    return parts, scanner.done


@every_style
@settings(max_examples=20)
@given(pair=typed_calls(), thought=texts, data=st.data())
def test_a_call_is_read_as_it_was_written_whatever_the_cuts(name, pair, thought, data):
    call, schema = pair
    own, schemas = style(name), {call.name: schema}
    place = data.draw(st.sampled_from(["off", "inside", "beside"]))
    text = one_call(own, call, schemas, thoughts=thought, place=place)
    cuts = data.draw(cuttings(text))
    parts, scanner, error = scanned(own, text, schemas, cuts, place=place)
    assert (error, scanner.done, scanner.rest.strip()) == (None, True, "")
    assert parts["name"] == call.name
    assert canonical(json.loads(parts["arguments"])) == canonical(json.loads(call.arguments))
    in_words = place == "beside" and own.head != "object"
    assert parts["thoughts"] == ("" if place == "off" or in_words else thought)


@every_style
@settings(max_examples=25)
@given(pair=typed_calls(), data=st.data())
def test_a_damaged_call_is_read_or_refused_the_same_whatever_the_cuts(name, pair, data):
    call, schema = pair
    own, schemas = style(name), {call.name: schema}
    text = one_call(own, call, schemas, thoughts="hm", place="inside")
    at = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 3))
    text = text[:at] + data.draw(texts) + text[at + gone :]
    whole = scanned(own, text, schemas, place="inside")
    cut = scanned(own, text, schemas, data.draw(cuttings(text, 20)), place="inside")
    each = scanned(own, text, schemas, range(1, len(text)), place="inside")
    for parts, scanner, error in (cut, each):
        assert (parts, error) == (whole[0], whole[2])
        assert (scanner.done, scanner.whole) == (whole[1].done, whole[1].whole)
        if error is None:
            assert scanner.rest.strip() == whole[1].rest.strip()


@pytest.mark.parametrize("name", [s.name for s in STYLES.values() if s.arguments == "json"])
def test_json_arguments_are_passed_on_to_the_letter(name):
    raw = '{ "a":1.50,"b" : "\\u00e9\\/ é",\n\t"c":[ ] , "d": 1E400}'
    call = call_of("f", {})
    own = style(name)
    text = one_call(own, call).replace("{}", raw)
    assert scanned(own, text, cuts=range(1, len(text)))[0]["arguments"] == raw


def test_thoughts_are_cut_out_of_the_arguments_and_nothing_else():
    text = '{"function": "f", "params": {"inner_thoughts": "hm", "x": 1}}'
    assert scan(text, "inside")[0] == {"thoughts": "hm", "name": "f", "arguments": '{"x": 1}'}
    text = '{"function": "f", "params": {"inner_thoughts": "hm"}}'
    assert scan(text, "inside")[0]["arguments"] == "{}"
    text = '{"function": "f", "params": {"x": 1}}'
    assert scan(text, "inside")[0]["arguments"] == '{"x": 1}'


@every_style
def test_a_function_keeps_its_own_parameter_of_the_thoughts_name(name):
    own = style(name)
    schemas = {"f": {"properties": {"inner_thoughts": {"type": "string"}}}}
    text = one_call(own, call_of("f", {"inner_thoughts": "hm"}), schemas)
    parts = scanned(own, text, schemas, place="inside")[0]
    assert parts["thoughts"] == ""
    assert json.loads(parts["arguments"]) == {"inner_thoughts": "hm"}


@pytest.mark.parametrize("escaped", ["\\ud83d\\ude00", "\\uD83D\\uDE00"])
def test_a_surrogate_pair_is_one_character_even_if_cut(escaped):
    text = f'{{"inner_thoughts": "a{escaped}b", "function": "f", "params": {{}}}}'
    for cut in range(len(text)):
        assert scan(text, "beside", [cut])[0]["thoughts"] == "a😀b"
    text = f"f(x='a{escaped}b\\ud83d')"
    for cut in range(len(text)):
        assert scanned(style("pythonic"), text, cuts=[cut])[0]["arguments"] == '{"x": "a😀b�"}'


def test_half_a_surrogate_pair_becomes_a_replacement_character():
    text = '{"inner_thoughts": "a\\ud83d b\\ud83d\\n\\udc00", "function": "f", "params": {}}'
    for cut in range(len(text)):
        assert scan(text, "beside", [cut])[0]["thoughts"] == "a� b�\n�"


def test_what_follows_the_call_is_kept():
    scanner = StyleScanner(BARE, {})
    assert [e.kind for e in scanner.feed('{"function": "f", "params": {}} {"fun')][-1] == "end"
    assert scanner.rest == ' {"fun'


def test_pieces_that_are_certain_at_once_are_one_event():
    text = "f(city='Köln', tags=['a', 'b'])"
    events = list(StyleScanner(style("pythonic"), SCHEMAS).feed(text))
    assert [event.kind for event in events] == ["name", "arguments", "end"]


def test_arguments_before_the_name_wait_for_it():
    text = '{"params": {"inner_thoughts": "hm", "x": [1]}, "function": "f", "type": "function"}'
    for cuts in ((), range(1, len(text))):
        scanner = StyleScanner(BARE, {}, place="inside")
        events = [
            e for a, b in itertools.pairwise([0, *cuts, len(text)]) for e in scanner.feed(text[a:b])
        ]
        assert next(e.kind for e in events) == "name"
        assert "".join(e.text for e in events if e.kind == "arguments") == '{"x": [1]}'
        assert "".join(e.text for e in events if e.kind == "thoughts") == "hm"


def test_what_models_add_beside_name_and_arguments_is_passed_over():
    text = '{"id": "call_1}", "function": "f", "index": 0, "params": {"a": 1}, "type": ["x", {}]}'
    parts, done = scan(text, cuts=range(1, len(text)))
    assert (parts["name"], parts["arguments"], done) == ("f", '{"a": 1}', True)


def test_a_call_without_arguments_has_an_empty_object():
    assert scan('{"function": "f"}')[0]["arguments"] == "{}"


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "[1]",
        "{}",
        '{"name": "f"}',
        '{"params": {}, "params": {}, "function": "f"}',
        '{"params": {}}',
        '{"function": 5}',
        '{"function": "f", "function": "g"}',
        '{"function": "f", "params": 5}',
        '{"params": "x", "function": "f"}',
        '{"function": "f" "params": {}}',
        '{"function": "\\x", "params": {}}',
        '{"function": "' + "f" * 10_000 + '"}',
    ],
)
def test_what_is_no_such_call_is_unreadable(text):
    with pytest.raises(Unreadable):
        scan(text)


def test_an_unreadable_call_stays_unreadable():
    scanner = StyleScanner(BARE, {})
    for text in ("hello", '{"function": "f", "params": {}}'):
        with pytest.raises(Unreadable, match=r"expected '\{', found 'h'"):
            list(scanner.feed(text))


# Spellings that are read: other marks, other white space.


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hermes", '<tool_call>{"name": "f", "arguments": {"days": 3}}</tool_call>'),
        ("hermes", '<tool_call>\n\n {"arguments": {"days": 3}, "name": "f"}\n\n</tool_call>'),
        ("mistral-named", '[TOOL_CALLS]f[CALL_ID]abc123xyz[ARGS]{"days": 3}'),
        ("mistral-named", '[TOOL_CALLS] f [ARGS] {"days": 3}'),
        ("functionary-v3.2", '>>>f\n{"days": 3}'),
        ("functionary-v3.2", '>>>f{"days": 3}'),
        ("kimi-k2", '<|tool_call_begin|>f<|tool_call_argument_begin|>{"days": 3}<|tool_call_end|>'),
        (
            "kimi-k2",
            '<|tool_call_begin|>functions.f:12<|tool_call_argument_begin|>{"days": 3}'
            "<|tool_call_end|>",
        ),
        ("harmony", '<|channel|>commentary to=functions.f<|message|>{"days": 3}<|call|>'),
        ("harmony", ' to=functions.f<|channel|>commentary json<|message|>{"days": 3}<|call|>'),
        (
            "harmony",
            "<|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>"
            '{"days": 3}<|call|>',
        ),
        ("qwen-coder", "<function=f>\n<parameter=days>\n3\n</parameter>\n</function>"),
        (
            "qwen-coder",
            "<tool_call><function=f><parameter=days>  3 </parameter></function>  </tool_call>",
        ),
        ("glm", "<tool_call>f<arg_key>days</arg_key><arg_value>3</arg_value></tool_call>"),
        (
            "glm",
            "<tool_call>f\n<arg_key> days </arg_key>\n\n<arg_value>\n3\n</arg_value></tool_call>",
        ),
        ("pythonic", "f(days = 3)"),
        ("pythonic", "f(days=+3,)"),
        ("pythonic", "f( days=0b11 )"),
        ("gemma", '<|tool_call>call:f{<|"|>days<|"|>: 3}<tool_call|>'),
        ("gemma", "<|tool_call>call: f { days : 3 , }<tool_call|>"),
        (
            "gigachat",
            "<|message_sep|>\n\nfunction call<|role_sep|>\n"
            '{"name": "f", "arguments": {"days": 3}}',
        ),
        (
            "deepseek-v3.2",
            '<｜DSML｜invoke name="f"><｜DSML｜parameter name="days" string="false">3'
            "</｜DSML｜parameter></｜DSML｜invoke>",
        ),
        ("minicpm", '<function name="f"><param name="days">3</param></function>'),
    ],
)  # fmt: skip
def test_other_spellings_are_read(name, text):
    for cuts in ((), range(1, len(text))):
        parts, scanner, error = scanned(style(name), text, SCHEMAS, cuts)
        assert (error, scanner.done, parts["name"]) == (None, True, "f")
        assert json.loads(parts["arguments"]) == {"days": 3}


def test_a_call_whose_end_mark_never_comes_is_whole():
    text = '<|channel|>commentary to=functions.f<|message|>{"days": 3}'
    _, scanner, _ = scanned(style("harmony"), text)
    assert (scanner.whole, scanner.done) == (True, False)
    _, scanner, _ = scanned(style("harmony"), text[:-1])
    assert not scanner.whole


# Work.


@pytest.mark.parametrize("piece", [20, 10_000_000])
@pytest.mark.parametrize("name", ["json", "qwen-coder", "lfm2", "gemma"])
def test_long_arguments_take_linear_work(name, piece):
    # Quadratic work on megabytes would not end within the suite's time.
    arguments = {"city": "a <line>\n" * 60_000, "tags": [{"k": "v" * 8} for _ in range(15_000)]}
    text = one_call(style(name), call_of("f", arguments), SCHEMAS)
    parts, scanner, _ = scanned(style(name), text, SCHEMAS, range(piece, len(text), piece))
    assert scanner.done
    assert json.loads(parts["arguments"]) == arguments


@pytest.mark.parametrize("name", ["qwen-coder", "glm", "gemma", "pythonic", "kimi-k3"])
@pytest.mark.parametrize("junk", ["<", "</", "\n", "\\", "'", '"', "<|", '<|"|', " ", "{", "["])
def test_what_is_held_back_is_bounded(name, junk):
    own = style(name)
    text = one_call(own, call_of("f", {"city": "@"}), SCHEMAS)
    scanner = StyleScanner(own, SCHEMAS)
    try:
        list(scanner.feed(text[: text.index("@")]))
        for _ in range(200):
            list(scanner.feed(junk * 50))
            assert len(scanner._source.text) - scanner._source.at <= 1100
    except Unreadable:
        assert name == "pythonic"  # its strings can end anywhere


@given(value=values, thoughts=st.sampled_from(["off", "inside", "beside"]))
def test_bare_calls_are_indented_and_else_unchanged(value, thoughts):
    call = call_of("f", {"x": value})
    for indent in (0, 2):
        text = one_call(BARE, call, place=thoughts, thoughts="hm", indent=indent)
        assert ("\n" in text) == bool(indent)
        parts, done = scan(text, thoughts)
        assert done
        assert canonical(json.loads(parts["arguments"])) == canonical({"x": value})
