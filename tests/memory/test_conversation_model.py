"""Any conversation with corrections, against a list of what is to be seen."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgate import storage
from llmgate.memory.conversation import Conversation, Window
from llmgate.memory.recall import Recall
from llmgate.types import Message

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
WORDS = st.lists(st.sampled_from(["cat", "dog", "cow"]), max_size=2).map(" ".join)
KINDS = st.sampled_from(["event:user_message", "event:login", "assistant", "result"])
ROLES = {"event:user_message": "user", "event:login": "user", "result": "tool"}
STEPS = st.lists(
    st.tuples(st.just("append"), st.lists(st.tuples(KINDS, WORDS), min_size=1, max_size=3))
    | st.tuples(st.just("amend"), st.integers(0, 20), WORDS)
    | st.tuples(st.just("retract"), st.integers(0, 20), st.integers(1, 3))
    | st.tuples(st.just("trim"), st.integers(0, 20)),
    min_size=1,
    max_size=12,
)


async def play(url, steps):
    async with await storage.open(url) as records:
        minutes = iter(range(10**6))
        talk = Conversation(
            records, "ann", clock=lambda: BEGIN + timedelta(hours=7 * next(minutes))
        )
        # Position → kind, text, time and a number that grows with what is said.
        seen, start, spoken = {}, 1, 0
        for step in steps:
            alive = sorted(seen)
            async with records.transaction() as tx:
                match step:
                    case ("append", messages):
                        given_in = [
                            (kind, Message(ROLES.get(kind, "assistant"), text))
                            for kind, text in messages
                        ]
                        for logged in await talk.append(tx, *given_in):
                            spoken += 1
                            text = logged.message.content
                            seen[logged.position] = [logged.kind, text, logged.at, spoken]
                    case ("amend", number, text) if alive:
                        position = alive[number % len(alive)]
                        spoken += 1
                        kind, _, at, _ = seen[position]
                        role = ROLES.get(kind, "assistant")
                        await talk.amend(tx, position, Message(role, text))
                        seen[position] = [kind, text, at, spoken]
                    case ("retract", number, count) if alive:
                        gone = alive[number % len(alive) :][:count]
                        await talk.retract(tx, *gone)
                        for position in gone:
                            del seen[position]
                    case ("trim", number) if alive:
                        start = alive[number % len(alive)]
                talk.put_window(tx, Window("head", start))
        _, logged, _ = await talk.load()
        assert [(one.position, one.kind, one.message.content, one.at) for one in logged] == [
            (position, *seen[position][:3]) for position in sorted(seen) if position >= start
        ]
        await compare(Recall(records, "ann", zone=UTC), seen)


async def compare(recall, seen):
    audible = [
        (number, position, text, at)
        for position, (kind, text, at, number) in seen.items()
        if kind in ("event:user_message", "assistant") and text
    ]
    audible.sort(reverse=True)
    for word in ("cat", "dog", "cat cow"):
        wanted = [
            (position, text)
            for _, position, text, _ in audible
            if all(part in text for part in word.split())
        ]
        await compare_pages(lambda page, word=word: recall.search(word, page, 2), wanted)
    first, last = BEGIN.date(), BEGIN.date() + timedelta(days=1)
    wanted = [(position, text) for _, position, text, at in audible if at.date() <= last]
    await compare_pages(lambda page: recall.search_dates(first, last, page, 2), wanted)


async def compare_pages(search, wanted):
    pages = [await search(page) for page in range(-(-len(wanted) // 2) + 1)]
    assert {page.total for page in pages} == {len(wanted)}
    assert [(hit.position, hit.text) for page in pages for hit in page.found] == wanted


@pytest.mark.parametrize("engine", ["sqlite", "file", "memory"])
def test_any_conversation_is_as_in_the_model(engine):
    @settings(max_examples=60 if engine == "memory" else 8, deadline=None)
    @given(STEPS)
    def run(steps):
        with tempfile.TemporaryDirectory() as folder:
            url = {"sqlite": f"sqlite:{folder}/a.db", "file": f"file:{folder}/a"}
            asyncio.run(play(url.get(engine, "memory:"), steps))

    run()
