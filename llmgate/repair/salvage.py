"""All values in a text that is not valid JSON, and what had to be done to read them."""

from __future__ import annotations

import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed lacks it
from operator import itemgetter

from llmgate.errors import OutputError
from llmgate.repair import brackets, patched
from llmgate.repair import patterns as p
from llmgate.repair.containers import NOTHING
from llmgate.repair.reader import Document, Reader
from llmgate.repair.scalars import Dropped
from llmgate.repair.shapes import Shape, Shapes
from llmgate.repair.strict import deep_error, too_deep


def read(
    text: str, shapes: Shapes | None, max_depth: int | None, error: str = ""
) -> tuple[list[Document], list[tuple[int, str]]]:
    """The values of a text, at least one, and the edits that were made, by their offsets.

    `error` is what the strict decoder said, if anything. There are no edits if the text is one
    valid value.

    Raises OutputError if there is none, or if the first is nested too deep.
    """
    # It also refuses what follows a valid value, and half surrogate pairs, which are valid.
    whole_first = "trailing char" in error or "surrogate" in error or "truncated" in error
    opened = text[:1] in ("{", "[")
    broken = opened and bool(error) and not whole_first
    if opened and error and shapes is None and (mended := patched.read(text, error)):
        value, cut, edits = mended
        if max_depth is not None and too_deep(value, max_depth):
            raise deep_error(max_depth, text)
        return [Document(value, cut)], edits
    reader = Reader(text, shapes, max_depth)
    if broken:
        reader.failed = 0
        whole = None
    else:
        whole = _whole(reader)
    documents = whole or _documents(reader)
    if shapes is not None and reader.lopsided and len(documents) == 1:
        # Where the bracket is missing, or which is one too many, the schema may know better.
        doubtful = "inner" in reader.rules or not brackets.fits(documents[0].value, shapes)
        bracketed = brackets.read(reader.text, shapes) if doubtful else None
        if bracketed and (max_depth is None or not too_deep(bracketed[0], max_depth)):
            value, edits = bracketed
            edits += [edit for edit in reader.edits if edit[1] == "token"]
            return [Document(value)], edits
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
        if p.EMBEDDED.match(text, inside[1]) and (form is None or form.may("object")):
            quoted = None  # an object in quotes that should not be there
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
        start, end = found, text.rfind('"') + 1
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
