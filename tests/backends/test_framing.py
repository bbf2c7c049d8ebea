"""Events, or one document where a server does not stream: told apart however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.backends.framing import EventsOrDocument
from llmgate.backends.sse import Event

DOCUMENT = b'\n {"choices": [\n\n{"x": "data: 1"}]} \n'
EVENTS = b': hello\n\ndata: {"a": 1}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(
    ("body", "events", "rest"),
    [
        (DOCUMENT, [], Event(DOCUMENT.decode().strip())),
        (EVENTS, [Event('{"a": 1}'), Event("[DONE]")], None),
        (b'data: {"a": 1}\n', [], Event('{"a": 1}')),
        (b"", [], None),
        (b" \n", [], None),
    ],
)
@given(data=st.data())
def test_what_it_is_shows_at_its_beginning(body, events, rest, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=4)))
    framing = EventsOrDocument()
    found = [
        event
        for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)
        for event in framing.feed(body[a:b])
    ]
    assert (found, framing.close()) == (events, rest)
    assert framing.open_end == (body == DOCUMENT)
