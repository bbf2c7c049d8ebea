import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.backends.sse import MAX_LINE, Event, Events

STREAM = (
    ": a comment\r\n\r\n"
    'data: {"content": "one\u2028two\x85three"}\n\n'
    "event: ping\nid: 7\ndata: a\ndata:b\n\n"
    "\n\n"
    'error: {"code": 500}\r\n\r\n'
    "data: last\n\n"
).encode()
EVENTS = [
    Event('{"content": "one\u2028two\x85three"}'),
    Event("a\nb", "ping"),
    Event('{"code": 500}', "error"),
    Event("last"),
]


@given(st.integers(1, len(STREAM)))
def test_events_survive_any_cutting(size):
    events = Events()
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert [event for piece in pieces for event in events.feed(piece)] == EVENTS
    assert events.close() is None


@pytest.mark.parametrize("rest", [b"data: half", b"data: half\n"])
def test_what_is_incomplete_at_the_end_is_told_apart(rest):
    events = Events()
    assert list(events.feed(b"data: whole\n\n" + rest)) == [Event("whole")]
    assert events.close() == Event("half")
    assert events.close() is None


def test_a_line_without_end_is_refused():
    events = Events()
    assert not list(events.feed(b"x" * MAX_LINE))
    with pytest.raises(ValueError, match="a line of more than"):
        list(events.feed(b"x"))
