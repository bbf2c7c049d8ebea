"""Arguments that are no JSON become JSON: the schema or the notation says what a value is."""

from __future__ import annotations

import json

import pytest
from styled import call_of, canonical, one_call, scanned

from llmgate.styles import style
from llmgate.wrappers.scanner import StyleScanner, Unreadable

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

# Parameters.


def parameters(raw, key="city", name="qwen-coder", schema=SCHEMA, **how):
    own = style(name)
    begin, middle, end = own.parameter
    text = f"{own.begin}f{own.middle}{begin}{key}{middle}{raw}{end}{own.end}"
    results = [scanned(own, text, {"f": schema}, cuts, **how) for cuts in ((), range(1, len(text)))]
    assert results[0][0] == results[1][0]
    assert results[0][2] == results[1][2]
    if results[0][2] is not None:
        raise Unreadable(results[0][2])
    return json.loads(results[0][0]["arguments"])[key]


@pytest.mark.parametrize(
    "raw", ["", "\n", "\n\n", " x ", "\nx\n", "5", "null", "<b>", '"q"', "</", "a\r", "</parameter"]
)
@pytest.mark.parametrize("name", ["qwen-coder", "seed", "glm", "minimax", "minicpm", "hunyuan"])
def test_a_string_parameter_is_its_text_to_the_letter(raw, name):
    assert parameters(raw, name=name) == raw


def test_one_line_break_on_each_side_belongs_to_the_marks():
    own = style("qwen-coder")
    head, tail = "<tool_call><function=f><parameter=city>", "</parameter></function></tool_call>"
    for raw, value in [
        ("x", "x"),
        ("\nx\n", "x"),
        ("\n\nx\n\n", "\nx\n"),
        ("\n", ""),
        ("x\n", "x"),
    ]:
        parts, _, _ = scanned(own, head + raw + tail, SCHEMAS)
        assert json.loads(parts["arguments"]) == {"city": value}


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("days", " 3\n", 3),
        ("days", "1_000", 1000),
        ("days", '"3"', "3"),
        ("exact", "true", True),
        ("exact", "True", True),
        ("exact", "None", None),
        ("tags", '["a", "b\\n"]', ["a", "b\n"]),
        ("tags", "['a', \"it's\", None, (1, 2)]", ["a", "it's", None, [1, 2]]),
        ("where", "{'a': {'b': False}}", {"a": {"b": False}}),
        ("note", "null", None),
        ("note", "nullify", "nullify"),
        ("note", '"null"', "null"),
        ("note", '"quoted"', '"quoted"'),
        ("note", "5", "5"),
        ("limit", "5", 5),
        ("limit", "5.5", "5.5"),
        ("limit", "5.0", 5.0),
        ("limit", "many", "many"),
        ("unknown", "5", 5),
        ("unknown", "words", "words"),
        ("unknown", '{"a": 1}', {"a": 1}),
        ("unknown", '"5"', "5"),
        ("unknown", "True", "True"),
    ],
)
def test_what_a_parameter_is_comes_from_the_schema(key, raw, value):
    assert canonical(parameters(raw, key)) == canonical(value)


@pytest.mark.parametrize(
    ("key", "raw"),
    [("days", "three"), ("days", ""), ("tags", "a, b"), ("where", "{'a': f(1)}"), ("days", "NaN")],
)
def test_a_value_that_has_to_be_json_and_is_not_is_unreadable(key, raw):
    with pytest.raises(Unreadable, match="neither JSON nor a Python literal"):
        parameters(raw, key)


def test_the_end_mark_inside_a_json_string_ends_nothing():
    raw = '["</parameter>", "\\"</parameter>\\\\"]'
    assert parameters(raw, "tags") == ["</parameter>", '"</parameter>\\']


def test_the_marks_say_more_than_the_schema():
    begin = '<｜DSML｜invoke name="f"><｜DSML｜parameter name="days" string="true">'
    end = "</｜DSML｜parameter></｜DSML｜invoke>"
    parts, _, _ = scanned(style("deepseek-v3.2"), f"{begin}3{end}", SCHEMAS)
    assert json.loads(parts["arguments"]) == {"days": "3"}
    begin = '<|open|>call tool="f" index="1"<|sep|><|open|>argument key="city" type="number"<|sep|>'
    end = "<|close|>argument<|sep|><|close|>call<|sep|>"
    parts, _, _ = scanned(style("kimi-k3"), f"{begin}3{end}", SCHEMAS)
    assert json.loads(parts["arguments"]) == {"city": 3}


def test_cdata_sections_are_strings():
    raw = "<![CDATA[<b>]]]]><![CDATA[></param>\n]]>"
    assert parameters(raw, name="minicpm") == "<b>]]></param>\n"
    assert parameters("<![CDATA[5]]>", "unknown", "minicpm") == "5"
    assert parameters("<![CDATA", name="minicpm") == "<![CDATA"


def test_string_parameters_are_passed_on_as_they_come():
    scanner = StyleScanner(style("qwen-coder"), SCHEMAS)
    start = "<tool_call>\n<function=f>\n<parameter=city>\n"
    seen = "".join(e.text for e in scanner.feed(start + "Köl") if e.kind == "arguments")
    assert seen == '{"city": "Köl'
    assert [e.text for e in scanner.feed("n\n</para")] == ["n"]
    assert [e.text for e in scanner.feed("graph>")] == ["\\n</paragraph>"]


