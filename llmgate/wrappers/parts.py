"""Which message, and which line of a template, wrote what of a prompt."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence

import msgspec
from jinja2 import nodes

from llmgate.types import Message

_ESCAPED = re.compile(r'["\\\n]')
# A shorter text may stand anywhere.
_TELLING = 3


class Part(msgspec.Struct, frozen=True):
    """What begins at a character of a prompt.

    `what` names the message, `line` is the number of the template's line that wrote it (None: not
    known), and `written` that line.
    """

    start: int
    what: str
    line: int | None = None
    written: str = ""


class Marks:
    """Marks that a template writes before everything else that it writes: the line it is in."""

    def __init__(self) -> None:
        # Nobody knows it, so that no message can have it in it.
        self._name = secrets.token_hex(16)
        self._mark = re.compile(f"\x00{self._name}:(\\d+)\x00")

    def add(self, node: nodes.Node) -> None:
        """Put the marks into a template."""
        for output in list(node.find_all(nodes.Output)):
            output.nodes = [marked for each in output.nodes for marked in self._marked(each)]

    def read(self, text: str) -> tuple[str, list[tuple[int, int]]]:
        """A text without its marks, and where which line begins."""
        pieces, found, at, length = [], [], 0, 0
        for mark in self._mark.finditer(text):
            pieces.append(text[at : mark.start()])
            length += len(pieces[-1])
            found.append((length, int(mark[1])))
            at = mark.end()
        return "".join((*pieces, text[at:])), found

    def _marked(self, node: nodes.Expr) -> Iterator[nodes.Expr]:
        if not isinstance(node, nodes.TemplateData):
            yield self._of(node.lineno)
            yield node
            return
        for number, line in enumerate(node.data.splitlines(keepends=True)):
            yield self._of(node.lineno + number)
            yield nodes.TemplateData(line, lineno=node.lineno)

    def _of(self, line: int) -> nodes.TemplateData:
        return nodes.TemplateData(f"\x00{self._name}:{line}\x00", lineno=line)


def parts_of(
    text: str, messages: Sequence[Message], lines: Sequence[tuple[int, int]], source: str
) -> tuple[Part, ...]:
    """The parts of a prompt; `lines` are those of its template `source`, where they are known."""
    written = source.splitlines()
    begins = dict(_messages(text, messages))
    line_at = dict(lines)
    parts: list[Part] = []
    what, line = "", None
    for start in sorted({*begins, *line_at}):
        what, line = begins.get(start, what), line_at.get(start, line)
        shown = written[line - 1].strip() if line is not None and line <= len(written) else ""
        parts.append(Part(start, what, line, shown))
    return tuple(parts)


def _messages(text: str, messages: Sequence[Message]) -> Iterator[tuple[int, str]]:
    """Where which message begins, as far as its words are found in the prompt."""
    at = 0
    for number, message in enumerate(messages, 1):
        called = ", ".join(call.name for call in message.tool_calls)
        what = f"message {number} ({message.role}{f', calls {called}' if called else ''})"
        needles = [_line(message.content or ""), *(call.name for call in message.tool_calls)]
        found = [text.find(needle, at) for needle in needles if len(needle) >= _TELLING]
        places = [place for place in found if place >= 0]
        if not places:
            continue
        yield min(places), what
        at = max(places) + 1


def _line(content: str) -> str:
    """The first words of a content that stand in the prompt as they are, even if it is indented."""
    pieces = _ESCAPED.split(content.strip())
    return max(pieces[:12], key=len, default="")[:200]
