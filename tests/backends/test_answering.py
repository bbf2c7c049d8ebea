"""From the events of one answer to its deltas: how they come together makes no difference."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.backends.answering import Answering
from llmgate.backends.llamacpp_json import AnswerReader
from llmgate.backends.server import Server
from llmgate.backends.sse import Event
from llmgate.config import ModelSettings
from llmgate.errors import BackendError, LlmgateError
from llmgate.types import Delta


def server() -> Server:
    settings = ModelSettings(url="http://127.0.0.1:9")
    return Server("m", settings, kind="llama-server", example="http://127.0.0.1:8080")


def piece(text: str, **fields: Any) -> Event:
    return Event(json.dumps({"content": text, "stop": False, **fields}))


def end(**fields: Any) -> Event:
    last = {"content": "", "stop": True, "stop_type": "eos", "tokens_predicted": 3, **fields}
    return Event(json.dumps(last))


def answered(groups: list[list[Event]], *, stop: tuple[str, ...] = ()) -> list[Delta]:
    answering = Answering(server(), AnswerReader(), stop)
    deltas: list[Delta] = []
    for events in groups:
        if not answering.over:
            deltas += answering.take(events)
    assert answering.whole
    return [*deltas, *answering.end()]


TEXTS = st.lists(st.text('ab<|"\\é', max_size=4), min_size=1, max_size=12)


@given(TEXTS, st.lists(st.integers(0, 13), max_size=5), st.sampled_from([(), ("<|a",), ("b", '"')]))
def test_any_grouping_of_events_gives_the_same_answer(texts, places, stop):
    events = [*map(piece, texts), end()]
    cuts = [0, *sorted(place % len(events) for place in places), len(events)]
    groups = [events[a:b] for a, b in pairwise(cuts)]
    one, other = answered([events], stop=stop), answered(groups, stop=stop)
    assert "".join(d.text for d in one) == "".join(d.text for d in other)
    assert one[-1] == other[-1]
    assert all(delta.finish is None for delta in one[:-1])


def test_texts_that_came_together_go_on_together():
    deltas = answered([[piece("one "), piece("two ")], [piece("three"), end()]])
    assert [delta.text for delta in deltas] == ["one two ", "three", ""]
    assert deltas[-1].finish == "stop"


@pytest.mark.parametrize(
    "failure",
    [
        piece("x", error={"message": "out of memory"}),
        piece("x", detail="out of memory"),
        Event('{"object": "error", "message": "out of memory", "content": "", "stop": false}'),
        Event('{"message": "out of memory"}', "error"),
        piece("{", stop="out of memory", error="out of memory"),
    ],
)
def test_a_failure_comes_behind_the_text_before_it(failure):
    answering = Answering(server(), AnswerReader(), ())
    taken = answering.take([piece("one "), piece("two "), failure, piece("three")])
    assert next(taken) == Delta("one two ")
    with pytest.raises(LlmgateError, match="out of memory"):
        next(taken)


def test_an_event_that_is_no_json_is_a_failure():
    answering = Answering(server(), AnswerReader(), ())
    with pytest.raises(BackendError, match="no JSON object"):
        list(answering.take([Event('{"content": "half')]))


def test_a_failure_behind_the_end_takes_nothing_back():
    deltas = answered([[piece("all"), end(), piece("", error={"message": "late"})]])
    assert [delta.text for delta in deltas] == ["all", ""]


def test_an_answer_without_anything_in_it_is_no_answer():
    with pytest.raises(BackendError):
        answered([[end(tokens_predicted=0)]])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('{"content": "a", "stop": false, "tokens": [1]}', "a"),
        ('{"content": "", "stop": false}', ""),
        ('{"content": "a", "stop": true}', None),
        ('{"content": null, "stop": false}', None),
        ('{"content": "a"}', None),
        ('{"content": "a", "stop": false, "error": {}}', None),
        ("[1]", None),
        ("[DONE]", None),
    ],
)
def test_the_short_cut_is_taken_for_pieces_of_text_only(data, text):
    assert AnswerReader().text_of(data) == text
    assert AnswerReader(("<call>",)).text_of(data) is None
