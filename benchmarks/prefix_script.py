"""A session of an agent, word for word: what a person says, and what the model answers to it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from llmgate.types import ToolCall

_TOPICS = (
    ("Genoa", "the harbour", "grain, mostly from the north"),
    ("Trieste", "the coffee house", "beans that are roasted twice"),
    ("Bergen", "the fish market", "cod, dried on racks outside the town"),
    ("Ghent", "the print shop", "posters for the theatre by the canal"),
    ("Riga", "the organ", "pipes of lead and wood, the longest ten metres"),
    ("Porto", "the bridge", "two decks, the upper one for people on foot"),
    ("Basel", "the paper mill", "sheets made of old linen"),
    ("Delft", "the kiln", "tiles, blue on white"),
)


class Answer(msgspec.Struct, frozen=True):
    """One call that the model makes, and what it thinks before it."""

    thoughts: str
    call: ToolCall


class Exchange(msgspec.Struct, frozen=True):
    """What a person says (None: the agent is left to speak first), and the model's answers."""

    said: str | None
    answers: tuple[Answer, ...]


SUMMARY = (
    "The person, who is called Ada, is planning a journey by train and asked about several towns:"
    " what is made and sold there, and how long to stay. The agent noted what she likes in core"
    " memory, kept facts about the towns in archival memory, and found them there again. She wants"
    " to leave in May, to travel light, and to see harbours and workshops before museums."
)


# What it answers where it is told that its window is nearly full.
WARNED = Answer(
    "What matters has to stay.",
    ToolCall(
        "",
        "archival_memory_insert",
        json.dumps(
            {
                "content": "Ada plans a journey by train in May; she travels light.",
                "request_heartbeat": False,
            }
        ),
    ),
)


def exchanges(turns: int) -> Iterator[Exchange]:
    """So many turns of one conversation."""
    yield Exchange(None, (_says("A new person: I begin.", "Hello! What may I help you with?"),))
    liked = ""
    for number in range(1, turns):
        town, thing, sells = _TOPICS[number % len(_TOPICS)]
        said = f"Question {number}: what should I know of {thing} in {town}?"
        fact = f"{town}: {thing} has {sells}; {2 + number % 3} days are enough (note {number})."
        last = _says(
            f"I know enough about {town}.", f"In {town} see {thing} first: it is known for {sells}."
        )
        match number % 12:
            case 1:
                new = f"Asked about {town}, question {number}."
                liked = liked or new
                first = _calls(
                    f"Worth keeping: {town}.", "core_memory_append", name="human", content=new
                )
            case 2:
                first = _calls(
                    f"A fact about {town} for later.", "archival_memory_insert", content=fact
                )
            case 3:
                first = _calls("Did we speak of it?", "conversation_search", query=town)
            case 4:
                first = _calls("What do I know of it?", "archival_memory_search", query=thing)
            case 5:
                new = f"Likes {thing} of {town} ({number})."
                first = _calls(
                    "Her taste has become clearer.",
                    "core_memory_replace",
                    name="human",
                    old_content=liked,
                    new_content=new,
                )
                liked = new
            case _:
                yield Exchange(said, (last,))
                continue
        yield Exchange(said, (first, last))


def _says(thoughts: str, message: str) -> Answer:
    return _answer(thoughts, "send_message", message=message)


def _calls(thoughts: str, function: str, /, **arguments: str) -> Answer:
    return _answer(thoughts, function, **arguments, request_heartbeat=True)


def _answer(thoughts: str, function: str, /, **arguments: object) -> Answer:
    return Answer(thoughts, ToolCall("", function, json.dumps(arguments)))
