"""Where two prompts differ, what of them it is in, why, and what it costs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.agent.explaining import Place, explain, kept, spelled_out, texts

FUNCTIONS = (
    "You can call functions.\n\nAvailable functions:\n  send_message:\n"
    "    description: Says it.\n    params:\n      message: What. (string)"
)


def event(text, kind="user_message", at="2026-11-21 10:00:00 AM UTC+0000"):
    return json.dumps({"type": kind, "message": text, "time": at})


def result(text="None"):
    return json.dumps({"status": "OK", "message": text, "time": "2026-11-21 10:00:01 AM"})


def turn(role, text):
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def prompt(*turns, human="Bo", memory="", functions=FUNCTIONS):
    blocks = f'<human characters="{len(human)}/2000">\n{human}\n</human>'
    head = turn("system", f"You are Iris.\n{memory}{blocks}\n{functions}")
    return "".join([head, *turns]) + "<|im_start|>assistant\n"


HELLO = turn("user", event("Hello."))
ANSWER = turn("assistant", '{"function": "send_message", "params": {"message": "Hi."}}')
DONE = turn("tool", result())


def test_a_prompt_that_has_grown_is_not_read_again():
    found = explain(prompt(HELLO), prompt(HELLO, ANSWER, DONE))
    assert found.grown
    assert found.again == 0
    assert (found.why, found.old_token) == ("", "")
    assert "nothing is read again" in found.lines()[0]


def test_the_same_prompt_costs_nothing():
    found = explain(prompt(HELLO), prompt(HELLO))
    assert (found.grown, found.read, found.share) == (True, 0, 1.0)


@pytest.mark.parametrize(
    ("before", "after", "what", "why"),
    [
        (
            prompt(HELLO),
            prompt(HELLO, human="Bo. Likes tea."),
            "the core-memory block 'human'",
            "core memory in the head has changed",
        ),
        (
            prompt(HELLO, human="Bo likes tea"),
            prompt(HELLO, human="Bo likes pie"),
            "the core-memory block 'human'",
            "core memory in the head has changed",
        ),
        (
            prompt(HELLO, memory="### Memory [last modified: 2026-11-21 10:00:00 AM]\n"),
            prompt(HELLO, memory="### Memory [last modified: 2026-11-21 10:05:00 AM]\n"),
            "the line with the time of the last memory edit",
            'layout = "cached"',
        ),
        (
            prompt(HELLO, memory="12 messages are in recall memory.\n"),
            prompt(HELLO, memory="14 messages are in recall memory.\n"),
            "the line with the counts of the memories",
            'layout = "cached"',
        ),
        (
            prompt(HELLO),
            prompt(HELLO, functions=FUNCTIONS.replace("Says it", "Tells it")),
            "the list of functions",
            "keep the list constant",
        ),
        (
            prompt(HELLO, ANSWER),
            prompt(turn("user", event("Hullo.")), ANSWER),
            "an event of the type 'user_message'",
            "was changed, put in, or taken out",
        ),
        (
            prompt(HELLO, ANSWER, DONE),
            prompt(HELLO, ANSWER, turn("tool", result("Nothing"))),
            "the result of a function",
            "was changed, put in, or taken out",
        ),
        (
            prompt(HELLO, ANSWER, DONE),
            prompt(
                turn(
                    "user",
                    event(
                        "2 earlier messages of this conversation are not shown any more.",
                        "system_alert",
                    ),
                )
            ),
            "the summary of what has left the window",
            "the oldest messages have left the window",
        ),
        (
            prompt(HELLO, ANSWER),
            prompt(HELLO, turn("assistant", ANSWER[22:-11].replace('": ', '":\n  '))),
            "",
            "another layout",
        ),
        (
            prompt(turn("user", event("Hello.", at="2026-11-21 10:00:00 AM"))),
            prompt(turn("user", event("Hello.", at="2026-11-21 10:00:07 AM"))),
            "an event of the type 'user_message'",
            "a date or time stands there",
        ),
    ],
)
def test_what_has_changed_and_why(before, after, what, why):
    found = explain(before, after)
    assert not found.grown
    assert what in found.what
    assert why in found.why
    assert before[: found.shared] == after[: found.shared]
    assert before[found.shared : found.shared + 1] != after[found.shared : found.shared + 1]


def test_the_token_that_differs_is_a_whole_word():
    found = explain("I like the harbour here.", "I like the harbours here.")
    assert (found.old_token, found.token) == ("harbour", "harbours")
    assert found.start == len("I like the ")
    assert found.shared == len("I like the harbour")


def test_the_cost_is_counted_from_that_token_on():
    found = explain("one two three", "one two four five", count=lambda text: len(text.split()))
    assert (found.known, found.read, found.again, found.exact) == (2, 2, 1, True)
    assert found.share == 0.5
    assert (
        "2 of 4 tokens are read (50.0 % cached), 1 of them for the second time"
        in (found.lines()[-1])
    )
    assert "about" in explain("one two three", "one two four").lines()[-1]


def test_places_that_are_known_are_named():
    places = [
        Place(0, "message 1 (system)", 3, "{{ head }}"),
        Place(10, "message 2 (user)", 7, "{{ message.text }}"),
    ]
    found = explain("0123456789abc", "0123456789axc", places=places)
    assert found.what == "message 2 (user)"
    assert (found.template, found.written) == (7, "{{ message.text }}")
    assert "Written by line 7 of the template: {{ message.text }}" in found.lines()


def test_a_history_that_was_cut_short_is_named():
    found = explain(prompt(HELLO, ANSWER)[:-22], prompt(HELLO)[:-22])
    assert found.why == "the end of the conversation was taken back"
    assert found.token == ""


@given(st.text('ab <>\n{}"', max_size=40), st.text('ab <>\n{}"', max_size=40))
def test_any_two_texts_can_be_explained_and_kept(before, after):
    found = explain(before, after)
    assert before[: found.shared] == after[: found.shared]
    assert found.grown == after.startswith(before)
    assert all("\n" not in line for line in found.lines())
    assert texts(json.loads(json.dumps(kept(before, after)))) == (before, after)


def said(role, content, **more):
    return {"role": role, "content": content, "tool_calls": [], "name": None, **more}


def explained(before, after):
    one, other, places = spelled_out(json.dumps(before), json.dumps(after))
    return explain(one, other, places=places)


HEAD = said("system", "You are Iris.\n\n12 messages are in recall memory.\n\nBe kind.")
CALLED = said("assistant", None, tool_calls=[{"id": "1", "name": "look", "arguments": "{}"}])


def test_messages_in_json_that_have_become_more_are_a_prompt_that_has_grown():
    first = [HEAD, said("user", event("Hello."))]
    found = explained(first, [*first, CALLED, said("tool", result(), tool_call_id="1")])
    assert (found.grown, found.why, found.again) == (True, "", 0)
    assert found.known > 0
    assert found.read > 0


@pytest.mark.parametrize(
    ("changed", "what", "why"),
    [
        (
            {0: said("system", HEAD["content"].replace("12", "14"))},
            "the line with the counts of the memories, in message 1 (system)",
            'layout = "cached"',
        ),
        (
            {1: said("user", event("Hello there."))},
            "message 2 (user)",
            "was changed, put in, or taken out",
        ),
        (
            {1: said("user", event("2 messages of this conversation are not shown any more"))},
            "the summary of what has left the window, in message 2 (user)",
            "the oldest messages have left the window",
        ),
        (
            {2: {**CALLED, "tool_calls": [{"id": "1", "name": "see", "arguments": "{}"}]}},
            "message 3 (assistant)",
            "was changed, put in, or taken out",
        ),
    ],
)
def test_what_has_changed_in_messages_is_named(changed, what, why):
    before = [HEAD, said("user", event("Hello.")), CALLED, said("tool", result())]
    after = [changed.get(number, message) for number, message in enumerate(before)]
    found = explained(before, [*after, said("user", event("More."))])
    assert not found.grown
    assert found.what == what
    assert why in found.why


@pytest.mark.parametrize("text", ["", "[]", "[{]", "[{}]", '[{"role": 1}]', "[1]", "You are Iris."])
def test_what_is_no_array_of_messages_is_compared_as_it_is(text):
    messages = json.dumps([HEAD])
    assert spelled_out(messages, text) == (messages, text, [])
    assert spelled_out(text, messages) == (text, messages, [])


@pytest.mark.parametrize("stored", [None, {}, {"before": "a", "shared": "1", "rest": ""}, [1]])
def test_what_is_stored_otherwise_is_no_prompt(stored):
    assert texts(stored) is None
