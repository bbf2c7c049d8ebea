"""Finding passages of one collection by words, ranked by BM25."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from llmgate.storage import sqlite_vector_schema as schema
from llmgate.storage.fts import rows_of

# Ranking costs about a microsecond for each row that has one of the words. Words that are in more
# rows than these tell little about any of them.
MOST_ROWS = 6000
# Nor do words that are in more than this share, if there are others.
_SHARE = 0.4
_FEW = 20
# What a word tells at the least, in FTS5.
_LEAST = 1e-6
# Shorter beginnings of words mean nothing.
_BEGINNING = 3


class Match(msgspec.Struct, frozen=True):
    """What the index is asked for, and about what the rank of a row with all words would be.

    Unless it is `ranked`, so many rows have it that the newest do.
    """

    expression: str
    possible: float
    ranked: bool = True


class Words:
    """Searches in the texts of a collection, inside of one look at the database."""

    def __init__(
        self, db: sqlite3.Connection, collection: int, only: str, values: Sequence[Any]
    ) -> None:
        self._db = db
        self._table = schema.texts_of(collection)
        self._indexed = schema.is_indexed(db, collection)
        # The plus keeps SQLite from asking the index for every row by itself.
        self._where = f"+rowid IN ({only})" if only else ""
        self._values = tuple(values)

    def find(self, words: Sequence[str], limit: int) -> list[tuple[int, float]]:
        """The passages that have one of the words, best first, with their relevance.

        That is about the share of what the words could tell: 1 if they are all there.
        """
        if not self._indexed:
            return self._scan(words)[:limit]
        if (match := self._match(words)) is None:
            return []
        rank, order = ("-rank", "rank, rowid") if match.ranked else ("0.0", "rowid DESC")
        rows = self._db.execute(
            f"SELECT rowid, {rank} {self._from()} ORDER BY {order} LIMIT ?",
            (match.expression, *self._values, limit),
        )
        return [(row, relevance / match.possible) for row, relevance in rows]

    def count(self, words: Sequence[str]) -> int:
        """How many passages `find` would find without a limit."""
        if not self._indexed:
            return len(self._scan(words))
        if (match := self._match(words)) is None:
            return 0
        found: int = self._db.execute(
            f"SELECT count(*) {self._from()}",
            (match.expression, *self._values),
        ).fetchone()[0]
        return found

    def _from(self) -> str:
        also = f" AND {self._where}" if self._where else ""
        return f"FROM {self._table} WHERE {self._table} MATCH ?{also}"

    def _match(self, words: Sequence[str]) -> Match | None:
        counts = {word: self._rows(_quoted(word)) for word in words}
        size = rows_of(self._db, self._table)
        # As BM25 has it in FTS5: what a word tells, the more the fewer rows have it.
        possible = sum(
            max(_LEAST, math.log((size - count + 0.5) / (count + 0.5))) for count in counts.values()
        )
        useful = sorted((word for word in words if counts[word]), key=lambda word: counts[word])
        if not useful:
            # No such word: then words that begin so.
            starts = [f"{_quoted(word)} *" for word in words if len(word) >= _BEGINNING]
            return self._bounded(" OR ".join(starts), possible) if starts else None
        frequent = max(_FEW, _SHARE * size)
        useful = [word for word in useful if counts[word] <= frequent] or useful
        chosen: list[str] = []
        rows = 0
        for word in useful:
            rows += counts[word]
            if rows > MOST_ROWS:
                break
            chosen.append(_quoted(word))
        if chosen:
            return Match(" OR ".join(chosen), possible)
        for some in (useful, useful[:2]):
            expression = " AND ".join(map(_quoted, some))
            if len(some) > 1 and self._rows(expression):
                return self._bounded(expression, possible)
        return Match(_quoted(useful[0]), possible, ranked=False)

    def _bounded(self, expression: str, possible: float) -> Match:
        return Match(expression, possible, self._rows(expression) <= MOST_ROWS)

    def _rows(self, expression: str) -> int:
        """How many rows have it, or that they are too many."""
        rows: int = self._db.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM {self._table}"  # noqa: S608
            f" WHERE {self._table} MATCH ? LIMIT ?)",
            (expression, MOST_ROWS + 1),
        ).fetchone()[0]
        return rows

    def _scan(self, words: Sequence[str]) -> list[tuple[int, float]]:
        """Without an index: in how many rows a word is says how much it tells."""
        where = f" WHERE {self._where}" if self._where else ""
        rows = self._db.execute(f"SELECT rowid, text FROM {self._table}{where}", self._values)  # noqa: S608
        found = [(row, having) for row, text in rows if (having := [w for w in words if w in text])]
        weights = {
            word: math.log(1 + len(found) / max(1, sum(word in having for _, having in found)))
            for word in words
        }
        possible = sum(weights.values())
        scored = [(row, sum(weights[word] for word in having) / possible) for row, having in found]
        return sorted(scored, key=lambda item: (-item[1], item[0]))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
