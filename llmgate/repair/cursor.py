"""A place in a faulty text, and how well what follows a quote fits its being the end."""

from __future__ import annotations

from typing import Any

from llmgate.repair import patterns as p
from llmgate.repair.shapes import Shape, Shapes

# How well: not at all, only if nothing else does, perhaps, well, certainly.
NO, POOR, WEAK, GOOD, SURE = range(5)

# More faults than this, and less text for each, and a text is not worth reading on.
_MOST_FAULTS = 10_000
_LEAST_DISTANCE = 16
# What another language's notation needs everywhere is no fault each time.
_FOREIGN = frozenset(("quotes", "bare_key", "python"))
_STRUCTURE = frozenset('{}[]",:')
Container = dict[str, Any] | list[Any]


class Cursor:
    """A position in a text, the objects and arrays open there, and the edits made up to it.

    `stack` holds the open objects and arrays, outermost first, `forms` their shapes where
    there is a schema, `dicts` how many of them are objects, `key` the key whose value is read.
    `ended`: the model ended its turn, so what stands at the end of the text is not cut.
    """

    def __init__(self, text: str, shapes: Shapes | None = None) -> None:
        self.edits: list[tuple[int, str]] = []
        self.rules: set[str] = set()
        self.faults = 0
        end = len(text)
        while end and text[end - 1] not in "}{":
            while end and text[end - 1].isspace():
                end -= 1
            token = p.LAST_TOKEN.search(text, max(0, end - 50), end) if end else None
            if token is None:
                break
            end = token.start()
            self.edit("token", end)
        self.ended = bool(self.edits)
        self.text = text[:end] if self.ended else text
        self.pos = 0
        self.shapes = shapes
        self.stack: list[Container] = []
        self.forms: list[Shape | None] = []
        self.dicts = 0
        self.key = ""
        # How many looks ahead may lead to nothing, in all: they are what could be quadratic.
        self.looks = 1_000 + len(text) // 16
        # How many characters were looked at ahead, for tests of how that grows.
        self.work = 0

    def edit(self, rule: str, offset: int | None = None) -> None:
        self.edits.append((self.pos if offset is None else offset, rule))
        self.rules.add(rule)
        if rule not in _FOREIGN:
            self.faults += 1

    def noise(self) -> bool:
        """Whether a text has so many faults that it is no JSON, and only costs time."""
        return self.faults > _MOST_FAULTS and self.faults * _LEAST_DISTANCE > self.pos

    def faulty(self) -> bool:
        """Whether a fault was found already: then the text is no beginning of valid JSON."""
        return not self.rules <= {"around", "token"}

    def skip(self) -> str:
        """Move past white space and comments to the next character, and return that."""
        text, start = self.text, self.pos
        char = text[start : start + 1]
        if char in _STRUCTURE:
            return char
        found = p.SKIP.match(text, start)
        assert found is not None  # it matches nothing too
        self.pos = end = found.end()
        if found[1] is not None:
            while start < end and (comment := p.COMMENT.search(text, start, end)):
                self.edit("comment", comment.start())
                start = comment.end()
        if text.startswith("/*", end):
            self.edit("comment", end)
            self.pos = end = len(text)
        return text[end : end + 1]

    def peek(self, at: int) -> int:
        """The offset of what follows white space and a few short comments."""
        end = p.PEEK.match(self.text, at).end()  # type: ignore[union-attr]  # as above
        self.work += end - at
        return end

    def form(self, depth: int = -1) -> Shape | None:
        """The shape of an open object or array."""
        return self.forms[depth] if self.forms else None

    def fits(self, at: int, kind: type) -> int:
        """How well a text at `at` follows a string in an object or an array."""
        text = self.text
        self.work += 1
        found = self.peek(at)
        char = text[found : found + 1]
        if not char or (char in "<`[" and p.STRING_END.match(text, found)):
            return GOOD
        if char in "}]":
            return self._closing(found)
        if commas := p.COMMAS.match(text, found):
            return self._continues(self.peek(commas.end()), kind, len(self.stack) - 1)
        if (char == "(" or "\n" in text[at:found]) and p.LAST_WORDS.match(text, found):
            return WEAK
        if kind is dict:
            if string := p.STRING.match(text, found):
                fit = self._key(string, len(self.stack) - 1, apart=True)
                if fit > NO and not string[0][1:].lstrip().startswith(","):
                    return fit
            bare = p.BARE_KEY.match(text, found) if found > at else None
            if bare and p.VALUE_START.match(text, self.peek(bare.end())):
                return max(WEAK, self._known(bare[1], len(self.stack) - 1) - 1)
            if char == "{":
                return WEAK if p.START.match(text, found) else NO
            return WEAK if p.LOST_KEY.match(text, found) else NO
        if char in ":：=":
            return GOOD if self.dicts or not self.stack[-1] else NO
        if char in "{[":
            return WEAK
        if string := p.STRING.match(text, found):
            end = self.peek(string.end())
            return WEAK if found > at or text[end : end + 1] in ",]}" else NO
        return WEAK if found > at and p.LONE[list].match(text, found) else NO

    def _continues(self, at: int, kind: type, depth: int) -> int:
        """How well a text follows a comma in the object or array at a depth."""
        text = self.text
        char = text[at : at + 1]
        if not char:
            return GOOD
        if char in "}]":
            return self._closing(at)
        if p.ELLIPSIS.match(text, at):
            return WEAK
        if kind is dict:
            if char == "{":
                if not p.START.match(text, at):
                    return NO
                return GOOD if depth and isinstance(self.stack[depth - 1], list) else WEAK
            string = p.STRING.match(text, at)
            if string and (fit := self._key(string, depth)) > POOR:
                return fit
            if lost := p.LOST_KEY.match(text, at):
                return GOOD if self._known(lost[1], depth) == SURE else WEAK
            if string:
                return fit
            if p.CUT_STRING.match(text, at) or p.CUT_WORD.match(text, at):
                return GOOD
            if bare := p.BARE_KEY.match(text, at):
                fit = self._known(bare[1], depth)
                at = self.peek(bare.end())
                return fit if p.VALUE_START.match(text, at) else min(fit, WEAK)
            found = p.LOOSE_KEYS[0].match(text, at) or p.BARE_ALONE.match(text, at)
            return WEAK if found else NO
        if string := p.STRING.match(text, at):
            end = self.peek(string.end())
            after = text[end : end + 1]
            if after in ":：" and after:
                return GOOD if self.dicts else NO
            next_one = end > string.end() and after in p.QUOTES
            return GOOD if after in ",]" or next_one else WEAK
        if char in "[{" or p.CUT_STRING.match(text, at):
            return GOOD
        if p.PLAIN_ITEM.match(text, at) or (self.dicts and p.TIGHT_KEY.match(text, at)):
            return GOOD
        return WEAK if p.WORD_ITEM.match(text, at) else NO

    def _key(self, string: Any, depth: int, *, apart: bool = False) -> int:
        """How well a string does as the next key of an object; `apart`: without a comma."""
        text = self.text
        end = self.peek(string.end())
        char = text[end : end + 1]
        fit = self._known(string[0][1:-1], depth)
        if char and char in ":：=":
            return fit
        if apart:
            return NO
        if not char:
            return GOOD
        if char in ",}":
            return POOR
        return min(fit, WEAK if fit < SURE else GOOD) if p.VALUE_START.match(text, end) else NO

    def _known(self, key: str, depth: int) -> int:
        """How well a key does in the object at a depth, by the schema."""
        form = self.forms[depth] if self.forms else None
        if form is None or not form.known:
            return GOOD
        if key in form.known:
            return GOOD if key in self.stack[depth] else SURE
        for outer in self.forms[:depth]:
            if outer is not None and key in outer.known:
                return GOOD
        return POOR if form.closed else GOOD

    def _closing(self, at: int) -> int:
        """How well a run of closing brackets fits what is open, and what follows them that."""
        text, stack = self.text, self.stack
        depth = len(stack) - 1
        fit = GOOD
        if self.forms and isinstance(stack[-1], dict):
            form = self.forms[-1]
            if form is not None and form.required - stack[-1].keys() - {self.key}:
                fit = WEAK
        start = at
        while (char := text[at : at + 1]) and char in "}])":
            if depth < 0:
                fit = WEAK
            elif isinstance(stack[depth], dict) == (char == "}"):
                depth -= 1
            else:
                fit = WEAK
                if depth and isinstance(stack[depth - 1], dict) == (char == "}"):
                    depth -= 2
            at = self.peek(at + 1)
        self.work += at - start
        if not char or (char in "<`" and p.END.match(text, at)):
            return fit if depth >= 0 else GOOD
        commas = p.COMMAS.match(text, at)
        behind = self.peek(commas.end()) if commas else at
        if depth < 0 and (p.START.match(text, behind) or "\n" in text[at - 1 : at]):
            return fit
        if depth >= 0 and commas:
            follows = self._continues(behind, type(stack[depth]), depth)
            return follows if follows >= GOOD else WEAK
        if char in p.QUOTES:
            string = p.STRING.match(text, at)
            return WEAK if string and text.startswith(":", self.peek(string.end())) else POOR
        return WEAK
