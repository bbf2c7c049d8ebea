"""What searches in SQLite rest on where there are so many texts that it matters how."""

from __future__ import annotations

import random
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from llmgate import storage
from llmgate.storage import Line
from llmgate.storage.fts import rows_of

# So many that words of one or two letters are looked for in every text.
MANY = 2_600
START = datetime(2026, 1, 1, tzinfo=UTC)
SHORT = [
    "a",
    "*",
    "?",
    "[",
    "]",
    "?[",
    "[c",
    "]^",
    "a*",
    "^",
    "é",
    "世",
    "x",
    "q7",
    "%",
    "_",
    "*?",
    "a]",
    "é世",
]
WITH_OTHERS = ["a q7", "[c world", "world a", "world x", "q7 world ?[", "worldly a", "a nowhere"]
LOOKS_LIKE_A_PATTERN = ["[a]", "[!a]", "[a-z]", "w*d"]


def _text(chance, number):
    return " ".join(
        (
            f"a*b?[c]^ é世界 {number}",
            chance.choice(("hello world", "hello", "worldly", "")),
            chance.choice(("x", "q7", "%_", "")),
        )
    )


async def test_short_words_are_found_among_many_texts_as_among_few(tmp_path):
    chance = random.Random(1)
    texts = [_text(chance, number) for number in range(MANY)]
    async with await storage.open(f"sqlite:{tmp_path / 'x.db'}") as records:
        await records.append("other", *(Line("", text=text) for text in texts))
        await records.append("log", *(Line("", text=text) for text in texts))
        for text in (*SHORT, *WITH_OTHERS, *LOOKS_LIKE_A_PATTERN):
            wanted = [
                position
                for position, one in enumerate(texts, 1)
                if all(word in one for word in text.split())
            ]
            for limit, offset in ((10, 0), (7, len(wanted) - 3), (5, len(wanted) + 2), (0, 0)):
                for ordered, reverse in ((wanted, False), (wanted[::-1], True)):
                    offset = max(0, offset)
                    page = await records.search(
                        "log", text, limit=limit, offset=offset, reverse=reverse
                    )
                    found = [entry.position for entry in page.entries]
                    assert found == ordered[offset : offset + limit], text
                    assert page.total == len(wanted), text


async def test_short_words_are_found_by_date_among_many_texts(tmp_path):
    async with await storage.open(f"sqlite:{tmp_path / 'x.db'}") as records:
        chance = random.Random(2)
        times = [START + timedelta(minutes=number) for number in range(MANY)]
        texts = [_text(chance, number) for number in range(MANY)]
        lines = zip(texts, times, strict=True)
        await records.append("log", *(Line("", text=text, at=at) for text, at in lines))
        for text in ("a", "world a"):
            page = await records.search("log", text, since=times[500], until=times[2000], limit=3)
            wanted = [
                number
                for number in range(500, 2000)
                if all(word in texts[number] for word in text.split())
            ]
            assert [entry.position - 1 for entry in page.entries] == wanted[:3]
            assert page.total == len(wanted)


@pytest.mark.parametrize("count", [0, 1, 127, 128, 300, 20_000])
def test_the_index_tells_how_many_rows_it_has(count):
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE texts USING fts5(text)")
    with db:
        db.executemany("INSERT INTO texts VALUES (?)", [(f"a {n}",) for n in range(count)])
    assert rows_of(db, "texts") == count
    with db:
        db.execute("DELETE FROM texts WHERE rowid % 3 = 0")
    assert rows_of(db, "texts") == count - count // 3
