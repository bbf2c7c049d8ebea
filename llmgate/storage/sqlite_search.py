"""Finding entries of `sqlite:` logs by text and by date."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

from llmgate.storage.batch import StoredLine
from llmgate.storage.fts import rows_of
from llmgate.storage.local import Found
from llmgate.storage.sqlite_schema import POSITIONS

# The index knows three letters at a time; a shorter word has none of its own.
_INDEXED = 3
# It is looked for as the beginning of so many at most, and of such as are not in more than this
# share of the texts together: else every text is looked at, which costs less.
_MOST_TERMS = 200
_SHARE = 0.5
_FEW = 1000
# What is in no text.
_NOWHERE = '("aaa" NOT "aaa")'
_LAST = chr(sys.maxunicode) * 4
_MATCHED = "(SELECT rowid AS id FROM texts WHERE texts MATCH ?) AS found"
# With their texts, and so that the matches are gone through in their order.
_TEXTS = " CROSS JOIN texts_content AS plain ON plain.id = found.id"
# Every text. What the index was made of is read in half the time if not asked of the index.
_PLAIN = "(SELECT rowid AS id, text FROM texts) AS found"
_PLAIN_INDEXED = "(SELECT id, c0 AS text FROM texts_content) AS found"


class Search:
    """Searches over one connection; `indexed` says whether there is an index of the texts."""

    def __init__(self, connection: sqlite3.Connection, indexed: bool) -> None:
        self.indexed = indexed
        self._db = connection

    def find(
        self,
        number: int,
        words: tuple[str, ...],
        since: int | None,
        until: int | None,
        limit: int,
        offset: int,
        reverse: bool,
    ) -> tuple[Found, int]:
        """A page of what the log with that number has, and how much there is in all."""
        order = "DESC" if reverse else "ASC"
        # One look at one state of the database: the count belongs to the page.
        self._db.execute("BEGIN")
        try:
            where, arguments = self._conditions(number, words, since, until)
            ids = f"SELECT found.id {where} ORDER BY found.id {order} LIMIT ? OFFSET ?"
            found = self.rows(
                f"SELECT id, at, value, text FROM entries WHERE id IN ({ids}) ORDER BY id {order}",  # noqa: S608
                (*arguments, limit, offset),
            )
            if len(found) < limit and (found or not offset):
                # That was the last page: nothing that is looked at twice.
                total = offset + len(found)
            else:
                [total] = self._db.execute(f"SELECT count(*) {where}", arguments).fetchone()
        finally:
            self._db.execute("COMMIT")
        return found, total

    def rows(self, sql: str, arguments: tuple[Any, ...]) -> Found:
        """The entries that a statement for `id, at, value, text` gives."""
        mask = (1 << POSITIONS) - 1
        return [
            (row & mask, StoredLine(at, value.encode(), text, ""))
            for row, at, value, text in self._db.execute(sql, arguments)
        ]

    def _conditions(
        self, number: int, words: tuple[str, ...], since: int | None, until: int | None
    ) -> tuple[str, tuple[Any, ...]]:
        """FROM and WHERE over rows `found.id`."""
        first, last = number << POSITIONS, (number + 1) << POSITIONS
        conditions: list[str] = []
        arguments: list[Any] = []
        if words:
            source, text = _PLAIN_INDEXED if self.indexed else _PLAIN, "found.text"
            matches = {word: self._match(word) for word in words} if self.indexed else {}
            if match := " AND ".join(filter(None, matches.values())):
                source, text = _MATCHED, "plain.c0"
                arguments.append(match)
                if not all(matches.values()):
                    source += _TEXTS
            for word in words:
                if not matches.get(word):
                    # GLOB is faster at letters that are seldom, but refuses long patterns.
                    short = len(word) < _INDEXED
                    conditions.append(f"{text} GLOB ?" if short else f"instr({text}, ?)")
                    arguments.append(_pattern(word) if short else word)
            if since is not None or until is not None:
                source += " JOIN entries ON entries.id = found.id"
        else:
            source = "entries AS found"
        dated = "entries" if words else "found"
        if since is not None:
            conditions.append(f"{dated}.at >= ?")
            arguments.append(since)
        if until is not None:
            conditions.append(f"{dated}.at < ?")
            arguments.append(until)
        if words:
            conditions.append("found.id > ? AND found.id < ?")
            arguments += [first, last]
        else:
            conditions.append("found.log = ?")
            arguments.append(number)
        return f"FROM {source} WHERE {' AND '.join(conditions)}", tuple(arguments)

    def _match(self, word: str) -> str | None:
        """What the index is asked for a word, None if it is of no help."""
        if len(word) >= _INDEXED:
            return _quoted(word)
        terms: list[str] = []
        left = _FEW + _SHARE * rows_of(self._db, "texts")
        for term, texts in self._db.execute(
            "SELECT term, doc FROM terms WHERE term >= ? AND term < ?", (word, word + _LAST)
        ):
            terms.append(term)
            left -= texts
            if left < 0 or len(terms) > _MOST_TERMS:
                return None
        return f"({' OR '.join(map(_quoted, terms))})" if terms else _NOWHERE


def _pattern(word: str) -> str:
    """What GLOB finds the word by."""
    return f"*{''.join(f'[{letter}]' if letter in '*?[' else letter for letter in word)}*"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