@pytest.mark.parametrize("name", ["qwen-coder", "pythonic", "gemma"])
def test_an_argument_that_is_there_twice_is_unreadable(name):
    own = style(name)
    text = one_call(own, call_of("f", {"a1": "x", "a2": "y"})).replace("a2", "a1")
    assert "there twice" in scanned(own, text)[2]


# Python and Gemma.


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("f()", {}),
        ("f('Köln', 3)", {"city": "Köln", "days": 3}),
        ("f('Köln', days=3)", {"city": "Köln", "days": 3}),
        ("f(True)", {"city": True}),
        ("f(x=[], y={}, z=())", {"x": [], "y": {}, "z": []}),
        ("f(x=(1,), y=[1, ], z={'a': 1, })", {"x": [1], "y": [1], "z": {"a": 1}}),
        ("f(x=-5, y=+.5, z=5., w=1e-05)", {"x": -5, "y": 0.5, "z": 5.0, "w": 1e-05}),
        ("f(x=0xFF, y=0o17, z=1_000.5)", {"x": 255, "y": 15, "z": 1000.5}),
        ("f(x=true, y=null, z=None)", {"x": True, "y": None, "z": None}),
        (r"""f(x='it\'s', y="say \"hi\"", z='\x41\u00e9\U0001F600\101\n\d')""",
         {"x": "it's", "y": 'say "hi"', "z": "Aé😀A\n\\d"}),
        (r"f(x='\N{BULLET}')", {"x": "•"}),
        ('f(x="""a\n"b" ""c""", y=\'\'\'\'\'\', z="")', {"x": 'a\n"b" ""c', "y": "", "z": ""}),
        ("f(x='a\\\nb', y='two\nlines')", {"x": "ab", "y": "two\nlines"}),
        ("f(x=[{'a': [(1, 2), {'b': 'c'}]}])", {"x": [{"a": [[1, 2], {"b": "c"}]}]}),
        ("f(user-id=1, $ref='x')", {"user-id": 1, "$ref": "x"}),
    ],
)  # fmt: skip
def test_python_arguments_are_read_as_json(text, arguments):
    for cuts in ((), range(1, len(text))):
        parts, scanner, error = scanned(style("pythonic"), text, SCHEMAS, cuts)
        assert (error, scanner.done) == (None, True)
        assert json.loads(parts["arguments"]) == arguments


@pytest.mark.parametrize(
    "text",
    [
        "f(x=5*3)",
        "f(x=y)",
        "f(x=g(1))",
        "f(x='It's')",
        "f(x='a' 'b')",
        "f(x=f'a')",
        "f(x=('a'))",
        "f(x={1, 2})",
        "f(x={1: 2})",
        "f(x=1 y=2)",
        "f(x=007)",
        "f(x='\\xZZ')",
        "f(x='\\N{NO SUCH}')",
        "f(x='\\UFFFFFFFF')",
        "f(x=٣)",
        "f(1, 2, 3, 4, 5, 6, 7, 8)",
        "f(x=" + "[" * 300 + "]" * 300 + ")",
        "f(x=" + "9" * 2000 + ")",
        "(x=1)",
    ],
)
def test_what_is_no_literal_is_unreadable(text):
    assert scanned(style("pythonic"), text, SCHEMAS)[2] is not None


def test_positional_thoughts_come_first():
    parts, _, _ = scanned(style("pythonic"), "f('hm', 'Köln')", SCHEMAS, place="inside")
    assert (parts["thoughts"], json.loads(parts["arguments"])) == ("hm", {"city": "Köln"})


@pytest.mark.parametrize(
    ("inner", "arguments"),
    [
        ("", {}),
        ('city:<|"|>a "b" {c}\n<|"|>,days:-3', {"city": 'a "b" {c}\n', "days": -3}),
        ('x:{a:[1,{<|"|>b c<|"|>:null}],d:<|"|><|"|>}', {"x": {"a": [1, {"b c": None}], "d": ""}}),
        ("x:True , y : 1e-05", {"x": True, "y": 1e-05}),
        ('x:<|"|><|"<|"|>', {"x": '<|"'}),
    ],
)
def test_gemma_arguments_are_read_as_json(inner, arguments):
    text = f"<|tool_call>call:f{{{inner}}}<tool_call|>"
    for cuts in ((), range(1, len(text))):
        parts, scanner, error = scanned(style("gemma"), text, SCHEMAS, cuts)
        assert (error, scanner.done) == (None, True)
        assert json.loads(parts["arguments"]) == arguments


@pytest.mark.parametrize("inner", ["city:Paris Texas", "x:5 y:6", "x", 'x:<|"|>a<|"|>b', "x:{"])
def test_what_is_not_gemmas_is_unreadable_or_unfinished(inner):
    _, scanner, error = scanned(
        style("gemma"), f"<|tool_call>call:f{{{inner}}}<tool_call|>", SCHEMAS
    )
    assert error is not None
    assert not scanner.done
