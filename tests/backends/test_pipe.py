import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate.backends.pipe import (
    MAX_FRAME,
    Cancel,
    Frames,
    Load,
    Piece,
    Ready,
    Run,
    commands,
    pack,
    reports,
)
from llmgate.types import ChatTemplate, Prompt, Sampling

PROMPT = Prompt(
    "text " * 1000,
    stop=("stop",),
    grammar='root ::= "a"',
    sampling=Sampling(temperature=0.5, seed=3),
    triggers=("a",),
    preserved=("<a>", "<b>"),
)
MESSAGES = [
    Load("model.gguf", None, 2, -1, True),
    Run(1, PROMPT),
    Cancel(1),
]


@given(st.integers(1, 97))
def test_frames_survive_any_cutting(size):
    data = b"".join(pack(message) for message in MESSAGES)
    frames = Frames()
    got = [
        message
        for start in range(0, len(data), size)
        for message in commands(data[start : start + size], frames)
    ]
    assert got == MESSAGES


def test_a_template_survives():
    ready = Ready(2048, 4096, ChatTemplate("{{ messages }}", bos="<s>", tools="{{ tools }}"))
    assert list(reports(pack(ready), Frames())) == [ready]


def test_both_directions_have_their_own_messages():
    assert list(reports(pack(Piece(3, "é")), Frames())) == [Piece(3, "é")]
    with pytest.raises(ValueError, match="Invalid value"):
        list(commands(pack(Piece(3, "é")), Frames()))


def test_an_absurd_length_is_refused():
    with pytest.raises(ValueError, match="not our protocol"):
        list(Frames().feed(b"HTTP/1.1 200 OK"))
    assert int.from_bytes(b"HTTP", "big") > MAX_FRAME
