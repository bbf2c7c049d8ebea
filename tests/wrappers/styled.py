"""Calls for the tests of the styles: how they are scanned, and all sorts of them."""

from __future__ import annotations

import itertools
import json

from hypothesis import strategies as st

from llmgate.styles import STYLES
from llmgate.types import ToolCall
from llmgate.wrappers.kinds import type_of
from llmgate.wrappers.scanner import StyleScanner, Unreadable
from llmgate.wrappers.writing import write_calls

# Styles whose strings are raw: they can't hold the mark that ends them.
RAW = [s for s in STYLES.values() if s.arguments in ("parameters", "gemma")]


def scanned(style, text, schemas=None, cuts=(), **how):
    """The texts of a call's events by their kind, the scanner, and why it stopped reading."""
    scanner = StyleScanner(style, schemas or {}, **how)
    parts = {"thoughts": [], "name": [], "arguments": [], "end": []}
    error = None
    edges = [0, *sorted(cuts), len(text)]
    try:
        for start, end in itertools.pairwise(edges):
            for event in scanner.feed(text[start:end]):
                parts[event.kind].append(event.text)
    except Unreadable as caught:
        error = str(caught)
    ended = bool(parts.pop("end"))
    assert ended == scanner.done
    return {kind: "".join(texts) for kind, texts in parts.items()}, scanner, error


def one_call(style, call, schemas=None, **how):
    """The text of a call as the scanner gets it: without what is around all calls."""
    text = write_calls(style, [call], schemas or {}, **how)
    if how.get("place", "off") == "beside" and style.head != "object":
        text = text.removeprefix(f"{how.get('thoughts', '')}\n")
    text = text.removeprefix(style.open)
    return text[: len(text) - len(style.close)] if style.close else text


def call_of(name, arguments, **how):
    how.setdefault("ensure_ascii", False)
    return ToolCall("call00001", name, json.dumps(arguments, **how))


def canonical(value):
    """What tells apart values that Python takes for equal: 1, 1.0 and true."""
    return json.dumps(value, sort_keys=True)


def cuttings(text, most=12):
    return st.lists(st.integers(0, len(text)), max_size=most)


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
keys = st.from_regex(r"[A-Za-z_$@][A-Za-z0-9_.$-]{0,12}", fullmatch=True)
# Texts full of what means something to one of the styles.
marked = st.lists(
    st.sampled_from(
        [
            *("\n", " ", "'", '"', "\\", "{", "}", "[", "]", "(", ")", ",", ":", "=", "<", ">"),
            *(
                "</",
                "parameter",
                "<function=",
                "</tool_call",
                "<tool_call>",
                "```",
                "]]>",
                "<![CDATA[",
            ),
            *("<|", "|>", '<|"|', "[ARGS]", "null", "5", "true", "True", '"5"', "\\u00", "\\ud83d"),
            *("é", "😀", "｜", "\u2028", "\t", "\r", "\0", "\ufeff"),
        ]
    ),
    max_size=8,
).map("".join)
texts = st.text() | marked
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**30, 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def typed_calls(draw):
    """A call and the schema of its function, in which each argument has a fitting type or none."""
    arguments = draw(st.dictionaries(keys, values, max_size=4))
    properties = {}
    for key, value in arguments.items():
        kind = type_of(value)
        other = draw(st.sampled_from(["null", "string", "integer", "object"]))
        properties[key] = draw(
            st.sampled_from(
                [
                    {"type": kind},
                    {"type": [kind, other]},
                    {"anyOf": [{"type": other}, {"type": kind}]},
                    {"enum": [value]},
                    {"$ref": "#/$defs/it"} if kind == "string" else {"type": kind},
                    {},
                    None,
                ]
            )
        )
    known = {key: schema for key, schema in properties.items() if schema is not None}
    schema = {"type": "object", "properties": known, "$defs": {"it": {"type": "string"}}}
    how = draw(st.sampled_from([{}, {"ensure_ascii": True}, {"indent": 2}]))
    return call_of(draw(names), arguments, **how), schema
