"""What the agent's terminal makes of texts: clean, on one line, read while they are written."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from llmgate.agent.steps import Step
from llmgate.cli.agent.argument import StringArgument
from llmgate.cli.agent.clean import clean, fitted, one_line
from llmgate.cli.agent.display import call_text
from llmgate.cli.agent.opening import free_name
from llmgate.cli.agent.turn import Turn, summary
from llmgate.cli.agent.wrapping import Wrapping, wrapped
from llmgate.types import Note, ToolCall, Usage

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def read(text, size=1, name="message"):
    argument = StringArgument(name)
    return "".join(argument.feed(text[at : at + size]) for at in range(0, len(text), size))


@given(
    st.dictionaries(st.sampled_from(["message", "messag", 'mess"age', ""]) | st.text(), VALUES),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([None, 2]),
)
def test_an_argument_is_the_same_however_it_is_cut(arguments, size, escaped, indent):
    text = json.dumps(arguments, ensure_ascii=escaped, indent=indent)
    wanted = arguments.get("message")
    wanted = wanted if isinstance(wanted, str) else ""
    if any("\ud800" <= character <= "\udfff" for character in wanted):
        wanted = wanted.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert read(text, size) == wanted


def test_an_argument_is_there_before_the_call_is_finished():
    argument = StringArgument("message")
    pieces = ['{"mess', 'age"', ': "Hel', "lo \\u00", "e9\\ud83d", '\\ude00!"', ', "x": "no"}']
    assert [argument.feed(piece) for piece in pieces] == ["", "", "Hel", "lo ", "é", "😀!", ""]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"message": "a\\ud83d b"}', "a\ufffd b"),
        ('{"message": "a\\ude00"}', "a\ufffd"),
        ('{"message": "\\uZZZZ!"}', "\ufffd!"),
        ('{"x": {"message": "no"}, "message": "yes"}', "yes"),
        ('{"x": ["message", "no"], "message": "yes"}', "yes"),
        ('["message"]', ""),
        ("}}}}", ""),
        ("no json", ""),
    ],
)
def test_strange_arguments_give_what_can_be_made_of_them(text, wanted):
    assert read(text) == wanted


@given(st.text())
def test_clean_text_has_nothing_that_a_terminal_acts_on(text):
    shown = clean(text + "\x1b[31m\x9b2J\x07\x7f\u202e\r")
    assert not any(ord(character) < 32 and character not in "\n\t" for character in shown)
    assert not any(0x7F <= ord(character) < 0xA0 for character in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069")
    shown.encode()


@given(st.text(), st.integers(0, 20))
def test_cleaning_pieces_gives_the_pieces_of_the_clean_text(text, at):
    assert clean(text[:at]) + clean(text[at:]) == clean(text)


def test_line_breaks_and_tabs_stay_and_other_writing_is_not_touched():
    assert clean("a\n\tb é 你好 שלום 😀") == "a\n\tb é 你好 שלום 😀"


def test_one_line_is_one_line():
    assert one_line(" a\r\n\tb\u2028c\x0bd ") == "a b cd"


@pytest.mark.parametrize(
    ("text", "width", "wanted"),
    [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abcde…"), ("你好你好", 6, "你好…"), ("abc", 0, "…")],
)
def test_a_text_is_fitted_by_the_columns_that_it_takes(text, width, wanted):
    assert fitted(text, width) == wanted


def test_a_call_reads_like_a_call():
    call = ToolCall("1", "f", '{"a": "x\\ny", "b": [1, null]}')
    assert call_text(call) == 'f(a="x\\ny", b=[1,null])'
    assert call_text(ToolCall("1", "f", "broken")) == "f(broken)"
    assert call_text(ToolCall("1", "f", "[1]")) == "f([1])"
    assert call_text(ToolCall("1", "f", "")) == "f()"


def test_the_line_after_a_turn_adds_its_steps_up():
    step = Step(1, datetime(2026, 1, 2, tzinfo=UTC))
    steps = [
        msgspec.structs.replace(step, usage=Usage(1000, 20, 500), notes=(Note("repaired", "a"),)),
        msgspec.structs.replace(step, usage=Usage(1000, 20, 900), notes=(Note("repaired", "b"),)),
    ]
    assert summary(Turn(steps, 2.0)) == (
        "2,000 tokens in · 70 % cached · 40 out · 20.0 tokens/s · 2 steps · repaired ×2"
    )
    assert summary(Turn([msgspec.structs.replace(step, usage=Usage(10, 2))])) == (
        "10 tokens in · 2 out"
    )
    assert summary(Turn([step])) == ""


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ((), "agent"),
        (("ann",), "agent"),
        (("agent",), "agent_2"),
        (("agent", "agent_7", "agent_x"), "agent_8"),
    ],
)
def test_a_new_agent_gets_a_name_that_none_has(names, wanted):
    assert free_name(names) == wanted


@given(
    st.text(
        st.sampled_from(list("ab \n\té你😀")) | st.characters(exclude_categories=["C", "Z", "M"])
    ),
    st.integers(4, 30),
    st.lists(st.integers(1, 6), min_size=1),
)
def test_wrapping_loses_nothing_and_breaks_at_words(text, width, sizes):
    wrapping, out, at = Wrapping(), [], 0
    for size in sizes * (len(text) + 1):
        out.append(wrapping.feed(text[at : at + size], width))
        at += size
        if at >= len(text):
            break
    shown = "".join(out) + wrapping.flush(width)
    assert shown.split() == text.split()
    for line in shown.split("\n"):
        assert cell_len(line.rstrip()) <= width or "\t" in line or len(line.split()[-1]) > 3


def test_a_word_that_was_shown_in_part_is_not_broken():
    wrapping = Wrapping()
    assert wrapping.feed("one two thr", 10) + wrapping.flush(10) == "one two\nthr"
    assert wrapping.feed("eetwelve x ", 10) + wrapping.flush(10) == "eetwelve x"


def test_a_whole_text_keeps_its_indentation():
    assert wrapped("- one\n  two three four", 12) == "- one\n  two three\n  four"
