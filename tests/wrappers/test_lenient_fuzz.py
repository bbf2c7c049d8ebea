"""Whatever text is read leniently: nothing is made up, nothing crashes, nothing takes long."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from styled import call_of, marked, typed_calls

from llmgate.errors import OutputError
from llmgate.styles import STYLES, style
from llmgate.wrappers.lenient import read_calls
from llmgate.wrappers.writing import write_calls

SCHEMAS = {
    "get_weather": {
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "tags": {"type": "array"},
            "where": {"type": "object"},
            "exact": {"type": "boolean"},
        }
    },
    "other": {"properties": {"q": {"type": "string"}}},
}
every_style = pytest.mark.parametrize("name", STYLES)


def read(name, text, schemas=SCHEMAS):
    return read_calls(text, style(name), schemas)


@every_style
@settings(max_examples=15)
@given(pair=typed_calls())
def test_any_call_is_read_as_it_was_written(name, pair):
    call, schema = pair
    text = write_calls(style(name), [call], {call.name: schema})
    (found,) = read(name, text, schemas={call.name: schema})
    assert (found.name, found.cut) == (call.name, "no")
    meant = json.loads(call.arguments)
    assert json.dumps(found.arguments, sort_keys=True) == json.dumps(meant, sort_keys=True)


def leaves(value):
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield value
    elif value is not None and not isinstance(value, bool):
        yield str(value).lstrip("-")


plain = st.text("abcxyz ,.:;=()-", max_size=20).map(str.strip)


@every_style
@settings(max_examples=25)
@given(
    arguments=st.fixed_dictionaries(
        {}, optional={"city": plain, "days": st.integers(), "tags": st.lists(plain, max_size=2)}
    ),
    at=st.floats(0, 1),
    junk=st.text(max_size=3) | marked,
    gone=st.integers(0, 4),
)
def test_nothing_is_made_up_where_a_text_is_damaged(name, arguments, at, junk, gone):
    text = write_calls(style(name), [call_of("get_weather", arguments)], SCHEMAS)
    start = int(at * len(text))
    text = text[:start] + junk + text[start + gone :]
    try:
        calls = read(name, text)
    except OutputError:
        return
    if "\\" in junk:
        return  # what an escape stands for does not stand in the text
    for call in calls:
        for leaf in leaves(call.arguments):
            assert leaf in text


@every_style
@settings(max_examples=15)
@given(
    text=st.lists(
        st.sampled_from(["{", '"', "\\", "x", "\n", "<", "get_weather", "5", ","]) | marked
    ).map("".join)
)
def test_any_text_is_read_or_refused(name, text):
    own = style(name)
    for start in (own.opener, own.open + own.begin + "get_weather" + own.middle + own.parameter[0]):
        try:
            calls = read(name, start + text)
        except OutputError:
            continue
        for call in calls:
            json.dumps(call.arguments, ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["hermes", "qwen-coder", "glm", "pythonic", "gemma", "minicpm"])
@pytest.mark.parametrize(
    "junk",
    ["<tool_call>", "<parameter=a>", "<arg_key>a", "get_weather(", ")", " ", "\n", '<|"|>', "city=",
     "<![CDATA[", "{", '{"a":', "'", "\\", '<param name="', "</function>", '"'],
)  # fmt: skip
def test_hostile_text_takes_linear_work(name, junk):
    # Quadratic work on this much would not end within the suite's time.
    own = style(name)
    text = f"{own.open}{own.begin}get_weather{own.middle}" + junk * (100_000 // len(junk))
    with contextlib.suppress(OutputError):  # for what is nested too deep
        read(name, text)
