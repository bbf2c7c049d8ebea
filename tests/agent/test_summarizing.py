"""Summaries of what leaves the window: transcripts, parts that fit, answers of any kind."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from llmgate.agent.summarizing import Summarizer
from llmgate.agent.transcript import lines_of
from llmgate.backends.scripted import ScriptedBackend
from llmgate.errors import (
    BackendBusy,
    BackendError,
    BackendTimeout,
    BackendUnreachable,
    ContextOverflow,
    OutputError,
)
from llmgate.gateway import Gateway, Route
from llmgate.memory.conversation import Logged
from llmgate.types import Caps, Message, ToolCall
from llmgate.wrappers import Wrapper

AT = datetime(2026, 3, 1, 9, 5).astimezone()
GOOD = "Ann asked where order 77 is. It was sent on Tuesday and is expected on Friday."


def entry(position, message, kind="assistant"):
    return Logged(position, AT, message, kind)


def event(position, **values):
    return entry(position, Message("user", json.dumps(values)), f"event:{values.get('type')}")


def called(position, name, thoughts=None, **arguments):
    call = ToolCall(f"c{position}", name, json.dumps(arguments))
    return entry(position, Message("assistant", thoughts, (call,)))


def returned(position, call, status="OK", message="None"):
    content = json.dumps({"status": status, "message": message, "time": "now"})
    return entry(position, Message("tool", content, tool_call_id=f"c{call}"), "result")


def talk(turns, words=8):
    logged = []
    for at in range(1, 3 * turns, 3):
        logged.append(event(at, type="user_message", message=f"Question {at}: " + "why " * words))
        logged.append(called(at + 1, "send_message", message="Because " + "so " * words))
        logged.append(returned(at + 2, at + 1))
    return logged


class Strict(ScriptedBackend):
    """Refuses what is too long by one word, the answer included."""

    async def complete(self, prompt):
        used = len(prompt.text.split()) + prompt.sampling.max_tokens
        assert used <= self.caps.context, f"{used} in {self.caps.context}"
        async for delta in super().complete(prompt):
            yield delta

    async def count(self, text):
        return len(text.split())


def summarizer_over(*answers, context=1000, wrapper="chatml"):
    backend = Strict(list(answers), caps=Caps(grammar=True, tokenize=True, context=context))
    gateway = Gateway({"m": Route(backend, Wrapper.load(wrapper))})
    return backend, Summarizer(gateway, "m", "agent/ann/summary", window=context)


async def summarize(summarizer, logged, previous="", limit=100, answer=200):
    return await summarizer.summarize(logged, previous, limit=limit, answer=answer)


def test_a_transcript_says_who_said_called_and_found_what():
    logged = [
        event(1, type="login", last_login="Never", time="now"),
        event(2, type="user_message", message="Where is\norder 77?", time="now"),
        called(3, "lookup", "I look it up.", order_id="77", deep=True),
        returned(4, 3, message="sent on Tuesday"),
        event(5, type="heartbeat", reason="again", time="now"),
        called(6, "send_message", "They should know.", message="It was sent on Tuesday."),
        returned(7, 6),
        event(8, type="user_message", message="Thanks!", time="now", name="Ben"),
        called(9, "forget", None, what={"all": 1}),
        returned(10, 9, "Failed", "Error: no such thing"),
        event(11, type="system_alert", message="The window fills up.", time="now"),
        entry(12, Message("assistant", "I have no words.")),
    ]
    time = "[2026-03-01 09:05] "
    assert lines_of(logged) == [
        time + line
        for line in (
            "The person came back.",
            "User: Where is order 77?",
            "Assistant thought: I look it up.",
            "Assistant called lookup(order_id=77, deep=true)",
            "lookup returned: sent on Tuesday",
            "Assistant thought: They should know.",
            "Assistant: It was sent on Tuesday.",
            "Ben: Thanks!",
            'Assistant called forget(what={"all": 1})',
            "forget failed: Error: no such thing",
            "System: The window fills up.",
            "Assistant: I have no words.",
        )
    ]


@pytest.mark.parametrize(
    "message",
    [
        Message("user", "plain words"),
        Message("user", '{"type": "user_message", "message": ["no", "text"]}'),
        Message("user", "{broken"),
        Message("user", '{"type": 5}'),
        Message("tool", "no JSON", tool_call_id="gone"),
        Message("assistant", None, (ToolCall("c", "f", "[1, 2"),)),
        Message("assistant", None, (ToolCall("c", "send_message", '{"message": 7}'),)),
        Message("user", None),
    ],
)
def test_what_is_not_as_expected_has_a_line_or_none(message):
    lines = lines_of([entry(1, message)])
    assert len(lines) == (0 if message.content is None and not message.tool_calls else 1)


def test_long_results_and_arguments_are_cut_in_a_transcript():
    logged = [called(1, "save", text="x" * 9000), returned(2, 1, message="y" * 9000)]
    assert all(100 < len(line) < 700 for line in lines_of(logged))


async def test_the_model_reads_the_transcript_and_the_summary_before_it():
    backend, summarizer = summarizer_over(GOOD)
    made = await summarize(summarizer, talk(2), "Ann has a cat.")
    assert (made.text, made.how, made.calls) == (GOOD, "model", 1)
    [prompt] = backend.prompts
    assert "Ann has a cat." in prompt.text
    assert "User: Question 1: why" in prompt.text
    assert "Assistant: Because so" in prompt.text
    assert prompt.grammar is None
    assert prompt.slot == "agent/ann/summary"
    assert made.note(6).message == "the oldest 6 messages left the window, and were summarised"


async def test_more_than_fits_is_summarised_in_parts_each_with_the_summary_so_far():
    answers = [f"Part {number} is in here. {GOOD}" for number in range(1, 7)]
    backend, summarizer = summarizer_over(*answers)
    made = await summarize(summarizer, talk(60))
    assert made.how == "recursive"
    assert 2 <= made.calls == len(backend.prompts) <= 6
    for number, prompt in enumerate(backend.prompts[1:], 1):
        assert f"Part {number} is in here." in prompt.text
    assert made.text.startswith(f"Part {made.calls} ")
    told = "\n".join(prompt.text for prompt in backend.prompts)
    assert all(told.count(f"Question {at}:") == 1 for at in range(1, 180, 3))


async def test_no_number_of_messages_takes_more_than_a_few_calls():
    backend, summarizer = summarizer_over(*[GOOD] * 20)
    made = await summarize(summarizer, talk(3000, words=40))
    assert len(backend.prompts) <= 6
    assert made.how == "dropped"
    assert made.text == GOOD
    note = made.note(9000)
    assert note.code == "trimmed"
    assert "too much of it" in note.message or "too long" in note.message
    # The newest are told of, the oldest are not.
    assert "Question 8998:" in backend.prompts[-1].text


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "wrote nothing"),
        (" \n ", "wrote nothing"),
        ("12 34 56 78 90 !!", "wrote no sentence"),
        ('{"function": "send_message", "params": {"message": "Hi there!"}}', "wrote JSON"),
        ('{"function": "send_message", "params": {"mess', "wrote JSON"),
        ("and then it went on " * 60, "repeated itself"),
        ("<|im_start|>", "wrote nothing"),
        (BackendTimeout("It took 120 s."), "It took 120 s."),
        (BackendError("Out of memory."), "Out of memory."),
        (OutputError("Unusable."), "Unusable."),
        (ContextOverflow("Too long."), "Too long."),
    ],
)
async def test_a_model_that_gives_no_summary_costs_the_summary_and_nothing_else(answer, why):
    _, summarizer = summarizer_over(answer)
    made = await summarize(summarizer, talk(3), "Ann has a cat.")
    assert (made.how, made.text) == ("dropped", "Ann has a cat.")
    said = made.note(9).message
    assert why in said
    assert "recall memory" in said


@pytest.mark.parametrize("error", [BackendUnreachable("Nobody is there."), BackendBusy("Later.")])
async def test_a_backend_that_is_not_there_now_is_worth_waiting_for(error):
    _, summarizer = summarizer_over(error)
    with pytest.raises(type(error)):
        await summarize(summarizer, talk(3))


async def test_a_failure_in_the_middle_keeps_what_there_is():
    backend, summarizer = summarizer_over(GOOD, "")
    made = await summarize(summarizer, talk(60))
    assert (made.how, made.text) == ("dropped", GOOD)
    assert len(backend.prompts) == 2
    assert "without a whole summary" in made.note(180).message


async def test_a_summary_that_is_too_long_ends_with_a_whole_sentence():
    long = " ".join(f"Ann told a story of number {number} on that day." for number in range(60))
    _, summarizer = summarizer_over(long)
    made = await summarize(summarizer, talk(3), limit=50)
    assert 20 < len(made.text.split()) < 50
    assert made.text.endswith("day.")
    assert long.startswith(made.text)


async def test_an_answer_that_was_cut_off_ends_with_its_last_whole_sentence():
    _, summarizer = summarizer_over("Ann likes tea in the morning. Ben likes coffee, and she said")
    made = await summarize(summarizer, talk(3), answer=10)
    assert made.text == "Ann likes tea in the morning."


@pytest.mark.parametrize("text", [f"Summary: {GOOD}", f"{GOOD}</s>", f"The new summary:\n{GOOD}"])
async def test_what_models_put_around_a_summary_is_taken_off(text):
    _, summarizer = summarizer_over(text)
    assert (await summarize(summarizer, talk(3))).text == GOOD


async def test_half_a_character_in_a_summary_is_replaced():
    _, summarizer = summarizer_over(f"{GOOD} \ud83d and so on.")
    made = await summarize(summarizer, talk(3))
    assert made.text == f"{GOOD} \ufffd and so on."


async def test_nothing_worth_telling_takes_no_call():
    backend, summarizer = summarizer_over()
    quiet = [event(1, type="heartbeat", reason="again", time="now"), returned(2, 1)]
    made = await summarize(summarizer, quiet, "Ann has a cat.")
    assert (made.text, made.how, backend.prompts) == ("Ann has a cat.", "model", [])


@pytest.mark.parametrize("context", [260, 300, 400])
async def test_in_the_smallest_windows_it_fits_or_says_that_it_does_not(context):
    backend, summarizer = summarizer_over(*[GOOD] * 6, context=context)
    logged = [event(1, type="user_message", message="word " * 5000, time="now"), *talk(4)]
    made = await summarize(summarizer, logged, "old " * 500, limit=context // 8, answer=64)
    assert len(made.text.split()) <= context // 8
    assert made.how != "dropped" or "because" in made.note(3).message
    assert len(backend.prompts) <= 6


@pytest.mark.parametrize("wrapper", ["airoboros", "zephyr", "dolphin", "summary"])
async def test_every_wrapper_writes_the_request(wrapper):
    backend, summarizer = summarizer_over(GOOD, wrapper=wrapper)
    assert (await summarize(summarizer, talk(2))).text == GOOD
    assert "User: Question 1:" in backend.prompts[0].text
