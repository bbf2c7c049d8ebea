"""Every class of fault that models are known for: mended, and reported with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import CALL, TEXT, mended, objects

from llmgate.repair import Edit, loads


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
        ('{1": "x", "2": "y"}', {"1": "x", "2": "y"}),
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
        # a call that is whole, and garbage behind it
        (TEXT + '\n}{ "x" ]: garbage "func', CALL),
        (TEXT + ' "', CALL),
    ],
)
def test_a_fault_is_mended_and_reported(text: str, value: Any) -> None:
    found = mended(text)
    assert found.value == value
    assert not found.truncated


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
