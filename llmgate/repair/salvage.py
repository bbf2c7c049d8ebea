"""All values in a text that is not valid JSON, and what had to be done to read them."""

from __future__ import annotations

import re
from typing import Any

from llmgate.errors import OutputError
from llmgate.repair.lexer import SPACE, START
from llmgate.repair.reader import Document, Reader
from llmgate.repair.strict import STRICT, too_deep
from llmgate.types import Note

# json-repair takes quadratic time on hostile text (measured: 10 s for 20,000 characters).
_LAST_RESORT_CHARS = 4_000

BRACELESS = re.compile(r'\s*(?:```\w*\s*)?(?="[^"\\\n]{1,100}"\s*:\s*["{\[\d\-tfnTFN])')
FENCE = re.compile(r"\s*```\w*\s*")


_DONE = {
    "several": "found several JSON values",
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
    "comma": "added a missing comma",
    "colon": "added a missing colon",
    "key": "dropped a key without a value",
    "value": "dropped a value that is cut or out of range",
    "package": "rebuilt the value with json-repair",
}


def _salvage(text: str) -> Repaired:
    reader = Reader(text)
    values = _sequence(reader.text)
    if values is None and (fence := FENCE.match(reader.text)):
        values = _sequence(reader.text[fence.end() :].rstrip().removesuffix("```"))
        if values is not None:
            reader.note("around", 0)
    documents = [Document(v) for v in values] if values else _documents(reader)
    if all(d.lost and (isinstance(d.value, list) or not d.value) for d in documents):
        rebuilt = _last_resort(text)
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
    if len(documents) > 1:
        reader.note("several", 0)
    objects = [d for d in documents if isinstance(d.value, dict)]
    best = next((d for d in objects if not d.cut), next(iter(objects), documents[0]))
    notes = tuple(Note("repaired", _sentence(kind, *at)) for kind, at in reader.notes.items())
    return Repaired(
        best.value, tuple(d.value for d in documents), notes, any(d.cut for d in documents)
    )


def _sentence(kind: str, offset: int, times: int) -> str:
    done = _DONE[kind]
    often = f", {times} times" if times > 1 else ""
    return f"{done[0].upper()}{done[1:]} (offset {offset}{often})."


def _sequence(text: str) -> list[Any] | None:
    """The values of a text that holds whole JSON values and nothing else, else None."""
    values: list[Any] = []
    end = 0
    while (start := SPACE.match(text, end).end()) < len(text):  # type: ignore[union-attr]
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
    braceless = BRACELESS.match(text)
    while braceless or (opener := START.search(text, end)):
        start = braceless.end() if braceless else opener.start()
        try:
            document = reader.read(start, braceless=bool(braceless))
        except OutputError:
            if not documents:
                raise
            break
        braceless = None
        if document is not None:
            documents.append(document)
            if text[end:start].strip():
                reader.note("around", end)
            end = reader.pos
        else:
            end = max(reader.pos, start + 1)
    first = SPACE.match(text).end()  # type: ignore[union-attr]
    if not documents and text.startswith('"', first) and text.find('"', first + 1) < 0:
        reader.pos = first
        return [Document(reader.string("member"), cut=True)]
    if documents and text[end:].strip():
        reader.note("around", end)
    return documents


def _last_resort(text: str) -> Any:
    """What json-repair makes of it, if that is an object or array of strings from the text."""
    if len(text) > _LAST_RESORT_CHARS:
        return None
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict | list) or not value or too_deep(value):
        return None
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str) and item not in text:
            return None
    return value
