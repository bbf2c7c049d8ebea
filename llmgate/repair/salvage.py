"""All values in a text that is not valid JSON, and what had to be done to read them."""

from __future__ import annotations

import math
import re
from typing import Any

from llmgate.errors import OutputError
from llmgate.repair.lexer import START, past_space
from llmgate.repair.reader import Document, Reader
from llmgate.repair.strict import STRICT, too_deep
from llmgate.types import Note

# json-repair takes quadratic time on hostile text (measured: 10 s for 20,000 characters).
_LAST_RESORT_CHARS = 4_000

# A text with more is noise, or hostile.
_MOST = 1_000
_BRACELESS = re.compile(r'\s*(?:```\w*\s*)?(?="[^"\\\n]{1,100}"\s*:\s*["{\[\d\-tfnTFN])')
_FENCE = re.compile(r"\s*```\w*\s*")


_DONE = {
    "around": "ignored text that is not part of the JSON",
    "token": "removed an end token of the model",
    "cut": "the text ends inside a value, so closed what was open",
    "closer": "added a missing closing bracket",
    "opener": "added the missing opening brace",
    "stray": "ignored stray text between the values",
    "extra": "ignored a bracket that closes nothing or closes too early",
    "doubled": "ignored a doubled opening brace",
    "restart": "the object was started again inside its own beginning, so kept the inner one",
    "newline": "kept raw line breaks or tabs in a string",
    "escape": "kept a backslash that escapes nothing",
    "inner": "kept unescaped quotes inside a string",
    "unclosed": "added a missing closing quote",
    "embedded": "read JSON that stood in quotes without escapes",
    "quotes": "read quotes other than double quotes",
    "python": "read Python's or another spelling of true, false or null",
    "number": "read a number in a notation that JSON does not have",
    "nan": "wrote null for NaN, Infinity or undefined",
    "bare": "read a string without quotes",
    "bare_key": "read a key without quotes",
    "comment": "removed a comment",
    "trailing": "removed a superfluous comma",
    "comma": "added a missing comma between two values",
    "colon": "mended the colon between a key and its value",
    "key": "dropped a key without a value",
    "value": "dropped a value that is cut or out of range",
    "package": "rebuilt the value with json-repair",
}


def read(text: str) -> tuple[list[Document], tuple[Note, ...]]:
    """The values of a text, at least one, and notes of what was mended.

    Raises OutputError if there is none, or if the first is nested too deep.
    """
    reader = Reader(text)
    values = _sequence(reader.text)
    if values is None and (fence := _FENCE.match(reader.text)):
        values = _sequence(reader.text[fence.end() :].rstrip().removesuffix("```"))
        if values is not None:
            reader.note("around", 0)
    documents = [Document(v) for v in values] if values else _documents(reader)
    if all(d.lost and (isinstance(d.value, list) or not d.value) for d in documents):
        rebuilt = _last_resort(reader.text)
        if rebuilt is not None:
            reader.notes = {"package": (0, 1)}
            documents = [Document(rebuilt)]
    documents = [d for d in documents if d.value or not d.lost]
    if not documents:
        raise OutputError(
            "There is no JSON in the model's text.",
            text=text,
            hint="Ask the model to answer with one JSON object and nothing else.",
        )
    notes = [Note("repaired", _sentence(kind, *at)) for kind, at in reader.notes.items()]
    if len(documents) > 1:
        notes.append(Note("repaired", f"Found {len(documents)} JSON values, not one."))
    return documents, tuple(notes)


def _sentence(kind: str, offset: int, times: int) -> str:
    done = _DONE[kind]
    often = f", {times} times" if times > 1 else ""
    return f"{done[0].upper()}{done[1:]} (offset {offset}{often})."


def _sequence(text: str) -> list[Any] | None:
    """The values of a text that holds whole JSON values and nothing else, else None."""
    values: list[Any] = []
    end = 0
    while (start := past_space(text, end)) < len(text):
        if values and start == end and text[end - 1] not in '}]"' and text[start] not in '{["':
            return None  # 2024-01-05 is three numbers to a decoder
        try:
            value, end = STRICT.raw_decode(text, start)
        except (ValueError, RecursionError):
            return None
        if too_deep(value, text[start:end]):
            return None
        values.append(value)
    return values or None


def _documents(reader: Reader) -> list[Document]:
    """Every object and array in the reader's text, outermost ones only."""
    text = reader.text
    documents: list[Document] = []
    end = 0
    opener = braceless = _BRACELESS.match(text)
    while len(documents) < _MOST and (opener := opener or START.search(text, end)):
        start = opener.end() if opener is braceless else opener.start()
        try:
            documents.append(reader.read(start, braceless=opener is braceless))
        except OutputError:
            if not documents:
                raise
            break
        if text[end:start].strip():
            reader.note("around", end)
        opener, end = None, max(reader.pos, start + 1)
    first = past_space(text, 0)
    if not documents and text.startswith('"', first) and text.find('"', first + 1) < 0:
        reader.pos = first
        reader.note("cut", len(text))
        return [Document(reader.string("member"), cut=True)]
    if documents and text[end:].strip():
        reader.note("around", end)
    return documents


def _last_resort(text: str) -> Any:
    """What json-repair makes of it, if that is made of nothing but what stands in the text.

    It finds lists in prose, so it gets only text that opens a value, and an object that it
    takes for a list is refused.
    """
    start = opener.start() if (opener := START.search(text)) else past_space(text, 0)
    text = text[start : start + _LAST_RESORT_CHARS + 1]
    if len(text) > _LAST_RESORT_CHARS or not text.startswith(("{", "[", "(")):
        return None
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None
    kinds = dict if text.startswith("{") else dict | list
    if not isinstance(value, kinds) or not value or too_deep(value):
        return None
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str):
            if item not in text:
                return None
        elif not math.isfinite(item or 0):
            return None
    return value
