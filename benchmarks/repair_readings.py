"""Other readings of a spoilt text: every single edit of a kind that might mend it.

They say whether it can be told at all what was meant, so they know nothing of any repairer: they
try each place, and a strict decoder says which of the texts are JSON.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator

CANDIDATES = 400


def unstarted(text: str) -> Iterator[str]:
    """The text without the prefix that is given twice."""
    yield text[text.index("{", 1) :]


def other_closers(text: str) -> Iterator[str]:
    for at, char in enumerate(text):
        if char in "]}":
            yield text[:at] + ("}" if char == "]" else "]") + text[at + 1 :]


def more_closers(text: str) -> Iterator[str]:
    for at in range(1, len(text) + 1):
        if at == len(text) or text[at] in ",]} \n" or text[at - 1] in ']}"':
            yield text[:at] + "}" + text[at:]
            yield text[:at] + "]" + text[at:]


def fewer_closers(text: str) -> Iterator[str]:
    for at, char in enumerate(text):
        if char in "]}":
            yield text[:at] + text[at + 1 :]


def more_quotes(text: str) -> Iterator[str]:
    for at in range(1, len(text)):
        yield text[:at] + '"' + text[at:]


def cut(text: str) -> Iterator[str]:
    """The text as one that is cut in a string or in a key."""
    yield from closed(text + '"')
    yield from closed(text + '": 0')


def closed(text: str) -> Iterator[str]:
    """The text as one that is cut, with what is open closed."""
    closers: list[str] = []
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"?|[{}\[\]]', text):
        if found[0] in "{[":
            closers.append("}" if found[0] == "{" else "]")
        elif found[0] in "]}" and closers:
            closers.pop()
    yield text + "".join(reversed(closers))


def fewer_quotes(text: str) -> Iterator[str]:
    """One, two or three of the quotes escaped; where the decoder stops says which can help."""
    yield from _escaped_before(text, 3, CANDIDATES)


def _escaped_before(text: str, most: int, tries: int) -> Iterator[str]:
    pending = [(text, 0, 0)]
    for spoilt, done, least in pending:
        try:
            json.loads(spoilt)
        except json.JSONDecodeError as error:
            if done == most or len(pending) > tries:
                continue
            stop = min(error.pos + 1, len(spoilt))
            quotes = [m.end() - 1 for m in re.finditer(r'(?<!\\)"', spoilt[:stop])]
            pending += [
                (spoilt[:at] + "\\" + spoilt[at:], done + 1, at + 2)
                for at in itertools.islice(reversed(quotes), 12)
                if at >= least
            ]
        else:
            yield spoilt
