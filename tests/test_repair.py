"""`llmgate.repair.loads`: every class of fault that models are known for, and what must hold."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgate.errors import OutputError
from llmgate.repair import MAX_DEPTH, Edit, Repaired, loads

CALL = {"function": "send_message", "params": {"message": "hi"}}
TEXT = '{"function": "send_message", "params": {"message": "hi"}}'

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.text("\"'\\{}[],: \n\tab/#`<|>é")
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.text("ab\"',:{"), inner),
    max_leaves=12,
)
objects = st.dictionaries(st.text() | st.text("ab\"',:{"), values, min_size=1, max_size=4)


def mended(text: str) -> Repaired:
    """The result for a faulty text: it must not go unreported."""
    found = loads(text)
    assert found.notes
    assert all(note.code == "repaired" and note.message for note in found.notes)
    assert len({note.message.partition(" (")[0] for note in found.notes}) == len(found.notes)
    return found


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"  {TEXT}\n",
        "42",
        '"x"',
        "null",
        "[1, 2.5, -3e2]",
        "{}",
        '{"é": "\\u00e9\\ud83d\\ude00"}',
    ],
)
def test_valid_json_comes_back_untouched_and_without_notes(text: str) -> None:
    found = loads(text)
    assert found == Repaired(json.loads(text), (json.loads(text),))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # prose, fences and end tokens around the value
        (f"Sure, here it is:\n{TEXT}\nI hope {{this}} helps [a lot].", CALL),
        (f"```json\n{TEXT}\n```", CALL),
        (f"<tool_call>\n{TEXT}\n</tool_call>", CALL),
        (TEXT + "<|>", CALL),
        (TEXT + "<|im_end|>", CALL),
        (TEXT + "</s>\n</s>", CALL),
        (TEXT + "}}", CALL),
        ("42<|im_end|>", 42),
        ("```\n42\n```", 42),
        ('{"a": "}{"} and {smile}', {"a": "}{"}),
        ('{"a": "<|im_end|>"}<|im_end|>', {"a": "<|im_end|>"}),
        ('{"a": "```"} done', {"a": "```"}),
        # doubled and restarted beginnings
        ("{ " + TEXT, CALL),
        ("{ " + TEXT + "}", CALL),
        ('{\n "function": ' + TEXT, CALL),
        (
            '{\n  "function":{\n  "function": "x", "params": {"a": 1}}',
            {"function": "x", "params": {"a": 1}},
        ),
        (
            '{"function": "{"function": "x", "params": {"a": "y"}}',
            {"function": "x", "params": {"a": "y"}},
        ),
        ('"function": "x", "params": {"a": 1}}', {"function": "x", "params": {"a": 1}}),
        # inside strings
        ('{"a": "one\ntwo\tthree\r"}', {"a": "one\ntwo\tthree\r"}),
        ('{"a": "C:\\dir \\\' ok"}', {"a": "C:\\dir ' ok"}),
        (
            '{"a": "She said "hi" to me", "b": "x "y", z"}',
            {"a": 'She said "hi" to me', "b": 'x "y", z'},
        ),
        ('{"a": ["say "hi" twice", "b"]}', {"a": ['say "hi" twice', "b"]}),
        ('{"a": "print({"x": 1, "y": 2})"}', {"a": 'print({"x": 1, "y": 2})'}),
        ('{"a": """many "lines" of it""", "b": 1}', {"a": 'many "lines" of it', "b": 1}),
        ('{"a": "hello, "b": 1}', {"a": "hello", "b": 1}),
        ('{"a: "x", "b": 2}', {"a": "x", "b": 2}),
        ('{\n"a": "hello\n}', {"a": "hello"}),
        (
            '{"args": "{"city": "Paris", "days": 2}", "n": 1}',
            {"args": '{"city": "Paris", "days": 2}', "n": 1},
        ),
        ('{"a": ""quoted" and "more"", "b": 1}', {"a": '"quoted" and "more"', "b": 1}),
        (
            '{"re": "^\\d+\\.\\d+\\b", "p": ".\\new\\xdir"}',
            {"re": "^\\d+\\.\\d+\\b", "p": ".\\new\\xdir"},
        ),
        ('{"a": " hi ",}', {"a": " hi "}),
        ('{"a": "hi"  ,  }', {"a": "hi"}),
        ('{"a": "größe – 大きさ 😀",}', {"a": "größe – 大きさ 😀"}),
        ('{"a": "x // y # z /* w */",}', {"a": "x // y # z /* w */"}),
        # other languages' notations
        ("{'a': 'it\\'s', 'b': 'it's ok'}", {"a": "it's", "b": "it's ok"}),
        ("{“a”: “b”}", {"a": "b"}),
        ("{'a': True, 'b': False, 'c': None}", {"a": True, "b": False, "c": None}),
        ('{"a": 1, // one\n /* two */ "b": 2, # three\n "c": 3}', {"a": 1, "b": 2, "c": 3}),
        (
            "{a: 1, b_c: hello world, d: http://x.y/z}",
            {"a": 1, "b_c": "hello world", "d": "http://x.y/z"},
        ),
        ('{name": "x"}', {"name": "x"}),
        ('{"a": hello"}', {"a": "hello"}),
        ('{"a" => 1, "b" = 2, "c":: 3}', {"a": 1, "b": 2, "c": 3}),
        ('{"a": 12., "b": .5, "c": +3}', {"a": 12, "b": 0.5, "c": 3}),
        ('{"a": 007, "b": 1,000, "c": 2024-01-05}', {"a": "007", "b": "1,000", "c": "2024-01-05"}),
        ('{"a": NaN, "b": [-Infinity]}', {"a": None, "b": [None]}),
        # commas, colons and brackets
        ('{"a": [1, 2,], "b": 3,}', {"a": [1, 2], "b": 3}),
        ('{"a": [1,, 2]}', {"a": [1, 2]}),
        ('{"a": 1 "b": "x" "c": [1]\n"d": {}}', {"a": 1, "b": "x", "c": [1], "d": {}}),
        ('{"a": ["x" "y" 1, {"b": 1} [2]]}', {"a": ["x", "y", 1, {"b": 1}, [2]]}),
        ('{"a": "b"; "c": 1}', {"a": "b", "c": 1}),
        ('{"a" 1, "b" {"c" "d"}}', {"a": 1, "b": {"c": "d"}}),
        ('{"a": [1, 2}', {"a": [1, 2]}),
        ('{"a": [1, {"b": 2], "c": 3}', {"a": [1, {"b": 2}], "c": 3}),
        ('{"a": [1, 2}, "b": 3}', {"a": [1, 2], "b": 3}),
        ('{"function": "x"}, "params": {"m": 1}}', {"function": "x", "params": {"m": 1}}),
        ('{"a": 1, "b": , "c"}', {"a": 1}),
        ('{"a": 1, ...}', {"a": 1}),
        ('["a": 1, "b": 2]', {"a": 1, "b": 2}),
        ("(1, 2)", [1, 2]),
        ("{'a': (1, 2), 'b': ()}", {"a": [1, 2], "b": []}),
        ('[{"a": 1, {"b": 2}]', [{"a": 1}, {"b": 2}]),
        ('[{"a": 1, "b"]', [{"a": 1}, "b"]),
        ('{"a": [1, 2], 3], "b": 4}', {"a": [1, 2, 3], "b": 4}),
        ('{"a": {, "b": 1}', {"a": {}, "b": 1}),
        ('{"a": 1], "b": 2}', {"a": 1, "b": 2}),
        ('{"a": {"b": 1], "c": 2}', {"a": {"b": 1}, "c": 2}),
        # the whole of it escaped, other languages' marks and numbers
        ('{\\"a\\": \\"b \\\\\\"c\\\\\\"\\"}', {"a": 'b "c"'}),
        ("{“a”: “say ‘hi’”, “b”：1， “c”: [“d”]}", {"a": "say ‘hi’", "b": 1, "c": ["d"]}),
        (
            '{"a": 0x1F, "b": 1_000, "c": -.5, "d": [+1, 007]}',
            {"a": 31, "b": 1000, "c": -0.5, "d": [1, "007"]},
        ),
        (
            '{a: yes, b-c.d: "x", e f: [g h, i]}',
            {"a": "yes", "b-c.d": "x", "e f": ["g h", "i"]},
        ),
        ('{"a": "#fff", c: #fff}', {"a": "#fff", "c": "#fff"}),
        ('\ufeff{"a": 1}', {"a": 1}),
        ('{"a":\u00a01}', {"a": 1}),
        ('{"a": "x"<|im_end|>}', {"a": "x"}),
    ],
)
def test_a_fault_is_mended_and_reported(text: str, value: Any) -> None:
    found = mended(text)
    assert found.value == value
    assert not found.truncated


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (TEXT[:-1], CALL),
        (TEXT[:-2], CALL),
        (TEXT[:-3], CALL),
        (TEXT[:-4], {"function": "send_message", "params": {"message": "h"}}),
        (
            '\n\n  {\n "function": "s",\n "params": {\n "query": "x y",',
            {"function": "s", "params": {"query": "x y"}},
        ),
        (
            '{\n  "function":{\n  "function": "x", "params": {"a": "he',
            {"function": {"function": "x", "params": {"a": "he"}}},
        ),
        ('{"a": "b", "c', {"a": "b"}),
        ('{"a": "b", "c: d', {"a": "b"}),
        ('{"a": "b}', {"a": "b}"}),
        ('{"a": "b"\n\nI hope that helps', {"a": "b"}),
        ('{"a": "b", "c":', {"a": "b"}),
        ('{"a": tr', {}),
        ('{"a": 12', {}),
        ('{"a": 12.', {}),
        ('{"a": -', {}),
        ('{"a": true', {"a": True}),
        ('{"a": 12 ', {"a": 12}),
        ('{"a": 12<|im_end|>', {"a": 12}),
        ('{"a": "x<|im_end|>', {"a": "x"}),
        ('{"a": "x\\', {"a": "x"}),
        ('{"a": "x\\u00', {"a": "x"}),
        ('{"a": "x\\ud83d', {"a": "x"}),
        ('{"a": "say "hi" to', {"a": 'say "hi" to'}),
        ('{"a": [1, 2, {"b": "x', {"a": [1, 2, {"b": "x"}]}),
        ('{"a": {"b": 1}\nI hope this helps!', {"a": {"b": 1}}),
        ('{"a": {"b": 1}\n```\nBye', {"a": {"b": 1}}),
        ('{"left": {"left": {"n": 1}', {"left": {"left": {"n": 1}}}),
        ("{", {}),
        ('"abc', "abc"),
    ],
)
def test_a_cut_text_is_closed_reported_and_never_completed(text: str, value: Any) -> None:
    found = mended(text)
    assert found.value == value
    assert found.truncated
    assert any("text ends inside a value" in note.message for note in found.notes)


def test_a_cut_restart_is_taken_out_where_the_schema_allows_no_object_there() -> None:
    schema = {"properties": {"function": {"type": "string"}, "params": {"type": "object"}}}
    found = loads('{"function":{"function": "x", "params": {"a": "he', schema=schema)
    assert found.value == {"function": "x", "params": {"a": "he"}}
    assert found.truncated


@pytest.mark.parametrize(
    ("text", "value", "values"),
    [
        ('{"a": 1}{"a": 2}', {"a": 1}, ({"a": 1}, {"a": 2})),
        ('{"a": 1}\n{"a": 2}\n', {"a": 1}, ({"a": 1}, {"a": 2})),
        ('{"a": 1}, {"a": 2}', {"a": 1}, ({"a": 1}, {"a": 2})),
        ('first {"a": 1,} then {"a": 2}', {"a": 1}, ({"a": 1}, {"a": 2})),
        ('[1] and {"a": 2}', {"a": 2}, ([1], {"a": 2})),
        ('{"a": {"m": "x"}, {"a": {}}', {"a": {"m": "x"}}, ({"a": {"m": "x"}}, {"a": {}})),
        ("1 2 3", 1, (1, 2, 3)),
        ("[1] [2]", [1], ([1], [2])),
    ],
)
def test_several_values_are_all_kept(text: str, value: Any, values: tuple[Any, ...]) -> None:
    found = mended(text)
    assert found.value == value
    assert found.values == values
    assert any(f"Found {len(values)} JSON values" in note.message for note in found.notes)


def test_a_whole_object_is_preferred_to_a_cut_one_but_the_cut_is_reported() -> None:
    found = mended('{"a": 1} {"b": "x')
    assert found.value == {"a": 1}
    assert found.values == ({"a": 1}, {"b": "x"})
    assert found.truncated


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "",
        "  \n",
        "see {name} and [below]",
        "2024-01-05",
        "True",
        "NaN",
        "{name}",
        '{"a", "b"}',
        "```\n```",
    ],
)
def test_text_without_json_is_an_error_that_carries_the_text(text: str) -> None:
    with pytest.raises(OutputError) as caught:
        loads(text)
    assert caught.value.text == text


def test_a_note_says_where() -> None:
    found = mended('{"a": 1 "b": 2 "c": 3}')
    assert found.notes[0].message == "Added a missing comma between two values (at 8, 15)."
    assert found.edits == (Edit("comma", 8), Edit("comma", 15))


def test_a_note_lists_eight_places_at_most_and_the_edits_all() -> None:
    found = mended("{" + ",".join(f"k{n}: x" for n in range(10)) + "}")
    assert found.notes[0].message.endswith("(at 1, 7, 13, 19, 25, 31, 37, 43 and 2 more).")
    assert len(found.edits) == 20


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        ('{"a": 1,}', [("trailing", 7)]),
        ("{'a': 1}", [("quotes", 1)]),
        ("{a: True}", [("bare_key", 1), ("python", 4)]),
        ('{"a": "b "c" d"}', [("inner", 9)]),
        ('{"a": "x\ty"}', [("newline", 8)]),
        ('{"a": "\\d"}', [("escape", 7)]),
        ('{"a": 1 /* x */, "b" 2}', [("comment", 8), ("colon", 21)]),
        ('Hi {"a": .5}', [("around", 0), ("number", 9)]),
        ('{"a": [1}', [("closer", 8)]),
        ('{"a": [1], "b": 2', [("value", 16), ("cut", 17)]),
        ('{"a": 1}</s>', [("token", 8)]),
    ],
)
def test_every_edit_is_reported_with_its_rule_and_place(
    text: str, edits: list[tuple[str, int]]
) -> None:
    assert [(edit.rule, edit.offset) for edit in mended(text).edits] == edits


def test_numbers_that_no_float_can_hold_are_left_out() -> None:
    assert mended('{"a": 1e999, "b": 1}').value == {"b": 1}


def depth_of(value: Any) -> int:
    depth = 0
    while value:
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
        depth += 1
    return depth + isinstance(value, (dict, list))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "{" + "}" * 100_001,
        '[{"a":' * 50_000 + "[,]" + "}]" * 50_000,
    ],
)
def test_any_depth_is_read(text: str) -> None:
    # `{"a":` at the very end has no value.
    assert depth_of(loads(text).value) >= 99_999


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[" * 1000 + "]" * 1000, "[" * 251 + "]" * 251]
)
def test_a_limit_of_depth_is_a_clean_error(text: str) -> None:
    with pytest.raises(OutputError, match=f"deeper than {MAX_DEPTH}"):
        loads(text, max_depth=MAX_DEPTH)
    assert loads("[" * 250 + "]" * 250, max_depth=MAX_DEPTH).values


def test_a_whole_value_before_text_nested_too_deep_is_kept() -> None:
    found = loads('{"a": 1}' + "[" * 100_000, max_depth=MAX_DEPTH)
    assert found.value == {"a": 1}
    assert found.notes


@pytest.mark.parametrize("start", ["", "{", '{"a":"', '{"a":1}'])
@pytest.mark.parametrize(
    "unit",
    ["{", '"', "\\", '{"a', '","', '":"', "[{", '{"a":1,', '"/*', "'", " ", '{"a": "b", {', "1"],
)
def test_hostile_text_ends_in_a_value_or_a_clean_error(start: str, unit: str) -> None:
    # Quadratic work on 200,000 characters would take minutes and trip the job's time limit.
    try:
        values = loads(start + unit * (200_000 // len(unit))).values
    except OutputError:
        return
    assert values


def test_importing_it_does_not_import_json_repair_or_the_reader() -> None:
    code = (
        "import sys, llmgate.repair; llmgate.repair.loads('{}');"
        "print(*(m for m in sys.modules if m.startswith(('json_repair', 'llmgate.repair'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"llmgate.repair", "llmgate.repair.strict"}


@given(values, st.sampled_from([None, 2]), st.booleans())
def test_any_valid_json_is_untouched(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = loads(text)
    assert found.value == json.loads(text)
    assert found.values == (found.value,)
    assert not found.notes
    assert not found.truncated


@given(objects, st.booleans())
@settings(max_examples=200)
def test_the_tolerant_reader_reads_valid_json_as_the_decoder_does(
    value: dict[str, Any], ascii_only: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)[:-1] + ",}"
    found = loads(text)
    assert found.value == value
    assert [note.message.partition(" (")[0] for note in found.notes] == [
        "Removed a superfluous comma"
    ]


def _parts(value: Any) -> tuple[list[str], list[Any]]:
    """All strings (keys too) and all other scalars of a value."""
    strings: list[str] = []
    others: list[Any] = []
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str):
            strings.append(item)
        else:
            others.append(item)
    return strings, others


@given(objects, st.booleans(), st.data())
@settings(max_examples=300)
def test_a_prefix_is_cut_and_nothing_in_it_is_invented(
    value: dict[str, Any], ascii_only: bool, data: st.DataObject
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    prefix = text[: data.draw(st.integers(0, len(text) - 1))]
    try:
        found = loads(prefix)
    except OutputError:
        assert not prefix
        return
    # A member that repeats its object's first key reads like a model that began again.
    restarted = any("started again" in note.message for note in found.notes)
    assert found.truncated or restarted
    strings, others = _parts(found.value)
    known_strings, known = _parts(value)
    assert all(any(k.startswith(s) for k in known_strings) for s in strings)
    assert all(any(o == k and type(o) is type(k) for k in known) for o in others)


@given(st.text("{}[]\"':,\\ \nabtrue01.-/*#`<|>", max_size=60))
@settings(max_examples=500)
def test_no_text_raises_anything_but_an_output_error(text: str) -> None:
    try:
        found = loads(text)
    except OutputError:
        return
    assert found.values
    json.dumps(found.value, allow_nan=False)
