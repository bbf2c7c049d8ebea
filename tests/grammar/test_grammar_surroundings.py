"""What may stand around calls: thoughts, frames, words, and marks that are only spoken of."""

from __future__ import annotations

import pytest

from llmgate.grammar import Grammar, Matcher, check, compile_calls
from llmgate.grammar.builder import Builder
from llmgate.grammar.calls.until import Word, free, text_rule, until, word
from llmgate.styles import STYLES
from llmgate.types import Tool

TOOLS = (Tool("now"), Tool("later", "", {"properties": {"n": {"type": "integer"}}}))
HERMES, HARMONY, KIMI, SOLAR = (STYLES[name] for name in ("hermes", "harmony", "kimi-k3", "solar"))
CALL = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'


def matcher(grammar: Grammar) -> Matcher:
    check(grammar.text)
    return Matcher(grammar.text)


def of(*words: Word, targets: tuple[str, ...] = (), ends: bool = True) -> Matcher:
    builder = Builder()
    builder.define("root", text_rule(builder, "text", words, targets, ends=ends))
    check(builder.text())
    return Matcher(builder.text())


def test_a_text_is_followed_up_to_its_mark() -> None:
    for mark in ("</x>", "aab", "aaa", ">>>", "abcabd", "}"):
        builder = Builder()
        builder.define("root", until(builder, mark))
        ending = Matcher(builder.text())
        builder = Builder()
        builder.define("root", free(builder, mark))
        without = Matcher(builder.text())
        for text in ("", mark[:-1], f"x{mark[0]}{mark[1:-1]}y", "aa", "abcabc", "é\n<<", "a a"):
            if mark in text:
                continue
            assert without.matches(text)
            assert not ending.matches(text)
            if (text + mark).index(mark) == len(text):
                assert ending.matches(text + mark), (text, mark)
                assert not ending.accepts_prefix(f"{text}{mark}x")
            assert not without.accepts_prefix(text + mark)


def test_white_space_in_a_mark_may_be_any_but_between_words() -> None:
    mark = of(word("<a b>\n<c>", "anywhere"))
    for text in ("<a b><c>", "<a \n b> \t\n<c>", "x<a<a b> <c>"):
        assert not mark.accepts_prefix(text), text
    for text in ("<ab><c>", "<a b>", "<a b> < c>", "a b c"):
        assert mark.matches(text), text


def test_a_mark_in_quotes_is_only_spoken_of() -> None:
    spoken = of(word("<t>", "unquoted", 0), targets=('"!"',))
    for text in ("<t>!", "say <t>!", '"x" <t>!', '"<t>" and <t>!', "'`<t>` <t>!"):
        assert spoken.matches(text), text
    for text in ("<t>", "say <t>?", '"<<t>', '"<t>!<t>'):
        assert not spoken.matches(text), text
    assert spoken.matches('"<t>" is a tag')


def test_places_of_words_are_told_apart() -> None:
    start, line = of(word("Ab", "start")), of(word("Ab", "line"))
    first = of(word("Ab", "first"))
    for text, at_start, at_line, at_first in (
        ("Ab", False, False, False),
        (" \nAb", False, False, True),
        ("x\nAb", True, False, True),
        ("x Ab", True, True, True),
        ("AAb", True, True, True),
    ):
        assert start.matches(text) == at_start, text
        assert line.matches(text) == at_line, text
        assert first.matches(text) == at_first, text


def test_of_two_marks_that_end_together_the_longer_one_counts() -> None:
    both = of(word("to=", "anywhere", 0), word("<c> to=", "anywhere", 1), targets=('"1"', '"2"'))
    assert both.matches("x to=1")
    assert both.matches("<c>\nto=2")
    assert not both.matches("<c> to=1")


def test_words_before_a_call_are_free_and_nothing_comes_behind_it() -> None:
    auto = matcher(compile_calls(TOOLS, HERMES, required=False))
    for text in (
        CALL,
        f"Well.\n{CALL}\n",
        "I would write `<tool_call>` here.",
        f'"<tool_call>" is how I call: {CALL}',
        "<tool_call",
        "",
    ):
        assert auto.matches(text), text
    for text in (f"{CALL} Done.", f"{CALL}\n{CALL}", "<tool_call>now</tool_call>", "a <tool_call>"):
        assert not auto.matches(text), text
    several = matcher(compile_calls(TOOLS, HERMES, required=False, parallel=True))
    assert several.matches(f"Well.\n{CALL}\n{CALL}")
    assert not several.matches(f"{CALL}\nWell.\n{CALL}")
    assert several.matches("\n".join([CALL] * 16))
    assert not several.matches("\n".join([CALL] * 17))


