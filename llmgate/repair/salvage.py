"""All values in a text that is not valid JSON, and what had to be done to read them."""

from __future__ import annotations

import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed lacks it
from operator import itemgetter

from llmgate.errors import OutputError
from llmgate.repair import patterns as p
from llmgate.repair.containers import NOTHING
from llmgate.repair.reader import Document, Reader
from llmgate.repair.scalars import Dropped
from llmgate.repair.shapes import Shape, Shapes


def read(
    text: str, shapes: Shapes | None, max_depth: int | None, broken: bool = False
) -> tuple[list[Document], list[tuple[int, str]]]:
    """The values of a text, at least one, and the edits that were made, by their offsets.

    `broken`: there is no valid value at the beginning of the text. There are no edits if the
    text is one valid value.

    Raises OutputError if there is none, or if the first is nested too deep.
    """
    reader = Reader(text, shapes, max_depth)
    if broken and text[:1] in ("{", "["):
        reader.failed = 0
        whole = None
    else:
        whole = _whole(reader)
    documents = whole or _documents(reader)
    documents = [d for d in documents if d.value or not d.lost]
    if not documents:
        raise OutputError(
            "There is no JSON in the model's text.",
            text=text,
            hint="Ask the model to answer with one JSON object and nothing else.",
        )
    edits = reader.edits
    if not edits and len(documents) == 1 and whole is None:
        reader.edit("space", 0)
    return documents, sorted(edits, key=itemgetter(0)) if len(edits) > 1 else edits


def _whole(reader: Reader) -> list[Document] | None:
    """The values of a text that holds whole JSON values and nothing else, fences apart."""
    text = reader.text
    fence, at, end = _unfenced(text)
    documents: list[Document] = []
    form = reader.shapes.root if reader.shapes else None
    while (start := _past_space(text, at)) < end:
        if documents and start == at and text[at - 1] not in "}]" and text[at] not in "{[":
            return None  # 2024-01-05 is three numbers to a decoder
        value = reader.scan(start, form)
        if value is NOTHING or reader.pos > end:
            return None
        documents.append(Document(value))
        at = reader.pos
    if fence and documents:
        reader.edit("around", 0)
    return documents or None


def _documents(reader: Reader) -> list[Document]:
    """Every object and array in the reader's text, outermost ones only."""
    text = reader.text
    form = reader.shapes.root if reader.shapes else None
    if form is not None and not (form.may("object") or form.may("array")):
        return _lone(reader, form)
    braceless = None
    opener = p.START.match(text) if text[:1] in ("{", "[") else None
    if opener is None:
        if text.startswith('"', first := _past_space(text, 0)):
            # The beginning of a valid string, if no other quote follows.
            alone = not p.STRING.match(text, first) and not p.CONTROL.search(text, first)
            if alone and (torn := _lone(reader, form)):
                return torn
        opener = braceless = _braceless(text)
        inside = _unfenced(text)
        quoted = None if braceless else p.QUOTED.match(text, inside[1])
        if quoted and text[inside[2] - 1] in p.QUOTES[quoted[1]]:
            return _lone(reader, form)
        opener = opener or p.ROUND.match(text)
    documents: list[Document] = []
    end = 0
    again = p.ESCAPED.search(text) if '\\"' in text else None
    while True:
        opener = opener or (None if reader.noise() else p.START.search(text, end))
        if again and again.start() < end:
            again = p.ESCAPED.search(text, end)
        if again and (opener is None or again.start() <= opener.start()):
            if text[end : again.start()].strip():
                reader.edit("around", end)
            inner, end = _unescaped(reader, again)
            documents += inner
            opener = None
            continue
        if opener is None:
            break
        start = opener.end() if opener is braceless else opener.start()
        try:
            document = reader.read(start, braceless=opener is braceless)
        except OutputError:
            if not documents:
                raise
            reader.edit("around", start)
            return documents
        if text[end:start].strip():
            reader.edit("around", end)
        documents.append(document)
        opener, end = None, max(reader.pos, start + 1)
    if not documents:
        return _lone(reader, form)
    if text[end:].strip():
        reader.edit("around", end)
    return documents


def _braceless(text: str) -> re.Match[str] | None:
    """What is before the first key of an object whose opening brace is missing."""
    found = p.BRACELESS.match(text)
    if found is None and text.count("}") > text.count("{"):
        found = p.LOOSE_BRACELESS.match(text)
    return found


def _unescaped(reader: Reader, found: re.Match[str]) -> tuple[list[Document], int]:
    """The values in JSON whose quotes are all escaped, and where that ends."""
    end = found.end()
    if end < len(reader.text):  # at a quote that is not escaped: another value opens
        end = found.start() + len(found[0].rstrip("{[, \t\r\n"))
    body = reader.text[found.start() : end]
    try:
        plain = scanstring(f'"{body}"', 1, False)[0]
    except ValueError:
        plain = body.replace('\\"', '"')
    reader.edit("escaped", found.start())
    inner = Reader(plain, reader.shapes, reader.max_depth)
    documents = _whole(inner) or _documents(inner)
    for _, rule in inner.edits:
        reader.edit(rule, found.start())
    return documents, end


def _lone(reader: Reader, form: Shape | None) -> list[Document]:
    """The string that a whole text is; in other text only a value that the schema asks for."""
    text = reader.text
    fence, start, end = _unfenced(text)
    if text[start : start + 1] not in p.QUOTES:
        found = text.find('"', start) if form is not None and form.may("string") else -1
        if found < 0:
            return _token(reader, form)
        reader.edit("around", start)
        start = found
    elif fence:
        reader.edit("around", 0)
    if start >= end:
        return []
    closers = p.QUOTES[text[start]]
    if form is not None and (first := p.LINE_END.search(text, start + 1, end)):
        reader.edit("around", first.end())
        end = first.start() + 1
    body = text[start + 1 : end - 1]
    closed = end > start + 1 and text[end - 1] in closers
    if closed and (len(body) - len(body.rstrip("\\"))) % 2 == 0:
        if text[start] != '"':
            reader.edit("quotes", start)
        if (inner := p.STRING.match(text, start)) and inner.end() < end:
            reader.edit("inner", inner.end() - 1)
        return [Document(reader.decoded(start + 1, end - 1, text[start]))]
    if text[start] != '"' or p.STRING.match(text, start):
        return []
    reader.torn = True
    reader.edit("cut", len(text))
    return [Document(reader.decoded(start + 1, len(text), '"'), cut=True)]


def _token(reader: Reader, form: Shape | None) -> list[Document]:
    """The number or literal in a text, if the schema asks for one and there is just one."""
    if form is None or form.may("object") or form.may("array"):
        return []
    found = p.TOKENS.findall(reader.text)
    if len(found) != 1:
        return []
    reader.edit("around", 0)
    reader.pos = reader.text.index(found[0])
    try:
        return [Document(reader.lone(found[0], reader.pos, form))]
    except Dropped:
        return []


def _unfenced(text: str) -> tuple[bool, int, int]:
    """Whether a text is in a code fence, and from where to where its contents are."""
    fence = p.FENCE.match(text)
    if fence is None:
        return False, _past_space(text, 0), len(text.rstrip(" \t\r\n"))
    tail = p.FENCE_END.search(text, max(fence.end(), len(text) - 200))
    return True, fence.end(), tail.start() if tail else len(text)


def _past_space(text: str, at: int) -> int:
    found = p.NOT_SPACE.search(text, at)
    return found.start() if found else len(text)