def test_thoughts_may_speak_of_calls() -> None:
    auto = matcher(compile_calls(TOOLS, HERMES, required=False))
    assert auto.matches(f"<think>I could <tool_call> something {{</think>\n\n{CALL}")
    assert auto.matches("<think>Hm.</think>Hello.")
    assert not auto.matches("<think>Hm. <tool_call>")
    assert auto.matches("Some models write <think> first.")


def test_an_answer_may_go_on_inside_thoughts() -> None:
    pairs = (("<think>", "</think>"),)
    for required in (True, False):
        going = matcher(
            compile_calls(TOOLS, HERMES, required=required, reasoning=pairs, opened="</think>")
        )
        assert going.matches(f"I {CALL} could.</think>\n\n{CALL}")
        assert going.matches(f"</think>{CALL}")
        assert not going.matches(CALL)
        assert going.matches("Hm.</think>Hello.") != required


def test_an_answer_may_go_on_inside_a_frame() -> None:
    call = '<|open|>tools<|sep|><|open|>call tool="now" index="1"<|sep|><|close|>call<|sep|>'
    call += "<|close|>tools<|sep|>"
    close = "<|close|>response<|sep|>"
    for opened in KIMI.frames[0]:
        auto = matcher(compile_calls(TOOLS, KIMI, required=False, opened=opened))
        forced = matcher(compile_calls(TOOLS, KIMI, required=True, opened=opened))
        assert auto.matches(f"Hello.{close}")
        assert auto.matches(f"Hello.{close}{call}")
        assert not forced.matches(f"Hello.{close}")
        assert forced.matches(f"Hello.{close}{call}")


def test_channels_are_the_frames_of_harmony() -> None:
    auto = matcher(
        compile_calls(TOOLS, HARMONY, required=False, parallel=True, reasoning=HARMONY.reasoning)
    )
    think = "<|channel|>analysis<|message|>Hm.<|end|>"
    call = "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}"
    start = "<|start|>assistant"
    for text in (
        "<|channel|>final<|message|>Hello.",
        f"{think}{start}<|channel|>final<|message|>Hello.",
        f"{think}{start}{think}{start}{call}",
        f"{call}<|call|>",
        f"{call}<|call|>{start}{call}<|call|>",
        f"<|channel|>commentary<|message|>I'll look.<|end|>{start}{call}<|call|>",
        f"{think}{start} to=functions.now<|channel|>commentary json<|message|>{{}}<|call|>",
    ):
        assert auto.matches(text), auto.mismatch(text)
    for text in (
        "Hello.",
        think,
        f"{call}<|call|>{think}",
        call.replace("now", "never"),
        call.replace("{}", "[]"),
        f"<|channel|>final<|message|>{call} more",
    ):
        assert not auto.matches(text), text


def test_words_and_calls_stand_in_their_own_parts() -> None:
    auto = matcher(compile_calls(TOOLS, SOLAR, required=False))
    call = "<|tool_calls|><|tool_call:begin|>a1<|tool_call:name|>now<|tool_call:args|>{}"
    call += "<|tool_call:end|>"
    assert auto.matches("<|content|>Hello.")
    assert auto.matches(f"{call}<|calls|>")
    assert auto.matches(call)
    assert auto.matches(f"<|content|>I look.<|end|><|begin|>assistant{call}<|calls|>")
    assert not auto.matches("Hello.")


@pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.name)
def test_words_before_a_required_call_are_bounded(style) -> None:
    grammar = compile_calls(TOOLS, style, required=True, thoughts="beside")
    if style.head == "object":
        return
    assert not matcher(grammar).accepts_prefix("x" * 1_300)
    assert matcher(grammar).accepts_prefix("x" * 600)
    assert not matcher(grammar).matches("x" * 600)


def test_many_tools_of_a_style_with_a_weak_mark_make_no_large_automaton() -> None:
    tools = [Tool(f"a_rather_long_name_of_a_function_{number}") for number in range(60)]
    grammar = compile_calls(tools, STYLES["pythonic"], required=False)
    assert len(grammar.text) < 20_000
    auto = matcher(grammar)
    assert auto.matches("[a_rather_long_name_of_a_function_7()]")
    assert auto.matches("See [1] and [this](that).")
    assert not auto.matches("[a_rather_long_name_of_a_function_7(x=1)]")
